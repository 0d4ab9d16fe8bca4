/**
 * What is known of every slot of the slab, column by column in shared memory, so that the I/O worker and reading
 * threads see and change it without a message.
 *
 * ```
 *   FREE ──allocate──► DIRTY ──cut──► FLUSHING ──commit──► CLEAN ──evict──► FREE
 *   FREE ──load──► LOADING ──► CLEAN ──first change──► DIRTY
 *                  LOADING holds a partial frame, too: one that the page table does not name
 *   FLUSHING ──changed or freed meanwhile──► SUPERSEDED ──commit or failure──► FREE
 *   FLUSHING ──failure──► DIRTY
 * ```
 *
 * Only the owner thread moves a slot along, except FLUSHING → CLEAN and SUPERSEDED → FREE, which the committer does
 * as soon as the flush returned: slots become clean even while the owner thread is blocked.
 */
export const FREE = 0
export const CLEAN = 1
export const DIRTY = 2
export const FLUSHING = 3
export const SUPERSEDED = 4
export const LOADING = 5
export type SlotState =
  typeof FREE | typeof CLEAN | typeof DIRTY | typeof FLUSHING | typeof SUPERSEDED | typeof LOADING

const COLUMNS = 6

export class SlotTable {
  readonly buffer: SharedArrayBuffer
  readonly blobIds: Int32Array
  readonly states: Int32Array
  /** Belongs to the slot, not to the frame in it: goes up at every load, write, swap and free; never reset. */
  readonly versions: Int32Array
  readonly latches: Int32Array
  readonly pins: Int32Array
  /** 1 since the slot was used last, 0 after the clock hand passed. */
  readonly clock: Int32Array

  private constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer
    const slots = buffer.byteLength / (4 * COLUMNS)
    const column = (index: number): Int32Array => new Int32Array(buffer, index * slots * 4, slots)
    this.blobIds = column(0)
    this.states = column(1)
    this.versions = column(2)
    this.latches = column(3)
    this.pins = column(4)
    this.clock = column(5)
  }

  /** For slots 0 … `slots` - 1. */
  static create(slots: number): SlotTable {
    return new SlotTable(new SharedArrayBuffer(slots * 4 * COLUMNS))
  }

  static attach(buffer: SharedArrayBuffer): SlotTable {
    return new SlotTable(buffer)
  }

  /** Moves a slot from one state to another; false if it is not in the first. */
  move(slot: number, from: SlotState, to: SlotState): boolean {
    return Atomics.compareExchange(this.states, slot, from, to) === from
  }
}
