import { describe, expect, it } from 'vitest'
import { ArtIndex, CompactionPass, MIN_USABLE_BYTES, treeStatistics, verifyTree } from '../src/index.js'
import { type KeyMaker, KEY_MAKERS } from './keys.js'
import { PagedFrameSource } from './paged-frame-source.js'
import { Random } from './random.js'
import { bytesOf } from './sorted-map.js'

const VALUE = new Uint8Array(60).fill(7)

/** An index, and the versions of its keys as they should be. */
class Kept {
  readonly source: PagedFrameSource
  readonly index: ArtIndex
  readonly versions = new Map<string, number>()
  #version = 0

  constructor(frames: number, usableFrameBytes?: number) {
    this.source = new PagedFrameSource({ frames })
    this.index = ArtIndex.create(this.source, usableFrameBytes === undefined ? {} : { usableFrameBytes })
  }

  put(key: string, valueBytes = 20): void {
    const bytes = bytesOf(key)
    this.index.key.set(bytes)
    this.versions.set(key, ++this.#version)
    this.index.put(bytes.length, VALUE, 0, valueBytes, this.#version)
  }

  delete(key: string): void {
    const bytes = bytesOf(key)
    this.index.key.set(bytes)
    expect(this.index.delete(bytes.length)).toBe(this.versions.delete(key))
  }

  deletePrefix(prefix: string): void {
    const bytes = bytesOf(prefix)
    this.index.key.set(bytes)
    this.index.deletePrefix(bytes.length)
    for (const key of [...this.versions.keys()]) if (key.startsWith(prefix)) this.versions.delete(key)
  }

  move(from: string, to: string): void {
    const moving = [...this.versions].filter(([key]) => key.startsWith(from))
    expect(this.index.movePrefix(bytesOf(from), bytesOf(to))).toBe(moving.length > 0)
    if (moving.length === 0) return
    for (const key of [...this.versions.keys()])
      if (key.startsWith(from) || key.startsWith(to)) this.versions.delete(key)
    for (const [key, version] of moving) this.versions.set(to + key.slice(from.length), version)
  }

  /** Gives every frame that should have one a filter. */
  orderAll(): void {
    for (const id of this.source.ids) this.index.orderFrame(id)
  }

  /** All of it, by one pass. */
  compact(): void {
    for (const pass = new CompactionPass(); this.index.compactStep(pass););
  }

  evictAll(): void {
    for (const id of this.source.ids) if (this.source.isResident(id)) this.source.evict(id)
  }

  bringBack(): void {
    for (const id of this.source.ids) if (!this.source.isResident(id)) this.source.fault(id)
  }

  check(key: string): void {
    const { index } = this
    const bytes = bytesOf(key)
    index.key.set(bytes)
    const version = index.find(bytes.length) ? index.foundVersion : undefined
    if (version !== this.versions.get(key))
      throw new Error(`${JSON.stringify(key)}: version ${String(version)} was found`)
  }

  /** Looks with every frame out of memory: for keys that are there, and as many that part from one of them somewhere. */
  checkCold(random: Random, make: KeyMaker, lookups: number): void {
    this.evictAll()
    const keys = [...this.versions.keys()]
    for (let i = 0; i < lookups && keys.length > 0; i++) {
      const key = random.pick(keys)
      this.check(key)
      this.check(key.slice(0, random.below(key.length + 1)) + make(random).slice(0, 60))
    }
    this.bringBack()
  }

  verify(): void {
    expect(verifyTree(this.index).problems).toEqual([])
  }

  get filteredFrames(): number {
    return treeStatistics(this.index).filteredFrames
  }
}

/** Names in an order without a pattern, none twice. */
function names(prefix: string, count: number): readonly string[] {
  const random = new Random(count)
  return Array.from({ length: count }, (_, i) => `${prefix}${String(random.below(1e6))}-${String(i)}`)
}

describe('the filter of a frame', () => {
  it('answers for most keys that are not there without a look at a node, for each that is there with one', () => {
    const kept = new Kept(4)
    for (const name of names('objects/', 4_000)) kept.put(name, 60)
    kept.orderAll()
    expect(kept.filteredFrames).toBe(1)
    kept.evictAll()
    const { source, index } = kept
    let silent = 0
    for (let i = 0; i < 4_000; i++) {
      source.nodeReads = 0
      kept.check(`objects/${String(i * 7)}-absent`)
      if (source.nodeReads === 0) silent++
    }
    expect(silent).toBeGreaterThan(3_600)
    expect(index.filteredLookups).toBe(silent)
    for (const key of kept.versions.keys()) {
      source.nodeReads = 0
      kept.check(key)
      expect(source.nodeReads).toBeGreaterThan(0)
    }
    expect(index.filteredLookups).toBe(silent)
    expect(source.faults).toBe(0)
  })

  it('is made where a frame is laid out, of many keys and no crossings; a frame that was only filled has none', () => {
    const kept = new Kept(60, MIN_USABLE_BYTES)
    for (let i = 0; i < 31; i++) kept.put(`a/${String(i)}`)
    kept.orderAll()
    expect(kept.filteredFrames).toBe(0)
    expect(kept.index.lacksFilter(kept.index.rootId)).toBe(false)
    kept.put('a/31')
    expect(kept.index.lacksFilter(kept.index.rootId)).toBe(true)
    kept.orderAll()
    expect(kept.filteredFrames).toBe(1)
    expect(kept.index.lacksFilter(kept.index.rootId)).toBe(false)
    for (const name of names('b/', 800)) kept.put(name)
    expect(treeStatistics(kept.index).frames).toBeGreaterThan(3)
    kept.orderAll()
    // Frames that lead to others have none.
    const { crossing } = treeStatistics(kept.index).nodesByType
    expect(crossing).toBeGreaterThan(0)
    expect(kept.index.lacksFilter(kept.index.rootId)).toBe(false)
    expect(kept.filteredFrames).toBeGreaterThan(2)
    expect(kept.filteredFrames).toBeLessThan(treeStatistics(kept.index).frames)
    kept.verify()
    kept.checkCold(new Random(1), KEY_MAKERS['paths'], 800)
  })

  it('is made by a compaction of everything, and a second one finds nothing to do', () => {
    const kept = new Kept(80, MIN_USABLE_BYTES)
    for (const name of names('c/', 1_000)) kept.put(name)
    kept.compact()
    for (const id of kept.source.ids) expect(kept.index.lacksFilter(id)).toBe(false)
    expect(kept.filteredFrames).toBeGreaterThan(3)
    kept.verify()
    const { changes } = kept.index
    kept.compact()
    expect(kept.index.changes).toBe(changes)
    kept.checkCold(new Random(2), KEY_MAKERS['paths'], 1_000)
  })

  it('is made by a compaction of frames that lie in order already, as a bulk load leaves them', () => {
    const kept = new Kept(80, MIN_USABLE_BYTES)
    const load = kept.index.bulkLoad(bytesOf('e/'), 1)
    const value = new Uint32Array(16)
    for (let i = 0; i < 1_000; i++) {
      const words = new Uint32Array(8)
      const key = String(i).padStart(5, '0')
      new Uint8Array(words.buffer).set(bytesOf(key))
      load.add(words, 0, key.length, value, 0, 20)
      kept.versions.set(`e/${key}`, 1)
    }
    load.finish()
    kept.compact()
    for (const id of kept.source.ids) expect(kept.index.lacksFilter(id)).toBe(false)
    expect(kept.filteredFrames).toBeGreaterThan(3)
    kept.verify()
    kept.checkCold(new Random(6), KEY_MAKERS['paths'], 500)
  })

  it('is made for frames that a compaction joins', () => {
    const kept = new Kept(200, MIN_USABLE_BYTES)
    for (let i = 0; i < 20; i++) for (const name of names(`${String(i)}/`, 100)) kept.put(name)
    const random = new Random(7)
    for (const key of [...kept.versions.keys()]) if (random.chance(70)) kept.delete(key)
    const { frames } = treeStatistics(kept.index)
    kept.compact()
    expect(treeStatistics(kept.index).frames).toBeLessThan(frames / 2)
    for (const id of kept.source.ids) expect(kept.index.lacksFilter(id)).toBe(false)
    kept.verify()
    kept.checkCold(random, KEY_MAKERS['paths'], 500)
  })

  it('takes a put in; what was deleted costs a look and is not found', () => {
    const kept = new Kept(4)
    for (const name of names('d/', 500)) kept.put(name)
    kept.orderAll()
    const later = names('d/later/', 200)
    for (const name of later) kept.put(name)
    expect(kept.filteredFrames).toBe(1)
    kept.verify()
    kept.evictAll()
    for (const name of later) kept.check(name)
    kept.bringBack()
    for (const name of later) kept.delete(name)
    kept.evictAll()
    for (const name of later) kept.check(name)
    expect(kept.index.filteredLookups).toBe(0)
  })

  it('goes with a move inside its frame, and with one that brings nodes or a crossing into it', () => {
    for (const [count, usable] of [
      [60, undefined],
      [900, MIN_USABLE_BYTES],
    ] as const) {
      const kept = new Kept(120, usable)
      for (const name of names('from/', count)) kept.put(name)
      for (const name of names('to/there/', 50)) kept.put(name)
      kept.orderAll()
      const isInOneFrame = treeStatistics(kept.index).frames === 1
      const before = kept.filteredFrames
      kept.move('from/', 'to/here/')
      if (isInOneFrame) expect([before, kept.filteredFrames]).toEqual([1, 0])
      kept.verify()
      kept.checkCold(new Random(3), KEY_MAKERS['paths'], 500)
      kept.orderAll()
      expect(kept.filteredFrames).toBeGreaterThan(0)
      kept.verify()
      kept.checkCold(new Random(4), KEY_MAKERS['paths'], 500)
    }
  })

  it('stays where a frame is only hung in elsewhere: it does not know what lies above', () => {
    const kept = new Kept(120, MIN_USABLE_BYTES)
    for (let i = 0; i < 8; i++) for (const name of names(`team/${String(i)}/`, 120)) kept.put(name)
    kept.orderAll()
    const before = kept.filteredFrames
    expect(before).toBeGreaterThan(5)
    kept.move('team/', 'another/team/')
    expect(kept.filteredFrames).toBe(before)
    kept.verify()
    kept.checkCold(new Random(5), KEY_MAKERS['paths'], 500)
    expect(kept.index.filteredLookups).toBeGreaterThan(100)
  })

  it('goes with a move that cuts the path of an entry', () => {
    const kept = new Kept(120, MIN_USABLE_BYTES)
    const letters = 'abcdefghijklmnop'.match(/./g) ?? []
    for (const letter of letters) for (const name of names(`x/${letter}common/path/`, 48)) kept.put(name)
    // Siblings share frames; all but one of each frame go, and the rest has its path still.
    for (const [i, letter] of letters.entries()) if (i % 4 !== 0) kept.deletePrefix(`x/${letter}`)
    kept.orderAll()
    const before = kept.filteredFrames
    kept.move('x/acom', 'elsewhere/')
    kept.move('x/ecom', 'y')
    kept.move('x/icommon/', 'z/')
    kept.verify()
    kept.checkCold(new Random(8), KEY_MAKERS['paths'], 500)
    expect(kept.filteredFrames).toBeLessThan(before)
  })

  for (const [kind, make] of Object.entries(KEY_MAKERS)) {
    it(`holds all keys of its frame, whatever was done to it: ${kind}`, () => {
      let filtered = 0
      for (let seed = 1; seed <= 4; seed++) {
        const random = new Random(seed)
        const kept = new Kept(1_500, MIN_USABLE_BYTES)
        const key = (): string => make(random).slice(0, 80)
        const present = (): string => random.pick([...kept.versions.keys()])
        for (let i = 1; i <= 2_000; i++) {
          const action = random.below(100)
          if (action < 70 || kept.versions.size === 0) kept.put(key(), random.below(60))
          else if (action < 80) kept.delete(present())
          else if (action < 88) {
            const { ids } = kept.source
            kept.index.orderFrame(random.pick(ids))
          } else if (action < 90) kept.index.compactStep(new CompactionPass(), { frames: 4 })
          else if (action < 99) {
            const from = present().slice(0, 1 + random.below(4))
            const to =
              (random.chance(50) ? present() : key()).slice(0, 1 + random.below(6)) +
              random.pick(['', '/', 'x'])
            const isApart = !from.startsWith(to) && !to.startsWith(from) && to !== ''
            if (isApart) kept.move(from, to)
          } else kept.deletePrefix(present().slice(0, 3))
          if (i % 100 === 0) {
            kept.verify()
            kept.checkCold(random, make, 40)
          }
        }
        filtered += kept.index.filteredLookups
      }
      expect(filtered).toBeGreaterThan(20)
    })
  }
})

describe('a frame that an open view sees', () => {
  it('stays without a filter until the view is closed, and a change gives the copy one that follows', () => {
    const kept = new Kept(20)
    for (const name of names('v/', 100)) kept.put(name)
    const view = kept.index.view(1)
    expect(kept.index.lacksFilter(kept.index.rootId)).toBe(false)
    view.close()
    expect(kept.index.lacksFilter(kept.index.rootId)).toBe(true)
    kept.orderAll()
    const second = kept.index.view(2)
    const before = kept.index.rootId
    for (const name of names('v/later/', 100)) kept.put(name)
    expect(kept.index.rootId).not.toBe(before)
    expect(kept.filteredFrames).toBe(1)
    kept.verify()
    kept.checkCold(new Random(9), KEY_MAKERS['paths'], 400)
    expect(kept.index.filteredLookups).toBeGreaterThan(20)
    second.close()
  })
})
