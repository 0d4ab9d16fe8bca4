import { describe, expect, it } from 'vitest'
import {
  ArtIndex,
  countPrefix,
  Cursor,
  EntryRun,
  isPrefixEmpty,
  MAX_KEY_BYTES,
  MIN_USABLE_BYTES,
  treeStatistics,
  verifyTree,
} from '../src/index.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { describeOptions, KEY_MAKERS, type KeyMaker, randomCursorOptions } from './keys.js'
import { current, list } from './listing.js'
import { Random } from './random.js'
import { bytesOf, latin1, type Listed, SortedMap } from './sorted-map.js'
import { fillPattern, foundValue } from './values.js'

/*
 * Histories of put, overwrite, delete, find and scan on an index and an ordered map, compared at every operation. The
 * frames are as small as may be, so that they split, compact and empty all the time. A failure names its seed; the same
 * seed gives the same history.
 */

/** Longest key, and value beside its key, that these histories use. */
const LONGEST_KEY = 200
const LONGEST_VALUE = 200
/** Three frames at most. */
const LARGEST_VALUE = 3 * 8_192
const run = new EntryRun(30, 0, MAX_KEY_BYTES, 400, 2_000)

class History {
  readonly random: Random
  readonly make: KeyMaker
  readonly map = new SortedMap()
  readonly source: ArrayFrameSource
  readonly index: ArtIndex
  readonly cursor: Cursor
  readonly #value = new Uint8Array(LARGEST_VALUE)
  #version = 0
  /** Most that were there at a check. */
  largeValues = 0

  constructor(seed: number, make: KeyMaker, usableFrameBytes: number) {
    this.random = new Random(seed)
    this.make = (random) => make(random).slice(0, LONGEST_KEY)
    this.source = new ArrayFrameSource({ frames: 600, moveOnWrite: this.random.chance(50) })
    this.index = ArtIndex.create(this.source, { usableFrameBytes })
    this.cursor = new Cursor(this.index)
  }

  /** A key that is there, or one made up. */
  key(percentPresent: number): string {
    const { keys } = this.map
    return keys.length > 0 && this.random.chance(percentPresent)
      ? this.random.pick(keys)
      : this.make(this.random)
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
    const value = latin1(this.#value.subarray(0, length))
    index.key.set(bytesOf(key))
    const isNew = index.put(key.length, this.#value, 0, length, this.#version)
    expect(isNew, `put of ${hex(key)}`).toBe(this.map.put(key, value, this.#version))
  }

  delete(key: string): void {
    this.index.key.set(bytesOf(key))
    expect(this.index.delete(key.length), `delete of ${hex(key)}`).toBe(this.map.delete(key))
  }

  find(key: string): void {
    const { index } = this
    const expected = this.map.get(key)
    index.key.set(bytesOf(key))
    const found = index.find(key.length)
    if (found !== (expected !== undefined)) throw new Error(`find of ${hex(key)} says ${String(found)}`)
    if (expected === undefined) return
    const value = latin1(foundValue(index))
    if (value !== expected.value || index.foundVersion !== expected.version)
      throw new Error(`find of ${hex(key)} gives another value or version`)
  }

  scan(): void {
    const { random, map, cursor } = this
    const options = randomCursorOptions(random, this.make, map.keys)
    const limit = random.chance(70) ? 1 + random.below(12) : Infinity
    cursor.restart(options)
    expect(list(cursor, { limit }), describeOptions(options)).toEqual(map.scan(options, limit))
    cursor.restart(options)
    expect(list(cursor, { limit, run }), `${describeOptions(options)}, by runs`).toEqual(
      map.scan(options, limit),
    )
  }

  count(): void {
    const prefix = this.key(80)
    const cut = bytesOf(prefix.slice(0, this.random.below(prefix.length + 1)))
    const keys = this.map.keys.filter((key) => key.startsWith(latin1(cut)))
    const valueBytes = keys.reduce((sum, key) => sum + (this.map.get(key)?.value.length ?? 0), 0)
    expect(countPrefix(this.index, cut)).toEqual({ keys: keys.length, valueBytes })
    expect(isPrefixEmpty(this.index, cut)).toBe(keys.length === 0)
  }

  change(percentDelete: number): void {
    if (this.random.chance(percentDelete)) this.delete(this.key(95))
    else this.put(this.key(25))
  }

  /** Deletes everything below some prefix, one by one: frames and entries become empty. */
  clear(): void {
    const prefix = this.key(90)
    const cut = prefix.slice(0, this.random.below(prefix.length + 1))
    for (const key of this.map.keys.filter((candidate) => candidate.startsWith(cut))) this.delete(key)
  }

  run(operations: number): void {
    const { random } = this
    let percentDelete = 20
    for (let i = 0; i < operations; i++) {
      if (i % 400 === 0) percentDelete = random.pick([5, 10, 20, 50, 85])
      const choice = random.below(1_000)
      if (choice < 600) this.change(percentDelete)
      else if (choice < 950) this.find(this.key(60))
      else if (choice < 994) this.scan()
      else if (choice < 998) this.count()
      else if (choice < 999) this.clear()
      else this.evictSome()
    }
  }

  evictSome(): void {
    for (const id of this.source.ids) {
      if (this.source.isResident(id) && this.random.chance(30)) this.source.evict(id)
    }
  }

  check(): void {
    const report = verifyTree(this.index)
    expect(report.problems).toEqual([])
    expect(report.keys).toBe(this.map.size)
    expect([...report.blobIds].sort((a, b) => a - b)).toEqual(this.source.ids)
    const { keys, largeValues, valueFrames } = treeStatistics(this.index)
    expect(keys).toBe(this.map.size)
    expect({ largeValues, valueFrames }).toEqual({
      largeValues: report.largeValues,
      valueFrames: report.valueFrames,
    })
    this.largeValues = Math.max(this.largeValues, largeValues)
    this.cursor.restart()
    expect(list(this.cursor)).toEqual(this.map.scan({}))
    this.cursor.restart()
    expect(list(this.cursor, { run })).toEqual(this.map.scan({}))
    this.cursor.restart({ reverse: true })
    expect(list(this.cursor)).toEqual(this.map.scan({ reverse: true }))
  }
}

function hex(key: string): string {
  return `'${Buffer.from(key, 'latin1').toString('hex')}'`
}

/** Runs it, and says which seed to repeat where it fails. */
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
const HISTORIES = Number(process.env['HOLT_HISTORIES'] ?? 10)
const ONLY_SEED = process.env['HOLT_SEED']
const OPERATIONS = 2_000

describe.each(Object.entries(KEY_MAKERS))('random histories, keys: %s', (name, make) => {
  it('finds, lists and counts what an ordered map does, and every frame verifies', () => {
    let splits = 0
    let largeValues = 0
    for (let i = 0; i < HISTORIES; i++) {
      const seed = ONLY_SEED === undefined ? name.length * 1_000 + i : Number(ONLY_SEED)
      withSeed(seed, () => {
        const history = new History(seed, make, i % 3 === 2 ? MIN_USABLE_BYTES + 8_192 : MIN_USABLE_BYTES)
        for (let part = 0; part < 4; part++) {
          history.run(OPERATIONS / 4)
          history.check()
        }
        splits = Math.max(splits, treeStatistics(history.index).frames)
        largeValues = Math.max(largeValues, history.largeValues)
      })
    }
    expect(splits).toBeGreaterThan(1)
    expect(largeValues).toBeGreaterThan(3)
  })

  it('is empty again, in one frame, after every key was deleted', () => {
    withSeed(77, () => {
      const history = new History(77, make, MIN_USABLE_BYTES)
      for (let i = 0; i < 800; i++) history.put(history.key(10))
      for (const key of [...history.map.keys]) history.delete(key)
      history.check()
      expect(history.source.ids).toEqual([history.index.rootId])
    })
  })

  it('a scan during changes returns what stays exactly once and in order', () => {
    for (let i = 0; i < HISTORIES; i++) {
      const seed = ONLY_SEED === undefined ? 5_000 + i : Number(ONLY_SEED)
      withSeed(seed, () => {
        const history = new History(seed, make, MIN_USABLE_BYTES)
        const { random, map } = history
        for (let round = 0; round < 5; round++) {
          for (let j = 0; j < 100; j++) history.change(30)
          const options = randomCursorOptions(random, history.make, map.keys)
          const seen: Listed[] = []
          const everThere = new Map(map.scan(options).map((entry) => [nameOf(entry), 1]))
          const stayed = new Set(everThere.keys())
          const cursor = new Cursor(history.index, options)
          for (let step = cursor.next(); step !== 0; step = cursor.next()) {
            seen.push(current(cursor, step))
            if (random.chance(60)) continue
            for (let j = random.below(6); j > 0; j--) history.change(50)
            if (random.chance(10)) history.evictSome()
            const now = new Set(map.scan(options).map(nameOf))
            for (const entry of stayed) if (!now.has(entry)) stayed.delete(entry)
            for (const entry of now) everThere.set(entry, 1)
          }
          const names = seen.map(nameOf)
          const ordered = [...new Set(seen.map(({ key }) => key))].sort((a, b) => (a < b ? -1 : 1))
          if (options.reverse === true) ordered.reverse()
          expect(
            seen.map(({ key }) => key),
            describeOptions(options),
          ).toEqual(ordered)
          for (const entry of stayed) expect(names, describeOptions(options)).toContain(entry)
          for (const entry of names) expect(everThere.has(entry), describeOptions(options)).toBe(true)
        }
        history.check()
      })
    }
  })
})

function nameOf(entry: Listed): string {
  return `${entry.kind} ${entry.key}`
}
