import { PAGE_BYTES } from '@holt/blob-buf-pool'
import { describe, expect, it } from 'vitest'
import {
  ArtIndex,
  countPrefix,
  Cursor,
  FrameAbsent,
  MAX_USABLE_BYTES,
  maxInlineValueBytes,
  maxValueBytes,
  MIN_USABLE_BYTES,
  treeStatistics,
  valueFrameCount,
  verifyTree,
} from '../src/index.js'
import * as layout from '../src/layout.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { ModelledIndex, utf8 } from './modelled-index.js'
import { cursorValue, fillPattern, foundValue } from './values.js'

const INLINE = maxInlineValueBytes(MIN_USABLE_BYTES)
const FRAME = 8_192

function expectSound(model: ModelledIndex): void {
  model.checkAll()
  const report = verifyTree(model.index)
  expect(report).toMatchObject({ problems: [], keys: model.map.size })
  expect([...report.blobIds].sort((a, b) => a - b)).toEqual(model.source.ids)
  const valueBytes = [...model.map.values()].reduce((sum, { value }) => sum + value.length, 0)
  expect(report.valueBytes).toBe(valueBytes)
  expect(countPrefix(model.index, new Uint8Array(0))).toEqual({ keys: model.map.size, valueBytes })
}

/** One key with a value of three frames, and where its leaf and descriptor lie. */
function one(frames = 16) {
  const source = new ArrayFrameSource({ frames })
  const index = ArtIndex.create(source, { usableFrameBytes: MIN_USABLE_BYTES })
  const value = fillPattern(new Uint8Array(2 * FRAME + 5_000), 3)
  index.key.set(utf8('key'))
  index.put(3, value, 0, value.length, 7)
  const slot = source.pageTable[index.rootId] as Parameters<typeof source.slab.offsetOf>[0]
  const { u16, u32 } = source.slab.segmentOf(slot)
  const base = source.slab.offsetOf(slot)
  const node = (base >>> 2) + u16[(base + layout.ENTRY_TABLE) >>> 1] * 2
  return { source, index, value, u16, u32, base, node, descriptor: layout.descriptorAt(u32, node) }
}

describe('a large value', () => {
  it('is any value above an eighth of the nodes, up to 33 frames or 16 MiB', () => {
    expect(maxInlineValueBytes(MAX_USABLE_BYTES)).toBe(65_024)
    expect(maxValueBytes(MAX_USABLE_BYTES)).toBe(16 * 2 ** 20)
    expect(valueFrameCount(MAX_USABLE_BYTES, 65_024)).toBe(0)
    expect(valueFrameCount(MAX_USABLE_BYTES, 65_025)).toBe(1)
    expect(valueFrameCount(MAX_USABLE_BYTES, 16 * 2 ** 20)).toBe(33)
    expect(maxValueBytes(MIN_USABLE_BYTES)).toBe(33 * FRAME)
  })

  it('has the same bytes again at every size around the limits', () => {
    const model = new ModelledIndex({ usableFrameBytes: MIN_USABLE_BYTES, frames: 200 })
    const sizes = [0, 1, INLINE - 1, INLINE, INLINE + 1]
    for (const frames of [1, 2, 3, 32, 33]) sizes.push(frames * FRAME - 1, frames * FRAME, frames * FRAME + 1)
    for (const size of sizes) {
      if (size > maxValueBytes(MIN_USABLE_BYTES)) continue
      model.put(utf8('key'), size)
      const { index } = model
      index.key.set(utf8('key'))
      expect(index.find(3)).toBe(true)
      expect(index.foundLarge).toBe(size > INLINE)
      expect(index.foundLength).toBe(size)
      expect(model.source.ids.length).toBe(1 + (size > INLINE ? Math.ceil(size / FRAME) : 0))
      expectSound(model)
    }
  })

  it('grows, shrinks and becomes small again beside others, whichever came before it', () => {
    const model = new ModelledIndex({ usableFrameBytes: MIN_USABLE_BYTES, frames: 400 })
    const sizes = [0, 300, INLINE, INLINE + 1, FRAME, FRAME + 1, 5 * FRAME]
    const keys = ['a', 'ab', 'abc', 'abd', 'b'].map(utf8)
    for (const before of sizes) {
      for (const after of sizes) {
        for (const [i, key] of keys.entries()) if (i !== 2) model.put(key, sizes[(i * 3) % sizes.length] ?? 0)
        model.put(keys[2] ?? new Uint8Array(), before)
        model.put(keys[2] ?? new Uint8Array(), after)
        expectSound(model)
        // The leaf may merge with the nodes above it and must stay in its chain.
        model.delete(keys[3] ?? new Uint8Array())
        model.delete(keys[0] ?? new Uint8Array())
        expectSound(model)
      }
    }
    model.deleteAll(() => 0.5)
  })

  it('goes along when its leaf moves to another frame, and counts at its full length there', () => {
    const model = new ModelledIndex({ usableFrameBytes: MIN_USABLE_BYTES, frames: 1_200 })
    for (let i = 0; i < 300; i++)
      model.put(utf8(`dir${String(i % 7)}/${String(i)}`), i % 5 === 0 ? INLINE + 1 + i : 150)
    expect(treeStatistics(model.index)).toMatchObject({ largeValues: 60, valueFrames: 60 })
    expect(treeStatistics(model.index).frames).toBeGreaterThan(5)
    expectSound(model)
    const below = [...model.map.values()].filter(({ key }) => Buffer.from(key).toString().startsWith('dir3/'))
    expect(countPrefix(model.index, utf8('dir3/'))).toEqual({
      keys: below.length,
      valueBytes: below.reduce((sum, { value }) => sum + value.length, 0),
    })
    model.deleteAll(() => 0.3)
  })

  it('is found by the chain of its entry, without a walk of nodes', () => {
    const { u16, u32, base, node, descriptor, index } = one()
    const ref = u16[(base + layout.ENTRY_TABLE) >>> 1]
    expect(u16[(base + layout.ENTRY_TABLE + layout.ENTRY_CROSSING_HEAD) >>> 1]).toBe(ref)
    expect(u32[node + 2] >>> 21).toBe(1)
    expect(u32[descriptor]).toBe(2 * FRAME + 5_000)
    expect([...u32.subarray(descriptor + 2, descriptor + 5)]).toEqual([2, 3, 4])
    index.key.set(utf8('key'))
    index.delete(3)
    expect(u16[(base + layout.ENTRY_TABLE + layout.ENTRY_CROSSING_HEAD) >>> 1]).toBe(0)
  })

  it('is read in any part, one frame at a time, while its frames come and go', () => {
    const { source, index, value } = one()
    expect(index.find(3)).toBe(true)
    expect(index.foundBytes.length).toBe(0)
    for (const [from, length] of [
      [0, value.length],
      [0, 0],
      [value.length, 0],
      [FRAME - 1, 2],
      [FRAME, FRAME],
      [2 * FRAME - 10, 5_000],
      [value.length - 1, 1],
    ] as const) {
      const part = new Uint8Array(length + 3)
      for (const id of source.ids) if (source.isResident(id)) source.evict(id)
      index.readFound(part, 2, from, length)
      expect(Buffer.compare(part.subarray(2, 2 + length), value.subarray(from, from + length))).toBe(0)
      expect([part[0], part[1], part[length + 2]]).toEqual([0, 0, 0])
    }
    for (const [from, length, room] of [
      [0, value.length + 1, value.length + 1],
      [-1, 2, 2],
      [0, 2, 1],
      [1, Number.NaN, 9],
    ] as const)
      expect(() => {
        index.readFound(new Uint8Array(room), 0, from, length)
      }).toThrow(expect.objectContaining({ code: 'HOLT_INVALID_ARGUMENT' }))
  })

  it('is read on after a frame that had to be loaded first', () => {
    const { source, index, value } = one()
    expect(index.find(3)).toBe(true)
    for (const id of source.ids) if (id !== index.rootId) source.evict(id)
    source.mayBlock = false
    const read = new Uint8Array(value.length)
    const loaded: number[] = []
    for (let done = false; !done;) {
      try {
        index.readFound(read, 0, 0, read.length)
        done = true
      } catch (error) {
        if (!(error instanceof FrameAbsent)) throw error
        source.mayBlock = true
        source.fault(error.id)
        source.mayBlock = false
        loaded.push(error.id)
      }
    }
    expect(loaded).toEqual([2, 3, 4])
    expect(Buffer.compare(read, value)).toBe(0)
  })

  it('comes from a cursor with its version, also when reading it drives the leaf out', () => {
    const { source, index, value } = one()
    index.key.set(utf8('kez'))
    index.put(3, utf8('small'), 0, 5, 8)
    const cursor = new Cursor(index)
    cursor.next()
    expect(cursor.valueLarge).toBe(true)
    expect(cursor.valueLength).toBe(value.length)
    source.evict(index.rootId)
    expect(Buffer.compare(cursorValue(cursor), value)).toBe(0)
    expect(cursor.version).toBe(7)
    cursor.next()
    expect(cursor.valueLarge).toBe(false)
    expect(Buffer.from(cursorValue(cursor)).toString()).toBe('small')
    expect(cursor.version).toBe(8)
    cursor.next()
    expect(cursor.valueLarge).toBe(false)
  })

  it('is deleted and replaced without any of its frames being loaded', () => {
    for (const change of ['delete', 'put'] as const) {
      const { source, index } = one()
      for (const id of source.ids) if (id !== index.rootId) source.evict(id)
      source.mayBlock = false
      index.key.set(utf8('key'))
      if (change === 'delete') index.delete(3)
      else index.put(3, utf8('small'), 0, 5, 8)
      expect(source.faults).toBe(0)
      expect(source.ids).toEqual([index.rootId])
      expect(verifyTree(index)).toMatchObject({ problems: [], largeValues: 0, valueFrames: 0 })
    }
  })

  it('that finds no room for all of its frames changes nothing, new or in place of another', () => {
    const { source, index, value } = one(6)
    const more = new Uint8Array(3 * FRAME)
    const changes = index.changes
    for (const key of ['key', 'kez', 'ke']) {
      index.key.set(utf8(key))
      expect(() => index.put(key.length, more, 0, more.length, 9)).toThrow(
        expect.objectContaining({ code: 'HOLT_OUT_OF_MEMORY' }),
      )
    }
    expect(index.changes).toBe(changes)
    expect(source.ids).toEqual([1, 2, 3, 4])
    expect(verifyTree(index)).toMatchObject({ problems: [], keys: 1 })
    index.key.set(utf8('key'))
    expect(index.find(3)).toBe(true)
    expect(index.foundVersion).toBe(7)
    expect(Buffer.compare(foundValue(index), value)).toBe(0)
  })

  it('may be put from bytes of a frame', () => {
    const { source, index } = one()
    const segment = source.slab.segments[0].u8
    const copy = segment.slice(PAGE_BYTES, PAGE_BYTES + 20_000)
    index.key.set(utf8('copy'))
    index.put(4, segment, PAGE_BYTES, 20_000, 8)
    expect(index.find(4)).toBe(true)
    expect(Buffer.compare(foundValue(index), copy)).toBe(0)
  })
})

describe('verify and reads notice', () => {
  type Frame = ReturnType<typeof one>
  const frameWord = ({ source }: Frame, id: number): number =>
    source.slab.offsetOf(source.pageTable[id] as Parameters<typeof source.slab.offsetOf>[0]) >>> 2
  const cases: [title: string, damage: (frame: Frame) => void, expected: RegExp, readThrows: boolean][] = [
    [
      'a frame that does not exist',
      ({ u32, descriptor }) => (u32[descriptor + 3] = 9),
      /blob 9, which cannot be read/,
      true,
    ],
    [
      'a frame that cannot exist',
      ({ u32, descriptor }) => (u32[descriptor + 3] = 2 ** 31),
      /which cannot exist/,
      true,
    ],
    ['a frame of nodes', ({ u32, descriptor }) => (u32[descriptor + 3] = 1), /is a frame of nodes/, true],
    ['a frame named twice', ({ u32, descriptor }) => (u32[descriptor + 3] = 2), /names too/, true],
    [
      'frames in the wrong order',
      ({ u32, descriptor }) => u32.set([3, 2], descriptor + 2),
      /says it is part 1/,
      true,
    ],
    [
      'a frame of another length',
      (frame) => (frame.u32[frameWord(frame, 4) + (layout.VALUE_DATA_BYTES >>> 2)] = 5_001),
      /holds 5001 bytes/,
      true,
    ],
    [
      'a frame whose last bytes would not be stored',
      (frame) => frame.u32[frameWord(frame, 4) + (layout.BUMP_UNITS >>> 2)]--,
      /does not have its end at unit 1137/,
      false,
    ],
    [
      'a length that its frames cannot have',
      ({ u32, descriptor }) => (u32[descriptor] = 3 * FRAME + 1),
      /4 were expected/,
      true,
    ],
    [
      'a descriptor of a wrong size',
      ({ u32, node }) => (u32[node] -= 2 << 16),
      /descriptor of 18 bytes/,
      true,
    ],
    [
      'a chain without the leaf',
      ({ u16, base }) => (u16[(base + layout.ENTRY_TABLE + layout.ENTRY_CROSSING_HEAD) >>> 1] = 0),
      /has 0 crossings and large leaves, there are 0 and 1/,
      false,
    ],
    [
      'a wrong sum of value bytes',
      ({ u32, base }) =>
        u32.fill(0, (base + layout.ENTRY_TABLE + 8) >>> 2, (base + layout.ENTRY_TABLE + 16) >>> 2),
      /sums 0 value bytes/,
      false,
    ],
  ]
  it.each(cases)('%s', (_, damage, expected, readThrows) => {
    const frame = one()
    expect(verifyTree(frame.index).problems).toEqual([])
    damage(frame)
    const { problems } = verifyTree({
      source: frame.source,
      rootId: frame.index.rootId,
      usableBytes: MIN_USABLE_BYTES,
    })
    expect(problems.map(({ what }) => what).join('\n')).toMatch(expected)
    const read = (): void => {
      frame.index.key.set(utf8('key'))
      if (frame.index.find(3)) foundValue(frame.index)
    }
    if (readThrows) expect(read).toThrow(expect.objectContaining({ code: 'HOLT_CORRUPT' }))
    else expect(read).not.toThrow()
  })
})
