import type { ArtIndex } from '@holt/art-index'
import type { BufferManager } from '@holt/blob-store'
import { EpochPipeline, type EpochWorker } from '@holt/checkpointer'
import { HoltError, isHoltError } from '@holt/errors'
import type { Lsn } from '@holt/journal'
import { encodeNote, noteOfTree } from './engine-note.js'
import type { Snapshots } from './snapshots.js'

/** Slots that one record should find free: the frames of its path, and those of a split. */
const SLOTS_PER_RECORD = 4

export interface ReplayCheckpointsParts {
  readonly frames: BufferManager
  readonly worker: EpochWorker
  /** Makes lock and store ready for changes. */
  readonly settle: () => Promise<void>
  /** Makes the journal stable up to a position. */
  readonly settleJournal: (position: Lsn) => Promise<void>
}

/** How far replay has come: all before `position` is in the tree, and nothing behind it. */
export interface ReplayedPart {
  readonly index: ArtIndex
  readonly snapshots: Snapshots
  readonly seq: number
  readonly seqFloor: number
  readonly position: Lsn
}

/**
 * Checkpoints of a replay that has changed more frames than the cache has room for: an image of what the journal has come to
 * so far, whose position is that of the next record. Whatever it is interrupted by, the next opening goes on from the newest
 * of them, or from the image before it.
 *
 * The journal up to that position is made stable first, by the same rewriting in place that comes before the first write:
 * records that were read may be in the system's memory only, and an image whose position a power loss takes out of the
 * journal would be the end of the store.
 */
export class ReplayCheckpoints {
  readonly #parts: ReplayCheckpointsParts
  readonly #pipeline: EpochPipeline
  #next: ReplayedPart | undefined
  /** Once there was none for want of space: not before so many frames are dirty. */
  #notBeforeFrames = 0
  #taken = 0

  constructor(parts: ReplayCheckpointsParts) {
    const { frames, worker } = parts
    this.#parts = parts
    this.#pipeline = new EpochPipeline({ frames, worker, journal: undefined, note: () => this.#note() })
  }

  get taken(): number {
    return this.#taken
  }

  /**
   * Sees to it that the next record finds slots without the cache outgrowing its capacity; if nothing can leave it, replay
   * should take a checkpoint first. Cheap.
   */
  get isDue(): boolean {
    const { frames } = this.#parts
    return frames.dirtyFrames >= this.#notBeforeFrames && !frames.reserve(SLOTS_PER_RECORD)
  }

  /**
   * Rejects with the reason why there is none. On a full disk there need not be one: then replay goes on in a cache that
   * grows, and the next is due when twice as much has changed.
   */
  async take(part: ReplayedPart): Promise<void> {
    try {
      await this.#take(part)
    } catch (error) {
      if (!isHoltError(error, 'HOLT_NO_SPACE')) throw error
      this.#notBeforeFrames = 2 * this.#parts.frames.dirtyFrames
    }
  }

  async #take(part: ReplayedPart): Promise<void> {
    const { settle, settleJournal } = this.#parts
    await settle()
    await settleJournal(part.position)
    this.#next = part
    const { error } = await this.#pipeline.cut().ended
    if (error !== undefined) throw error
    this.#taken += 1
  }

  #note(): Uint8Array {
    if (this.#next === undefined) throw new HoltError('HOLT_INTERNAL', 'a cut before replay has begun')
    const { index, snapshots, seq, seqFloor, position } = this.#next
    return encodeNote({ ...noteOfTree(index, snapshots), seq, seqFloor, journalPosition: position })
  }
}
