import type { Durability } from 'holt'

import { indexAndKill } from './crash.js'
import { explore } from './explore.js'
import type { FileList } from './file-list.js'
import { formatCount, formatMs, formatRate } from './format.js'
import { indexFiles } from './index-tree.js'
import { startProgress } from './progress.js'
import { type FileStore, openFileStore } from './store.js'
import { countEntries, verifyFiles } from './verify.js'
import { walk } from './walk.js'
import { type WorkDirectory, makeWorkDirectory } from './work-directory.js'

export interface DemoOptions {
  /** The directory tree to index. */
  readonly root: string
  readonly durability: Durability
  /** Whether to index in a child that is killed half-way. */
  readonly crash: boolean
  /** Whether to fail below the bars. */
  readonly check: boolean
  /** Where to put the database; a temporary directory when absent. */
  readonly databaseDirectory: string | undefined
  readonly keep: boolean
  readonly signal: AbortSignal
}

/** What `--check` asks for. */
export const MIN_INDEX_RATE_PER_S = 100_000
export const MAX_LIST_MS = 0.05
/** With fewer files the time is that of a program which the engine has not compiled yet. */
export const MIN_JUDGED_FILES = 20_000

/**
 * Runs the demo and prints what it finds.
 * @returns the exit code: 1 if something acknowledged was lost, or with `check` if a bar was missed
 */
export async function runDemo(options: DemoOptions): Promise<number> {
  const directories = makeWorkDirectory(options.databaseDirectory, options.keep)
  try {
    const files = await walkTree(options)
    const outcome = options.crash
      ? await indexThroughCrash(options, directories, files)
      : await indexAtOnce(options, directories, files)
    if (outcome === undefined) return 1
    try {
      const isWhole = checkWhole(outcome.store, files, options.databaseDirectory !== undefined)
      const { listMedianMs } = await explore(
        outcome.store,
        files,
        directories.databaseDirectory,
        options.signal,
      )
      const isFast = judgeSpeed(outcome.indexedCount, outcome.indexMs, listMedianMs)
      return isWhole && (isFast || !options.check) ? 0 : 1
    } finally {
      await outcome.store.db.close()
    }
  } finally {
    directories.dispose()
    if (directories.isKept) print(`\nThe database is in ${directories.databaseDirectory}`)
  }
}

async function walkTree({ root, signal }: DemoOptions): Promise<FileList> {
  const onTerminal = process.stderr.isTTY
  const { files, directoryCount, unreadableCount, elapsedMs } = await walk(root, {
    signal,
    onProgress: (count) => {
      if (onTerminal) process.stderr.write(`\r  walking ${root}: ${formatCount(count)} files`)
    },
  })
  if (onTerminal) process.stderr.write('\r\u001b[2K')
  const unreadable = unreadableCount === 0 ? '' : `, ${formatCount(unreadableCount)} not readable`
  print(
    `walk                ${formatCount(files.count)} files in ${formatCount(directoryCount)} directories of ${root}`,
  )
  print(`                    in ${formatMs(elapsedMs)} (the file system's time, not holt's${unreadable})`)
  return files
}

interface Indexed {
  readonly store: FileStore
  readonly indexedCount: number
  readonly indexMs: number
}

async function indexAtOnce(
  options: DemoOptions,
  directories: WorkDirectory,
  files: FileList,
): Promise<Indexed> {
  const store = await openFileStore(directories.databaseDirectory, options.durability)
  return indexInto(store, files, 0, options)
}

async function indexInto(
  store: FileStore,
  files: FileList,
  fromIndex: number,
  { signal, durability }: DemoOptions,
): Promise<Indexed> {
  const progress = startProgress('indexing', files.count)
  try {
    const onAcknowledged = (count: number) => {
      progress.update(count)
    }
    const indexMs = await indexFiles(store.tree, files, { fromIndex, signal, onAcknowledged })
    progress.stop()
    const indexedCount = files.count - fromIndex
    print(
      `index               ${formatCount(indexedCount)} files in ${formatMs(indexMs)}, ` +
        `${formatRate(indexedCount, indexMs)}, each put acknowledged in '${durability}' mode`,
    )
    return { store, indexedCount, indexMs }
  } catch (error) {
    progress.stop()
    await store.db.close()
    throw error
  }
}

async function indexThroughCrash(
  options: DemoOptions,
  directories: WorkDirectory,
  files: FileList,
): Promise<Indexed | undefined> {
  print('crash               indexing in a child process, to be killed half-way')
  const run = await indexAndKill(directories, files, options.durability, options.signal)
  const { acknowledgedCount } = run
  print(
    run.wasKilled
      ? `kill -9             after ${formatCount(acknowledgedCount)} acknowledged files`
      : `                    it was through before it could be killed (too few files)`,
  )
  const startedMs = performance.now()
  const store = await openFileStore(directories.databaseDirectory, options.durability)
  print(`reopen              ${formatMs(performance.now() - startedMs)}, recovery included`)
  const { wrongCount, firstWrong } = verifyFiles(store.tree, files, 0, acknowledgedCount)
  if (firstWrong !== undefined) {
    print(`LOST                ${formatCount(wrongCount)} acknowledged files, the first '${firstWrong}'`)
    await store.db.close()
    return undefined
  }
  print(
    `verify              all ${formatCount(acknowledgedCount)} acknowledged files are there, byte for byte`,
  )
  return indexInto(store, files, acknowledgedCount, options)
}

/** Whether the store holds what the walk saw, and nothing else unless it held something before. */
function checkWhole(store: FileStore, files: FileList, mayHoldMore: boolean): boolean {
  const { wrongCount, firstWrong } = verifyFiles(store.tree, files, 0, files.count)
  const storedCount = countEntries(store.tree)
  if (firstWrong !== undefined) {
    print(`WRONG               ${formatCount(wrongCount)} files, the first '${firstWrong}'`)
    return false
  }
  if (storedCount !== files.count && !mayHoldMore) {
    print(`WRONG               ${formatCount(storedCount)} entries for ${formatCount(files.count)} files`)
    return false
  }
  print(`verify              ${formatCount(storedCount)} entries, each as the walk saw it`)
  return true
}

function judgeSpeed(indexedCount: number, indexMs: number, listMedianMs: number): boolean {
  const ratePerS = indexedCount / Math.max(indexMs / 1000, 1e-9)
  const isEnough = indexedCount >= MIN_JUDGED_FILES
  const indexesFast = ratePerS >= MIN_INDEX_RATE_PER_S
  const listsFast = listMedianMs < MAX_LIST_MS
  const rateVerdict = isEnough
    ? `at least ${formatCount(MIN_INDEX_RATE_PER_S)}/s`
    : `not judged below ${formatCount(MIN_JUDGED_FILES)} files`
  print('\nagainst the bars')
  print(
    `  ${mark(indexesFast, isEnough)} index             ${formatRate(indexedCount, indexMs)} (${rateVerdict})`,
  )
  print(
    `  ${mark(listsFast, true)} list a directory  ${formatMs(listMedianMs)} (under ${formatMs(MAX_LIST_MS)})`,
  )
  return (indexesFast || !isEnough) && listsFast
}

function mark(isGood: boolean, isJudged: boolean): string {
  if (!isJudged) return '–'
  return isGood ? '✓' : '✗'
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
