/** Everything that can happen without time has happened. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A clock that only moves when it is told to. */
export class ManualClock {
  now = 0
  #timers: { readonly atMs: number; readonly callback: () => void }[] = []
  nowMs(): number {
    return this.now
  }
  setTimer(delayMs: number, callback: () => void): { cancel: () => void } {
    const timer = { atMs: this.now + delayMs, callback }
    this.#timers.push(timer)
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer)
      },
    }
  }
  get pending(): number {
    return this.#timers.length
  }
  async advance(ms: number): Promise<void> {
    this.now += ms
    const due = this.#timers.filter(({ atMs }) => atMs <= this.now)
    this.#timers = this.#timers.filter(({ atMs }) => atMs > this.now)
    for (const { callback } of due) callback()
    await settle()
  }
}
