import { HoltError } from '@holt/errors'
import type { Io } from '@holt/uring-native'
import {
  lsn,
  lsnOffset,
  lsnSegment,
  MAX_SEGMENT_NUMBER,
  type Follower,
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
import { LogFollower, type FollowedLog, type FollowFrom } from './log-follower.js'
import { deferred, ignoreRejection, type Deferred } from './promises.js'
import { ReadableLog } from './readable-log.js'
import { RecordLookup, type FoundRecord } from './record-lookup.js'
import { FIRST_CALLER_TYPE, LAST_TYPE, RECORD_CLOSING_MARK, RECORD_MIN_BYTES, recordBytes } from './record.js'
import { findLog, readHistory, type FoundLog, type FoundSegment, type History } from './recovery.js'
import { replayLog, type ReplayedLog, type ReplayVisitor } from './replay.js'
import { Retention } from './retention.js'
import { FIRST_RECORD_OFFSET, wasBegunByRecovery } from './segment-header.js'
import { SegmentSupply } from './segment-supply.js'
import {
  SegmentFiles,
  type ClosedSegment,
  type Expendable,
  type LiveSegment,
  type SegmentPlan,
} from './segments.js'
import { Stability } from './stability.js'
import { rewriteRecords, rewriteUnmarkedTail } from './tail-rewrite.js'
import { WrittenLog } from './written-log.js'

const NO_BODY = new Uint8Array(0)
const NO_WORDS = new Uint32Array(0)
/** Up to so many words a loop is faster than a call of `set` and the view that it needs. */
const MOST_COPIED_WORDWISE = 128

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
  /** What replay has handed out up to here is stable. */
  #settledUpTo = lsn(0, 0)
  #starting: Promise<void> | undefined
  #running: Running | undefined
  #log: Log | undefined
  #isReserved = false
  /** Nothing is appended any more, since it is closing or sealed. */
  #hasEnded = false
  #closing: Promise<void> | undefined
  /** Before the segment that the next opening makes, once nothing is appended any more. */
  #sealedAt: Lsn | undefined
  #prepared: LiveSegment | undefined
  readonly #readable = new ReadableLog()
  readonly #followers = new Set<LogFollower>()
  /** Settled and made anew at whatever may let a follower go on. */
  #change: Deferred | undefined
  #heldFrom: Lsn | undefined
  #history: Promise<History> | undefined
  readonly #retention: Retention
  readonly #lookup: RecordLookup
  readonly #retirements = new Set<Promise<void>>()

  private constructor(options: CheckedOptions, found: FoundLog) {
    this.#options = options
    this.#found = found
    // A record, and behind it room for the filler or the mark that ends the segment.
    this.maxBodyBytes = options.segmentBytes - FIRST_RECORD_OFFSET - 2 * RECORD_MIN_BYTES
    this.#lookup = new RecordLookup(options.io)
    this.#retention = new Retention(options.io, options, options.segmentBytes, () => {
      let lowest = Number.POSITIVE_INFINITY
      for (const follower of this.#followers) lowest = Math.min(lowest, follower.segmentNumber)
      return lowest
    })
    this.#fault.onPoisoned((error) => {
      options.onEvent({ kind: 'poisoned', cause: error.cause })
      this.#wakeFollowers()
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
    const found = await findLog(io, directory, storeId, readOnly, options.names, options.imagePosition)
    return new Journal(checked, found)
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
    this.#replayFrom = from
    const replayed = await replayLog(io, directory, this.#found, from, visit, readOnly)
    if (this.#replayed === undefined) this.#readable.addFound(this.#found, replayed)
    this.#replayed = replayed
    return replayed.report
  }

  /**
   * During a replay: makes the records before `position`, that of the record in hand, stable as {@link start} does, so that
   * an image may have that position.
   *
   * @throws HoltError `HOLT_IO`, `HOLT_NO_SPACE`
   */
  async settleReplayed(position: Lsn): Promise<void> {
    const from = Math.max(this.#settledUpTo, this.#found.stableMark, this.#replayFrom ?? 0) as Lsn
    await rewriteRecords(this.#options.io, this.#found, from, position)
    this.#settledUpTo = position
  }

  /**
   * Makes the journal ready to append; {@link replay} has run. In this order: `beforeFirstChange`; the records above
   * the highest stable mark are written again in place and synced; a fresh segment that names where the log ends, and
   * `seqFloor` as a seq below which everything may have been handed out, becomes durable; segments that are not part
   * of the log are removed. No segment that was found is ever appended to. `priorSeq` is the highest seq that the image and
   * the log hold; the floor by default.
   *
   * @throws HoltError `HOLT_READ_ONLY`; `HOLT_NO_SPACE`, `HOLT_IO` and whatever `beforeFirstChange` throws, after
   * which it can be called again from its beginning; `HOLT_POISONED` if the rewriting failed.
   */
  start(seqFloor: number, beforeFirstChange?: () => Promise<void>, priorSeq = seqFloor): Promise<void> {
    if (this.#running !== undefined) return Promise.resolve()
    this.#starting ??= this.#start(seqFloor, priorSeq, beforeFirstChange).catch((error: unknown) => {
      this.#starting = undefined
      throw error
    })
    return this.#starting
  }

  // ---- appending -----------------------------------------------------------------------------------------------

  hasRoom(bodyBytes: number): boolean {
    const log = this.#log
    if (log === undefined || this.#hasEnded) return false
    if (bodyBytes <= log.plainBodyBytes) return true
    return bodyBytes <= this.maxBodyBytes && log.hasRoom(recordBytes(bodyBytes))
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
    if (log === undefined || !this.#canReserve(type, seq, bodyBytes))
      throw this.#whyNotReserved(type, seq, bodyBytes)
    log.reserve(type, seq, bodyBytes)
    this.#isReserved = true
  }

  /** Each comparison is false for NaN too; what is wrong is said by the second look. */
  #canReserve(type: RecordType, seq: number, bodyBytes: number): boolean {
    return (
      !this.#isReserved &&
      bodyBytes >= 0 &&
      type >= FIRST_CALLER_TYPE &&
      type <= LAST_TYPE &&
      seq >= 0 &&
      (type | 0) === type &&
      (bodyBytes | 0) === bodyBytes &&
      Number.isSafeInteger(seq) &&
      this.hasRoom(bodyBytes)
    )
  }

  append(
    type: RecordType,
    seq: number,
    first: number,
    a: Uint32Array,
    aAt: number,
    aBytes: number,
    b: Uint32Array,
    bAt: number,
    bBytes: number,
  ): void {
    const log = this.#log
    const bodyBytes = 4 + ((aBytes + 3) & -4) + bBytes
    if (log === undefined || !this.#canReserve(type, seq, bodyBytes))
      throw this.#whyNotReserved(type, seq, bodyBytes)
    if (log.append(type, seq, bodyBytes, first, a, aAt, aBytes, b, bAt, bBytes)) return
    log.reserve(type, seq, bodyBytes)
    const { words } = log.memory
    const at = log.bodyOffset >>> 2
    words[at] = first
    copyBytes(a, aAt, aBytes, words, at + 1)
    copyBytes(b, bAt, bBytes, words, at + 1 + ((aBytes + 3) >>> 2))
    log.leave()
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

  /**
   * Before a segment that is not there: an image with that position needs nothing of the log, and what is journalled after
   * it does not continue the log.
   */
  get placeBehindAll(): Lsn {
    const number = Math.max(this.#found.highestNumber + 1, lsnSegment(this.#replayFrom ?? lsn(1, 0)))
    return number > MAX_SEGMENT_NUMBER ? this.position : lsn(number, 0)
  }

  /** Where {@link replay} has to begin to find the end, and no earlier: what is before is known to be stable. */
  get firstUncertain(): Lsn | undefined {
    const { chain, stableMark } = this.#found
    const oldest = chain.at(0)?.header
    if (oldest === undefined || stableMark === 0) return undefined
    // The segment of the mark may have been put away since.
    return lsnSegment(stableMark) < oldest.number ? lsn(oldest.number, 0) : stableMark
  }

  /** Whether the chain found holds all from a position on; 0: from its first segment. */
  reachesBackTo(position: Lsn): boolean {
    const oldest = this.#found.chain.at(0)?.header
    if (oldest === undefined) return position === 0
    return position === 0 ? oldest.predecessorNumber === 0 : oldest.number <= lsnSegment(position)
  }

  /**
   * The record at a position that was told, also if it is not written yet.
   *
   * @throws HoltError `HOLT_NOT_FOUND` if its segment is not there; `HOLT_CORRUPT`; `HOLT_IO`; `HOLT_POISONED`.
   */
  async recordAt(position: Lsn): Promise<FoundRecord> {
    this.#checkOpen()
    await this.#written()
    this.#checkOpen()
    const number = lsnSegment(position)
    const segment = this.#readable.find(number)
    if (segment === undefined)
      throw new HoltError('HOLT_NOT_FOUND', `the journal has no segment ${String(number)}`)
    const end = this.position
    const limitBytes = lsnSegment(end) === number ? lsnOffset(end) : segment.endBytes
    return await this.#lookup.read(segment, lsnOffset(position), limitBytes)
  }

  /** All records from one position to another, stable or not. */
  async walk(from: Lsn, to: Lsn): Promise<Follower> {
    this.#checkOpen()
    await this.#written()
    this.#checkOpen()
    const walk: Follower = this.#follower(
      { afterSeq: undefined, lastSeq: -1, end: from },
      {
        tellable: () => to,
        // There is no more.
        changed: () => {
          void walk.close()
          return Promise.resolve()
        },
      },
    )
    return walk
  }

  /** Ends the segment, unless it is empty. Resolves when what was appended before is written. */
  async roll(): Promise<void> {
    for (;;) {
      const log = this.#appendable()
      if (lsnOffset(log.position) === FIRST_RECORD_OFFSET) break
      if (this.#running?.supply.next !== undefined) {
        log.roll()
        break
      }
      await log.makeRoom(0)
    }
    await this.#written()
  }

  /** What was appended can be read. */
  async #written(): Promise<void> {
    // Of what was poisoned that is written still can.
    if (this.#fault.error === undefined) await this.#log?.acknowledge('os')
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
    if (!this.#hasEnded || (this.#closing === undefined && this.#retention.isOn))
      this.#running?.files.recycle(position)
  }

  // ---- following -----------------------------------------------------------------------------------------------

  follow(afterSeq: number | undefined, lastSeq: number): Follower {
    this.#checkOpen()
    return this.#follower({ afterSeq, lastSeq, end: this.position })
  }

  #follower(from: FollowFrom, differently: Partial<FollowedLog> = {}): Follower {
    const log: FollowedLog = {
      io: this.#options.io,
      segments: this.#readable,
      tellable: () => this.#tellable,
      historyKnown: async () => {
        if (this.#found.history.length > 0) await this.#historyKnown()
      },
      changed: () => this.#changed(),
      wake: () => {
        this.#wakeFollowers()
      },
      ...differently,
    }
    const follower = new LogFollower(log, from, () => {
      // What was kept for it is let go of with the next recycling.
      this.#followers.delete(follower)
    })
    this.#followers.add(follower)
    return follower
  }

  holdFollowers(): void {
    this.#heldFrom ??= this.position
  }

  releaseFollowers(): void {
    this.#heldFrom = undefined
    this.#wakeFollowers()
  }

  get #tellable(): Lsn {
    const stable = this.stablePosition
    return this.#heldFrom !== undefined && this.#heldFrom < stable ? this.#heldFrom : stable
  }

  #changed(): Promise<void> {
    if (this.#fault.error !== undefined) return Promise.reject(this.#fault.error)
    this.#change ??= deferred()
    return this.#change.promise
  }

  #wakeFollowers(): void {
    const change = this.#change
    if (change === undefined) return
    this.#change = undefined
    change.resolve()
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
    if (this.#retention.isOn) {
      this.#sealAt(running.log.position)
      return
    }
    // Beyond the highest number there is no place: the log then stays where it is, and takes no opening more.
    if (newest === undefined || newest.number >= MAX_SEGMENT_NUMBER) return
    this.#sealAt(lsn(newest.number + 1, 0))
  }

  #sealAt(position: Lsn): void {
    this.#sealedAt = position
    this.#hasEnded = true
  }

  close(options: { readonly discard?: boolean } = {}): Promise<void> {
    this.#hasEnded = true
    this.#closing ??= this.#close(options.discard ?? false)
    return this.#closing
  }

  async #close(discard: boolean): Promise<void> {
    await Promise.all([...this.#followers].map((follower) => follower.close()))
    await this.#lookup.close()
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
      if (failure === undefined && discard && this.#sealedAt !== undefined) {
        const { files } = running
        const tidied = this.#retention.isOn ? files.keepRetained(this.#prepared) : files.discardAll(live)
        await tidied.catch((cause: unknown) => {
          this.#options.onEvent({ kind: 'recycle-failed', cause })
        })
      }
    } catch (error) {
      failure ??= error
    }
    if (failure !== undefined) throw failure instanceof Error ? failure : this.#fault.poison(failure)
  }

  #isToBeDiscarded(discard: boolean): boolean {
    return discard && this.#sealedAt !== undefined && !this.#retention.isOn
  }

  /** Gives every file and mapping back, whatever state they are in. Returns the segments that were live. */
  async #release({ log, files, stability, supply }: Running): Promise<readonly LiveSegment[]> {
    log.end()
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

  async #start(
    seqFloor: number,
    priorSeq: number,
    beforeFirstChange: (() => Promise<void>) | undefined,
  ): Promise<void> {
    this.#checkOpen()
    this.#fault.check()
    if (this.#options.readOnly) throw new HoltError('HOLT_READ_ONLY', 'the journal was opened for reading')
    const replayed = this.#replayed
    if (replayed === undefined)
      throw new HoltError('HOLT_INVALID_ARGUMENT', 'replay the journal before it is started')
    for (const seq of [seqFloor, priorSeq]) {
      if (!(seq >= 0 && Number.isSafeInteger(seq)))
        throw new HoltError(
          'HOLT_INVALID_ARGUMENT',
          `seq floor or prior seq ${String(seq)}, expected a whole number below 2^53`,
        )
    }
    const { io, directory, storeId, segmentBytes, mapped, onEvent } = this.#options
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
      mapped,
      onEvent,
      retention: this.#retention,
      onPutAway: (number) => {
        this.#readable.remove(number)
        ignoreRejection(this.#lookup.forget(number))
      },
    })
    const { kept, behind } = this.#sortFound(replayed)
    // Only the last one: without any other the chain to the log would be broken for whoever opens next.
    const last = behind.at(-1)
    const isUnused = last !== undefined && replayed.unusedNumbers.includes(last.number)
    const heldSeq = Math.max(priorSeq, replayed.highestRecordSeq)
    const adopted = await files.adopt(
      isUnused && this.#isFloorHeldWithout(last.number, heldSeq) ? last : undefined,
    )
    // Small, since the first write waits for it; the next, larger one is made behind the writes.
    const plan = this.#freshPlan(replayed, seqFloor, priorSeq)
    const segment = await files.create(plan, this.#options.firstSegmentBytes)
    this.#readable.begin(segment, plan.predecessorNumber, priorSeq)
    this.#running = this.#run(files, segment)
    this.#log = this.#running.log
    this.#wakeFollowers()
    for (const closed of kept) files.addClosed(closed)
    if (this.#found.history.length > 0) this.#takeHistory(files)
    const dead = [...this.#found.dead.map(deadOf), ...behind].filter((found) => found !== adopted)
    // Not being able to tidy up is no reason to refuse writes; the next start finds them dead again.
    await files.discard(dead).catch((cause: unknown) => {
      onEvent({ kind: 'recycle-failed', cause })
    })
  }

  /**
   * Whether the highest seq floor is found again without that segment: in another header, or because so high a seq is. The first
   * segment of a life whose writes a power loss took says alone what that life may have handed out: it stays until the next
   * one's header is stable.
   */
  #isFloorHeldWithout(number: number, heldSeq: number): boolean {
    const floors = this.#found.chain.map(({ header }) => (header.number === number ? 0 : header.seqFloor))
    return Math.max(heldSeq, ...floors) >= this.#found.highestSeqFloor
  }

  /** Segments up to the end of the log, and those behind it. */
  #sortFound(replayed: ReplayedLog): { readonly kept: ClosedSegment[]; readonly behind: ClosedSegment[] } {
    const endIndex = replayed.range?.end.chainIndex ?? -1
    const chain = closedOf(this.#found.chain, this.#options.io.unixTimeMs())
    return { kept: chain.slice(0, endIndex + 1), behind: chain.slice(endIndex + 1) }
  }

  /** Looks after the segments from before the image, in the background: the first write does not wait for them. */
  #takeHistory(files: SegmentFiles): void {
    const { io, onEvent } = this.#options
    const done = files.takeOver(async () => {
      const { chain, damaged, dead } = await this.#historyKnown()
      const segments = closedOf([...chain, ...this.#found.chain.slice(0, 2)], io.unixTimeMs())
      const closed = segments.slice(0, chain.length)
      if (damaged !== undefined) {
        const { number, path } = damaged
        closed.push({ number, path, sizeBytes: 0, endedUnixMs: segments[0].endedUnixMs })
      }
      return { closed, dead }
    })
    done.catch((cause: unknown) => {
      onEvent({ kind: 'recycle-failed', cause })
    })
  }

  #historyKnown(): Promise<History> {
    const { io, storeId } = this.#options
    this.#history ??= readHistory(io, storeId, this.#found).then(
      (history) => {
        this.#readable.addHistory(history)
        return history
      },
      (error: unknown) => {
        // The next one tries again.
        this.#history = undefined
        throw error
      },
    )
    return this.#history
  }

  #freshPlan(replayed: ReplayedLog, seqFloor: number, priorSeq: number): SegmentPlan {
    const { highestNumber, chain } = this.#found
    const { range, report } = replayed
    const end = range === undefined ? undefined : chain.at(range.end.chainIndex)
    const predecessorNumber = end?.header.number ?? 0
    const predecessorEndBytes = end === undefined ? 0 : lsnOffset(report.end)
    return {
      // A store that waits "before segment n" must find its log there.
      number: Math.max(highestNumber + 1, lsnSegment(this.#replayFrom ?? lsn(1, 0))),
      seqFloor: Math.max(seqFloor, report.highestSeq),
      priorSeq,
      predecessorNumber,
      predecessorEndBytes,
      markSegment: predecessorNumber,
      markOffset: predecessorEndBytes,
    }
  }

  #run(files: SegmentFiles, segment: LiveSegment): Running {
    const { io, durability, syncIntervalMs, writesAtOnce, onEvent } = this.#options
    const fault = this.#fault
    const stability = new Stability({
      io,
      fault,
      syncIntervalMs,
      onEvent,
      seqFloor: segment.seqFloor,
      onBegun: (begun, priorSeq) => {
        // The first one of an opening continues another life's.
        if (begun !== segment) this.#readable.begin(begun, begun.number - 1, priorSeq)
      },
      onAdvanced: () => {
        this.#wakeFollowers()
      },
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
          priorSeq: stability.lastSeq,
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
        ? new WrittenLog(io, durability, segment, fault, stability, supply, onEvent, writesAtOnce)
        : new MappedLog(segment, fault, stability, supply, onEvent)
    return { log, files, stability, supply }
  }

  #retire(files: SegmentFiles, segment: LiveSegment): void {
    const done = this.#closeSegment(segment).then(() => {
      const { number, path, sizeBytes } = segment
      files.addClosed({ number, path, sizeBytes, endedUnixMs: this.#options.io.unixTimeMs() })
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

/** Copies bytes that begin on a word to where a word begins; what is behind them in their last word becomes zero. */
function copyBytes(
  from: Uint32Array,
  fromAt: number,
  lengthBytes: number,
  to: Uint32Array,
  toAt: number,
): void {
  const whole = lengthBytes >>> 2
  const rest = lengthBytes & 3
  if (whole > MOST_COPIED_WORDWISE) to.set(from.subarray(fromAt, fromAt + whole), toAt)
  else for (let i = 0; i < whole; i++) to[toAt + i] = from[fromAt + i]
  if (rest !== 0) to[toAt + whole] = from[fromAt + whole] & ((1 << (rest << 3)) - 1)
}

function deadOf({ path, header }: FoundSegment): Expendable {
  return { number: header.number, path, sizeBytes: header.segmentBytes }
}

/**
 * A chain's segments, none of which is appended to. When each of them ended follows from the headers behind it: one that a
 * recovery wrote is younger than the end of the segment before it, any other than that of the one before that.
 */
function closedOf(chain: readonly FoundSegment[], nowMs: number): ClosedSegment[] {
  return chain.map(({ path, header }, i) => {
    const next = chain.at(i + 1)?.header
    const younger = next === undefined || wasBegunByRecovery(next) ? next : chain.at(i + 2)?.header
    return {
      number: header.number,
      path,
      sizeBytes: header.segmentBytes,
      endedUnixMs: younger?.createdUnixMs ?? nowMs,
    }
  })
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
