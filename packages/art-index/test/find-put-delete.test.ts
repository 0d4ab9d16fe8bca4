import { describe, expect, it } from 'vitest'
import {
  ArtIndex,
  MAX_USABLE_BYTES,
  maxKeyBytes,
  maxValueBytes,
  MIN_USABLE_BYTES,
  treeStatistics,
  verifyTree,
} from '../src/index.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { ModelledIndex, random, utf8 } from './modelled-index.js'

type InnerType = 'node4' | 'node16' | 'node48' | 'node256'

/** The one inner node's type in a tree that has exactly one. */
function innerType(index: ArtIndex): InnerType {
  const { nodesByType } = treeStatistics(index)
  const types = (['node4', 'node16', 'node48', 'node256'] as const).filter((type) => nodesByType[type] > 0)
  expect(types).toHaveLength(1)
  expect(nodesByType[types[0]]).toBe(1)
  return types[0]
}

function expectSound(model: ModelledIndex): void {
  model.checkAll()
  expect(verifyTree(model.index)).toMatchObject({ problems: [], keys: model.map.size })
}

describe('node types', () => {
  const growth: [number, InnerType][] = [
    [2, 'node4'],
    [4, 'node4'],
    [5, 'node16'],
    [16, 'node16'],
    [17, 'node48'],
    [48, 'node48'],
    [49, 'node256'],
    [256, 'node256'],
  ]
  for (const order of ['ascending', 'descending', 'mixed'] as const) {
    it(`grow at 5, 17 and 49 children and shrink at 37, 12 and 3, ${order}`, () => {
      const model = new ModelledIndex()
      const byteAt = (i: number): number =>
        order === 'ascending' ? i : order === 'descending' ? 255 - i : (i * 167) & 0xff
      const keyAt = (i: number): Uint8Array => Uint8Array.of(1, 2, 3, 4, 5, byteAt(i), 9)
      for (let count = 1; count <= 256; count++) {
        model.put(keyAt(count - 1), 3)
        const expected = growth.find(([children]) => children === count)
        if (expected) {
          expect(innerType(model.index)).toBe(expected[1])
          expectSound(model)
        }
      }
      const types: InnerType[] = []
      for (let count = 255; count >= 2; count--) {
        model.delete(keyAt(count))
        types[count] = innerType(model.index)
        if (count % 16 === 0 || count < 20) expectSound(model)
      }
      expect([types[38], types[37]]).toEqual(['node256', 'node48'])
      expect([types[13], types[12]]).toEqual(['node48', 'node16'])
      expect([types[4], types[3]]).toEqual(['node16', 'node4'])
      model.delete(keyAt(1))
      // The last child merges with its node: one leaf is left.
      expect(treeStatistics(model.index).nodesByType).toMatchObject({ leaf: 1, node4: 0 })
      expectSound(model)
    })
  }

  it('keep a removed child of a node48 from leaving a gap', () => {
    const model = new ModelledIndex()
    for (let i = 0; i < 40; i++) model.put(Uint8Array.of(i * 3), 1)
    for (const i of [0, 39, 20, 7]) {
      model.delete(Uint8Array.of(i * 3))
      expectSound(model)
    }
    model.put(Uint8Array.of(200), 1)
    expectSound(model)
  })
})

describe('keys that contain one another', () => {
  const sets: Record<string, readonly string[]> = {
    'the empty key among others': ['', 'a', 'b', '\0'],
    'a and a with zero bytes behind': ['a', 'a\0', 'a\0\0', 'a\0\0\0\0\0'],
    'a chain': ['', 'a', 'aa', 'aaa', 'aaaa', 'aaaab', 'aaaaa'],
    paths: ['bucket/', 'bucket/dir/', 'bucket/dir/file', 'bucket/dir/file2', 'bucket', 'bucketeer'],
    'a key that parts at each byte of a long prefix': Array.from(
      { length: 20 },
      (_, i) => `${'p'.repeat(i)}q${'r'.repeat(20 - i)}`,
    ),
  }
  for (const [name, keys] of Object.entries(sets)) {
    it(`are kept apart: ${name}`, () => {
      for (const seed of [1, 2, 3, 4, 5]) {
        const next = random(seed)
        const order = [...keys].sort(() => next() - 0.5)
        const model = new ModelledIndex()
        for (const key of order) {
          model.put(utf8(key), Math.floor(next() * 20))
          expectSound(model)
          for (const other of keys) model.check(utf8(other))
        }
        for (const key of order.reverse()) {
          model.delete(utf8(key))
          expectSound(model)
          for (const other of keys) model.check(utf8(other))
        }
        expect(treeStatistics(model.index)).toMatchObject({ frames: 1, keys: 0, liveBytes: 0, valueBytes: 0 })
      }
    })
  }

  it('are not found by a key that ends inside a path, or goes on behind a leaf', () => {
    const model = new ModelledIndex()
    model.put(utf8('bucket/dir/a'), 5)
    model.put(utf8('bucket/dir/b'), 5)
    for (const key of ['', 'bucket', 'bucket/dir/', 'bucket/dir/aa', 'bucket/dir/c', 'bucket/dix/a', 'c']) {
      model.check(utf8(key))
      model.delete(utf8(key))
    }
    expectSound(model)
  })
})

describe('values', () => {
  it('are replaced by longer, shorter and equally long ones', () => {
    const next = random(3)
    const model = new ModelledIndex()
    for (let i = 0; i < 300; i++) model.put(utf8(`key${String(i)}`), Math.floor(next() * 100))
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 300; i += 1 + Math.floor(next() * 5))
        model.put(utf8(`key${String(i)}`), Math.floor(next() * 400))
      expectSound(model)
    }
  })

  it('come from any offset of any source', () => {
    const { index } = new ModelledIndex()
    const buffer = new ArrayBuffer(300)
    for (const start of [0, 1, 2, 3, 4]) {
      const source = new Uint8Array(buffer, start, 280 + (start % 3))
      for (let i = 0; i < source.length; i++) source[i] = (i * 37) & 0xff
      for (let length = 0; length < 130; length += 1 + (length >> 4)) {
        for (const offset of [0, 1, 2, 3, 7, source.length - length]) {
          index.key.set([offset & 0xff, length])
          index.put(2, source, offset, length, 1)
          expect(index.find(2)).toBe(true)
          const found = index.foundBytes.slice(index.foundOffset, index.foundOffset + index.foundLength)
          expect(found).toEqual(source.slice(offset, offset + length))
        }
      }
    }
  })

  it('may be given as bytes of the index itself, also when room must be made', () => {
    const model = new ModelledIndex({ usableFrameBytes: MIN_USABLE_BYTES })
    const { index } = model
    model.put(utf8('source'), 700)
    const kept = model.map.get(Buffer.from('source').toString('hex'))
    for (let i = 0; i < 40; i++) {
      index.key.set(utf8('source'))
      expect(index.find(6)).toBe(true)
      const { foundBytes, foundOffset, foundLength } = index
      index.key.set(utf8(`copy${String(i)}`))
      const keyLength = utf8(`copy${String(i)}`).length
      index.put(keyLength, foundBytes, foundOffset, foundLength, i)
      expect(index.find(keyLength)).toBe(true)
      expect(index.foundBytes.slice(index.foundOffset, index.foundOffset + index.foundLength)).toEqual(
        kept?.value,
      )
    }
    expect(model.source.ids.length).toBeGreaterThan(1)
  })

  it('keep versions up to 2^53 - 1', () => {
    const { index } = new ModelledIndex()
    for (const version of [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 12_345, Number.MAX_SAFE_INTEGER]) {
      index.put(3, index.key, 0, 3, version)
      expect(index.find(3)).toBe(true)
      expect(index.foundVersion).toBe(version)
    }
  })
})

describe('limits', () => {
  it('refuse a key that is too long and a value that is too large, and change nothing', () => {
    for (const usableFrameBytes of [MIN_USABLE_BYTES, MAX_USABLE_BYTES]) {
      const model = new ModelledIndex({ usableFrameBytes })
      const { index } = model
      const longest = maxKeyBytes(usableFrameBytes)
      const largest = maxValueBytes(usableFrameBytes)
      index.key.fill(0x61)
      const changes = index.changes
      expect(() => index.put(longest + 1, index.key, 0, 1, 1)).toThrow(
        expect.objectContaining({ code: 'HOLT_KEY_TOO_LONG' }),
      )
      expect(() => index.delete(longest + 1)).toThrow(expect.objectContaining({ code: 'HOLT_KEY_TOO_LONG' }))
      expect(() => index.put(1, new Uint8Array(largest + 1), 0, largest + 1, 1)).toThrow(
        expect.objectContaining({ code: 'HOLT_VALUE_TOO_LARGE' }),
      )
      expect(() => index.put(1, new Uint8Array(4), 2, 3, 1)).toThrow(
        expect.objectContaining({ code: 'HOLT_INVALID_ARGUMENT' }),
      )
      expect(index.changes).toBe(changes)
      expect(verifyTree(index)).toMatchObject({ problems: [], keys: 0 })
      index.key.fill(0x61)
      expect(index.put(longest, new Uint8Array(largest).fill(7), 0, largest, 1)).toBe(true)
      expect(index.find(longest)).toBe(true)
      expect(index.foundLength).toBe(largest)
    }
  })

  it('refuse frame sizes that could get stuck', () => {
    const source = new ArrayFrameSource({ frames: 4 })
    for (const usableFrameBytes of [
      0,
      MIN_USABLE_BYTES - 8,
      MAX_USABLE_BYTES + 8,
      MIN_USABLE_BYTES + 1,
      Number.NaN,
    ]) {
      expect(() => ArtIndex.create(source, { usableFrameBytes })).toThrow(
        expect.objectContaining({ code: 'HOLT_INVALID_ARGUMENT' }),
      )
    }
    expect(source.ids).toEqual([])
  })
})

describe('changes', () => {
  it('count every put and delete that does something, and nothing else', () => {
    const { index } = new ModelledIndex()
    const steps: (() => boolean)[] = [
      () => index.put(2, index.key, 0, 2, 1),
      () => index.put(2, index.key, 0, 2, 2),
      () => index.delete(2),
    ]
    let changes = index.changes
    for (const step of steps) {
      step()
      expect(index.changes).toBeGreaterThan(changes)
      changes = index.changes
    }
    expect(index.delete(2)).toBe(false)
    index.touch(2)
    index.find(2)
    expect(index.changes).toBe(changes)
  })
})
