/** Calls whose cost must not depend on how many keys lie below a prefix, measured with a thousand, and with many more. */
import { setImmediate } from 'node:timers/promises'

import { type Db, open, type Tree } from 'holt'

import { atMost, formatNumber, type GroupResult, type ResultRow } from '../io/result.js'
import { type Distribution, distributionOf } from './distribution.js'
import { ThreadClock } from '../run/thread-clock.js'
import { type GroupRunOptions, runGroups } from '../run/group-run.js'

export interface FlatBenchOptions extends GroupRunOptions {
  readonly large?: boolean
  readonly keys?: readonly number[]
  readonly repetitions: number
}

const KEY_COUNTS = [1_000, 100_000]
const LARGE_KEY_COUNTS = [1_000_000, 10_000_000]
const VALUE = Buffer.alloc(60, 7)
const BATCH = 1_000
/** Directories directly below a prefix. */
const DIRECTORIES = 8
/** Prefixes of as many keys each, for a delete of each; fewer where there would be very many keys. */
const SIBLINGS = 24
const MOST_SIBLING_KEYS = 2_400_000
/** Keys that lie beside what is measured, so that prefixes are no whole tree. */
const OTHER_KEYS = 20_000
/** Bytes of memory that hold a key and all it needs. */
const CACHE_BYTES_PER_KEY = 200
const BAR_MS = 1

interface Measured {
  readonly name: string
  readonly cpu: Distribution
  readonly wall: Distribution
  readonly barMs?: number
}

/** Prints a table for each number of keys. */
export async function benchFlat(options: FlatBenchOptions): Promise<void> {
  const counts = options.keys ?? (options.large === true ? [...KEY_COUNTS, ...LARGE_KEY_COUNTS] : KEY_COUNTS)
  await runGroups('flat', options, counts, async (directory, keyCount) => [
    tableOf(keyCount, await measureAt(directory, keyCount, options.repetitions)),
  ])
}

async function measureAt(
  directory: string,
  keyCount: number,
  repetitions: number,
): Promise<readonly Measured[]> {
  const say = (text: string): void => void process.stderr.write(`flat ${String(keyCount)}: ${text}\n`)
  const siblings = Math.max(2, Math.min(SIBLINGS, Math.floor(MOST_SIBLING_KEYS / keyCount)))
  const cacheBytes = Math.max(2 ** 28, keyCount * (siblings + 1) * CACHE_BYTES_PER_KEY)
  const db = await open(directory, { durability: 'os', cacheBytes })
  try {
    const tree = await db.tree('objects')
    say('loading')
    await fill(tree, 'other/', OTHER_KEYS)
    await fill(tree, 'from/dir/', keyCount)
    for (let sibling = 0; sibling < siblings; sibling++)
      await fill(tree, `gone/${String(sibling).padStart(2, '0')}/`, keyCount)
    await db.checkpoint()
    say('measuring')
    return await measureCalls(db, tree, keyCount, repetitions, siblings)
  } finally {
    await db.close()
  }
}

async function measureCalls(
  db: Db,
  tree: Tree<string, Uint8Array>,
  keyCount: number,
  repetitions: number,
  siblings: number,
): Promise<readonly Measured[]> {
  const measured: Measured[] = []
  const measure = async (name: string, times: number, call: (turn: number) => unknown, barMs?: number) => {
    measured.push({ name, ...(await repeat(times, call)), ...(barMs === undefined ? {} : { barMs }) })
  }
  // A new directory beside the old one, one deeper elsewhere, and back again.
  const places = ['from/dir/', 'from/new directory/', 'other/place/deeper/']
  await measure(
    'list a directory, 8 entries',
    repetitions,
    () => {
      const found = [...tree.keys({ prefix: 'from/dir/', delimiter: '/' })]
      wanted(found.length, DIRECTORIES)
    },
    BAR_MS,
  )
  await measure('count', repetitions, () => {
    wanted(tree.count({ prefix: 'from/dir/' }).keys, keyCount)
  })
  await measure(
    'renamePrefix',
    repetitions,
    (turn) => tree.renamePrefix(places[turn % 3], places[(turn + 1) % 3]),
    BAR_MS,
  )
  await measure(
    'deletePrefix',
    siblings,
    (turn) => tree.deletePrefix(`gone/${String(turn).padStart(2, '0')}/`),
    BAR_MS,
  )
  wanted(tree.count({ prefix: 'gone/' }).keys, 0)
  wanted(tree.count({ prefix: places[repetitions % 3] }).keys, keyCount)
  await db.checkpoint()
  return measured
}

function wanted(found: number, expected: number): void {
  if (found !== expected) throw new Error(`${String(found)} keys are there instead of ${String(expected)}`)
}

async function repeat(
  times: number,
  call: (turn: number) => unknown,
): Promise<{ readonly cpu: Distribution; readonly wall: Distribution }> {
  const clock = new ThreadClock()
  const cpu: number[] = []
  const wall: number[] = []
  for (let turn = 0; turn < times; turn++) {
    // What the last one left to do in the background is not this one's.
    await setImmediate()
    const before = clock.now()
    await call(turn)
    const after = clock.now()
    cpu.push(after.cpuMs - before.cpuMs)
    wall.push(after.wallMs - before.wallMs)
  }
  clock.close()
  return { cpu: distributionOf(cpu), wall: distributionOf(wall) }
}

async function fill(tree: Tree<string, Uint8Array>, prefix: string, keyCount: number): Promise<void> {
  for (let start = 0; start < keyCount; start += BATCH) {
    let newest: Promise<void> | undefined
    for (let at = start; at < Math.min(start + BATCH, keyCount); at++)
      newest = tree.put(keyAt(prefix, at), VALUE)
    await newest
  }
}

/** Keys in an order without a pattern, evenly below eight directories. */
function keyAt(prefix: string, index: number): string {
  const directory = String(index % DIRECTORIES).padStart(2, '0')
  const day = String(Math.floor(index / DIRECTORIES) % 28).padStart(2, '0')
  const name = String(Math.imul(index, 0x2c1b3c6d) & 0x3ffffff).padStart(8, '0')
  return `${prefix}bucket-${directory}/${day}/${name}.bin`
}

function tableOf(keyCount: number, measured: readonly Measured[]): GroupResult {
  const rows = measured.map(({ name, cpu, wall, barMs }): ResultRow => ({
    name,
    values: [cpu.first, cpu.median, cpu.p90, cpu.worst, wall.median, wall.p90, wall.worst],
    bars: barMs === undefined ? [] : [atMost('ms CPU, p90', cpu.p90, barMs)],
  }))
  return {
    group: 'flat',
    title: `${formatNumber(keyCount)} keys below the prefix: milliseconds`,
    heads: ['CPU, first', 'median', 'p90', 'worst', 'wall, median', 'p90', 'worst'],
    rows,
    notes: [],
  }
}
