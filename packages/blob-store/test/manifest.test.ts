import { blobId, type BlobId, FRAME_BYTES } from '@holt/blob-buf-pool'
import { crc32c } from '@holt/uring-native/crc32c'
import { describe, expect, it } from 'vitest'
import {
  encodeRecord,
  encodeSnapshot,
  HEADER,
  type ManifestChange,
  SECTOR_BYTES,
  viewOf,
} from '../src/manifest-format.js'
import { LOG_ROOM_BYTES } from '../src/manifest-log.js'
import { readManifest } from '../src/manifest-reader.js'
import type { Mapping } from '../src/mapping-table.js'
import { codeOf } from './support/frames.js'

const storeId = new Uint8Array(16).fill(7)

/** What a manifest says, in a form that compares. */
function meaningOf(bytes: Uint8Array): string {
  const { mappings, note, recordNumber } = readManifest(bytes, 'manifest')
  return JSON.stringify([recordNumber, [...mappings].sort(), note === undefined ? null : [...note]])
}

function change(...[mappings, removals, note]: [[number, number][], number[], number[]]): ManifestChange {
  return {
    mappings: mappings.map(([id, diskSlot]) => [
      blobId(id),
      { diskSlot, pages: 128 - diskSlot, headerCrc: 1000 + diskSlot },
    ]),
    removals: removals.map(blobId),
    note: new Uint8Array(note),
  }
}

/** A manifest in memory that is appended to as the log does it. */
class Sheet {
  bytes: Uint8Array
  end: number
  number: number
  readonly seed: number

  constructor(mappings: [BlobId, Mapping][] = []) {
    const { bytes, announcedBytes, seed } = encodeSnapshot(
      { mappings, note: undefined },
      { storeId, recordNumber: 40, frameBytes: FRAME_BYTES, roomBytes: LOG_ROOM_BYTES },
    )
    this.bytes = new Uint8Array(announcedBytes)
    this.bytes.set(bytes)
    this.end = bytes.length
    this.number = 40
    this.seed = seed
  }

  record(what: ManifestChange): Uint8Array {
    return encodeRecord(what, this.number + 1, this.bytes.length, this.seed)
  }

  append(what: ManifestChange): this {
    const record = this.record(what)
    this.bytes.set(record, this.end)
    this.end += record.length
    this.number++
    return this
  }
}

function tinySheet(): Sheet {
  return new Sheet([[blobId(9), { diskSlot: 2, pages: 17, headerCrc: 5 }]])
    .append(change([[1, 0]], [], [1]))
    .append(change([[2, 1]], [], [2, 2]))
    .append(
      change(
        [[1, 3]],
        [2],
        Array.from({ length: 600 }, (_, i) => i % 256),
      ),
    )
}

describe('manifest', () => {
  it('says what the snapshot and all records say together', () => {
    const state = readManifest(tinySheet().bytes, 'manifest')
    expect(new Map(state.mappings)).toEqual(
      new Map([
        [9, { diskSlot: 2, pages: 17, headerCrc: 5 }],
        [1, { diskSlot: 3, pages: 125, headerCrc: 1003 }],
      ]),
    )
    expect(state.recordNumber).toBe(43)
    expect(state.note?.length).toBe(600)
    expect(state.storeId).toEqual(storeId)
    expect(state.endBytes).toBe(tinySheet().end)
  })

  it('a changed byte in header or snapshot is corruption, one in a record is made up for by the other copy', async () => {
    const sheet = tinySheet()
    const whole = meaningOf(sheet.bytes)
    for (let at = 0; at < sheet.end; at++) {
      const flip = 1 << (at % 8)
      sheet.bytes[at] ^= flip
      if (at < 2 * SECTOR_BYTES) expect(await codeOf(() => meaningOf(sheet.bytes))).toBe('HOLT_CORRUPT')
      else if (meaningOf(sheet.bytes) !== whole) throw new Error(`byte ${String(at)} changes the meaning`)
      sheet.bytes[at] ^= flip
    }
  })

  it('a changed byte behind the last record is corruption: no crash makes one', async () => {
    const sheet = tinySheet()
    for (let at = sheet.end; at < sheet.bytes.length; at += 509) {
      sheet.bytes[at] ^= 0x40
      expect(await codeOf(() => meaningOf(sheet.bytes))).toBe('HOLT_CORRUPT')
      sheet.bytes[at] ^= 0x40
    }
  })

  it('a file cut short anywhere is corruption', async () => {
    const { bytes } = tinySheet()
    for (let length = 0; length < bytes.length; length++) {
      const code = await codeOf(() => readManifest(bytes.subarray(0, length), 'manifest'))
      if (code !== 'HOLT_CORRUPT') throw new Error(`cut at ${String(length)}: ${String(code)}`)
    }
  })

  it('a record damaged in both copies is corruption, the last one too', async () => {
    const sheet = tinySheet()
    const starts = [1024, 2048, 3072].map((start) => [start, start === 3072 ? 1024 : 512] as const)
    for (const [start, copyBytes] of starts) {
      const damaged = sheet.bytes.slice()
      damaged[start + 100] ^= 1
      damaged[start + copyBytes + 30] ^= 1
      expect(await codeOf(() => meaningOf(damaged))).toBe('HOLT_CORRUPT')
    }
  })

  it('a record before the last that turned into zeros is corruption', async () => {
    const sheet = tinySheet()
    sheet.bytes.fill(0, 2048, 3072)
    expect(await codeOf(() => meaningOf(sheet.bytes))).toBe('HOLT_CORRUPT')
  })

  it('zeros or a foreign piece behind the announced size do not matter, a record there does', async () => {
    const sheet = tinySheet()
    const longer = new Uint8Array(sheet.bytes.length + 8192)
    longer.set(sheet.bytes)
    expect(meaningOf(longer)).toBe(meaningOf(sheet.bytes))
    longer.fill(0xaa, sheet.bytes.length + 512, sheet.bytes.length + 700)
    expect(meaningOf(longer)).toBe(meaningOf(sheet.bytes))
    longer.set(sheet.record(change([[5, 9]], [], [])), sheet.bytes.length)
    expect(await codeOf(() => meaningOf(longer))).toBe('HOLT_CORRUPT')
  })

  it('records of another snapshot never count', async () => {
    const sheet = tinySheet()
    const other = new Sheet([[blobId(8), { diskSlot: 2, pages: 17, headerCrc: 5 }]])
    const stray = encodeRecord(change([[5, 9]], [], []), sheet.number + 1, sheet.bytes.length, other.seed)
    sheet.bytes.set(stray, sheet.end)
    expect(await codeOf(() => meaningOf(sheet.bytes))).toBe('HOLT_CORRUPT')
  })

  it('two blobs in one disk slot are corruption', async () => {
    const sheet = new Sheet().append(change([[1, 4]], [], [])).append(change([[2, 4]], [], []))
    expect(await codeOf(() => meaningOf(sheet.bytes))).toBe('HOLT_CORRUPT')
  })

  it('an intact header of another format version or frame size is HOLT_VERSION', async () => {
    for (const edit of [
      (view: DataView) => {
        view.setUint16(HEADER.version, 2, true)
      },
      (view: DataView) => {
        view.setUint32(HEADER.frameBytes, 65_536, true)
      },
    ]) {
      const { bytes } = tinySheet()
      edit(viewOf(bytes))
      viewOf(bytes).setUint32(HEADER.crc, crc32c(bytes, 0, HEADER.crc, 0), true)
      expect(await codeOf(() => meaningOf(bytes))).toBe('HOLT_VERSION')
    }
  })

  it('names file and offset of the damage', () => {
    const sheet = tinySheet()
    sheet.bytes[SECTOR_BYTES + 3] ^= 1
    expect(() => readManifest(sheet.bytes, '/db/manifest')).toThrow(/\/db\/manifest at 512/)
  })

  it('a crash amid an append leaves the record or the one before, attempt after attempt', () => {
    let state = 12345
    const random = (below: number): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return Math.floor((state / 2 ** 32) * below)
    }
    let before = 0
    let after = 0
    for (let history = 0; history < 150; history++) {
      const sheet = new Sheet()
      for (let step = 0; step < 8; step++) {
        const noteBytes = random(3) === 0 ? random(3000) : random(40)
        const what = change(
          [[1 + random(3), 10 * step + random(10)]],
          [],
          Array.from({ length: noteBytes }, () => random(256)),
        )
        const record = sheet.record(what)
        const old = meaningOf(sheet.bytes)
        const complete = sheet.bytes.slice()
        complete.set(record, sheet.end)
        const wanted = meaningOf(complete)
        if (random(3) > 0) {
          // Any subset of the sectors has landed.
          for (let at = 0; at < record.length; at += SECTOR_BYTES) {
            if (random(2) === 0) continue
            sheet.bytes.set(record.subarray(at, at + SECTOR_BYTES), sheet.end + at)
          }
        } else sheet.bytes = complete
        const found = meaningOf(sheet.bytes)
        expect([old, wanted]).toContain(found)
        const half = record.length / 2
        const landed = (copy: number): boolean =>
          Buffer.compare(
            sheet.bytes.subarray(sheet.end + copy * half, sheet.end + (copy + 1) * half),
            record.subarray(copy * half, (copy + 1) * half),
          ) === 0
        expect(found === wanted).toBe(landed(0) || landed(1))
        if (found !== wanted) {
          before++
          continue
        }
        // What a writable opening does first: both copies again, in place.
        after++
        const { lastRecord } = readManifest(sheet.bytes, 'manifest')
        expect(lastRecord?.offsetBytes).toBe(sheet.end)
        expect(Buffer.compare(lastRecord?.bytes ?? new Uint8Array(0), record)).toBe(0)
        sheet.bytes.set(record, sheet.end)
        sheet.end += record.length
        sheet.number++
      }
    }
    expect(before).toBeGreaterThan(100)
    expect(after).toBeGreaterThan(100)
  })
})
