import { createRequire } from 'node:module'
import { Worker } from 'node:worker_threads'
import type { Slab } from '@holt/blob-buf-pool'
import type { BackupRequest, BackupState, BlobStoreWorker, SlotTable, VacuumStep } from '@holt/blob-store'
import { HoltError } from '@holt/errors'
import { type Epoch, type EpochReport, type EpochWorker, failedReport } from './epoch.js'
import { DEFAULT_QUEUE_CAPACITY } from './epoch-committer.js'
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
  /** Epochs that the thread may have at once; more wait here. Default {@link DEFAULT_QUEUE_CAPACITY}. */
  readonly queueCapacity?: number
  /** Epochs that are committed as one at most; see {@link EpochCommitter}. Default 1. */
  readonly groupEpochs?: number
}

interface Submitted {
  readonly epoch: Epoch
  readonly resolve: (report: EpochReport) => void
  readonly reject: (error: Error) => void
}

/**
 * The I/O worker as a thread: an {@link EpochCommitter} in a worker_thread with an Io and a store of its own, over the
 * same slab. Started with the first epoch (a start costs 30-60 ms); a thread that died is started anew with the next.
 * It keeps the process alive only while an epoch, a step of a vacuum or a piece of a backup is under way.
 */
export class ThreadEpochWorker implements EpochWorker {
  readonly #options: ThreadWorkerOptions
  /** What the thread has. */
  readonly #posted = new Map<number, Submitted>()
  /** What it has no room for. */
  readonly #heldBack: Submitted[] = []
  readonly #capacity: number
  /** Steps of a vacuum and pieces of a backup under way. */
  readonly #asked = new Map<number, (answer: Answer | Error) => void>()
  #questionNumber = 0
  #worker: Worker | undefined
  #segmentsKnown = 0
  #stopped = false

  constructor(options: ThreadWorkerOptions) {
    this.#options = options
    this.#capacity = options.queueCapacity ?? DEFAULT_QUEUE_CAPACITY
  }

  submit(epoch: Epoch): Promise<EpochReport> {
    if (this.#stopped) return Promise.reject(stoppedError())
    return new Promise((resolve, reject) => {
      this.#heldBack.push({ epoch, resolve, reject })
      this.#postWhatFits()
    })
  }

  #postWhatFits(): void {
    const { slab } = this.#options
    while (this.#posted.size < this.#capacity) {
      const submitted = this.#heldBack.shift()
      if (submitted === undefined) return
      const worker = (this.#worker ??= this.#start())
      const { epoch } = submitted
      this.#posted.set(epoch.number, submitted)
      worker.ref()
      const grown = slab.segments.length > this.#segmentsKnown
      this.#segmentsKnown = slab.segments.length
      this.#post(worker, { kind: 'epoch', epoch, slab: grown ? slab.share() : undefined })
    }
  }

  vacuum(maxFrames: number): Promise<VacuumStep> {
    return this.#ask({ kind: 'vacuum', maxFrames }) as Promise<VacuumStep>
  }

  backup(request: BackupRequest): Promise<BackupState> {
    return this.#ask({ kind: 'backup', request }) as Promise<BackupState>
  }

  #ask(question: Question): Promise<Answer> {
    if (this.#stopped) return Promise.reject(stoppedError())
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
    for (const { reject } of this.#heldBack.splice(0)) reject(stoppedError())
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
    const { store, slab, slots, io, groupEpochs = 1 } = this.#options
    this.#segmentsKnown = slab.segments.length
    const workerData: WorkerStart = {
      storeModuleUrl: store.moduleUrl,
      storeData: store.data,
      slab: slab.share(),
      slots: slots.buffer,
      io,
      groupEpochs,
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
      // What was held back behind them would be cut on top of them.
      const lost = [...this.#posted.values(), ...this.#heldBack.splice(0)]
      this.#posted.clear()
      for (const { epoch, resolve } of lost) resolve(failedReport(epoch, error))
    })
    return worker
  }

  #settle(report: EpochReport): void {
    const submitted = this.#posted.get(report.epoch)
    this.#posted.delete(report.epoch)
    submitted?.resolve(report)
    this.#postWhatFits()
    this.#letGo()
  }

  #settleQuestion(number: number, answer: Answer | Error): void {
    const settle = this.#asked.get(number)
    this.#asked.delete(number)
    this.#letGo()
    settle?.(answer)
  }

  #letGo(): void {
    if (this.#posted.size === 0 && this.#asked.size === 0) this.#worker?.unref()
  }
}

function stoppedError(): HoltError {
  return new HoltError('HOLT_CLOSED', 'the I/O worker was stopped')
}
