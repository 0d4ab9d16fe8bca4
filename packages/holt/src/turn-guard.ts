import type { Io } from '@holt/uring-native'

/** What {@link TurnGuard.settled} gives nearly always. */
export const RESOLVED = Promise.resolve()
const CALLS_BETWEEN_LOOKS = 64
const LONGEST_TURN_MS = 4

/**
 * Keeps loops over resolved promises from starving the event loop: a promise that is settled already lets `await` go
 * on without ever reaching timers and sockets. So once the loop has not turned for 4 ms, the promise handed out is one
 * that settles after a turn.
 */
export class TurnGuard {
  readonly #io: Pick<Io, 'nowMs'>
  #calls = 0
  #turnStartMs = 0
  #watching = false
  #nextTurn: Promise<void> | undefined

  constructor(io: Pick<Io, 'nowMs'>) {
    this.#io = io
  }

  /** A settled promise, or one that settles after a turn of the event loop if this turn has lasted too long. */
  settled(): Promise<void> {
    if (!this.#watching) {
      this.#watching = true
      this.#turnStartMs = this.#io.nowMs()
      setImmediate(() => {
        this.#watching = false
      })
    }
    this.#calls += 1
    if (this.#nextTurn !== undefined) return this.#nextTurn
    if (this.#calls % CALLS_BETWEEN_LOOKS !== 0 || this.#io.nowMs() - this.#turnStartMs < LONGEST_TURN_MS)
      return RESOLVED
    return this.next()
  }

  /** Settles after a turn of the event loop. */
  next(): Promise<void> {
    this.#nextTurn ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#nextTurn = undefined
        resolve()
      })
    })
    return this.#nextTurn
  }
}
