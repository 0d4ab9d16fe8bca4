import { HoltError } from '@holt/errors'
import { FRAME_BYTES, PAGE_BYTES, type Slot, slotNumber } from './frame.js'
import { FreeSlots } from './free-slots.js'
import { type Registration, type RegistrationOptions, registrationsOf } from './registration.js'
import { checkShared, isCount, isFrameSize, isPowerOfTwo, largestSegment, MAX_SLOTS } from './slab-sizes.js'

/** One shared buffer of a slab, seen through every element width that hot code needs. Offsets start at its first slot. */
export interface SlabSegment {
  readonly buffer: SharedArrayBuffer
  readonly u8: Uint8Array
  readonly u16: Uint16Array
  readonly u32: Uint32Array
  readonly f64: Float64Array
}

export interface SlabOptions {
  /** Bytes of a slot: a multiple of 4 KiB, at most 1 GiB. Default one frame, 512 KiB. */
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
  /** Called with the memory of each new segment before any of it is touched, e.g. to ask for huge pages. */
  readonly prepare?: ((bytes: Uint8Array) => unknown) | undefined
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
  readonly freeSlots: SharedArrayBuffer
}

/** Since the slab was made, by all threads together. Exact while none of them is in the middle of a call. */
export interface SlabCounters {
  readonly leases: number
  readonly releases: number
  /** Leases that were refused because no slot was free. */
  readonly exhaustions: number
  /** The most slots that were ever out at a time. */
  readonly highWater: number
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
 * Segments are at most 1 GiB: typed-array arithmetic is twice as slow beyond 2 GiB. Their bytes keep their addresses
 * for as long as anybody holds a view of them, the slab itself or not: there is nothing to close.
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
  readonly #freeSlots: FreeSlots
  readonly #addressOf: ((bytes: Uint8Array) => number) | undefined
  readonly #prepare: ((bytes: Uint8Array) => unknown) | undefined
  readonly #isOwner: boolean
  /** Slots from here on lie in segments that this thread has not adopted. */
  #seenLimit = 0

  private constructor(
    frameBytes: number,
    segmentFrameCount: number,
    maxFrameCount: number,
    freeSlots: FreeSlots,
    role: { readonly isOwner: boolean } & Pick<SlabOptions, 'addressOf' | 'prepare'>,
  ) {
    this.frameBytes = frameBytes
    this.segmentShift = Math.round(Math.log2(segmentFrameCount))
    this.segmentMask = segmentFrameCount - 1
    this.maxFrameCount = maxFrameCount
    this.#freeSlots = freeSlots
    this.#isOwner = role.isOwner
    this.#addressOf = role.addressOf
    this.#prepare = role.prepare
  }

  /** Throws `HOLT_INVALID_ARGUMENT` on sizes out of range, `HOLT_OUT_OF_MEMORY` when the memory is not to be had. */
  static create(options: SlabOptions): Slab {
    const { frameBytes = FRAME_BYTES, frameCount, maxFrameCount = frameCount } = options
    if (!isFrameSize(frameBytes)) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `frameBytes is ${String(frameBytes)}; a multiple of 4096 up to 2^30 is wanted`,
      )
    }
    if (!isCount(maxFrameCount, 1, MAX_SLOTS - 1) || !isCount(frameCount, 1, maxFrameCount)) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `frameCount ${String(frameCount)} and maxFrameCount ${String(maxFrameCount)} are out of order or range; ` +
          `at most ${String(MAX_SLOTS - 1)} slots can be numbered`,
      )
    }
    const largest = largestSegment(frameBytes)
    const segmentFrameCount =
      options.segmentFrameCount ?? Math.min(largest, 2 ** Math.ceil(Math.log2(maxFrameCount + 1)))
    if (!isPowerOfTwo(segmentFrameCount) || segmentFrameCount > largest) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `segmentFrameCount is ${String(segmentFrameCount)}; a power of two up to ${String(largest)} is wanted`,
      )
    }
    const freeSlots = FreeSlots.create(maxFrameCount + 1)
    const slab = new Slab(frameBytes, segmentFrameCount, maxFrameCount, freeSlots, {
      isOwner: true,
      addressOf: options.addressOf,
      prepare: options.prepare,
    })
    slab.grow(frameCount)
    return slab
  }

  /**
   * The same slab, seen from another thread. It may lease and release, not grow. Throws `HOLT_INVALID_ARGUMENT` on
   * anything that {@link share} does not give.
   */
  static attach(shared: SharedSlab): Slab {
    checkShared(shared)
    const { frameBytes, segmentFrameCount, maxFrameCount } = shared
    const freeSlots = FreeSlots.attach(shared.freeSlots, maxFrameCount + 1)
    const slab = new Slab(frameBytes, segmentFrameCount, maxFrameCount, freeSlots, { isOwner: false })
    slab.adopt(shared)
    return slab
  }

  share(): SharedSlab {
    return {
      frameBytes: this.frameBytes,
      segmentFrameCount: this.segmentMask + 1,
      maxFrameCount: this.maxFrameCount,
      segments: [...this.#shared],
      freeSlots: this.#freeSlots.buffer,
    }
  }

  /**
   * Takes over segments that another thread has added since. Throws `HOLT_INVALID_ARGUMENT` when they are another
   * slab's.
   */
  adopt(shared: SharedSlab): void {
    checkShared(shared)
    const isSame =
      shared.frameBytes === this.frameBytes &&
      shared.segmentFrameCount === this.segmentMask + 1 &&
      this.#freeSlots.isSame(FreeSlots.attach(shared.freeSlots, this.maxFrameCount + 1))
    if (!isSame) {
      throw new HoltError('HOLT_INVALID_ARGUMENT', 'the segments to adopt belong to another slab')
    }
    for (const segment of shared.segments.slice(this.segments.length)) this.#addSegment(segment)
  }

  /** Slots that exist, leased or free; slot 0 is not counted. */
  get frameCount(): number {
    return this.#freeSlots.limit - 1
  }
  /**
   * Slots that can be leased now. Exact while no other thread leases or releases; one that was terminated in the middle
   * of it can leave this one too low for good, never too high.
   */
  get freeCount(): number {
    return this.#freeSlots.limit - 1 - this.#freeSlots.heldCount
  }
  /** A new object each time: for statistics, not for hot code. */
  get counters(): SlabCounters {
    const { leases, releases, exhaustions, highWater } = this.#freeSlots
    return { leases, releases, exhaustions, highWater }
  }

  /**
   * Adds slots, up to `maxFrameCount` in all, and returns how many. Throws `HOLT_INVALID_ARGUMENT` on a negative or
   * fractional count, `HOLT_UNSUPPORTED` on a thread that only attached, `HOLT_OUT_OF_MEMORY` when the memory is not
   * to be had; then no slot was added.
   */
  grow(frames: number): number {
    if (!Number.isSafeInteger(frames) || frames < 0) {
      throw new HoltError('HOLT_INVALID_ARGUMENT', `a slab cannot grow by ${String(frames)} frames`)
    }
    if (!this.#isOwner) {
      throw new HoltError(
        'HOLT_UNSUPPORTED',
        'a slab is grown by the thread that made it, not by one that attached',
      )
    }
    const first = this.#freeSlots.limit
    const last = Math.min(first + frames, this.maxFrameCount + 1)
    while (this.#seenLimit < last) this.#addSegment(this.#newSegment())
    this.#freeSlots.extend(last)
    return last - first
  }

  #newSegment(): { buffer: SharedArrayBuffer; startBytes: number; frames: number } {
    const frames = Math.min(this.segmentMask + 1, this.maxFrameCount + 1 - this.#seenLimit)
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
    this.#prepare?.(new Uint8Array(buffer))
    const misaligned = this.#addressOf ? this.#addressOf(new Uint8Array(buffer)) % PAGE_BYTES : 0
    return { buffer, startBytes: misaligned === 0 ? 0 : PAGE_BYTES - misaligned, frames }
  }

  #addSegment(segment: { buffer: SharedArrayBuffer; startBytes: number; frames: number }): void {
    const { buffer, startBytes, frames } = segment
    this.segments.push(viewsOf(buffer, startBytes, frames * this.frameBytes))
    this.#shared.push({ buffer, startBytes, frames })
    this.#seenLimit += frames
  }

  /**
   * A slot that nobody else has, or 0 when none is free. Its bytes are whatever they were. A thread that attached gets
   * no slot of segments that it has not adopted.
   */
  lease(): Slot {
    const slot = this.#freeSlots.take()
    if (slot < this.#seenLimit) return slot as Slot
    this.#freeSlots.give(slot)
    return slotNumber(0)
  }

  /** Gives a slot back. Throws `HOLT_LEASE` when it is not leased, or on its way to another thread. */
  release(slot: Slot): void {
    this.#freeSlots.give(slot)
  }

  /**
   * Prepares a leased slot's way to another thread: only {@link takeOver} with the ticket that this returns gives it a
   * new owner; until then it cannot be released. Throws `HOLT_LEASE` when the slot is not leased.
   */
  handOver(slot: Slot): number {
    if (!this.#freeSlots.isHeld(slot)) {
      throw new HoltError('HOLT_LEASE', `slot ${String(slot)} is not leased and cannot be handed over`)
    }
    return this.#freeSlots.leaveTicket(slot)
  }

  /** Ends what {@link handOver} began. Throws `HOLT_LEASE` when somebody has taken the slot over already. */
  takeOver(slot: Slot, ticket: number): void {
    if (!this.#freeSlots.takeTicket(slot, ticket)) {
      throw new HoltError('HOLT_LEASE', `slot ${String(slot)} was taken over already, or never handed over`)
    }
  }

  segmentOf(slot: Slot): SlabSegment {
    const segment = this.segments.at(slot >>> this.segmentShift)
    if (segment === undefined) {
      throw new HoltError('HOLT_LEASE', `slot ${String(slot)} does not exist, or its segment was not adopted`)
    }
    return segment
  }

  /** Byte offset of the slot in its segment. */
  offsetOf(slot: Slot): number {
    return (slot & this.segmentMask) * this.frameBytes
  }

  /**
   * The slot's bytes, as a new view. For I/O; hot code indexes the segment's own views instead. Throws `HOLT_LEASE`
   * when there is no such slot.
   */
  bytes(slot: Slot): Uint8Array {
    if (!isCount(slot, 1, this.frameCount)) {
      throw new HoltError('HOLT_LEASE', `slot ${String(slot)} does not exist`)
    }
    const offset = this.offsetOf(slot)
    return this.segmentOf(slot).u8.subarray(offset, offset + this.frameBytes)
  }

  /**
   * The ranges of memory that a ring registers, of the slots that exist now. See {@link Registration}.
   * Throws `HOLT_INVALID_ARGUMENT` on limits out of range.
   */
  registrations(options: RegistrationOptions): readonly Registration[] {
    return registrationsOf(this, options)
  }
}
