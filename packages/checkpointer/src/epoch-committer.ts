import type { Slab } from '@holt/blob-buf-pool'
import type { BackupRequest, BackupState, BlobStore, SlotTable, VacuumStep } from '@holt/blob-store'
import { HoltError } from '@holt/errors'
import type { Io } from '@holt/uring-native'
import { BoundedQueue } from './bounded-queue.js'
import { type Epoch, type EpochReport, type EpochWorker, failedReport } from './epoch.js'
import { commitGroup } from './group-commit.js'

export interface EpochCommitterOptions {
  readonly store: BlobStore
  readonly slab: Slab
  readonly slots: SlotTable
  /** Epochs and questions that may wait. Default {@link DEFAULT_QUEUE_CAPACITY}. */
  readonly queueCapacity?: number | undefined
  /** Epochs that are committed as one at most. Default 1: each by itself. {@link MAX_GROUP_EPOCHS} is the most. */
  readonly groupEpochs?: number | undefined
  /** By whose timer the first of a group waits for a second, {@link GATHER_MS}. Without it, it does not wait. */
  readonly io?: Pick<Io, 'setTimer'> | undefined
}

export const DEFAULT_QUEUE_CAPACITY = 16
export const MAX_GROUP_EPOCHS = 64
/** How long an epoch that nothing waits behind waits for a second: 100 µs, or what the system's timers can do. */
export const GATHER_MS = 0.1

const NOTHING_TO_VACUUM: VacuumStep = { movedFrames: 0, freedBytes: 0, isDone: true }

/** What waits in the queue. Each tells whoever asked for it how it went; running it never rejects. */
type Task =
  | { readonly kind: 'epoch'; readonly epoch: Epoch; readonly report: (report: EpochReport) => void }
  | { readonly kind: 'question'; readonly answer: () => Promise<void> }
type EpochTask = Extract<Task, { readonly kind: 'epoch' }>

/**
 * The state machine that commits epochs: take one from the queue, and those that wait behind it; commit them as one group;
 * report, take the next. It runs on the I/O worker's thread, or inline.
 *
 * The first epoch of a group waits once for a second, if none is there; behind a second one, what is there is taken
 * without waiting.
 */
export class EpochCommitter implements EpochWorker {
  readonly #options: EpochCommitterOptions
  readonly #queue: BoundedQueue<Task>
  readonly #groupEpochs: number
  readonly #ended: Promise<void>
  /** Numbers of epochs that failed, behind which nothing may be committed, and why. */
  readonly #failed = new Map<number, Error>()

  constructor(options: EpochCommitterOptions) {
    const { queueCapacity = DEFAULT_QUEUE_CAPACITY, groupEpochs = 1 } = options
    if (!(Number.isSafeInteger(groupEpochs) && groupEpochs >= 1 && groupEpochs <= MAX_GROUP_EPOCHS))
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `groupEpochs is ${String(groupEpochs)}; a whole number from 1 to ${String(MAX_GROUP_EPOCHS)} is wanted`,
      )
    this.#options = options
    this.#groupEpochs = groupEpochs
    this.#queue = new BoundedQueue(queueCapacity)
    this.#ended = this.#run()
  }

  submit(epoch: Epoch): Promise<EpochReport> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ kind: 'epoch', epoch, report: resolve }).catch(reject)
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
      const answer = (): Promise<void> => work().then(resolve, reject)
      this.#queue.push({ kind: 'question', answer }).catch(reject)
    })
  }

  async stop(): Promise<void> {
    this.#queue.close()
    await this.#ended
  }

  async #run(): Promise<void> {
    for (let task = await this.#queue.take(); task !== undefined; task = await this.#queue.take()) {
      if (task.kind === 'question') await task.answer()
      else await this.#commit(await this.#gather(task))
    }
  }

  /** The group that this epoch begins. What waits behind a question is not part of it. */
  async #gather(first: EpochTask): Promise<readonly EpochTask[]> {
    const group = [first]
    if (this.#groupEpochs === 1) return group
    if (this.#queue.length === 0) await this.#whenSecond()
    while (group.length < this.#groupEpochs && this.#queue.peek()?.kind === 'epoch')
      group.push(this.#queue.takeNow() as EpochTask)
    return group
  }

  /** Something is in the queue, it was closed, or the time has passed. */
  #whenSecond(): Promise<void> {
    const { io } = this.#options
    if (io === undefined) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = io.setTimer(GATHER_MS, resolve)
      this.#queue.whenAny(() => {
        timer.cancel()
        resolve()
      })
    })
  }

  /** Those that follow one that failed are left out, and reported in their place. */
  async #commit(group: readonly EpochTask[]): Promise<void> {
    const causes = group.map(({ epoch }) => {
      const cause = this.#failed.get(epoch.follows)
      if (cause !== undefined) this.#failed.set(epoch.number, cause)
      return cause
    })
    const sound = group.filter((_, i) => causes[i] === undefined).map(({ epoch }) => epoch)
    // Whoever submits one that follows none of the failed knows of their failure: none that follows them comes behind it.
    if (sound.length === group.length) this.#failed.clear()
    const committed = sound.length === 0 ? [] : await commitGroup(this.#options, sound)
    let next = 0
    for (const [i, { epoch, report }] of group.entries()) {
      const cause = causes[i]
      const outcome = cause === undefined ? committed[next++] : failedReport(epoch, cause)
      if (outcome.error !== undefined && !outcome.isCommitted) this.#failed.set(epoch.number, outcome.error)
      report(outcome)
    }
  }
}
