import { checkCallback, checkDelay } from './arguments.js'
import type { Timer } from './io.js'

/** Timers of one Io, which end with it. They keep no process alive. */
export class IoTimers {
  readonly #timers = new Set<Timer>()

  /** As {@link Io.setTimer}. */
  set(delayMs: number, callback: () => void): Timer {
    checkDelay(delayMs)
    checkCallback(callback)
    const timer: Timer = {
      cancel: () => {
        clearTimeout(timeout)
        this.#timers.delete(timer)
      },
    }
    const timeout = setTimeout(() => {
      this.#timers.delete(timer)
      callback()
    }, delayMs)
    timeout.unref()
    this.#timers.add(timer)
    return timer
  }

  cancelAll(): void {
    for (const timer of this.#timers) timer.cancel()
  }
}

/** Monotonic milliseconds, the same in all threads: performance.now() begins anew in each. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
