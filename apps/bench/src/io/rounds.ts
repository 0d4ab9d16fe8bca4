/** Turns of equal length, taken one after the other by everybody, so that what disturbs the machine disturbs all alike. */

import { setTimeout } from 'node:timers/promises'

const SETTLE_MS = 20
const WARM_UP_MS = 400

export interface Turn {
  readonly operations: number
  readonly wallMs: number
  /** Of all threads of the process, also those of the kernel that work for it. */
  readonly cpuMicros: number
}

export interface Contestant {
  readonly name: string
  /** Works until `isOver`, and returns how many operations it did. */
  readonly work: (isOver: () => boolean) => Promise<number> | number
  /** Not timed: what this turn leaves behind for others to pay. */
  readonly tidy?: () => Promise<void>
}

export interface Pace {
  readonly rounds: number
  readonly roundMs: number
  /** Least length of the turn that does not count: until the compiler has done its work. */
  readonly warmUpMs?: number
}

/** The turns of every contestant, one list each; a first turn of each does not count. */
export async function takeTurns(
  contestants: readonly Contestant[],
  { rounds, roundMs, warmUpMs = WARM_UP_MS }: Pace,
): Promise<readonly (readonly Turn[])[]> {
  const turns = contestants.map((): Turn[] => [])
  for (let round = -1; round < rounds; round++) {
    for (const [index, contestant] of contestants.entries()) {
      const turn = await takeTurn(contestant, round < 0 ? Math.max(roundMs, warmUpMs) : roundMs)
      if (round >= 0) turns[index].push(turn)
    }
  }
  return turns
}

/** One turn of a length; `work` may take longer. */
export async function takeTurn({ name, work, tidy }: Contestant, lengthMs: number): Promise<Turn> {
  // A full collection on demand would throw away compiled code too, and the turn would be timed while it is compiled.
  globalThis.gc?.({ type: 'minor' })
  // The collector's threads go on sweeping for a while.
  await setTimeout(SETTLE_MS)
  const cpuBefore = process.cpuUsage()
  const startedMs = performance.now()
  const operations = await work(() => performance.now() - startedMs >= lengthMs)
  const wallMs = performance.now() - startedMs
  const cpu = process.cpuUsage(cpuBefore)
  await tidy?.()
  // Who did nothing has no time.
  if (operations < 1) throw new Error(`${name} did nothing in ${wallMs.toFixed(0)} ms`)
  return { operations, wallMs, cpuMicros: cpu.user + cpu.system }
}

export function medianOf(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((left, right) => left - right)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** The median of what `ratio` says of each round: turns of one round stand beside each other in time. */
export function medianRatio(
  left: readonly Turn[],
  right: readonly Turn[],
  ratio: (left: Turn, right: Turn) => number,
): number {
  return medianOf(left.map((turn, round) => ratio(turn, right[round])))
}

export const perSecond = ({ operations, wallMs }: Turn): number => (operations / wallMs) * 1000
export const cpuMicrosEach = ({ operations, cpuMicros }: Turn): number => cpuMicros / operations
