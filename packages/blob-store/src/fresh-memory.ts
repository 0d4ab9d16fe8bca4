import type { Slab } from '@holt/blob-buf-pool'

type Populate = (bytes: Uint8Array) => Promise<void>

/** How many frames of memory writers find present ahead of them, and how far it may shrink before more is asked for. */
const AHEAD_FRAMES = 32
const LOW_FRAMES = 16
/** Who uses fewer frames than these is no heavy writer, and gets no memory in advance. */
const LEAST_FRAMES = 16

/**
 * Memory of a slab that nobody has touched. The first touch of a huge page takes the system from a tenth of a
 * millisecond to some milliseconds (on a virtual machine whose host has to find the memory too). So another thread makes
 * it present before writers come to it: slots are handed out from the lowest on.
 *
 * ```
 * slots   1 ………… highest ever used │ present, nobody has used them │ never touched …
 *                                    ◄──── 16 … 32 ahead of writers ────►
 * ```
 */
export class FreshMemory {
  readonly #slab: Slab
  readonly #populate: Populate | undefined
  /** No slot above this one was ever in use. */
  #highest = 0
  /** Slots up to this one were used or asked for. */
  #present = 0
  #asking = false

  constructor(slab: Slab, populate: Populate | undefined) {
    this.#slab = slab
    this.#populate = populate
  }

  /** A slot goes into use. */
  used(slot: number): void {
    if (slot <= this.#highest) return
    this.#highest = slot
    if (slot > this.#present) this.#present = slot
  }

  /** For writers that go on to use more and more: sees to it that some memory ahead of them is present, and waits for nothing. */
  keepAhead(): void {
    if (this.#asking || this.#populate === undefined) return
    if (this.#highest < LEAST_FRAMES || this.#present - this.#highest >= LOW_FRAMES) return
    const asked = this.#ask(this.#highest + AHEAD_FRAMES - this.#present)
    if (asked === undefined) return
    this.#asking = true
    void asked.finally(() => {
      this.#asking = false
    })
  }

  /** Makes so many frames that are free now present; resolves when they are. `undefined` where there is nothing to do. */
  ahead(frames: number): Promise<void> | undefined {
    const { frameCount, freeCount } = this.#slab
    const unused = this.#present - (frameCount - freeCount)
    return this.#ask(frames - Math.max(0, unused))
  }

  #ask(frames: number): Promise<void> | undefined {
    const slab = this.#slab
    const first = this.#present + 1
    const segment = slab.segments.at(first >>> slab.segmentShift)
    if (this.#populate === undefined || frames <= 0 || segment === undefined) return undefined
    const from = first & slab.segmentMask
    const count = Math.min(frames, Math.floor(segment.u8.length / slab.frameBytes) - from)
    if (count <= 0) return undefined
    this.#present += count
    return this.#populate(segment.u8.subarray(from * slab.frameBytes, (from + count) * slab.frameBytes))
  }
}
