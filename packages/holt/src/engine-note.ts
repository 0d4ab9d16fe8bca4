import { type BlobId, MAX_BLOB_ID } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import type { Lsn } from '@holt/journal'

/**
 * What the engine commits with each checkpoint, beside the frames. Little-endian:
 *
 * ```
 *  0  note version   u16 (3)     2  reserved u16     4  root blob id  u32
 *  8  seq            f64   last one applied in this image
 * 16  seq floor      f64   versions below it may have been handed out
 * 24  journal        f64   replay begins here; 0 when the database kept no journal
 * 32  epoch          f64   of the tree: how many views were ever taken, and one
 * 40  unlinked       u32   count: frames of this image that the tree has let go of, each with all below it
 * 44  superseded     u32   count: frames of this image that the tree has let go of alone, as open views saw them
 * 48  blob ids       u32 each, those of the unlinked frames first
 * ```
 *
 * A crash closes all views, so whatever the tree has let go of is given back after it. Without the list it would belong to
 * nobody.
 */
export interface EngineNote {
  readonly rootId: BlobId
  readonly seq: number
  readonly seqFloor: number
  readonly journalPosition: Lsn
  readonly epoch: number
  readonly unlinked: readonly BlobId[]
  readonly superseded: readonly BlobId[]
}

const NOTE_VERSION = 3
const FIXED_BYTES = 48

export function encodeNote(note: EngineNote): Uint8Array {
  const ids = [...note.unlinked, ...note.superseded]
  const bytes = new Uint8Array(FIXED_BYTES + ids.length * 4)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, NOTE_VERSION, true)
  view.setUint32(4, note.rootId, true)
  view.setFloat64(8, note.seq, true)
  view.setFloat64(16, note.seqFloor, true)
  view.setFloat64(24, note.journalPosition, true)
  view.setFloat64(32, note.epoch, true)
  view.setUint32(40, note.unlinked.length, true)
  view.setUint32(44, note.superseded.length, true)
  ids.forEach((id, i) => {
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
  const unlinkedCount = bytes.length < FIXED_BYTES ? 0 : view.getUint32(40, true)
  const count = bytes.length < FIXED_BYTES ? 0 : unlinkedCount + view.getUint32(44, true)
  const wantedBytes = FIXED_BYTES + count * 4
  if (bytes.length !== wantedBytes) {
    throw new HoltError(
      'HOLT_CORRUPT',
      `the store's note has ${String(bytes.length)} bytes instead of ${String(wantedBytes)}`,
    )
  }
  const ids = Array.from({ length: count }, (_, i) => view.getUint32(FIXED_BYTES + i * 4, true) as BlobId)
  const note: EngineNote = {
    rootId: view.getUint32(4, true) as BlobId,
    seq: view.getFloat64(8, true),
    seqFloor: view.getFloat64(16, true),
    journalPosition: view.getFloat64(24, true) as Lsn,
    epoch: view.getFloat64(32, true),
    unlinked: ids.slice(0, unlinkedCount),
    superseded: ids.slice(unlinkedCount),
  }
  if (
    note.rootId === 0 ||
    ids.some((id) => id < 1 || id > MAX_BLOB_ID || id === note.rootId) ||
    new Set(ids).size !== count ||
    !(Number.isSafeInteger(note.epoch) && note.epoch >= 1) ||
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
