import { HoltError } from '@holt/errors'
import type { Io } from '@holt/uring-native'
import { lsnOffset, lsnSegment, type Lsn } from './contract.js'
import { failureWord } from './failure-word.js'
import { FlushRing } from './flush-ring.js'
import {
  BELL,
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

/** How many and how large the buffers are that appenders of a store share. */
export interface ShareOptions {
  /** A power of two, 2 … 64. Default 4. */
  readonly buffers?: number
  /** A multiple of 4096, up to 8 MiB: the largest record that an appender can append. Default 1 MiB. */
  readonly bufferBytes?: number
  /** How many may be attached at once, 1 … 255. Default 16. */
  readonly appenders?: number
}

/** Where an appender's records go to. */
export interface ServedLog {
  readonly io: Io
  readonly maxRecordBytes: number
  /** Takes the bytes at the call. */
  append(bytes: Uint8Array): Promise<Lsn>
  sync(): Promise<void>
  readonly begin: Lsn
  /** Everything before it is stable, and there is nothing behind it that is. */
  readonly stableEnd: Lsn
}

/** How many results of an appender may be unread, or still to come. */
const RESULTS_PER_APPENDER = 256
/** How long a close waits for threads that are inside a buffer. */
const CLOSE_GRACE_MS = 1000

/**
 * The owner's side of the flush-buffer ring: takes what appenders hand over to the log, in order, and tells them where it
 * lies. It sleeps on the bell by `waitAsync`, so it never blocks its thread, and an idle one keeps no process alive.
 *
 * One group of records, a buffer's, is under way at a time; meanwhile the next ones gather. The buffer is free again as soon
 * as the log has taken its bytes, and nobody is told anything before the log has acknowledged them.
 */
export class RingServer {
  readonly memory: RingMemory
  readonly #ring: FlushRing
  readonly #log: ServedLog
  readonly #words: Int32Array
  /** Appenders whose threads have ended: 'inside' as long as they may be counted in a buffer, then the generation to wait for. */
  readonly #gone = new Map<number, 'inside' | number>()
  #isSyncing = false
  #closing: Promise<void> | undefined
  readonly #serving: Promise<void>

  /** Throws `HOLT_INVALID_ARGUMENT`. */
  constructor(log: ServedLog, options: ShareOptions) {
    const { buffers = 4, bufferBytes = 2 ** 20, appenders = 16 } = options
    checkRange('buffers', buffers, 2, 64, (buffers & (buffers - 1)) === 0)
    checkRange('bufferBytes', bufferBytes, 4096, 2 ** 23, bufferBytes % 4096 === 0)
    checkRange('appenders', appenders, 1, 255)
    const maxRecordBytes = Math.min(bufferBytes, log.maxRecordBytes)
    this.memory = RingMemory.make({
      buffers,
      bufferBytes,
      appenders,
      results: RESULTS_PER_APPENDER,
      maxRecordBytes,
    })
    this.#words = this.memory.words
    this.#ring = new FlushRing(this.memory)
    this.#log = log
    this.publishMarks()
    this.#serving = this.#serve()
  }

  /** Tells where the store begins and ends stably. */
  publishMarks(): void {
    const { begin, stableEnd } = this.#log
    this.memory.writeMarks([lsnSegment(begin), lsnOffset(begin), lsnSegment(stableEnd), lsnOffset(stableEnd)])
  }

  /** That thread has ended. What it was appending is skipped if it was not complete; its places are free for others. */
  release(threadId: number): void {
    for (const appender of this.#ring.heldBy(threadId))
      if (!this.#gone.has(appender)) this.#gone.set(appender, 'inside')
    this.#wakeUp()
  }

  /** Appenders are refused from now on; resolves when what they had appended before is told. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#ring.shut()
    this.#wakeUp()
    // A thread that has ended, of which nobody told us, must not keep the store open for ever.
    const grace = this.#log.io.setTimer(CLOSE_GRACE_MS, () => {
      this.#ring.breakOpen()
      this.#wakeUp()
    })
    await this.#serving
    grace.cancel()
    this.publishMarks()
    Atomics.store(this.#words, ENDED, 1)
    for (let appender = 0; appender < this.memory.shape.appenders; appender++) this.#wakeAppender(appender)
  }

  // ---- serving -------------------------------------------------------------------------------------------------

  async #serve(): Promise<void> {
    for (;;) {
      // Who comes from now on rings; who came before is seen by the round.
      Atomics.store(this.#words, BELL, 0)
      const wasBusy = await this.#round()
      if (this.#ring.isEmptied) return
      if (wasBusy) continue
      const { value } = Atomics.waitAsync(this.#words, BELL, 0)
      await value
    }
  }

  async #round(): Promise<boolean> {
    this.#countOut()
    if (!this.#ring.hasNext) this.#ring.sealCurrent()
    const hasNext = this.#ring.hasNext
    if (hasNext) await this.#take()
    this.#freeThoseGone()
    this.#beginSync()
    return hasNext
  }

  async #take(): Promise<void> {
    const appenders: number[] = []
    const appended: Promise<Lsn>[] = []
    this.#ring.visitNext((appender, bytes) => {
      appenders.push(appender)
      appended.push(this.#log.append(bytes))
    })
    this.#ring.giveBack()
    this.#wakeThoseWithoutBuffer()
    const results = await Promise.allSettled(appended)
    // Before the locations: who learns one may ask at once whether it is durable.
    this.publishMarks()
    for (const [i, result] of results.entries()) this.#tell(appenders[i], result)
    for (const appender of new Set(appenders)) this.#wakeAppender(appender)
  }

  #tell(appender: number, result: PromiseSettledResult<Lsn>): void {
    const { memory } = this
    const countAt = memory.appenderAt(appender, RESULTS)
    const count = Atomics.load(this.#words, countAt)
    const at = memory.resultAt(appender, count)
    const isThere = result.status === 'fulfilled'
    Atomics.store(this.#words, at, isThere ? lsnSegment(result.value) : failureWord(result.reason))
    Atomics.store(this.#words, at + 1, isThere ? lsnOffset(result.value) : 0)
    Atomics.store(this.#words, countAt, (count + 1) | 0)
  }

  // ---- syncs ---------------------------------------------------------------------------------------------------

  /** One at a time, beside the appends; it serves all who asked before it began. */
  #beginSync(): void {
    if (this.#isSyncing) return
    const asked = new Map<number, number>()
    for (let appender = 0; appender < this.memory.shape.appenders; appender++) {
      const wanted = Atomics.load(this.#words, this.memory.appenderAt(appender, SYNCS_WANTED))
      const done = Atomics.load(this.#words, this.memory.appenderAt(appender, SYNCS_DONE))
      if (wanted !== done) asked.set(appender, wanted)
    }
    if (asked.size === 0) return
    this.#isSyncing = true
    void this.#sync(asked)
  }

  async #sync(asked: ReadonlyMap<number, number>): Promise<void> {
    let failure = 0
    try {
      await this.#log.sync()
    } catch (error) {
      failure = failureWord(error)
    }
    this.publishMarks()
    for (const [appender, wanted] of asked) {
      Atomics.store(this.#words, this.memory.appenderAt(appender, SYNC_FAILURE), failure)
      Atomics.store(this.#words, this.memory.appenderAt(appender, SYNCS_DONE), wanted)
      this.#wakeAppender(appender)
    }
    this.#isSyncing = false
    // Somebody may have asked meanwhile.
    this.#wakeUp()
  }

  // ---- threads that have ended ---------------------------------------------------------------------------------

  #countOut(): void {
    for (const [appender, state] of this.#gone) {
      if (state !== 'inside' || !this.#ring.countOut(appender, (other) => this.#gone.has(other))) continue
      // What it completed may lie in any buffer up to the current one, so its place is not free before.
      this.#gone.set(appender, this.#ring.current)
      this.#ring.sealCurrent()
    }
  }

  #freeThoseGone(): void {
    for (const [appender, state] of this.#gone) {
      if (state === 'inside' || !(this.#ring.hasTaken(state) || this.#ring.isEmptyAt(state))) continue
      this.#gone.delete(appender)
      const { memory } = this
      const wanted = Atomics.load(this.#words, memory.appenderAt(appender, SYNCS_WANTED))
      Atomics.store(this.#words, memory.appenderAt(appender, SYNCS_DONE), wanted)
      Atomics.store(this.#words, memory.appenderAt(appender, WANTS_BUFFER), 0)
      Atomics.store(this.#words, memory.appenderAt(appender, HOLDER), 0)
    }
  }

  // ---- waking --------------------------------------------------------------------------------------------------

  #wakeUp(): void {
    Atomics.store(this.#words, BELL, 1)
    Atomics.notify(this.#words, BELL)
  }

  #wakeAppender(appender: number): void {
    const events = this.memory.appenderAt(appender, EVENTS)
    Atomics.add(this.#words, events, 1)
    Atomics.notify(this.#words, events)
  }

  #wakeThoseWithoutBuffer(): void {
    for (let appender = 0; appender < this.memory.shape.appenders; appender++)
      if (Atomics.exchange(this.#words, this.memory.appenderAt(appender, WANTS_BUFFER), 0) !== 0)
        this.#wakeAppender(appender)
  }
}

function checkRange(name: string, value: unknown, least: number, most: number, fits = true): void {
  if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most && fits) return
  throw new HoltError(
    'HOLT_INVALID_ARGUMENT',
    `${name} is ${String(value)}, expected ${String(least)} to ${String(most)}${fits ? '' : ' and a power of two or a multiple of 4096'}`,
  )
}
