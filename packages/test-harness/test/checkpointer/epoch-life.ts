import { type BlobId, FRAME_BYTES, type Slot } from '@holt/blob-buf-pool'
import { type BlobStore, BufferManager } from '@holt/blob-store'
import { EpochCommitter, EpochPipeline, type EpochReport } from '@holt/checkpointer'
import type { Io } from '@holt/uring-native'

import { SeededRandom } from '../../src/index.js'

const MARK_OFFSET = 10_000

/** Which blobs there are, and the byte that tells the image of each. */
export type Marks = ReadonlyMap<number, number>

export interface EpochLifeOptions {
  readonly seed: number
  readonly store: BlobStore
  /** Epochs under way at once, and those committed as one. */
  readonly depth: number
  readonly groupEpochs: number
  readonly io?: Pick<Io, 'setTimer'>
}

/** A cache whose frames are changed, freed and cut at random, and what its image may show. */
export class EpochLife {
  readonly pipeline: EpochPipeline
  /** What there was at each cut, by its number; number 0 is before all of them. */
  readonly cuts: Marks[] = [new Map()]
  /** The newest cut that was reported to be durable. */
  committed = 0
  readonly reports: EpochReport[] = []
  readonly #frames: BufferManager
  readonly #committer: EpochCommitter
  readonly #random: SeededRandom
  readonly #marks = new Map<BlobId, number>()
  #mark = 0

  constructor({ seed, store, depth, groupEpochs, io }: EpochLifeOptions) {
    this.#random = new SeededRandom(seed)
    this.#frames = new BufferManager({ store, capacityFrames: 32, maxFrames: 256 })
    const { slab, slots } = this.#frames
    this.#committer = new EpochCommitter({ store, slab, slots, groupEpochs, io, queueCapacity: 4 })
    this.pipeline = new EpochPipeline({
      frames: this.#frames,
      worker: this.#committer,
      journal: undefined,
      depth,
      // The note says which cut it is of.
      note: () => Uint8Array.of(this.cuts.length % 256, this.cuts.length >>> 8),
    })
  }

  /** Some changes, and perhaps a cut. */
  step(): void {
    const random = this.#random
    for (let changes = random.between(0, 4); changes > 0; changes--) this.#change()
    if (random.chance(0.6) && this.pipeline.hasRoom) this.cut()
  }

  #change(): void {
    const random = this.#random
    const ids = [...this.#marks.keys()]
    if (ids.length < 3 || (ids.length < 12 && random.chance(0.3))) {
      this.#write(this.#frames.allocate())
      return
    }
    const id = ids[random.between(0, ids.length - 1)]
    if (random.chance(0.25)) {
      this.#frames.free(id)
      this.#marks.delete(id)
    } else {
      this.#frames.writable(id)
      this.#write(id)
    }
  }

  #write(id: BlobId): void {
    this.#mark = (this.#mark % 250) + 1
    this.#frames.slab.bytes(this.#frames.pageTable[id] as Slot)[MARK_OFFSET] = this.#mark
    this.#marks.set(id, this.#mark)
  }

  cut(): void {
    const { number, ended } = this.pipeline.cut()
    this.cuts[number] = new Map(this.#marks)
    void ended.then((report) => {
      this.reports.push(report)
      if (report.isCommitted) this.committed = number
    })
  }

  get hasDirt(): boolean {
    return this.#frames.hasDirt
  }

  /** Until nothing is under way. */
  async settled(): Promise<void> {
    while (this.pipeline.length > 0) await this.pipeline.whenOneEnded()
  }

  async end(): Promise<void> {
    await this.settled()
    await this.#committer.stop()
  }
}

/** What a store shows, and the number of the cut that its note is of. */
export async function shownBy(store: BlobStore): Promise<{ readonly cut: number; readonly marks: Marks }> {
  const marks = new Map<number, number>()
  const frame = new Uint8Array(FRAME_BYTES)
  for (const id of store.list()) {
    await store.read(id, frame)
    marks.set(id, frame[MARK_OFFSET])
  }
  const note = store.note()
  return { cut: note === undefined ? 0 : note[0] + 256 * note[1], marks }
}
