import type { BlobId } from '@holt/blob-buf-pool'
import { crc32c } from '@holt/uring-native/crc32c'
import type { Mapping } from './mapping-table.js'

/**
 * The bytes of a manifest: which frame lies where, as of the last flush. Little-endian; everything is counted in
 * sectors of 512 bytes, the unit that a disk writes whole.
 *
 * ```
 * ┌────────┬──────────────┬───────────┬───────────┬───────────┬───────────┬───┬─────────────────┐
 * │ header │ snapshot body│ record n+1│ record n+1│ record n+2│ record n+2│ … │ zeros           │
 * │ 1 sect.│ whole sectors│   copy 0  │   copy 1  │   copy 0  │   copy 1  │   │                 │
 * └────────┴──────────────┴───────────┴───────────┴───────────┴───────────┴───┴─────────────────┘
 *                                                                            end         announced size
 * header
 *     0  magic            u32   'HLTM'
 *     4  format version   u16   1
 *     6  reserved         u16   0
 *     8  store id         16 B  random, for the store's life
 *    24  record number    f64   n: what the snapshot stands for; raised with every snapshot
 *    32  frame bytes      u32   524288
 *    36  body bytes       u32
 *    40  body CRC-32C     u32
 *    44  reserved         u32   0
 *    48  announced size   f64   the file is at least this long
 *    56  reserved               0
 *   508  CRC-32C          u32   of bytes 0 … 507. Magic, version and this place hold in every format version
 *
 * body (snapshot)                          payload (record)
 *     0  mappings         u32                  0  announced size  f64
 *     4  note bytes       u32 (2^32-1: none)   8  mappings        u32
 *     8  mappings                             12  removals        u32
 *        note                                 16  note bytes      u32
 *                                             20  reserved        u32   0
 *                                             24  mappings, removals (u32 blob ids), note
 * mapping (12 B): u32 blob id, u32 disk slot (25 bits) | pages stored - 1 (7 bits), u32 CRC-32C of the frame's page 0
 *
 * a record's sector
 *     0  sector CRC-32C   u32   of bytes 4 … 511
 *     4  record CRC-32C   u32   of the whole payload
 *     8  record number    f64
 *    16  payload bytes    u32
 *    20  sector index     u16   within the copy
 *    22  copy             u16   0 or 1
 *    24  payload                488 bytes of it, zeros behind its end
 * ```
 *
 * The checksums of a record start from the header's, so records of an earlier snapshot never count in a later one.
 */
export const SECTOR_BYTES = 512
export const MANIFEST_MAGIC = 0x4d54_4c48
export const MANIFEST_VERSION = 1
export const STORE_ID_BYTES = 16
export const SECTOR_HEADER_BYTES = 24
export const SECTOR_PAYLOAD_BYTES = SECTOR_BYTES - SECTOR_HEADER_BYTES
export const NO_NOTE = 0xffff_ffff
export const MAPPING_BYTES = 12
export const MAPPING_SLOT_BITS = 25
export const RECORD_FIXED_BYTES = 24
export const BODY_FIXED_BYTES = 8

export const HEADER = {
  magic: 0,
  version: 4,
  storeId: 8,
  recordNumber: 24,
  frameBytes: 32,
  bodyBytes: 36,
  bodyCrc: 40,
  announcedSize: 48,
  crc: 508,
} as const

export const SECTOR = {
  crc: 0,
  recordCrc: 4,
  recordNumber: 8,
  payloadBytes: 16,
  index: 20,
  copy: 22,
} as const

/** What a flush changes. */
export interface ManifestChange {
  readonly mappings: readonly (readonly [BlobId, Mapping])[]
  readonly removals: readonly BlobId[]
  readonly note: Uint8Array
}

/** Everything a manifest says at one moment. */
export interface ManifestImage {
  readonly mappings: readonly (readonly [BlobId, Mapping])[]
  readonly note: Uint8Array | undefined
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

export function wholeSectors(lengthBytes: number): number {
  return Math.ceil(lengthBytes / SECTOR_BYTES) * SECTOR_BYTES
}

export function sectorsOfPayload(payloadBytes: number): number {
  return Math.ceil(payloadBytes / SECTOR_PAYLOAD_BYTES)
}

function putMappings(view: DataView, from: number, mappings: ManifestImage['mappings']): number {
  let at = from
  for (const [id, { diskSlot, pages, headerCrc }] of mappings) {
    view.setUint32(at, id, true)
    view.setUint32(at + 4, diskSlot | ((pages - 1) << MAPPING_SLOT_BITS), true)
    view.setUint32(at + 8, headerCrc, true)
    at += MAPPING_BYTES
  }
  return at
}

export interface SnapshotFields {
  readonly storeId: Uint8Array
  readonly recordNumber: number
  readonly frameBytes: number
  /** Room for records behind the snapshot. */
  readonly roomBytes: number
}

/** Header and body of a snapshot, ready to be written at the start of a file. */
export function encodeSnapshot(
  image: ManifestImage,
  fields: SnapshotFields,
): { readonly bytes: Uint8Array; readonly announcedBytes: number; readonly seed: number } {
  const bodyBytes = BODY_FIXED_BYTES + image.mappings.length * MAPPING_BYTES + (image.note?.length ?? 0)
  const bytes = new Uint8Array(SECTOR_BYTES + wholeSectors(bodyBytes))
  const announcedBytes = bytes.length + fields.roomBytes
  const view = viewOf(bytes)
  view.setUint32(SECTOR_BYTES, image.mappings.length, true)
  view.setUint32(SECTOR_BYTES + 4, image.note?.length ?? NO_NOTE, true)
  const noteAt = putMappings(view, SECTOR_BYTES + BODY_FIXED_BYTES, image.mappings)
  if (image.note !== undefined) bytes.set(image.note, noteAt)

  view.setUint32(HEADER.magic, MANIFEST_MAGIC, true)
  view.setUint16(HEADER.version, MANIFEST_VERSION, true)
  bytes.set(fields.storeId, HEADER.storeId)
  view.setFloat64(HEADER.recordNumber, fields.recordNumber, true)
  view.setUint32(HEADER.frameBytes, fields.frameBytes, true)
  view.setUint32(HEADER.bodyBytes, bodyBytes, true)
  // Over the padding too: no byte of the file is unguarded.
  view.setUint32(HEADER.bodyCrc, crc32c(bytes, SECTOR_BYTES, bytes.length - SECTOR_BYTES, 0), true)
  view.setFloat64(HEADER.announcedSize, announcedBytes, true)
  const seed = crc32c(bytes, 0, HEADER.crc, 0)
  view.setUint32(HEADER.crc, seed, true)
  return { bytes, announcedBytes, seed }
}

export function payloadBytesOf(change: ManifestChange): number {
  return (
    RECORD_FIXED_BYTES +
    change.mappings.length * MAPPING_BYTES +
    change.removals.length * 4 +
    change.note.length
  )
}

/** Both copies of a record, one behind the other, ready to be written at the end of the log. */
export function encodeRecord(
  change: ManifestChange,
  recordNumber: number,
  announcedBytes: number,
  seed: number,
): Uint8Array {
  const payload = new Uint8Array(payloadBytesOf(change))
  const view = viewOf(payload)
  view.setFloat64(0, announcedBytes, true)
  view.setUint32(8, change.mappings.length, true)
  view.setUint32(12, change.removals.length, true)
  view.setUint32(16, change.note.length, true)
  let at = putMappings(view, RECORD_FIXED_BYTES, change.mappings)
  for (const id of change.removals) {
    view.setUint32(at, id, true)
    at += 4
  }
  payload.set(change.note, at)

  const recordCrc = crc32c(payload, 0, payload.length, seed)
  const sectors = sectorsOfPayload(payload.length)
  const bytes = new Uint8Array(2 * sectors * SECTOR_BYTES)
  const out = viewOf(bytes)
  for (let i = 0; i < 2 * sectors; i++) {
    const start = i * SECTOR_BYTES
    const index = i % sectors
    out.setUint32(start + SECTOR.recordCrc, recordCrc, true)
    out.setFloat64(start + SECTOR.recordNumber, recordNumber, true)
    out.setUint32(start + SECTOR.payloadBytes, payload.length, true)
    out.setUint16(start + SECTOR.index, index, true)
    out.setUint16(start + SECTOR.copy, i < sectors ? 0 : 1, true)
    bytes.set(
      payload.subarray(index * SECTOR_PAYLOAD_BYTES, (index + 1) * SECTOR_PAYLOAD_BYTES),
      start + SECTOR_HEADER_BYTES,
    )
    out.setUint32(start + SECTOR.crc, crc32c(bytes, start + 4, SECTOR_BYTES - 4, seed), true)
  }
  return bytes
}
