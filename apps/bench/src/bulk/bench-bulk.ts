/** A bulk load beside the same entries put a thousand at a time, both until they are part of a durable image. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Db, open, type Tree } from 'holt'

import { describeMachine, renderMachine } from '../io/machine.js'
import { atLeast, formatNumber, type GroupResult, renderGroup, type ResultRow } from '../io/result.js'
import { cpuMicrosEach, medianOf, medianRatio, takeTurn, type Turn } from '../io/rounds.js'
import { objectStoreKeys } from '../workloads/object-store.js'
import { shuffledIndexes } from '../workloads/shuffle.js'

export interface BulkBenchOptions {
  readonly keys: readonly number[]
  readonly rounds: number
  readonly directory?: string
  readonly json?: boolean
}

type Entry = readonly [key: string, value: Uint8Array]
type Entries = readonly Entry[]
type ObjectTree = Tree<string, Uint8Array>

interface Way {
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
/** Keys of a first round that does not count: until the compiler has done its work. */
const WARM_UP_KEYS = 100_000

const WAYS: readonly Way[] = [
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

/** Prints a table for each number of keys. */
export async function benchBulk(options: BulkBenchOptions): Promise<void> {
  const machine = renderMachine(describeMachine(options.directory ?? tmpdir()))
  process.stderr.write(`bulk: ${machine}\n`)
  const groups: GroupResult[] = []
  for (const keyCount of options.keys) {
    const directory = mkdtempSync(join(options.directory ?? tmpdir(), 'holt-bench-'))
    const remove = (): void => {
      rmSync(directory, { recursive: true, force: true })
    }
    process.once('exit', remove)
    try {
      groups.push(tableOf(keyCount, await measureAt(directory, keyCount, options.rounds)))
    } finally {
      process.off('exit', remove)
      remove()
    }
  }
  if (options.json === true) process.stdout.write(`${JSON.stringify({ machine, groups }, undefined, 2)}\n`)
  else process.stdout.write(`${machine}\n\n${groups.map(renderGroup).join('\n')}\n`)
}

/** The turns of every way, in the order of {@link WAYS}. */
async function measureAt(directory: string, keyCount: number, rounds: number): Promise<readonly Turn[][]> {
  const say = (text: string): void => void process.stderr.write(`bulk ${String(keyCount)}: ${text}\n`)
  const entries = entriesOf(keyCount)
  say('checking')
  const warmUp = entriesOf(Math.min(keyCount, WARM_UP_KEYS))
  for (const way of WAYS) await takeOne(directory, way, warmUp, true)
  // What goes right with few keys need not with many.
  if (warmUp.sorted.length < keyCount) for (const way of WAYS) await takeOne(directory, way, entries, true)
  const turns = WAYS.map((): Turn[] => [])
  for (let round = 0; round < rounds; round++) {
    say(`round ${String(round + 1)} of ${String(rounds)}`)
    for (let i = 0; i < WAYS.length; i++) {
      // In changing order, so that none always comes behind the same one.
      const at = (i + round) % WAYS.length
      turns[at].push(await takeOne(directory, WAYS[at], entries, false))
    }
  }
  return turns
}

/** Fills a store of its own, and removes it. `isChecked`: looks at every entry and verifies the store. */
async function takeOne(
  directory: string,
  way: Way,
  { sorted, shuffled }: { readonly sorted: Entries; readonly shuffled: Entries },
  isChecked: boolean,
): Promise<Turn> {
  const path = mkdtempSync(join(directory, 'store-'))
  const cacheBytes = Math.max(2 ** 28, sorted.length * CACHE_BYTES_PER_KEY)
  const db = await open(path, { durability: 'os', cacheBytes })
  try {
    const tree = await db.tree('objects')
    // What starts with the first write and the first checkpoint is no part of either way: threads, a segment of the journal.
    await tree.put('first', VALUES[0])
    await tree.delete('first')
    await db.checkpoint()
    const turn = await takeTurn(
      {
        name: way.name,
        work: async () => {
          await way.fill(tree, way.isSorted ? sorted : shuffled)
          await db.checkpoint()
          return sorted.length
        },
      },
      0,
    )
    const { keys } = tree.count()
    if (keys !== sorted.length)
      throw new Error(`${way.name}: ${String(keys)} keys instead of ${String(sorted.length)}`)
    if (isChecked) await check(db, tree, sorted, way.name)
    return turn
  } finally {
    await db.close()
    rmSync(path, { recursive: true, force: true })
  }
}

async function check(db: Db, tree: ObjectTree, sorted: Entries, name: string): Promise<void> {
  let at = 0
  for (const { key, value } of tree.scan()) {
    const [expectedKey, expectedValue] = sorted[at++]
    if (key !== expectedKey || Buffer.compare(value, expectedValue) !== 0)
      throw new Error(
        `${name}: entry ${String(at)} is '${key}' instead of '${expectedKey}', or its value differs`,
      )
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

function entriesOf(keyCount: number): { readonly sorted: Entries; readonly shuffled: Entries } {
  // Keys are ASCII, so that JavaScript's order is that of their bytes.
  const sorted = objectStoreKeys(keyCount, 0)
    .keys.toSorted((left, right) => (left < right ? -1 : 1))
    .map((key, index): Entry => [key, VALUES[index % VALUES.length]])
  // Made anew, so that they lie in memory in the order in which they are taken: else the collector pays for the shuffling.
  const anew = ([key, value]: Entry): Entry => [Buffer.from(key, 'latin1').toString('latin1'), value]
  return {
    sorted: sorted.map(anew),
    shuffled: Array.from(shuffledIndexes(keyCount, 0xb01d), (index) => anew(sorted[index])),
  }
}

function tableOf(keyCount: number, turns: readonly (readonly Turn[])[]): GroupResult {
  const rows = WAYS.map(({ name, bar }, way): ResultRow => ({
    name,
    values: [
      1_000 * medianOf(turns[way].map(cpuMicrosEach)),
      1_000 * medianOf(turns[way].map(wallMicrosEach)),
    ],
    bars:
      bar === undefined
        ? []
        : [
            atLeast(
              `× cheaper than ${WAYS[bar.against].name}, CPU`,
              medianRatio(turns[bar.against], turns[way], (left, right) => left.cpuMicros / right.cpuMicros),
              bar.times,
            ),
          ],
  }))
  return {
    group: 'bulk',
    title: `${formatNumber(keyCount)} keys until a checkpoint has them: nanoseconds per key`,
    heads: ['CPU, median', 'wall, median'],
    rows,
    notes: [],
  }
}

const wallMicrosEach = ({ wallMs, operations }: Turn): number => (wallMs * 1_000) / operations
