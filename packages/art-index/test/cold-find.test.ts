import { FRAME_BYTES } from '@holt/blob-buf-pool'
import { describe, expect, it } from 'vitest'
import { ArtIndex, FrameAbsent, MIN_USABLE_BYTES } from '../src/index.js'
import { KEY_MAKERS } from './keys.js'
import { PagedFrameSource } from './paged-frame-source.js'
import { Random } from './random.js'
import { bytesOf } from './sorted-map.js'

function build(
  seed: number,
  make: (random: Random) => string,
): {
  source: PagedFrameSource
  index: ArtIndex
  versions: Map<string, number>
  random: Random
} {
  const random = new Random(seed)
  const source = new PagedFrameSource({ frames: 600 })
  const index = ArtIndex.create(source, { usableFrameBytes: MIN_USABLE_BYTES })
  const versions = new Map<string, number>()
  const value = new Uint8Array(600)
  for (let i = 1; i <= 4_000; i++) {
    const key = make(random)
    if (key.length > 200) continue
    const bytes = bytesOf(key)
    index.key.set(bytes)
    value.fill(i & 0xff)
    index.put(bytes.length, value, 0, i % 300, i + 2 ** 40)
    versions.set(key, i)
  }
  return { source, index, versions, random }
}

function check(index: ArtIndex, key: string, version: number | undefined): void {
  const bytes = bytesOf(key)
  index.key.set(bytes)
  const there = index.find(bytes.length)
  if (version === undefined) {
    if (there) throw new Error(`${JSON.stringify(key)} is found, but was never put`)
    return
  }
  if (!there) throw new Error(`${JSON.stringify(key)} is lost`)
  expect(index.foundVersion).toBe(version + 2 ** 40)
  expect(index.foundLength).toBe(version % 300)
  const { foundBytes, foundOffset, foundLength } = index
  for (let i = 0; i < foundLength; i++)
    if (foundBytes[foundOffset + i] !== (version & 0xff))
      throw new Error(`${JSON.stringify(key)}: other bytes`)
}

describe('lookups of what is not in memory', () => {
  for (const [kind, make] of Object.entries(KEY_MAKERS)) {
    it(`find the same as lookups in memory, with the bytes they asked for alone: ${kind}`, () => {
      const { source, index, versions, random } = build(5, make)
      for (const id of source.ids) source.evict(id)
      const keys = [...versions.keys()]
      for (const key of keys) check(index, key, versions.get(key))
      for (let i = 0; i < 4_000; i++) {
        // Absent ones mostly part from present ones somewhere on the way.
        const from = random.pick(keys)
        const cut = random.below(from.length + 1)
        const key = from.slice(0, cut) + (random.chance(50) ? make(random).slice(0, 60) : '')
        check(index, key, versions.get(key))
      }
      expect(source.faults).toBe(0)
      expect(source.ids.some((id) => source.isResident(id))).toBe(false)
    })
  }

  it('find large values, whose frames are then read whole', () => {
    const source = new PagedFrameSource({ frames: 60 })
    const index = ArtIndex.create(source)
    const value = new Uint8Array(1_300_000).map((_, i) => (i * 7) & 0xff)
    for (let i = 0; i < 3_000; i++) {
      const key = bytesOf(`key ${String(i)}`)
      index.key.set(key)
      index.put(key.length, value, 0, i === 2_000 ? value.length : 100, i)
    }
    for (const id of source.ids) source.evict(id)
    index.key.set(bytesOf('key 2000'))
    expect(index.find(8)).toBe(true)
    expect([index.foundLarge, index.foundLength, index.foundVersion]).toEqual([true, value.length, 2_000])
    expect(source.faults).toBe(0)
    const copy = new Uint8Array(value.length)
    index.readFound(copy, 0, 0, copy.length)
    expect(Buffer.compare(copy, value)).toBe(0)
    expect(source.faults).toBe(3)
    expect(source.pagedBytes).toBeLessThan(4_000)
  })

  it('go on in memory where frames are there, and out of it again where they are not', () => {
    const { source, index, versions, random } = build(6, KEY_MAKERS['paths'])
    expect(source.ids.length).toBeGreaterThan(10)
    for (let round = 0; round < 3; round++) {
      for (const id of source.ids) {
        if (!source.isResident(id)) source.fault(id)
        if (random.chance(50)) source.evict(id)
      }
      for (const [key, version] of versions) check(index, key, version)
    }
  })

  it('say which bytes they want where they may not wait, and end when those are there', () => {
    const { source, index, versions } = build(7, KEY_MAKERS['any byte'])
    for (const id of source.ids) source.evict(id)
    source.mayBlock = false
    const [key] = versions.keys()
    index.key.set(bytesOf(key))
    expect(() => index.find(key.length)).toThrow(FrameAbsent)
    try {
      index.find(key.length)
    } catch (error) {
      expect(error).toMatchObject({ id: index.rootId })
      const { fromBytes, toBytes } = error as FrameAbsent
      expect(fromBytes).toBeLessThan(toBytes)
    }
  })

  it('give the same answer or HOLT_CORRUPT, whatever the bytes are, and never look outside the frame', () => {
    const { source, index, versions, random } = build(8, KEY_MAKERS['paths'])
    for (const id of source.ids) source.evict(id)
    const keys = [...versions.keys()]
    const outcomes = { right: 0, wrong: 0, corrupt: 0 }
    for (let round = 0; round < 3_000; round++) {
      const frame = source.evictedBytes(random.pick(source.ids))
      if (frame === undefined) throw new Error('a frame is not there')
      const at = 640 + random.below(MIN_USABLE_BYTES - 640)
      const before = frame[at]
      frame[at] = random.below(256)
      const key = random.pick(keys)
      index.key.set(bytesOf(key))
      try {
        const same = index.find(key.length) && index.foundVersion === (versions.get(key) ?? 0) + 2 ** 40
        outcomes[same ? 'right' : 'wrong']++
        if (index.foundOffset + index.foundLength > (source.slab.frameCount + 1) * FRAME_BYTES)
          throw new Error('outside')
      } catch (error) {
        expect(error).toMatchObject({ code: 'HOLT_CORRUPT' })
        outcomes.corrupt++
      }
      frame[at] = before
    }
    // What the store's checksums let through is for the index to survive, not to notice.
    expect(outcomes.right).toBeGreaterThan(1_000)
  })
})
