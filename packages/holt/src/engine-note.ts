import type { BlobId } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import type { Lsn } from '@holt/journal'

/**
 * What the engine commits with each checkpoint, beside the frames. Little-endian:
 *
 * ```
 *  0  note version   u16 (1)     2  reserved u16     4  root blob id  u32
 *  8  seq            f64   last one applied in this image
 * 16  seq floor      f64   versions below it may have been handed out
 * 24  journal        f64   replay begins here; 0 when the database kept no journal
 * ```
 */
export interface EngineNote {
  readonly rootId: BlobId
  readonly seq: number
  readonly seqFloor: number
  readonly journalPosition: Lsn
}

const NOTE_VERSION = 1
const NOTE_BYTES = 32

export function encodeNote(note: EngineNote): Uint8Array {
  const bytes = new Uint8Array(NOTE_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, NOTE_VERSION, true)
  view.setUint32(4, note.rootId, true)
  view.setFloat64(8, note.seq, true)
  view.setFloat64(16, note.seqFloor, true)
  view.setFloat64(24, note.journalPosition, true)
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
  if (bytes.length !== NOTE_BYTES) {
    throw new HoltError(
      'HOLT_CORRUPT',
      `the store's note has ${String(bytes.length)} bytes instead of ${String(NOTE_BYTES)}`,
    )
  }
  const note: EngineNote = {
    rootId: view.getUint32(4, true) as BlobId,
    seq: view.getFloat64(8, true),
    seqFloor: view.getFloat64(16, true),
    journalPosition: view.getFloat64(24, true) as Lsn,
  }
  if (
    note.rootId === 0 ||
    !Number.isSafeInteger(note.seq) ||
    !Number.isSafeInteger(note.seqFloor) ||
    !Number.isSafeInteger(note.journalPosition)
  ) {
    throw new HoltError('HOLT_CORRUPT', "the store's note names no root or an impossible position")
  }
  return note
}
