/**
 * The head of a segment file: two equal copies, so that no single damaged sector or page hides a segment. Little-endian.
 *
 * ```
 *   0        128       4096      4224      8192                                   segmentBytes
 *   +--------+---------+---------+---------+--------+--------+----- … --+---------+
 *   | copy 1 | zeros   | copy 2  | zeros   | record | record |          | filler  |
 *   +--------+---------+---------+---------+--------+--------+----- … --+---------+
 *
 *   copy:   0  magic "HOLTWAL\0"            48  seq floor, f64
 *           8  format version, u32          56  predecessor's number, u32 (0: none)
 *          12  zero                         60  predecessor's end, u32
 *          16  store id, 16 bytes           64  stable mark: segment, u32 (0: none)
 *          32  number, u32                  68  stable mark: offset, u32
 *          36  segmentBytes, u32            72  prior seq, f64
 *          40  header salt, u32             80  made at, ms since 1970, f64
 *          44  body salt, u32               88  zeros
 *                                          124  CRC-32C of bytes 0 … 123
 * ```
 *
 * The predecessor's end is where its records end: its size if it was used up (a filler reaches to its very end, so
 * that this is known before it is full), or where a recovery found the log to end. The stable mark is what was known
 * to be on the medium when the header was written; it is equal to the predecessor's end only if a recovery wrote it.
 *
 * The prior seq is the highest one that was used when the header was written: the seq floor leaves out what may have been
 * handed out and lost. In a header that a recovery wrote it is that of the last record before the segment, or of the image
 * where none is left. The time is for retention by age, and nothing else.
 */
import { HoltError } from '@holt/errors'
import { crc32c } from '@holt/uring-native/crc32c'
import { MAX_SEGMENT_NUMBER } from './contract.js'
import { RECORD_ALIGNMENT_BYTES, type Salts } from './record.js'

export const JOURNAL_FORMAT_VERSION = 2
export const STORE_ID_BYTES = 16
/** Where the first record of every segment lies: behind both copies of the header. */
export const FIRST_RECORD_OFFSET = 8192
export const DEFAULT_SEGMENT_BYTES = 32 * 2 ** 20
/** Its second half must last for as long as the next segment is made: that has 32 MiB of zeros to write. */
export const DEFAULT_FIRST_SEGMENT_BYTES = 8 * 2 ** 20
export const MIN_SEGMENT_BYTES = 16 * 2 ** 10
export const MAX_SEGMENT_BYTES = 128 * 2 ** 20
/** Segments are multiples of it. */
export const SEGMENT_GRAIN_BYTES = 4096

const MAGIC = [0x48, 0x4f, 0x4c, 0x54, 0x57, 0x41, 0x4c, 0] as const
const COPY_BYTES = 128
const CRC_AT = 124
const SECOND_COPY_AT = 4096

export interface SegmentHeader extends Salts {
  readonly number: number
  readonly segmentBytes: number
  readonly storeId: Uint8Array
  readonly seqFloor: number
  /** 0 when there is none. */
  readonly predecessorNumber: number
  readonly predecessorEndBytes: number
  /** 0 when nothing was known to be stable. */
  readonly markSegment: number
  readonly markOffset: number
  readonly priorSeq: number
  readonly createdUnixMs: number
}

/** Only a recovery writes a header whose mark is the predecessor's end. */
export function wasBegunByRecovery(header: SegmentHeader): boolean {
  return header.markSegment === header.predecessorNumber && header.markOffset === header.predecessorEndBytes
}

/** The first {@link FIRST_RECORD_OFFSET} bytes of a segment. */
export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const bytes = new Uint8Array(FIRST_RECORD_OFFSET)
  const view = new DataView(bytes.buffer)
  bytes.set(MAGIC, 0)
  view.setUint32(8, JOURNAL_FORMAT_VERSION, true)
  bytes.set(header.storeId, 16)
  view.setUint32(32, header.number, true)
  view.setUint32(36, header.segmentBytes, true)
  view.setUint32(40, header.headerSalt, true)
  view.setUint32(44, header.bodySalt, true)
  view.setFloat64(48, header.seqFloor, true)
  view.setUint32(56, header.predecessorNumber, true)
  view.setUint32(60, header.predecessorEndBytes, true)
  view.setUint32(64, header.markSegment, true)
  view.setUint32(68, header.markOffset, true)
  view.setFloat64(72, header.priorSeq, true)
  view.setFloat64(80, header.createdUnixMs, true)
  view.setUint32(CRC_AT, crc32c(bytes, 0, CRC_AT, 0), true)
  bytes.copyWithin(SECOND_COPY_AT, 0, COPY_BYTES)
  return bytes
}

/**
 * Decodes the first {@link FIRST_RECORD_OFFSET} bytes of the segment file `path`. One good copy is enough.
 *
 * @throws HoltError `HOLT_CORRUPT` without a good copy or with copies that differ, `HOLT_VERSION` for another format.
 */
export function decodeSegmentHeader(bytes: Uint8Array, path: string): SegmentHeader {
  const first = isCopyValid(bytes, 0)
  const second = isCopyValid(bytes, SECOND_COPY_AT)
  if (!first && !second) {
    throw new HoltError(
      'HOLT_CORRUPT',
      `${path}: both copies of the segment header (offsets 0 and 4096) are damaged`,
    )
  }
  if (first && second && !equalBytes(bytes, 0, SECOND_COPY_AT, COPY_BYTES)) {
    throw new HoltError('HOLT_CORRUPT', `${path}: the two copies of the segment header contradict each other`)
  }
  return decodeCopy(bytes.subarray(first ? 0 : SECOND_COPY_AT).subarray(0, COPY_BYTES), path)
}

function isCopyValid(bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < MAGIC.length; i++) if (bytes[at + i] !== MAGIC[i]) return false
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return crc32c(bytes, at, CRC_AT, 0) >>> 0 === view.getUint32(at + CRC_AT, true)
}

function decodeCopy(copy: Uint8Array, path: string): SegmentHeader {
  const view = new DataView(copy.buffer, copy.byteOffset, copy.byteLength)
  const version = view.getUint32(8, true)
  if (version !== JOURNAL_FORMAT_VERSION) {
    throw new HoltError(
      'HOLT_VERSION',
      `${path}: journal format ${String(version)}, this release reads ${String(JOURNAL_FORMAT_VERSION)}`,
    )
  }
  const header: SegmentHeader = {
    storeId: copy.slice(16, 16 + STORE_ID_BYTES),
    number: view.getUint32(32, true),
    segmentBytes: view.getUint32(36, true),
    headerSalt: view.getUint32(40, true),
    bodySalt: view.getUint32(44, true),
    seqFloor: view.getFloat64(48, true),
    predecessorNumber: view.getUint32(56, true),
    predecessorEndBytes: view.getUint32(60, true),
    markSegment: view.getUint32(64, true),
    markOffset: view.getUint32(68, true),
    priorSeq: view.getFloat64(72, true),
    createdUnixMs: view.getFloat64(80, true),
  }
  const sound =
    header.number > 0 &&
    header.number <= MAX_SEGMENT_NUMBER &&
    isSegmentSize(header.segmentBytes) &&
    header.predecessorNumber < header.number &&
    header.predecessorEndBytes % RECORD_ALIGNMENT_BYTES === 0 &&
    (header.predecessorNumber === 0) === (header.predecessorEndBytes === 0) &&
    header.markSegment < header.number &&
    Number.isSafeInteger(header.seqFloor) &&
    header.seqFloor >= 0 &&
    Number.isSafeInteger(header.priorSeq) &&
    header.priorSeq >= 0 &&
    Number.isFinite(header.createdUnixMs)
  if (!sound) throw new HoltError('HOLT_CORRUPT', `${path}: the segment header holds values out of range`)
  return header
}

/** Whether a segment can have that size. */
export function isSegmentSize(sizeBytes: number): boolean {
  return (
    Number.isInteger(sizeBytes) &&
    sizeBytes >= MIN_SEGMENT_BYTES &&
    sizeBytes <= MAX_SEGMENT_BYTES &&
    sizeBytes % SEGMENT_GRAIN_BYTES === 0
  )
}

function equalBytes(bytes: Uint8Array, a: number, b: number, lengthBytes: number): boolean {
  for (let i = 0; i < lengthBytes; i++) if (bytes[a + i] !== bytes[b + i]) return false
  return true
}
