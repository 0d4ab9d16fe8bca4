import type { LatencySummary, QueueCounters } from './io.js'
import { LatencyHistogram } from './latency-histogram.js'

/** What node starts when nothing else was asked for, and at most. */
const DEFAULT_THREADS = 4
const MAX_THREADS = 1024

/** How many threads node's pool has: libuv reads the variable once, when the pool is first used. */
export function poolThreads(environment: Readonly<Record<string, string | undefined>>): number {
  const given = environment['UV_THREADPOOL_SIZE']
  if (given === undefined) return DEFAULT_THREADS
  // As libuv does: atoi, and nothing becomes one.
  const threads = Number.parseInt(given, 10)
  return Number.isNaN(threads) || threads === 0
    ? 1
    : threads < 0
      ? MAX_THREADS
      : Math.min(threads, MAX_THREADS)
}

/**
 * The operations of one Io that are in node's thread pool or on their way there, and how long each of them took until
 * its answer came. The pool is shared with everything else in the process, so an operation can take long by waiting.
 */
export class FsQueue {
  readonly depth = poolThreads(process.env)
  readonly #latency = new LatencyHistogram()
  #running = 0
  #highest = 0

  get counters(): { readonly queue: QueueCounters; readonly latency: LatencySummary } {
    return {
      queue: { depth: this.depth, outstanding: this.#running, highest: Math.min(this.#highest, this.depth) },
      latency: this.#latency.summary(),
    }
  }

  /** Counts an operation until it settles. */
  async run<Result>(operation: () => Promise<Result>): Promise<Result> {
    this.#running++
    if (this.#running > this.#highest) this.#highest = this.#running
    const startedMs = performance.now()
    try {
      return await operation()
    } finally {
      this.#running--
      this.#latency.record((performance.now() - startedMs) * 1000)
    }
  }

  /**
   * Runs `operation` on every part, at most `lanes` at once. After an error no further part is begun; the first error
   * is thrown when all that were begun have come back.
   */
  async runAll<Part>(
    parts: readonly Part[],
    lanes: number,
    operation: (part: Part) => Promise<void>,
  ): Promise<void> {
    let next = 0
    let failed: { readonly error: unknown } | undefined
    const lane = async (): Promise<void> => {
      while (next < parts.length && failed === undefined) {
        const part = parts[next++]
        try {
          await this.run(() => operation(part))
        } catch (error) {
          failed ??= { error }
        }
      }
    }
    await Promise.all(Array.from({ length: Math.min(lanes, parts.length) }, lane))
    if (failed !== undefined) throw failed.error
  }
}
