import { describeOperation, type HistoryOperation, type IndexHistory } from './history-operation.js'
import { HistoryPlayer } from './history-player.js'

/** Plays a history as it stands. Returns what was wrong, or undefined. */
export type PlayHistory = (history: IndexHistory) => string | undefined

export const playHistory: PlayHistory = ({ setting, operations }) => {
  const player = new HistoryPlayer(setting)
  try {
    for (const operation of operations) player.play(operation)
    player.verify()
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
  return undefined
}

/**
 * Leaves out of a history that fails what it can without making it succeed: halves, then quarters, down to single
 * operations (A. Zeller, R. Hildebrandt, "Simplifying and isolating failure-inducing input", 2002); then makes values
 * shorter. What it fails with may change on the way.
 *
 * @param mostTries - plays the history so often at most
 */
export function shrinkHistory(history: IndexHistory, play = playHistory, mostTries = 2_000): IndexHistory {
  let { operations } = history
  let tries = 0
  const fails = (candidate: readonly HistoryOperation[]): boolean =>
    tries++ < mostTries && play({ ...history, operations: candidate }) !== undefined
  for (let size = operations.length >>> 1; size >= 1; size = size === 1 ? 0 : size >>> 1) {
    for (let removed = true; removed;) {
      removed = false
      for (let at = operations.length - size; at >= 0; at -= size) {
        const candidate = [...operations.slice(0, at), ...operations.slice(at + size)]
        if (candidate.length === operations.length || !fails(candidate)) continue
        operations = candidate
        removed = true
      }
    }
  }
  for (const [at, operation] of operations.entries()) {
    if (operation.kind !== 'put') continue
    for (const valueBytes of [0, operation.valueBytes >>> 1]) {
      const candidate = [...operations]
      candidate[at] = { ...operation, valueBytes }
      if (valueBytes >= operation.valueBytes || !fails(candidate)) continue
      operations = candidate
      break
    }
  }
  return { ...history, operations }
}

export function describeHistory({ seed, setting, operations }: IndexHistory): string {
  const head = `history of seed ${String(seed)}, ${JSON.stringify(setting)}:`
  return [head, ...operations.map((operation) => `  ${describeOperation(operation)}`)].join('\n')
}
