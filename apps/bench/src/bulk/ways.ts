/** The ways in which a tree is filled, and one turn of each. */
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'

import { type Db, open, type Tree } from 'holt'

import { takeTurn, type Turn } from '../io/rounds.js'
import { objectStoreKeys } from '../workloads/object-store.js'
import { shuffledIndexes } from '../workloads/shuffle.js'

export type Entries = readonly (readonly [key: string, value: Uint8Array])[]
type ObjectTree = Tree<string, Uint8Array>

export interface Way {
  readonly name: string
  readonly isSorted: boolean
  readonly fill: (tree: ObjectTree, entries: Entries) => Promise<unknown>
  /** Which way's CPU time is to be so many times as much. */
  readonly bar?: { readonly against: number; readonly times: number }
}

const VALUE_BYTES = 60
/** No more than these: half a million objects for values are work for the collector that no store is to blame for. */
const VALUES = Array.from({ length: 251 }, (_, index) => new Uint8Array(VALUE_BYTES).fill(index))
const BATCH = 1_000
/** Bytes of memory that hold a key and all it needs. */
const CACHE_BYTES_PER_KEY = 400

export const WAYS: readonly Way[] = [
  { name: 'puts, random order', isSorted: false, fill: putAll },
  { name: 'puts, sorted', isSorted: true, fill: putAll },
  {
    name: 'bulkLoad, random order',
    isSorted: false,
    fill: (tree, entries) => tree.bulkLoad(entries),
    bar: { against: 0, times: 2.5 },
  },
  {
    name: 'bulkLoad, sorted',
    isSorted: true,
    fill: (tree, entries) => tree.bulkLoad(entries, { sorted: true }),
    bar: { against: 1, times: 4 },
  },
]

/** Keys as an object store has them, in the order of a way. */
export function entriesOf(keyCount: number, isSorted: boolean): Entries {
  // Keys are ASCII, so that JavaScript's order is that of their bytes.
  const sorted = objectStoreKeys(keyCount, 0).keys.toSorted((left, right) => (left < right ? -1 : 1))
  const order = isSorted ? sorted.keys() : shuffledIndexes(keyCount, 0xb01d)
  // Made anew, so that they lie in memory in the order in which they are taken: else the collector pays for the shuffling.
  return Array.from(order, (index) => [
    Buffer.from(sorted[index], 'latin1').toString('latin1'),
    VALUES[index % VALUES.length],
  ])
}

/** Fills a store of its own, and removes it. `isChecked`: looks at every entry and verifies the store. */
export async function takeOne(
  directory: string,
  way: Way,
  entries: Entries,
  isChecked: boolean,
): Promise<Turn> {
  const path = mkdtempSync(join(directory, 'store-'))
  const cacheBytes = Math.max(2 ** 28, entries.length * CACHE_BYTES_PER_KEY)
  const db = await open(path, { durability: 'os', cacheBytes })
  try {
    const tree = await db.tree('objects')
    // What starts with the first write and the first checkpoint is no part of any way: threads, a segment of the journal.
    await tree.put('first', VALUES[0])
    await tree.delete('first')
    await db.checkpoint()
    const work = async (): Promise<number> => {
      await way.fill(tree, entries)
      await db.checkpoint()
      return entries.length
    }
    const turn = await takeTurn({ name: way.name, work }, 0)
    const { keys } = tree.count()
    if (keys !== entries.length)
      throw new Error(`${way.name}: ${String(keys)} keys instead of ${String(entries.length)}`)
    if (isChecked) await check(db, tree, entries, way.name)
    return turn
  } finally {
    await db.close()
    rmSync(path, { recursive: true, force: true })
  }
}

async function check(db: Db, tree: ObjectTree, entries: Entries, name: string): Promise<void> {
  const expected = new Map(entries)
  let last = ''
  for (const { key, value } of tree.scan()) {
    if (key <= last) throw new Error(`${name}: '${key}' comes behind '${last}'`)
    last = key
    const wanted = expected.get(key)
    if (wanted === undefined || Buffer.compare(value, wanted) !== 0)
      throw new Error(`${name}: '${key}' is there and should not be, or its value differs`)
  }
  const { problems } = await db.verify()
  if (problems.length > 0) throw new Error(`${name}: ${JSON.stringify(problems[0])}`)
}

async function putAll(tree: ObjectTree, entries: Entries): Promise<void> {
  for (let start = 0; start < entries.length; start += BATCH) {
    const end = Math.min(start + BATCH, entries.length)
    let newest: Promise<void> | undefined
    for (let at = start; at < end; at++) newest = tree.put(entries[at][0], entries[at][1])
    await newest
  }
}
