import { MessageChannel, threadId, type MessagePort } from 'node:worker_threads'
import { HoltError } from '@holt/errors'
import { lsn, lsnOffset, type Lsn } from './contract.js'
import { failureOf } from './failure-word.js'
import { ringBell } from './flush-ring.js'
import { ignoreRejection } from './promises.js'
import { EXHAUSTED, LEFT, RESERVED, RingEntry } from './ring-entry.js'
import {
  ENDED,
  EVENTS,
  HOLDER,
  RESULTS,
  RingMemory,
  SYNC_FAILURE,
  SYNCS_DONE,
  SYNCS_WANTED,
  WANTS_BUFFER,
} from './ring-memory.js'
import { FIRST_RECORD_OFFSET } from './segment-header.js'

/** What `store.share()` returns: give it to a worker (`workerData`, `postMessage`), which calls {@link attachAppender}. */
export interface SharedLog {
  readonly kind: 'holt-shared-log'
  readonly memory: SharedArrayBuffer
}

export interface AppenderOptions {
  /**
   * For tests: called in the middle of an append, when its place is `'reserved'`, when its bytes are `'copied'`, and when it
   * is `'left'`. The thread may stop there for long or for ever.
   */
  readonly onStep?: (step: 'reserved' | 'copied' | 'left') => void
}

interface Pending<T> {
  readonly resolve: (value: T) => void
  readonly reject: (error: unknown) => void
}

interface WaitingAppend extends Pending<Lsn> {
  readonly bytes: Uint8Array
}

interface WaitingSync extends Pending<undefined> {
  readonly wanted: number
}

/**
 * Joins a log-structured store of another thread (or of this one) for appending.
 *
 * @throws HoltError `HOLT_INVALID_ARGUMENT` for anything but what `store.share()` has returned; `HOLT_OUT_OF_MEMORY` when as
 * many are attached as it was shared for; `HOLT_CLOSED`.
 */
export function attachAppender(shared: SharedLog, options: AppenderOptions = {}): LogAppender {
  const given: unknown = shared
  if (typeof given !== 'object' || given === null || !('kind' in given) || given.kind !== 'holt-shared-log')
    throw new HoltError('HOLT_INVALID_ARGUMENT', 'attachAppender wants what store.share() has returned')
  const memory = new RingMemory(shared.memory)
  if (Atomics.load(memory.words, ENDED) !== 0) throw closed()
  for (let appender = 0; appender < memory.shape.appenders; appender++) {
    const holder = memory.appenderAt(appender, HOLDER)
    if (Atomics.compareExchange(memory.words, holder, 0, threadId + 1) === 0)
      return new LogAppender(memory, appender, options)
  }
  throw new HoltError(
    'HOLT_OUT_OF_MEMORY',
    `${String(memory.shape.appenders)} appenders are attached already, as many as the store was shared for`,
  )
}

/** Appends to a store that another thread has opened. Made by {@link attachAppender}; end it with {@link detach}. */
export class LogAppender {
  /** The largest record, in bytes. */
  readonly maxRecordBytes: number
  readonly #memory: RingMemory
  readonly #words: Int32Array
  readonly #appender: number
  readonly #entry: RingEntry
  readonly #onStep: AppenderOptions['onStep']
  /** In the ring or in the log, not told yet: in the order of the calls. */
  readonly #outstanding: Pending<Lsn>[] = []
  /** Not in the ring yet. */
  readonly #waiting: WaitingAppend[] = []
  readonly #syncs: WaitingSync[] = []
  readonly #syncsUnderWay = new Set<Promise<void>>()
  /** Of a channel on which nothing is ever said: a sleep on shared memory alone would let the thread end. */
  readonly #alive: MessagePort = new MessageChannel().port1
  #resultsRead: number
  #newest: Promise<unknown> = Promise.resolve()
  #attending: Promise<void> | undefined
  #detaching: Promise<void> | undefined

  /** @internal Use {@link attachAppender}. */
  constructor(memory: RingMemory, appender: number, { onStep }: AppenderOptions) {
    this.maxRecordBytes = memory.shape.maxRecordBytes
    this.#memory = memory
    this.#words = memory.words
    this.#appender = appender
    this.#entry = new RingEntry(memory, appender)
    this.#onStep = onStep
    this.#alive.on('message', () => undefined)
    this.#alive.unref()
    this.#resultsRead = Atomics.load(this.#words, this.#at(RESULTS))
  }

  /**
   * Appends a record. Resolves to its location once the owner's own append would: when it and all before it are stable
   * (`'serialised'`) or belong to the operating system (`'tail-localised'`). Records of one appender lie in the order of its
   * calls; there is no order between appenders. The bytes may be used again at once.
   *
   * When all buffers are full it waits until the owner gives one back; so does one with 256 appends under way. Those of one
   * appender wait in order; among appenders all are woken, and whoever is first goes on.
   *
   * Rejects as the owner's append does: `HOLT_INVALID_ARGUMENT`, `HOLT_NO_SPACE`, `HOLT_POISONED`, `HOLT_IO`, `HOLT_CLOSED`.
   */
  append(bytes: Uint8Array): Promise<Lsn> {
    if (this.#detaching !== undefined) return Promise.reject(detached())
    const given: unknown = bytes
    const isFit = given instanceof Uint8Array && given.length <= this.maxRecordBytes
    if (!isFit) {
      const message = `a record is a Uint8Array of up to ${String(this.maxRecordBytes)} bytes: so many fit into a buffer of this share`
      return Promise.reject(new HoltError('HOLT_INVALID_ARGUMENT', message))
    }
    const goesAtOnce = this.#waiting.length === 0 && this.#put(bytes)
    const appended = new Promise<Lsn>((resolve, reject) => {
      if (goesAtOnce) this.#outstanding.push({ resolve, reject })
      else this.#waiting.push({ bytes: new Uint8Array(bytes), resolve, reject })
    })
    // One that sleeps already does not know yet that somebody waits for a buffer.
    if (!goesAtOnce) Atomics.notify(this.#words, this.#at(EVENTS))
    this.#newest = appended
    this.#attend()
    return appended
  }

  /** Whether the record at that location, and all before it, survive a power loss: as far as the owner has told by now. */
  isDurable(location: Lsn): boolean {
    const [beginSegment, beginOffset, stableSegment, stableOffset] = this.#memory.readMarks()
    const isPlace = location >= lsn(beginSegment, beginOffset) && lsnOffset(location) >= FIRST_RECORD_OFFSET
    return isPlace && location < lsn(stableSegment, stableOffset)
  }

  /** Resolves when everything appended here before it is stable. Rejects as {@link append} does. */
  sync(): Promise<void> {
    if (this.#detaching !== undefined) return Promise.reject(detached())
    const synced = this.#sync()
    const settled = synced.catch(() => undefined).finally(() => this.#syncsUnderWay.delete(settled))
    this.#syncsUnderWay.add(settled)
    return synced
  }

  async #sync(): Promise<void> {
    await this.#newest.catch(() => undefined)
    const wanted = (Atomics.add(this.#words, this.#at(SYNCS_WANTED), 1) + 1) | 0
    const synced = new Promise<undefined>((resolve, reject) => this.#syncs.push({ wanted, resolve, reject }))
    ringBell(this.#words)
    this.#attend()
    await synced
  }

  /** Appends nothing more. Resolves when what was appended is told; then another thread may have its place. */
  detach(): Promise<void> {
    this.#detaching ??= this.#detach()
    return this.#detaching
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.detach()
  }

  async #detach(): Promise<void> {
    await Promise.all(this.#syncsUnderWay)
    while (this.#attending !== undefined) await this.#attending
    this.#alive.close()
    Atomics.store(this.#words, this.#at(HOLDER), 0)
  }

  // ---- into the ring -------------------------------------------------------------------------------------------

  /** False if it must wait. Also puts nothing into a ring that was shut: that is found out by {@link #look}. */
  #put(bytes: Uint8Array): boolean {
    if (this.#outstanding.length >= this.#memory.shape.results) return false
    const entry = this.#entry
    entry.begin(bytes.length)
    const outcome = entry.run()
    if (outcome === EXHAUSTED) return false
    if (outcome !== RESERVED) return false
    this.#onStep?.('reserved')
    this.#memory.bytes.set(bytes, entry.atBytes)
    this.#onStep?.('copied')
    const left = entry.run()
    this.#onStep?.('left')
    if (left !== LEFT) throw new HoltError('HOLT_INTERNAL', `an append ended with ${String(left)}`)
    return true
  }

  // ---- out of it -----------------------------------------------------------------------------------------------

  get #isPending(): boolean {
    return this.#outstanding.length + this.#waiting.length + this.#syncs.length > 0
  }

  /** Sees to what is pending, until nothing is. */
  #attend(): void {
    if (this.#attending !== undefined) return
    this.#attending = this.#seeToPending()
    ignoreRejection(this.#attending)
  }

  async #seeToPending(): Promise<void> {
    // What is appended in the same turn is looked after together.
    await Promise.resolve()
    const events = this.#at(EVENTS)
    this.#alive.ref()
    for (;;) {
      const seen = Atomics.load(this.#words, events)
      this.#look()
      if (!this.#isPending) break
      const { value } = Atomics.waitAsync(this.#words, events, seen)
      await value
    }
    this.#alive.unref()
    this.#attending = undefined
  }

  #look(): void {
    // Before the results: once it has ended, there will be no others.
    const hasEnded = Atomics.load(this.#words, ENDED) !== 0
    this.#readResults()
    this.#readSyncs()
    if (hasEnded) {
      for (const { reject } of this.#outstanding.splice(0)) reject(closed())
      for (const { reject } of this.#waiting.splice(0)) reject(closed())
      for (const { reject } of this.#syncs.splice(0)) reject(closed())
      return
    }
    this.#putWaiting()
  }

  #readResults(): void {
    const told = Atomics.load(this.#words, this.#at(RESULTS))
    for (; this.#resultsRead !== told; this.#resultsRead = (this.#resultsRead + 1) | 0) {
      const at = this.#memory.resultAt(this.#appender, this.#resultsRead)
      const segment = Atomics.load(this.#words, at)
      const pending = this.#outstanding.shift()
      if (segment < 0) pending?.reject(failureOf(segment))
      else pending?.resolve(lsn(segment, Atomics.load(this.#words, at + 1)))
    }
  }

  #readSyncs(): void {
    if (this.#syncs.length === 0) return
    const done = Atomics.load(this.#words, this.#at(SYNCS_DONE))
    const failure = Atomics.load(this.#words, this.#at(SYNC_FAILURE))
    for (let sync = this.#syncs.at(0); sync !== undefined; sync = this.#syncs.at(0)) {
      if (((done - sync.wanted) | 0) < 0) return
      this.#syncs.shift()
      if (failure < 0) sync.reject(failureOf(failure))
      else sync.resolve(undefined)
    }
  }

  #putWaiting(): void {
    while (this.#waiting.length > 0) {
      // Before it tries: who frees a buffer behind its back sees that and wakes it.
      Atomics.store(this.#words, this.#at(WANTS_BUFFER), 1)
      const { bytes, resolve, reject } = this.#waiting[0]
      if (!this.#put(bytes)) return
      this.#waiting.shift()
      this.#outstanding.push({ resolve, reject })
    }
    Atomics.store(this.#words, this.#at(WANTS_BUFFER), 0)
  }

  #at(word: number): number {
    return this.#memory.appenderAt(this.#appender, word)
  }
}

function closed(): HoltError {
  return new HoltError('HOLT_CLOSED', 'the store was closed')
}

function detached(): HoltError {
  return new HoltError('HOLT_CLOSED', 'the appender was detached')
}
