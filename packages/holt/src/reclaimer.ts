import type { ArtIndex } from '@holt/art-index'
import type { BufferManager } from '@holt/blob-store'
import type { Checkpointer } from '@holt/checkpointer'

/** How the giving back of unlinked frames stands. */
export interface ReclaimStats {
  /** Frames that may be given back now; below each there may be more. */
  readonly unlinkedFrames: number
  /** Frames that the tree has let go of and that an open view sees. */
  readonly heldFrames: number
  readonly freedFrames: number
  /** Message of the error that the newest attempt ended with; it is repeated at the next unlinking. */
  readonly lastError: string | undefined
}

/** Frames that go alone cost next to nothing; writes without rest leave a turn only every few milliseconds. */
const MOST_SINGLES_A_STEP = 64

/**
 * Gives back, in the background, the frames that deletePrefix and its like have unlinked, and those that no view sees any
 * more: in a step one frame that others lie below, or some that go alone; a turn of the event loop between two. The set of
 * them is part of every checkpoint's note, and a step is one synchronous piece; so whatever instant a crash leaves, each
 * frame is in the tree, in the set, or gone.
 */
export class Reclaimer {
  readonly #index: ArtIndex
  readonly #frames: BufferManager
  readonly #checkpointer: Checkpointer | undefined
  readonly #changed: () => void
  #running = false
  #stopped = false
  /** A load under way. */
  #loading: Promise<void> | undefined
  #freed = 0
  #error: Error | undefined

  /** @param changed - called after each step */
  constructor(
    index: ArtIndex,
    frames: BufferManager,
    checkpointer: Checkpointer | undefined,
    changed: () => void,
  ) {
    this.#index = index
    this.#frames = frames
    this.#checkpointer = checkpointer
    this.#changed = changed
  }

  /** To be called whenever something may have been unlinked. Cheap; does nothing in the calling turn. */
  wake(): void {
    if (this.#running || this.#stopped || this.#index.unlinked.size === 0) return
    this.#running = true
    void this.#run()
  }

  /** Resolves when at most so many wait. Rejects with what keeps them from being given back. */
  async whenAtMost(frames: number): Promise<void> {
    while (this.#index.unlinked.size > frames && !this.#stopped) {
      this.wake()
      await new Promise((resolve) => setImmediate(resolve))
      if (!this.#running && this.#error !== undefined) throw this.#error
    }
  }

  /** Ends it; resolves when nothing of it is under way. What is left stays in the set. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#loading?.catch(() => undefined)
  }

  /** At once, what can be given back without reading anything, so many at most. Says how many. */
  freeSingles(most = Number.POSITIVE_INFINITY): number {
    const { unlinked } = this.#index
    let freed = 0
    while (freed < most && unlinked.next !== undefined && unlinked.of(unlinked.next)?.isSingle === true) {
      this.#index.freeNextUnlinked()
      freed++
    }
    this.#freed += freed
    return freed
  }

  stats(): ReclaimStats {
    return {
      unlinkedFrames: this.#index.unlinked.size,
      heldFrames: this.#index.unlinked.heldCount,
      freedFrames: this.#freed,
      lastError: this.#error?.message,
    }
  }

  async #run(): Promise<void> {
    try {
      for (;;) {
        await nextTurn()
        if (this.#stopped || !(await this.#step())) break
      }
      this.#error = undefined
    } catch (error) {
      this.#error = error instanceof Error ? error : new Error(String(error))
    }
    this.#running = false
  }

  /** False when there is nothing left. */
  async #step(): Promise<boolean> {
    const { unlinked } = this.#index
    const id = unlinked.next
    if (id === undefined) return false
    if (this.freeSingles(MOST_SINGLES_A_STEP) > 0) {
      this.#gaveBack()
      return true
    }
    if (!this.#frames.isResident(id)) {
      if (!this.#frames.reserve(1) && this.#checkpointer !== undefined) {
        await this.#checkpointer.whenRoom()
        return true
      }
      this.#loading = this.#frames.load(id)
      try {
        await this.#loading
      } finally {
        this.#loading = undefined
      }
      this.#frames.unpin(id)
      // Something else may have come on top meanwhile.
      if (this.#stopped || unlinked.next !== id) return true
    }
    if (!this.#index.freeNextUnlinked()) return true
    this.#freed += 1
    this.#gaveBack()
    return true
  }

  #gaveBack(): void {
    // No image names what a database in memory has freed: its ids may be used again at once.
    if (this.#checkpointer === undefined) this.#frames.forgetFreed()
    this.#changed()
  }
}

/** The work keeps no process alive: what is left is in the set. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve).unref()
  })
}
