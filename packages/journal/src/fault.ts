import { HoltError, isHoltError } from '@holt/errors'

/**
 * What ends a journal: the first failed write or sync. Everything that waits is told by a listener; everything later
 * asks {@link Fault.check}.
 */
export class Fault {
  #error: HoltError | undefined
  readonly #listeners: ((error: HoltError) => void)[] = []

  /** The `HOLT_POISONED` error, once there was a failure. */
  get error(): HoltError | undefined {
    return this.#error
  }

  /** @throws HoltError `HOLT_POISONED` with the first failure as its cause, if there was one. */
  check(): void {
    if (this.#error !== undefined) throw this.#error
  }

  /** Calls back once, when the journal is poisoned. */
  onPoisoned(listener: (error: HoltError) => void): void {
    this.#listeners.push(listener)
  }

  /** Records a failure; only the first counts. Returns what later operations fail with. */
  poison(cause: unknown): HoltError {
    if (this.#error !== undefined) return this.#error
    if (isHoltError(cause, 'HOLT_POISONED')) this.#error = cause
    else {
      const reason = cause instanceof Error ? cause.message : String(cause)
      this.#error = new HoltError(
        'HOLT_POISONED',
        `the journal is poisoned: a write or sync failed (${reason}); open the store again to go on`,
        { cause },
      )
    }
    for (const listener of this.#listeners.splice(0)) listener(this.#error)
    return this.#error
  }
}
