import { setTimeout } from 'node:timers/promises'

import type { Operation } from '../operations/operation.js'
import type { Session } from '../operations/session.js'
import type { Timing } from './protocol.js'

/** What the collector's threads still have to do after a collection. */
const SETTLE_MS = 10

/**
 * Times some work, with the young garbage of what came before out of the way. A full collection on demand would throw
 * away compiled code too, and an engine written in JavaScript would be timed while it is being compiled.
 */
export async function timed(work: () => Promise<number>): Promise<Timing> {
  globalThis.gc?.({ type: 'minor' })
  await setTimeout(SETTLE_MS)
  const cpuBefore = process.cpuUsage()
  const startedMs = performance.now()
  const operations = await work()
  const wallMs = performance.now() - startedMs
  const cpu = process.cpuUsage(cpuBefore)
  // Who did nothing has no time.
  if (operations < 1) throw new Error(`nothing was done in ${wallMs.toFixed(0)} ms`)
  return { operations, wallMs, cpuMicros: cpu.user + cpu.system }
}

/** A turn that spends little of its time computing, since it waits for a device or for a processor, ends after so many lengths. */
export const MOST_LENGTHS = 4

/**
 * Does an operation, block by block, until so much CPU time has gone by: on a busy machine a turn by the clock would be
 * little work.
 */
export function takeTurn(session: Session, operation: Operation, lengthMs: number): Promise<Timing> {
  return timed(async () => {
    const cpuBefore = process.cpuUsage()
    const startedMs = performance.now()
    // Asking for the CPU time costs as much as several operations: not before it can be over, and not often then.
    let lookAtMs = startedMs + lengthMs
    const isOver = (): boolean => {
      const nowMs = performance.now()
      if (nowMs < lookAtMs) return false
      lookAtMs = nowMs + lengthMs / 10
      const { user, system } = process.cpuUsage(cpuBefore)
      return user + system >= lengthMs * 1_000 || nowMs - startedMs >= lengthMs * MOST_LENGTHS
    }
    let operations = 0
    do {
      await operation.run(session, operation.blockSize)
      operations += operation.blockSize
    } while (!isOver())
    return operations
  })
}
