import {
  type BlobId,
  blobId,
  ENVELOPE_BYTES,
  FRAME_BYTES,
  PAGE_BYTES,
  Slab,
  type Slot,
  USED_UNITS,
} from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import { FrameAbsent, type FrameSource } from '../src/index.js'

export interface ArrayFrameSourceOptions {
  /** Slots in all. Address space only: a frame takes memory as it is written. */
  readonly frames: number
  /** `writable` gives a fresh slot each time, as when the old one were being written out. */
  readonly moveOnWrite?: boolean
}

/**
 * A frame source for tests: every frame stays resident unless the test evicts it. An evicted frame's bytes are kept
 * aside, and {@link fault} brings them back, or throws {@link FrameAbsent} while {@link mayBlock} is false.
 */
export class ArrayFrameSource implements FrameSource {
  readonly slab: Slab
  readonly pageTable: Int32Array
  readonly residency = new Int32Array(1)
  readonly recency: Int32Array
  readonly moveOnWrite: boolean
  /** Whether `fault` may load a frame; else it throws `FrameAbsent`. */
  mayBlock = true
  faults = 0
  /** Frames that were asked for to be written once. */
  writtenOnce = 0
  readonly #evicted = new Map<number, Uint8Array>()
  readonly #absent: FrameAbsent = new FrameAbsent(blobId(0))
  #highest = 0
  readonly #freeIds: number[] = []

  constructor(options: ArrayFrameSourceOptions) {
    this.slab = Slab.create({ frameCount: options.frames })
    this.pageTable = new Int32Array(options.frames + 2)
    this.recency = new Int32Array(options.frames + 1)
    this.moveOnWrite = options.moveOnWrite ?? false
  }

  /** Ids in use, resident or evicted, ascending. */
  get ids(): BlobId[] {
    const ids: BlobId[] = []
    for (let id = 1; id <= this.#highest; id++) {
      if (this.pageTable[id] !== 0) ids.push(blobId(id))
    }
    return ids
  }

  isResident(id: BlobId): boolean {
    return this.pageTable[id] > 0
  }

  /** The bytes of a resident frame. */
  bytes(id: BlobId): Uint8Array {
    return this.slab.bytes(this.#slotOf(id))
  }

  /** Takes a frame out of memory. */
  evict(id: BlobId): void {
    const slot = this.#slotOf(id)
    this.#evicted.set(id, this.#used(slot).slice())
    this.#release(slot)
    this.pageTable[id] = -1
  }

  /** The bytes of an evicted frame. */
  evictedBytes(id: BlobId): Uint8Array | undefined {
    return this.#evicted.get(id)
  }

  fault(id: BlobId): Slot {
    const kept = this.#evicted.get(id)
    if (kept === undefined) throw new HoltError('HOLT_CORRUPT', `blob ${String(id)} does not exist`)
    if (!this.mayBlock) {
      this.#absent.id = id
      throw this.#absent
    }
    const slot = this.#lease()
    this.slab.bytes(slot).set(kept)
    this.#evicted.delete(id)
    this.pageTable[id] = slot
    this.faults++
    return slot
  }

  writable(id: BlobId): Slot {
    const slot = this.#slotOf(id)
    if (!this.moveOnWrite) return slot
    const copy = this.#lease()
    this.slab.bytes(copy).set(this.#used(slot))
    this.pageTable[id] = copy
    // Whoever still reads the old slot shall notice.
    this.#release(slot)
    return copy
  }

  allocate(isWrittenOnce = false): BlobId {
    if (isWrittenOnce) this.writtenOnce++
    const slot = this.#lease()
    const id = this.#freeIds.pop() ?? ++this.#highest
    this.slab.bytes(slot).fill(0, ENVELOPE_BYTES, PAGE_BYTES)
    this.pageTable[id] = slot
    return blobId(id)
  }

  free(id: BlobId): void {
    if (this.#evicted.delete(id)) this.residency[0] = this.residency[0] + 1
    else this.#release(this.#slotOf(id))
    this.pageTable[id] = 0
    this.#freeIds.push(id)
  }

  /** What a store keeps of a frame: its bytes up to the end of the nodes. The rest of another slot may be anything. */
  #used(slot: Slot): Uint8Array {
    const { u32 } = this.slab.segmentOf(slot)
    const units = u32[(this.slab.offsetOf(slot) + USED_UNITS) >>> 2]
    return this.slab.bytes(slot).subarray(0, Math.min(Math.max(units * 8, PAGE_BYTES), FRAME_BYTES))
  }

  #slotOf(id: BlobId): Slot {
    const slot = this.pageTable[id]
    if (slot <= 0) throw new HoltError('HOLT_INTERNAL', `blob ${String(id)} is not resident`)
    return slot as Slot
  }

  #lease(): Slot {
    const slot = this.slab.lease()
    if (slot === 0)
      throw new HoltError('HOLT_OUT_OF_MEMORY', `all ${String(this.slab.frameCount)} frames are in use`)
    return slot
  }

  #release(slot: Slot): void {
    this.residency[0] = this.residency[0] + 1
    this.slab.bytes(slot).fill(0xee, ENVELOPE_BYTES, ENVELOPE_BYTES + 4_096)
    this.slab.release(slot)
  }
}
