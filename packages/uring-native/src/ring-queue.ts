import { HoltError } from '@holt/errors'

import type { NativeAddon, NativeRing } from './addon.js'
import { errnoName } from './native-errno.js'
import type { RingOperation } from './ring-operations.js'

const COMMAND_NUMBERS = 8

/** How often operations that complete at once may make room for further ones before the event loop gets its turn. */
const ROUNDS_PER_TURN = 4

/**
 * Operations on their way through one io_uring. Any number may be queued: what one turn of JavaScript queues is handed
 * over by one native call in the microtask after it, as many as the ring has slots for; the rest follows as operations
 * complete. Buffers are referenced from the ring itself until the kernel has let go of them.
 */
export class RingQueue {
  readonly #addon: NativeAddon
  readonly #ring: NativeRing
  readonly #waiting: (RingOperation | undefined)[] = []
  #waitingHead = 0
  readonly #operations: (RingOperation | undefined)[]
  readonly #freeSlots: number[]
  #flushScheduled = false
  #closed = false
  #completionWaiters: (() => void)[] = []

  /**
   * @param depth - how many operations may be outstanding; the kernel may grant fewer
   * @throws `HOLT_UNSUPPORTED` where the system refuses io_uring, with its reason
   */
  constructor(addon: NativeAddon, depth: number) {
    this.#addon = addon
    const ring = addon.createRing(depth, (count) => {
      this.#take(count)
      if (this.#waitingCount > 0) this.#flush()
    })
    if (typeof ring === 'number') throw refused(errnoName(ring))
    this.#ring = ring
    this.#operations = new Array<RingOperation | undefined>(ring.entries).fill(undefined)
    this.#freeSlots = Array.from({ length: ring.entries }, (_, slot) => ring.entries - 1 - slot)
    ring.held.fill(undefined)
  }

  /** How many operations can be with the kernel at once. */
  get depth(): number {
    return this.#ring.entries
  }

  get canTruncate(): boolean {
    return this.#ring.canTruncate
  }

  get #waitingCount(): number {
    return this.#waiting.length - this.#waitingHead
  }

  push(operation: RingOperation): void {
    if (this.#closed) throw new HoltError('HOLT_CLOSED', 'the ring was closed')
    this.#waiting.push(operation)
    if (this.#flushScheduled) return
    this.#flushScheduled = true
    queueMicrotask(() => {
      this.#flushScheduled = false
      this.#flush()
    })
  }

  /** Waits until no operation uses memory of this buffer. */
  async untilUnused(buffer: ArrayBufferLike): Promise<void> {
    const uses = (operation: RingOperation | undefined): boolean => operation?.bytes?.buffer === buffer
    while (this.#operations.some(uses) || this.#waiting.slice(this.#waitingHead).some(uses)) {
      await new Promise<void>((resolve) => this.#completionWaiters.push(resolve))
    }
  }

  /** Gives the ring back. What is still outstanding is cancelled or awaited by blocking, and reports nothing. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#addon.closeRing(this.#ring.id)
  }

  #flush(): void {
    for (let round = 0; round < ROUNDS_PER_TURN; round++) {
      const count = this.#fillCommands()
      if (count === 0) return
      const completions = this.#addon.submitRing(this.#ring.id, count)
      if (completions < 0) throw new HoltError('HOLT_RING', `the ring is broken: ${errnoName(completions)}`)
      if (completions > 0) this.#take(completions)
    }
    if (this.#waitingCount > 0 && this.#freeSlots.length > 0 && !this.#flushScheduled) {
      this.#flushScheduled = true
      setImmediate(() => {
        this.#flushScheduled = false
        this.#flush()
      })
    }
  }

  #fillCommands(): number {
    if (this.#closed) return 0
    const { commands, held } = this.#ring
    let count = 0
    while (this.#waitingHead < this.#waiting.length) {
      const operation = this.#waiting[this.#waitingHead]
      if (operation === undefined) break
      const slot = this.#freeSlots.pop()
      if (slot === undefined) break
      this.#waiting[this.#waitingHead++] = undefined
      this.#operations[slot] = operation
      held[2 * slot] = operation.bytes
      held[2 * slot + 1] = operation.secondPath
      const at = COMMAND_NUMBERS * count++
      commands[at] = operation.opcode
      commands[at + 1] = slot
      commands[at + 2] = operation.fd
      commands[at + 3] = operation.offset
      commands[at + 4] = operation.start
      commands[at + 5] = operation.length
      commands[at + 6] = operation.flags
    }
    if (this.#waitingHead === this.#waiting.length || this.#waitingHead > 4096) {
      this.#waiting.splice(0, this.#waitingHead)
      this.#waitingHead = 0
    }
    return count
  }

  /** Takes completions out of the shared array. No operation's `completed` submits, so the array stays as it is. */
  #take(count: number): void {
    const { completions, held } = this.#ring
    for (let i = 0; i < count; i++) {
      const slot = completions[2 * i]
      const result = completions[2 * i + 1]
      const operation = this.#operations[slot]
      this.#operations[slot] = undefined
      held[2 * slot] = undefined
      held[2 * slot + 1] = undefined
      this.#freeSlots.push(slot)
      operation?.completed(result)
    }
    if (this.#completionWaiters.length > 0) {
      const waiters = this.#completionWaiters
      this.#completionWaiters = []
      for (const wake of waiters) wake()
    }
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
