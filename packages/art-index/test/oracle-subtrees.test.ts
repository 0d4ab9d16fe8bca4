import { describe, expect, it } from 'vitest'
import {
  ArtIndex,
  countPrefix,
  Cursor,
  isPrefixEmpty,
  MIN_USABLE_BYTES,
  treeStatistics,
  verifyTree,
} from '../src/index.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { KEY_MAKERS, type KeyMaker } from './keys.js'
import { list } from './listing.js'
import { Random } from './random.js'
import { bytesOf, latin1, SortedMap } from './sorted-map.js'
import { fillPattern } from './values.js'

/*
 * Histories of put, delete and operations on whole subtrees, on an index and an ordered map. Every operation is followed
 * by verify, and by a look at the frames: each is reached by the tree, or waits to be given back.
 */

const LONGEST_KEY = 200
const LONGEST_VALUE = 200
/** Three frames of its own. */
const LARGEST_VALUE = 3 * 8_192

class SubtreeHistory {
  readonly random: Random
  readonly make: KeyMaker
  readonly map = new SortedMap()
  readonly source: ArrayFrameSource
  readonly index: ArtIndex
  readonly #value = new Uint8Array(LARGEST_VALUE)
  #version = 0
  mostFrames = 0
  mostUnlinked = 0

  constructor(seed: number, make: KeyMaker) {
    this.random = new Random(seed)
    this.make = (random) => make(random).slice(0, LONGEST_KEY)
    this.source = new ArrayFrameSource({ frames: 900, moveOnWrite: this.random.chance(50) })
    this.index = ArtIndex.create(this.source, { usableFrameBytes: MIN_USABLE_BYTES })
  }

  key(percentPresent: number): string {
    const { keys } = this.map
    return keys.length > 0 && this.random.chance(percentPresent)
      ? this.random.pick(keys)
      : this.make(this.random)
  }

  /** Cut anywhere; short ones, with much below, as often as long ones. */
  prefix(): string {
    const key = this.key(85)
    return this.random.chance(10) ? this.make(this.random) : key.slice(0, this.random.below(key.length + 1))
  }

  put(key: string): void {
    const { random, index } = this
    const length = random.chance(3)
      ? random.below(LARGEST_VALUE + 1)
      : random.chance(30)
        ? random.below(8)
        : random.below(LONGEST_VALUE + 1)
    fillPattern(this.#value.subarray(0, length), random.below(256))
    this.#version += 1 + random.below(2 ** 30) * 2 ** 10
    index.key.set(bytesOf(key))
    const isNew = index.put(key.length, this.#value, 0, length, this.#version)
    expect(isNew).toBe(this.map.put(key, latin1(this.#value.subarray(0, length)), this.#version))
  }

  delete(key: string): void {
    this.index.key.set(bytesOf(key))
    expect(this.index.delete(key.length)).toBe(this.map.delete(key))
  }

  deletePrefix(prefix: string): void {
    this.index.key.set(bytesOf(prefix))
    const there = this.map.keys.filter((key) => key.startsWith(prefix))
    for (const key of there) this.map.delete(key)
    expect(this.index.deletePrefix(prefix.length), `prefix ${hex(prefix)}`).toBe(there.length > 0)
  }

  movePrefix(from: string, to: string): void {
    const there = this.map.keys.filter((key) => key.startsWith(from))
    const contained = from.startsWith(to) || to.startsWith(from)
    const moved = there.map((key) => [to + key.slice(from.length), this.map.get(key)] as const)
    const what = `${hex(from)} to ${hex(to)}`
    if (contained) {
      expect(() => this.index.movePrefix(bytesOf(from), bytesOf(to)), what).toThrow(/begins with/)
      return
    }
    const longest = Math.max(-1, ...there.map((key) => key.length - from.length))
    this.index.key.set(bytesOf(from))
    const bound = this.index.restBoundBytes(from.length)
    expect(bound < 0, what).toBe(there.length === 0)
    expect(bound, what).toBeGreaterThanOrEqual(longest)
    if (to.length + longest > LONGEST_KEY) return
    if (there.length > 0)
      for (const key of this.map.keys.filter((key) => key.startsWith(to))) this.map.delete(key)
    for (const key of there) this.map.delete(key)
    for (const [key, record] of moved) if (record) this.map.put(key, record.value, record.version)
    expect(this.index.movePrefix(bytesOf(from), bytesOf(to)), what).toBe(there.length > 0)
  }

  giveBack(most: number): void {
    for (let i = 0; i < most && this.index.unlinked.size > 0; i++) this.index.freeNextUnlinked()
  }

  evictSome(): void {
    for (const id of this.source.ids) {
      if (this.source.isResident(id) && this.random.chance(30)) this.source.evict(id)
    }
  }

  verify(): void {
    const { index, source } = this
    const report = verifyTree(index)
    expect(report.problems).toEqual([])
    expect(report.keys).toBe(this.map.size)
    expect([...report.blobIds, ...report.unlinkedBlobIds].sort((a, b) => a - b)).toEqual(source.ids)
    this.mostFrames = Math.max(this.mostFrames, report.blobIds.length)
    this.mostUnlinked = Math.max(this.mostUnlinked, report.unlinkedBlobIds.length)
  }

  compare(): void {
    expect(list(new Cursor(this.index))).toEqual(this.map.scan({}))
    expect(treeStatistics(this.index).keys).toBe(this.map.size)
    const prefix = this.prefix()
    const keys = this.map.keys.filter((key) => key.startsWith(prefix))
    expect(countPrefix(this.index, bytesOf(prefix)).keys).toBe(keys.length)
    expect(isPrefixEmpty(this.index, bytesOf(prefix))).toBe(keys.length === 0)
  }

  run(operations: number): void {
    const { random } = this
    for (let i = 0; i < operations; i++) {
      const choice = random.below(1_000)
      if (choice < 40) {
        for (let burst = random.below(80); burst > 0; burst--) this.put(this.key(10))
      } else if (choice < 700) this.put(this.key(15))
      else if (choice < 800) this.delete(this.key(95))
      else if (choice < 900) this.subtreeOperation()
      else if (choice < 950) this.giveBack(1 + random.below(4))
      else if (choice < 970) this.evictSome()
      else this.compare()
      this.verify()
    }
    this.compare()
  }

  subtreeOperation(): void {
    // Of a short prefix so much goes that trees would never grow.
    const prefix = this.prefix()
    if (this.random.chance(60)) {
      const to = this.random.chance(50) ? this.prefix() : this.prefix() + this.make(this.random)
      this.movePrefix(prefix, to.slice(0, LONGEST_KEY))
      return
    }
    if (prefix.length < 2 && this.random.chance(80)) return
    this.deletePrefix(prefix)
  }
}

function hex(key: string): string {
  return `'${Buffer.from(key, 'latin1').toString('hex')}'`
}

function withSeed(seed: number, run: () => void): void {
  try {
    run()
  } catch (error) {
    throw new Error(`seed ${String(seed)}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    })
  }
}

/** Its environment gives a longer run, or repeats one seed. */
const HISTORIES = Number(process.env['HOLT_HISTORIES'] ?? 6)
const ONLY_SEED = process.env['HOLT_SEED']

describe.each(Object.entries(KEY_MAKERS))('histories of subtrees, keys: %s', (name, make) => {
  it('hold what an ordered map does; no frame leaks', { timeout: 600_000 }, () => {
    let mostFrames = 0
    let mostUnlinked = 0
    for (let i = 0; i < HISTORIES; i++) {
      const seed = ONLY_SEED === undefined ? name.length * 1_000 + i : Number(ONLY_SEED)
      withSeed(seed, () => {
        const history = new SubtreeHistory(seed, make)
        history.run(600)
        history.giveBack(Infinity)
        history.verify()
        mostFrames = Math.max(mostFrames, history.mostFrames)
        mostUnlinked = Math.max(mostUnlinked, history.mostUnlinked)
      })
    }
    expect(mostFrames).toBeGreaterThan(3)
    expect(mostUnlinked).toBeGreaterThan(0)
  })

  it('an empty prefix empties the tree', () => {
    withSeed(99, () => {
      const history = new SubtreeHistory(99, make)
      for (let i = 0; i < 900; i++) history.put(history.key(10))
      history.verify()
      history.deletePrefix('')
      history.verify()
      history.giveBack(Infinity)
      expect(history.source.ids).toEqual([history.index.rootId])
      for (let i = 0; i < 300; i++) history.put(history.key(10))
      history.verify()
      history.compare()
    })
  })
})
