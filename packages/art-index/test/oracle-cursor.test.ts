import { type BlobId, blobId } from '@holt/blob-buf-pool'
import { describe, expect, it } from 'vitest'
import {
  countPrefix,
  Cursor,
  EntryRun,
  type FrameAbsent,
  isPrefixEmpty,
  MAX_KEY_BYTES,
  treeStatistics,
  verifyTree,
} from '../src/index.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { buildTree } from './frame-builder.js'
import { describeOptions, KEY_MAKERS, randomCursorOptions } from './keys.js'
import { list } from './listing.js'
import { Random } from './random.js'
import { bytesOf, latin1, SortedMap } from './sorted-map.js'

const SEEDS = 24
const SCANS = 60
/** Full after a few short keys, or one long one. */
const run = new EntryRun(20, 0, MAX_KEY_BYTES, 100, 60)

/** Every other walk takes what it can at once. */
const byRuns = (i: number): EntryRun | undefined => ((i & 1) === 0 ? undefined : run)

interface Built {
  readonly random: Random
  readonly map: SortedMap
  readonly source: ArrayFrameSource
  readonly tree: { source: ArrayFrameSource; rootId: ReturnType<typeof buildTree>; changes: number }
}

function built(seed: number, make: (random: Random) => string, count: number): Built {
  const random = new Random(seed)
  const map = new SortedMap()
  for (let i = 0; i < count; i++)
    map.put(make(random), 'v'.repeat(random.below(9)), random.below(2 ** 30) * 2 ** 22)
  const source = new ArrayFrameSource({ frames: 1_000 })
  const rootId = buildTree(source, map, random)
  return { random, map, source, tree: { source, rootId, changes: 0 } }
}

describe.each(Object.entries(KEY_MAKERS))('frames laid out by hand, keys: %s', (_name, make) => {
  it('verify finds nothing wrong, statistics agree with what was put in', () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { map, source, tree } = built(seed, make, seed * 6)
      const report = verifyTree(tree)
      expect(report.problems, `seed ${String(seed)}`).toEqual([])
      expect(report.keys).toBe(map.size)
      expect([...report.blobIds].sort((a, b) => a - b)).toEqual(source.ids)
      const statistics = treeStatistics(tree)
      expect(statistics.keys).toBe(map.size)
      expect(statistics.frames).toBe(source.ids.length)
      expect(statistics.entries).toBe(report.entries)
      const { leaf, node4, node16, node48, node256, crossing } = statistics.nodesByType
      expect(leaf).toBe(map.size)
      expect(crossing).toBe(report.crossings)
      expect(leaf + node4 + node16 + node48 + node256 + crossing).toBe(report.nodes)
      expect(statistics.valueBytes).toBe(report.valueBytes)
    }
  })

  it('a cursor lists what the oracle lists', () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { random, map, tree } = built(seed, make, seed * 6)
      const cursor = new Cursor(tree)
      for (let i = 0; i < SCANS; i++) {
        const options = randomCursorOptions(random, make, map.keys)
        cursor.restart(options)
        const message = `seed ${String(seed)} ${describeOptions(options)}`
        expect(list(cursor), message).toEqual(map.scan(options))
        expect(cursor.next(), message).toBe(0)
        cursor.restart(options)
        expect(list(cursor, { run }), `${message}, by runs`).toEqual(map.scan(options))
        cursor.restart(options)
        const mostTaken = (): number => random.below(5)
        expect(list(cursor, { run, mostTaken }), `${message}, by short runs`).toEqual(map.scan(options))
      }
    }
  })

  it('a cursor goes on after every FrameAbsent with a cache of 16 frames', () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { random, map, source, tree } = built(seed, make, seed * 6)
      for (const id of source.ids) source.evict(id)
      source.mayBlock = false
      const resident: BlobId[] = []
      const onAbsent = ({ id }: FrameAbsent): void => {
        const oldest = resident.length === 16 ? resident.shift() : undefined
        if (oldest !== undefined) source.evict(oldest)
        source.mayBlock = true
        source.fault(id)
        source.mayBlock = false
        resident.push(id)
      }
      for (let i = 0; i < 8; i++) {
        const options = randomCursorOptions(random, make, map.keys)
        const listed = list(new Cursor(tree, options), { onAbsent, run: byRuns(i) })
        expect(listed, `seed ${String(seed)} ${describeOptions(options)}`).toEqual(map.scan(options))
      }
    }
  })

  it('a cursor needs no more than one frame at a time', () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { random, map, source, tree } = built(seed, make, seed * 6)
      let resident = 0
      for (const id of source.ids) source.evict(id)
      const fault = source.fault.bind(source)
      source.fault = (id) => {
        if (resident !== 0) source.evict(blobId(resident))
        resident = id
        return fault(id)
      }
      for (let i = 0; i < 8; i++) {
        const options = randomCursorOptions(random, make, map.keys)
        const message = `seed ${String(seed)} ${describeOptions(options)}`
        expect(list(new Cursor(tree, options), { run: byRuns(i) }), message).toEqual(map.scan(options))
      }
    }
  })

  it('a cursor finds its place again when the tree counts changes and frames move between steps', () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { random, map, source, tree } = built(seed, make, seed * 6)
      for (let i = 0; i < 8; i++) {
        const options = randomCursorOptions(random, make, map.keys)
        const listed = list(new Cursor(tree, options), {
          run: byRuns(i),
          mostTaken: () => random.below(5),
          beforeStep: () => {
            if (random.chance(50)) tree.changes++
            if (random.chance(50)) {
              const id = random.pick(source.ids)
              if (source.isResident(id)) source.evict(id)
            }
          },
        })
        expect(listed, `seed ${String(seed)} ${describeOptions(options)}`).toEqual(map.scan(options))
      }
    }
  })

  it('a prefix counts as many keys and value bytes as the oracle, and is empty when that has none', () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { random, map, tree } = built(seed, make, seed * 6)
      for (let i = 0; i < SCANS; i++) {
        const prefix = randomCursorOptions(random, make, map.keys).prefix ?? bytesOf('')
        const below = map.keys.filter((key) => key.startsWith(latin1(prefix)))
        const valueBytes = below.reduce((sum, key) => sum + (map.get(key)?.value.length ?? 0), 0)
        expect(countPrefix(tree, prefix)).toEqual({ keys: below.length, valueBytes })
        expect(isPrefixEmpty(tree, prefix)).toBe(below.length === 0)
      }
    }
  })
})
