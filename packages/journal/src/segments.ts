import { HoltError, isHoltError } from '@holt/errors'
import type { Io, IoFile, Mapping } from '@holt/uring-native'
import { lsnSegment, MAX_SEGMENT_NUMBER, type Lsn } from './contract.js'
import type { JournalEventListener } from './events.js'
import { ignoreRejection } from './promises.js'
import type { Salts } from './record.js'
import type { Retention } from './retention.js'
import { encodeSegmentHeader, FIRST_RECORD_OFFSET } from './segment-header.js'
import { CREATING_NAME, journalPath, SPARE_NAME, segmentName } from './segment-names.js'

/** A segment that is, or is about to be, appended to. */
export interface LiveSegment extends Salts {
  readonly number: number
  readonly path: string
  readonly sizeBytes: number
  readonly seqFloor: number
  readonly file: IoFile
  readonly mapping: Mapping | undefined
}

/** The offset from which the segment after this one is to be prepared. */
export function halfFull(segment: LiveSegment): number {
  return (FIRST_RECORD_OFFSET + segment.sizeBytes) / 2
}

/** What the header of a new segment says beside what {@link SegmentFiles} knows itself. */
export interface SegmentPlan {
  readonly priorSeq: number
  readonly number: number
  readonly seqFloor: number
  readonly predecessorNumber: number
  readonly predecessorEndBytes: number
  readonly markSegment: number
  readonly markOffset: number
}

/** A segment of the log that nothing is appended to any more. */
export interface ClosedSegment {
  readonly number: number
  readonly path: string
  readonly sizeBytes: number
  /** By then nothing was appended to it any more: milliseconds since 1970. */
  readonly endedUnixMs: number
}

/** What is to be put away; of some its size is not known. */
export type Expendable = Pick<ClosedSegment, 'number' | 'path'> & Partial<Pick<ClosedSegment, 'sizeBytes'>>

export interface SegmentFilesOptions {
  readonly io: Io
  readonly directory: string
  readonly storeId: Uint8Array
  readonly segmentBytes: number
  /** In [0, 1). */
  readonly random: () => number
  /** Whether live segments are to be mapped. */
  readonly mapped: boolean
  readonly onEvent: JournalEventListener
  /** What of the covered segments stays. */
  readonly retention: Retention
  /** Called before a segment's file is used again or removed. */
  readonly onPutAway: (number: number) => void
}

const ZERO_CHUNK_BYTES = 2 ** 20

/**
 * The segment files of one directory: makes them ahead, heads them, takes those that are covered out of the log, and
 * keeps one as a spare. Whatever changes a name runs one after the other.
 *
 * A new segment: the spare (or a file written with zeros and synced, which becomes the spare first) gets its header,
 * which is synced; then it is renamed to its number and the directory synced. So a file with a number in its name is
 * always complete, whenever the machine stops, and no stale header ever stands under such a name.
 */
export class SegmentFiles {
  readonly #options: SegmentFilesOptions
  readonly #closed = new Map<number, ClosedSegment>()
  /** 0 without a spare. */
  #spareBytes = 0
  #recycleBefore = 0
  #tail: Promise<unknown> = Promise.resolve()

  constructor(options: SegmentFilesOptions) {
    this.#options = options
  }

  /** Closed segments of the log. */
  get closedCount(): number {
    return this.#closed.size
  }

  /** Bytes of the files that are not live: closed segments and the spare. */
  get sizeBytes(): number {
    let sum = this.#spareBytes
    for (const segment of this.#closed.values()) sum += segment.sizeBytes
    return sum
  }

  /** A segment of the log that is not appended to: found at opening, or retired. It waits for {@link recycle}. */
  addClosed(segment: ClosedSegment): void {
    this.#closed.set(segment.number, segment)
    if (segment.number < this.#recycleBefore) this.#recycleInBackground()
  }

  /**
   * Finds out whether a spare of the right size is there, and removes what an interrupted creation left. `unused` is
   * the highest segment, if it holds no record: without a spare it becomes it (a full disk must not stop a store that
   * has such a file). Returns it if it was taken.
   */
  adopt(unused: ClosedSegment | undefined): Promise<ClosedSegment | undefined> {
    return this.#inTurn(async () => {
      const { io, directory, segmentBytes } = this.#options
      const names = new Set(await io.list(directory))
      if (names.has(CREATING_NAME)) await io.remove(journalPath(directory, CREATING_NAME))
      this.#spareBytes = 0
      if (names.has(SPARE_NAME)) {
        const path = journalPath(directory, SPARE_NAME)
        const file = await io.open(path, { access: 'read' })
        let sizeBytes: number
        try {
          sizeBytes = (await io.stat(file)).sizeBytes
        } finally {
          await io.close(file)
        }
        if (sizeBytes === segmentBytes) {
          // The process that gave it its name may have been killed before it synced the directory.
          await io.syncDir(directory)
          this.#spareBytes = segmentBytes
          return undefined
        }
        await io.remove(path)
      }
      if (unused?.sizeBytes !== segmentBytes) return undefined
      await this.#becomeSpare(unused.path, segmentBytes)
      return unused
    })
  }

  /**
   * Makes a segment, headed, stable and, if so wanted, mapped: of the spare where there is one, else of `sizeBytes`.
   *
   * @throws HoltError `HOLT_NO_SPACE` (a later call may succeed), `HOLT_IO`.
   */
  create(plan: SegmentPlan, sizeBytes = this.#options.segmentBytes): Promise<LiveSegment> {
    return this.#inTurn(() => this.#create(plan, sizeBytes))
  }

  /** Segments wholly before the one that holds `position` become the spare or are removed, in the background. */
  recycle(position: Lsn): void {
    this.#recycleBefore = Math.max(this.#recycleBefore, lsnSegment(position))
    this.#recycleInBackground()
  }

  /** Removes files that are not part of the log, or keeps one of them as the spare. */
  discard(dead: readonly Expendable[]): Promise<void> {
    return this.#inTurn(() => this.#putAway(dead))
  }

  /** Takes over closed segments that `find` reads, and puts away what it found to be no part of the log. */
  takeOver(
    find: () => Promise<{ readonly closed: readonly ClosedSegment[]; readonly dead: readonly Expendable[] }>,
  ): Promise<void> {
    return this.#inTurn(async () => {
      const { closed, dead } = await find()
      for (const segment of closed) this.#closed.set(segment.number, segment)
      await this.#putAway(dead)
      await this.#putAwayCovered()
    })
  }

  /** Keeps what is to be retained, and removes the spare and `unused`, a segment that holds no record. */
  keepRetained(unused: { readonly path: string } | undefined): Promise<void> {
    return this.#inTurn(async () => {
      const { io, directory } = this.#options
      if (unused !== undefined) await io.remove(unused.path)
      await this.#putAwayCovered()
      // One that was covered may just have become it.
      if (this.#spareBytes > 0) await io.remove(journalPath(directory, SPARE_NAME))
      this.#spareBytes = 0
    })
  }

  /** Removes these segments, all closed ones and the spare, of which nobody needs anything any more. */
  discardAll(segments: readonly { readonly path: string }[]): Promise<void> {
    return this.#inTurn(async () => {
      const { io, directory } = this.#options
      for (const { path } of [...this.#closed.values(), ...segments]) await io.remove(path)
      this.#closed.clear()
      if (this.#spareBytes > 0) await io.remove(journalPath(directory, SPARE_NAME))
      this.#spareBytes = 0
    })
  }

  /** Resolves when nothing goes on any more. */
  async settled(): Promise<void> {
    await this.#tail.catch(() => undefined)
  }

  #recycleInBackground(): void {
    const done = this.#inTurn(() => this.#putAwayCovered())
    done.catch((cause: unknown) => {
      this.#options.onEvent({ kind: 'recycle-failed', cause })
    })
  }

  async #putAwayCovered(): Promise<void> {
    const covered = [...this.#closed.values()].filter((segment) => segment.number < this.#recycleBefore)
    covered.sort((a, b) => a.number - b.number)
    await this.#putAway(this.#options.retention.expendable(covered))
  }

  async #putAway(segments: readonly Expendable[]): Promise<void> {
    const { io, segmentBytes, onPutAway } = this.#options
    for (const { number } of segments) onPutAway(number)
    for (const segment of segments) {
      try {
        if (this.#spareBytes === 0 && segment.sizeBytes === segmentBytes)
          await this.#becomeSpare(segment.path, segmentBytes)
        else await io.remove(segment.path)
      } catch (error) {
        // Put away by an attempt that failed later.
        if (!isHoltError(error, 'HOLT_NOT_FOUND')) throw error
      }
      this.#closed.delete(segment.number)
    }
    // Not synced: one that a power loss brings back lies before what the log needs, as it did before.
  }

  /** The directory is synced before the spare may be headed: its old name must not show up with a new header. */
  async #becomeSpare(path: string, sizeBytes: number): Promise<void> {
    const { io, directory } = this.#options
    await io.rename(path, journalPath(directory, SPARE_NAME))
    await io.syncDir(directory)
    this.#spareBytes = sizeBytes
  }

  async #create(plan: SegmentPlan, freshBytes: number): Promise<LiveSegment> {
    const { io, directory, storeId, mapped } = this.#options
    const createdUnixMs = io.unixTimeMs()
    if (plan.number > MAX_SEGMENT_NUMBER) {
      throw new HoltError(
        'HOLT_UNSUPPORTED',
        `the journal in ${directory} has used all ${String(MAX_SEGMENT_NUMBER)} segment numbers; copy the store by a backup`,
      )
    }
    if (this.#spareBytes === 0) await this.#makeSpare(freshBytes)
    const segmentBytes = this.#spareBytes
    const salts: Salts = { headerSalt: this.#randomWord(), bodySalt: this.#randomWord() }
    const sparePath = journalPath(directory, SPARE_NAME)
    const spare = await io.open(sparePath, { access: 'readwrite' })
    try {
      await io.write(
        spare,
        0,
        encodeSegmentHeader({ ...plan, ...salts, segmentBytes, storeId, createdUnixMs }),
      )
      await io.sync(spare)
    } finally {
      await io.close(spare)
    }
    const path = journalPath(directory, segmentName(plan.number))
    await io.rename(sparePath, path)
    this.#spareBytes = 0
    await io.syncDir(directory)
    const file = await io.open(path, { access: 'readwrite' })
    let mapping: Mapping | undefined
    try {
      mapping = mapped ? await io.map(file, segmentBytes) : undefined
    } catch (error) {
      await io.close(file)
      throw error
    }
    return {
      number: plan.number,
      path,
      sizeBytes: segmentBytes,
      seqFloor: plan.seqFloor,
      file,
      mapping,
      ...salts,
    }
  }

  /**
   * Allocated and written with zeros to its end: an overwrite then needs no new space. That is stable once the header is,
   * which nobody appends behind before.
   */
  async #makeSpare(segmentBytes: number): Promise<void> {
    const { io, directory } = this.#options
    const path = journalPath(directory, CREATING_NAME)
    try {
      const file = await io.open(path, { access: 'readwrite', create: true, truncate: true })
      try {
        await io.allocate(file, 0, segmentBytes)
        const zeros = new Uint8Array(Math.min(ZERO_CHUNK_BYTES, segmentBytes))
        for (let at = 0; at < segmentBytes; at += zeros.length) {
          await io.write(file, at, zeros.subarray(0, Math.min(zeros.length, segmentBytes - at)))
        }
      } finally {
        await io.close(file)
      }
    } catch (error) {
      // What was allocated of it would keep a full disk full.
      await io.remove(path).catch(() => undefined)
      throw error
    }
    await this.#becomeSpare(path, segmentBytes)
  }

  #randomWord(): number {
    const value = this.#options.random()
    if (!(value >= 0 && value < 1)) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `random() gave ${String(value)}, expected a number in [0, 1)`,
      )
    }
    return Math.floor(value * 2 ** 32)
  }

  #inTurn<T>(operation: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(operation, operation)
    this.#tail = result
    ignoreRejection(result)
    return result
  }
}
