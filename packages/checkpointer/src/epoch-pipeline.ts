import type { BufferManager } from '@holt/blob-store'
import { HoltError } from '@holt/errors'
import type { JournalContract } from '@holt/journal'
import { type Epoch, type EpochReport, type EpochWorker, failedReport } from './epoch.js'

export interface EpochPipelineOptions {
  readonly frames: BufferManager
  readonly worker: EpochWorker
  /** Absent when the database keeps no journal. */
  readonly journal: JournalContract | undefined
  /** The engine's note for a cut taken now. */
  readonly note: () => Uint8Array
  /** Epochs that may be under way at once. Default 1. */
  readonly depth?: number | undefined
}

/** An epoch on its way. */
export interface EpochUnderWay {
  readonly number: number
  readonly frames: number
  /** Resolves, whatever it came to, once the cache knows of it: what failed is part of the next cut by then. */
  readonly ended: Promise<EpochReport>
  /** Resolves once the worker has it; to the reason why it never will. */
  readonly submitted: Promise<Error | undefined>
}

/**
 * The way of epochs from the cut to the report, strictly in order.
 *
 * 1. Cut, in one synchronous piece: the journal's position, the engine's note, all dirty frames *flushing*.
 * 2. The journal is made stable up to the cut; only then, and only behind its predecessor, the epoch goes to the worker.
 * 3. Committed: freed blob ids may be used again, journal segments wholly before the cut are recycled. Failed: the whole
 *    cut belongs to the next one.
 *
 * An epoch holds only what has changed since the one before. So if one fails, all that are under way behind it fail too,
 * and no cut is taken until all of them have come back: that one then has the changes of all. And nothing of the journal is
 * recycled before a cut that was taken behind the last failure is durable.
 */
export class EpochPipeline {
  readonly #options: EpochPipelineOptions
  readonly #depth: number
  readonly #underWay: EpochUnderWay[] = []
  #number = 0
  #lastCommitted = 0
  /** Epochs from this number on have what failed before them. */
  #recyclesFrom = 1
  #isFailing = false

  constructor(options: EpochPipelineOptions) {
    const { depth = 1 } = options
    if (!Number.isSafeInteger(depth) || depth < 1)
      throw new HoltError('HOLT_INVALID_ARGUMENT', `depth is ${String(depth)}; at least 1 is wanted`)
    this.#options = options
    this.#depth = depth
  }

  get length(): number {
    return this.#underWay.length
  }

  /** The epoch cut last, if it has not come back. */
  get newest(): EpochUnderWay | undefined {
    return this.#underWay.at(-1)
  }

  /** Whether a cut may be taken now. */
  get hasRoom(): boolean {
    return this.#underWay.length < this.#depth && !this.#isFailing
  }

  /** Resolves when an epoch has come back, at once without any. */
  async whenOneEnded(): Promise<void> {
    await this.#underWay.at(0)?.ended
  }

  /** Takes a cut and sends it on its way. Throws what `note` throws; nothing is cut then. */
  cut(): EpochUnderWay {
    const { frames, journal } = this.#options
    const position = journal?.position
    const note = this.#options.note()
    const cut = frames.cut()
    const predecessor = this.newest
    const epoch: Epoch = {
      number: ++this.#number,
      follows: predecessor?.number ?? this.#lastCommitted,
      frames: cut.frames,
      deletes: cut.deletes,
      note,
    }
    let tellSubmitted: (failure: Error | undefined) => void = () => undefined
    const submitted = new Promise<Error | undefined>((resolve) => {
      tellSubmitted = resolve
    })
    const ended = this.#commit(epoch, predecessor, tellSubmitted).then((report) => {
      if (report.isCommitted) {
        this.#lastCommitted = epoch.number
        frames.retired(cut, report.deletesLeft)
      } else {
        this.#isFailing = true
        frames.restore(cut)
      }
      if (report.error !== undefined) this.#recyclesFrom = this.#number + 1
      else if (position !== undefined && epoch.number >= this.#recyclesFrom) journal?.recycle(position)
      this.#underWay.shift()
      if (this.#underWay.length === 0) this.#isFailing = false
      return report
    })
    const underWay = { number: epoch.number, frames: cut.frames.length, ended, submitted }
    this.#underWay.push(underWay)
    return underWay
  }

  /** Resolves behind its predecessor's end. */
  async #commit(
    epoch: Epoch,
    predecessor: EpochUnderWay | undefined,
    tellSubmitted: (failure: Error | undefined) => void,
  ): Promise<EpochReport> {
    let report: EpochReport
    try {
      await this.#options.journal?.sync()
      const failure = await predecessor?.submitted
      if (failure !== undefined) throw failure
      const committed = this.#options.worker.submit(epoch)
      tellSubmitted(undefined)
      report = await committed
    } catch (caught) {
      const error = caught instanceof Error ? caught : new HoltError('HOLT_INTERNAL', String(caught))
      tellSubmitted(error)
      report = failedReport(epoch, error)
    }
    await predecessor?.ended
    return report
  }
}
