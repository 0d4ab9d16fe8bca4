import type { BlobId } from '@holt/blob-buf-pool'
import type { Engine } from './engine.js'

/** How the merging of frames that deletes have left half empty stands. */
export interface BackgroundCompactionStats {
  readonly isEnabled: boolean
  /** Places that deletes and overwrites have left and that were not looked at yet. */
  readonly candidates: number
  /** Pieces of work done; each is one synchronous piece. */
  readonly steps: number
  /** Frames that were laid out depth first, and got their filter; not counted as steps. */
  readonly orderedFrames: number
  readonly longestStepMs: number
  /** Message of the error that the newest attempt ended with; it is made again after the next write. */
  readonly lastError: string | undefined
}

/** It begins when no write came for so long. */
const QUIET_MS = 20
/** Under writes without a pause, and where a step cannot be done now, it does a slice this often. */
const BUSY_MS = 250
/** So long the event loop is held at a time, and where that is not enough for a step, by one step. */
const SLICE_MS = 1
/** Between two slices. */
const PAUSE_MS = 1
/** A clock that stands still must not hold it for ever. */
const STEPS_PER_SLICE = 16
/** Few frames a step: it stays short. */
const BUDGET = { frames: 4 }
/** A frame is laid out anew when more than this part of it lies where there happened to be room. */
const MOST_DISORDER = 0.25
/** Slots that are looked at for one between two looks at the clock. */
const SLOTS_PER_LOOK = 64

/**
 * Takes the places where deletes and overwrites have left little ({@link ArtIndex.compactionCandidates}) and merges the
 * frames there, behind the writes and without being asked. It waits until no write has come for a moment, then works in
 * slices, a turn of the event loop between two; where writes never pause, a slice comes now and then between them.
 *
 * A step is as one of `db.compact()`: it changes no contents, journals nothing, and a checkpoint may cut between any two.
 * It keeps no process alive and never waits for room: what cannot be done now is tried again later.
 */
export class BackgroundCompaction {
  readonly #engine: Engine
  readonly #isEnabled: boolean
  readonly #step: () => boolean
  #timer: { cancel(): void } | undefined
  /** Ends the pause of the run under way. */
  #resume: (() => void) | undefined
  /** A run under way. */
  #running: Promise<void> | undefined
  #stopped = false
  #seqSeen = -1
  #lastSliceMs = 0
  #steps = 0
  #orderedFrames = 0
  /** Where the look for frames in disorder goes on; 0: nothing was written since it came to its end. */
  #slot = 0
  #longestStepMs = 0
  #error: Error | undefined

  constructor(engine: Engine, isEnabled: boolean) {
    this.#engine = engine
    this.#isEnabled = isEnabled
    this.#step = () => engine.index.compactStep(undefined, BUDGET)
  }

  /** To be called behind writes. Cheap; does nothing in the calling turn. */
  wake(): void {
    if (this.#slot === 0) this.#slot = 1
    if (this.#timer !== undefined || this.#running !== undefined || this.#stopped || !this.#isEnabled) return
    this.#arm(QUIET_MS)
  }

  /** Ends it; resolves when nothing of it is under way. What is left stays as it is. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    this.#timer = undefined
    // A pause keeps no process alive, but whoever waits for the end of it must.
    this.#resume?.()
    await this.#running
  }

  stats(): BackgroundCompactionStats {
    return {
      isEnabled: this.#isEnabled,
      candidates: this.#engine.index.compactionCandidates,
      steps: this.#steps,
      orderedFrames: this.#orderedFrames,
      longestStepMs: this.#longestStepMs,
      lastError: this.#error?.message,
    }
  }

  #arm(delayMs: number): void {
    this.#seqSeen = this.#engine.seq
    this.#timer = this.#engine.io.setTimer(delayMs, this.#look)
  }

  /** No write was applied since the last look, and none waits. */
  get #isQuiet(): boolean {
    return this.#engine.seq === this.#seqSeen && this.#engine.waitingWrites === 0
  }

  readonly #look = (): void => {
    this.#timer = undefined
    if (!this.#hasMore) return
    if (!this.#isQuiet && this.#engine.io.nowMs() - this.#lastSliceMs < BUSY_MS) this.#arm(QUIET_MS)
    else this.#running = this.#run()
  }

  async #run(): Promise<void> {
    let again = QUIET_MS
    this.#error = undefined
    try {
      for (;;) {
        const isDone = this.#hasCandidates ? await this.#slice() : this.#orderSlice()
        if (!isDone) again = BUSY_MS
        this.#lastSliceMs = this.#engine.io.nowMs()
        await this.#pause()
        if (again === BUSY_MS || !this.#isQuiet || !this.#hasMore) break
      }
    } catch (error) {
      this.#error = error instanceof Error ? error : new Error(String(error))
    }
    this.#running = undefined
    if (this.#error === undefined && this.#hasMore) this.#arm(again)
  }

  /** By a timer: it keeps no process alive, and wakes a loop that has nothing else to do. */
  #pause(): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    return new Promise((resolve) => {
      this.#resume = resolve
      this.#timer = this.#engine.io.setTimer(PAUSE_MS, () => {
        this.#timer = undefined
        resolve()
      })
    })
  }

  get #hasMore(): boolean {
    return !this.#stopped && (this.#hasCandidates || this.#slot > 0)
  }

  get #hasCandidates(): boolean {
    return !this.#stopped && this.#engine.index.compactionCandidates > 0
  }

  /**
   * Lays out frames that are in disorder or lack their filter: such as are changed anyway, so that nothing is written for
   * it. Only where nobody writes. False when there is more that cannot be done now.
   */
  #orderSlice(): boolean {
    const { frames, index, io } = this.#engine
    if (!this.#isQuiet) return false
    const startMs = io.nowMs()
    for (let looks = 0; looks < SLOTS_PER_LOOK; looks++) {
      const slot = frames.nextDirty(this.#slot)
      if (slot === 0) {
        this.#slot = 0
        return true
      }
      this.#slot = slot + 1
      const id = frames.slots.blobIds[slot] as BlobId
      if (index.disorder(id) <= MOST_DISORDER && !index.lacksFilter(id)) continue
      const outcome = this.#engine.reshapeNow(() => {
        index.orderFrame(id)
      })
      if (outcome === 'not-now' || outcome.missing !== undefined) {
        this.#slot = slot
        return false
      }
      this.#orderedFrames += 1
      const endedMs = io.nowMs()
      this.#longestStepMs = Math.max(this.#longestStepMs, endedMs - startMs)
      if (endedMs - startMs >= SLICE_MS) break
    }
    return true
  }

  /** False when there is more that cannot be done now. */
  async #slice(): Promise<boolean> {
    const engine = this.#engine
    const { frames, io } = engine
    const pinned: BlobId[] = []
    let startMs = io.nowMs()
    try {
      for (let steps = 0; steps < STEPS_PER_SLICE && this.#hasCandidates;) {
        const beganMs = io.nowMs()
        const outcome = engine.reshapeNow(this.#step)
        if (outcome === 'not-now') return false
        if (outcome.missing !== undefined) {
          await frames.load(outcome.missing)
          pinned.push(outcome.missing)
          startMs = io.nowMs()
          continue
        }
        const endedMs = io.nowMs()
        this.#longestStepMs = Math.max(this.#longestStepMs, endedMs - beganMs)
        this.#steps += 1
        steps++
        if (endedMs - startMs >= SLICE_MS) break
      }
      return true
    } finally {
      for (const id of pinned) frames.unpin(id)
    }
  }
}
