import { FrameAbsent } from '@holt/blob-buf-pool'
import { describe, expect, it } from 'vitest'
import {
  ArtIndex,
  CompactionPass,
  Cursor,
  END,
  KEY,
  MIN_USABLE_BYTES,
  type TreeStatistics,
  treeStatistics,
  verifyTree,
} from '../src/index.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { ModelledIndex, random, utf8 } from './modelled-index.js'

/** Runs a whole pass; how many steps it took. */
function compact(index: ArtIndex, fill?: number, frames = 8): number {
  const pass = new CompactionPass()
  let steps = 0
  while (index.compactStep(pass, fill === undefined ? { frames } : { fill, frames })) {
    if (++steps > 200_000) throw new Error('the pass does not come to an end')
  }
  return steps
}

function drainCandidates(index: ArtIndex): void {
  for (let steps = 0; index.compactStep(); steps++) if (steps > 10_000) throw new Error('no end')
}

function loaded(
  keys: Iterable<Uint8Array>,
  valueBytes: number,
  frames = 400,
  usableFrameBytes?: number,
): ArtIndex {
  const source = new ArrayFrameSource({ frames })
  const index = ArtIndex.create(source, usableFrameBytes === undefined ? {} : { usableFrameBytes })
  const value = new Uint8Array(Math.max(valueBytes, 1)).fill(7)
  let version = 0
  for (const key of keys) {
    index.key.set(key)
    index.put(key.length, value, 0, valueBytes, ++version)
  }
  return index
}

function shuffled<T>(items: T[]): T[] {
  const next = random(7)
  for (let i = items.length - 1; i > 0; i--) {
    const other = Math.floor(next() * (i + 1))
    const held = items[i]
    items[i] = items[other]
    items[other] = held
  }
  return items
}

const count = (length: number, make: (i: number) => Uint8Array): Uint8Array[] =>
  Array.from({ length }, (_, i) => make(i))
const pad = (value: number, digits: number): string => String(value).padStart(digits, '0')

/** More by the environment: `npm run soak -- shapes` takes ten million. */
const tinyKeys = Number(process.env['HOLT_TINY_KEYS'] ?? 300_000)
/** Of the largest shape: a slot for so many keys, far more than it needs. */
const KEYS_PER_SLOT = 6_000
/** A millisecond for so many keys, a twentieth of what one alone on a machine does. */
const KEYS_PER_MS = 10

/** `k00000000` and so on, in random order; the bytes are the same ones at each step. */
function* tinyKeysShuffled(): Iterator<Uint8Array> {
  const order = Uint32Array.from({ length: tinyKeys }, (_, i) => i)
  const next = random(7)
  for (let i = order.length - 1; i > 0; i--) {
    const other = Math.floor(next() * (i + 1))
    const held = order[i]
    order[i] = order[other]
    order[other] = held
  }
  const key = utf8(`k${pad(0, 8)}`)
  for (const i of order) {
    for (let at = 8, rest = i; at > 0; at--, rest = Math.floor(rest / 10)) key[at] = 0x30 + (rest % 10)
    yield key
  }
}

const nextByte = random(3)
const nextHot = random(9)
const shapes: readonly (readonly [string, () => Iterable<Uint8Array>, number])[] = [
  [
    `G1: ${String(tinyKeys)} keys with values of one byte`,
    () => ({ [Symbol.iterator]: tinyKeysShuffled }),
    1,
  ],
  [
    'G1: 100,000 empty values under one directory',
    () => shuffled(count(100_000, (i) => utf8(`all/${pad(i, 7)}`))),
    0,
  ],
  [
    '100,000 keys under one directory',
    () => shuffled(count(100_000, (i) => utf8(`photos/all/IMG_${pad(i, 7)}.jpg`))),
    60,
  ],
  [
    'random keys of 32 bytes',
    () => count(60_000, () => Uint8Array.from({ length: 32 }, () => nextByte() * 256)),
    60,
  ],
  [
    'keys of 4 KiB that part at once',
    () => count(1_500, () => Uint8Array.from({ length: 4_096 }, () => nextByte() * 256)),
    60,
  ],
  [
    'keys of 4 KiB that part late',
    () => shuffled(count(15_000, (i) => utf8(`${'d'.repeat(60)}/`.repeat(66) + String(i * 7_919)))),
    60,
  ],
  [
    'one hot prefix',
    () =>
      count(80_000, (i) =>
        utf8(
          nextHot() < 0.95
            ? `t/7/events/${String(Math.floor(nextHot() * 1e9))}`
            : `t/${String(i % 999)}/x${String(i)}`,
        ),
      ),
    60,
  ],
  ['a sorted load', () => count(80_000, (i) => utf8(`log/2024/${pad(i, 10)}`)), 60],
  ['a load in reverse', () => count(80_000, (i) => utf8(`log/2024/${pad(80_000 - i, 10)}`)), 60],
]

function report(title: string, before: TreeStatistics, after: TreeStatistics): void {
  const shape = ({ frames, fill, depthFrames, averageDepthFrames }: TreeStatistics): string =>
    `${String(frames)} frames, ${(100 * fill.average).toFixed(1)} % full, ${averageDepthFrames.toFixed(2)} frames deep (at most ${String(depthFrames)})`
  console.log(`${title}: ${shape(before)}; compacted ${shape(after)}`)
}

describe('the shape of a tree', () => {
  it.each(shapes)(
    'after %s: frames are more than half full, and the depth grows with the logarithm of their number',
    (title, makeKeys, valueBytes) => {
      const keys = makeKeys()
      const index = loaded(keys, valueBytes, Math.max(400, Math.ceil(tinyKeys / KEYS_PER_SLOT)))
      const before = treeStatistics(index)
      compact(index)
      const after = treeStatistics(index)
      expect(verifyTree(index)).toMatchObject({ problems: [], keys: before.keys })
      expect(after.frames).toBeLessThanOrEqual(before.frames)
      if (after.frames > 2) expect(after.fill.average).toBeGreaterThan(0.5)
      // A frame has a dozen children or more, or the tree is a chain of few: so the depth is logarithmic.
      expect(after.depthFrames).toBeLessThanOrEqual(3 + Math.ceil(Math.log2(after.frames + 1) / 2))
      // What was compacted stays as it is.
      const { changes } = index
      compact(index)
      expect(index.changes).toBe(changes)
      let looked = 0
      for (const key of keys) {
        if (looked++ === 500) break
        index.key.set(key)
        expect(index.find(key.length)).toBe(true)
      }
      if (process.env['HOLT_TINY_KEYS'] !== undefined) report(title, before, after)
    },
    Math.max(120_000, tinyKeys / KEYS_PER_MS),
  )

  it('after directories of nearly half a frame: two to a frame, unless it was told how full frames may be', () => {
    const keys = shuffled(
      count(40 * 2_350, (i) => utf8(`team-${pad(i % 40, 4)}/${pad((i * 7_919) % 1e8, 8)}`)),
    )
    const index = loaded(keys, 76, 200)
    compact(index, 0.95)
    const roomy = treeStatistics(index)
    expect(roomy.underFullFrames).toBeGreaterThan(5)
    compact(index)
    const full = treeStatistics(index)
    expect(full.frames).toBeLessThanOrEqual(roomy.frames - roomy.underFullFrames / 2)
    expect(full.fill.average).toBeGreaterThan(0.95)
    expect(verifyTree(index)).toMatchObject({ problems: [], keys: keys.length })
    const { changes } = index
    compact(index)
    expect(index.changes).toBe(changes)
    // It takes puts and deletes as any other.
    const value = new Uint8Array(90).fill(3)
    for (const [i, key] of keys.entries()) {
      if (i % 9 !== 0) continue
      index.key.set(key)
      if (i % 2 === 0) index.put(key.length, value, 0, value.length, 3)
      else index.delete(key.length)
    }
    expect(verifyTree(index).problems).toEqual([])
  })

  it('after everything was deleted: one frame is left', () => {
    const keys = count(30_000, (i) => utf8(`a/${String(i % 37)}/${pad(i, 6)}`))
    const index = loaded(keys, 60, 200)
    for (const key of shuffled(keys)) {
      index.key.set(key)
      index.delete(key.length)
    }
    compact(index)
    expect(treeStatistics(index)).toMatchObject({ frames: 1, keys: 0 })
    expect(verifyTree(index).problems).toEqual([])
  })

  it('after most was deleted: as many frames as what is left needs, by the candidates alone', () => {
    const keys = shuffled(count(40_000, (i) => utf8(`b/${String(i % 5)}/${pad(i, 6)}`)))
    const index = loaded(keys, 60, 200)
    const full = treeStatistics(index).frames
    for (const key of keys.slice(2_000)) {
      index.key.set(key)
      index.delete(key.length)
      while (index.compactStep());
    }
    const { frames } = treeStatistics(index)
    expect(full).toBeGreaterThan(6)
    expect(frames).toBeLessThanOrEqual(2)
    expect(verifyTree(index)).toMatchObject({ problems: [], keys: 2_000 })
  })

  it('after most went by prefixes: as many frames as what is left needs, by the candidates alone', () => {
    const index = loaded(shuffled(count(40_000, (i) => utf8(`b/${pad(i % 400, 3)}/${pad(i, 6)}`))), 60, 200)
    const full = treeStatistics(index).frames
    for (let directory = 20; directory < 400; directory++) {
      const prefix = utf8(`b/${pad((directory * 157) % 400, 3)}/`)
      index.key.set(prefix)
      index.deletePrefix(prefix.length)
      while (index.compactStep());
    }
    const { frames, keys } = treeStatistics(index)
    expect(full).toBeGreaterThan(6)
    expect(keys).toBe(2_000)
    expect(frames).toBeLessThanOrEqual(2)
    expect(verifyTree(index).problems).toEqual([])
  })
})

describe('paths of crossings', () => {
  it.each([1, 2, 3, 4])(
    'stay within the share of a frame that is theirs, whatever is merged, seed %i',
    (seed) => {
      const next = random(seed)
      const keys: Uint8Array[] = []
      const long = 'd'.repeat(210)
      // Directories with long names, of one to some frames each: three of them together have longer paths than a frame may hold.
      for (let group = 0; group < 30; group++)
        for (let directory = 0; directory < 3; directory++)
          for (let left = 30 + Math.floor(next() * 60); left > 0; left--)
            keys.push(
              utf8(`${pad(group, 2)}/${String(directory)}${long}/${String(Math.floor(next() * 1e6))}`),
            )
      const index = loaded(keys, 120, 2_000, MIN_USABLE_BYTES)
      expect(verifyTree(index).problems).toEqual([])
      for (const key of keys) {
        if (next() < 0.5) continue
        index.key.set(key)
        index.delete(key.length)
      }
      drainCandidates(index)
      expect(verifyTree(index).problems).toEqual([])
      compact(index)
      expect(verifyTree(index).problems).toEqual([])
    },
  )
})

describe('statistics', () => {
  it('count frames by fill and depth', () => {
    const index = loaded(
      count(20_000, (i) => utf8(`s/${String(i % 9)}/${pad(i, 6)}`)),
      60,
      200,
    )
    const { fill, frames, underFullFrames, overFullFrames, averageDepthFrames, depthFrames } =
      treeStatistics(index)
    expect(fill.histogram).toHaveLength(10)
    expect(fill.histogram.reduce((sum, n) => sum + n, 0)).toBe(frames)
    expect(fill.histogram[Math.ceil(fill.min * 10) - 1]).toBeGreaterThan(0)
    expect(fill.histogram[Math.ceil(fill.max * 10) - 1]).toBeGreaterThan(0)
    expect(underFullFrames).toBeLessThanOrEqual(fill.histogram.slice(0, 5).reduce((sum, n) => sum + n, 0))
    expect(overFullFrames).toBeLessThanOrEqual(fill.histogram[9] ?? 0)
    expect(averageDepthFrames).toBeGreaterThan(1)
    expect(averageDepthFrames).toBeLessThanOrEqual(depthFrames)
    const { keys } = treeStatistics(index)
    for (let i = 0; i < 20_000; i++) {
      if (i % 10 === 0) continue
      const key = utf8(`s/${String(i % 9)}/${pad(i, 6)}`)
      index.key.set(key)
      index.delete(key.length)
    }
    const thinned = treeStatistics(index)
    expect(thinned.keys).toBe(keys / 10)
    expect(thinned.underFullFrames).toBe(thinned.frames - 1)
  })
})

describe('hysteresis', () => {
  it('a put and a delete in turn at the edge of a division neither divide nor merge again', () => {
    const index = loaded([], 0, 60, MIN_USABLE_BYTES)
    const { source } = index as unknown as { source: ArrayFrameSource }
    const value = new Uint8Array(60)
    let i = 0
    while (source.ids.length < 2) {
      const key = utf8(`edge/${pad(i++, 6)}`)
      index.key.set(key)
      index.put(key.length, value, 0, 60, i)
    }
    const frames = source.ids.join()
    for (let round = 0; round < 500; round++) {
      const key = utf8(`edge/${pad(i - 1 - (round % 20), 6)}`)
      index.key.set(key)
      index.delete(key.length)
      drainCandidates(index)
      index.key.set(key)
      index.put(key.length, value, 0, 60, i + round)
      expect(source.ids.join()).toBe(frames)
    }
  })
})

describe.each([1, 2, 3, 4, 5, 6, 7, 8])('a random history in tiny frames, seed %i', (seed) => {
  it('with divisions, merges and compaction stays equal to an ordered map', () => {
    const next = random(seed)
    const model = new ModelledIndex({
      usableFrameBytes: MIN_USABLE_BYTES,
      frames: 600,
      moveOnWrite: seed % 2 === 0,
    })
    const { index } = model
    const binary = [0, 1, 0x2f, 0xfe, 0xff]
    const makeKey = (): Uint8Array => {
      if (seed % 3 === 0) {
        return Uint8Array.from({ length: Math.floor(next() * 14) }, () => binary[Math.floor(next() * 5)] ?? 0)
      }
      const directory = `dir${String(Math.floor(next() * 9))}/`.repeat(1 + Math.floor(next() * 12))
      return utf8(`${directory}${String(Math.floor(next() * 400))}`.slice(0, 250))
    }
    let pass = new CompactionPass()
    for (let i = 0; i < 6_000; i++) {
      // Tides: mostly puts, then mostly deletes.
      const tide = i % 2_000 < 1_200 ? 0.75 : 0.2
      if (next() < tide) model.put(makeKey(), Math.floor(next() ** 3 * 700) + (next() < 0.02 ? 5_000 : 0))
      else model.deleteSome(next)
      if (next() < 0.3) index.compactStep(undefined, { frames: 2 + Math.floor(next() * 10) })
      if (next() < 0.3) {
        if (pass.finished) pass = new CompactionPass()
        index.compactStep(pass, { fill: 0.6 + next() * 0.4, frames: 2 + Math.floor(next() * 10) })
      }
      if (i % 50 === 0) expect(verifyTree(index)).toMatchObject({ problems: [], keys: model.map.size })
      if (i % 500 === 0) model.checkAll()
    }
    compact(index)
    model.checkAll()
    expect(verifyTree(index)).toMatchObject({ problems: [], keys: model.map.size })
    model.deleteAll(next)
  })
})

describe('absent frames', () => {
  function tree(): ModelledIndex {
    const model = new ModelledIndex({ usableFrameBytes: MIN_USABLE_BYTES, frames: 500 })
    const next = random(5)
    for (let i = 0; i < 3_000; i++) model.put(utf8(`d${String(Math.floor(next() * 20))}/f${String(i)}`), 60)
    for (let i = 0; i < 1_800; i++) model.deleteSome(next)
    return model
  }

  it('a step that meets one changes nothing, and goes on once it is resident', () => {
    const { index, source } = tree()
    const pass = new CompactionPass()
    const before = treeStatistics(index)
    let absent = 0
    for (let steps = 0; ; steps++) {
      if (steps > 20_000) throw new Error('no end')
      for (const id of source.ids) if (source.isResident(id) && (id * 7 + steps) % 5 === 0) source.evict(id)
      source.mayBlock = false
      const { changes } = index
      const ids = source.ids.join()
      try {
        // What is wanting is loaded, and nothing evicted, until the step goes through.
        for (;;) {
          try {
            if (index.compactStep(pass)) break
            source.mayBlock = true
            expect(verifyTree(index)).toMatchObject({ problems: [], keys: before.keys })
            expect(treeStatistics(index).fill.average).toBeGreaterThan(before.fill.average)
            expect(absent).toBeGreaterThan(10)
            return
          } catch (error) {
            if (!(error instanceof FrameAbsent)) throw error
            absent++
            expect(index.changes).toBe(changes)
            expect(source.ids.join()).toBe(ids)
            source.mayBlock = true
            source.fault(error.id)
            source.mayBlock = false
          }
        }
      } finally {
        source.mayBlock = true
      }
    }
  })
})

describe('I7.11: a cursor that pauses', () => {
  it('goes on over merges and compaction as if nothing had happened', () => {
    const model = new ModelledIndex({ usableFrameBytes: MIN_USABLE_BYTES, frames: 500 })
    const { index } = model
    const next = random(11)
    for (let i = 0; i < 2_500; i++) model.put(utf8(`d${String(i % 23)}/f${pad(i, 5)}`), 50)
    for (let i = 0; i < 1_500; i++) model.deleteSome(next)
    const expected = [...model.map.keys()].sort()
    const pass = new CompactionPass()
    const forwards = new Cursor(index, {})
    const backwards = new Cursor(index, { reverse: true })
    const up: string[] = []
    const down: string[] = []
    const { changes } = index
    for (;;) {
      const a = forwards.next()
      const b = backwards.next()
      if (a === KEY) up.push(Buffer.from(forwards.key.subarray(0, forwards.keyLength)).toString('hex'))
      if (b === KEY) down.push(Buffer.from(backwards.key.subarray(0, backwards.keyLength)).toString('hex'))
      if (a === END && b === END) break
      index.compactStep(pass)
    }
    expect(index.changes).toBeGreaterThan(changes)
    expect(pass.finished).toBe(true)
    expect(up).toEqual(expected)
    expect(down).toEqual(expected.reverse())
  })

  it('I7.10: pages with a delimiter meet each entry once, whatever is compacted between them', () => {
    const model = new ModelledIndex({ usableFrameBytes: MIN_USABLE_BYTES, frames: 500 })
    const { index } = model
    for (let i = 0; i < 1_500; i++) model.put(utf8(`r/${pad(i % 70, 3)}/f${String(i)}`), 50)
    for (let i = 0; i < 100; i++) model.put(utf8(`r/${pad(i, 3)}x`), 50)
    const entries = (gt: Uint8Array | undefined, limit: number): Uint8Array[] => {
      const cursor = new Cursor(index, {
        prefix: utf8('r/'),
        delimiter: utf8('/'),
        ...(gt === undefined ? {} : { gt }),
      })
      const page: Uint8Array[] = []
      while (page.length < limit && cursor.next() !== END) page.push(cursor.key.slice(0, cursor.keyLength))
      return page
    }
    const text = (list: Uint8Array[]): string[] => list.map((key) => Buffer.from(key).toString())
    const whole = text(entries(undefined, 1e9))
    expect(whole).toHaveLength(170)
    for (const size of [1, 2, 7, 50]) {
      const pass = new CompactionPass()
      const met: string[] = []
      let after: Uint8Array | undefined
      for (;;) {
        const page = entries(after, size)
        met.push(...text(page))
        if (page.length < size) break
        const last = page[page.length - 1] ?? new Uint8Array()
        // Behind everything that begins with the last prefix.
        after = last[last.length - 1] === 0x2f ? Uint8Array.of(...last, 0xff, 0xff) : last
        index.compactStep(pass)
      }
      expect(met).toEqual(whole)
    }
  })
})

describe('G2: keys that differ by trailing NULs', () => {
  it('survive merges and compaction', () => {
    const model = new ModelledIndex({ usableFrameBytes: MIN_USABLE_BYTES, frames: 200 })
    const { index } = model
    for (let i = 0; i < 120; i++) {
      for (let nuls = 0; nuls < 8; nuls++) {
        const key = new Uint8Array(i + nuls + 2)
        key[0] = 0x61 + (i % 5)
        key[i + 1] = nuls % 2
        model.put(key, 90)
      }
    }
    const next = random(2)
    for (let i = 0; i < 500; i++) model.deleteSome(next)
    compact(index)
    model.checkAll()
    expect(verifyTree(index)).toMatchObject({ problems: [], keys: model.map.size })
  })
})

describe('the budget', () => {
  it.each([{ frames: 1 }, { frames: 2.5 }, { fill: 0.5 }, { fill: 1.01 }, { fill: Number.NaN }])(
    'refuses %j with HOLT_INVALID_ARGUMENT',
    (budget) => {
      const index = loaded([], 0, 4)
      expect(() => index.compactStep(new CompactionPass(), budget)).toThrow(
        expect.objectContaining({ code: 'HOLT_INVALID_ARGUMENT' }) as Error,
      )
    },
  )
})
