import { dirname } from 'node:path'
import { HoltError, isHoltError } from '@holt/errors'
import type { Io } from '@holt/uring-native'
import { lsn, lsnOffset, lsnSegment, type Follower, type JournalStats, type Lsn } from './contract.js'
import type { JournalEventListener } from './events.js'
import { Journal } from './journal.js'
import type { SharedLog } from './log-appender.js'
import { FIRST_CALLER_TYPE, recordBytes } from './record.js'
import { RingServer, type ServedLog, type ShareOptions } from './ring-server.js'
import { FIRST_RECORD_OFFSET, STORE_ID_BYTES } from './segment-header.js'

/** Where a record lies in a log-structured store: ordered as a number, good for as long as the record is kept. */
export type Location = Lsn

/**
 * How writes reach the disk.
 * - `'serialised'`: one after the other, each stable before the next begins: for logs.
 * - `'tail-localised'`: several at once, in any order, near the tail; stable after {@link LogStructuredStore.sync}, or after
 *   a while. For bulk appends.
 */
export type WriteMode = 'serialised' | 'tail-localised'

export interface LogStructuredStoreOptions {
  readonly io: Io
  /** Where the segments lie, and nothing else. Made if it is absent. */
  readonly directory: string
  /** Default `'tail-localised'`. */
  readonly mode?: WriteMode
  /** Bytes of a segment: a multiple of 4096 from 16 KiB to 128 MiB. 32 MiB by default. */
  readonly segmentBytes?: number
  /** `'tail-localised'`: writes that may be under way at once, from 2. Default 8. */
  readonly writesAtOnce?: number
  /** `'tail-localised'`: how long a byte stays unsynced. Default 1000. */
  readonly syncIntervalMs?: number
  /** 16 bytes that every segment carries; those of another store are refused. All zeros by default. */
  readonly storeId?: Uint8Array
  readonly onEvent?: JournalEventListener
}

/** Memory for a record that is being made. Becomes one by {@link LogStructuredStore.write}, or nothing. */
export interface Reservation {
  readonly bytes: Uint8Array
}

/** What opening found. */
export interface FoundStore {
  /** `clean` after a close, `torn` otherwise: then records that were not stable may be missing at the end. */
  readonly tail: 'clean' | 'torn'
  /** Valid records behind a torn end. They are no part of the store any more. */
  readonly recordsBehindEnd: number
}

export interface StoredRecord {
  readonly location: Location
  readonly bytes: Uint8Array
}

interface WaitingAppend {
  readonly type: number
  readonly bytes: Uint8Array
  /** Of a truncation. */
  readonly begin: Location | undefined
  readonly resolve: (location: Promise<Location>) => void
  readonly reject: (error: unknown) => void
}

/** A caller's record. */
const DATA_RECORD = FIRST_CALLER_TYPE
/** Says by its seq where the store begins now. */
const BEGIN_RECORD = FIRST_CALLER_TYPE + 1

const NOTHING = new Uint8Array(0)

/**
 * An append-only store of opaque records, in the manner of LLAMA's log-structured store (Levandoski, Lomet, Sengupta: LLAMA:
 * A Cache/Storage Subsystem for Modern Hardware, VLDB 2013): appends are gathered in buffers and written at the tail, a
 * record is found again by its location, and what is not needed any more is dropped from the other end.
 *
 * Beyond it, a record has a frame with checksums, salted by place and by use of the file, so that nothing but what was
 * appended is ever read; and a store that was not closed is opened again: the records up to the first gap are there, what
 * was stable is among them, and nothing is appended to a segment that was found.
 *
 * Every record carries, as its seq, the location where the store began when it was appended; so whatever end recovery finds
 * tells the beginning too, and a segment that is missing in between is told from one that was dropped.
 *
 * A failed write or sync poisons the store: later appends fail with `HOLT_POISONED`, reads go on. A full disk does not.
 */
export class LogStructuredStore implements AsyncDisposable {
  readonly #io: Io
  readonly #directory: string
  readonly #journal: Journal
  readonly #mode: WriteMode
  readonly #waiting: WaitingAppend[] = []
  readonly #reservations = new WeakSet<Reservation>()
  #draining: Promise<void> = Promise.resolve()
  #isDraining = false
  #isStarted = false
  #begin: Location
  #closing: Promise<void> | undefined
  /** Nothing is appended any more, also not what appenders have left. */
  #isShut = false
  #ring: RingServer | undefined

  /** What opening found. */
  readonly found: FoundStore

  private constructor(
    { io, directory }: LogStructuredStoreOptions,
    journal: Journal,
    mode: WriteMode,
    begin: Location,
    found: FoundStore,
  ) {
    this.#io = io
    this.#directory = directory
    this.#journal = journal
    this.#mode = mode
    this.#begin = begin
    this.found = found
  }

  /**
   * Opens a store, and makes it if there is none. Reads the heads of the segments, and the records behind the last place
   * that is known to be stable. Changes no file.
   *
   * @throws HoltError `HOLT_INVALID_ARGUMENT`; `HOLT_CORRUPT` naming the file and offset; `HOLT_VERSION`; `HOLT_IO`.
   */
  static async open(options: LogStructuredStoreOptions): Promise<LogStructuredStore> {
    const { io, directory, mode = 'tail-localised', writesAtOnce = 8, storeId, ...rest } = options
    checkMode(mode, writesAtOnce)
    await io.mkdir(directory)
    const { segmentBytes, syncIntervalMs, onEvent } = rest
    let onSync: () => void = () => undefined
    const journal = await Journal.open({
      io,
      directory,
      storeId: storeId ?? new Uint8Array(STORE_ID_BYTES),
      durability: mode === 'serialised' ? 'disk' : 'os',
      mapped: false,
      writesAtOnce: mode === 'serialised' ? 1 : writesAtOnce,
      ...(segmentBytes === undefined ? {} : { segmentBytes }),
      ...(syncIntervalMs === undefined ? {} : { syncIntervalMs }),
      onEvent: (event) => {
        if (event.kind === 'sync') onSync()
        onEvent?.(event)
      },
    })
    const report = await journal.replay(journal.firstUncertain, () => undefined)
    const begin = report.highestSeq as Location
    if (!journal.reachesBackTo(begin)) {
      await journal.close()
      throw new HoltError(
        'HOLT_CORRUPT',
        `${directory}: the store begins at ${describe(begin)}, and the segments from there on are not all there`,
      )
    }
    const { tail, recordsBehindEnd } = report
    const store = new LogStructuredStore(options, journal, mode, begin, { tail, recordsBehindEnd })
    onSync = () => {
      store.#ring?.publishMarks()
    }
    return store
  }

  /** Where the oldest record lies that is kept, or the first one will. */
  get begin(): Location {
    return this.#begin
  }

  /** Behind the newest record. Not the next one's location: that may come to lie in another segment. */
  get end(): Location {
    return this.#journal.position
  }

  /** Everything before it is stable. */
  get stableEnd(): Location {
    return this.#journal.stablePosition
  }

  /** The largest record, in bytes. */
  get maxRecordBytes(): number {
    return this.#journal.maxBodyBytes
  }

  stats(): JournalStats {
    return this.#journal.stats()
  }

  // ---- appending -----------------------------------------------------------------------------------------------

  /** Memory for a record of so many bytes. Takes no place in the store. Throws `HOLT_INVALID_ARGUMENT`. */
  reserve(lengthBytes: number): Reservation {
    this.#checkLength(lengthBytes)
    const reservation: Reservation = { bytes: new Uint8Array(lengthBytes) }
    this.#reservations.add(reservation)
    return reservation
  }

  /** Appends what was reserved and filled; its memory is the store's from now on. As {@link append}. */
  write(reservation: Reservation): Promise<Location> {
    if (!this.#reservations.delete(reservation)) {
      return Promise.reject(
        new HoltError('HOLT_INVALID_ARGUMENT', 'the reservation is not of this store, or was used already'),
      )
    }
    return this.#appendOwn(DATA_RECORD, reservation.bytes)
  }

  /** The reservation comes to nothing. Throws `HOLT_INVALID_ARGUMENT`. */
  cancel(reservation: Reservation): void {
    if (!this.#reservations.delete(reservation))
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        'the reservation is not of this store, or was used already',
      )
  }

  /**
   * Appends a record. Resolves to its location, once it and all before it are stable (`'serialised'`) or belong to the
   * operating system (`'tail-localised'`). Records lie in the order of the calls. The bytes may be used again at once.
   *
   * Rejects `HOLT_INVALID_ARGUMENT`, `HOLT_NO_SPACE` (a later call tries again), `HOLT_POISONED`, `HOLT_IO`, `HOLT_CLOSED`.
   */
  append(bytes: Uint8Array): Promise<Location> {
    try {
      this.#checkLength(bytes.length)
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)))
    }
    return this.#appendOwn(DATA_RECORD, this.#canAppend(bytes.length) ? bytes : new Uint8Array(bytes))
  }

  /**
   * Ends the segment: what is appended next begins another one, so that what was appended up to now can be dropped alone.
   * Resolves when all of that is written. Does nothing to a segment without a record. Rejects as {@link append} does.
   */
  async roll(): Promise<void> {
    await this.#drained()
    if (this.#isStarted) await this.#journal.roll()
  }

  /** Resolves when everything appended before it is stable. Rejects as {@link append} does. */
  async sync(): Promise<void> {
    await this.#drained()
    if (this.#isStarted) await this.#journal.sync()
    // What a killed process left may be in the system's memory only; a start makes it stable.
    else if (lsnOffset(this.end) > 0 && this.stableEnd < this.end) await this.#start()
  }

  /** Whether the record at that location, and all before it, survive a power loss. */
  isDurable(location: Location): boolean {
    // The stable end never lies inside a record.
    const isPlace = location >= this.#begin && lsnOffset(location) >= FIRST_RECORD_OFFSET
    return isPlace && location < this.stableEnd && location < this.end
  }

  // ---- other threads -------------------------------------------------------------------------------------------

  /**
   * Lets other threads append: give what it returns to workers, which call `attachAppender` with it. Always the same; options
   * count the first time. Its memory, 1.5 × `buffers` × `bufferBytes`, is touched as far as it is used.
   *
   * A record from another thread is copied twice: into a buffer of the ring, there, and from it into the log, here.
   *
   * @throws HoltError `HOLT_INVALID_ARGUMENT`; `HOLT_CLOSED`.
   */
  share(options: ShareOptions = {}): SharedLog {
    this.#checkOpen()
    this.#ring ??= new RingServer(this.#served(), options)
    return { kind: 'holt-shared-log', memory: this.#ring.memory.shared }
  }

  /**
   * The thread of that number (`worker.threadId`, asked while it ran) has ended, and with it its appenders. To be called for a
   * worker that may have ended in the middle of an append, by `terminate`, `process.exit` or an error: the rest waits for it
   * otherwise. Records that were complete are appended; one that was not is skipped.
   */
  release(threadId: number): void {
    this.#ring?.release(threadId)
  }

  // ---- reading -------------------------------------------------------------------------------------------------

  /**
   * The bytes of the record at a location, also of one that is not written yet.
   *
   * @throws HoltError `HOLT_NOT_FOUND` when the location was dropped or lies behind the end; `HOLT_CORRUPT` when there is no
   * valid record: it is damaged, or the location is none that an append gave; `HOLT_IO`; `HOLT_CLOSED`.
   */
  async read(location: Location): Promise<Uint8Array> {
    this.#checkOpen()
    this.#checkKept(location)
    const { type, body } = await this.#journal.recordAt(location)
    if (type === DATA_RECORD) return body
    throw new HoltError('HOLT_CORRUPT', `at ${describe(location)} there is no record of a caller's`)
  }

  /**
   * All records from a location on, in order, as far as they were appended before its first step. Default from the beginning.
   * Rejects as {@link read} does, `HOLT_NOT_FOUND` also for what was dropped meanwhile.
   */
  async *scan(from: Location = this.#begin): AsyncGenerator<StoredRecord, void, undefined> {
    this.#checkOpen()
    const { end } = this
    if (from < this.#begin || from > end) this.#checkKept(from)
    let records: Follower | undefined
    try {
      records = await this.#journal.walk(from, end)
      for (let record = await records.next(); record !== undefined; record = await records.next()) {
        if (record.type !== DATA_RECORD) continue
        yield { location: record.position, bytes: record.body.slice() }
      }
    } catch (error) {
      if (!isHoltError(error, 'HOLT_POSITION_EXPIRED')) throw error
      throw new HoltError('HOLT_NOT_FOUND', 'records were dropped before the scan came to them', {
        cause: error,
      })
    } finally {
      await records?.close()
    }
  }

  // ---- ends ----------------------------------------------------------------------------------------------------

  /**
   * Drops all records before a location; the files of segments that lie wholly before it are used again or removed. That it
   * was done is stable before any file goes. A location at or before the beginning drops nothing.
   *
   * Rejects `HOLT_NOT_FOUND` for one behind the end, and as {@link append} does.
   */
  async truncate(before: Location): Promise<void> {
    this.#checkOpen()
    await this.#drained()
    if (before <= this.#begin) return
    if (before > this.end) this.#checkKept(before)
    // What says where the store begins may be found although records before it are lost: so that place is stable first.
    await this.sync()
    await this.#appendOwn(BEGIN_RECORD, NOTHING, before)
    await this.#journal.sync()
    // From now on every record says so.
    this.#begin = Math.max(this.#begin, before) as Location
    this.#ring?.publishMarks()
    this.#journal.recycle(this.#begin)
  }

  /**
   * Takes what appenders have appended, and refuses what comes later; writes and syncs everything, marks the end, gives all
   * files back. Rejects with the cause when it was poisoned. A thread in the middle of an append is waited for, one second.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#ring?.close()
    await this.#draining
    this.#isShut = true
    await this.#journal.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  // ---- in turn -------------------------------------------------------------------------------------------------

  #canAppend(lengthBytes: number): boolean {
    return (
      this.#isStarted && !this.#isShut && this.#waiting.length === 0 && this.#journal.hasRoom(lengthBytes)
    )
  }

  #appendOwn(type: number, bytes: Uint8Array, begin?: Location): Promise<Location> {
    if (this.#closing !== undefined) return Promise.reject(wasClosed())
    return this.#append(type, bytes, begin)
  }

  #served(): ServedLog {
    const stableEnd = (): Location => Math.min(this.stableEnd, this.end) as Location
    const begin = (): Location => this.#begin
    return {
      io: this.#io,
      maxRecordBytes: this.maxRecordBytes,
      append: async (bytes) =>
        await this.#append(DATA_RECORD, this.#canAppend(bytes.length) ? bytes : new Uint8Array(bytes)),
      sync: () => this.sync(),
      get begin() {
        return begin()
      },
      get stableEnd() {
        return stableEnd()
      },
    }
  }

  #append(type: number, bytes: Uint8Array, begin?: Location): Promise<Location> {
    if (this.#canAppend(bytes.length)) return this.#appendNow(type, bytes, begin)
    if (this.#isShut) return Promise.reject(wasClosed())
    return new Promise((resolve, reject) => {
      this.#waiting.push({ type, bytes, begin, resolve, reject })
      if (this.#isDraining) return
      this.#isDraining = true
      this.#draining = this.#drain()
    })
  }

  #appendNow(type: number, bytes: Uint8Array, begin = this.#begin): Promise<Location> {
    const journal = this.#journal
    journal.reserve(type, begin, bytes.length)
    journal.body.set(bytes, journal.bodyOffset)
    journal.leave()
    const end = journal.position
    const location = lsn(lsnSegment(end), lsnOffset(end) - recordBytes(bytes.length))
    return journal.acknowledge(this.#mode === 'serialised' ? 'disk' : 'os').then(() => location)
  }

  async #drain(): Promise<void> {
    for (let next = this.#waiting.at(0); next !== undefined; next = this.#waiting.at(0)) {
      const { type, bytes, begin, resolve, reject } = next
      try {
        if (!this.#isStarted) await this.#start()
        await this.#journal.whenRoom(bytes.length)
        resolve(this.#appendNow(type, bytes, begin))
      } catch (error) {
        reject(error)
      }
      this.#waiting.shift()
    }
    this.#isDraining = false
  }

  /** Resolves when what was called before has its place. */
  async #drained(): Promise<void> {
    this.#checkOpen()
    if (this.#isDraining) await this.#draining
  }

  async #start(): Promise<void> {
    await this.#journal.start(this.#begin, () => this.#makeNameStable())
    this.#isStarted = true
    if (this.#begin === 0) return
    // What a truncation before this opening had no time to put away.
    this.#journal.recycle(this.#begin)
  }

  /** The way to the directory, whose name may be as young as the store. */
  async #makeNameStable(): Promise<void> {
    if (!this.#journal.isNew) return
    for (let path = this.#directory; dirname(path) !== path; path = dirname(path)) {
      try {
        await this.#io.syncDir(dirname(path))
      } catch (error) {
        // A directory that may be passed but not opened is not one that was just made.
        if (!(isHoltError(error) && (error.errno === 'EACCES' || error.errno === 'EPERM'))) throw error
      }
    }
  }

  // ---- checks --------------------------------------------------------------------------------------------------

  #checkOpen(): void {
    if (this.#closing !== undefined) throw wasClosed()
  }

  #checkLength(lengthBytes: number): void {
    if (Number.isSafeInteger(lengthBytes) && lengthBytes >= 0 && lengthBytes <= this.maxRecordBytes) return
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `a record of ${String(lengthBytes)} bytes; from 0 to ${String(this.maxRecordBytes)} are possible with segments of this size`,
    )
  }

  #checkKept(location: Location): void {
    if (location >= this.#begin && location < this.end) return
    const { begin, end } = this
    throw new HoltError(
      'HOLT_NOT_FOUND',
      `the store has records from ${describe(begin)} to ${describe(end)}, and none at ${describe(location)}`,
    )
  }
}

function wasClosed(): HoltError {
  return new HoltError('HOLT_CLOSED', 'the store was closed')
}

function checkMode(mode: unknown, writesAtOnce: unknown): void {
  if (mode !== 'serialised' && mode !== 'tail-localised') {
    throw new HoltError('HOLT_INVALID_ARGUMENT', "mode is neither 'serialised' nor 'tail-localised'")
  }
  if (!Number.isSafeInteger(writesAtOnce) || (writesAtOnce as number) < 2 || (writesAtOnce as number) > 1024)
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `writesAtOnce is ${String(writesAtOnce)}, expected 2 to 1024`,
    )
}

function describe(location: Location): string {
  return `segment ${String(lsnSegment(location))} offset ${String(lsnOffset(location))}`
}
