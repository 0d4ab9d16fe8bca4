import { type ArtIndex, COMMON_PREFIX, Cursor, type CursorOptions, END, EntryRun } from '@holt/art-index'
import { HoltError } from '@holt/errors'
import type { Version } from './entries.js'
import type { BufferManager } from '@holt/blob-store'
import { FramePin } from './frame-pin.js'
import type { KeyCodec } from './key-encoding.js'
import type { ReadEngine } from './read-engine.js'
import { LIMITS, TREE_ID_BYTES } from './limits.js'

/** Looks at the bytes of a value, which are valid until it returns. What it returns is of no account; no promise. */
export type ValueVisitor = (value: Uint8Array, version: Version) => unknown

/** Looks at an entry of a walk, which is valid until it returns. `false` ends the walk, anything else goes on; no promise. */
export type EntryVisitor<K> = (entry: VisitedEntry<K>) => unknown

/** What a visit needs of an engine. */
export interface VisitEngine extends ReadEngine {
  readonly frames: BufferManager
  readonly visits: VisitWalks
  holdWrites(): void
  releaseWrites(): void
}

/**
 * Runs `look` over a value where it lies. While it runs, the frame is pinned and writes wait: a write that `look` makes
 * is applied behind it, so the bytes under it never change.
 */
export function visitFound(engine: VisitEngine, look: ValueVisitor): void {
  const { index } = engine
  const { foundBytes, foundOffset, foundLength } = index
  const version = index.foundVersion as Version
  let value: Uint8Array
  if (index.foundLarge) {
    value = new Uint8Array(foundLength)
    index.readFound(value, 0, 0, foundLength)
  } else value = foundBytes.subarray(foundOffset, foundOffset + foundLength)
  const pin = new FramePin(engine.frames)
  engine.holdWrites()
  pin.hold(foundBytes, foundOffset)
  try {
    refuseAsynchronous(look(value, version))
  } finally {
    pin.release()
    engine.releaseWrites()
  }
}

/**
 * Runs `look` over up to `limit` entries of a walk, as {@link visitFound} does for one value. Returns how many it was.
 * Plain entries are taken many at a time: while it runs nothing changes, and the frame in which they lie is pinned.
 */
export function visitEntries<K>(
  engine: VisitEngine,
  options: CursorOptions,
  keys: KeyCodec<K>,
  limit: number,
  look: EntryVisitor<K>,
): number {
  const walk = engine.visits.take()
  const { cursor, run } = walk
  cursor.restart(options)
  const pin = new FramePin(engine.frames)
  const entry = new VisitedEntry(walk, keys)
  let visited = 0
  let ahead = limit < RUN_ENTRIES ? limit : FIRST_RUN_ENTRIES
  engine.holdWrites()
  try {
    while (visited < limit) {
      engine.assertOpen()
      run.clear()
      run.withKeys = visited === 0 || entry.wantsKeys
      if (!run.withKeys && cursor.takesRuns) walk.behind.follow(cursor)
      const taken = cursor.take(run, Math.min(limit - visited, ahead))
      if (taken > 0) {
        ahead = Math.min(ahead * 2, RUN_ENTRIES)
        pin.hold(run.valueBytes, run.valueOffsets[0])
        for (let i = 0; i < taken; i++) {
          if (engine.closed) engine.assertOpen()
          entry.showTaken(i)
          visited++
          const answer = look(entry)
          if (answer === undefined) continue
          if (answer === false) return visited
          refuseAsynchronous(answer)
        }
        continue
      }
      const step = cursor.next()
      if (step === END) break
      if (step !== COMMON_PREFIX) pin.hold(cursor.valueBytes, cursor.valueOffset)
      entry.showStep(step === COMMON_PREFIX)
      visited++
      const answer = look(entry)
      if (answer === false) break
      if (answer !== undefined) refuseAsynchronous(answer)
    }
  } finally {
    entry.end()
    pin.release()
    engine.visits.give(walk)
    engine.releaseWrites()
  }
  return visited
}

/** Entries that are taken in one go; a visit that ends early has taken few in vain, and doubles them as it goes on. */
const RUN_ENTRIES = 128
const FIRST_RUN_ENTRIES = 8
const RUN_KEY_BYTES = 8_192

/** The memory of a visit. */
interface VisitWalk {
  readonly cursor: Cursor
  /** Stands before the run if that is without keys: should one be asked for, it walks there. */
  readonly behind: Cursor
  /** Its keys are without their tree's id. */
  readonly run: EntryRun
  readonly keyBuffer: Buffer
}

const MAX_SPARE_WALKS = 4

/** Memory of visits that are over: making it costs more than a short visit. */
export class VisitWalks {
  readonly #index: ArtIndex
  readonly #spare: VisitWalk[] = []

  constructor(index: ArtIndex) {
    this.#index = index
  }

  /** For one visit: those that a callback begins within another have memory of their own. */
  take(): VisitWalk {
    const spare = this.#spare.pop()
    if (spare !== undefined) return spare
    const run = new EntryRun(RUN_ENTRIES, TREE_ID_BYTES, LIMITS.maxKeyBytes, RUN_KEY_BYTES, Infinity)
    const index = this.#index
    const keyBuffer = Buffer.from(run.keyBytes.buffer)
    return { cursor: new Cursor(index), behind: new Cursor(index), run, keyBuffer }
  }

  give(walk: VisitWalk): void {
    if (this.#spare.length < MAX_SPARE_WALKS) this.#spare.push(walk)
  }
}

const NO_BYTES = Buffer.alloc(0)

/** It shows the cursor's step, not an entry that was taken. */
const STEP = -1
const NOWHERE = -1

/**
 * An entry where it lies: one object for a whole walk, good inside the callback only. It decodes and copies nothing
 * that is not asked for. The byte views are of shared memory: read them, never write, and keep copies.
 */
export class VisitedEntry<K> {
  readonly #walk: VisitWalk
  readonly #cursor: Cursor
  readonly #run: EntryRun
  readonly #keys: KeyCodec<K>
  /** @internal Whether a key was asked for: runs are taken with keys from then on. */
  wantsKeys = false
  /** To which entry of a run without keys `behind` has walked: there is one such run at most, as later ones have keys. */
  #walkedTo = NOWHERE
  /** Which entry of the run it is. */
  #at = STEP
  /** All keys of the run as one string, once one of them was asked for; `null`: they cannot be. */
  #text: string | null | undefined
  #stepKey = NO_BYTES
  #stepKeySource: Uint8Array | undefined
  /** A value in frames of its own, once it was asked for. */
  #gathered: Uint8Array | undefined
  #ended = false
  /** Whether it stands for all keys that begin with {@link key}. */
  isPrefix = false

  /** @internal */
  constructor(walk: VisitWalk, keys: KeyCodec<K>) {
    this.#walk = walk
    this.#cursor = walk.cursor
    this.#run = walk.run
    this.#keys = keys
  }

  /** @internal The entry is the run's, at `index`; a run is shown from its first entry on. */
  showTaken(index: number): void {
    if (index === 0) {
      this.#text = undefined
      this.#gathered = undefined
      this.isPrefix = false
    }
    this.#at = index
  }

  /** @internal The entry is what the cursor's last step came to. */
  showStep(isPrefix: boolean): void {
    this.#at = STEP
    this.#gathered = undefined
    this.isPrefix = isPrefix
  }

  /** The key, or common prefix with its delimiter. */
  get key(): K {
    this.#assertValid()
    const at = this.#at
    if (at === STEP || !this.#run.withKeys) {
      const cursor = this.#keyCursor()
      return this.#keys.read(this.#cursorKey(cursor), TREE_ID_BYTES, cursor.keyLength)
    }
    this.wantsKeys = true
    const { starts, ends, count } = this.#run
    const { keyBuffer } = this.#walk
    // Of one string that holds them all, keys are cut at a third of the price.
    if (this.#text === undefined) this.#text = this.#keys.textOf(keyBuffer, ends[count - 1]) ?? null
    if (this.#text === null) return this.#keys.read(keyBuffer, starts[at], ends[at])
    return this.#text.substring(starts[at], ends[at]) as K
  }

  /** The bytes of {@link key}. */
  get keyBytes(): Uint8Array {
    this.#assertValid()
    const at = this.#at
    if (at === STEP || !this.#run.withKeys) {
      const cursor = this.#keyCursor()
      const { buffer, byteOffset } = this.#cursorKey(cursor)
      return new Uint8Array(buffer, byteOffset + TREE_ID_BYTES, cursor.keyLength - TREE_ID_BYTES)
    }
    this.wantsKeys = true
    const { keyBytes, starts, ends } = this.#run
    return new Uint8Array(keyBytes.buffer, starts[at], ends[at] - starts[at])
  }

  /** The value's bytes, a copy if it lies in frames of its own; none for a common prefix. */
  get value(): Uint8Array {
    const memory = this.valueMemory
    return new Uint8Array(memory.buffer, memory.byteOffset + this.valueOffset, this.valueLength)
  }

  /**
   * The memory in which the value lies, from {@link valueOffset} on for {@link valueLength} bytes. To look at some bytes of
   * each value this is cheaper than the view that {@link value} makes.
   */
  get valueMemory(): Uint8Array {
    this.#assertValid()
    if (this.#at !== STEP) return this.#run.valueBytes
    const cursor = this.#cursor
    if (!cursor.valueLarge) return cursor.valueBytes
    if (this.#gathered === undefined) {
      this.#gathered = new Uint8Array(cursor.valueLength)
      cursor.readValue(this.#gathered, 0, 0, cursor.valueLength)
    }
    return this.#gathered
  }

  get valueOffset(): number {
    this.#assertValid()
    if (this.#at !== STEP) return this.#run.valueOffsets[this.#at]
    return this.#cursor.valueLarge ? 0 : this.#cursor.valueOffset
  }

  get valueLength(): number {
    this.#assertValid()
    return this.#at === STEP ? this.#cursor.valueLength : this.#run.valueLengths[this.#at]
  }

  /** 0 for a common prefix. */
  get version(): Version {
    this.#assertValid()
    return (this.#at === STEP ? this.#cursor.version : this.#run.versions[this.#at]) as Version
  }

  /** @internal The walk is over: whoever kept the entry learns that it is none any more. */
  end(): void {
    this.#ended = true
  }

  /** The cursor that holds the entry's key. */
  #keyCursor(): Cursor {
    this.wantsKeys = true
    if (this.#at === STEP) return this.#cursor
    const { behind } = this.#walk
    // The tree does not change while it is visited, and what was taken are keys without a gap.
    for (; this.#walkedTo < this.#at; this.#walkedTo++) behind.next()
    return behind
  }

  #cursorKey({ key }: Cursor): Buffer {
    // The cursor's key buffer is replaced when it grows.
    if (this.#stepKeySource !== key) {
      this.#stepKeySource = key
      this.#stepKey = Buffer.from(key.buffer as ArrayBuffer, key.byteOffset, key.length)
    }
    return this.#stepKey
  }

  #assertValid(): void {
    if (this.#ended)
      throw new HoltError('HOLT_INVALID_ARGUMENT', 'an entry of a visit is valid inside the callback only')
  }
}

function refuseAsynchronous(answer: unknown): void {
  if (typeof answer !== 'object' || answer === null || !('then' in answer)) return
  // Whatever it does later comes too late; its failure must not go unheard either.
  Promise.resolve(answer).catch(() => undefined)
  throw new HoltError(
    'HOLT_INVALID_ARGUMENT',
    'the callback of a visit is asynchronous; what it looks at is valid until it returns',
  )
}
