import { createRequire } from 'node:module'
import { Worker } from 'node:worker_threads'
import type { Slab } from '@holt/blob-buf-pool'
import type { BackupRequest, BackupState, BlobStoreWorker, SlotTable, VacuumStep } from '@holt/blob-store'
import { HoltError } from '@holt/errors'
import type { Epoch, EpochReport, EpochWorker } from './epoch.js'
import {
  type Answer,
  type FromWorker,
  type Question,
  receiveError,
  type ToWorker,
  type WorkerStart,
} from './worker-messages.js'

export interface ThreadWorkerOptions {
  readonly store: BlobStoreWorker
  readonly slab: Slab
  readonly slots: SlotTable
  readonly io: 'uring' | 'fs'
}

/**
 * The I/O worker as a thread: an {@link EpochCommitter} in a worker_thread with an Io and a store of its own, over the
 * same slab. Started with the first epoch (a start costs 30-60 ms); a thread that died is started anew with the next.
 * It keeps the process alive only while an epoch, a step of a vacuum or a piece of a backup is under way.
 */
export class ThreadEpochWorker implements EpochWorker {
  readonly #options: ThreadWorkerOptions
  readonly #waiting = new Map<number, (report: EpochReport) => void>()
  /** Steps of a vacuum and pieces of a backup under way. */
  readonly #asked = new Map<number, (answer: Answer | Error) => void>()
  #questionNumber = 0
  #worker: Worker | undefined
  #segmentsKnown = 0
  #stopped = false

  constructor(options: ThreadWorkerOptions) {
    this.#options = options
  }

  submit(epoch: Epoch): Promise<EpochReport> {
    if (this.#stopped) return Promise.reject(new HoltError('HOLT_CLOSED', 'the I/O worker was stopped'))
    const worker = (this.#worker ??= this.#start())
    const { slab } = this.#options
    return new Promise((resolve) => {
      this.#waiting.set(epoch.number, resolve)
      worker.ref()
      const grown = slab.segments.length > this.#segmentsKnown
      this.#segmentsKnown = slab.segments.length
      this.#post(worker, { kind: 'epoch', epoch, slab: grown ? slab.share() : undefined })
    })
  }

  vacuum(maxFrames: number): Promise<VacuumStep> {
    return this.#ask({ kind: 'vacuum', maxFrames }) as Promise<VacuumStep>
  }

  backup(request: BackupRequest): Promise<BackupState> {
    return this.#ask({ kind: 'backup', request }) as Promise<BackupState>
  }

  #ask(question: Question): Promise<Answer> {
    if (this.#stopped) return Promise.reject(new HoltError('HOLT_CLOSED', 'the I/O worker was stopped'))
    const worker = (this.#worker ??= this.#start())
    const number = ++this.#questionNumber
    return new Promise((resolve, reject) => {
      this.#asked.set(number, (answer) => {
        if (answer instanceof Error) reject(answer)
        else resolve(answer)
      })
      worker.ref()
      this.#post(worker, { kind: 'question', number, question })
    })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    const worker = this.#worker
    if (worker === undefined) return
    const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
    worker.ref()
    this.#post(worker, { kind: 'stop' })
    await ended
  }

  #post(worker: Worker, message: ToWorker): void {
    worker.postMessage(message)
  }

  #start(): Worker {
    const { store, slab, slots, io } = this.#options
    this.#segmentsKnown = slab.segments.length
    const workerData: WorkerStart = {
      storeModuleUrl: store.moduleUrl,
      storeData: store.data,
      slab: slab.share(),
      slots: slots.buffer,
      io,
    }
    const file = createRequire(import.meta.url).resolve('@holt/checkpointer/io-worker')
    // Loaders, conditions and flags of the host program have no business in this thread, and cost its start.
    const worker = new Worker(file, { workerData, name: 'holt-io', execArgv: [] })
    let cause: unknown
    worker.on('message', (message: FromWorker) => {
      if (message.kind === 'report') {
        this.#settle({
          ...message.report,
          ...(message.error === undefined ? {} : { error: receiveError(message.error) }),
        })
      } else if (message.kind === 'answer') {
        const { number, answer } = message
        this.#settleQuestion(number, 'error' in answer ? receiveError(answer.error) : answer.result)
      } else if (message.kind === 'failed') {
        cause = receiveError(message.error)
      }
    })
    worker.on('error', (error) => {
      cause = error
    })
    worker.on('exit', () => {
      if (this.#worker === worker) this.#worker = undefined
      const error =
        cause instanceof Error
          ? cause
          : new HoltError('HOLT_CHECKPOINT_FAILED', 'the I/O worker ended before its work did')
      for (const number of [...this.#asked.keys()]) this.#settleQuestion(number, error)
      for (const epoch of [...this.#waiting.keys()]) {
        this.#settle({ epoch, framesTotal: 0, framesFlushed: 0, deletesTotal: 0, deletesApplied: 0, error })
      }
    })
    return worker
  }

  #settle(report: EpochReport): void {
    const resolve = this.#waiting.get(report.epoch)
    this.#waiting.delete(report.epoch)
    this.#letGo()
    resolve?.(report)
  }

  #settleQuestion(number: number, answer: Answer | Error): void {
    const settle = this.#asked.get(number)
    this.#asked.delete(number)
    this.#letGo()
    settle?.(answer)
  }

  #letGo(): void {
    if (this.#waiting.size === 0 && this.#asked.size === 0) this.#worker?.unref()
  }
}
