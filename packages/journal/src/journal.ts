import { HoltError } from '@holt/errors'
import type { Io } from '@holt/uring-native'
import {
  lsn,
  lsnOffset,
  lsnSegment,
  MAX_SEGMENT_NUMBER,
  type JournalContract,
  type JournalDurability,
  type JournalStats,
  type Lsn,
  type RecordType,
  type ReplayReport,
} from './contract.js'
import { Fault } from './fault.js'
import type { Log } from './log.js'
import { MappedLog } from './mapped-log.js'
import { checkOptions, type CheckedOptions, type JournalOptions } from './options.js'
import { ignoreRejection } from './promises.js'
import { FIRST_CALLER_TYPE, LAST_TYPE, RECORD_CLOSING_MARK, RECORD_MIN_BYTES, recordBytes } from './record.js'
import { findLog, type FoundLog } from './recovery.js'
import { replayLog, type ReplayedLog, type ReplayVisitor } from './replay.js'
import { FIRST_RECORD_OFFSET } from './segment-header.js'
import { SegmentSupply } from './segment-supply.js'
import { SegmentFiles, type ClosedSegment, type LiveSegment } from './segments.js'
import { Stability } from './stability.js'
import { rewriteUnmarkedTail } from './tail-rewrite.js'
import { WrittenLog } from './written-log.js'

const NO_BODY = new Uint8Array(0)
const NO_WORDS = new Uint32Array(0)

/** What there is once the journal was started. */
interface Running {
  readonly log: Log
  readonly files: SegmentFiles
  readonly stability: Stability
  readonly supply: SegmentSupply
}

/**
 * The write-ahead log of a store. Its life: {@link Journal.open}, {@link replay}, and, before the first append,
 * {@link start}; a store that is only read never starts it.
 */
export class Journal implements JournalContract {
  /** The largest body a record can have, in bytes: what a segment has room for. */
  readonly maxBodyBytes: number

  readonly #options: CheckedOptions
  readonly #found: FoundLog
  readonly #fault = new Fault()
  #replayed: ReplayedLog | undefined
  #replayFrom: Lsn | undefined
  #starting: Promise<void> | undefined
  #running: Running | undefined
  #log: Log | undefined
  #isReserved = false
  #closing: Promise<void> | undefined
  /** Before the segment that the next opening makes, once nothing is appended any more. */
  #sealedAt: Lsn | undefined
  #prepared: LiveSegment | undefined
  readonly #retirements = new Set<Promise<void>>()

  private constructor(options: CheckedOptions, found: FoundLog) {
    this.#options = options
    this.#found = found
    // A record, and behind it room for the filler or the mark that ends the segment.
    this.maxBodyBytes = options.segmentBytes - FIRST_RECORD_OFFSET - 2 * RECORD_MIN_BYTES
    this.#fault.onPoisoned((error) => {
      options.onEvent({ kind: 'poisoned', cause: error.cause })
    })
  }

  /**
   * Reads the headers of the segments in a directory. Changes nothing.
   *
   * @throws HoltError `HOLT_INVALID_ARGUMENT`; `HOLT_CORRUPT` naming the file; `HOLT_VERSION`; `HOLT_NOT_FOUND` without
   * the directory; when read-only, `HOLT_BUSY` if segments were recycled meanwhile.
   */
  static async open(options: JournalOptions): Promise<Journal> {
    const checked = checkOptions(options)
    const { io, directory, storeId, readOnly } = checked
    return new Journal(checked, await findLog(io, directory, storeId, readOnly, options.names))
  }

  /**
   * Reads the log from a position on and hands out the caller's records, in order; waits for a promise that `visit`
   * returns. `undefined` reads all of it. What lies before `from` is not read. Changes nothing.
   *
   * @throws HoltError `HOLT_CORRUPT` naming file and offset, also when the log does not contain `from`;
   * `HOLT_VERSION`; `HOLT_BUSY` as {@link open}; and whatever `visit` throws.
   */
  async replay(from: Lsn | undefined, visit: ReplayVisitor): Promise<ReplayReport> {
    this.#checkOpen()
    if (this.#starting !== undefined) {
      throw new HoltError('HOLT_INVALID_ARGUMENT', 'a journal that was started cannot be replayed')
    }
    const { io, directory, readOnly } = this.#options
    const replayed = await replayLog(io, directory, this.#found, from, visit, readOnly)
    this.#replayed = replayed
    this.#replayFrom = from
    return replayed.report
  }

  /**
   * Makes the journal ready to append; {@link replay} has run. In this order: `beforeFirstChange`; the records above
   * the highest stable mark are written again in place and synced; a fresh segment that names where the log ends, and
   * `seqFloor` as a seq below which everything may have been handed out, becomes durable; segments that are not part
   * of the log are removed. No segment that was found is ever appended to.
   *
   * @throws HoltError `HOLT_READ_ONLY`; `HOLT_NO_SPACE`, `HOLT_IO` and whatever `beforeFirstChange` throws, after
   * which it can be called again from its beginning; `HOLT_POISONED` if the rewriting failed.
   */
  start(seqFloor: number, beforeFirstChange?: () => Promise<void>): Promise<void> {
    if (this.#running !== undefined) return Promise.resolve()
    this.#starting ??= this.#start(seqFloor, beforeFirstChange).catch((error: unknown) => {
      this.#starting = undefined
      throw error
    })
    return this.#starting
  }

  // ---- appending -----------------------------------------------------------------------------------------------

  hasRoom(bodyBytes: number): boolean {
    if (this.#hasEnded || bodyBytes > this.maxBodyBytes) return false
    return this.#log?.hasRoom(recordBytes(bodyBytes)) ?? false
  }

  async whenRoom(bodyBytes: number): Promise<void> {
    for (;;) {
      const log = this.#appendable()
      if (this.#sealedAt !== undefined) throw new HoltError('HOLT_CLOSED', 'the journal was sealed')
      this.#checkBody(bodyBytes)
      const total = recordBytes(bodyBytes)
      if (log.hasRoom(total)) return
      await log.makeRoom(total)
    }
  }

  reserve(type: RecordType, seq: number, bodyBytes: number): void {
    const log = this.#log
    // Each comparison is false for NaN too; what is wrong is said by the second look.
    const isPlain =
      log !== undefined &&
      !this.#isReserved &&
      !this.#hasEnded &&
      bodyBytes >= 0 &&
      bodyBytes <= this.maxBodyBytes &&
      type >= FIRST_CALLER_TYPE &&
      type <= LAST_TYPE &&
      seq >= 0 &&
      (type | 0) === type &&
      (bodyBytes | 0) === bodyBytes &&
      Number.isSafeInteger(seq) &&
      log.hasRoom(recordBytes(bodyBytes))
    if (!isPlain) throw this.#whyNotReserved(type, seq, bodyBytes)
    log.reserve(type, seq, bodyBytes)
    this.#isReserved = true
  }

  #whyNotReserved(type: RecordType, seq: number, bodyBytes: number): HoltError {
    this.#appendable()
    if (this.#sealedAt !== undefined) return new HoltError('HOLT_CLOSED', 'the journal was sealed')
    this.#checkBody(bodyBytes)
    if (!(type >= FIRST_CALLER_TYPE && type <= LAST_TYPE && Number.isInteger(type))) {
      return new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `record type ${String(type)}, expected a whole number from 16 to 255`,
      )
    }
    if (!(seq >= 0 && Number.isSafeInteger(seq)))
      return new HoltError('HOLT_INVALID_ARGUMENT', `seq ${String(seq)}, expected a whole number below 2^53`)
    if (this.#isReserved)
      return new HoltError('HOLT_INTERNAL', 'reserve before the record before was left or cancelled')
    return new HoltError('HOLT_QUEUE_FULL', 'the journal has no room for the record now: ask whenRoom')
  }

  get body(): Uint8Array {
    return this.#log?.memory.bytes ?? NO_BODY
  }

  get bodyWords(): Uint32Array {
    return this.#log?.memory.words ?? NO_WORDS
  }

  get bodyOffset(): number {
    return this.#log?.bodyOffset ?? 0
  }

  leave(): void {
    this.#reserved().leave()
  }

  cancel(): void {
    this.#reserved().cancel()
  }

  // ---- acknowledging -------------------------------------------------------------------------------------------

  acknowledge(durability: JournalDurability): Promise<void> {
    const log = this.#log
    if (log === undefined || this.#closing !== undefined) return this.#refused()
    return log.acknowledge(durability)
  }

  sync(): Promise<void> {
    const log = this.#log
    if (log === undefined || this.#closing !== undefined) return this.#refused()
    return log.sync()
  }

  get position(): Lsn {
    return this.#sealedAt ?? this.#log?.position ?? this.#replayed?.report.end ?? lsn(1, 0)
  }

  get stablePosition(): Lsn {
    return this.#running?.stability.stablePosition ?? this.#replayed?.stableMark ?? lsn(1, 0)
  }

  /** Whether no segment was there at opening: nothing was ever journalled here. */
  get isNew(): boolean {
    return this.#found.highestNumber === 0
  }

  get immediate(): boolean {
    return this.#log?.mode === 'mapped'
  }

  get appendedBytes(): number {
    return this.#log?.appendedBytes ?? 0
  }

  get durableSeq(): number {
    return this.#running?.stability.durableSeq ?? this.#found.highestSeqFloor
  }

  recycle(position: Lsn): void {
    if (!this.#hasEnded) this.#running?.files.recycle(position)
  }

  stats(): JournalStats {
    const running = this.#running
    const { segmentBytes } = this.#options
    if (running === undefined) {
      const { chain } = this.#found
      return {
        mode: 'written',
        segments: chain.length,
        segmentBytes,
        sizeBytes: chain.reduce((sum, { header }) => sum + header.segmentBytes, 0),
        records: 0,
        appendedBytes: 0,
        syncs: 0,
        groups: 0,
        segmentSwitches: 0,
        unstableBytes: 0,
      }
    }
    const { log, files, stability, supply } = running
    const live = stability.segments.map(({ segment }) => segment.sizeBytes)
    const next = supply.next ?? this.#prepared
    if (next !== undefined) live.push(next.sizeBytes)
    return {
      mode: log.mode,
      segments: files.closedCount + live.length,
      segmentBytes,
      sizeBytes: live.reduce((sum, sizeBytes) => sum + sizeBytes, files.sizeBytes),
      records: log.records,
      appendedBytes: log.appendedBytes,
      syncs: stability.syncs,
      groups: log.groups,
      segmentSwitches: log.segmentSwitches,
      unstableBytes: lsnDistance(stability.stablePosition, log.position, stability.unstableBytes),
    }
  }

  // ---- ending --------------------------------------------------------------------------------------------------

  async seal(): Promise<void> {
    this.#checkOpen()
    const running = this.#running
    if (running === undefined) return
    // Lest one more segment appears behind the place that is told.
    this.#prepared = await running.supply.end()
    const newest = this.#prepared ?? running.stability.segments.at(-1)?.segment
    // Beyond the highest number there is no place: the log then stays where it is, and takes no opening more.
    if (newest === undefined || newest.number >= MAX_SEGMENT_NUMBER) return
    this.#sealedAt = lsn(newest.number + 1, 0)
  }

  close(options: { readonly discard?: boolean } = {}): Promise<void> {
    this.#closing ??= this.#close(options.discard ?? false)
    return this.#closing
  }

  async #close(discard: boolean): Promise<void> {
    // A start under way is let come to its end: it owns files.
    if (this.#starting !== undefined) await this.#starting.catch(() => undefined)
    const running = this.#running
    if (running === undefined) return
    const { log } = running
    let failure: unknown
    try {
      this.#fault.check()
      if (this.#isReserved) this.#reserved().cancel()
      await log.sync()
      if (!this.#isToBeDiscarded(discard)) {
        log.reserve(RECORD_CLOSING_MARK, running.stability.lastSeq, 0)
        log.leave()
        await log.sync()
      }
    } catch (error) {
      failure = error
    }
    try {
      const live = await this.#release(running)
      // What is left of it is harmless, and found dead by the next start.
      if (failure === undefined && this.#isToBeDiscarded(discard)) {
        await running.files.discardAll(live).catch((cause: unknown) => {
          this.#options.onEvent({ kind: 'recycle-failed', cause })
        })
      }
    } catch (error) {
      failure ??= error
    }
    if (failure !== undefined) throw failure instanceof Error ? failure : this.#fault.poison(failure)
  }

  #isToBeDiscarded(discard: boolean): boolean {
    return discard && this.#sealedAt !== undefined
  }

  /** Gives every file and mapping back, whatever state they are in. Returns the segments that were live. */
  async #release({ files, stability, supply }: Running): Promise<readonly LiveSegment[]> {
    await stability.stop()
    const prepared = this.#prepared ?? (await supply.end())
    await files.settled()
    const live = stability.segments.map((tracked) => tracked.segment)
    if (prepared !== undefined) live.push(prepared)
    const outcomes = await Promise.allSettled([
      ...this.#retirements,
      ...live.map((segment) => this.#closeSegment(segment)),
    ])
    // What retirements gave to be recycled meanwhile.
    await files.settled()
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
    return live
  }

  async #closeSegment(segment: LiveSegment): Promise<void> {
    try {
      await segment.mapping?.unmap()
    } finally {
      await this.#options.io.close(segment.file)
    }
  }

  // ---- starting ------------------------------------------------------------------------------------------------

  async #start(seqFloor: number, beforeFirstChange: (() => Promise<void>) | undefined): Promise<void> {
    this.#checkOpen()
    this.#fault.check()
    if (this.#options.readOnly) throw new HoltError('HOLT_READ_ONLY', 'the journal was opened for reading')
    const replayed = this.#replayed
    if (replayed === undefined)
      throw new HoltError('HOLT_INVALID_ARGUMENT', 'replay the journal before it is started')
    if (!(seqFloor >= 0 && Number.isSafeInteger(seqFloor))) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `seq floor ${String(seqFloor)}, expected a whole number below 2^53`,
      )
    }
    const { io, directory, storeId, segmentBytes, durability, onEvent } = this.#options
    await beforeFirstChange?.()
    try {
      await rewriteUnmarkedTail(io, this.#found, replayed)
    } catch (error) {
      throw this.#fault.poison(error)
    }

    const files = new SegmentFiles({
      io,
      directory,
      storeId,
      segmentBytes,
      random: this.#options.random ?? randomOf(io),
      mapped: durability === 'os',
      onEvent,
    })
    const { kept, behind } = this.#sortFound(replayed)
    // Only the last one: without any other the chain to the log would be broken for whoever opens next.
    const last = behind.at(-1)
    const isUnused = last !== undefined && replayed.unusedNumbers.includes(last.number)
    const adopted = await files.adopt(isUnused ? last : undefined)
    // Small, since the first write waits for it; the next, larger one is made behind the writes.
    const segment = await files.create(this.#freshPlan(replayed, seqFloor), this.#options.firstSegmentBytes)
    this.#running = this.#run(files, segment)
    this.#log = this.#running.log
    for (const closed of kept) files.addClosed(closed)
    const dead = [...this.#found.dead.map(closedOf), ...behind].filter((found) => found !== adopted)
    // Not being able to tidy up is no reason to refuse writes; the next start finds them dead again.
    await files.discard(dead).catch((cause: unknown) => {
      onEvent({ kind: 'recycle-failed', cause })
    })
  }

  /** Segments up to the end of the log, and those behind it. */
  #sortFound(replayed: ReplayedLog): { readonly kept: ClosedSegment[]; readonly behind: ClosedSegment[] } {
    const endIndex = replayed.range?.end.chainIndex ?? -1
    const chain = this.#found.chain.map(closedOf)
    return { kept: chain.slice(0, endIndex + 1), behind: chain.slice(endIndex + 1) }
  }

  #freshPlan(replayed: ReplayedLog, seqFloor: number) {
    const { highestNumber, chain } = this.#found
    const { range, report } = replayed
    const end = range === undefined ? undefined : chain.at(range.end.chainIndex)
    const predecessorNumber = end?.header.number ?? 0
    const predecessorEndBytes = end === undefined ? 0 : lsnOffset(report.end)
    return {
      // A store that waits "before segment n" must find its log there.
      number: Math.max(highestNumber + 1, lsnSegment(this.#replayFrom ?? lsn(1, 0))),
      seqFloor: Math.max(seqFloor, report.highestSeq),
      predecessorNumber,
      predecessorEndBytes,
      markSegment: predecessorNumber,
      markOffset: predecessorEndBytes,
    }
  }

  #run(files: SegmentFiles, segment: LiveSegment): Running {
    const { io, durability, syncIntervalMs, onEvent } = this.#options
    const fault = this.#fault
    const stability = new Stability({
      io,
      fault,
      syncIntervalMs,
      onEvent,
      seqFloor: segment.seqFloor,
      onRetired: (retired) => {
        this.#retire(files, retired)
      },
    })
    const supply = new SegmentSupply(
      files,
      fault,
      () => {
        const newest = stability.segments.at(-1)?.segment ?? segment
        return {
          number: newest.number + 1,
          seqFloor: stability.lastSeq,
          predecessorNumber: newest.number,
          predecessorEndBytes: newest.sizeBytes,
          markSegment: stability.markSegment,
          markOffset: stability.markOffset,
        }
      },
      (ready) => {
        stability.floorIsStable(ready.seqFloor)
      },
    )
    const log =
      segment.mapping === undefined
        ? new WrittenLog(io, durability, segment, fault, stability, supply, onEvent)
        : new MappedLog(segment, fault, stability, supply, onEvent)
    return { log, files, stability, supply }
  }

  #retire(files: SegmentFiles, segment: LiveSegment): void {
    const done = this.#closeSegment(segment).then(() => {
      files.addClosed({ number: segment.number, path: segment.path, sizeBytes: segment.sizeBytes })
    })
    this.#retirements.add(done)
    ignoreRejection(
      done.then(
        () => this.#retirements.delete(done),
        (error: unknown) => this.#fault.poison(error),
      ),
    )
  }

  // ---- checks --------------------------------------------------------------------------------------------------

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new HoltError('HOLT_CLOSED', 'the journal was closed')
  }

  get #hasEnded(): boolean {
    return this.#closing !== undefined || this.#sealedAt !== undefined
  }

  #appendable(): Log {
    this.#checkOpen()
    this.#fault.check()
    if (this.#log === undefined) throw new HoltError('HOLT_INTERNAL', 'the journal was not started')
    return this.#log
  }

  #refused(): Promise<never> {
    try {
      this.#appendable()
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)))
    }
    return Promise.reject(new HoltError('HOLT_INTERNAL', 'the journal was not started'))
  }

  #reserved(): Log {
    const log = this.#log
    if (log === undefined || !this.#isReserved) throw new HoltError('HOLT_INTERNAL', 'no record is reserved')
    this.#isReserved = false
    return log
  }

  #checkBody(bodyBytes: number): void {
    if (!(bodyBytes >= 0 && Number.isInteger(bodyBytes))) {
      throw new HoltError('HOLT_INVALID_ARGUMENT', `a record of ${String(bodyBytes)} bytes`)
    }
    if (bodyBytes > this.maxBodyBytes) {
      throw new HoltError(
        'HOLT_BATCH_TOO_LARGE',
        `a record of ${String(bodyBytes)} bytes, a journal segment has room for ${String(this.maxBodyBytes)}`,
      )
    }
  }
}

function closedOf({ path, header }: FoundLog['dead'][number]): ClosedSegment {
  return { number: header.number, path, sizeBytes: header.segmentBytes }
}

/** Bytes appended and not stable: exact within a segment, what is written and not stable otherwise. */
function lsnDistance(stable: Lsn, position: Lsn, writtenBytes: number): number {
  return lsnSegment(stable) === lsnSegment(position) ? lsnOffset(position) - lsnOffset(stable) : writtenBytes
}

/** Numbers in [0, 1) from the Io's generator. */
function randomOf(io: Io): () => number {
  const word = new Uint32Array(1)
  const bytes = new Uint8Array(word.buffer)
  return () => {
    io.fillRandom(bytes)
    return word[0] / 2 ** 32
  }
}
