/**
 * Reading the log, and where it ends.
 *
 * The log ends at the first invalid record. If that directly follows a closing mark, the end is clean, and nothing can
 * lie behind it. Otherwise what lies behind is searched, at every multiple of 8, for records that are valid in their
 * place: sectors of unsynced writes may have reached the medium in any order, so that some prove nothing. But each
 * header, of a record or a segment, carries a stable mark, and what lies below a mark cannot have been lost by a power
 * failure: if the end lies below the highest mark, the log is damaged there.
 */
import { HoltError, isHoltError } from '@holt/errors'
import type { Io } from '@holt/uring-native'
import { lsn, lsnOffset, lsnSegment, type Lsn, type ReplayedRecord, type ReplayReport } from './contract.js'
import {
  emptyRecordHeader,
  FIRST_CALLER_TYPE,
  RECORD_ALIGNMENT_BYTES,
  RECORD_CLOSING_MARK,
  RECORD_FILLER,
  RECORD_HEADER_BYTES,
  RECORD_MAGIC,
  type RecordHeader,
} from './record.js'
import { locate, type ChainSegment, type FoundLog } from './recovery.js'
import { FIRST_RECORD_OFFSET, wasBegunByRecovery } from './segment-header.js'
import { SegmentReader } from './segment-reader.js'

export type ReplayVisitor = (record: ReplayedRecord) => void | Promise<void>

/** What a replay learned, beyond its report, for whoever continues the log. */
export interface ReplayedLog {
  readonly report: ReplayReport
  /** Where reading began, and where the last valid record ends; undefined if there is no segment to continue. */
  readonly range: { readonly start: LogPlace; readonly end: LogPlace } | undefined
  /** Everything before it was stable when the log was last written. */
  readonly stableMark: Lsn
  /** Of the records that were read, those behind the end among them; 0 without any. */
  readonly highestRecordSeq: number
  /** Numbers of segments behind the end that hold no record at all. */
  readonly unusedNumbers: readonly number[]
}

export interface LogPlace {
  readonly chainIndex: number
  readonly offsetBytes: number
}

/**
 * Reads the log from `from` on (undefined: from its beginning) and hands out the caller's records in order.
 *
 * @throws HoltError `HOLT_CORRUPT` naming file and offset; `HOLT_VERSION` for records of a newer release.
 */
export async function replayLog(
  io: Io,
  directory: string,
  log: FoundLog,
  from: Lsn | undefined,
  visit: ReplayVisitor,
  readOnly: boolean,
): Promise<ReplayedLog> {
  const start = locate(log, from, directory)
  if (start === undefined) {
    const end = from ?? lsn(1, 0)
    const report: ReplayReport = {
      records: 0,
      bytes: 0,
      highestSeq: log.highestSeqFloor,
      end,
      tail: 'clean',
      recordsBehindEnd: 0,
    }
    return { report, range: undefined, stableMark: end, highestRecordSeq: 0, unusedNumbers: [] }
  }
  const replay = new Replay(io, log, from ?? lsn(0, 0), visit)
  try {
    return await replay.run(start)
  } catch (error) {
    if (readOnly && isHoltError(error, 'HOLT_NOT_FOUND')) {
      throw new HoltError('HOLT_BUSY', 'a journal segment was recycled while it was being read; try again', {
        cause: error,
      })
    }
    throw error
  }
}

class Replay {
  readonly #io: Io
  readonly #chain: readonly ChainSegment[]
  readonly #visit: ReplayVisitor
  readonly #record: RecordHeader = emptyRecordHeader()
  #stableMark: Lsn
  #highestSeq: number
  #highestRecordSeq = 0
  #records = 0
  #bytes = 0
  #recordsBehindEnd = 0

  constructor(io: Io, log: FoundLog, stableMark: Lsn, visit: ReplayVisitor) {
    this.#io = io
    this.#chain = log.chain
    this.#visit = visit
    this.#stableMark = stableMark
    this.#highestSeq = log.highestSeqFloor
    for (const { header } of log.chain) this.#noteMark(header.markSegment, header.markOffset)
  }

  async run(start: LogPlace): Promise<ReplayedLog> {
    let place = start
    let end = start
    let tail: ReplayReport['tail'] = 'torn'
    const used = new Set<number>()
    let wasClosed = false
    for (;;) {
      const segment = this.#at(place.chainIndex)
      const { endBytes, isClosed } = await this.#readSegment(segment, place.offsetBytes)
      if (endBytes > place.offsetBytes) {
        end = { chainIndex: place.chainIndex, offsetBytes: endBytes }
        wasClosed = isClosed
      } else if (wasBegunByRecovery(segment.header)) wasClosed = false
      place = { chainIndex: place.chainIndex, offsetBytes: endBytes }
      if (endBytes === segment.limitBytes && place.chainIndex + 1 < this.#chain.length) {
        place = { chainIndex: place.chainIndex + 1, offsetBytes: FIRST_RECORD_OFFSET }
        continue
      }
      // Also a closing mark at the very end of its segment, behind which lies one that was only prepared.
      if (wasClosed) tail = 'clean'
      break
    }
    if (tail === 'torn') await this.#searchBehind(place, used)
    const stop = this.#at(place.chainIndex)
    const stopPosition = lsn(stop.header.number, place.offsetBytes)
    if (this.#stableMark > stopPosition) {
      throw new HoltError(
        'HOLT_CORRUPT',
        `${stop.path}: the record at offset ${String(place.offsetBytes)} is damaged or missing; it was on the medium, as a later mark (${describe(this.#stableMark)}) proves`,
      )
    }
    const endSegment = this.#at(end.chainIndex)
    const unusedNumbers = this.#chain
      .slice(end.chainIndex + 1)
      .map((segment) => segment.header.number)
      .filter((number) => !used.has(number))
    return {
      report: {
        records: this.#records,
        bytes: this.#bytes,
        highestSeq: this.#highestSeq,
        end: lsn(endSegment.header.number, end.offsetBytes),
        tail,
        recordsBehindEnd: this.#recordsBehindEnd,
      },
      range: { start, end },
      stableMark: this.#stableMark,
      highestRecordSeq: this.#highestRecordSeq,
      unusedNumbers,
    }
  }

  /** Reads records up to the first invalid one or the segment's limit. */
  async #readSegment(
    segment: ChainSegment,
    fromBytes: number,
  ): Promise<{ readonly endBytes: number; readonly isClosed: boolean }> {
    const { header, limitBytes, path } = segment
    const record = this.#record
    let at = fromBytes
    let isClosed = false
    const reader = await SegmentReader.open(this.#io, path, limitBytes)
    try {
      while (at + RECORD_HEADER_BYTES <= limitBytes) {
        if (!reader.has(at, RECORD_HEADER_BYTES)) await reader.load(at, RECORD_HEADER_BYTES)
        if (!reader.readHeader(at, header.headerSalt, record)) break
        const { type, totalBytes } = record
        if (type !== RECORD_FILLER && !reader.has(at, totalBytes)) await reader.load(at, totalBytes)
        if (!reader.isBodyValid(at, header.bodySalt, record)) break
        checkKnown(record, path, at)
        this.#noteRecord()
        isClosed = type === RECORD_CLOSING_MARK
        if (type >= FIRST_CALLER_TYPE) {
          this.#records++
          const pending = this.#visit({
            type,
            seq: record.seq,
            position: lsn(header.number, at),
            body: reader.bodyOf(at, record),
          })
          if (pending !== undefined) await pending
        }
        at += totalBytes
        this.#bytes += totalBytes
      }
    } finally {
      await reader.close()
    }
    return { endBytes: at, isClosed }
  }

  /** Looks for valid records behind the place where the log ends, and for the marks they carry. */
  async #searchBehind(place: LogPlace, used: Set<number>): Promise<void> {
    for (let index = place.chainIndex; index < this.#chain.length; index++) {
      const segment = this.#at(index)
      const isFirst = index === place.chainIndex
      const fromBytes = isFirst ? place.offsetBytes : FIRST_RECORD_OFFSET
      if (await this.#searchSegment(segment, fromBytes)) used.add(segment.header.number)
    }
  }

  async #searchSegment(segment: ChainSegment, fromBytes: number): Promise<boolean> {
    const { header, limitBytes, path } = segment
    const record = this.#record
    let foundAny = false
    let at = fromBytes
    const reader = await SegmentReader.open(this.#io, path, limitBytes)
    try {
      while (at + RECORD_HEADER_BYTES <= limitBytes) {
        if (!reader.has(at, RECORD_HEADER_BYTES)) await reader.load(at, RECORD_HEADER_BYTES)
        let step = RECORD_ALIGNMENT_BYTES
        const isMagic = reader.view.getUint16(at - reader.windowStart, true) === RECORD_MAGIC
        if (isMagic && reader.readHeader(at, header.headerSalt, record)) {
          // Its mark is the truth even if its body did not arrive.
          this.#noteRecord()
          foundAny = true
          const { type, totalBytes } = record
          if (type === RECORD_FILLER) step = totalBytes
          else {
            if (!reader.has(at, totalBytes)) await reader.load(at, totalBytes)
            if (reader.isBodyValid(at, header.bodySalt, record)) {
              step = totalBytes
              if (type >= FIRST_CALLER_TYPE) this.#recordsBehindEnd++
            }
          }
        }
        at += step
      }
    } finally {
      await reader.close()
    }
    return foundAny
  }

  #noteRecord(): void {
    const { seq, markSegment, markOffset } = this.#record
    if (seq > this.#highestSeq) this.#highestSeq = seq
    this.#highestRecordSeq = Math.max(this.#highestRecordSeq, seq)
    this.#noteMark(markSegment, markOffset)
  }

  #noteMark(segment: number, offset: number): void {
    const mark = lsn(segment, offset)
    if (mark > this.#stableMark) this.#stableMark = mark
  }

  #at(chainIndex: number): ChainSegment {
    return this.#chain[chainIndex]
  }
}

function describe(position: Lsn): string {
  return `segment ${String(lsnSegment(position))} offset ${String(lsnOffset(position))}`
}

/** Throws `HOLT_VERSION` for a record of a kind that only a newer release writes. */
export function checkKnown({ type, flags }: RecordHeader, path: string, at: number): void {
  const isKnown = type === RECORD_FILLER || type === RECORD_CLOSING_MARK || type >= FIRST_CALLER_TYPE
  if (isKnown && flags === 0) return
  throw new HoltError(
    'HOLT_VERSION',
    `${path}: the record at offset ${String(at)} has type ${String(type)} and flags ${String(flags)}, which this release does not know`,
  )
}
