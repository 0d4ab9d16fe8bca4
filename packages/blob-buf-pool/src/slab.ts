import { HoltError } from '@holt/errors'
import { FRAME_BYTES, PAGE_BYTES, type Slot } from './frame.js'
import { FreeList } from './free-list.js'

/** One shared buffer of a slab, seen through every element width that hot code needs. Offsets start at its first slot. */
export interface SlabSegment {
  readonly buffer: SharedArrayBuffer
  readonly u8: Uint8Array
  readonly u16: Uint16Array
  readonly u32: Uint32Array
  readonly f64: Float64Array
}

export interface SlabOptions {
  /** Bytes of a slot: a power of two, 4 KiB or more. Default one frame, 512 KiB. */
  readonly frameBytes?: number
  /** Slots to start with. */
  readonly frameCount: number
  /** Slots it may grow to. Address space only: memory is taken when a slot is first written. Default `frameCount`. */
  readonly maxFrameCount?: number
  /** Slots of one segment: a power of two. Default as many as fit 1 GiB, or `maxFrameCount` if that is less. */
  readonly segmentFrameCount?: number
  /**
   * Tells a view's address in memory (the native addon can). With it, slots are aligned to 4 KiB, as direct I/O and
   * registered buffers need; without, to 8 bytes.
   */
  readonly addressOf?: ((bytes: Uint8Array) => number) | undefined
}

/** What another thread needs to see the same slab: goes through `postMessage`. */
export interface SharedSlab {
  readonly frameBytes: number
  readonly segmentFrameCount: number
  readonly maxFrameCount: number
  readonly segments: readonly {
    readonly buffer: SharedArrayBuffer
    readonly startBytes: number
    readonly frames: number
  }[]
  readonly freeList: SharedArrayBuffer
}

const MAX_SEGMENT_BYTES = 2 ** 30
export const MAX_SLOTS = 2 ** 24

function isPowerOfTwo(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0 && 2 ** Math.round(Math.log2(value)) === value
}

function viewsOf(buffer: SharedArrayBuffer, startBytes: number, lengthBytes: number): SlabSegment {
  return {
    buffer,
    u8: new Uint8Array(buffer, startBytes, lengthBytes),
    u16: new Uint16Array(buffer, startBytes, lengthBytes / 2),
    u32: new Uint32Array(buffer, startBytes, lengthBytes / 4),
    f64: new Float64Array(buffer, startBytes, lengthBytes / 8),
  }
}

/**
 * Shared memory cut into slots of one size. Slots are handed out by {@link lease} and come back by {@link release},
 * from any thread that attached. Slot 0 is never leased.
 *
 * Segments are at most 1 GiB: typed-array arithmetic is twice as slow beyond 2 GiB.
 */
export class Slab {
  readonly frameBytes: number
  /** log2 of the slots of a segment: `slot >>> segmentShift` is the segment, `slot & segmentMask` the place in it. */
  readonly segmentShift: number
  readonly segmentMask: number
  readonly maxFrameCount: number
  /** Grows at its end only; never shrinks. */
  readonly segments: SlabSegment[] = []
  readonly #shared: { buffer: SharedArrayBuffer; startBytes: number; frames: number }[] = []
  readonly #freeList: FreeList
  readonly #addressOf: ((bytes: Uint8Array) => number) | undefined

  private constructor(
    frameBytes: number,
    segmentFrameCount: number,
    maxFrameCount: number,
    freeList: FreeList,
    addressOf: ((bytes: Uint8Array) => number) | undefined,
  ) {
    this.frameBytes = frameBytes
    this.segmentShift = Math.round(Math.log2(segmentFrameCount))
    this.segmentMask = segmentFrameCount - 1
    this.maxFrameCount = maxFrameCount
    this.#freeList = freeList
    this.#addressOf = addressOf
  }

  /** Throws `HOLT_INVALID_ARGUMENT` on sizes out of range, `HOLT_OUT_OF_MEMORY` when the memory is not to be had. */
  static create(options: SlabOptions): Slab {
    const frameBytes = options.frameBytes ?? FRAME_BYTES
    const frameCount = options.frameCount
    const maxFrameCount = options.maxFrameCount ?? frameCount
    if (!isPowerOfTwo(frameBytes) || frameBytes < PAGE_BYTES || frameBytes > MAX_SEGMENT_BYTES) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `frameBytes is ${String(frameBytes)}; a power of two from 4096 to 2^30 is wanted`,
      )
    }
    if (
      !Number.isSafeInteger(frameCount) ||
      frameCount < 1 ||
      !Number.isSafeInteger(maxFrameCount) ||
      maxFrameCount < frameCount
    ) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `frameCount ${String(frameCount)} and maxFrameCount ${String(maxFrameCount)} are out of order or range`,
      )
    }
    if (maxFrameCount >= MAX_SLOTS) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `maxFrameCount is ${String(maxFrameCount)}; at most ${String(MAX_SLOTS - 1)} slots can be numbered`,
      )
    }
    const largest = MAX_SEGMENT_BYTES / frameBytes
    const segmentFrameCount =
      options.segmentFrameCount ?? Math.min(largest, 2 ** Math.ceil(Math.log2(maxFrameCount + 1)))
    if (!isPowerOfTwo(segmentFrameCount) || segmentFrameCount > largest) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `segmentFrameCount is ${String(segmentFrameCount)}; a power of two up to ${String(largest)} is wanted`,
      )
    }
    const slab = new Slab(
      frameBytes,
      segmentFrameCount,
      maxFrameCount,
      FreeList.create(maxFrameCount + 1),
      options.addressOf,
    )
    slab.grow(frameCount)
    return slab
  }

  /** The same slab, seen from another thread. It may lease and release, not grow. */
  static attach(shared: SharedSlab): Slab {
    const slab = new Slab(
      shared.frameBytes,
      shared.segmentFrameCount,
      shared.maxFrameCount,
      FreeList.attach(shared.freeList),
      undefined,
    )
    slab.adopt(shared)
    return slab
  }

  share(): SharedSlab {
    return {
      frameBytes: this.frameBytes,
      segmentFrameCount: this.segmentMask + 1,
      maxFrameCount: this.maxFrameCount,
      segments: [...this.#shared],
      freeList: this.#freeList.buffer,
    }
  }

  /** Takes over segments that another thread has added since. */
  adopt(shared: SharedSlab): void {
    for (const { buffer, startBytes, frames } of shared.segments.slice(this.segments.length)) {
      this.segments.push(viewsOf(buffer, startBytes, frames * this.frameBytes))
      this.#shared.push({ buffer, startBytes, frames })
    }
  }

  /** Slots that exist, leased or free; slot 0 is not counted. */
  get frameCount(): number {
    return this.#freeList.limit - 1
  }
  /** Slots that can be leased now. Exact when no other thread leases or releases. */
  get freeCount(): number {
    return this.#freeList.count
  }

  /**
   * Adds slots, up to `maxFrameCount` in all, and returns how many. Only the thread that made the slab may call this.
   * Throws `HOLT_INVALID_ARGUMENT` on a negative or fractional count, `HOLT_OUT_OF_MEMORY` when the memory is not to
   * be had; then no slot was added.
   */
  grow(frames: number): number {
    if (!Number.isSafeInteger(frames) || frames < 0) {
      throw new HoltError('HOLT_INVALID_ARGUMENT', `a slab cannot grow by ${String(frames)} frames`)
    }
    const first = this.#freeList.limit
    const last = Math.min(first + frames, this.maxFrameCount + 1)
    while (this.segments.length << this.segmentShift < last) this.#addSegment()
    this.#freeList.extend(last)
    return last - first
  }

  #addSegment(): void {
    const firstSlot = this.segments.length << this.segmentShift
    const frames = Math.min(this.segmentMask + 1, this.maxFrameCount + 1 - firstSlot)
    const lengthBytes = frames * this.frameBytes
    let buffer: SharedArrayBuffer
    try {
      buffer = new SharedArrayBuffer(lengthBytes + (this.#addressOf ? PAGE_BYTES : 0))
    } catch (cause) {
      throw new HoltError(
        'HOLT_OUT_OF_MEMORY',
        `no ${String(lengthBytes)} bytes of shared memory for a slab segment`,
        { cause },
      )
    }
    const misaligned = this.#addressOf ? this.#addressOf(new Uint8Array(buffer)) % PAGE_BYTES : 0
    const startBytes = misaligned === 0 ? 0 : PAGE_BYTES - misaligned
    this.segments.push(viewsOf(buffer, startBytes, lengthBytes))
    this.#shared.push({ buffer, startBytes, frames })
  }

  /** A slot that nobody else has, or 0 when none is free. Its bytes are whatever they were. */
  lease(): Slot {
    return this.#freeList.pop() as Slot
  }

  /** Gives a slot back. Throws `HOLT_LEASE` when it is not leased. */
  release(slot: Slot): void {
    this.#freeList.push(slot)
  }

  segmentOf(slot: Slot): SlabSegment {
    const segment = this.segments.at(slot >>> this.segmentShift)
    if (segment === undefined) throw new HoltError('HOLT_LEASE', `slot ${String(slot)} does not exist`)
    return segment
  }

  /** Byte offset of the slot in its segment. */
  offsetOf(slot: Slot): number {
    return (slot & this.segmentMask) * this.frameBytes
  }

  /** The slot's bytes, as a new view. For I/O; hot code indexes the segment's own views instead. */
  bytes(slot: Slot): Uint8Array {
    const offset = this.offsetOf(slot)
    return this.segmentOf(slot).u8.subarray(offset, offset + this.frameBytes)
  }
}
