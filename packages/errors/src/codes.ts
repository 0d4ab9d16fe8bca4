/**
 * Every code a {@link HoltError} can carry, with what it means. Codes are API: they are never renamed and never
 * change their meaning; messages may.
 */
export const ERROR_CODES = {
  // What the caller passed.
  HOLT_INVALID_ARGUMENT: 'an argument or option has the wrong type, range or name',
  HOLT_INVALID_KEY: 'a key is ill-formed in its encoding, or stored bytes do not decode in it',
  HOLT_KEY_TOO_LONG: 'a key is longer than the key limit',
  HOLT_VALUE_TOO_LARGE: 'a value is larger than the value limit',
  HOLT_BATCH_TOO_LARGE: 'a batch has too many operations or bytes',
  HOLT_ENCODING:
    'a tree is opened with another encoding than it was made with, or a value does not encode or decode',
  HOLT_BUFFER_TOO_SMALL:
    'the buffer that a value is to be copied into has no room for it; the message says how much',
  HOLT_OUTSIDE_VIEW: 'a key or range is not below the prefix that a view was taken of',
  HOLT_INVALID_TOKEN: 'a continuation token does not belong to this query',

  // What the state of the data forbids.
  HOLT_NOT_FOUND: 'the key, tree or file that was named does not exist',
  HOLT_EXISTS: 'the destination exists already',

  HOLT_TREE_DROPPED: 'the tree behind this handle was dropped; open it again by its name',

  // How the database stands.
  HOLT_CLOSED: 'the database, view, file or ring was closed',
  HOLT_READ_ONLY: 'a write on something opened for reading',
  HOLT_LOCKED: 'another process, or another open in this one, holds the store',
  HOLT_POSITION_EXPIRED:
    'changes behind that version are not kept any more; oldestVersion says from where on they are',
  HOLT_BUSY: 'the store changed while it was read; try again',
  HOLT_NOT_A_STORE: 'the directory exists and is not a holt store',
  HOLT_VERSION: 'the store was written in a format this release does not read',
  HOLT_CORRUPT: 'stored bytes fail their checks; the message names file, frame and offset',
  HOLT_POISONED: 'a journal write or sync failed; writes are refused until the store is opened again',
  HOLT_NO_SPACE: 'the disk is full; nothing was changed',
  HOLT_QUEUE_FULL: 'too many bytes of writes wait already',
  HOLT_CHECKPOINT_FAILED: 'checkpoints have failed for so long that writes are refused',

  // Memory and I/O beneath.
  HOLT_IO: 'the operating system refused an operation; errno, syscall and path are beside the code',
  HOLT_SHORT_TRANSFER: 'a read met the end of the file, or a transfer stopped half-way',
  HOLT_RING: 'the ring is full, broken, or used against its rules',
  HOLT_OUT_OF_MEMORY: 'no frame, slot or identifier is left',
  HOLT_LEASE: 'a lease was released twice, or by somebody it does not belong to',
  HOLT_UNSUPPORTED: 'this platform, store or build cannot do that',
  HOLT_INTERNAL: 'an invariant of holt does not hold: a defect, please report it',
} as const

export type HoltErrorCode = keyof typeof ERROR_CODES
