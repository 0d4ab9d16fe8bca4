import type { SeededRandom } from './seeded-random.js'

/** A call that has been made and not been carried out yet. */
export interface PendingCall {
  readonly run: () => void
}

/**
 * Carries calls out one by one, each at least one microtask after it was made: in the order they were made, or, with a
 * generator, in an order and with pauses of its choice.
 */
export class CallQueue<Call extends PendingCall> {
  readonly #reorder: SeededRandom | undefined
  #waiting: Call[] = []
  #turnComing = false

  constructor(reorder?: SeededRandom) {
    this.#reorder = reorder
  }

  get length(): number {
    return this.#waiting.length
  }

  add(call: Call): void {
    this.#waiting.push(call)
    this.#schedule()
  }

  /** Takes away what waits; none of it will run. */
  drop(): Call[] {
    const dropped = this.#waiting
    this.#waiting = []
    return dropped
  }

  /** What waits, in the order it was made. */
  get waiting(): readonly Call[] {
    return this.#waiting
  }

  #schedule(): void {
    if (this.#turnComing || this.#waiting.length === 0) return
    this.#turnComing = true
    const turn = (): void => {
      this.#turnComing = false
      const index = this.#reorder?.below(this.#waiting.length) ?? 0
      const call = this.#waiting.splice(index, 1).at(0)
      call?.run()
      this.#schedule()
    }
    // A pause lets everything else that is ready in the process go first.
    if (this.#reorder?.chance(0.3) === true) setImmediate(turn)
    // Half the price of `queueMicrotask`, in the same queue.
    else void Promise.resolve().then(turn)
  }
}
