import type { Io, ScheduledSync } from '@holt/uring-native'
import { lsn, type Lsn } from './contract.js'
import type { JournalEventListener } from './events.js'
import type { Fault } from './fault.js'
import { deferred, ignoreRejection, RESOLVED, type Deferred } from './promises.js'
import { FIRST_RECORD_OFFSET } from './segment-header.js'
import type { LiveSegment } from './segments.js'

/** How far one live segment is written (its bytes belong to the operating system) and stable. */
export interface TrackedSegment {
  readonly segment: LiveSegment
  /** Equal to the segment's size once it was closed. */
  writtenBytes: number
  stableBytes: number
  schedule: Schedule | undefined
}

interface Schedule {
  readonly sync: ScheduledSync
  cancelled: boolean
  /** Settles after what the sync proved was taken over. Never rejects. */
  settled: Promise<void>
}

export interface StabilityOptions {
  readonly io: Io
  readonly fault: Fault
  readonly syncIntervalMs: number
  /** A closed segment is wholly stable; nothing here uses it any more. */
  readonly onRetired: (segment: LiveSegment) => void
  readonly onEvent: JournalEventListener
  /** The log goes on in that segment; the highest seq before it. */
  readonly onBegun: (segment: LiveSegment, priorSeq: number) => void
  /** The stable position may have advanced. */
  readonly onAdvanced: () => void
  /** Floor of the first segment. */
  readonly seqFloor: number
}

/**
 * What of the log is on the medium. It is told what was written, syncs segments oldest first, and lets the stable mark
 * advance over the contiguous prefix that is proven: never past a segment's end before that segment was synced.
 *
 * A file is never synced twice at a time: of two syncs that overlap only one may learn of an error, and the other
 * would acknowledge what is lost.
 */
export class Stability {
  readonly #io: Io
  readonly #fault: Fault
  readonly #syncIntervalMs: number
  readonly #onRetired: (segment: LiveSegment) => void
  readonly #onEvent: JournalEventListener
  readonly #onBegun: StabilityOptions['onBegun']
  readonly #onAdvanced: () => void

  /** Oldest first: all that are not wholly stable, and the newest. */
  readonly #tracked: TrackedSegment[] = []
  #waiting: Deferred | undefined
  #running = false
  #stopped = false
  /** Highest seq that was appended; and that the system has, which a sync makes stable. */
  lastSeq: number
  writtenSeq: number
  /** Whether a sync of the newest segment is due anyway, so that {@link arm} need not be called. */
  armed = false

  // The stable position in two small integers, as records carry it.
  markSegment = 0
  markOffset = 0
  durableSeq: number
  syncs = 0

  constructor(options: StabilityOptions) {
    this.#io = options.io
    this.#fault = options.fault
    this.#syncIntervalMs = options.syncIntervalMs
    this.#onRetired = options.onRetired
    this.#onEvent = options.onEvent
    this.#onBegun = options.onBegun
    this.#onAdvanced = options.onAdvanced
    this.lastSeq = options.seqFloor
    this.writtenSeq = options.seqFloor
    this.durableSeq = options.seqFloor
    options.fault.onPoisoned((error) => {
      this.armed = true
      this.#waiting?.reject(error)
      this.#waiting = undefined
    })
  }

  get stablePosition(): Lsn {
    return lsn(this.markSegment, this.markOffset)
  }

  get unstableBytes(): number {
    let sum = 0
    for (const tracked of this.#tracked) sum += tracked.writtenBytes - tracked.stableBytes
    return sum
  }

  get segments(): readonly TrackedSegment[] {
    return this.#tracked
  }

  /** The log goes on in this segment. */
  begin(segment: LiveSegment): TrackedSegment {
    const tracked: TrackedSegment = {
      segment,
      writtenBytes: FIRST_RECORD_OFFSET,
      stableBytes: FIRST_RECORD_OFFSET,
      schedule: undefined,
    }
    this.#tracked.push(tracked)
    this.#onBegun(segment, this.lastSeq)
    this.armed = this.#running || this.#fault.error !== undefined
    this.#advance()
    return tracked
  }

  /** A floor that stands in a stable segment header. */
  floorIsStable(seqFloor: number): void {
    this.durableSeq = Math.max(this.durableSeq, seqFloor)
  }

  /** All that was written of this segment up to here is stable, and so is everything before it. */
  writtenStably(tracked: TrackedSegment, offsetBytes: number, seq: number): void {
    tracked.writtenBytes = offsetBytes
    tracked.stableBytes = offsetBytes
    this.durableSeq = Math.max(this.durableSeq, seq)
    this.#advance()
  }

  /** Sees to it that what is written and not stable will be synced after the interval. */
  arm(): void {
    if (this.#stopped || this.#running || this.#fault.error !== undefined) return
    this.armed = true
    for (const tracked of this.#tracked) {
      if (tracked.schedule === undefined && tracked.stableBytes < tracked.writtenBytes) {
        this.#schedule(tracked, this.#syncIntervalMs)
      }
    }
  }

  /**
   * Resolves when everything written so far is stable. The sync starts when the current turn's microtasks are reached,
   * and serves all who asked until then; who asks later shares the next one.
   */
  sync(): Promise<void> {
    if (this.#fault.error !== undefined) return Promise.reject(this.#fault.error)
    if (!this.#tracked.some((tracked) => tracked.stableBytes < tracked.writtenBytes)) return RESOLVED
    this.#waiting ??= deferred()
    if (!this.#running) {
      this.#running = true
      this.armed = true
      queueMicrotask(() => {
        ignoreRejection(this.#run())
      })
    }
    return this.#waiting.promise
  }

  /** No further sync starts by itself. Resolves when none is under way. */
  async stop(): Promise<void> {
    this.#stopped = true
    for (const tracked of this.#tracked) await settleSchedule(tracked)
  }

  async #run(): Promise<void> {
    let startedMs = this.#io.nowMs()
    while (this.#waiting !== undefined) {
      const group = this.#waiting
      this.#waiting = undefined
      startedMs = this.#io.nowMs()
      try {
        await this.#syncAll()
        this.#fault.check()
      } catch (error) {
        const poisoned = this.#fault.poison(error)
        group.reject(poisoned)
        return
      }
      group.resolve()
    }
    this.#running = false
    this.armed = false
    if (this.#stopped) return
    // The first unsynced byte is at most as old as the last sync's start.
    const delayMs = Math.max(0, this.#syncIntervalMs - (this.#io.nowMs() - startedMs))
    for (const tracked of this.#tracked) {
      if (tracked.stableBytes >= tracked.writtenBytes) continue
      this.armed = true
      if (tracked.schedule === undefined) this.#schedule(tracked, delayMs)
    }
  }

  async #syncAll(): Promise<void> {
    const seq = this.writtenSeq
    for (const tracked of [...this.#tracked]) {
      await settleSchedule(tracked)
      if (tracked.stableBytes >= tracked.writtenBytes) continue
      const upToBytes = tracked.writtenBytes
      const startedMs = this.#io.nowMs()
      await this.#io.sync(tracked.segment.file)
      this.#synced(tracked, upToBytes, startedMs)
    }
    this.durableSeq = Math.max(this.durableSeq, seq)
  }

  /**
   * When the scheduled sync starts is known to its own thread only. It covers what had been written at a moment that
   * is surely before: when it was ordered, or, if the event loop gets round to it early enough, half-way.
   */
  #schedule(tracked: TrackedSegment, delayMs: number): void {
    const orderedMs = this.#io.nowMs()
    let upToBytes = tracked.writtenBytes
    let seq = this.writtenSeq
    const sync = this.#io.syncAfter(tracked.segment.file, delayMs)
    const halfWay = this.#io.setTimer(delayMs / 2, () => {
      if (this.#io.nowMs() - orderedMs >= delayMs * 0.75) return
      upToBytes = tracked.writtenBytes
      seq = this.writtenSeq
    })
    const schedule: Schedule = { sync, cancelled: false, settled: RESOLVED }
    tracked.schedule = schedule
    schedule.settled = sync.done
      .then(
        () => {
          tracked.schedule = undefined
          if (schedule.cancelled) return
          this.#synced(tracked, upToBytes, orderedMs + delayMs)
          if (this.#tracked[0] === this.#tracked.at(-1) && this.#tracked[0] === tracked) {
            this.durableSeq = Math.max(this.durableSeq, seq)
          }
          this.#rearm(tracked, orderedMs + delayMs)
        },
        (error: unknown) => {
          // Also when it was cancelled too late: the error is told once, and to nobody else.
          tracked.schedule = undefined
          this.#fault.poison(error)
        },
      )
      .finally(() => {
        halfWay.cancel()
      })
    ignoreRejection(schedule.settled)
  }

  #rearm(tracked: TrackedSegment, dueMs: number): void {
    if (this.#stopped || this.#running || this.#fault.error !== undefined) return
    const isUnstable = tracked.stableBytes < tracked.writtenBytes
    if (isUnstable) {
      this.#schedule(tracked, Math.max(0, this.#syncIntervalMs - (this.#io.nowMs() - dueMs)))
    }
    if (tracked === this.#tracked.at(-1)) this.armed = isUnstable
  }

  #synced(tracked: TrackedSegment, upToBytes: number, startedMs: number): void {
    this.syncs++
    tracked.stableBytes = Math.max(tracked.stableBytes, upToBytes)
    this.#advance()
    this.#onEvent({
      kind: 'sync',
      durationMs: Math.max(0, this.#io.nowMs() - startedMs),
      stablePosition: this.stablePosition,
    })
  }

  #advance(): void {
    let oldest = this.#tracked.at(0)
    while (
      oldest !== undefined &&
      this.#tracked.length > 1 &&
      oldest.stableBytes >= oldest.segment.sizeBytes
    ) {
      this.#tracked.shift()
      // No sync of it is scheduled: of what is stable none is, and the one that made it stable called off what was.
      this.#onRetired(oldest.segment)
      oldest = this.#tracked.at(0)
    }
    if (oldest !== undefined) {
      this.markSegment = oldest.segment.number
      this.markOffset = oldest.stableBytes
    }
    this.#onAdvanced()
  }
}

/** Calls off the sync a segment is scheduled for, or waits for it when it has begun. */
async function settleSchedule(tracked: TrackedSegment): Promise<void> {
  const schedule = tracked.schedule
  if (schedule === undefined) return
  schedule.cancelled = true
  schedule.sync.cancel()
  await schedule.settled
}
