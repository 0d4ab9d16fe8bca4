import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

import type { FileList } from './file-list.js'
import { formatBytes, formatCount, formatMs, formatRate } from './format.js'
import { sizeOfRecord } from './stat-record.js'
import type { FileStore, FileTree } from './store.js'
import { turn } from './turn.js'

const SLASH = Buffer.from('/')
const LISTED_DIRECTORIES = 4000
const SHOWN_ENTRIES = 12
const LOOKUPS = 200_000
/** A list call asks for no more than an object store gives at once. */
const PAGE_ENTRIES = 1000

export interface ExploreResult {
  /** The median of listing one directory wholly. */
  readonly listMedianMs: number
}

/** Lists, counts, sums and looks up, and prints what it cost. */
export async function explore(
  { tree, db }: FileStore,
  files: FileList,
  directory: string,
  signal: AbortSignal,
): Promise<ExploreResult> {
  // Reads are synchronous: between two jobs a signal gets its chance.
  const breathe = async () => {
    await turn()
    signal.throwIfAborted()
  }
  const top = firstForkingPrefix(tree)
  showListing(tree, top)
  await breathe()
  const listMedianMs = measureListing(tree, top)
  await breathe()
  countSubtree(tree, top)
  await breathe()
  if (files.count > 0) lookUp(tree, files)
  await breathe()
  await writeCheckpoint(db)
  showStore(db, directory)
  return { listMedianMs }
}

/** Down from the root as long as there is nothing to choose: `usr/` and not the empty prefix. */
function firstForkingPrefix(tree: FileTree): Buffer {
  let prefix: Buffer = Buffer.alloc(0)
  for (;;) {
    const { entries } = tree.list({ prefix, delimiter: SLASH, limit: 2 })
    const [only] = entries
    if (entries.length !== 1 || only.kind !== 'prefix') return prefix
    prefix = only.prefix
  }
}

function showListing(tree: FileTree, prefix: Buffer): void {
  const { entries, next } = tree.list({ prefix, delimiter: SLASH, limit: SHOWN_ENTRIES })
  print(`\nlist '${prefix.toString()}' by '/'`)
  for (const entry of entries) {
    if (entry.kind === 'prefix') print(`  ${entry.prefix.toString()}`)
    else print(`  ${entry.key.toString()}  ${formatBytes(sizeOfRecord(entry.value))}`)
  }
  if (next !== undefined) print('  …')
}

/** Lists many directories wholly, each twice, and takes the time of the second, when nothing is new to the processor. */
function measureListing(tree: FileTree, top: Buffer): number {
  const directories = directoriesBelow(tree, top)
  const timesMs: number[] = []
  let entryCount = 0
  for (const isMeasured of [false, true]) {
    for (const prefix of directories) {
      const startedMs = performance.now()
      const count = listWholly(tree, prefix)
      if (isMeasured) {
        timesMs.push(performance.now() - startedMs)
        entryCount += count
      }
    }
  }
  timesMs.sort((a, b) => a - b)
  const median = timesMs[Math.floor(timesMs.length / 2)] ?? 0
  const p99 = timesMs[Math.floor(timesMs.length * 0.99)] ?? 0
  const mean = entryCount / Math.max(directories.length, 1)
  print(`\nlist a directory    ${formatMs(median)} median, ${formatMs(p99)} p99`)
  print(
    `                    (${formatCount(directories.length)} directories of ${mean.toFixed(1)} entries on average)`,
  )
  return median
}

function listWholly(tree: FileTree, prefix: Buffer): number {
  let count = 0
  let after: string | undefined
  do {
    const page = tree.list({
      prefix,
      delimiter: SLASH,
      limit: PAGE_ENTRIES,
      ...(after === undefined ? {} : { after }),
    })
    count += page.entries.length
    after = page.next
  } while (after !== undefined)
  return count
}

/** Directories found by the store itself, breadth first. */
function directoriesBelow(tree: FileTree, top: Buffer): readonly Buffer[] {
  const found: Buffer[] = [top]
  for (let index = 0; index < found.length && found.length < LISTED_DIRECTORIES; index++) {
    for (const entry of tree.scan({ prefix: found[index] ?? top, delimiter: SLASH })) {
      if (entry.kind === 'prefix') found.push(entry.prefix)
    }
  }
  return found.slice(0, LISTED_DIRECTORIES)
}

function countSubtree(tree: FileTree, prefix: Buffer): void {
  const startedMs = performance.now()
  let count = 0
  let sizeBytes = 0
  for (const entry of tree.scan({ prefix })) {
    count++
    sizeBytes += sizeOfRecord(entry.value)
  }
  const elapsedMs = performance.now() - startedMs
  print(
    `count and sum       ${formatCount(count)} files, ${formatBytes(sizeBytes)} below '${prefix.toString()}'`,
  )
  print(`                    in ${formatMs(elapsedMs)}, ${formatRate(count, elapsedMs)}`)
}

function lookUp(tree: FileTree, files: FileList): void {
  // A multiplier prime to every count below 2^31 visits the files in an order nobody has prepared.
  const stride = 1_073_741_827
  let foundCount = 0
  let index = 0
  const startedMs = performance.now()
  for (let lookup = 0; lookup < LOOKUPS; lookup++) {
    index = (index + stride) % files.count
    if (tree.get(files.path(index)) !== undefined) foundCount++
  }
  const elapsedMs = performance.now() - startedMs
  print(
    `look up a path      ${formatMs(elapsedMs / LOOKUPS)}, ${formatRate(LOOKUPS, elapsedMs)}, random order`,
  )
  if (foundCount !== LOOKUPS)
    print(`                    ${formatCount(LOOKUPS - foundCount)} of them were not found`)
}

/** So that the sizes of the files mean something. */
async function writeCheckpoint(db: FileStore['db']): Promise<void> {
  const startedMs = performance.now()
  await db.checkpoint()
  print(`\ncheckpoint          ${formatMs(performance.now() - startedMs)}`)
}

function showStore(db: FileStore['db'], directory: string): void {
  const { io, cache, store } = db.stats()
  const reason = io.kind === 'uring' ? '' : ` (not io_uring: ${io.fallbackReason ?? 'node:fs was asked for'})`
  print(`I/O                 ${io.kind === 'uring' ? 'io_uring' : 'node:fs'}${reason}`)
  print(
    `frames              ${formatCount(cache.residentFrames)} in memory, ${formatCount(store.blobs)} on disk`,
  )
  for (const name of readdirSync(directory).sort()) {
    // A journal segment may be recycled under our eyes.
    const stat = statSync(join(directory, name), { throwIfNoEntry: false })
    if (stat?.isFile() === true) print(`file                ${name} ${formatBytes(stat.size)}`)
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
