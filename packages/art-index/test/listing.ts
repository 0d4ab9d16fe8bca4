import { COMMON_PREFIX, type Cursor, END, FrameAbsent } from '../src/index.js'
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
}

/** Everything a cursor returns, up to a limit. */
export function list(cursor: Cursor, options: ListOptions = {}): Listed[] {
  const listed: Listed[] = []
  const limit = options.limit ?? Infinity
  let misses = 0
  while (listed.length < limit) {
    options.beforeStep?.()
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
  return listed
}
