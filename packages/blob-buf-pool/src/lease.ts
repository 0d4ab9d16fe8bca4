import { HoltError } from '@holt/errors'
import { PAGE_BYTES, type Slot, slotNumber } from './frame.js'
import type { Slab } from './slab.js'

/** A frame of memory on loan. Give it back with {@link release}, or let `using` do it. */
export interface Lease {
  /** The frame's bytes. Not to be touched after the release: somebody else may have them by then. */
  readonly bytes: Uint8Array
  /** Its place in the slab; 0 when the slab had none left and the bytes are ordinary memory. */
  readonly slot: Slot
  readonly released: boolean
  /** Throws `HOLT_LEASE` when it was given back already. */
  release(): void
  [Symbol.dispose](): void
}

export interface LeaseDeskOptions {
  /** Tells a view's address in memory: with it, frames that do not come from the slab are aligned to 4 KiB too. */
  readonly addressOf?: ((bytes: Uint8Array) => number) | undefined
  /** Called, some time later, for each lease that was collected without having been given back. */
  readonly onLost?: ((slot: Slot) => void) | undefined
}

export interface LeaseCounters {
  /** Leases out now, lost ones not counted. */
  readonly outstanding: number
  /** Leases that ordinary memory had to serve because the slab had no slot left. */
  readonly fallbacks: number
  /** Leases collected without having been given back. */
  readonly lost: number
}

/**
 * Lends frames of a slab to code that wants one for a while, a buffer for I/O for instance, and keeps the books.
 *
 * When no slot is free the lease gets ordinary memory of the same size instead: it behaves the same, except that its
 * slot is 0 and that it is nobody's registered buffer.
 *
 * A lease that is forgotten is counted and reported once the collector finds it. Its slot stays leased on purpose:
 * views of its bytes may well be alive where the lease is not, and handing the slot out again would let two owners
 * write to it.
 */
export class LeaseDesk {
  readonly slab: Slab
  readonly #options: LeaseDeskOptions
  readonly #watch: FinalizationRegistry<Slot>
  #outstanding = 0
  #fallbacks = 0
  #lost = 0

  constructor(slab: Slab, options: LeaseDeskOptions = {}) {
    this.slab = slab
    this.#options = options
    this.#watch = new FinalizationRegistry((slot) => {
      this.#outstanding--
      this.#lost++
      options.onLost?.(slot)
    })
  }

  get counters(): LeaseCounters {
    return { outstanding: this.#outstanding, fallbacks: this.#fallbacks, lost: this.#lost }
  }

  /** A frame whose bytes are whatever they were: overwrite them before reading. */
  lease(): Lease {
    const slot = this.slab.lease()
    if (slot === 0) this.#fallbacks++
    const bytes = slot === 0 ? this.#ordinaryFrame() : this.slab.bytes(slot)
    const lease = new DeskLease(this, bytes, slot)
    this.#outstanding++
    this.#watch.register(lease, slot, lease)
    return lease
  }

  /** A frame of zeros. */
  leaseZeroed(): Lease {
    const lease = this.lease()
    if (lease.slot !== 0) lease.bytes.fill(0)
    return lease
  }

  /** Takes a lease back. Throws `HOLT_LEASE` when another desk lent it, or when it was given back already. */
  release(lease: Lease): void {
    if (!(lease instanceof DeskLease) || lease.desk !== this) {
      throw new HoltError('HOLT_LEASE', `the lease of slot ${String(lease.slot)} was not made at this desk`)
    }
    lease.end()
    this.#watch.unregister(lease)
    this.#outstanding--
    if (lease.slot !== 0) this.slab.release(lease.slot)
  }

  #ordinaryFrame(): Uint8Array {
    const { addressOf } = this.#options
    const { frameBytes } = this.slab
    if (addressOf === undefined) return new Uint8Array(new SharedArrayBuffer(frameBytes))
    const buffer = new SharedArrayBuffer(frameBytes + PAGE_BYTES)
    const misaligned = addressOf(new Uint8Array(buffer)) % PAGE_BYTES
    return new Uint8Array(buffer, misaligned === 0 ? 0 : PAGE_BYTES - misaligned, frameBytes)
  }
}

class DeskLease implements Lease {
  readonly desk: LeaseDesk
  readonly bytes: Uint8Array
  readonly slot: Slot
  #released = false

  constructor(desk: LeaseDesk, bytes: Uint8Array, slot: number) {
    this.desk = desk
    this.bytes = bytes
    this.slot = slotNumber(slot)
  }

  get released(): boolean {
    return this.#released
  }

  release(): void {
    this.desk.release(this)
  }

  [Symbol.dispose](): void {
    this.release()
  }

  end(): void {
    if (this.#released) {
      throw new HoltError('HOLT_LEASE', `the lease of slot ${String(this.slot)} was released twice`)
    }
    this.#released = true
  }
}
