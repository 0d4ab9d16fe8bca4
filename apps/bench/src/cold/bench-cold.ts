/** What lookups read from a store that hardly fits the cache: pages by kind of key, asked for cold and in a row. */
import { setTimeout } from 'node:timers/promises'

import { type Db, open, type Tree } from 'holt'

import { formatNumber, type GroupResult, type ResultRow } from '../io/result.js'
import { randomBelow, shuffledIndexes } from '../workloads/shuffle.js'
import { makeWorkload, type WorkloadName } from '../workloads/workload.js'
import { neighboursOf } from './neighbours.js'
import { type GroupRunOptions, runGroups } from '../run/group-run.js'

export interface ColdBenchOptions extends GroupRunOptions {
  readonly keys: readonly number[]
  readonly workload: readonly WorkloadName[]
  readonly root: string
  readonly lookups: number
  readonly openings: number
}

type ObjectTree = Tree<string, Uint8Array>

interface Questions {
  readonly name: string
  readonly keys: readonly string[]
  readonly areThere: boolean
}

/** What some lookups made the cache read. */
interface Reads {
  readonly lookups: number
  readonly pageReads: number
  readonly wholeReads: number
  readonly bytes: number
  /** Answers that a filter gave. */
  readonly filtered: number
}

const VALUE = new Uint8Array(60).fill(7)
const BATCH = 1_000
const FRAME_BYTES = 2 ** 19
const CACHE_BYTES_PER_KEY = 400
/** The fewest frames that a cache takes: hardly more than the way to one key. */
const SMALL_CACHE_BYTES = 16 * FRAME_BYTES
/** This part of the store: its upper frames fit, most of the others do not. */
const CACHED_SHARE = 1 / 4
const OPENINGS_A_COLLECTION = 16
/** Longer than writes must be quiet until frames are laid out behind them. */
const SETTLE_MS = 1_000

/** Prints a table for each workload and number of keys. Throws when an answer is wrong. */
export async function benchCold(options: ColdBenchOptions): Promise<void> {
  const parts = options.workload.flatMap((name) => options.keys.map((keyCount) => ({ name, keyCount })))
  await runGroups('cold', options, parts, (directory, { name, keyCount }) =>
    measureAt(directory, name, keyCount, options),
  )
}

async function measureAt(
  directory: string,
  name: WorkloadName,
  keyCount: number,
  options: ColdBenchOptions,
): Promise<readonly GroupResult[]> {
  const say = (text: string): void => void process.stderr.write(`cold ${name} ${String(keyCount)}: ${text}\n`)
  const { keys, absent } = makeWorkload({ name, keyCount, root: options.root })
  const random = randomBelow(0xc01d)
  const wanted = Math.max(options.lookups, options.openings)
  const questions: readonly Questions[] = [
    {
      name: 'a key that is there',
      keys: Array.from({ length: wanted }, () => keys[random(keys.length)]),
      areThere: true,
    },
    { name: 'one that is not, a character off', keys: neighboursOf(keys, wanted, 0xb0b), areThere: false },
    {
      name: 'one that is not, as the others are named',
      keys: Array.from({ length: wanted }, () => absent[random(absent.length)]),
      areThere: false,
    },
  ]
  const cacheBytes = Math.max(2 ** 28, keyCount * CACHE_BYTES_PER_KEY)
  const groups: GroupResult[] = []
  for (const state of ['as puts in random order left it', 'compacted']) {
    say(state)
    const db = await open(directory, { durability: 'os', cacheBytes })
    try {
      if (groups.length === 0) await fill(db, keys)
      else await db.compact()
      await settle(db)
    } finally {
      await db.close()
    }
    const rows: ResultRow[] = []
    for (const asked of questions) {
      const first = await firstLookups(directory, asked, options.openings)
      rows.push({ name: `first of all: ${asked.name}`, values: perLookup(first), bars: [] })
    }
    for (const asked of questions) {
      const later = await lookupsInARow(directory, asked, options.lookups)
      rows.push({ name: `in a row: ${asked.name}`, values: perLookup(later), bars: [] })
    }
    groups.push({
      group: 'cold',
      title: `${name}, ${formatNumber(keyCount)} keys, ${state}: reads per lookup`,
      heads: ['of pages', 'of whole frames', 'KiB', '% answered by a filter'],
      rows,
      notes: [
        `First of all: the mean of ${formatNumber(options.openings)} openings with one lookup each; the tree's name was looked ` +
          `up before, so the first pages of the root are there. In a row: the mean of ${formatNumber(options.lookups / 2)} ` +
          'lookups behind as many that warm a cache for a quarter of the frames.',
      ],
    })
  }
  return groups
}

/** Each the first one after the store was opened: no frame is in memory. */
async function firstLookups(directory: string, asked: Questions, openings: number): Promise<Reads> {
  let all: Reads = { lookups: 0, pageReads: 0, wholeReads: 0, bytes: 0, filtered: 0 }
  for (const key of asked.keys.slice(0, openings)) {
    const db = await open(directory, { cacheBytes: SMALL_CACHE_BYTES })
    try {
      const tree = await db.tree('objects')
      const reads = lookUp(db, tree, [key], asked.areThere)
      all = {
        lookups: all.lookups + 1,
        pageReads: all.pageReads + reads.pageReads,
        wholeReads: all.wholeReads + reads.wholeReads,
        bytes: all.bytes + reads.bytes,
        filtered: all.filtered + reads.filtered,
      }
    } finally {
      await db.close()
    }
    // The collector does not see what shared memory weighs: without being asked it would let the caches pile up.
    if (all.lookups % OPENINGS_A_COLLECTION === 0) globalThis.gc?.()
  }
  return all
}

/** All in one opening, with a cache that came to hold the frames that most of them pass. The first half warms it. */
async function lookupsInARow(directory: string, asked: Questions, lookups: number): Promise<Reads> {
  const db = await open(directory, { cacheBytes: SMALL_CACHE_BYTES })
  const { blobs } = db.stats().store
  await db.close()
  const cacheBytes = Math.max(SMALL_CACHE_BYTES, Math.round(blobs * CACHED_SHARE) * FRAME_BYTES)
  const larger = await open(directory, { cacheBytes })
  try {
    const tree = await larger.tree('objects')
    const half = lookups >>> 1
    lookUp(larger, tree, asked.keys.slice(0, half), asked.areThere)
    return lookUp(larger, tree, asked.keys.slice(half, lookups), asked.areThere)
  } finally {
    await larger.close()
  }
}

function lookUp(db: Db, tree: ObjectTree, keys: readonly string[], areThere: boolean): Reads {
  const { cache: before, lookups: lookupsBefore } = db.stats()
  for (const key of keys)
    if ((tree.get(key) !== undefined) !== areThere) throw new Error(`'${key}': a wrong answer`)
  const { cache: after, lookups } = db.stats()
  return {
    lookups: keys.length,
    pageReads: after.pageReads - before.pageReads,
    wholeReads: after.wholeReads - before.wholeReads,
    bytes: after.pageReadBytes + after.wholeReadBytes - before.pageReadBytes - before.wholeReadBytes,
    filtered: lookups.filtered - lookupsBefore.filtered,
  }
}

function perLookup({ lookups, pageReads, wholeReads, bytes, filtered }: Reads): readonly number[] {
  return [pageReads / lookups, wholeReads / lookups, bytes / lookups / 1_024, (100 * filtered) / lookups]
}

async function fill(db: Db, keys: readonly string[]): Promise<void> {
  const tree = await db.tree('objects')
  const order = shuffledIndexes(keys.length, 3)
  for (let start = 0; start < keys.length; start += BATCH) {
    let newest: Promise<void> | undefined
    for (const index of order.subarray(start, start + BATCH)) newest = tree.put(keys[index], VALUE)
    await newest
  }
}

/** Until nothing is laid out behind the writes any more. */
async function settle(db: Db): Promise<void> {
  for (let last = -1; last !== db.stats().compaction.orderedFrames;) {
    last = db.stats().compaction.orderedFrames
    await setTimeout(SETTLE_MS)
  }
}
