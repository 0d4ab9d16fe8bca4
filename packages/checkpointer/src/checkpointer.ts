import type { BackupRequest, BackupState, VacuumStep } from '@holt/blob-store'
import { HoltError } from '@holt/errors'
import type { Io, Timer } from '@holt/uring-native'
import { EpochPipeline, type EpochPipelineOptions, type EpochUnderWay } from './epoch-pipeline.js'

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
  /** It has been under way for {@link STALL_MS} and has not come back. */
  | { readonly kind: 'stall'; readonly epoch: number; readonly runningMs: number }
  | {
      readonly kind: 'end'
      readonly epoch: number
      readonly frames: number
      readonly durationMs: number
      readonly error: Error | undefined
    }

export interface CheckpointerOptions extends EpochPipelineOptions {
  readonly io: Pick<Io, 'nowMs' | 'setTimer'>
  readonly triggers: CheckpointTriggers
  readonly onEvent?: (event: CheckpointEvent) => void
}

export interface CheckpointStats {
  readonly attempted: number
  readonly succeeded: number
  readonly failed: number
  readonly framesFlushed: number
  readonly running: boolean
  /** How long the oldest one under way has been, in milliseconds; 0 without any. */
  readonly runningMs: number
  /** Those that took longer than {@link STALL_MS}, also if they came to a good end. */
  readonly stalls: number
  readonly lastDurationMs: number
  /** Message of the error that the newest attempt ended with. */
  readonly lastError: string | undefined
  /** How long attempts have failed without a success between, in milliseconds. */
  readonly failingMs: number
}

/** Writers are told of a checkpoint that has failed for this long. */
export const FAILURE_PATIENCE_MS = 30_000
/** A checkpoint that takes longer than this is told of as stalled. */
export const STALL_MS = 10_000
const FIRST_RETRY_MS = 100
const LONGEST_RETRY_MS = 5_000

/**
 * Decides when a checkpoint is taken, and how often one that failed is repeated; the {@link EpochPipeline} takes it. Writers
 * who find no room wait for it, and learn of its failure only once it has lasted.
 */
export class Checkpointer {
  readonly #options: CheckpointerOptions
  readonly #pipeline: EpochPipeline
  /** Attempts that have not ended, the oldest first. */
  readonly #attempts = new Set<{ readonly startedMs: number }>()
  #isPreparing = false
  /** What was asked for while no cut could be taken: all who ask until then get the same one. */
  #requested: Promise<void> | undefined
  #isForced = false
  #timer: Timer | undefined
  #retryMs = FIRST_RETRY_MS
  #failingSinceMs: number | undefined
  #lastError: Error | undefined
  #journalBytesAtCut = 0
  #attempted = 0
  #succeeded = 0
  #failed = 0
  #framesFlushed = 0
  #lastDurationMs = 0
  #stalls = 0
  #closed = false
  /** The note of the newest image is out of date, though no frame need be. */
  #isNoteNew = false
  #roomWaiters: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = []
  #endWaiters: (() => void)[] = []

  constructor(options: CheckpointerOptions) {
    this.#options = options
    this.#pipeline = new EpochPipeline(options)
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
    if (this.#closed || !this.#canCut) return
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

  get #canCut(): boolean {
    return !this.#isPreparing && this.#pipeline.hasRoom
  }

  /**
   * Commits everything changed so far. Rejects with the checkpoint's error; nothing is lost then, and it is tried again
   * in the background. With `force` also when nothing changed, for the sake of the note.
   */
  checkpoint(options: { readonly force?: boolean } = {}): Promise<void> {
    const { force = false } = options
    if (this.#requested === undefined) {
      const isWanted = force || this.hasNews
      if (isWanted && this.#canCut) return this.#run()
      if (!isWanted && !this.running) return Promise.resolve()
    }
    // One that is under way was cut before this call: it does not cover what changed since.
    if (force) this.#isForced = true
    this.#requested ??= this.#whenCuttable()
    return this.#requested
  }

  /** Waits at least for one attempt to end. */
  async #whenCuttable(): Promise<void> {
    try {
      for (;;) {
        if (this.#isForced || this.hasNews) {
          if (this.#canCut) break
          await this.#whenOneEnded()
        } else {
          // Nothing to cut, but what was cut before is not durable yet. If it fails, there is something to cut.
          if (!this.running) return
          await this.#whenOneEnded()
        }
      }
    } finally {
      this.#requested = undefined
      this.#isForced = false
    }
    await this.#run()
  }

  /** Resolves when an attempt has ended. */
  #whenOneEnded(): Promise<void> {
    return new Promise((resolve) => this.#endWaiters.push(resolve))
  }

  /**
   * Resolves when a checkpoint has made slots clean, or could not find any to clean. Rejects
   * `HOLT_CHECKPOINT_FAILED` once checkpoints have failed for {@link FAILURE_PATIENCE_MS}.
   */
  async whenRoom(): Promise<void> {
    this.#throwIfHopeless()
    if (this.#failingSinceMs !== undefined && !this.running) {
      // The retry's timer is running: wait for what it brings.
      await new Promise<void>((resolve, reject) => this.#roomWaiters.push({ resolve, reject }))
      return
    }
    if (this.running) await this.#whenOneEnded()
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
      if (this.#canCut && !this.#closed && this.hasNews) this.#inBackground()
    })
  }

  #inBackground(): void {
    // The error is kept in the stats, reported as an event, and the attempt repeated.
    this.#run().catch(() => undefined)
  }

  #run(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    const attempt = { startedMs: this.#options.io.nowMs() }
    this.#attempts.add(attempt)
    return this.#attempt(attempt.startedMs).finally(() => {
      this.#attempts.delete(attempt)
      // What was changed while it ran starts the clock anew.
      if (this.#timer === undefined && !this.#closed && this.hasNews) {
        this.#arm(this.#options.triggers.intervalMs)
      }
      for (const waiter of this.#roomWaiters.splice(0)) waiter.resolve()
      for (const resume of this.#endWaiters.splice(0)) resume()
    })
  }

  async #attempt(startedMs: number): Promise<void> {
    const { io, onEvent } = this.#options
    this.#attempted += 1
    let error: Error | undefined
    let underWay: EpochUnderWay | undefined
    let isNoteNew = false
    let stallTimer: Timer | undefined
    try {
      ;({ underWay, isNoteNew } = await this.#cut())
      stallTimer = this.#watch(underWay.number, startedMs)
    } catch (caught) {
      error = caught instanceof Error ? caught : new HoltError('HOLT_INTERNAL', String(caught))
    }
    if (underWay !== undefined) {
      const { number: epoch, frames } = underWay
      onEvent?.({ kind: 'start', epoch, frames })
      // What was cut is waited for, whatever went wrong beside it.
      const report = await underWay.ended
      stallTimer?.cancel()
      error = report.error
      this.#framesFlushed += report.framesFlushed
    }
    this.#lastDurationMs = io.nowMs() - startedMs
    if (error === undefined) {
      this.#succeeded += 1
      this.#failingSinceMs = undefined
      this.#lastError = undefined
      this.#retryMs = FIRST_RETRY_MS
    } else {
      this.#failed += 1
      this.#isNoteNew ||= isNoteNew
      this.#failingSinceMs ??= startedMs
      this.#lastError = error
      if (!this.#closed) this.#arm(this.#retryMs)
      this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS)
    }
    if (underWay !== undefined) {
      const { number: epoch, frames } = underWay
      onEvent?.({ kind: 'end', epoch, frames, durationMs: this.#lastDurationMs, error })
    }
    if (error !== undefined) throw error
  }

  /** Cuts, in the calling turn if no memory has to be made present first. */
  async #cut(): Promise<{ readonly underWay: EpochUnderWay; readonly isNoteNew: boolean }> {
    const { frames, journal } = this.#options
    this.#isPreparing = true
    try {
      const touching = frames.touchAhead()
      if (touching !== undefined) await touching
      this.#journalBytesAtCut = journal?.appendedBytes ?? 0
      const underWay = this.#pipeline.cut()
      const isNoteNew = this.#isNoteNew
      this.#isNoteNew = false
      return { underWay, isNoteNew }
    } finally {
      this.#isPreparing = false
    }
  }

  /** Says once that an epoch takes very long: the disk does not answer, or hardly. */
  #watch(epoch: number, startedMs: number): Timer {
    const { io, onEvent } = this.#options
    return io.setTimer(STALL_MS, () => {
      this.#stalls += 1
      onEvent?.({ kind: 'stall', epoch, runningMs: io.nowMs() - startedMs })
    })
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
    return this.#attempts.size > 0
  }

  stats(): CheckpointStats {
    const [oldest] = this.#attempts
    return {
      attempted: this.#attempted,
      succeeded: this.#succeeded,
      failed: this.#failed,
      framesFlushed: this.#framesFlushed,
      running: this.running,
      runningMs: this.running ? this.#options.io.nowMs() - oldest.startedMs : 0,
      stalls: this.#stalls,
      lastDurationMs: this.#lastDurationMs,
      lastError: this.#lastError?.message,
      failingMs: this.#failingMs(),
    }
  }

  /** Starts nothing any more, waits for the epochs under way, ends the worker. Does not checkpoint. */
  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    this.#timer = undefined
    while (this.running) await this.#whenOneEnded()
    for (const waiter of this.#roomWaiters.splice(0))
      waiter.reject(new HoltError('HOLT_CLOSED', 'the database was closed'))
    await this.#options.worker.stop()
  }
}
