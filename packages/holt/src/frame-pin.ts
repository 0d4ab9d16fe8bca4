import type { BufferManager } from '@holt/blob-store'
import { FRAME_SHIFT } from '@holt/blob-buf-pool'

/** Keeps the frame that a caller looks into from being evicted: one at a time. */
export class FramePin {
  readonly #frames: BufferManager
  /** The segment's bytes and the frame's number within it; -1: none is pinned. */
  #bytes: Uint8Array | undefined
  #frame = -1
  #slot = 0

  constructor(frames: BufferManager) {
    this.#frames = frames
  }

  /** Pins the frame in which `bytes[offset]` lies, `bytes` being a segment of the slab, and lets the former one go. */
  hold(bytes: Uint8Array, offset: number): void {
    const frame = offset >>> FRAME_SHIFT
    if (bytes === this.#bytes && frame === this.#frame) return
    this.release()
    const { slab, slots } = this.#frames
    const { segments, segmentShift } = slab
    let segment = 0
    while (segment < segments.length && segments[segment].u8 !== bytes) segment++
    // Bytes of another place are the caller's own: nothing evicts them.
    if (segment === segments.length) return
    this.#bytes = bytes
    this.#frame = frame
    this.#slot = (segment << segmentShift) | frame
    Atomics.add(slots.pins, this.#slot, 1)
  }

  release(): void {
    if (this.#bytes === undefined) return
    this.#bytes = undefined
    this.#frame = -1
    Atomics.sub(this.#frames.slots.pins, this.#slot, 1)
  }
}
