import { FrameAbsent, LatchTable, MAX_BLOB_ID, Slab, blobId } from '@holt/blob-buf-pool'
import type { BlobId, SharedSlab, Slot } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import { SlotTable } from './slot-table.js'

/** What another thread needs to read the frames of a cache. Goes through `postMessage`. */
export interface SharedFrames {
  readonly slab: SharedSlab
  readonly slots: SharedArrayBuffer
  readonly pageTable: SharedArrayBuffer
  /** One word: the blob id of the tree's root frame. */
  readonly root: SharedArrayBuffer
}

/**
 * Thrown where a reading met something in the middle of a change, or so much that it cannot be right: repeat the
 * reading. One object serves all throws.
 */
export class ReadConflict extends Error {
  override readonly name = 'ReadConflict'
  constructor() {
    super('a frame changed while it was read')
  }
}

/** Thrown where a frame lies in a part of the slab that this thread has not adopted yet. */
export class SegmentAbsent extends Error {
  override readonly name = 'SegmentAbsent'
  constructor() {
    super('the slab has grown')
  }
}

/** Looks at a frame that is being changed, before it gives way. */
const SPINS = 256
/** Readings that did not hold, one behind the other, before the thread sleeps for a moment. */
const ATTEMPTS_PER_PAUSE = 16
const PAUSE_MS = 0.05
/** Every sixteenth sleeps for a twentieth of a millisecond at least. */
const MAX_ATTEMPTS = 10_000_000
/** No reading enters more frames: one for each byte of a key, and those of a large value. */
const MAX_FRAMES = 8_192

/**
 * The frames of another thread's cache, for reading only. The index takes it for its source of frames.
 *
 * A *reading* is what happens between {@link begin} and {@link holds}. Every frame that it enters is noted with the
 * version of its slot; it counts only if none of them has changed by its end. Until then anything may have been read:
 * whatever was found, or thrown, means something only after {@link holds} has said true.
 *
 * So the frames, as they were entered:
 *
 * ```
 *   word of the page table ─► slot ─► its version, not while it is latched ─► the word again, unchanged
 *   … the frame is read, it leads to the next one …
 *   at the end: the versions of all slots, unchanged
 * ```
 *
 * The parent is unchanged from before the child was entered until after it was read, so the child was its child all the
 * time. The root's parent is a word that names it, read before all and compared at the end: under an open view a change copies
 * the root, and the one from before stays as it was, so its version alone would not tell. Nothing is written for a reading but
 * the slot's clock bit, so readers do not disturb one another.
 */
export class SharedFramesReader {
  readonly slab: Slab
  /** Of zeros: so the index asks {@link fault} for every frame that it enters. */
  readonly pageTable = new Int32Array(new SharedArrayBuffer(4 * (MAX_BLOB_ID + 1)))
  readonly residency = new Int32Array(1)
  readonly recency: Int32Array
  /** Called with the root's id before a reading, if it is not that of the reading before. */
  onRoot: (id: BlobId) => void = () => undefined
  readonly #rootWord: Int32Array
  #root = 0
  readonly #words: Int32Array
  readonly #latches: LatchTable
  readonly #visited = new Int32Array(2 * MAX_FRAMES)
  #count = 0
  readonly #absent = new FrameAbsent(blobId(0))
  readonly #conflict = new ReadConflict()
  readonly #segmentAbsent = new SegmentAbsent()

  constructor(shared: SharedFrames) {
    this.slab = Slab.attach(shared.slab)
    const slots = SlotTable.attach(shared.slots)
    this.#words = new Int32Array(shared.pageTable)
    this.#rootWord = new Int32Array(shared.root)
    this.#latches = new LatchTable(slots.latches, slots.versions)
    this.recency = slots.clock
  }

  /** Takes over what the slab has grown by. */
  adopt(slab: SharedSlab): void {
    this.slab.adopt(slab)
  }

  begin(): void {
    this.#count = 0
    this.residency[0]++
    const root = Atomics.load(this.#rootWord, 0)
    if (root === this.#root) return
    this.#root = root
    this.onRoot(root as BlobId)
  }

  /** Whether everything since {@link begin} was read from frames that have not changed. */
  holds(): boolean {
    const visited = this.#visited
    for (let i = 0; i < this.#count; i++) {
      if (!this.#latches.validate(visited[2 * i], visited[2 * i + 1])) return false
    }
    return Atomics.load(this.#rootWord, 0) === this.#root
  }

  /**
   * The slot of a frame, noted. Throws {@link FrameAbsent} when it is not in the cache, {@link SegmentAbsent} when this
   * thread does not see that part of the slab, {@link ReadConflict} when it is being changed for long, or cannot exist.
   */
  fault(id: BlobId): Slot {
    const words = this.#words
    if (!(id > 0 && id < words.length)) throw this.#conflict
    for (let spin = 0; spin < SPINS; spin++) {
      const slot = Atomics.load(words, id)
      if (slot <= 0) {
        this.#absent.id = id
        throw this.#absent
      }
      const version = this.#latches.tryReadVersion(slot)
      if (version < 0 || Atomics.load(words, id) !== slot) continue
      const { slab } = this
      if (slot >>> slab.segmentShift >= slab.segments.length) throw this.#segmentAbsent
      if (this.#count === MAX_FRAMES) throw this.#conflict
      const at = 2 * this.#count++
      this.#visited[at] = slot
      this.#visited[at + 1] = version
      this.recency[slot] = 1
      return slot as Slot
    }
    throw this.#conflict
  }

  /**
   * Runs `body`, which only reads, until one run of it holds, and returns what that one returned. What it throws is thrown
   * only if the run holds, so {@link FrameAbsent} and {@link SegmentAbsent} are true. Throws `HOLT_BUSY` when changes come
   * so fast that none of very many runs held: half a minute of them, at least.
   */
  read<T>(body: () => T): T {
    for (let attempt = 1; ; attempt++) {
      this.begin()
      try {
        const result = body()
        if (this.holds()) return result
      } catch (error) {
        if (error !== this.#conflict && this.holds()) throw error
      }
      if (attempt % ATTEMPTS_PER_PAUSE !== 0) continue
      if (attempt > MAX_ATTEMPTS) {
        throw new HoltError(
          'HOLT_BUSY',
          `what was read has changed meanwhile, ${String(attempt)} times in a row; its writer leaves no moment in between`,
        )
      }
      pause()
    }
  }

  writable(): never {
    throw readOnly()
  }
  allocate(): never {
    throw readOnly()
  }
  free(): never {
    throw readOnly()
  }
}

const nobody = new Int32Array(new SharedArrayBuffer(4))

/** Lets the writer finish; shortest of sleeps. */
function pause(): void {
  try {
    Atomics.wait(nobody, 0, 0, PAUSE_MS)
  } catch {
    // A thread that may not sleep tries again at once.
  }
}

function readOnly(): HoltError {
  return new HoltError('HOLT_READ_ONLY', 'frames of another thread are for reading only')
}
