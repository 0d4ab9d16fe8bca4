import type { Timer } from '@holt/uring-native'

interface Alarm {
  readonly dueMs: number
  readonly isTimer: boolean
  readonly callback: () => void
}

/** Virtual time: it moves when it is told to, and calls back those whose time has come, in its order. */
export class SimClock {
  #nowMs: number
  #alarms: Alarm[] = []

  constructor(nowMs = 0) {
    this.#nowMs = nowMs
  }

  get nowMs(): number {
    return this.#nowMs
  }
  /** Timers and completions that are to come. */
  get alarms(): number {
    return this.#alarms.length
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    return this.#add({ dueMs: this.#nowMs + delayMs, isTimer: true, callback })
  }

  /** Like a timer, but of the device: no program can cancel it. */
  setCompletion(delayMs: number, callback: () => void): void {
    this.#add({ dueMs: this.#nowMs + delayMs, isTimer: false, callback })
  }

  #add(alarm: Alarm): Timer {
    const behind = this.#alarms.findIndex(({ dueMs }) => dueMs > alarm.dueMs)
    this.#alarms.splice(behind < 0 ? this.#alarms.length : behind, 0, alarm)
    return {
      cancel: () => {
        this.#alarms = this.#alarms.filter((other) => other !== alarm)
      },
    }
  }

  /** Time goes by in which nobody can be called back: a thread that blocks. */
  pass(ms: number): void {
    this.#nowMs += ms
  }

  /** Moves on by `ms`. Timers that callbacks set are due within it, too. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms
    for (
      let next = this.#alarms.at(0);
      next !== undefined && next.dueMs <= untilMs;
      next = this.#alarms.at(0)
    ) {
      this.#fire(next)
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs)
  }

  /** Moves on to the next timer and calls it back. False when there is none. */
  advanceToNext(): boolean {
    const next = this.#alarms.at(0)
    if (next === undefined) return false
    this.#fire(next)
    return true
  }

  cancelTimers(): void {
    this.#alarms = this.#alarms.filter(({ isTimer }) => !isTimer)
  }

  cancelAll(): void {
    this.#alarms = []
  }

  #fire(alarm: Alarm): void {
    this.#alarms.shift()
    this.#nowMs = Math.max(this.#nowMs, alarm.dueMs)
    alarm.callback()
  }
}
