import { LatchTable } from '@holt/blob-buf-pool'
import type { SlotTable } from './slot-table.js'

/**
 * Keeps other threads out of frames while the owner changes them: a slot is latched at the first change of an operation
 * and opened, with another version, when the operation is over. Readers take no latch; they compare versions.
 *
 * What nobody ends is ended by the microtask after it, so that a forgotten call makes readers wait and not hang.
 */
export class FrameChanges {
  readonly #latches: LatchTable
  #latched = new Int32Array(64)
  #count = 0

  constructor(slots: SlotTable) {
    this.#latches = new LatchTable(slots.latches, slots.versions)
  }

  /** The slot's bytes are about to change, for the first time in this operation or not. */
  begin(slot: number): void {
    const latched = this.#latched
    for (let i = this.#count - 1; i >= 0; i--) if (latched[i] === slot) return
    if (this.#count === 0) queueMicrotask(this.end)
    if (this.#count === latched.length) {
      this.#latched = new Int32Array(2 * latched.length)
      this.#latched.set(latched)
    }
    // Nobody else ever latches a slot, so this never waits.
    this.#latches.lockExclusive(slot)
    this.#latched[this.#count++] = slot
  }

  /** The operation is over: what it changed may be read again. */
  readonly end = (): void => {
    while (this.#count > 0) this.#latches.unlockExclusive(this.#latched[--this.#count])
  }
}
