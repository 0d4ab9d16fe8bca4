import { type BlobId, blobId, FRAME_BYTES, Slab } from '@holt/blob-buf-pool'
import { CLEAN, FLUSHING, SlotTable } from '@holt/blob-store'
import { type Epoch, EpochCommitter, type EpochCommitterOptions } from '../src/index.js'
import { ManualClock } from './manual-clock.js'
import { ScriptedStore } from './scripted-store.js'

const MARK_OFFSET = 10_000
const SLOTS = 140

/** A committer over a scripted store, and a maker of epochs whose frames say by one byte what they are. */
export class EpochScene {
  readonly store: ScriptedStore
  readonly committer: EpochCommitter
  readonly clock = new ManualClock()
  readonly slots = SlotTable.create(SLOTS + 1)
  readonly #slab = Slab.create({ frameBytes: FRAME_BYTES, frameCount: SLOTS })
  #number = 0

  constructor(
    options: Partial<EpochCommitterOptions> & {
      readonly atomicFlush?: boolean
      /** Whether the first of a group can wait for a second. */
      readonly gathers?: boolean
    } = {},
  ) {
    const { atomicFlush, gathers = false, ...others } = options
    this.store = new ScriptedStore({ atomicFlush: atomicFlush ?? true })
    this.committer = new EpochCommitter({
      store: this.store,
      slab: this.#slab,
      slots: this.slots,
      io: gathers ? this.clock : undefined,
      ...others,
    })
  }

  /** The next epoch; it follows the one before unless told otherwise. `frames`: ids, and the byte that tells the image. */
  epoch(
    frames: readonly (readonly [id: number, mark: number])[],
    deletes: readonly number[] = [],
    follows = this.#number,
  ): Epoch {
    const number = ++this.#number
    return {
      number,
      follows,
      frames: frames.map(([id, mark]) => {
        const slot = this.#slab.lease()
        this.#slab.bytes(slot)[MARK_OFFSET] = mark
        this.slots.states[slot] = FLUSHING
        return { id: blobId(id), slot }
      }),
      deletes: deletes.map((id) => blobId(id)),
      note: Uint8Array.of(number),
    }
  }

  /** Which image of a frame is durable. */
  durableMark(id: number): number | undefined {
    return this.store.durable.get(id as BlobId)?.[MARK_OFFSET]
  }

  /** Whether the epoch's slots were given back as clean. */
  isRetired(epoch: Epoch): boolean {
    return epoch.frames.every(({ slot }) => this.slots.states[slot] === CLEAN)
  }
}
