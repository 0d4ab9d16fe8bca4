/** Threads that read one tree in shared memory: what two of them do against one. */

import { open, type Tree } from 'holt'

import { atLeast, type GroupResult, type ResultRow } from '../io/result.js'
import { medianOf } from '../io/rounds.js'
import { objectStoreKeys } from '../workloads/object-store.js'
import { shuffledIndexes } from '../workloads/shuffle.js'
import { fillValue, VALUE_BYTES } from './own-value.js'
import { PacedWriter } from './paced-writer.js'
import { type ReaderTurn, READ_NAMES, type ReadName, TREE_NAME } from './reader-messages.js'
import { ReaderThread } from './reader-thread.js'
import { type GroupRunOptions, runGroups } from '../run/group-run.js'

export interface SharedBenchOptions extends GroupRunOptions {
  readonly keys: readonly number[]
  readonly seconds: number
  readonly rounds: number
  readonly writes: number
}

const READERS = 2
const BAR = 1.8
const BATCH = 1_000
/** Bytes of memory that hold a key and all it needs, copies of frames under a checkpoint among it. */
const CACHE_BYTES_PER_KEY = 400
const MIN_CACHE_BYTES = 2 ** 28
/** The first turn of each, which does not count, is at least so long: until the compiler has done its work. */
const WARM_UP_MS = 500

/** One round: what one thread did, and behind it two. */
interface Round {
  readonly one: readonly ReaderTurn[]
  readonly two: readonly ReaderTurn[]
}

/** Prints a table for each number of keys. Throws when a thread read what cannot be. */
export async function benchShared(options: SharedBenchOptions): Promise<void> {
  await runGroups('shared', options, options.keys, async (directory, keyCount) => [
    await measureAt(directory, keyCount, options),
  ])
}

async function measureAt(
  directory: string,
  keyCount: number,
  options: SharedBenchOptions,
): Promise<GroupResult> {
  const say = (text: string): void => void process.stderr.write(`shared ${String(keyCount)}: ${text}\n`)
  const cacheBytes = Math.max(MIN_CACHE_BYTES, keyCount * CACHE_BYTES_PER_KEY)
  const db = await open(directory, { durability: 'os', cacheBytes })
  const readers: ReaderThread[] = []
  try {
    const tree = await db.tree(TREE_NAME)
    const { keys } = objectStoreKeys(keyCount, 0)
    say('loading')
    await fill(tree, keys)
    await db.checkpoint()
    const program = new URL('./shared-reader.js', import.meta.url)
    for (let seed = 1; seed <= READERS; seed++)
      readers.push(await ReaderThread.start({ shared: db.share(), keyCount, seed }, program))
    const writer = new PacedWriter(tree, keys, options.writes)
    const rows: ResultRow[] = []
    for (const withWriter of [false, true]) {
      for (const read of READ_NAMES) {
        const name = withWriter ? `${read}, beside a writer` : read
        say(name)
        rows.push(rowOf(name, await takeRounds(readers, read, withWriter ? writer : undefined, options)))
      }
    }
    return tableOf(keyCount, rows, writer.writes, options)
  } finally {
    for (const reader of readers) await reader.end()
    await db.close()
  }
}

/** One thread and two in turns, the single one now the first and now the second of them. */
async function takeRounds(
  readers: readonly ReaderThread[],
  read: ReadName,
  writer: PacedWriter | undefined,
  { rounds, seconds }: SharedBenchOptions,
): Promise<readonly Round[]> {
  const lengthMs = seconds * 1_000
  const turn = (threads: readonly ReaderThread[], ms: number): Promise<readonly ReaderTurn[]> => {
    const reading = Promise.all(threads.map((thread) => thread.turn({ read, lengthMs: ms })))
    return writer === undefined ? reading : writer.during(reading)
  }
  await turn(readers, Math.max(lengthMs, WARM_UP_MS))
  const taken: Round[] = []
  for (let round = 0; round < rounds; round++) {
    const one = await turn([readers[round % READERS]], lengthMs)
    taken.push({ one, two: await turn(readers, lengthMs) })
  }
  return taken
}

function rowOf(name: string, rounds: readonly Round[]): ResultRow {
  const median = (of: (round: Round) => number): number => medianOf(rounds.map(of))
  const ratio = median(({ one, two }) => perSecond(two) / perSecond(one))
  return {
    name,
    values: [
      median(({ one }) => perSecond(one)),
      median(({ two }) => perSecond(two)),
      ratio,
      median(({ one, two }) => perProcessorSecond(two) / perProcessorSecond(one)),
      median(({ two }) => (100 * sum(two, 'waitedMs')) / sum(two, 'wallMs')),
    ],
    bars: [atLeast('×', ratio, BAR)],
  }
}

/** All threads together. */
function perSecond(turns: readonly ReaderTurn[]): number {
  return turns.reduce((total, { reads, wallMs }) => total + (reads / wallMs) * 1_000, 0)
}

/** The same, as if each thread had always had a processor. */
function perProcessorSecond(turns: readonly ReaderTurn[]): number {
  return turns.reduce(
    (total, { reads, wallMs, waitedMs }) => total + (reads / (wallMs - waitedMs)) * 1_000,
    0,
  )
}

function sum(turns: readonly ReaderTurn[], what: 'wallMs' | 'waitedMs'): number {
  return turns.reduce((total, turn) => total + turn[what], 0)
}

function tableOf(
  keyCount: number,
  rows: readonly ResultRow[],
  writes: number,
  { rounds, seconds, writes: writesPerSecond }: SharedBenchOptions,
): GroupResult {
  return {
    group: 'shared',
    title: `${keyCount.toLocaleString('en-US')} keys read by threads: reads per second`,
    heads: ['one thread', 'two threads', '×', '× without waiting', '% of the time waited'],
    rows,
    notes: [
      `Medians of ${String(rounds)} rounds of ${String(seconds)} s, one thread and two in turns. Every answer was ` +
        `checked; beside the readers ${writes.toLocaleString('en-US')} keys were written anew, ` +
        `${writesPerSecond.toLocaleString('en-US')} a second. Waiting is for a processor: two readers and a writer ` +
        'share what the machine has.',
    ],
  }
}

async function fill(tree: Tree<string, Uint8Array>, keys: readonly string[]): Promise<void> {
  const value = new Uint8Array(VALUE_BYTES)
  const order = shuffledIndexes(keys.length, 3)
  for (let start = 0; start < keys.length; start += BATCH) {
    let newest: Promise<void> | undefined
    for (const index of order.subarray(start, start + BATCH)) {
      fillValue(value, index, 0)
      newest = tree.put(keys[index], value)
    }
    await newest
  }
}
