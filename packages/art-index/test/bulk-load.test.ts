import { describe, expect, it } from 'vitest'
import {
  ArtIndex,
  Cursor,
  FrameAbsent,
  maxInlineValueBytes,
  maxValueBytes,
  MIN_USABLE_BYTES,
  verifyTree,
} from '../src/index.js'
import { ArrayFrameSource } from './array-frame-source.js'
import type { BulkLoad } from '../src/bulk-load.js'
import { isCompact } from '../src/compact-frame.js'
import type { Tree } from '../src/tree.js'
import { KEY_MAKERS, type KeyMaker } from './keys.js'
import { list } from './listing.js'
import { utf8 } from './modelled-index.js'
import { Random } from './random.js'
import { bytesOf } from './sorted-map.js'
import { fillPattern } from './values.js'

type Pair = readonly [key: string, value: Uint8Array]

function create(usableFrameBytes: number, frames = 4_000) {
  const source = new ArrayFrameSource({ frames })
  return { source, index: ArtIndex.create(source, { usableFrameBytes }) }
}

function put(index: ArtIndex, key: string, value: Uint8Array, version = 1): void {
  const bytes = bytesOf(key)
  index.key.set(bytes)
  index.put(bytes.length, value, 0, value.length, version)
}

/** Adds what stands behind the load's prefix, from memory whose other bytes are no zeros. */
function add(load: BulkLoad, key: string, value: Uint8Array, keyAt = 3): boolean {
  const keyWords = new Uint32Array((keyAt + key.length + 16) >>> 2).fill(0xa5a5_a5a5)
  new Uint8Array(keyWords.buffer).set(bytesOf(key), keyAt)
  const valueWords = new Uint32Array(((value.length + 3) >>> 2) + 1).fill(0x5a5a_5a5a)
  new Uint8Array(valueWords.buffer).set(value, 4)
  return load.add(keyWords, keyAt, key.length, valueWords, 1, value.length)
}

function loadAll(index: ArtIndex, prefix: string, pairs: readonly Pair[], version = 1) {
  const load = index.bulkLoad(bytesOf(prefix), version)
  for (const [i, [key, value]] of pairs.entries()) expect(add(load, key, value, i % 4)).toBe(true)
  return load
}

/** Distinct keys in order of their bytes, which is that of their latin1 characters. */
function sortedKeys(keys: Iterable<string>, longest: number): string[] {
  return [...new Set([...keys].map((key) => key.slice(0, longest)))].sort((a, b) => (a < b ? -1 : 1))
}

/** A value of which no two words are alike. */
function patterned(lengthBytes: number, random: Random): Uint8Array {
  const value = new Uint8Array(lengthBytes)
  fillPattern(value, random.below(1_000))
  return value
}

function expectSame(built: ReturnType<typeof create>, puts: ReturnType<typeof create>): void {
  const report = verifyTree(built.index)
  expect(report.problems).toEqual([])
  expect([...report.blobIds].sort((a, b) => a - b)).toEqual(built.source.ids)
  expect(report).toMatchObject((({ keys, valueBytes }) => ({ keys, valueBytes }))(verifyTree(puts.index)))
  for (const options of [{}, { reverse: true }, { delimiter: utf8('/') }])
    expect(list(new Cursor(built.index, options))).toEqual(list(new Cursor(puts.index, options)))
}

function fillOf({ source, index }: ReturnType<typeof create>): number {
  const frames = verifyTree(index).blobIds.filter((id) => id !== index.rootId)
  const used = frames.reduce(
    (sum, id) =>
      sum + new Uint32Array(source.bytes(id).buffer, source.bytes(id).byteOffset + 640, 1)[0] * 8 - 4_096,
    0,
  )
  return used / (frames.length * (index.usableBytes - 4_096))
}

describe('a bulk load', () => {
  for (const [kind, make] of Object.entries(KEY_MAKERS)) {
    it(`builds the tree that puts would build, key by key: ${kind}`, () => {
      for (let seed = 1; seed <= 6; seed++) {
        const random = new Random(seed)
        const built = create(MIN_USABLE_BYTES)
        const puts = create(MIN_USABLE_BYTES)
        const inline = maxInlineValueBytes(MIN_USABLE_BYTES)
        const keys = sortedKeys(
          Array.from({ length: random.pick([1, 2, 30, 900, 3_000]) }, () => make(random)),
          built.index.maxKeyBytes - 4,
        )
        const pairs = keys.map((key): Pair => {
          const bytes = random.chance(2)
            ? random.below(3 * inline)
            : random.below(random.chance(10) ? inline : 90)
          return [key, patterned(bytes, random)]
        })
        // Neighbours, so that the place is inside a frame.
        for (const { index } of [built, puts])
          for (const other of ['abb', 'abd', 'a']) put(index, other, utf8(other))
        const load = loadAll(built.index, 'abc/', pairs)
        expect(load.keys).toBe(keys.length)
        expect(load.finish()).toBe(true)
        for (const [key, value] of pairs) put(puts.index, 'abc/' + key, value)
        expectSame(built, puts)
        expect(built.index.building).toEqual([])
        // And it can be changed as any other.
        for (const [key] of pairs) {
          if (random.chance(50)) continue
          for (const { index } of [built, puts]) {
            const bytes = bytesOf('abc/' + key)
            index.key.set(bytes)
            if (bytes.length % 2 === 0) index.delete(bytes.length)
            else index.put(bytes.length, bytes, 0, bytes.length, 9)
          }
        }
        expectSame(built, puts)
      }
    })
  }

  it('of keys up to 4 096 bytes and values of any size is what puts build, whatever is put and deleted behind it', () => {
    const long: KeyMaker = (random) => {
      let key = ''
      const { 'bytes 00 01 2f fe ff': make } = KEY_MAKERS as Record<string, KeyMaker>
      const parts = random.chance(20) ? random.below(200) : random.below(4)
      for (let i = 0; i < parts; i++)
        key += random.chance(30) ? '\xfe'.repeat(random.below(60)) : make(random)
      return key
    }
    for (let seed = 1; seed <= 6; seed++) {
      const random = new Random(seed)
      const usable = [MIN_USABLE_BYTES, 65_536, 139_264][seed % 3]
      const built = create(usable)
      const puts = create(usable)
      const longest = built.index.maxKeyBytes
      const largest = Math.min(150_000, maxValueBytes(usable))
      const value = (): Uint8Array =>
        patterned(random.below(random.chance(2) ? largest : random.chance(10) ? 5_000 : 90), random)
      const pairs = sortedKeys(
        [...Array.from({ length: 1_500 }, () => long(random)), '\0'.repeat(longest), '\xff'.repeat(longest)],
        longest,
      ).map((key): Pair => [key, value()])
      expect(loadAll(built.index, '', pairs).finish()).toBe(true)
      for (const [key, value] of pairs) put(puts.index, key, value)
      expectSame(built, puts)
      for (let round = 0; round < 3; round++) {
        for (let i = 0; i < 400; i++) {
          const key = random.chance(60) ? random.pick(pairs)[0] : long(random).slice(0, longest)
          const bytes = bytesOf(key)
          const isPut = random.chance(round === 2 ? 20 : 60)
          const changed = isPut ? value() : undefined
          for (const { index } of [built, puts]) {
            index.key.set(bytes)
            if (changed === undefined) index.delete(bytes.length)
            else index.put(bytes.length, changed, 0, changed.length, 9 + round)
          }
        }
        expectSame(built, puts)
      }
    }
  })

  it('takes hardly more frames than sorted puts, and lays nodes as a compaction would', () => {
    for (const make of [
      (i: number) => `photos/${String(i >> 9).padStart(5, '0')}/img-${String(i * 7919).padStart(9, '0')}.jpg`,
      (i: number) =>
        Math.floor((i * 2 ** 32) / 10_000)
          .toString(16)
          .padStart(8, '0'),
      (i: number) => `tenant-${String(i >> 12)}/objects/${'long/'.repeat(i % 7)}${String(i)}`,
    ]) {
      const built = create(32_768)
      const puts = create(32_768)
      const keys = sortedKeys(
        Array.from({ length: 10_000 }, (_, i) => make(i)),
        200,
      )
      loadAll(
        built.index,
        '',
        keys.map((key) => [key, new Uint8Array(60)]),
      ).finish()
      for (const key of keys) put(puts.index, key, new Uint8Array(60))
      expectSame(built, puts)
      expect(built.source.ids.length).toBeLessThanOrEqual(puts.source.ids.length * 1.1)
      for (const id of built.source.ids)
        expect(isCompact({ source: built.source } as unknown as Tree, id)).toBe(true)
    }
  })

  it('fills frames to more than four fifths where subtrees differ in size', () => {
    const random = new Random(11)
    for (const usable of [131_072, 65_536]) {
      const built = create(usable)
      const keys = sortedKeys(
        Array.from(
          { length: 40_000 },
          (_, i) =>
            `${'abcdefgh'[random.below(1 + random.below(8))]}/${String(random.below(1 + random.below(400)))}/${String(i)}`,
        ),
        200,
      )
      loadAll(
        built.index,
        'tree',
        keys.map((key) => [key, new Uint8Array(random.below(180))]),
      ).finish()
      expect(verifyTree(built.index)).toMatchObject({ problems: [], keys: keys.length })
      expect(fillOf(built)).toBeGreaterThan(0.8)
    }
  })

  it('fills a frame to the brim where it would be half empty else', () => {
    const built = create(65_536)
    const puts = create(65_536)
    // Directories of a little less than half a frame: two of them are more than a frame is to hold as a rule.
    const keys = sortedKeys(
      Array.from(
        { length: 40 * 286 },
        (_, i) =>
          `team-${String(i % 40).padStart(4, '0')}/${String((i * 2_654_435_761) % 2 ** 32).padStart(10, '0')}`,
      ),
      200,
    )
    const pairs = keys.map((key): Pair => [key, new Uint8Array(76)])
    loadAll(built.index, '', pairs).finish()
    expect(fillOf(built)).toBeGreaterThan(0.95)
    for (const [key, value] of pairs) put(puts.index, key, value)
    expectSame(built, puts)
    for (const { index } of [built, puts])
      for (let i = 0; i < 12_000; i += 7)
        put(index, `team-${String(i % 40).padStart(4, '0')}/${String(i)}`, utf8('new'))
    expectSame(built, puts)
  })

  it('refuses a key out of order or twice, having changed nothing', () => {
    const { index } = create(MIN_USABLE_BYTES)
    const load = loadAll(index, 't', [
      ['a', utf8('1')],
      ['ab', utf8('2')],
      ['b', utf8('3')],
    ])
    for (const key of ['b', 'a', 'az', '', 'ab']) expect(add(load, key, utf8('x'))).toBe(false)
    const longest = index.maxKeyBytes - 1
    expect(() => add(load, 'c'.repeat(longest + 1), utf8('x'))).toThrow(
      expect.objectContaining({ code: 'HOLT_KEY_TOO_LONG' }),
    )
    expect(() => add(load, 'c', new Uint8Array(maxValueBytes(MIN_USABLE_BYTES) + 1))).toThrow(
      expect.objectContaining({ code: 'HOLT_VALUE_TOO_LARGE' }),
    )
    expect(load.finish()).toBe(true)
    expect(list(new Cursor(index, {})).map(({ key }) => key)).toEqual(['ta', 'tab', 'tb'])
  })

  it('changes nothing where there are keys below its prefix', () => {
    const built = create(MIN_USABLE_BYTES)
    put(built.index, 'tree', utf8('here'))
    const load = loadAll(built.index, 'tr', [['x', utf8('1')]])
    expect(load.finish()).toBe(false)
    load.abandon()
    expect(list(new Cursor(built.index, {})).map(({ key }) => key)).toEqual(['tree'])
  })

  it('names its frames while it runs, and gives all of them back when abandoned', () => {
    const built = create(MIN_USABLE_BYTES)
    put(built.index, 'other', utf8('x'))
    const random = new Random(5)
    const { paths } = KEY_MAKERS as { paths: KeyMaker }
    const keys = sortedKeys(
      Array.from({ length: 3_000 }, () => paths(random) + String(random.below(9_999))),
      200,
    )
    const large = new Uint8Array(5_000)
    const load = loadAll(
      built.index,
      'tree',
      keys.map((key, i) => [key, i % 50 === 0 ? large : utf8('value')]),
    )
    const during = verifyTree(built.index)
    expect(during.problems).toEqual([])
    expect(during.keys).toBe(1)
    expect([...during.blobIds, ...during.unlinkedBlobIds].sort((a, b) => a - b)).toEqual(built.source.ids)
    expect(built.source.ids.length).toBeGreaterThan(60)
    expect(built.source.writtenOnce).toBe(load.frames)
    expect(built.source.ids.length).toBe(load.frames + 1)
    load.abandon()
    while (built.index.unlinked.size > 0) built.index.freeNextUnlinked()
    expect(built.source.ids).toEqual([built.index.rootId])
  })

  it('misses a frame on the way to its place before it changes anything', () => {
    const built = create(MIN_USABLE_BYTES)
    for (let i = 0; i < 2_000; i++) put(built.index, `tree${String(i).padStart(5, '0')}`, new Uint8Array(60))
    const load = loadAll(built.index, 'tree00500/', [
      ['a', utf8('1')],
      ['b', utf8('2')],
    ])
    for (const id of built.source.ids) if (id !== built.index.rootId) built.source.evict(id)
    built.source.mayBlock = false
    expect(() => load.finish()).toThrow(FrameAbsent)
    built.source.mayBlock = true
    expect(load.finish()).toBe(true)
    expect(verifyTree(built.index)).toMatchObject({ problems: [], keys: 2_002 })
  })

  it('loads nothing where nothing was added', () => {
    const built = create(MIN_USABLE_BYTES)
    expect(built.index.bulkLoad(utf8('tree'), 1).finish()).toBe(true)
    expect(verifyTree(built.index)).toMatchObject({ problems: [], keys: 0 })
  })
})
