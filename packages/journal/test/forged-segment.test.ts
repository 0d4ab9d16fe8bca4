/** Headers of segments and records whose checksums hold and whose contents cannot be, and the names of files. */
import { crc32c } from '@holt/uring-native/crc32c'
import { describe, expect, test } from 'vitest'
import { isJournalFileName } from '../src/index.js'
import {
  emptyRecordHeader,
  readRecordHeader,
  RECORD_HEADER_BYTES,
  recordBytes,
  recordMemory,
  writeRecordHeader,
} from '../src/record.js'
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  FIRST_RECORD_OFFSET,
  type SegmentHeader,
} from '../src/segment-header.js'
import { journalPath } from '../src/segment-names.js'
import { SEGMENT_BYTES, STORE_ID } from './fixtures.js'

const HEADER: SegmentHeader = {
  storeId: STORE_ID,
  number: 7,
  segmentBytes: SEGMENT_BYTES,
  headerSalt: 1,
  bodySalt: 2,
  seqFloor: 30,
  predecessorNumber: 6,
  predecessorEndBytes: FIRST_RECORD_OFFSET,
  markSegment: 6,
  markOffset: FIRST_RECORD_OFFSET,
  priorSeq: 29,
  createdUnixMs: 1_700_000_000_000,
}

describe('a segment header whose checksum holds', () => {
  test('is read from either copy', () => {
    const bytes = encodeSegmentHeader(HEADER)
    expect(decodeSegmentHeader(bytes, 'segment')).toMatchObject(HEADER)
    bytes.fill(0, 0, 128)
    expect(decodeSegmentHeader(bytes, 'segment')).toMatchObject(HEADER)
  })

  test.each<[string, Partial<SegmentHeader>]>([
    ['number 0', { number: 0, predecessorNumber: 0, predecessorEndBytes: 0, markSegment: 0 }],
    ['a number above the highest', { number: 2 ** 25 }],
    ['a size that is no multiple of 4096', { segmentBytes: SEGMENT_BYTES + 512 }],
    ['a size below the least', { segmentBytes: 4_096 }],
    ['a size above the largest', { segmentBytes: 2 ** 28 }],
    ['itself as its predecessor', { predecessorNumber: 7 }],
    ["a predecessor's end that is no multiple of 8", { predecessorEndBytes: FIRST_RECORD_OFFSET + 4 }],
    ['a predecessor without an end', { predecessorEndBytes: 0 }],
    ['an end without a predecessor', { predecessorNumber: 0 }],
    ['a stable mark in itself', { markSegment: 7 }],
    ['a floor that is no whole number', { seqFloor: 0.5 }],
    ['a floor below 0', { seqFloor: -1 }],
    ['a prior seq that is no whole number', { priorSeq: 0.5 }],
    ['a prior seq below 0', { priorSeq: -1 }],
    ['no time', { createdUnixMs: Number.NaN }],
  ])('and names %s is corruption', (_what, wrong) => {
    const bytes = encodeSegmentHeader({ ...HEADER, ...wrong })
    expect(() => decodeSegmentHeader(bytes, 'segment')).toThrow(
      expect.objectContaining({
        code: 'HOLT_CORRUPT',
        message: expect.stringContaining('out of range') as string,
      }),
    )
  })

  test('of another format is a version error', () => {
    const bytes = encodeSegmentHeader(HEADER)
    const view = new DataView(bytes.buffer)
    for (const at of [0, 4_096]) {
      view.setUint32(at + 8, 9, true)
      view.setUint32(at + 124, crc32c(bytes, at, 124, 0), true)
    }
    expect(() => decodeSegmentHeader(bytes, 'segment')).toThrow(
      expect.objectContaining({
        code: 'HOLT_VERSION',
        message: expect.stringContaining('format 9') as string,
      }),
    )
  })

  test('in each of two copies that differ is corruption', () => {
    const bytes = encodeSegmentHeader(HEADER)
    bytes.set(encodeSegmentHeader({ ...HEADER, seqFloor: 31 }).subarray(0, 128), 4_096)
    expect(() => decodeSegmentHeader(bytes, 'segment')).toThrow(
      expect.objectContaining({
        code: 'HOLT_CORRUPT',
        message: expect.stringContaining('contradict') as string,
      }),
    )
  })
})

describe('a record header whose checksum holds', () => {
  const LIMIT = 4_096
  const SALT = 99

  /** Whether a header that says `bodyBytes` is taken at that offset of a segment that ends at LIMIT. */
  function isTaken(fileOffset: number, bodyBytes: number): boolean {
    const bytes = new Uint8Array(LIMIT)
    writeRecordHeader(recordMemory(bytes), 0, fileOffset, SALT, 20, bodyBytes, 5, 1, 2)
    const into = emptyRecordHeader()
    const taken = readRecordHeader(bytes, new DataView(bytes.buffer), 0, fileOffset, LIMIT, SALT, into)
    if (taken) expect(into).toMatchObject({ type: 20, bodyBytes, seq: 5, totalBytes: recordBytes(bodyBytes) })
    return taken
  }

  test('is taken if the record ends at the limit, and not if it passes that', () => {
    const body = 1_000 - RECORD_HEADER_BYTES - 4
    expect(recordBytes(body)).toBe(1_000)
    expect(isTaken(LIMIT - 1_000, body)).toBe(true)
    expect(isTaken(LIMIT - 1_000 + 8, body)).toBe(false)
    expect(isTaken(LIMIT - 1_000, body + 1)).toBe(false)
  })

  test.each([LIMIT + 1, 2 ** 31 - 1, 2 ** 32 - 1])('is not taken with a body of %i bytes', (bodyBytes) => {
    expect(isTaken(0, bodyBytes)).toBe(false)
  })
})

describe('names of files', () => {
  test.each([
    ['journal-creating.wal', true],
    ['journal-spare.wal', true],
    ['journal-000000000007.wal', true],
    ['journal-7.wal', false],
    ['journal-000000000007.wal.bak', false],
    ['manifest', false],
  ])('%s belongs to a journal: %s', (name, expected) => {
    expect(isJournalFileName(name)).toBe(expected)
  })

  test('stand behind their directory with one slash between', () => {
    expect(journalPath('/store', 'name')).toBe('/store/name')
    expect(journalPath('/store/', 'name')).toBe('/store/name')
  })
})
