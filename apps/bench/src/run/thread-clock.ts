import { closeSync, openSync, readSync } from 'node:fs'

/** One reading of {@link ThreadClock.now}, in milliseconds since some beginning. */
export interface Instant {
  readonly wallMs: number
  readonly cpuMs: number
  /** How long the thread could have run and no processor was free; 0 where the system does not tell. */
  readonly waitedMs: number
  /** How often the thread was given a processor: it grows when the thread was taken off one, or gave it up. 0 likewise. */
  readonly switches: number
}

/**
 * The CPU time of the thread that made it, and how long that waited for a processor, where the system tells (Linux); else
 * the CPU time of the process. What other threads and programs do meanwhile is no part of how long a call blocks.
 */
export class ThreadClock {
  readonly #bytes = Buffer.alloc(64)
  readonly #file: number | undefined

  constructor() {
    try {
      this.#file = openSync('/proc/thread-self/schedstat', 'r')
    } catch {
      this.#file = undefined
    }
  }

  now(): Instant {
    // The kernel brings a running thread's time up to date when it is asked for that of the process.
    const { user, system } = process.cpuUsage()
    const wallMs = performance.now()
    if (this.#file === undefined) return { wallMs, cpuMs: (user + system) / 1_000, waitedMs: 0, switches: 0 }
    const length = readSync(this.#file, this.#bytes, 0, this.#bytes.length, 0)
    const [ran, waited, switches] = this.#bytes.toString('latin1', 0, length).split(' ')
    return { wallMs, cpuMs: Number(ran) / 1e6, waitedMs: Number(waited) / 1e6, switches: Number(switches) }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file)
  }
}
