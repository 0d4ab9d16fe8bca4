import { COMMON_PREFIX, type Cursor, END, type EntryRun, FrameAbsent } from '../src/index.js'
import { latin1, type Listed } from './sorted-map.js'
import { cursorValue } from './values.js'

/** The entry a cursor stands on after its last step. */
export function current(cursor: Cursor, step: number): Listed {
  const key = latin1(cursor.key.subarray(0, cursor.keyLength))
  if (step === COMMON_PREFIX) return { kind: 'prefix', key }
  const value = latin1(cursorValue(cursor))
  return { kind: 'key', key, value, version: cursor.version }
}

export interface ListOptions {
  readonly limit?: number
  /** Loads the frame that a step missed. */
  readonly onAbsent?: (absent: FrameAbsent) => void
  readonly beforeStep?: () => void
  /** Takes what it can before each step. */
  readonly run?: EntryRun | undefined
  /** How many at most are taken at a time. Default as many as the run has room for. */
  readonly mostTaken?: () => number
}

/** The entries that a run holds from `from` on. */
export function entriesOf(run: EntryRun, from = 0): Listed[] {
  return Array.from({ length: run.count - from }, (_, i) => {
    const at = from + i
    const offset = run.valueOffsets[at]
    return {
      kind: 'key',
      key: latin1(run.keyBytes.subarray(run.starts[at], run.ends[at])),
      value: latin1(run.valueBytes.slice(offset, offset + run.valueLengths[at])),
      version: run.versions[at],
    }
  })
}

/** What lies between the keys of a run: nothing but zeros, up to three behind each. */
export function gapsOf(run: EntryRun): string {
  const gaps = Array.from({ length: run.count }, (_, i) =>
    latin1(run.keyBytes.subarray(run.ends[i], i + 1 < run.count ? run.starts[i + 1] : run.keyEnd)),
  )
  return gaps.join('')
}

function taken(cursor: Cursor, { run, mostTaken }: ListOptions): Listed[] {
  if (run === undefined) return []
  run.clear()
  const count = cursor.take(run, mostTaken?.() ?? run.capacity)
  if (count !== run.count) throw new Error(`took ${String(run.count)} entries and said ${String(count)}`)
  if (/[^\0]/.test(gapsOf(run))) throw new Error('there is something between the keys of a run')
  return entriesOf(run)
}

/** Everything a cursor returns, up to a limit. */
export function list(cursor: Cursor, options: ListOptions = {}): Listed[] {
  const listed: Listed[] = []
  const limit = options.limit ?? Infinity
  let misses = 0
  while (listed.length < limit) {
    options.beforeStep?.()
    listed.push(...taken(cursor, options))
    if (listed.length >= limit) break
    let step
    try {
      step = cursor.next()
    } catch (error) {
      if (!(error instanceof FrameAbsent) || options.onAbsent === undefined) throw error
      if (++misses > 100_000) throw new Error('the cursor makes no progress', { cause: error })
      options.onAbsent(error)
      continue
    }
    if (step === END) break
    listed.push(current(cursor, step))
  }
  return listed.slice(0, limit)
}
