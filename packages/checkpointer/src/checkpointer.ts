import type { BackupRequest, BackupState, BufferManager, Cut, VacuumStep } from '@holt/blob-store'
import { HoltError } from '@holt/errors'
import type { JournalContract, Lsn } from '@holt/journal'
import type { Io, Timer } from '@holt/uring-native'
import type { EpochReport, EpochWorker } from './epoch.js'

/** When a checkpoint starts by itself. Whichever comes first. */
export interface CheckpointTriggers {
  /** So long after the first change since the last cut. */
  readonly intervalMs: number
  /** So many dirty frames. */
  readonly dirtyFrames: number
  /** So many bytes appended to the journal since the last cut. */
  readonly journalBytes: number
}

export type CheckpointEvent =
  | { readonly kind: 'start'; readonly epoch: number; readonly frames: number }
  | {
      readonly kind: 'end'
      readonly epoch: number
      readonly frames: number
      readonly durationMs: number
      readonly error: Error | undefined
    }

export interface CheckpointerOptions {
  readonly frames: BufferManager
  readonly worker: EpochWorker
  readonly io: Pick<Io, 'nowMs' | 'setTimer'>
  /** Absent when the database keeps no journal. */
  readonly journal: JournalContract | undefined
  /** The engine's note for a cut taken now. */
  readonly note: () => Uint8Array
  readonly triggers: CheckpointTriggers
  readonly onEvent?: (event: CheckpointEvent) => void
}

export interface CheckpointStats {
  readonly attempted: number
  readonly succeeded: number
  readonly failed: number
  readonly framesFlushed: number
  readonly running: boolean
  readonly lastDurationMs: number
  /** Message of the error that the newest attempt ended with. */
  readonly lastError: string | undefined
  /** How long attempts have failed without a success between, in milliseconds. */
  readonly failingMs: number
}

/** Writers are told of a checkpoint that has failed for this long. */
export const FAILURE_PATIENCE_MS = 30_000
const FIRST_RETRY_MS = 100
const LONGEST_RETRY_MS = 5_000

/**
 * Decides when a cut is taken, has it committed, and retires it.
 *
 * 1. Cut, in one synchronous piece: the journal's position, the engine's note, all dirty frames *flushing*.
 * 2. The journal is made stable up to the cut; only then the epoch goes to the worker (log before data).
 * 3. Committed: freed blob ids may be used again, journal segments wholly before the cut are recycled. Failed: the
 *    whole cut belongs to the next one, and the attempt is repeated after a while.
 *
 * One epoch is under way at a time, so an epoch is always committed on top of its predecessor.
 */
export class Checkpointer {
  readonly #options: CheckpointerOptions
  #running: Promise<void> | undefined
  #timer: Timer | undefined
  #retryMs = FIRST_RETRY_MS
  #failingSinceMs: number | undefined
  #lastError: Error | undefined
  #journalBytesAtCut = 0
  #epochs = 0
  #attempted = 0
  #succeeded = 0
  #failed = 0
  #framesFlushed = 0
  #lastDurationMs = 0
  #closed = false
  /** The note of the newest image is out of date, though no frame need be. */
  #isNoteNew = false
  #roomWaiters: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = []

  constructor(options: CheckpointerOptions) {
    this.#options = options
  }

  /** There is something that the newest image lacks. */
  get hasNews(): boolean {
    return this.#isNoteNew || this.#options.frames.hasDirt
  }

  /** To be called beside {@link changed} after a change that the engine's note shows and that may have changed no frame. */
  noteChanged(): void {
    this.#isNoteNew = true
  }

  /** To be called after every change: starts a checkpoint, or the clock towards one. Cheap. */
  changed(journalBytes: number): void {
    if (this.#running !== undefined || this.#closed) return
    const { triggers, frames } = this.#options
    if (
      this.#failingSinceMs === undefined &&
      (frames.dirtyFrames >= triggers.dirtyFrames ||
        journalBytes - this.#journalBytesAtCut >= triggers.journalBytes)
    ) {
      this.#inBackground()
    } else if (this.#timer === undefined) {
      this.#arm(triggers.intervalMs)
    }
  }

  /**
   * Commits everything changed so far. Rejects with the checkpoint's error; nothing is lost then, and it is tried again
   * in the background. With `force` also when nothing changed, for the sake of the note.
   */
  async checkpoint(options: { readonly force?: boolean } = {}): Promise<void> {
    // One that is under way was cut before this call: it does not cover what changed since.
    while (this.#running !== undefined) await this.#running.catch(() => undefined)
    if (options.force !== true && !this.hasNews) return
    await this.#run()
  }

  /**
   * Resolves when a checkpoint has made slots clean, or could not find any to clean. Rejects
   * `HOLT_CHECKPOINT_FAILED` once checkpoints have failed for {@link FAILURE_PATIENCE_MS}.
   */
  async whenRoom(): Promise<void> {
    this.#throwIfHopeless()
    if (this.#failingSinceMs !== undefined && this.#running === undefined) {
      // The retry's timer is running: wait for what it brings.
      await new Promise<void>((resolve, reject) => this.#roomWaiters.push({ resolve, reject }))
      return
    }
    if (this.#running !== undefined) await this.#running.catch(() => undefined)
    else await this.#run().catch(() => undefined)
    this.#throwIfHopeless()
  }

  #throwIfHopeless(): void {
    const failingMs = this.#failingMs()
    if (failingMs < FAILURE_PATIENCE_MS || this.#lastError === undefined) return
    throw new HoltError(
      'HOLT_CHECKPOINT_FAILED',
      `checkpoints have failed for ${String(Math.round(failingMs / 1000))} s and no room is left in the cache: ${this.#lastError.message}`,
      { cause: this.#lastError },
    )
  }

  #failingMs(): number {
    return this.#failingSinceMs === undefined ? 0 : this.#options.io.nowMs() - this.#failingSinceMs
  }

  #arm(delayMs: number): void {
    this.#timer?.cancel()
    this.#timer = this.#options.io.setTimer(delayMs, () => {
      this.#timer = undefined
      if (this.#running === undefined && !this.#closed && this.hasNews) this.#inBackground()
    })
  }

  #inBackground(): void {
    // The error is kept in the stats, reported as an event, and the attempt repeated.
    this.#run().catch(() => undefined)
  }

  #run(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    const running = this.#attempt().finally(() => {
      this.#running = undefined
      // What was changed while it ran starts the clock anew.
      if (this.#timer === undefined && !this.#closed && this.hasNews) {
        this.#arm(this.#options.triggers.intervalMs)
      }
      for (const waiter of this.#roomWaiters.splice(0)) waiter.resolve()
    })
    this.#running = running
    return running
  }

  async #attempt(): Promise<void> {
    const { frames, journal, worker, io, onEvent } = this.#options
    this.#attempted += 1
    const startedMs = io.nowMs()
    const touching = frames.touchAhead()
    if (touching !== undefined) await touching
    const epoch = ++this.#epochs
    const position = journal?.position
    const journalBytes = journal?.appendedBytes ?? 0
    const note = this.#options.note()
    const isNoteNew = this.#isNoteNew
    this.#isNoteNew = false
    const cut = frames.cut()
    onEvent?.({ kind: 'start', epoch, frames: cut.frames.length })
    let error: Error | undefined
    try {
      await journal?.sync()
      const report = await worker.submit({ number: epoch, frames: cut.frames, deletes: cut.deletes, note })
      error = report.error
      if (error === undefined) this.#retire(cut, report, position)
    } catch (caught) {
      error = caught instanceof Error ? caught : new HoltError('HOLT_INTERNAL', String(caught))
    }
    this.#lastDurationMs = io.nowMs() - startedMs
    if (error === undefined) {
      this.#succeeded += 1
      this.#journalBytesAtCut = journalBytes
      this.#failingSinceMs = undefined
      this.#lastError = undefined
      this.#retryMs = FIRST_RETRY_MS
    } else {
      frames.restore(cut)
      this.#isNoteNew ||= isNoteNew
      this.#failed += 1
      this.#failingSinceMs ??= startedMs
      this.#lastError = error
      if (!this.#closed) this.#arm(this.#retryMs)
      this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS)
    }
    onEvent?.({ kind: 'end', epoch, frames: cut.frames.length, durationMs: this.#lastDurationMs, error })
    if (error !== undefined) throw error
  }

  #retire(cut: Cut, report: EpochReport, position: Lsn | undefined): void {
    this.#options.frames.retired(cut)
    this.#framesFlushed += report.framesFlushed
    if (position !== undefined) this.#options.journal?.recycle(position)
  }

  /** One step of giving back room; see `BlobStore.vacuum`. Rejects with the step's error, and `HOLT_CLOSED`. */
  vacuum(maxFrames: number): Promise<VacuumStep> {
    if (this.#closed) return Promise.reject(new HoltError('HOLT_CLOSED', 'the database was closed'))
    return this.#options.worker.vacuum(maxFrames)
  }

  /** One request to the store's backup; see `BlobStore.backup`. Rejects with its error, and `HOLT_CLOSED`. */
  backup(request: BackupRequest): Promise<BackupState> {
    if (this.#closed) return Promise.reject(new HoltError('HOLT_CLOSED', 'the database was closed'))
    return this.#options.worker.backup(request)
  }

  /** Whether an epoch is under way. */
  get running(): boolean {
    return this.#running !== undefined
  }

  stats(): CheckpointStats {
    return {
      attempted: this.#attempted,
      succeeded: this.#succeeded,
      failed: this.#failed,
      framesFlushed: this.#framesFlushed,
      running: this.#running !== undefined,
      lastDurationMs: this.#lastDurationMs,
      lastError: this.#lastError?.message,
      failingMs: this.#failingMs(),
    }
  }

  /** Starts nothing any more, waits for the epoch under way, ends the worker. Does not checkpoint. */
  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    this.#timer = undefined
    await this.#running?.catch(() => undefined)
    for (const waiter of this.#roomWaiters.splice(0))
      waiter.reject(new HoltError('HOLT_CLOSED', 'the database was closed'))
    await this.#options.worker.stop()
  }
}
