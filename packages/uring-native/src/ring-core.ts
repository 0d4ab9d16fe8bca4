import { HoltError } from '@holt/errors'

import type { NativeRing, RingAddon } from './addon.js'
import { CompletionLedger } from './completion-ledger.js'
import { LatencyHistogram } from './latency-histogram.js'
import { errnoName } from './native-errno.js'
import type { RingOperation } from './ring-operations.js'

const COMMAND_NUMBERS = 10
const COMPLETION_NUMBERS = 3
/** In front of the completions: how many operations the kernel has, and the errno that broke the ring. */
const COMPLETIONS_FROM = 2
const MICROSECONDS_PER_MS = 1000

export interface RingCoreOptions {
  /** How many operations may be outstanding; the kernel may grant fewer. */
  readonly entries: number
  /** At least 0: a thread of the kernel submits, and sleeps after so long without work. -1: none. */
  readonly submissionThreadIdleMs: number
  readonly fileTable: number
  readonly bufferTable: number
}

/** How an operation hangs together with the one put after it: flags of a submission entry. */
export const LINK = { none: 0, soft: 1 << 2, hard: 1 << 3 } as const
export type Link = (typeof LINK)[keyof typeof LINK]

/**
 * One io_uring of this thread. Operations are put into its slots, handed over together by one native call, and hear of
 * their completion once. Buffers are referenced from the ring itself until the kernel has let go of them.
 *
 * When the ring breaks (the kernel refuses it for good, a completion is lost, twice there, or nobody's), it is closed
 * at once, which waits for what the kernel still owns; everything outstanding is abandoned with `HOLT_RING` and the
 * reason, and nothing is taken any more.
 */
export class RingCore {
  readonly #addon: RingAddon
  readonly #ring: NativeRing
  readonly #ledger: CompletionLedger<RingOperation>
  readonly #startedMs: Float64Array
  readonly #latency = new LatencyHistogram()
  readonly #onArrival: () => void
  #stagedCount = 0
  /** Handed over since completions were last looked for. */
  #passedOnCount = 0
  #stagedMs = 0
  #highestOutstanding = 0
  #closed = false
  #broken: HoltError | undefined

  /**
   * @param onArrival - called from the event loop after operations have completed
   * @throws `HOLT_UNSUPPORTED` where the system refuses io_uring, with its reason
   */
  constructor(addon: RingAddon, options: RingCoreOptions, onArrival: () => void) {
    this.#addon = addon
    this.#onArrival = onArrival
    const ring = addon.createRing(
      options.entries,
      options.submissionThreadIdleMs,
      options.fileTable,
      options.bufferTable,
      (count) => {
        this.#take(count)
        this.#onArrival()
      },
    )
    if (typeof ring === 'number') throw refused(errnoName(ring))
    this.#ring = ring
    this.#ledger = new CompletionLedger(ring.entries)
    this.#startedMs = new Float64Array(ring.entries)
    ring.held.fill(undefined)
  }

  get native(): NativeRing {
    return this.#ring
  }

  get addon(): RingAddon {
    return this.#addon
  }

  /** How many operations can be outstanding: what the kernel granted. */
  get entries(): number {
    return this.#ring.entries
  }

  get freeCount(): number {
    return this.#closed ? 0 : this.#ledger.freeCount
  }

  /** Put or with the kernel. */
  get outstandingCount(): number {
    return this.#ledger.outstandingCount
  }

  get highestOutstandingCount(): number {
    return this.#highestOutstanding
  }

  get staleCount(): number {
    return this.#ledger.staleCount
  }

  get latency(): LatencyHistogram {
    return this.#latency
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** Something was passed on, and completions were not looked for since. */
  get wantsLook(): boolean {
    return this.#passedOnCount > 0
  }

  /** Why the ring takes nothing any more, if it broke. */
  get broken(): HoltError | undefined {
    return this.#broken
  }

  /** Takes an operation into a free slot. Nothing reaches the kernel before {@link handOver}. False without a slot. */
  put(operation: RingOperation, link: Link = LINK.none): boolean {
    if (this.#closed) return false
    const slot = this.#ledger.issue(operation)
    if (slot === undefined) return false
    if (this.#stagedCount === 0) this.#stagedMs = performance.now()
    this.#startedMs[slot] = this.#stagedMs
    const { commands, held } = this.#ring
    held[2 * slot] = operation.bytes
    held[2 * slot + 1] = operation.secondPath
    const at = COMMAND_NUMBERS * this.#stagedCount++
    commands[at] = operation.opcode
    commands[at + 1] = slot
    commands[at + 2] = operation.fd
    commands[at + 3] = operation.offset
    commands[at + 4] = operation.start
    commands[at + 5] = operation.length
    commands[at + 6] = operation.flags
    commands[at + 7] = link
    commands[at + 8] = this.#ledger.generationOf(slot)
    commands[at + 9] = operation.fileIndex
    return true
  }

  /** Hands over what was put, by one native call, and delivers whatever has completed. Calls nothing for nothing. */
  handOver(): void {
    if ((this.#stagedCount === 0 && this.#passedOnCount === 0) || this.#closed) return
    this.#submit()
  }

  /**
   * Hands over what was put and delivers nothing, so it may be called while completions are being delivered: the device
   * works on it meanwhile. {@link handOver} must follow before the event loop gets its turn.
   */
  passOn(): void {
    if (this.#stagedCount === 0 || this.#closed) return
    const count = this.#stagedCount
    this.#noteOutstanding()
    this.#stagedCount = 0
    this.#passedOnCount += count
    this.#addon.passOnRing(this.#ring.id, count)
  }

  /** As {@link handOver}, looking for completions also if nothing was put. */
  look(): void {
    if (!this.#closed && this.outstandingCount > 0) this.#submit()
  }

  /**
   * Hands over, then blocks until so many have completed or the time is over. Negative: without end. Returns at once
   * when something has completed already.
   */
  waitSync(timeoutMs: number, atLeast = 1): void {
    this.passOn()
    if (this.#closed || this.outstandingCount === 0) return
    this.#take(this.#addon.waitRing(this.#ring.id, timeoutMs, atLeast))
  }

  /** Asks the kernel to give the operation up. It completes in any case. */
  cancel(operation: RingOperation): void {
    if (this.#closed) return
    const slot = this.#ledger.slotOf(operation)
    if (slot === undefined) return
    this.handOver()
    if (this.#ledger.slotOf(operation) !== slot) return
    this.#addon.cancelRing(this.#ring.id, slot, this.#ledger.generationOf(slot))
  }

  /** Whether an outstanding operation uses memory of this buffer. */
  uses(buffer: ArrayBufferLike): boolean {
    return this.#ledger.some(({ bytes }) => bytes?.buffer === buffer)
  }

  /** Gives the ring back. What is still outstanding is cancelled or awaited by blocking, and reports nothing. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#addon.closeRing(this.#ring.id)
  }

  #noteOutstanding(): void {
    const outstanding = this.outstandingCount
    if (outstanding > this.#highestOutstanding) this.#highestOutstanding = outstanding
  }

  #submit(): void {
    this.#noteOutstanding()
    const count = this.#stagedCount
    this.#stagedCount = 0
    this.#take(this.#addon.submitRing(this.#ring.id, count))
  }

  /** Takes completions out of the shared array. An operation's `completed` may at most pass others on: that leaves the array as it is. */
  #take(count: number): void {
    if (count < 0) {
      this.#break(`the addon refused it with ${errnoName(count)}`)
      return
    }
    this.#passedOnCount = 0
    const { completions, held } = this.#ring
    const nowMs = count > 0 ? performance.now() : 0
    const ownedByKernel = completions[0]
    const brokenBy = completions[1]
    let wrong: string | undefined
    for (let i = 0; i < count; i++) {
      const at = COMPLETIONS_FROM + COMPLETION_NUMBERS * i
      const slot = completions[at]
      const generation = completions[at + 1]
      const operation = this.#ledger.settle(slot, generation)
      if (operation === 'stale') continue
      if (typeof operation === 'string') {
        wrong ??= `a ${operation} completion of slot ${String(slot)}, generation ${String(generation)}`
        continue
      }
      held[2 * slot] = undefined
      held[2 * slot + 1] = undefined
      this.#latency.record((nowMs - this.#startedMs[slot]) * MICROSECONDS_PER_MS)
      operation.completed(completions[at + 2])
    }
    if (brokenBy !== 0) wrong = `io_uring_enter failed with ${errnoName(brokenBy)}`
    // What operations put while they were told of their completion is not with the kernel yet.
    const missing = this.#ledger.missingCount(ownedByKernel + this.#passedOnCount + this.#stagedCount)
    if (missing > 0)
      wrong ??= `${String(missing)} of ${String(this.outstandingCount)} completions are missing`
    if (wrong !== undefined) this.#break(wrong)
  }

  #break(reason: string): void {
    if (this.#broken !== undefined) return
    const error = new HoltError('HOLT_RING', `the ring is broken: ${reason}`)
    this.#broken = error
    this.#stagedCount = 0
    this.close()
    this.#ring.held.fill(undefined)
    for (const operation of this.#ledger.abandonAll()) operation.abandoned(error)
  }
}

function refused(errno: string): HoltError {
  const reason =
    errno === 'EPERM' || errno === 'EACCES'
      ? 'forbidden by sysctl kernel.io_uring_disabled, seccomp or a security module'
      : errno === 'ENOSYS'
        ? 'the kernel has none, or seccomp hides it'
        : errno === 'EOPNOTSUPP' || errno === 'EINVAL'
          ? 'the kernel is too old; Linux 5.15 is needed'
          : errno === 'ENOMEM'
            ? 'no memory may be locked for it (RLIMIT_MEMLOCK)'
            : 'the system refused it'
  return new HoltError('HOLT_UNSUPPORTED', `io_uring is not available: ${reason} (${errno})`, {
    errno,
    syscall: 'io_uring_setup',
  })
}
