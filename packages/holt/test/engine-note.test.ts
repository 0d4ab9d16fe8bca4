import type { BlobId } from '@holt/blob-buf-pool'
import type { Lsn } from '@holt/journal'
import { describe, expect, it } from 'vitest'
import { decodeNote, encodeNote, type EngineNote } from '../src/engine-note.js'

const note: EngineNote = {
  rootId: 7 as BlobId,
  seq: 2 ** 52 + 1,
  seqFloor: 2 ** 24,
  journalPosition: (3 * 2 ** 32 + 8192) as Lsn,
  epoch: 5,
  unlinked: [9, 2 ** 24 - 1, 3] as BlobId[],
  superseded: [8, 4] as BlobId[],
}
const NOTE_BYTES = 48 + 5 * 4

describe("the engine's note", () => {
  it('comes back as it was, from any place in a buffer', () => {
    const shifted = new Uint8Array(80)
    shifted.set(encodeNote(note), 5)
    expect(decodeNote(shifted.subarray(5, 5 + NOTE_BYTES))).toEqual(note)
  })

  it('of another version is HOLT_VERSION', () => {
    const bytes = encodeNote(note)
    bytes[0] = 1
    expect(() => decodeNote(bytes)).toThrow(expect.objectContaining({ code: 'HOLT_VERSION' }))
    expect(() => decodeNote(new Uint8Array(0))).toThrow(expect.objectContaining({ code: 'HOLT_VERSION' }))
  })

  it.each([
    ['a byte too few', (bytes: Uint8Array) => bytes.subarray(0, NOTE_BYTES - 1)],
    ['no root', (bytes: Uint8Array) => bytes.fill(0, 4, 8)],
    ['a seq that is no whole number', (bytes: Uint8Array) => bytes.fill(0x55, 8, 16)],
    ['more frames than it has room for', (bytes: Uint8Array) => bytes.fill(4, 40, 41)],
    ['its fixed part cut', (bytes: Uint8Array) => bytes.subarray(0, 46)],
    ['its root among the unlinked frames', (bytes: Uint8Array) => bytes.fill(7, 48, 49)],
    ['a frame unlinked twice', (bytes: Uint8Array) => bytes.fill(9, 56, 57)],
    ['a frame both unlinked and superseded', (bytes: Uint8Array) => bytes.fill(9, 60, 61)],
    ['an epoch that is none', (bytes: Uint8Array) => bytes.fill(0, 32, 40)],
    ['a frame that cannot be', (bytes: Uint8Array) => bytes.fill(0xff, 48, 52)],
    ['a position that is no number', (bytes: Uint8Array) => bytes.fill(0xff, 24, 32)],
  ])('with %s is HOLT_CORRUPT', (_what, damage) => {
    expect(() => decodeNote(damage(encodeNote(note)))).toThrow(
      expect.objectContaining({ code: 'HOLT_CORRUPT' }),
    )
  })
})
