import type { CursorOptions } from '../src/index.js'
import { describeOptions } from './keys.js'

/**
 * One step of a history, whole in itself: any part of a history is a history too, which is how a failure is made small.
 * Keys and prefixes are latin1 strings.
 */
export type HistoryOperation =
  | { readonly kind: 'put'; readonly key: string; readonly valueBytes: number; readonly pattern: number }
  | { readonly kind: 'delete' | 'find' | 'touch'; readonly key: string }
  | { readonly kind: 'deletePrefix' | 'count'; readonly prefix: string }
  /** The longest key that the query begins with. */
  | { readonly kind: 'longestPrefix'; readonly query: string }
  | { readonly kind: 'movePrefix'; readonly from: string; readonly to: string }
  | { readonly kind: 'scan'; readonly options: CursorOptions; readonly limit: number }
  /** A cursor that stays open over the steps that follow. */
  | { readonly kind: 'open'; readonly cursor: number; readonly options: CursorOptions }
  | { readonly kind: 'advance'; readonly cursor: number; readonly entries: number }
  /** Another cursor takes its place, by nothing but the last entry. */
  | { readonly kind: 'resume'; readonly cursor: number }
  /** A view takes this number; the one that had it is closed first. */
  | { readonly kind: 'view' | 'closeView'; readonly view: number }
  /** A lookup and a walk in a view, and some steps more of a cursor that stays open as long as it. */
  | {
      readonly kind: 'readView'
      readonly view: number
      readonly key: string
      readonly options: CursorOptions
      readonly limit: number
    }
  | { readonly kind: 'compact'; readonly steps: number; readonly frames: number; readonly fill: number }
  | { readonly kind: 'giveBack'; readonly frames: number }
  /** Frames leave memory; unless `mayBlock`, what misses one throws until it was brought back. */
  | { readonly kind: 'evict'; readonly percent: number; readonly seed: number; readonly mayBlock: boolean }
  /** Another index takes over the frames, by nothing but the root, the unlinked ones, the epoch and every other view's place. */
  | { readonly kind: 'attach' }
  | { readonly kind: 'verify' }

/** What a history is played on. */
export interface HistorySetting {
  readonly usableFrameBytes: number
  /** A changed frame goes to another slot each time. */
  readonly moveOnWrite: boolean
}

export interface IndexHistory {
  readonly seed: number
  readonly setting: HistorySetting
  readonly operations: readonly HistoryOperation[]
}

export function describeOperation(operation: HistoryOperation): string {
  const { kind } = operation
  switch (kind) {
    case 'put':
      return `put ${hex(operation.key)}, ${String(operation.valueBytes)} B of pattern ${String(operation.pattern)}`
    case 'delete':
    case 'find':
    case 'touch':
      return `${kind} ${hex(operation.key)}`
    case 'deletePrefix':
    case 'count':
      return `${kind} ${hex(operation.prefix)}`
    case 'longestPrefix':
      return `longestPrefix of ${hex(operation.query)}`
    case 'movePrefix':
      return `movePrefix ${hex(operation.from)} to ${hex(operation.to)}`
    case 'scan':
      return `scan ${describeOptions(operation.options)}, at most ${String(operation.limit)}`
    case 'open':
      return `open cursor ${String(operation.cursor)} ${describeOptions(operation.options)}`
    case 'advance':
      return `advance cursor ${String(operation.cursor)} by ${String(operation.entries)}`
    case 'resume':
      return `resume cursor ${String(operation.cursor)}`
    case 'view':
    case 'closeView':
      return `${kind} ${String(operation.view)}`
    case 'readView': {
      const { view, key, options, limit } = operation
      return `read view ${String(view)} at ${hex(key)}, ${describeOptions(options)}, at most ${String(limit)}`
    }
    case 'compact':
      return `compact ${String(operation.steps)} steps of ${String(operation.frames)} frames to ${String(operation.fill)}`
    case 'giveBack':
      return `give back ${String(operation.frames)} frames`
    case 'evict':
      return `evict ${String(operation.percent)} % by ${String(operation.seed)}${operation.mayBlock ? '' : ', not blocking'}`
    case 'attach':
    case 'verify':
      return kind
  }
}

/** A key of one byte over and over is written short. */
export function hex(key: string): string {
  const text = Buffer.from(key, 'latin1').toString('hex')
  return text.length > 120 ? `'${text.slice(0, 100)}…' (${String(key.length)} B)` : `'${text}'`
}
