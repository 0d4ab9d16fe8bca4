import { HoltError } from '@holt/errors'

/**
 * A lock-free stack of slot numbers in shared memory: `next` per slot, and one 64-bit head that holds a tag beside the
 * top of the stack. Every change raises the tag, so that a compare-exchange against an old head fails even when the
 * same slot is on top again (the ABA problem; R. K. Treiber, "Systems programming: coping with parallelism", 1986).
 *
 * ```
 * head      i64: tag (upper 32 bits) | top slot (lower 32 bits; 0: empty)
 * count     i32, limit i32 (slots 1 … limit - 1 exist)
 * next[i]   i32: the slot below i while i is free; LEASED while it is not
 * ```
 */
export class FreeList {
  readonly buffer: SharedArrayBuffer
  readonly #head: BigInt64Array
  readonly #meta: Int32Array
  readonly #next: Int32Array

  private constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer
    this.#head = new BigInt64Array(buffer, 0, 1)
    this.#meta = new Int32Array(buffer, 8, 2)
    this.#next = new Int32Array(buffer, 16)
  }

  /** For slots 1 … `capacity` - 1, none of which exists yet. */
  static create(capacity: number): FreeList {
    const list = new FreeList(new SharedArrayBuffer(16 + capacity * 4))
    Atomics.store(list.#meta, LIMIT, 1)
    return list
  }

  static attach(buffer: SharedArrayBuffer): FreeList {
    return new FreeList(buffer)
  }

  /** One more than the highest slot that exists. */
  get limit(): number {
    return Atomics.load(this.#meta, LIMIT)
  }
  /** Free slots. Exact while no other thread pushes or pops; never negative. */
  get count(): number {
    // A pop of a slot whose push has not been counted yet takes the counter below zero for a moment.
    return Math.max(0, Atomics.load(this.#meta, COUNT))
  }

  /** Brings slots up to `limit` - 1 into being, free; the lowest is on top. One thread at a time. */
  extend(limit: number): void {
    const from = this.limit
    if (!Number.isInteger(limit) || limit > this.#next.length)
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `a free list of ${String(this.#next.length)} slots cannot hold ${String(limit)}`,
      )
    Atomics.store(this.#meta, LIMIT, Math.max(limit, from))
    for (let slot = limit - 1; slot >= from; slot--) {
      Atomics.store(this.#next, slot, LEASED)
      this.push(slot)
    }
  }

  /** The top of the stack, or 0 when it is empty. */
  pop(): number {
    for (;;) {
      const head = Atomics.load(this.#head, 0)
      const slot = Number(head & LOW)
      if (slot === 0) return 0
      const next = Atomics.load(this.#next, slot)
      // Negative: another thread took the slot since; the head has moved on.
      if (next < 0) continue
      const swapped = (((head >> 32n) + 1n) << 32n) | BigInt(next)
      if (Atomics.compareExchange(this.#head, 0, head, BigInt.asIntN(64, swapped)) === head) {
        Atomics.store(this.#next, slot, LEASED)
        Atomics.sub(this.#meta, COUNT, 1)
        return slot
      }
    }
  }

  /** Throws `HOLT_LEASE` when the slot does not exist or is free already. */
  push(slot: number): void {
    if (!Number.isInteger(slot) || slot < 1 || slot >= this.limit) {
      throw new HoltError('HOLT_LEASE', `slot ${String(slot)} does not belong to this slab`)
    }
    if (Atomics.compareExchange(this.#next, slot, LEASED, RETURNING) !== LEASED) {
      throw new HoltError('HOLT_LEASE', `slot ${String(slot)} was released twice`)
    }
    for (;;) {
      const head = Atomics.load(this.#head, 0)
      Atomics.store(this.#next, slot, Number(head & LOW))
      const swapped = (((head >> 32n) + 1n) << 32n) | BigInt(slot)
      if (Atomics.compareExchange(this.#head, 0, head, BigInt.asIntN(64, swapped)) === head) {
        Atomics.add(this.#meta, COUNT, 1)
        return
      }
    }
  }
}

const COUNT = 0
const LIMIT = 1
const LOW = 0xffff_ffffn
const LEASED = -1
const RETURNING = -2
