import { lstatSync } from 'node:fs'

import { describe, expect, test } from 'vitest'

import { STAT_RECORD_BYTES, packStat, sizeOfRecord, unpackStat } from '../src/stat-record.js'

const STAT = {
  mode: 0o100644,
  uid: 1000,
  gid: 2 ** 32 - 1,
  nlink: 3,
  size: 2 ** 53,
  mtimeMs: -0.25,
  ino: 2 ** 40 + 1,
}

function pack(stat: Parameters<typeof packStat>[0]): Uint8Array {
  const bytes = new Uint8Array(STAT_RECORD_BYTES)
  packStat(stat, new DataView(bytes.buffer), 0)
  return bytes
}

describe('a stat record', () => {
  test('gives back every field, also at the edges of its range', () => {
    expect(unpackStat(pack(STAT))).toEqual({
      mode: 0o100644,
      uid: 1000,
      gid: 2 ** 32 - 1,
      linkCount: 3,
      sizeBytes: 2 ** 53,
      modifiedMs: -0.25,
      inode: 2 ** 40 + 1,
    })
  })

  test('gives the size without the rest', () => {
    expect(sizeOfRecord(pack(STAT))).toBe(2 ** 53)
  })

  test('takes what lstat returns', () => {
    const stat = lstatSync(import.meta.dirname)
    const record = unpackStat(pack(stat))
    expect(record.mode).toBe(stat.mode)
    expect(record.modifiedMs).toBe(stat.mtimeMs)
  })

  test('writes where it is told and nowhere else', () => {
    const bytes = new Uint8Array(STAT_RECORD_BYTES + 8).fill(0xee)
    packStat(STAT, new DataView(bytes.buffer), 4)
    expect(unpackStat(bytes.subarray(4, 4 + STAT_RECORD_BYTES)).uid).toBe(1000)
    expect([...bytes.subarray(0, 4), ...bytes.subarray(4 + STAT_RECORD_BYTES)]).toEqual(Array(8).fill(0xee))
  })

  test('refuses bytes of another length', () => {
    expect(() => unpackStat(new Uint8Array(STAT_RECORD_BYTES - 1))).toThrow(RangeError)
  })
})
