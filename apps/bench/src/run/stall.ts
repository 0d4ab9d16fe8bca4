import { type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks'
import { setImmediate } from 'node:timers/promises'

import type { Session } from '../operations/session.js'
import type { Stall, TurnLengths } from './protocol.js'
import { type Instant, ThreadClock } from './thread-clock.js'

/** Puts in a turn of the event loop: enough to keep a store busy, little enough to leave turns short. */
const PUTS_PER_TURN = 64

/**
 * How long turns of the event loop take while it writes without rest, and while it does so to a JS Map that has all keys
 * already and copies nothing: a control that collects garbage would hide what the store does.
 */
export async function measureStall(session: Session, lengthMs: number): Promise<Stall> {
  const map = new Map<string, Uint8Array>()
  for (const key of session.workload.keys) map.set(key, session.nextValue())
  const control = await turnsOf(lengthMs, async () => {
    for (let done = 0; done < PUTS_PER_TURN; done++) map.set(session.nextKey(), session.nextValue())
  })
  map.clear()
  const { store } = session
  let settled: Promise<void> | undefined
  const loaded = await turnsOf(lengthMs, async (elapsed) => {
    // In the middle, what the store does by itself only now and then: a checkpoint.
    if (elapsed > lengthMs / 2) settled ??= Promise.resolve(store.settle?.())
    for (let done = 0; done < PUTS_PER_TURN; done++) {
      const put = store.put(session.nextKey(), session.nextValue())
      if (store.writesAreAsync) await put
    }
  })
  await settled
  return { control, loaded }
}

/**
 * A turn lasts from one reading of the clock to the next, less the time in which other programs had the processor. Of what
 * remains the thread ran, or it stood still: for the disk, for a lock of the system's, for the collector's other threads, or
 * because the host of a virtual machine had taken its processor away.
 */
async function turnsOf(lengthMs: number, work: (elapsedMs: number) => Promise<void>): Promise<TurnLengths> {
  const clock = new ThreadClock()
  const collections = new Collections()
  const lengths: number[] = []
  let worst: readonly [began: Instant, ended: Instant] | undefined
  let worstMs = -1
  let began = clock.now()
  const startedMs = began.wallMs
  while (began.wallMs - startedMs < lengthMs) {
    await work(began.wallMs - startedMs)
    await setImmediate()
    const ended = clock.now()
    const turnMs = ended.wallMs - began.wallMs - (ended.waitedMs - began.waitedMs)
    lengths.push(turnMs)
    if (turnMs > worstMs) {
      worstMs = turnMs
      worst = [began, ended]
    }
    began = ended
  }
  clock.close()
  if (worst === undefined) throw new Error('there was no time for a turn')
  const [first, last] = worst
  const ranMs = last.cpuMs - first.cpuMs
  const collectedMs = await collections.within(first.wallMs, last.wallMs)
  return {
    ...turnLengths(lengths),
    worstTurn: {
      ...{ atMs: first.wallMs - startedMs, ranMs, stoodStillMs: worstMs - ranMs },
      switches: last.switches - first.switches,
      ...{ waitedMs: last.waitedMs - first.waitedMs, collectedMs },
    },
  }
}

/** When the collector of garbage was at work on this thread. */
class Collections {
  readonly #entries: PerformanceEntry[] = []
  readonly #observer = new PerformanceObserver((list) => void this.#entries.push(...list.getEntries()))

  constructor() {
    this.#observer.observe({ entryTypes: ['gc'] })
  }

  /** How long it was, between two readings of `performance.now`; no more can be asked after. */
  async within(beganMs: number, endedMs: number): Promise<number> {
    // Entries are told in a later turn.
    await setImmediate()
    this.#entries.push(...this.#observer.takeRecords())
    this.#observer.disconnect()
    const overlapMs = ({ startTime, duration }: PerformanceEntry): number =>
      Math.max(0, Math.min(endedMs, startTime + duration) - Math.max(beganMs, startTime))
    return this.#entries.reduce((sum, entry) => sum + overlapMs(entry), 0)
  }
}

/** The worst and the one that a thousandth is longer than. */
export function turnLengths(lengths: readonly number[]): Omit<TurnLengths, 'worstTurn'> {
  const sorted = Float64Array.from(lengths).sort()
  const p999 = sorted[Math.max(0, Math.ceil(sorted.length * 0.999) - 1)]
  return { p999, worst: sorted[sorted.length - 1], turns: sorted.length }
}
