import { type BlobId, MAX_BLOB_ID } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import type { Lsn } from '@holt/journal'

/**
 * What the engine commits with each checkpoint, beside the frames. Little-endian:
 *
 * ```
 *  0  note version   u16 (2)     2  reserved u16     4  root blob id  u32
 *  8  seq            f64   last one applied in this image
 * 16  seq floor      f64   versions below it may have been handed out
 * 24  journal        f64   replay begins here; 0 when the database kept no journal
 * 32  unlinked       u32   count, then that many blob ids u32: frames of this image that the tree has let go of, each with
 *                          all below it. Without them here they would belong to nobody after a crash.
 * ```
 */
export interface EngineNote {
  readonly rootId: BlobId
  readonly seq: number
  readonly seqFloor: number
  readonly journalPosition: Lsn
  readonly unlinked: readonly BlobId[]
}

const NOTE_VERSION = 2
const FIXED_BYTES = 36

export function encodeNote(note: EngineNote): Uint8Array {
  const bytes = new Uint8Array(FIXED_BYTES + note.unlinked.length * 4)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, NOTE_VERSION, true)
  view.setUint32(4, note.rootId, true)
  view.setFloat64(8, note.seq, true)
  view.setFloat64(16, note.seqFloor, true)
  view.setFloat64(24, note.journalPosition, true)
  view.setUint32(32, note.unlinked.length, true)
  note.unlinked.forEach((id, i) => {
    view.setUint32(FIXED_BYTES + i * 4, id, true)
  })
  return bytes
}

/** Throws `HOLT_VERSION` for a note of another version, `HOLT_CORRUPT` for one that cannot be right. */
export function decodeNote(bytes: Uint8Array): EngineNote {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const version = bytes.length < 2 ? 0 : view.getUint16(0, true)
  if (version !== NOTE_VERSION) {
    throw new HoltError(
      'HOLT_VERSION',
      `the store's note has version ${String(version)}; this release reads version ${String(NOTE_VERSION)}`,
    )
  }
  const count = bytes.length < FIXED_BYTES ? 0 : view.getUint32(32, true)
  const wantedBytes = FIXED_BYTES + count * 4
  if (bytes.length !== wantedBytes) {
    throw new HoltError(
      'HOLT_CORRUPT',
      `the store's note has ${String(bytes.length)} bytes instead of ${String(wantedBytes)}`,
    )
  }
  const unlinked = Array.from(
    { length: count },
    (_, i) => view.getUint32(FIXED_BYTES + i * 4, true) as BlobId,
  )
  const note: EngineNote = {
    rootId: view.getUint32(4, true) as BlobId,
    seq: view.getFloat64(8, true),
    seqFloor: view.getFloat64(16, true),
    journalPosition: view.getFloat64(24, true) as Lsn,
    unlinked,
  }
  if (
    note.rootId === 0 ||
    unlinked.some((id) => id < 1 || id > MAX_BLOB_ID || id === note.rootId) ||
    new Set(unlinked).size !== count ||
    !Number.isSafeInteger(note.seq) ||
    !Number.isSafeInteger(note.seqFloor) ||
    !Number.isSafeInteger(note.journalPosition)
  ) {
    throw new HoltError(
      'HOLT_CORRUPT',
      "the store's note names no root, an impossible position or impossible frames",
    )
  }
  return note
}
