import { HoltError } from '@holt/errors'
import { MAX_KEY_BYTES, MAX_VALUE_BYTES } from '@holt/art-index'

/** The limits of holt, each named once. What exceeds one is refused with an error that changes nothing. */
export const LIMITS = {
  /** Bytes of a key in its encoding. */
  maxKeyBytes: MAX_KEY_BYTES,
  /** Bytes of a value in its encoding: 16 MiB. */
  maxValueBytes: MAX_VALUE_BYTES,
  /** Bytes of a tree's name in UTF-8. */
  maxTreeNameBytes: 1_024,
  /** Bytes of a snapshot's name in UTF-8. */
  maxSnapshotNameBytes: 1_024,
  maxBatchOperations: 8_192,
  /** Bytes of a batch as it is written to the journal. */
  maxBatchBytes: 20 * 2 ** 20,
  minCacheFrames: 16,
  /** Bytes of writes that may wait for frames, journal space or a checkpoint. */
  maxQueuedBytes: 64 * 2 ** 20,
  /** Entries that one `list` returns at most. */
  maxListEntries: 10_000,
} as const

/** Bytes of a tree's id in front of each of its keys. */
export const TREE_ID_BYTES = 4

/**
 * Roots of unlinked subtrees that may wait to be given back before whoever unlinks more has to wait: four bytes each in
 * the note of every checkpoint. One operation adds no more than a frame has room for crossings, some 30 000.
 */
export const MAX_UNLINKED_FRAMES = 2 ** 18

/** How far versions may run ahead of the highest one that a crash cannot make the database forget. */
export const SEQ_WINDOW = 2 ** 24

export function batchTooLarge(bytes: number, limit: number): HoltError {
  return new HoltError(
    'HOLT_BATCH_TOO_LARGE',
    `the batch takes ${String(bytes)} bytes in the journal; at most ${String(limit)} are allowed`,
  )
}
