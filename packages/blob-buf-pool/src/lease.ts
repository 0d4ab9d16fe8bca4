import { HoltError } from '@holt/errors'
import { type Slot, slotNumber } from './frame.js'
import { isOrdinaryFrame, ordinaryFrame, ticketOf } from './ordinary-frame.js'
import type { Slab } from './slab.js'
import { isCount, MAX_SLOTS } from './slab-sizes.js'

/**
 * A frame of memory on loan. Give it back with {@link release}, or let `using` do it. It belongs to the thread that
 * leased it; {@link LeaseDesk.handOver} sends it to another.
 */
export interface Lease {
  /** The frame's bytes. Throws `HOLT_LEASE` after the release: somebody else may have them by then. */
  readonly bytes: Uint8Array
  /** Its place in the slab; 0 when the slab had none left and the bytes are ordinary memory. */
  readonly slot: Slot
  readonly released: boolean
  /** Throws `HOLT_LEASE` when it was given back already. */
  release(): void
  [Symbol.dispose](): void
  /** Slot, size and, where it can be told, address. */
  toString(): string
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

/** A lease on its way to another thread: goes through `postMessage`, and serves once. */
export interface LeaseMessage {
  readonly slot: number
  readonly ticket: number
  /** The memory itself, when it is not the slab's. */
  readonly bytes: Uint8Array | undefined
}

/**
 * Lends frames of a slab to code that wants one for a while, a buffer for I/O for instance, and keeps the books.
 *
 * When no slot is free the lease gets ordinary memory of the same size instead: it behaves the same, except that its
 * slot is 0 and that it is nobody's registered buffer.
 *
 * A lease that is forgotten is counted and reported once the collector finds it, whether the desk is still there or
 * not. Its slot stays leased on purpose: views of its bytes may well be alive where the lease is not, and handing the
 * slot out again would let two owners write to it.
 *
 * To have a lease watched by the collector costs several times the lease itself. Most leases end in the turn in which
 * they began; only those that live longer are watched.
 */
export class LeaseDesk {
  readonly slab: Slab
  readonly addressOf: ((bytes: Uint8Array) => number) | undefined
  readonly #books: Books
  /** One view a slot, made when first wanted. */
  readonly #views: (Uint8Array | undefined)[] = []
  /**
   * Leases of this turn that are still out, from place 1 on. At place 0 stands one that is never lent: while no lease
   * is alive the engine would forget their shape, and with it all compiled code that knows it, at every collection.
   */
  readonly #young: DeskLease[] = [new DeskLease(this, new Uint8Array(0), slotNumber(0), WATCHED)]
  #turnIsWatched = false

  constructor(slab: Slab, options: LeaseDeskOptions = {}) {
    this.slab = slab
    this.addressOf = options.addressOf
    this.#books = { outstanding: 0, fallbacks: 0, lost: 0, onLost: options.onLost }
  }

  get counters(): LeaseCounters {
    const { outstanding, fallbacks, lost } = this.#books
    return { outstanding, fallbacks, lost }
  }

  /** A frame whose bytes are whatever they were: overwrite them before reading. Throws `HOLT_OUT_OF_MEMORY`. */
  lease(): Lease {
    const slot = this.slab.lease()
    if (slot !== 0) return this.#lend(this.#viewOf(slot), slot)
    const bytes = ordinaryFrame(this.slab.frameBytes, this.addressOf)
    this.#books.fallbacks++
    return this.#lend(bytes, slot)
  }

  /** A frame of zeros. */
  leaseZeroed(): Lease {
    const lease = this.lease()
    if (lease.slot !== 0) lease.bytes.fill(0)
    return lease
  }

  /**
   * A frame with a copy of another's bytes. Throws `HOLT_LEASE` when that was given back, `HOLT_INVALID_ARGUMENT` when
   * it has another size than this slab's frames.
   */
  leaseCopy(source: Lease): Lease {
    const { bytes } = source
    if (bytes.length !== this.slab.frameBytes) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `a frame of ${String(bytes.length)} bytes cannot be copied into one of ${String(this.slab.frameBytes)}`,
      )
    }
    const lease = this.lease()
    lease.bytes.set(bytes)
    return lease
  }

  /** Takes a lease back. Throws `HOLT_LEASE` when another desk lent it, or when it was given back already. */
  release(lease: Lease): void {
    const { slot } = this.#end(lease)
    if (slot !== 0) this.slab.release(slot)
  }

  /**
   * Ends the lease here without giving its frame back; {@link takeOver}, at a desk of the same slab on any thread,
   * makes a lease of the message again, once. Throws as {@link release} does.
   */
  handOver(lease: Lease): LeaseMessage {
    const { slot, memory } = this.#end(lease)
    if (slot !== 0) return { slot, ticket: this.slab.handOver(slot), bytes: undefined }
    Atomics.store(ticketOf(memory), 0, 1)
    return { slot, ticket: 1, bytes: memory }
  }

  /**
   * Throws `HOLT_LEASE` when the message has served already, `HOLT_INVALID_ARGUMENT` when it is none of this slab's
   * size.
   */
  takeOver(message: LeaseMessage): Lease {
    const { slot, ticket, bytes } = message
    if (!isCount(slot, 0, MAX_SLOTS - 1) || !isCount(ticket, -(2 ** 31), 2 ** 31 - 1)) {
      throw new HoltError('HOLT_INVALID_ARGUMENT', 'the message holds no lease')
    }
    if (slot !== 0) {
      this.slab.takeOver(slotNumber(slot), ticket)
      return this.#lend(this.#viewOf(slot), slot)
    }
    if (!isOrdinaryFrame(bytes, this.slab.frameBytes)) {
      throw new HoltError('HOLT_INVALID_ARGUMENT', 'the message holds no frame of this size')
    }
    if (Atomics.compareExchange(ticketOf(bytes), 0, 1, 0) !== 1) {
      throw new HoltError('HOLT_LEASE', 'the frame was taken over already')
    }
    return this.#lend(bytes, slot)
  }

  #viewOf(slot: number): Uint8Array {
    return (this.#views[slot] ??= this.slab.bytes(slotNumber(slot)))
  }

  #lend(bytes: Uint8Array, slot: number): DeskLease {
    const lease = new DeskLease(this, bytes, slotNumber(slot), this.#young.length)
    this.#books.outstanding++
    this.#young.push(lease)
    if (!this.#turnIsWatched) {
      this.#turnIsWatched = true
      void settled.then(this.#watchYoung)
    }
    return lease
  }

  readonly #watchYoung = (): void => {
    this.#turnIsWatched = false
    const young = this.#young
    for (let place = 1; place < young.length; place++) {
      const lease = young[place]
      lease.place = WATCHED
      lostLeases.register(lease, { books: this.#books, slot: lease.slot }, lease)
    }
    young.length = 1
  }

  #end(lease: Lease): DeskLease {
    if (!(lease instanceof DeskLease)) throw new HoltError('HOLT_LEASE', 'what is given back is no lease')
    if (!lease.isOf(this)) {
      throw new HoltError('HOLT_LEASE', `the lease of slot ${String(lease.slot)} was not made at this desk`)
    }
    const { place } = lease
    if (place === ENDED) {
      throw new HoltError('HOLT_LEASE', `the lease of slot ${String(lease.slot)} was released twice`)
    }
    lease.place = ENDED
    this.#books.outstanding--
    if (place === WATCHED) {
      lostLeases.unregister(lease)
      return lease
    }
    const last = this.#young.pop()
    if (last !== undefined && last !== lease) {
      this.#young[place] = last
      last.place = place
    }
    return lease
  }
}

interface Books {
  outstanding: number
  fallbacks: number
  lost: number
  readonly onLost: ((slot: Slot) => void) | undefined
}

/** One for all desks of the thread: a desk's own would be collected together with the desk, and report nothing. */
const lostLeases = new FinalizationRegistry<{ readonly books: Books; readonly slot: Slot }>(
  ({ books, slot }) => {
    books.outstanding--
    books.lost++
    books.onLost?.(slot)
  },
)

const settled = Promise.resolve()
/** What {@link DeskLease.place} says of a lease that is in no list of its desk's. */
const WATCHED = 0
const ENDED = -1

class DeskLease implements Lease {
  readonly slot: Slot
  /** Index among the desk's leases of this turn, `WATCHED` or `ENDED`. */
  place: number
  readonly #desk: LeaseDesk
  readonly #memory: Uint8Array

  constructor(desk: LeaseDesk, memory: Uint8Array, slot: Slot, place: number) {
    this.slot = slot
    this.place = place
    this.#desk = desk
    this.#memory = memory
  }

  get bytes(): Uint8Array {
    if (this.released) {
      throw new HoltError(
        'HOLT_LEASE',
        `the bytes of slot ${String(this.slot)} were used after the lease's release`,
      )
    }
    return this.#memory
  }

  /** The bytes, whoever has them now. */
  get memory(): Uint8Array {
    return this.#memory
  }

  get released(): boolean {
    return this.place === ENDED
  }

  release(): void {
    this.#desk.release(this)
  }

  [Symbol.dispose](): void {
    this.release()
  }

  isOf(desk: LeaseDesk): boolean {
    return this.#desk === desk
  }

  toString(): string {
    const { slot, released } = this
    const place = slot === 0 ? 'ordinary memory' : `slot ${String(slot)}`
    const address = this.#desk.addressOf?.(this.#memory)
    const at = address === undefined ? '' : ` at 0x${address.toString(16)}`
    return `lease of ${place}: ${String(this.#memory.length)} bytes${at}${released ? ', released' : ''}`
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }
}
