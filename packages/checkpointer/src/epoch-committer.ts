import type { Slab } from '@holt/blob-buf-pool'
import {
  type BackupRequest,
  type BackupState,
  type BlobStore,
  retireFrames,
  type SlotTable,
  type VacuumStep,
} from '@holt/blob-store'
import { HoltError, isHoltError } from '@holt/errors'
import { BoundedQueue } from './bounded-queue.js'
import type { Epoch, EpochReport, EpochWorker } from './epoch.js'

export interface EpochCommitterOptions {
  readonly store: BlobStore
  readonly slab: Slab
  readonly slots: SlotTable
  /** Epochs that may wait. Default 16. */
  readonly queueCapacity?: number
}

export const DEFAULT_QUEUE_CAPACITY = 16
const NOTHING_TO_VACUUM: VacuumStep = { movedFrames: 0, freedBytes: 0, isDone: true }

/** What waits in the queue: does its work, tells whoever asked for it, and never rejects. */
type Task = () => Promise<void>

/**
 * The state machine that commits epochs: take one from the queue, write its frames in one batch, stage its deletes,
 * flush once, retire its slots, report, take the next. It runs on the I/O worker's thread, or inline.
 */
export class EpochCommitter implements EpochWorker {
  readonly #options: EpochCommitterOptions
  readonly #queue: BoundedQueue<Task>
  readonly #ended: Promise<void>

  constructor(options: EpochCommitterOptions) {
    this.#options = options
    this.#queue = new BoundedQueue(options.queueCapacity ?? DEFAULT_QUEUE_CAPACITY)
    this.#ended = this.#run()
  }

  submit(epoch: Epoch): Promise<EpochReport> {
    return new Promise((resolve, reject) => {
      const task = async (): Promise<void> => {
        resolve(await this.#commit(epoch))
      }
      this.#queue.push(task).catch(reject)
    })
  }

  vacuum(maxFrames: number): Promise<VacuumStep> {
    const { store } = this.#options
    return this.#between(() => store.vacuum?.(maxFrames) ?? Promise.resolve(NOTHING_TO_VACUUM))
  }

  backup(request: BackupRequest): Promise<BackupState> {
    const { store } = this.#options
    return this.#between(
      () =>
        store.backup?.(request) ??
        Promise.reject(new HoltError('HOLT_UNSUPPORTED', 'this store makes no backups')),
    )
  }

  /** Runs it between two epochs. */
  #between<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const task = async (): Promise<void> => {
        await work().then(resolve, reject)
      }
      this.#queue.push(task).catch(reject)
    })
  }

  async stop(): Promise<void> {
    this.#queue.close()
    await this.#ended
  }

  async #run(): Promise<void> {
    for (let task = await this.#queue.take(); task !== undefined; task = await this.#queue.take()) {
      await task()
    }
  }

  async #commit(epoch: Epoch): Promise<EpochReport> {
    const { store, slab, slots } = this.#options
    const total = {
      epoch: epoch.number,
      framesTotal: epoch.frames.length,
      deletesTotal: epoch.deletes.length,
    }
    try {
      await store.writeMany(epoch.frames.map(({ id, slot }) => ({ id, frame: slab.bytes(slot) })))
      for (const id of epoch.deletes) await store.delete(id)
      await store.flush(epoch.note)
    } catch (error) {
      return { ...total, framesFlushed: 0, deletesApplied: 0, error: asError(error) }
    }
    retireFrames(slots, slab, epoch.frames)
    return { ...total, framesFlushed: epoch.frames.length, deletesApplied: epoch.deletes.length }
  }
}

function asError(error: unknown): Error {
  if (isHoltError(error) || error instanceof Error) return error
  return new HoltError('HOLT_INTERNAL', 'a checkpoint failed with something that is no error', {
    cause: error,
  })
}
