import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

import type { ReaderData, ReaderTurn, TurnRequest } from './reader-messages.js'

/** A thread that reads a tree of this one. */
export class ReaderThread {
  readonly #worker: Worker
  readonly #failed: Promise<never>

  private constructor(worker: Worker) {
    this.#worker = worker
    this.#failed = new Promise((_, reject) => {
      worker.once('error', reject)
      worker.once('exit', (code) => {
        reject(new Error(`a reading thread has ended with ${String(code)}`))
      })
    })
    this.#failed.catch(() => undefined)
  }

  /** Resolves when the thread has attached. `program` is the built `reader.ts`. */
  static async start(data: ReaderData, program: URL): Promise<ReaderThread> {
    const thread = new ReaderThread(new Worker(program, { workerData: data, execArgv: [] }))
    await Promise.race([once(thread.#worker, 'message'), thread.#failed])
    return thread
  }

  /** Has it read for a while. Rejects with `WrongAnswer` when it read what cannot be: the thread is over then. */
  async turn(request: TurnRequest): Promise<ReaderTurn> {
    this.#worker.postMessage(request)
    const [turn] = (await Promise.race([once(this.#worker, 'message'), this.#failed])) as [ReaderTurn]
    return turn
  }

  async end(): Promise<void> {
    await this.#worker.terminate()
  }
}
