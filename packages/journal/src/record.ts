/**
 * One record, as its bytes lie in a segment. Little-endian; records begin at multiples of 8 and follow each other
 * without gaps.
 *
 * ```
 *   0        2     3      4            8           16              20             24           28
 *   +--------+-----+------+------------+-----------+---------------+--------------+------------+
 *   | magic  |type |flags | bodyLength | seq (f64) | mark: segment | mark: offset | header CRC |
 *   +--------+-----+------+------------+-----------+---------------+--------------+------------+
 *   | body, bodyLength bytes                          | zeros to total - 4        | body CRC   |
 *   +-------------------------------------------------+---------------------------+------------+
 *   28                                                28 + bodyLength             total - 4    total
 *
 *   total = bodyLength + 32, rounded up to 8
 * ```
 *
 * *mark* is the stable mark: what was known to be on the medium when the record was written. The header CRC-32C covers
 * bytes 0 … 23, the body CRC bytes 28 … total - 5. Both start from salt XOR offset of the record in its file, each with
 * a salt of its own: equal bytes under another start always have another CRC, so a record of the file's former life, or
 * one copied to another place, never validates, and bytes made up without knowing the salts do by chance only.
 *
 * Of a filler only the header counts. What lies in its body is undefined and is not checked.
 */
import { crc32c, crc32cOfWords } from '@holt/uring-native/crc32c'

/** First two bytes of every record: "HR". */
export const RECORD_MAGIC = 0x5248
export const RECORD_HEADER_BYTES = 28
/** Header and body CRC: the total of a record without a body. */
export const RECORD_MIN_BYTES = 32
export const RECORD_ALIGNMENT_BYTES = 8

/** Skipped: the unused end of a segment, or a reservation that was cancelled. */
export const RECORD_FILLER = 0
/** The last record of a log that was closed. */
export const RECORD_CLOSING_MARK = 1
// 2 (part of a chain) and 3 (commit of a chain) are reserved for records larger than a segment; this version writes
// none and refuses a log that holds them.

/** Types from here to 255 are the caller's. */
export const FIRST_CALLER_TYPE = 16
export const LAST_TYPE = 255

const HEADER_CRC_AT = 24

/** Bytes a record with such a body takes in a segment. */
export function recordBytes(bodyBytes: number): number {
  return (bodyBytes + RECORD_MIN_BYTES + (RECORD_ALIGNMENT_BYTES - 1)) & -RECORD_ALIGNMENT_BYTES
}

/** What the CRCs of a segment's records start from. */
export interface Salts {
  readonly headerSalt: number
  readonly bodySalt: number
}

/** The memory that a log appends to, in every width; it begins on a multiple of 8. */
export interface RecordMemory {
  readonly bytes: Uint8Array
  readonly words: Uint32Array
  readonly doubles: Float64Array
}

export function recordMemory(bytes: Uint8Array): RecordMemory {
  const { buffer, byteOffset, length } = bytes
  return {
    bytes,
    words: new Uint32Array(buffer, byteOffset, length >>> 2),
    doubles: new Float64Array(buffer, byteOffset, length >>> 3),
  }
}

/**
 * Writes a record's header at `at` (a multiple of 8) and zeros what may become padding. `fileOffset` is where the record
 * will lie in its segment.
 */
export function writeRecordHeader(
  memory: RecordMemory,
  at: number,
  fileOffset: number,
  headerSalt: number,
  type: number,
  bodyBytes: number,
  seq: number,
  markSegment: number,
  markOffset: number,
): void {
  stageRecord(memory, at, type, bodyBytes, seq, markSegment, markOffset)
  sealRecordHeader(memory, at, fileOffset, headerSalt)
}

/** As {@link writeRecordHeader}, without the header's CRC: for a record that gets both of its CRCs when it is copied. */
export function stageRecord(
  memory: RecordMemory,
  at: number,
  type: number,
  bodyBytes: number,
  seq: number,
  markSegment: number,
  markOffset: number,
): void {
  const { words } = memory
  const end = (at + recordBytes(bodyBytes)) >>> 2
  // Padding (at most 7 bytes) and body CRC lie within the last 12; of a short record that includes header bytes,
  // which follow.
  words[end - 3] = 0
  words[end - 2] = 0
  words[end - 1] = 0
  writeHead(memory, at, type, bodyBytes, seq, markSegment, markOffset)
}

/** Writes the first 24 bytes: all of the header but its CRC. */
export function writeHead(
  memory: RecordMemory,
  at: number,
  type: number,
  bodyBytes: number,
  seq: number,
  markSegment: number,
  markOffset: number,
): void {
  const { words } = memory
  const first = at >>> 2
  words[first] = RECORD_MAGIC | (type << 16)
  words[first + 1] = bodyBytes
  memory.doubles[(at >>> 3) + 1] = seq
  words[first + 4] = markSegment
  words[first + 5] = markOffset
}

function sealRecordHeader(memory: RecordMemory, at: number, fileOffset: number, headerSalt: number): void {
  const { words } = memory
  const first = at >>> 2
  words[first + HEADER_CRC_AT / 4] = crc32cOfWords(
    words,
    first,
    HEADER_CRC_AT / 4,
    (headerSalt ^ fileOffset) >>> 0,
  )
}

/** A body longer than this pays for a call of the addon. */
const SHORT_BODY_BYTES = 64

/** Writes the body's CRC, once the body is in its place. */
export function sealRecordBody(
  memory: RecordMemory,
  at: number,
  fileOffset: number,
  bodySalt: number,
  totalBytes: number,
): void {
  const { words } = memory
  const bodyAt = at + RECORD_HEADER_BYTES
  const lengthBytes = totalBytes - RECORD_MIN_BYTES
  const seed = (bodySalt ^ fileOffset) >>> 0
  words[(at + totalBytes - 4) >>> 2] =
    lengthBytes <= SHORT_BODY_BYTES
      ? crc32cOfWords(words, bodyAt >>> 2, lengthBytes >>> 2, seed)
      : crc32c(memory.bytes, bodyAt, lengthBytes, seed)
}

/**
 * Writes the header of a filler of `totalBytes` (a multiple of 8, at least {@link RECORD_MIN_BYTES}). Touches the first
 * 28 bytes only.
 */
export function writeFillerHeader(
  memory: RecordMemory,
  at: number,
  fileOffset: number,
  headerSalt: number,
  totalBytes: number,
  seq: number,
  markSegment: number,
  markOffset: number,
): void {
  const bodyBytes = totalBytes - RECORD_MIN_BYTES
  writeHead(memory, at, RECORD_FILLER, bodyBytes, seq, markSegment, markOffset)
  sealRecordHeader(memory, at, fileOffset, headerSalt)
}

/** A record's header, decoded. One object serves a whole reading. */
export interface RecordHeader {
  type: number
  flags: number
  bodyBytes: number
  seq: number
  markSegment: number
  markOffset: number
  totalBytes: number
}

export function emptyRecordHeader(): RecordHeader {
  return { type: 0, flags: 0, bodyBytes: 0, seq: 0, markSegment: 0, markOffset: 0, totalBytes: 0 }
}

/**
 * Decodes and checks the header at `at` of the buffer (28 bytes of which are there), which lies at `fileOffset` of its
 * segment. False if there is no valid one, or its record would pass `limit`, an offset in the segment.
 */
export function readRecordHeader(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  fileOffset: number,
  limit: number,
  headerSalt: number,
  into: RecordHeader,
): boolean {
  if (view.getUint16(at, true) !== RECORD_MAGIC) return false
  const crc = crc32c(bytes, at, HEADER_CRC_AT, (headerSalt ^ fileOffset) >>> 0) >>> 0
  if (crc !== view.getUint32(at + HEADER_CRC_AT, true)) return false
  const bodyBytes = view.getUint32(at + 4, true)
  if (bodyBytes > limit) return false
  const totalBytes = recordBytes(bodyBytes)
  if (fileOffset + totalBytes > limit) return false
  into.type = view.getUint8(at + 2)
  into.flags = view.getUint8(at + 3)
  into.bodyBytes = bodyBytes
  into.seq = view.getFloat64(at + 8, true)
  into.markSegment = view.getUint32(at + 16, true)
  into.markOffset = view.getUint32(at + 20, true)
  into.totalBytes = totalBytes
  return true
}

/** Whether the body of a record whose header was read is what was written. All of the record is in the buffer. */
export function isRecordBodyValid(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  fileOffset: number,
  bodySalt: number,
  totalBytes: number,
): boolean {
  const crcAt = at + totalBytes - 4
  const bodyAt = at + RECORD_HEADER_BYTES
  const crc = crc32c(bytes, bodyAt, crcAt - bodyAt, (bodySalt ^ fileOffset) >>> 0) >>> 0
  return crc === view.getUint32(crcAt, true)
}
