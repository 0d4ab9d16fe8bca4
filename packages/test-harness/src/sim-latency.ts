import { HoltError } from '@holt/errors'
import { checkDelay } from '@holt/uring-native'

import type { SimOperation } from './fault-rules.js'
import type { SeededRandom } from './seeded-random.js'

/** Virtual milliseconds: always the same, or drawn evenly from a range by the seed. */
export type SimDelay = number | { readonly leastMs: number; readonly mostMs: number }

/**
 * How long calls of each kind take; `other` is for kinds that are not named, and 0 by default.
 *
 * ```ts
 * { read: { leastMs: 0.05, mostMs: 0.2 }, sync: 4, other: 0.01 }
 * ```
 */
export type SimLatency = Readonly<Partial<Record<SimOperation | 'other', SimDelay>>>

/** Draws how long each call takes. */
export class LatencyModel {
  readonly #delays: SimLatency
  readonly #random: SeededRandom

  /** Throws `HOLT_INVALID_ARGUMENT` for a delay that is no time, or a range that runs backwards. */
  constructor(delays: SimLatency, random: SeededRandom) {
    for (const delay of Object.values(delays)) {
      const { leastMs, mostMs } = rangeOf(delay)
      checkDelay(leastMs)
      checkDelay(mostMs)
      if (leastMs > mostMs) {
        throw new HoltError(
          'HOLT_INVALID_ARGUMENT',
          `a latency from ${String(leastMs)} to ${String(mostMs)} ms: the least is more than the most`,
        )
      }
    }
    this.#delays = delays
    this.#random = random
  }

  /** How long the next call of this kind takes, in virtual milliseconds. */
  draw(operation: SimOperation): number {
    const delay = this.#delays[operation] ?? this.#delays.other ?? 0
    if (typeof delay === 'number') return delay
    return delay.leastMs + (this.#random.uint32() / 2 ** 32) * (delay.mostMs - delay.leastMs)
  }
}

function rangeOf(delay: SimDelay): { readonly leastMs: number; readonly mostMs: number } {
  return typeof delay === 'number' ? { leastMs: delay, mostMs: delay } : delay
}
