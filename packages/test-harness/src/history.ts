import type { OracleOperation, OracleRange } from './ordered-map-oracle.js'

/** The named trees of a history. */
export const HISTORY_TREES = ['first', 'second'] as const
export type TreeNumber = 0 | 1

/** A write, and the tree it goes to. */
export interface TreeWrite {
  readonly tree: TreeNumber
  readonly operation: OracleOperation
}

/** How a process, or the disk beneath it, comes to its end. */
export type CrashKind = 'close' | 'kill' | 'power-loss'

export type HistoryStep =
  /** One write by itself. Unless `wait`, the next step begins before it is acknowledged. */
  | { readonly kind: 'write'; readonly write: TreeWrite; readonly wait: boolean; readonly toDisk: boolean }
  | { readonly kind: 'batch'; readonly writes: readonly TreeWrite[]; readonly wait: boolean }
  | { readonly kind: 'get'; readonly tree: TreeNumber; readonly key: Uint8Array }
  | { readonly kind: 'scan'; readonly tree: TreeNumber; readonly range: OracleRange }
  /** The same by pages. */
  | {
      readonly kind: 'list'
      readonly tree: TreeNumber
      readonly range: OracleRange
      readonly pageEntries: number
    }
  /** A view of both trees takes this number; the one that had it is looked through and closed first. */
  | { readonly kind: 'view' | 'closeView'; readonly view: number }
  | {
      readonly kind: 'readView'
      readonly view: number
      readonly tree: TreeNumber
      readonly key: Uint8Array
      readonly range: OracleRange
    }
  /** What is applied gets this name, and loses it: writes, which a crash takes or leaves like others. */
  | { readonly kind: 'snapshot' | 'dropSnapshot'; readonly name: string; readonly wait: boolean }
  | {
      readonly kind: 'readSnapshot'
      readonly name: string
      readonly tree: TreeNumber
      readonly key: Uint8Array
      readonly range: OracleRange
    }
  | { readonly kind: 'checkpoint'; readonly wait: boolean }
  | { readonly kind: 'sync'; readonly wait: boolean }
  /** Both go on beside the steps that follow unless `wait`. */
  | { readonly kind: 'compact' | 'vacuum'; readonly wait: boolean }
  /** The crash of this session's end comes that many calls of the Io from here, if the session lasts so long. */
  | { readonly kind: 'arm'; readonly calls: number }
  /** The session ends, at the latest here; the next one begins. */
  | {
      readonly kind: 'reopen'
      readonly crash: CrashKind
      /** The first opening is cut off after so many calls of the Io by a crash of the same kind. */
      readonly crashInOpenAfterCalls: number | undefined
    }

/** How the database of a history is opened. */
export interface HistoryOptions {
  readonly durability: 'os' | 'disk'
  readonly segmentBytes: number
  readonly usableFrameBytes: number
  readonly cacheFrames: number
  readonly reorder: boolean
  readonly mappings: boolean
  readonly locks: boolean
}

export interface History {
  readonly seed: number
  readonly options: HistoryOptions
  readonly steps: readonly HistoryStep[]
}

/** How a step reads in a failure's report. */
export function describeStep(step: HistoryStep): string {
  const write = ({ tree, operation }: TreeWrite): string => {
    const where = HISTORY_TREES[tree]
    switch (operation.kind) {
      case 'put':
      case 'putIfAbsent':
        return `${operation.kind}(${where}, ${showKey(operation.key)}, ${String(operation.value.length)} B)`
      case 'delete':
        return `delete(${where}, ${showKey(operation.key)})`
      case 'deletePrefix':
        return `deletePrefix(${where}, ${showKey(operation.prefix)})`
      case 'rename':
      case 'renamePrefix':
        return `${operation.kind}(${where}, ${showKey(operation.from)}, ${showKey(operation.to)}${operation.force ? ', force' : ''})`
    }
  }
  switch (step.kind) {
    case 'write':
      return `${write(step.write)}${step.toDisk ? ' to disk' : ''}${step.wait ? '' : ' no wait'}`
    case 'batch':
      return `batch of ${String(step.writes.length)}: ${step.writes.slice(0, 6).map(write).join(' ')}`
    case 'get':
      return `get(${HISTORY_TREES[step.tree]}, ${showKey(step.key)})`
    case 'scan':
    case 'list':
      return `${step.kind}(${HISTORY_TREES[step.tree]}, ${showRange(step.range)})`
    case 'view':
    case 'closeView':
      return `${step.kind} ${String(step.view)}`
    case 'readView':
      return `readView ${String(step.view)} (${HISTORY_TREES[step.tree]}, ${showKey(step.key)}, ${showRange(step.range)})`
    case 'snapshot':
    case 'dropSnapshot':
      return `${step.kind} ${step.name}${step.wait ? '' : ' no wait'}`
    case 'readSnapshot':
      return `readSnapshot ${step.name} (${HISTORY_TREES[step.tree]}, ${showKey(step.key)}, ${showRange(step.range)})`
    case 'checkpoint':
    case 'sync':
    case 'compact':
    case 'vacuum':
      return step.wait ? step.kind : `${step.kind} no wait`
    case 'arm':
      return `crash in ${String(step.calls)} calls`
    case 'reopen':
      return `reopen after ${step.crash}${step.crashInOpenAfterCalls === undefined ? '' : `, cut off after ${String(step.crashInOpenAfterCalls)} calls`}`
  }
}

export function showKey(key: Uint8Array): string {
  return `<${Buffer.from(key).toString('hex')}>`
}

function showRange(range: OracleRange): string {
  return Object.entries(range)
    .map(([name, value]) => `${name} ${value instanceof Uint8Array ? showKey(value) : String(value)}`)
    .join(', ')
}
