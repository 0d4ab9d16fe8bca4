import { ENVELOPE_BYTES, USED_UNITS } from '@holt/blob-buf-pool'
import { HoltError, isHoltError } from '@holt/errors'
import { describe, expect, it } from 'vitest'
import {
  ArtIndex,
  CompactionPass,
  countPrefix,
  Cursor,
  END,
  isPrefixEmpty,
  KEY,
  longestPrefix,
  MAX_INDEX_KEY_BYTES,
  MIN_USABLE_BYTES,
  verifyTree,
} from '../src/index.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { utf8 } from './modelled-index.js'
import { compareKeys } from '../src/key-range.js'
import { ENTRY_TABLE } from '../src/layout.js'

/*
 * One byte of a sound tree is another, behind the checksums' back. Whatever reads or changes it then comes to its end,
 * stays inside the frames, and throws nothing but HoltErrors.
 */

const SLOTS = 24
/**
 * Nodes that lead around in circles spell ever longer keys, all in order, until one is longer than any may be: a walk is
 * looked at so far, and one of them to its end below.
 */
const MOST_STEPS = 1_000

interface SmallTree {
  readonly source: ArrayFrameSource
  readonly index: ArtIndex
  readonly keys: readonly Uint8Array[]
}

/** Several frames, nodes of every type, terminals, prefixes, and a value with frames of its own. */
function smallTree(): SmallTree {
  const source = new ArrayFrameSource({ frames: SLOTS })
  const index = ArtIndex.create(source, { usableFrameBytes: MIN_USABLE_BYTES })
  const keys: Uint8Array[] = []
  const value = new Uint8Array(12_000).fill(7)
  const put = (key: Uint8Array, valueBytes: number): void => {
    keys.push(key)
    index.key.set(key)
    index.put(key.length, value, 0, valueBytes, keys.length)
  }
  for (let i = 0; i < 60; i++) put(Uint8Array.of(0x77, i * 4), i % 9)
  for (let i = 0; i < 30; i++) put(Uint8Array.of(0x78, 0x2f, i * 5), i % 9)
  for (let i = 0; i < 120; i++) put(utf8(`dir/${String(i % 7)}/name-${String(i)}`), 40)
  for (let i = 0; i < 8; i++) put(utf8(`dir/${'long'.repeat(i)}`), 100)
  put(utf8('large'), 12_000)
  index.key.set(keys[3])
  index.delete(keys[3].length)
  return { source, index, keys: keys.filter((_, i) => i !== 3) }
}

/** The first bytes of every slot: nobody writes there, and what leaves a frame at its end arrives there. */
function envelopes({ source }: SmallTree): string {
  let all = ''
  for (const { u8 } of source.slab.segments)
    for (let at = 0; at + ENVELOPE_BYTES <= u8.length; at += source.slab.frameBytes)
      all += Buffer.from(u8.buffer, u8.byteOffset + at, ENVELOPE_BYTES).toString('latin1')
  return all
}

function usedBytes(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(USED_UNITS, true) * 8
}

/** Whether it threw HOLT_CORRUPT; anything else that is thrown goes on. */
function isFoundOut(operation: () => void): boolean {
  try {
    operation()
    return false
  } catch (error) {
    if (!isHoltError(error, 'HOLT_CORRUPT')) throw error
    return true
  }
}

function walk(index: ArtIndex, reverse: boolean): number {
  const cursor = new Cursor(index, { reverse })
  let before: Uint8Array | undefined
  let steps = 0
  while (cursor.next() !== END) {
    const key = cursor.key.slice(0, cursor.keyLength)
    if (before !== undefined && compareKeys(before, key) < 0 === reverse) return -1
    before = key
    if (++steps > MOST_STEPS) return -1
  }
  return steps
}

it('a walk of nodes that lead around in circles ends with HOLT_CORRUPT', () => {
  for (const reverse of [false, true]) {
    const source = new ArrayFrameSource({ frames: 2 })
    const index = ArtIndex.create(source)
    for (const key of ['a', 'b']) {
      index.key.set(utf8(key))
      index.put(1, utf8('v'), 0, 1, 1)
    }
    const bytes = source.bytes(index.rootId)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const root = view.getUint16(ENTRY_TABLE, true)
    // The first child of the node4 is the node itself.
    view.setUint16(root * 8 + 12, root, true)
    const cursor = new Cursor(index, { reverse })
    let steps = 0
    const toTheEnd = (): void => {
      while (cursor.next() !== END) if (++steps > 3 * MAX_INDEX_KEY_BYTES) throw new Error('it has no end')
    }
    expect(toTheEnd).toThrow(expect.objectContaining({ code: 'HOLT_CORRUPT' }))
    expect(cursor.next()).toBe(END)
    expect(verifyTree(index).problems.length).toBeGreaterThan(0)
    expect(() => countPrefix(index, utf8(''))).not.toThrow(RangeError)
  }
})

describe('a tree of which one byte is another', () => {
  it(
    'is read to the end, or found out; what verify calls sound is walked whole and in order',
    { timeout: 120_000 },
    () => {
      const tree = smallTree()
      const { source, index, keys } = tree
      expect(source.ids.length).toBeGreaterThan(3)
      const kept = envelopes(tree)
      let reported = 0
      let sound = 0
      let thrown = 0
      for (const id of source.ids) {
        const bytes = source.bytes(id)
        const end = usedBytes(bytes)
        for (let at = ENVELOPE_BYTES; at < end; at++) {
          // Of a large value's own bytes a few are as good as all.
          if (at > 4_096 && bytes[ENVELOPE_BYTES + 12] === 0 && at % 64 !== 0) continue
          const held = bytes[at]
          bytes[at] = held ^ (1 << (at & 7))
          try {
            const { problems, keys: counted } = verifyTree(index)
            let thrownHere = 0
            const read = (operation: () => void): void => {
              if (isFoundOut(operation)) thrownHere++
            }
            for (let i = at % 8; i < keys.length; i += 8) {
              const key = keys[i]
              read(() => {
                index.key.set(key)
                if (index.find(key.length) && index.foundLarge)
                  index.readFound(new Uint8Array(64), 0, index.foundLength >>> 1, 8)
              })
              read(() => {
                index.key.set(key)
                index.touch(key.length)
              })
            }
            let forward = -1
            let backward = -1
            read(() => void (forward = walk(index, false)))
            read(() => void (backward = walk(index, true)))
            read(() => void countPrefix(index, utf8('dir/')))
            read(() => void isPrefixEmpty(index, utf8('dir/5')))
            read(() => void longestPrefix(index, utf8('dir/3/name-3000'), 15))
            if (problems.length > 0) reported++
            else {
              sound++
              expect({ at, id, thrownHere, forward, backward }).toEqual({
                at,
                id,
                thrownHere: 0,
                forward: counted,
                backward: counted,
              })
            }
            if (thrownHere > 0) thrown++
          } catch (error) {
            throw new Error(`byte ${String(at)} of blob ${String(id)}: ${String(error)}`, { cause: error })
          } finally {
            bytes[at] = held
          }
        }
      }
      expect(envelopes(tree) === kept).toBe(true)
      expect(verifyTree(index).problems).toEqual([])
      expect(reported).toBeGreaterThan(3_000)
      expect(thrown).toBeGreaterThan(500)
      // Keys, values and versions are bytes like any others to the index: their checksum is the frame's.
      expect(sound).toBeGreaterThan(3_000)
    },
  )

  const changes: readonly (readonly [string, (tree: SmallTree, at: number) => void])[] = [
    [
      'put',
      ({ index, keys }, at) => {
        for (let i = at % 3; i < keys.length; i += 3) {
          index.key.set(keys[i])
          index.key[keys[i].length] = 0x2e
          index.put(keys[i].length + 1, keys[0], 0, 2, 1_000)
        }
      },
    ],
    [
      'delete',
      ({ index, keys }, at) => {
        for (let i = at % 3; i < keys.length; i += 3) {
          index.key.set(keys[i])
          index.delete(keys[i].length)
        }
      },
    ],
    [
      'deletePrefix',
      ({ index }, at) => {
        const prefix = utf8(['dir', 'dir/4/', 'w', ''][at % 4])
        index.key.set(prefix)
        index.deletePrefix(prefix.length)
        for (let i = 0; i < SLOTS && index.unlinked.size > 0; i++) index.freeNextUnlinked()
      },
    ],
    [
      'movePrefix',
      ({ index }, at) => void index.movePrefix(utf8(['dir', 'dir/4/', 'w'][at % 3]), utf8('elsewhere/')),
    ],
    [
      'compactStep',
      ({ index }) => {
        const pass = new CompactionPass()
        for (let i = 0; i < 1_000 && index.compactStep(pass); i++);
      },
    ],
    [
      'a put between two steps of a cursor',
      ({ index, keys }, at) => {
        const cursor = new Cursor(index, { reverse: at % 2 === 0 })
        for (let i = 0; i < 100 && cursor.next() === KEY; i++) {
          index.key.set(keys[i])
          index.put(keys[i].length, keys[0], 0, i % 2, 2_000)
        }
      },
    ],
  ]

  it.each(changes)('%s comes to its end, inside the frames', { timeout: 120_000 }, (_name, change) => {
    const STRIDE = 61
    const places: [number, number][] = []
    const { source } = smallTree()
    for (const id of source.ids)
      for (let at = ENVELOPE_BYTES + (id % STRIDE); at < usedBytes(source.bytes(id)); at += STRIDE)
        places.push([id, at])
    let refused = 0
    for (const [id, at] of places) {
      const tree = smallTree()
      const kept = envelopes(tree)
      const frame = tree.source.ids.find((candidate) => candidate === id)
      if (frame === undefined) throw new Error('the trees differ')
      tree.source.bytes(frame)[at] ^= 1 << (at & 7)
      const wasSound = verifyTree(tree.index).problems.length === 0
      const place = `byte ${String(at)} of blob ${String(id)}`
      try {
        change(tree, at)
      } catch (error) {
        if (!(error instanceof HoltError) || wasSound)
          throw new Error(`${place}: ${String(error)}`, { cause: error })
        refused++
      }
      expect(envelopes(tree) === kept, `${place}: a write outside of a frame`).toBe(true)
      if (wasSound) expect(verifyTree(tree.index).problems, place).toEqual([])
    }
    expect(refused).toBeGreaterThan(0)
  })
})
