/** Runs asynchronous pieces of work one behind the other, in the order in which they were handed over. */
export class OneAtATime {
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0

  /** Whether anything runs or waits. */
  get isBusy(): boolean {
    return this.#waiting > 0
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting++
    const result = this.#last.then(work)
    this.#last = result.catch(() => undefined)
    try {
      return await result
    } finally {
      this.#waiting--
    }
  }
}
