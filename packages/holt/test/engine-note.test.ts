import type { KeptFrame } from '@holt/art-index'
import type { BlobId } from '@holt/blob-buf-pool'
import type { Lsn } from '@holt/journal'
import { describe, expect, it } from 'vitest'
import { decodeNote, encodeNote, type EngineNote, type SnapshotNote } from '../src/engine-note.js'

const frame = (id: number, isSingle: boolean, birth: number, death: number): KeptFrame => ({
  id: id as BlobId,
  isSingle,
  birth,
  death,
})
const snapshot = (name: string, rootId: number, epoch: number, seq: number): SnapshotNote => ({
  name,
  rootId: rootId as BlobId,
  epoch,
  seq,
  takenMs: 1_700_000_000_000.5,
})

const note: EngineNote = {
  rootId: 7 as BlobId,
  seq: 2 ** 52 + 1,
  seqFloor: 2 ** 24,
  journalPosition: (3 * 2 ** 32 + 8192) as Lsn,
  epoch: 5,
  snapshots: [snapshot('a', 8, 2, 40), snapshot('Ünïcode', 7, 4, 2 ** 52)],
  // As groups: roots before single frames.
  unlinked: [
    frame(9, false, -1, 3),
    frame(2 ** 24 - 1, true, 0, 5),
    frame(3, true, 0, 5),
    frame(8, false, 5, 5),
  ],
}
/** Group by group: where its birth lies. */
const GROUPS_AT = [48, 76, 108]
const SNAPSHOTS_AT = 136
const NOTE_BYTES = SNAPSHOTS_AT + 32 + 1 + 32 + 9

const corrupt = expect.objectContaining({ code: 'HOLT_CORRUPT' }) as Error
const setFloat =
  (at: number, value: number) =>
  (bytes: Uint8Array): Uint8Array => {
    new DataView(bytes.buffer).setFloat64(at, value, true)
    return bytes
  }
const setId =
  (at: number, value: number) =>
  (bytes: Uint8Array): Uint8Array => {
    new DataView(bytes.buffer).setUint32(at, value, true)
    return bytes
  }

describe("the engine's note", () => {
  it('comes back as it was, from any place in a buffer', () => {
    const shifted = new Uint8Array(NOTE_BYTES + 20)
    shifted.set(encodeNote(note), 5)
    expect(encodeNote(note)).toHaveLength(NOTE_BYTES)
    expect(decodeNote(shifted.subarray(5, 5 + NOTE_BYTES))).toEqual(note)
    const empty = { ...note, snapshots: [], unlinked: [] }
    expect(encodeNote(empty)).toHaveLength(48)
    expect(decodeNote(encodeNote(empty))).toEqual(empty)
  })

  it('takes four bytes for a frame that is like another one', () => {
    const unlinked = Array.from({ length: 1_000 }, (_, i) => frame(i + 10, i % 2 === 0, 5, 5))
    expect(encodeNote({ ...note, unlinked }).length).toBe(NOTE_BYTES - 3 * 24 - 4 * 4 + 24 + 4_000)
  })

  it('of another version is HOLT_VERSION', () => {
    const bytes = encodeNote(note)
    bytes[0] = 1
    expect(() => decodeNote(bytes)).toThrow(expect.objectContaining({ code: 'HOLT_VERSION' }))
    expect(() => decodeNote(new Uint8Array(0))).toThrow(expect.objectContaining({ code: 'HOLT_VERSION' }))
  })

  it('cut anywhere, or longer than it says, is HOLT_CORRUPT', () => {
    const bytes = encodeNote(note)
    for (let length = 2; length < bytes.length; length++)
      expect(() => decodeNote(bytes.subarray(0, length)), String(length)).toThrow(corrupt)
    expect(() => decodeNote(Buffer.concat([bytes, Buffer.alloc(1)]))).toThrow(corrupt)
  })

  it.each([
    ['no root', setId(4, 0)],
    ['a seq that is no whole number', (bytes: Uint8Array) => bytes.fill(0x55, 8, 16)],
    ['a position that is no number', (bytes: Uint8Array) => bytes.fill(0xff, 24, 32)],
    ['an epoch that is none', setFloat(32, 0)],
    ['more groups than it has room for', setId(40, 9)],
    ['more snapshots than it has room for', setId(44, 3)],
    ['more frames in a group than it has room for', setId(GROUPS_AT[0] + 16, 2 ** 32 - 1)],
    ['its root among the frames', setId(GROUPS_AT[0] + 24, 7)],
    ['a frame that cannot be', setId(GROUPS_AT[0] + 24, 2 ** 24)],
    ['a frame twice in a group', setId(GROUPS_AT[1] + 24, 3)],
    ['a frame in two groups', setId(GROUPS_AT[1] + 24, 9)],
    ['a death in the future', setFloat(GROUPS_AT[0] + 8, 6)],
    ['a death before the birth', setFloat(GROUPS_AT[2], 6)],
    ['a birth that is no epoch', setFloat(GROUPS_AT[2], 0.5)],
    ['a single frame without a birth', setFloat(GROUPS_AT[1], -1)],
    ['a snapshot without a root', setId(SNAPSHOTS_AT, 0)],
    ['two snapshots of one name', (bytes: Uint8Array) => encodeNote(doubled(bytes))],
    ['a snapshot without a name', (bytes: Uint8Array) => encodeNote(nameless(bytes))],
    ['snapshots of one epoch', setFloat(SNAPSHOTS_AT + 8, 4)],
    ['a snapshot of an epoch that has not ended', setFloat(SNAPSHOTS_AT + 33 + 8, 5)],
    ['a snapshot of a later write', setFloat(SNAPSHOTS_AT + 33 + 16, 2 ** 52 + 2)],
    ['snapshots in another order than their seqs', setFloat(SNAPSHOTS_AT + 33 + 16, 39)],
    ['a snapshot of no time', setFloat(SNAPSHOTS_AT + 24, NaN)],
  ])('with %s is HOLT_CORRUPT', (_what, damage) => {
    expect(() => decodeNote(damage(encodeNote(note)))).toThrow(corrupt)
  })
})

function doubled(bytes: Uint8Array): EngineNote {
  const { snapshots, ...rest } = decodeNote(bytes)
  return { ...rest, snapshots: snapshots.map((each) => ({ ...each, name: 'same' })) }
}

function nameless(bytes: Uint8Array): EngineNote {
  const { snapshots, ...rest } = decodeNote(bytes)
  return { ...rest, snapshots: snapshots.map((each, i) => (i === 0 ? { ...each, name: '' } : each)) }
}
