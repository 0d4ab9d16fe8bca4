import { type BlobId, PAGE_BYTES, type Slab, type Slot, usedPages } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'

/**
 * Frames of which only some pages were read. A frame is read by *chunks*: four pages cost a disk hardly more than one,
 * and mostly hold the next node of a descent too.
 */
const CHUNK_PAGES = 4
export const CHUNK_BYTES = CHUNK_PAGES * PAGE_BYTES
/** By how many pages a whole read becomes as dear as one more chunk: see {@link PartialFrame.isWorthWhole}. */
const PAGES_PER_CHUNK_COST = 16

/** A run of bytes to be read: whole pages of one frame. */
export interface PageRun {
  readonly offsetBytes: number
  readonly lengthBytes: number
}

export class PartialFrame {
  readonly id: BlobId
  readonly slot: Slot
  readonly bytes: Uint8Array
  readonly #chunks: number
  /** One bit a chunk. */
  #valid = 0
  #reads = 0
  /** Used since the last search for one to drop. */
  recent = true

  /** `bytes` is the frame's slot, its first chunk read and checked. */
  constructor(id: BlobId, slot: Slot, bytes: Uint8Array) {
    this.id = id
    this.slot = slot
    this.bytes = bytes
    this.#chunks = Math.ceil(usedPages(bytes) / CHUNK_PAGES)
    this.add({ offsetBytes: 0, lengthBytes: CHUNK_BYTES })
  }

  get header(): Uint8Array {
    return this.bytes.subarray(0, PAGE_BYTES)
  }

  /** The first run that is wanting of bytes [fromBytes, toBytes); `undefined` when all are here. */
  missing(fromBytes: number, toBytes: number): PageRun | undefined {
    const end = Math.ceil(toBytes / CHUNK_BYTES)
    if (end > this.#chunks)
      throw new HoltError(
        'HOLT_CORRUPT',
        `blob ${String(this.id)}: bytes up to ${String(toBytes)} are wanted of a frame that uses fewer`,
      )
    let from = Math.floor(fromBytes / CHUNK_BYTES)
    while (from < end && this.#isValid(from)) from++
    if (from === end) return undefined
    let to = from + 1
    while (to < end && !this.#isValid(to)) to++
    return { offsetBytes: from * CHUNK_BYTES, lengthBytes: (to - from) * CHUNK_BYTES }
  }

  #isValid(chunk: number): boolean {
    return ((this.#valid >>> chunk) & 1) === 1
  }

  /** The run was read into the slot and checked. */
  add({ offsetBytes, lengthBytes }: PageRun): void {
    const end = (offsetBytes + lengthBytes) / CHUNK_BYTES
    for (let chunk = offsetBytes / CHUNK_BYTES; chunk < end; chunk++) this.#valid |= 1 << chunk
    this.#reads += 1
  }

  get isWhole(): boolean {
    for (let chunk = 0; chunk < this.#chunks; chunk++) if (!this.#isValid(chunk)) return false
    return true
  }

  /**
   * Whether as much was spent on chunks of this frame as reading it whole would have cost: from there on that is the
   * better bet. Twice as much where another frame must leave for it: one key looked up shall not drive it out.
   */
  isWorthWhole(hasRoom: boolean): boolean {
    const cost = 1 + (this.#chunks * CHUNK_PAGES) / PAGES_PER_CHUNK_COST
    return this.#reads >= (hasRoom ? cost : 2 * cost)
  }
}

/**
 * The partial frames of a cache, by id. The page table goes on calling their blobs absent, so that nobody takes one for
 * a frame; each thread that reads keeps its own. They take ordinary slots: as many as are free, and where the cache is full a
 * few, which replace each other.
 */
export class PartialFrames {
  readonly #slab: Slab
  readonly #pins: Int32Array
  readonly #limit: number
  readonly #frames = new Map<BlobId, PartialFrame>()

  constructor(slab: Slab, pins: Int32Array, limit: number) {
    this.#slab = slab
    this.#pins = pins
    this.#limit = limit
  }

  get count(): number {
    return this.#frames.size
  }

  /** No more of them should drive out whole frames. */
  get areMany(): boolean {
    return this.#frames.size >= this.#limit
  }

  /** More than that: they have room that nothing else has wanted so far. */
  get areTooMany(): boolean {
    return this.#frames.size > this.#limit
  }

  get(id: BlobId): PartialFrame | undefined {
    return this.#frames.get(id)
  }

  /** The frame whose first chunk was read into `slot`. */
  begin(id: BlobId, slot: Slot): PartialFrame {
    const partial = new PartialFrame(id, slot, this.#slab.bytes(slot))
    this.#frames.set(id, partial)
    return partial
  }

  /** Takes one out; its slot is the caller's. */
  take(id: BlobId): PartialFrame | undefined {
    const partial = this.#frames.get(id)
    if (partial !== undefined) this.#frames.delete(id)
    return partial
  }

  /** Takes the one out that can be missed best, by second chance; `undefined` when all are pinned. */
  takeOldest(): PartialFrame | undefined {
    for (let steps = 2 * this.#frames.size; steps > 0; steps--) {
      const [oldest] = this.#frames.values()
      this.#frames.delete(oldest.id)
      if (!oldest.recent && this.#pins[oldest.slot] === 0) return oldest
      oldest.recent = false
      this.#frames.set(oldest.id, oldest)
    }
    return undefined
  }
}
