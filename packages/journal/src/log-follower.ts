import { HoltError, isHoltError } from '@holt/errors'
import type { Io } from '@holt/uring-native'
import { lsn, lsnOffset, lsnSegment, type Follower, type Lsn, type ReplayedRecord } from './contract.js'
import type { ReadableLog, ReadableSegment } from './readable-log.js'
import { emptyRecordHeader, FIRST_CALLER_TYPE, RECORD_FILLER, RECORD_HEADER_BYTES } from './record.js'
import { checkKnown } from './replay.js'
import { FIRST_RECORD_OFFSET } from './segment-header.js'
import { SegmentReader } from './segment-reader.js'

/** The log, as its followers see it. */
export interface FollowedLog {
  readonly io: Io
  readonly segments: ReadableLog
  /** What lies before it may be told: it is on the medium, and nobody has asked to wait. */
  readonly tellable: () => Lsn
  /** Resolves once the segments from before this opening are known. */
  readonly historyKnown: () => Promise<void>
  /**
   * Resolves when more may be told, a follower was closed, or the log has ended. Rejects `HOLT_POISONED` when nothing
   * more can come.
   */
  readonly changed: () => Promise<void>
  /** Wakes all who wait for {@link changed}. */
  readonly wake: () => void
}

/** Where a follower begins. */
export interface FollowFrom {
  /** Only records with a higher seq are told. Undefined: only those that are appended from now on. */
  readonly afterSeq: number | undefined
  /** The end of the log now; or, without `afterSeq`, another place to begin at. */
  readonly end: Lsn
  /** The highest seq that was used by now. */
  readonly lastSeq: number
}

/**
 * Reads along, from the files. Nothing is kept in memory but a window of one segment. What is being read is not locked: a
 * segment that was put away and used again has other salts, so its records do not validate, and then the position has
 * expired.
 */
export class LogFollower implements Follower {
  readonly #log: FollowedLog
  readonly #from: FollowFrom
  readonly #record = emptyRecordHeader()
  readonly #fromSeq: number
  /** Of the last record told. */
  #toldSeq: number
  #isPlaced = false
  #segment: ReadableSegment | undefined
  #at = FIRST_RECORD_OFFSET
  #reader: SegmentReader | undefined
  #isClosed = false
  #reading: Promise<unknown> = Promise.resolve()
  readonly #onClosed: () => void

  constructor(log: FollowedLog, from: FollowFrom, onClosed: () => void) {
    this.#log = log
    this.#from = from
    this.#fromSeq = from.afterSeq ?? from.lastSeq
    this.#toldSeq = this.#fromSeq
    this.#onClosed = onClosed
  }

  /** The number of the segment that it reads, or will begin with; 0 while that is not known. */
  get segmentNumber(): number {
    if (this.#segment !== undefined) return this.#segment.number
    return this.#from.afterSeq === undefined ? lsnSegment(this.#from.end) : 0
  }

  next(): Promise<ReplayedRecord | undefined> {
    const reading = this.#next()
    this.#reading = reading.catch(() => undefined)
    return reading
  }

  async close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true
      this.#log.wake()
    }
    await this.#reading
    await this.#closeReader()
    this.#onClosed()
  }

  async #next(): Promise<ReplayedRecord | undefined> {
    const { segments } = this.#log
    if (!this.#isPlaced) await this.#place()
    for (;;) {
      if (this.#isClosed) return undefined
      const segment = this.#segment ?? this.#enterFirst()
      if (segment === undefined) {
        await this.#log.changed()
        continue
      }
      const limit = this.#limitIn(segment)
      if (this.#at < limit) {
        const record = await this.#read(segment, limit)
        if (record !== undefined) return record
        continue
      }
      const next = limit < segment.endBytes ? undefined : segments.after(segment.number)
      // No turn has passed since the look, so no change is missed.
      if (next === undefined) await this.#log.changed()
      else if (next.predecessorNumber === segment.number) await this.#enter(next)
      else throw await this.#expired()
    }
  }

  /** Reads what lies at {@link #at}; undefined for what is not to be told. */
  async #read(segment: ReadableSegment, limitBytes: number): Promise<ReplayedRecord | undefined> {
    const record = this.#record
    const at = this.#at
    let reader: SegmentReader
    try {
      reader = await this.#load(segment, at, limitBytes)
    } catch (error) {
      if (segment === this.#log.segments.find(segment.number)) throw error
      throw await this.#expired()
    }
    if (record.totalBytes === 0 || !reader.isBodyValid(at, segment.bodySalt, record)) {
      if (segment !== this.#log.segments.find(segment.number)) throw await this.#expired()
      throw new HoltError(
        'HOLT_CORRUPT',
        `${segment.path}: the record at offset ${String(at)} is damaged; it was on the medium`,
      )
    }
    checkKnown(record, segment.path, at)
    this.#at = at + record.totalBytes
    if (record.type < FIRST_CALLER_TYPE || record.seq <= this.#fromSeq) return undefined
    this.#toldSeq = record.seq
    return {
      type: record.type,
      seq: record.seq,
      position: lsn(segment.number, at),
      body: reader.bodyOf(at, record),
    }
  }

  /** Has the window hold the record at `at`, and decodes its header; its total is 0 if there is no valid one. */
  async #load(segment: ReadableSegment, at: number, limitBytes: number): Promise<SegmentReader> {
    const record = this.#record
    this.#reader ??= await SegmentReader.open(this.#log.io, segment.path, limitBytes)
    const reader = this.#reader
    reader.extendTo(limitBytes)
    if (!reader.has(at, RECORD_HEADER_BYTES)) await reader.load(at, RECORD_HEADER_BYTES)
    if (!reader.readHeader(at, segment.headerSalt, record)) record.totalBytes = 0
    else if (record.type !== RECORD_FILLER && !reader.has(at, record.totalBytes))
      await reader.load(at, record.totalBytes)
    return reader
  }

  /** How far that segment's records may be told. */
  #limitIn(segment: ReadableSegment): number {
    const tellable = this.#log.tellable()
    const number = lsnSegment(tellable)
    if (segment.number < number) return segment.endBytes
    return segment.number === number ? Math.min(segment.endBytes, lsnOffset(tellable)) : 0
  }

  // ---- where to begin ------------------------------------------------------------------------------------------

  async #place(): Promise<void> {
    const { afterSeq, end, lastSeq } = this.#from
    const { segments } = this.#log
    await this.#log.historyKnown()
    if (afterSeq === undefined) {
      const segment = segments.find(lsnSegment(end))
      if (segment !== undefined) {
        this.#segment = segment
        this.#at = Math.max(FIRST_RECORD_OFFSET, lsnOffset(end))
      }
    } else if (segments.first !== undefined) {
      const start = startFor(segments.all, afterSeq)
      if (start === undefined) await this.#placeAtOldest(segments.first, afterSeq)
      else this.#segment = start
    } else if (afterSeq < lastSeq) {
      throw expiredError(afterSeq, lastSeq)
    }
    this.#isPlaced = true
  }

  async #placeAtOldest(oldest: ReadableSegment, afterSeq: number): Promise<void> {
    const prior = await this.#priorSeqOf(oldest)
    if (afterSeq < prior) throw this.#log.segments.damage?.error ?? expiredError(afterSeq, prior)
    this.#segment = oldest
  }

  /** The highest seq before the oldest segment there is, or one that is not lower than it. */
  async #priorSeqOf(oldest: ReadableSegment): Promise<number> {
    if (oldest.priorSeq !== undefined) return oldest.priorSeq
    const limit = this.#limitIn(oldest)
    if (limit <= FIRST_RECORD_OFFSET) return oldest.seqFloor
    await this.#closeReader()
    await this.#load(oldest, FIRST_RECORD_OFFSET, limit)
    if (this.#record.totalBytes > 0) return this.#record.seq - 1
    throw new HoltError(
      'HOLT_CORRUPT',
      `${oldest.path}: the record at offset ${String(FIRST_RECORD_OFFSET)} is damaged; it was on the medium`,
    )
  }

  /** The log had no segment when this began: its first one, once it is there. */
  #enterFirst(): ReadableSegment | undefined {
    const { first } = this.#log.segments
    if (first === undefined) return undefined
    if (first.predecessorNumber !== 0) throw expiredError(this.#toldSeq, first.priorSeq)
    this.#segment = first
    return first
  }

  async #enter(segment: ReadableSegment): Promise<void> {
    await this.#closeReader()
    this.#segment = segment
    this.#at = FIRST_RECORD_OFFSET
  }

  async #closeReader(): Promise<void> {
    const reader = this.#reader
    this.#reader = undefined
    await reader?.close()
  }

  /** What it was about to read is not kept any more. */
  async #expired(): Promise<HoltError> {
    const { first } = this.#log.segments
    try {
      return expiredError(this.#toldSeq, first === undefined ? undefined : await this.#priorSeqOf(first))
    } catch (error) {
      if (isHoltError(error)) return expiredError(this.#toldSeq, undefined)
      throw error
    }
  }
}

/** The newest segment before which no record has a higher seq; undefined if that can be said of none. */
function startFor(segments: readonly ReadableSegment[], afterSeq: number): ReadableSegment | undefined {
  for (let i = segments.length - 1; i >= 0; i--) {
    // The one behind it was headed when this one was half full: its floor is no lower than this one's first record.
    const bound = segments[i].priorSeq ?? segments.at(i + 1)?.seqFloor
    if (bound !== undefined && afterSeq >= bound) return segments[i]
  }
  return undefined
}

function expiredError(afterSeq: number, oldestVersion: number | undefined): HoltError {
  return new HoltError(
    'HOLT_POSITION_EXPIRED',
    `changes behind version ${String(afterSeq)} are not kept any more; the oldest position is ${oldestVersion === undefined ? 'not known now' : `version ${String(oldestVersion)}`}`,
    oldestVersion === undefined ? {} : { oldestVersion },
  )
}
