import { describe, expect, it } from 'vitest'
import {
  ArtIndex,
  FrameAbsent,
  maxKeyBytes,
  MIN_USABLE_BYTES,
  treeStatistics,
  verifyTree,
} from '../src/index.js'
import { BUMP_UNITS, COMPACTIONS } from '../src/layout.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { ModelledIndex, random, utf8 } from './modelled-index.js'

const VALUE = new Uint8Array(4_096).fill(0x5a)

function put(index: ArtIndex, key: Uint8Array, length: number): void {
  index.key.set(key)
  index.put(key.length, VALUE, 0, length, 1)
}

function has(index: ArtIndex, key: Uint8Array): boolean {
  index.key.set(key)
  return index.find(key.length)
}

/** Loads the keys, finds them all again, checks the tree, deletes them all, and tells how the tree looked when full. */
function loadAndUnload(
  keys: readonly Uint8Array[],
  valueBytes: number,
  usableFrameBytes?: number,
): { frames: number; averageFill: number } {
  const source = new ArrayFrameSource({ frames: 1_500 })
  const index = ArtIndex.create(source, usableFrameBytes === undefined ? {} : { usableFrameBytes })
  for (const key of keys) put(index, key, valueBytes)
  expect(keys.filter((key) => !has(index, key))).toEqual([])
  const statistics = treeStatistics(index)
  expect(statistics.keys).toBe(keys.length)
  expect(verifyTree(index)).toMatchObject({
    problems: [],
    keys: keys.length,
    valueBytes: keys.length * valueBytes,
  })
  for (const key of keys) {
    index.key.set(key)
    if (!index.delete(key.length)) throw new Error(`lost ${Buffer.from(key).toString('hex')}`)
  }
  expect(source.ids).toEqual([index.rootId])
  expect(treeStatistics(index)).toMatchObject({ keys: 0, valueBytes: 0, frames: 1, liveBytes: 0 })
  return { frames: statistics.frames, averageFill: statistics.fill.average }
}

function shuffled<T>(items: readonly T[], next: () => number): T[] {
  return items
    .map((item) => ({ item, place: next() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item)
}

describe('frames that overflow', () => {
  const count = 100_000
  const numbered = Array.from({ length: count }, (_, i) => utf8(`k${String(i).padStart(8, '0')}`))

  for (const valueBytes of [0, 1]) {
    it(`take ${String(count)} keys with values of ${String(valueBytes)} bytes in any order, well filled`, () => {
      const sorted = loadAndUnload(numbered, valueBytes)
      const reverse = loadAndUnload([...numbered].reverse(), valueBytes)
      const mixed = loadAndUnload(shuffled(numbered, random(1)), valueBytes)
      for (const { frames, averageFill } of [sorted, reverse, mixed]) {
        expect(frames).toBeGreaterThan(1)
        expect(averageFill).toBeGreaterThan(0.5)
      }
    })
  }

  it('take random binary keys of 32 bytes without leaving near-empty frames behind', () => {
    const next = random(5)
    const keys = Array.from({ length: 60_000 }, () => {
      const key = new Uint8Array(32)
      for (let i = 0; i < key.length; i++) key[i] = Math.floor(next() * 256)
      return key
    })
    const { frames, averageFill } = loadAndUnload(keys, 8)
    expect(frames).toBeGreaterThan(4)
    expect(averageFill).toBeGreaterThan(0.45)
  })

  it('take paths in sorted and in random order, well filled', () => {
    const paths = Array.from({ length: 40_000 }, (_, i) =>
      utf8(
        `bucket-${String(i % 4)}/year=${String(2000 + (i % 23))}/day-${String(i % 365)}/object-${String(i)}.parquet`,
      ),
    )
    const sorted = [...paths].sort((a, b) => Buffer.compare(a, b))
    expect(loadAndUnload(sorted, 60).averageFill).toBeGreaterThan(0.5)
    expect(loadAndUnload([...sorted].reverse(), 60).averageFill).toBeGreaterThan(0.5)
    expect(loadAndUnload(shuffled(paths, random(9)), 60).averageFill).toBeGreaterThan(0.5)
  })

  it('take keys of 4 KiB that part anywhere', () => {
    const next = random(13)
    const keys: Uint8Array[] = []
    for (let i = 0; i < 1_500; i++) {
      const key = new Uint8Array(4_096).fill(0x78)
      key[Math.floor(next() * 4_096)] = Math.floor(next() * 256)
      key[Math.floor(next() * 4_096)] = Math.floor(next() * 256)
      keys.push(key)
    }
    const distinct = [...new Map(keys.map((key) => [Buffer.from(key).toString('latin1'), key])).values()]
    loadAndUnload(distinct, 100)
  })

  it('take a chain of keys each of which is a prefix of the next', () => {
    const keys = Array.from({ length: 250 }, (_, i) => new Uint8Array(i).fill(0x61))
    loadAndUnload(keys, 900, MIN_USABLE_BYTES)
    loadAndUnload([...keys].reverse(), 900, MIN_USABLE_BYTES)
    loadAndUnload(
      Array.from({ length: 1_366 }, (_, i) => new Uint8Array(i * 3).fill(0x61)),
      600,
    )
  })

  it('take 256 large directories with long names below one node, and keys that part from all of them', () => {
    const longest = maxKeyBytes(MIN_USABLE_BYTES)
    const shared = 'p'.repeat(30)
    const keys: Uint8Array[] = []
    for (let i = 0; i < 256; i++) {
      const directory = Buffer.concat([utf8(shared), Uint8Array.of(i), utf8(`${'n'.repeat(90)}/`)])
      for (let file = 0; file < 12; file++) keys.push(Buffer.concat([directory, utf8(`file${String(file)}`)]))
    }
    // Prefixes of everything, with the largest values, and the longest keys that part at each byte of the shared path.
    for (let i = 0; i <= 31; i++)
      keys.push(utf8(shared.slice(0, i)), utf8(shared.slice(0, i) + 'q'.repeat(longest - i)))
    loadAndUnload(
      [...new Map(keys.map((key) => [Buffer.from(key).toString('hex'), key])).values()],
      420,
      MIN_USABLE_BYTES,
    )
  })

  it('take values of the largest size', () => {
    const keys = Array.from({ length: 300 }, (_, i) => utf8(`${String(i % 7)}/${String(i)}`))
    loadAndUnload(keys, 1_024, MIN_USABLE_BYTES)
  })
})

describe('a frame with much waste', () => {
  it('is compacted before anything moves out of it', () => {
    const model = new ModelledIndex({ usableFrameBytes: 65_536 })
    const { index, source } = model
    const header = (): DataView => {
      const bytes = source.bytes(index.rootId)
      return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    }
    const keyAt = (i: number): Uint8Array => utf8(`key/${String((i * 7) % 1_000)}`)
    for (let i = 0; i < 500; i++) model.put(keyAt(i), 60)
    for (let i = 0; i < 400; i++) model.delete(keyAt(i))
    // Other sizes than those that were freed: no free list serves them.
    for (let i = 0; i < 250; i++) model.put(keyAt(i), 130)
    expect(header().getUint32(COMPACTIONS, true)).toBeGreaterThan(0)
    expect(source.ids).toEqual([index.rootId])
    model.checkAll()
    expect(verifyTree(index)).toMatchObject({ problems: [], keys: model.map.size })
  })

  it('serves blocks of the sizes that were freed without any compaction', () => {
    const model = new ModelledIndex({ usableFrameBytes: 65_536 })
    const { index, source } = model
    const keyAt = (i: number): Uint8Array => utf8(`key/${String(1_000 + i)}`)
    for (let i = 0; i < 500; i++) model.put(keyAt(i), 60)
    const bytes = source.bytes(index.rootId)
    const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const bump = header.getUint32(BUMP_UNITS, true)
    for (let round = 0; round < 20; round++) {
      for (let i = round; i < 500; i += 9) model.delete(keyAt(i))
      for (let i = round; i < 500; i += 9) model.put(keyAt(i), 60)
    }
    expect(header.getUint32(COMPACTIONS, true)).toBe(0)
    expect(header.getUint32(BUMP_UNITS, true) - bump).toBeLessThan(200)
    expect(verifyTree(index)).toMatchObject({ problems: [], keys: 500 })
  })
})

describe('a frame that is absent', () => {
  function tallModel(): ModelledIndex {
    const model = new ModelledIndex({ usableFrameBytes: MIN_USABLE_BYTES, frames: 400 })
    const next = random(17)
    for (let i = 0; i < 1_500; i++) {
      model.put(utf8(`dir${String(Math.floor(next() * 30))}/file${String(Math.floor(next() * 1_000))}`), 60)
    }
    expect(treeStatistics(model.index).depthFrames).toBeGreaterThan(1)
    return model
  }

  it('lets put, delete and touch throw FrameAbsent and leaves every byte as it was', () => {
    const model = tallModel()
    const { index, source } = model
    for (const id of source.ids) if (id !== index.rootId) source.evict(id)
    source.mayBlock = false
    const root = source.bytes(index.rootId).slice()
    const { changes } = index
    let thrown = 0
    for (const { key } of [...model.map.values()].slice(0, 100)) {
      index.key.set(key)
      try {
        index.touch(key.length)
      } catch (error) {
        expect(error).toBeInstanceOf(FrameAbsent)
        thrown++
        expect(() => index.put(key.length, VALUE, 0, 300, 9)).toThrow(FrameAbsent)
        expect(() => index.delete(key.length)).toThrow(FrameAbsent)
        expect(() => index.find(key.length)).toThrow(FrameAbsent)
      }
    }
    expect(thrown).toBeGreaterThan(0)
    expect(index.changes).toBe(changes)
    expect(Buffer.compare(source.bytes(index.rootId), root)).toBe(0)
    source.mayBlock = true
    model.checkAll()
  })

  it('is faulted in by touch, so that put and delete go through afterwards', () => {
    const model = tallModel()
    const { index, source } = model
    let checked = 0
    for (const { key } of [...model.map.values()]) {
      for (const id of source.ids) if (source.isResident(id)) source.evict(id)
      index.key.set(key)
      index.touch(key.length)
      source.mayBlock = false
      model.put(key, 65)
      model.delete(key)
      source.mayBlock = true
      if (++checked === 100) break
    }
    model.checkAll()
    expect(verifyTree(index)).toMatchObject({ problems: [] })
  })
})
