import { type BlobId, FRAME_BYTES, PAGE_BYTES, type Slot } from '@holt/blob-buf-pool'
import { FrameAbsent, MIN_USABLE_BYTES } from '../src/index.js'
import { ArrayFrameSource } from './array-frame-source.js'

/**
 * Evicted frames are read by exactly the bytes that were asked for; every other byte of the slot is noise, so that a
 * lookup which peeks at one finds something else.
 */
export class PagedFrameSource extends ArrayFrameSource {
  /** Bytes that were asked for, since the last reset. */
  pagedBytes = 0
  /** How often bytes behind page 0 were asked for. */
  nodeReads = 0
  readonly #absent = new FrameAbsent(0 as BlobId)
  #slot = 0
  /** Frames are this full at most. */
  readonly #noiseBytes = MIN_USABLE_BYTES
  #holds = 0

  readPages(id: BlobId, fromBytes: number, toBytes: number): Slot {
    const frame = this.evictedBytes(id)
    if (frame === undefined) return this.fault(id)
    if (fromBytes < 0 || toBytes > FRAME_BYTES || fromBytes >= toBytes)
      throw new RangeError(`bytes ${String(fromBytes)} to ${String(toBytes)}`)
    if (!this.mayBlock) {
      Object.assign(this.#absent, { id, fromBytes, toBytes })
      throw this.#absent
    }
    if (this.#slot === 0) this.#slot = this.slab.lease()
    const bytes = this.slab.bytes(this.#slot as Slot)
    if (this.#holds !== id) bytes.fill(0xd6, 0, this.#noiseBytes)
    this.#holds = id
    bytes.set(frame.subarray(fromBytes, toBytes), fromBytes)
    this.pagedBytes += toBytes - fromBytes
    if (toBytes > PAGE_BYTES) this.nodeReads++
    return this.#slot as Slot
  }
}
