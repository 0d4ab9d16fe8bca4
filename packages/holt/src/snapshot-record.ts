import { HoltError } from '@holt/errors'
import type { JournalContract, ReplayedRecord } from '@holt/journal'

/**
 * Records that change no key, little-endian:
 *
 * ```
 * snapshot       type 26   taken f64, ms since 1970 | name, UTF-8
 * drop snapshot  type 27   name, UTF-8
 * ```
 *
 * A snapshot shows what all records before its own have come to. The record does not say where its frames lie: replay makes
 * frames of its own, so the place of a snapshot is found by taking it again.
 */
export const SNAPSHOT_RECORD = 26
export const DROP_SNAPSHOT_RECORD = 27

/** What such a record does. */
export type SnapshotChange =
  | { readonly kind: 'take'; readonly name: string; readonly takenMs: number }
  | { readonly kind: 'drop'; readonly name: string }

const TAKEN_BYTES = 8

export function isSnapshotRecord({ type }: ReplayedRecord): boolean {
  return type === SNAPSHOT_RECORD || type === DROP_SNAPSHOT_RECORD
}

/** Bytes of the body of its record. */
export function snapshotRecordBytes({ kind, name }: SnapshotChange): number {
  return (kind === 'take' ? TAKEN_BYTES : 0) + Buffer.byteLength(name)
}

/** The journal must have room for {@link snapshotRecordBytes}. */
export function appendSnapshotChange(journal: JournalContract, seq: number, change: SnapshotChange): void {
  const type = change.kind === 'take' ? SNAPSHOT_RECORD : DROP_SNAPSHOT_RECORD
  journal.reserve(type, seq, snapshotRecordBytes(change))
  const { body, bodyOffset } = journal
  let at = bodyOffset
  if (change.kind === 'take') {
    new DataView(body.buffer, body.byteOffset).setFloat64(at, change.takenMs, true)
    at += TAKEN_BYTES
  }
  body.set(Buffer.from(change.name), at)
  journal.leave()
}

/** Throws `HOLT_CORRUPT` for a body that is none although its checksum holds. */
export function decodeSnapshotChange({ type, seq, position, body }: ReplayedRecord): SnapshotChange {
  const nameAt = type === SNAPSHOT_RECORD ? TAKEN_BYTES : 0
  const name = Buffer.from(body.subarray(nameAt)).toString()
  const takenMs =
    body.length < nameAt || nameAt === 0
      ? 0
      : new DataView(body.buffer, body.byteOffset, body.byteLength).getFloat64(0, true)
  if (name === '' || !Number.isFinite(takenMs)) {
    throw new HoltError(
      'HOLT_CORRUPT',
      `journal record with seq ${String(seq)} at position ${String(position)}: it names no snapshot`,
    )
  }
  return type === SNAPSHOT_RECORD ? { kind: 'take', name, takenMs } : { kind: 'drop', name }
}
