import { HoltError } from '@holt/errors'

import type { NativeRing, RingAddon } from './addon.js'
import type { LatencyHistogram } from './latency-histogram.js'
import { RingCore } from './ring-core.js'
import type { RingOperation } from './ring-operations.js'

/** How often operations that complete at once may make room for further ones before the event loop gets its turn. */
const ROUNDS_PER_TURN = 4

/** So many queued operations go to the device at once, while JavaScript still makes further ones. */
const PASS_ON_AT = 8
const PASS_ON_AGAIN_AT = 64

export interface RingQueueOptions {
  /** How many operations may be outstanding; the kernel may grant fewer. */
  readonly depth: number
  readonly fileTable?: number
  readonly bufferTable?: number
}

/**
 * Operations on their way through one io_uring. Any number may be queued: what one turn of JavaScript queues is handed
 * over in the microtask after it, as many as the ring has slots for (and earlier what is enough to busy the device); the
 * rest follows one by one as operations complete. Once the ring is broken, everything queued is abandoned with the reason.
 */
export class RingQueue {
  readonly #core: RingCore
  readonly #waiting: (RingOperation | undefined)[] = []
  #waitingHead = 0
  #flushScheduled = false
  #completionWaiters: (() => void)[] = []

  /** @throws `HOLT_UNSUPPORTED` where the system refuses io_uring, with its reason */
  constructor(addon: RingAddon, options: RingQueueOptions) {
    const { depth, fileTable = 0, bufferTable = 0 } = options
    const core = { entries: depth, submissionThreadIdleMs: -1, fileTable, bufferTable }
    this.#core = new RingCore(addon, core, () => {
      this.#arrived()
      if (this.#waitingCount > 0 || this.#core.wantsLook) this.#flush()
    })
  }

  /** How many operations can be with the kernel at once. */
  get depth(): number {
    return this.#core.entries
  }

  get native(): NativeRing {
    return this.#core.native
  }

  get latency(): LatencyHistogram {
    return this.#core.latency
  }

  /** With the kernel, and waiting for a slot. */
  get outstandingCount(): number {
    return this.#core.outstandingCount + this.#waitingCount
  }

  get highestOutstandingCount(): number {
    return this.#core.highestOutstandingCount
  }

  get broken(): HoltError | undefined {
    return this.#core.broken
  }

  get #waitingCount(): number {
    return this.#waiting.length - this.#waitingHead
  }

  push(operation: RingOperation): void {
    if (this.#core.isClosed && this.#core.broken === undefined) {
      throw new HoltError('HOLT_CLOSED', 'the ring was closed')
    }
    this.#waiting.push(operation)
    // A device that waits for the whole turn would be idle for as long as the turn's callbacks take.
    if (
      this.#waitingCount >= (this.#core.wantsLook ? PASS_ON_AGAIN_AT : PASS_ON_AT) &&
      this.#core.freeCount > 0
    ) {
      this.#stage()
      this.#core.passOn()
    }
    if (this.#flushScheduled) return
    this.#flushScheduled = true
    queueMicrotask(() => {
      this.#flushScheduled = false
      this.#flush()
    })
  }

  /** Hands over what is queued and blocks until half of what the kernel has, or all that will ever come, has come back. */
  waitSync(): void {
    const core = this.#core
    if (core.broken === undefined) {
      this.#stage()
      core.waitSync(-1, (core.outstandingCount + 1) >>> 1)
    }
    if (core.broken !== undefined) this.#abandonWaiting(core.broken)
    this.#arrived()
  }

  /** Waits until no operation uses memory of this buffer. */
  async untilUnused(buffer: ArrayBufferLike): Promise<void> {
    const uses = (operation: RingOperation | undefined): boolean => operation?.bytes?.buffer === buffer
    while (this.#core.uses(buffer) || this.#waiting.slice(this.#waitingHead).some(uses)) {
      await new Promise<void>((resolve) => this.#completionWaiters.push(resolve))
    }
  }

  /** Gives the ring back. What is still outstanding is cancelled or awaited by blocking, and reports nothing. */
  close(): void {
    this.#core.close()
  }

  #flush(): void {
    for (let round = 0; round < ROUNDS_PER_TURN; round++) {
      const broken = this.#core.broken
      if (broken !== undefined) {
        this.#abandonWaiting(broken)
        return
      }
      if (!this.#stage() && !this.#core.wantsLook) return
      this.#core.handOver()
      this.#arrived()
    }
    if (this.#waitingCount > 0 && this.#core.freeCount > 0 && !this.#flushScheduled) {
      this.#flushScheduled = true
      setImmediate(() => {
        this.#flushScheduled = false
        this.#flush()
      })
    }
  }

  /** Puts as many operations as there are slots. Whether there was any. */
  #stage(): boolean {
    let staged = false
    while (this.#waitingHead < this.#waiting.length) {
      const operation = this.#waiting[this.#waitingHead]
      if (operation === undefined || !this.#core.put(operation)) break
      this.#waiting[this.#waitingHead++] = undefined
      staged = true
    }
    if (this.#waitingHead === this.#waiting.length || this.#waitingHead > 4096) {
      this.#waiting.splice(0, this.#waitingHead)
      this.#waitingHead = 0
    }
    return staged
  }

  #abandonWaiting(error: HoltError): void {
    // What is abandoned may queue more: that is abandoned in the same loop.
    while (this.#waitingHead < this.#waiting.length) {
      const operation = this.#waiting[this.#waitingHead]
      this.#waiting[this.#waitingHead++] = undefined
      operation?.abandoned(error)
    }
    this.#waiting.length = 0
    this.#waitingHead = 0
    this.#arrived()
  }

  #arrived(): void {
    if (this.#completionWaiters.length === 0) return
    const waiters = this.#completionWaiters
    this.#completionWaiters = []
    for (const wake of waiters) wake()
  }
}
