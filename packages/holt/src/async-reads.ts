import { type BlobId, FrameAbsent } from '@holt/blob-buf-pool'
import { Cursor, type CursorOptions, type CursorStep, END } from '@holt/art-index'
import type { Io } from '@holt/uring-native'
import { TurnGuard } from './turn-guard.js'
import type { StreamEngine } from './value-stream.js'

/** Frames that a walk loads together when it misses one. */
const READ_AHEAD_FRAMES = 8
const MAX_PERMITS = 64
/** More than a path has, as a rule. */
const MAX_PINS_OF_ONE = 8

/** What they need of an engine. */
export interface AsyncReadEngine extends StreamEngine {
  readonly io: Io
}

interface Miss {
  readonly id: BlobId
  readonly fromBytes: number
  readonly toBytes: number
}

/**
 * Reads that never wait for the disk on the calling thread: they look, load what is missing by promise, and look again,
 * from the root on, since the tree may have changed meanwhile. What a read has loaded stays pinned until it ends, so that
 * each round gets further; and as only so many read from the disk at a time, pins cannot fill the cache.
 */
export class AsyncReads {
  readonly #engine: AsyncReadEngine
  readonly #turns: TurnGuard
  #permits: number
  readonly #waiting: (() => void)[] = []

  constructor(engine: AsyncReadEngine) {
    this.#engine = engine
    this.#turns = new TurnGuard(engine.io)
    this.#permits = Math.max(1, Math.min(MAX_PERMITS, engine.frames.capacityFrames >>> 3))
  }

  /**
   * Looks a key up, given with its tree's id, and resolves to what `take` makes of the answer: it runs in the same breath
   * as the lookup, while the index's `found…` fields hold. With `wantsValue` it gets the bytes of a large value too, which
   * lie in frames of their own: they are read part by part, and anew when the key got another version meanwhile.
   * Rejects `HOLT_CLOSED` when the database is closed meanwhile, and as `BlobStore.read` does.
   */
  async find<T>(
    key: Uint8Array,
    take: (isThere: boolean, large: Uint8Array | undefined) => T,
    wantsValue = false,
  ): Promise<T> {
    const { index, frames } = this.#engine
    let isThere = false
    let large: Uint8Array | undefined
    let version = -1
    /** Bytes of the large value that were read already. */
    let done = 0
    const look = (): void => {
      index.key.set(key)
      isThere = index.find(key.length)
      if (!isThere || !wantsValue || !index.foundLarge) {
        large = undefined
        return
      }
      if (large === undefined || index.foundVersion !== version) {
        large = new Uint8Array(index.foundLength)
        version = index.foundVersion
        done = 0
      }
      while (done < large.length) {
        const length = Math.min(index.foundPartBytes, large.length - done)
        index.readFound(large, done, done, length)
        done += length
      }
    }
    this.#engine.assertOpen()
    let miss = this.#try(look)
    if (miss === undefined) {
      const result = take(isThere, large)
      await this.#turns.settled()
      return result
    }
    const pinned: BlobId[] = []
    await this.#enter()
    try {
      while (miss !== undefined) {
        await frames.loadPages(miss.id, miss.fromBytes, miss.toBytes)
        pinned.push(miss.id)
        // Frames of parts that were read already may leave again: a large value has more than a small cache.
        if (done > 0 && pinned.length > MAX_PINS_OF_ONE) frames.unpin(pinned.splice(-2, 1)[0])
        this.#engine.assertOpen()
        miss = this.#try(look)
      }
      return take(isThere, large)
    } finally {
      for (const id of pinned) frames.unpin(id)
      this.#leave()
    }
  }

  /** A walk whose steps load what they miss, several frames at once. Reads nothing yet. */
  walk(options: CursorOptions): Cursor {
    return new Cursor(this.#engine.index, options)
  }

  /**
   * One step of a walk. Resolves to what `take` makes of it, which runs in the same breath as the step, while the cursor
   * is at its entry. `stays`: what is loaded is to stay in the cache as what lookups load. Rejects as {@link find} does.
   */
  async step<T>(cursor: Cursor, take: (step: CursorStep) => T, stays = false): Promise<T> {
    const { frames } = this.#engine
    let step: CursorStep = END
    const advance = (): void => {
      step = cursor.next()
    }
    await this.#turns.settled()
    this.#engine.assertOpen()
    let miss = this.#try(advance)
    if (miss === undefined) return take(step)
    const pinned: BlobId[] = []
    await this.#enter()
    try {
      while (miss !== undefined) {
        await this.#loadAhead(cursor, miss.id, stays)
        pinned.push(miss.id)
        this.#engine.assertOpen()
        miss = this.#try(advance)
      }
      return take(step)
    } finally {
      for (const id of pinned) frames.unpin(id)
      this.#leave()
    }
  }

  /** Loads and pins a frame, and beside it those that the walk comes to next. */
  async #loadAhead(cursor: Cursor, missing: BlobId, stays: boolean): Promise<void> {
    const { frames } = this.#engine
    const loads = [frames.load(missing, !stays)]
    // No more than the cache keeps of what walks load, lest one drive out the other.
    const limit = Math.min(READ_AHEAD_FRAMES, frames.capacityFrames >>> 4)
    for (const id of cursor.framesAhead(limit)) {
      if (id === missing) continue
      // What fails here is told by the step that comes there.
      const ahead = frames.load(id, !stays).then(
        () => {
          frames.unpin(id)
        },
        () => undefined,
      )
      loads.push(ahead)
    }
    await Promise.all(loads)
  }

  /** Runs a look at the tree that may not wait; what it misses. */
  #try(look: () => void): Miss | undefined {
    const { frames } = this.#engine
    frames.mayBlock = false
    try {
      look()
      return undefined
    } catch (error) {
      if (!(error instanceof FrameAbsent)) throw error
      // One object serves all misses of a cache.
      const { id, fromBytes, toBytes } = error
      return { id, fromBytes, toBytes }
    } finally {
      frames.mayBlock = true
    }
  }

  async #enter(): Promise<void> {
    if (this.#permits > 0) this.#permits -= 1
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  #leave(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#permits += 1
    else next()
  }
}
