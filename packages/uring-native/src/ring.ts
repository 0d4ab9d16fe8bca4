import fs from 'node:fs'

import { HoltError } from '@holt/errors'

import { loadAsyncAddon } from './addon.js'
import type { NativeAddon, NativeRingUse } from './addon.js'
import { checkDelay } from './arguments.js'
import { blockSizeOf } from './block-size.js'
import { errnoName } from './native-errno.js'
import type {
  ParkOptions,
  Parked,
  Queued,
  RingCapabilities,
  RingCompletion,
  RingHandle,
  RingOpenOptions,
  RingOptions,
  RingRequest,
} from './ring-contract.js'
import { LINK, RingCore } from './ring-core.js'
import { RingFile } from './ring-files.js'
import { OPCODE } from './ring-operations.js'
import { checkRingOptions, checkRingRequest } from './ring-requests.js'
import { RegisteredBuffers, RegisteredFiles } from './ring-tables.js'
import type { BufferRegistration } from './ring-tables.js'
import { cancelled, makeTask } from './ring-tasks.js'
import type { RingTask, TaskHost } from './ring-tasks.js'
import { fromNodeError } from './system-error.js'

const SETUP_SUBMISSION_THREAD = 1 << 1
const SETUP_COOPERATIVE = 1 << 8
const SETUP_DEFERRED = 1 << 13

/** How often operations that complete at once may be carried on within one poll. */
const ROUNDS_PER_POLL = 4

const QUEUED = { queued: true } as const

/** io_uring, raw: see {@link RingHandle} for the contract. */
export class Ring<Handle extends RingHandle = RingHandle> {
  /** What has completed, oldest first. The caller takes things out; `poll` appends. */
  readonly completions: RingCompletion<Handle>[] = []
  readonly capabilities: RingCapabilities
  readonly #addon: NativeAddon
  readonly #core: RingCore
  readonly #host: TaskHost<Handle>
  readonly #fileTable: RegisteredFiles
  readonly #bufferTable: RegisteredBuffers
  readonly #files = new Set<RingFile>()
  /** In flight: queued, with the kernel, or completed and not polled. */
  readonly #tasks = new Map<Handle, RingTask<Handle>>()
  #queued: RingTask<Handle>[] = []
  /** Go on before anything new starts; each has the slot that it had. */
  #followUps: RingTask<Handle>[] = []
  #finished: RingCompletion<Handle>[] = []
  #waiters = new Set<() => void>()
  #closing: Promise<void> | undefined
  #closed = false

  private constructor(addon: NativeAddon, options: Required<RingOptions>) {
    this.#addon = addon
    const { entries, submissionThread, registeredFiles: fileTable, registeredBuffers: bufferTable } = options
    const submissionThreadIdleMs = typeof submissionThread === 'object' ? submissionThread.idleMs : -1
    this.#core = new RingCore(addon, { entries, submissionThreadIdleMs, fileTable, bufferTable }, () => {
      this.#carryOn()
    })
    const ring = this.#core.native
    this.#fileTable = new RegisteredFiles(addon, ring, fileTable)
    this.#bufferTable = new RegisteredBuffers(addon, ring, bufferTable)
    this.#host = this.#makeHost()
    const opcodes = new Set(ring.opcodes)
    const refusal = (errno: number): string | undefined => (errno === 0 ? undefined : errnoName(errno))
    this.capabilities = {
      entries: ring.entries,
      completionEntries: ring.completionEntries,
      completionMode:
        (ring.setupFlags & SETUP_SUBMISSION_THREAD) !== 0
          ? 'submission-thread'
          : (ring.setupFlags & SETUP_DEFERRED) !== 0
            ? 'deferred'
            : (ring.setupFlags & SETUP_COOPERATIVE) !== 0
              ? 'cooperative'
              : 'interrupting',
      submissionThreadRefusal: refusal(ring.submissionThreadRefusal),
      registeredFilesRefusal: refusal(ring.fileTableRefusal),
      registeredBuffersRefusal: refusal(ring.bufferTableRefusal),
      truncate: opcodes.has(OPCODE.ftruncate) ? 'ring' : 'blocking',
      opcodes,
    }
  }

  /**
   * @throws `HOLT_UNSUPPORTED` where the addon is missing or the system refuses io_uring (the message says why),
   *   `HOLT_INVALID_ARGUMENT` for bad options
   */
  static create<Handle extends RingHandle = RingHandle>(options: RingOptions = {}): Ring<Handle> {
    const checked = checkRingOptions(options)
    return new Ring<Handle>(loadAsyncAddon(), checked)
  }

  /** How many handles are in flight. */
  get inFlight(): number {
    return this.#tasks.size
  }

  /** How often the kernel was entered, and registered files and memory were used. */
  get use(): NativeRingUse {
    return this.#addon.ringUse(this.#core.native.id)
  }

  // ---- operations ------------------------------------------------------------------------------------------------

  open(handle: Handle, path: string, options: RingOpenOptions): Queued<RingRequest<Handle>> {
    return this.queue({ op: 'open', handle, path, options })
  }

  close(handle: Handle, file: RingFile): Queued<RingRequest<Handle>> {
    return this.queue({ op: 'close', handle, file })
  }

  stat(handle: Handle, file: RingFile): Queued<RingRequest<Handle>> {
    return this.queue({ op: 'stat', handle, file })
  }

  read(handle: Handle, file: RingFile, offsetBytes: number, bytes: Uint8Array): Queued<RingRequest<Handle>> {
    return this.queue({ op: 'read', handle, file, offsetBytes, bytes })
  }

  write(handle: Handle, file: RingFile, offsetBytes: number, bytes: Uint8Array): Queued<RingRequest<Handle>> {
    return this.queue({ op: 'write', handle, file, offsetBytes, bytes })
  }

  fsync(handle: Handle, file: RingFile): Queued<RingRequest<Handle>> {
    return this.queue({ op: 'fsync', handle, file })
  }

  datasync(handle: Handle, file: RingFile): Queued<RingRequest<Handle>> {
    return this.queue({ op: 'datasync', handle, file })
  }

  allocate(
    handle: Handle,
    file: RingFile,
    offsetBytes: number,
    lengthBytes: number,
  ): Queued<RingRequest<Handle>> {
    return this.queue({ op: 'allocate', handle, file, offsetBytes, lengthBytes })
  }

  truncate(handle: Handle, file: RingFile, sizeBytes: number): Queued<RingRequest<Handle>> {
    return this.queue({ op: 'truncate', handle, file, sizeBytes })
  }

  rename(handle: Handle, from: string, to: string): Queued<RingRequest<Handle>> {
    return this.queue({ op: 'rename', handle, from, to })
  }

  remove(handle: Handle, path: string): Queued<RingRequest<Handle>> {
    return this.queue({ op: 'remove', handle, path })
  }

  mkdir(handle: Handle, path: string): Queued<RingRequest<Handle>> {
    return this.queue({ op: 'mkdir', handle, path })
  }

  syncDirectory(handle: Handle, path: string): Queued<RingRequest<Handle>> {
    return this.queue({ op: 'syncDirectory', handle, path })
  }

  nop(handle: Handle): Queued<RingRequest<Handle>> {
    return this.queue({ op: 'nop', handle })
  }

  /**
   * Queues one operation; the methods above are this with names.
   *
   * @throws `HOLT_INVALID_ARGUMENT`, `HOLT_CLOSED`, or `HOLT_RING` for a handle that is in flight, a file that cannot be
   *   closed yet, or a broken ring; nothing is changed then
   */
  queue(request: RingRequest<Handle>): Queued<RingRequest<Handle>> {
    this.#assertOpen()
    this.#check(request)
    if (request.op === 'close' && request.file.uses > 0) throw inUse(request.file)
    const reason = this.#refusal(1)
    if (reason !== undefined) return { queued: false, reason, operation: request }
    const task = this.#admit(request)
    if (request.op === 'truncate' && this.capabilities.truncate === 'blocking') {
      this.#truncateNow(task, request.file, request.sizeBytes)
    } else {
      this.#queued.push(task)
    }
    return QUEUED
  }

  /**
   * Queues operations that run one after the other; `hard` goes on after a member that failed or was short. Opening
   * files and syncing directories are no members: they take several steps.
   *
   * @throws as {@link queue}, and `HOLT_INVALID_ARGUMENT` for a chain that is empty or longer than `entries`
   */
  chain(
    requests: readonly RingRequest<Handle>[],
    options: { readonly hard?: boolean } = {},
  ): Queued<readonly RingRequest<Handle>[]> {
    this.#assertOpen()
    if (!isList(requests) || requests.length === 0 || requests.length > this.#core.entries) {
      throw invalid(`a chain must be an array of 1 to ${String(this.#core.entries)} operations`)
    }
    this.#checkChain(requests)
    const reason = this.#refusal(requests.length)
    if (reason !== undefined) return { queued: false, reason, operation: requests }
    const tasks = requests.map((request) => this.#admit(request))
    for (const task of tasks) {
      task.chain = tasks
      task.link = options.hard === true ? LINK.hard : LINK.soft
    }
    const last = tasks.at(-1)
    if (last !== undefined) last.link = LINK.none
    this.#queued.push(...tasks)
    return QUEUED
  }

  /**
   * Asks that the operation be given up. Whether its handle is in flight and not completed yet; it completes in any
   * case.
   */
  cancel(handle: Handle): boolean {
    if (this.#closed) throw closedRing()
    const task = this.#tasks.get(handle)
    if (task === undefined || task.isFinished) return false
    if (this.#queued.includes(task)) {
      const together = task.chain ?? [task]
      this.#queued = this.#queued.filter((queued) => !together.includes(queued))
      for (const each of together) each.fail(cancelled(each.request.op, each.path))
    } else {
      task.requestCancel()
      this.#core.cancel(task)
    }
    this.#wake()
    return true
  }

  // ---- driving ---------------------------------------------------------------------------------------------------

  /** Hands over what is queued, takes what has completed. How many completions were appended. Never waits. */
  poll(): number {
    if (this.#closed) throw closedRing()
    this.#advance()
    return this.#publish()
  }

  /**
   * Hands over what is queued and waits until there is something to poll.
   *
   * @throws the signal's reason when it is aborted
   */
  async park(options: ParkOptions = {}): Promise<Parked> {
    const { timeoutMs, signal } = options
    if (timeoutMs !== undefined) checkDelay(timeoutMs)
    if (this.#closed) throw closedRing()
    signal?.throwIfAborted()
    this.#advance()
    if (this.#finished.length > 0) return 'ready'
    if (this.#tasks.size === 0) return 'idle'
    return this.#arrival(timeoutMs, signal)
  }

  /** As {@link park}, blocking the thread. */
  parkSync(options: { readonly timeoutMs?: number } = {}): Parked {
    const { timeoutMs } = options
    if (timeoutMs !== undefined) checkDelay(timeoutMs)
    if (this.#closed) throw closedRing()
    const end = timeoutMs === undefined ? Infinity : performance.now() + timeoutMs
    this.#advance()
    for (;;) {
      if (this.#finished.length > 0) return 'ready'
      if (this.#tasks.size === 0) return 'idle'
      const leftMs = end - performance.now()
      if (leftMs <= 0) return 'timeout'
      this.#core.waitSync(leftMs === Infinity ? -1 : leftMs)
      this.#carryOn()
    }
  }

  /** The oldest completion of this handle, taken out of {@link completions}. */
  take(handle: Handle): RingCompletion<Handle> | undefined {
    const at = this.completions.findIndex((completion) => completion.handle === handle)
    return at < 0 ? undefined : this.completions.splice(at, 1)[0]
  }

  /**
   * Registers memory: transfers that lie wholly within one of these pieces use the fixed operations. Each piece is tried
   * for itself, and the result says what became of it.
   *
   * @throws `HOLT_INVALID_ARGUMENT` unless all are non-empty arrays on SharedArrayBuffers that overlap nothing
   *   registered
   */
  registerBuffers(buffers: readonly Uint8Array[]): BufferRegistration {
    this.#assertOpen()
    return this.#bufferTable.register(buffers)
  }

  /**
   * Ends the ring: see the contract. Further calls return the same promise.
   *
   * @param options.cancel - ask the kernel to give up what it has, instead of only waiting for it
   */
  dispose(options: { readonly cancel?: boolean } = {}): Promise<void> {
    this.#closing ??= this.#dispose(options.cancel === true)
    return this.#closing
  }

  async #dispose(cancel: boolean): Promise<void> {
    const never = this.#queued
    this.#queued = []
    for (const task of never) task.fail(cancelled(task.request.op, task.path))
    if (cancel) for (const handle of this.#tasks.keys()) this.cancel(handle)
    for (;;) {
      this.#advance()
      if ([...this.#tasks.values()].every((task) => task.isFinished)) break
      await this.#arrival(undefined, undefined)
    }
    for (const file of [...this.#files]) {
      this.#addon.closeSync(file.fd)
      this.#host.closedFile(file)
    }
    this.#publish()
    this.#closed = true
    this.#core.close()
    this.#wake()
  }

  // ---- within ----------------------------------------------------------------------------------------------------

  #assertOpen(): void {
    if (this.#closing !== undefined) throw closedRing()
    if (this.#core.broken !== undefined) throw this.#core.broken
  }

  #check(request: RingRequest<Handle>): void {
    checkRingRequest(request)
    if ('file' in request && request.file.state !== 'closed' && !this.#files.has(request.file)) {
      throw invalid('the file was not opened by this ring')
    }
    if ('file' in request) request.file.assertOpen()
    if (this.#tasks.has(request.handle)) {
      throw new HoltError('HOLT_RING', 'an operation with this handle is in flight; poll takes it out')
    }
  }

  #checkChain(requests: readonly RingRequest<Handle>[]): void {
    const handles = new Set<Handle>()
    const closing = new Set<RingFile>()
    for (const request of requests) {
      this.#check(request)
      if (handles.has(request.handle))
        throw new HoltError('HOLT_RING', 'two members of a chain have one handle')
      handles.add(request.handle)
      if (request.op === 'open' || request.op === 'syncDirectory') {
        throw invalid(`${request.op} takes several steps and cannot be in a chain`)
      }
      if (request.op === 'truncate' && this.capabilities.truncate === 'blocking') {
        throw new HoltError(
          'HOLT_UNSUPPORTED',
          'this kernel has no truncate for rings, so it cannot be in a chain',
        )
      }
      if (!('file' in request)) continue
      if (closing.has(request.file)) throw invalid('an earlier member of the chain closes the file')
      if (request.op === 'close') {
        if (request.file.uses > 0) throw inUse(request.file)
        closing.add(request.file)
      }
    }
  }

  #refusal(count: number): 'full' | 'undrained' | undefined {
    if (this.#tasks.size + count > this.#core.entries) return 'full'
    return this.completions.length >= 2 * this.#core.entries ? 'undrained' : undefined
  }

  #admit(request: RingRequest<Handle>): RingTask<Handle> {
    const task = makeTask(this.#host, request)
    this.#tasks.set(request.handle, task)
    if (task.file !== undefined) task.file.uses++
    if (request.op === 'close') request.file.state = 'closing'
    return task
  }

  #truncateNow(task: RingTask<Handle>, file: RingFile, sizeBytes: number): void {
    try {
      fs.ftruncateSync(file.fd, sizeBytes)
      task.completed(0)
    } catch (error) {
      task.fail(fromNodeError(error, 'ftruncate', file.path))
    }
  }

  #makeHost(): TaskHost<Handle> {
    return {
      followUp: (task) => {
        this.#followUps.push(task)
      },
      finish: (task, completion) => {
        task.isFinished = true
        if (task.file !== undefined) task.file.uses--
        this.#finished.push(completion)
      },
      openFile: (path, fd, direct, registered) => {
        if (direct) this.#addon.setDirect(fd)
        const index = registered ? this.#fileTable.add(fd) : -1
        const file = new RingFile(path, fd, direct, blockSizeOf(this.#addon, fd), index)
        this.#files.add(file)
        return file
      },
      closedFile: (file) => {
        if (file.state === 'closed') return
        file.state = 'closed'
        this.#files.delete(file)
        // The table keeps the file open: it lets go before the close is reported.
        if (!this.#core.isClosed) this.#fileTable.remove(file.fileIndex)
      },
      closeDescriptor: (fd) => {
        this.#addon.closeSync(fd)
      },
    }
  }

  /** Hands everything over that can go, and looks for completions. */
  #advance(): void {
    const queued = this.#queued
    this.#queued = []
    this.#putFollowUps()
    for (const task of queued) this.#put(task, task.link)
    this.#core.look()
    this.#carryOn()
  }

  /** Operations that go on after a first answer are handed over without being asked for. */
  #carryOn(): void {
    for (let round = 0; round < ROUNDS_PER_POLL && this.#followUps.length > 0; round++) {
      this.#putFollowUps()
      this.#core.handOver()
    }
    this.#wake()
    if (this.#followUps.length > 0)
      setImmediate(() => {
        this.#carryOn()
      })
  }

  #putFollowUps(): void {
    const followUps = this.#followUps
    this.#followUps = []
    for (const task of followUps) this.#put(task, LINK.none)
  }

  #put(task: RingTask<Handle>, link: RingTask<Handle>['link']): void {
    if (this.#core.put(task, link)) return
    task.fail(this.#core.broken ?? new HoltError('HOLT_INTERNAL', 'an operation in flight has no slot'))
  }

  #publish(): number {
    const finished = this.#finished
    this.#finished = []
    for (const completion of finished) this.#tasks.delete(completion.handle)
    this.completions.push(...finished)
    return finished.length
  }

  #wake(): void {
    if (this.#finished.length === 0 && !this.#closed) return
    const waiters = [...this.#waiters]
    this.#waiters.clear()
    for (const wake of waiters) wake()
  }

  /** Waits for the next completion. */
  #arrival(timeoutMs: number | undefined, signal: AbortSignal | undefined): Promise<'ready' | 'timeout'> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', aborted)
        this.#waiters.delete(woken)
        settle()
      }
      const woken = (): void => {
        finish(() => {
          resolve('ready')
        })
      }
      const aborted = (): void => {
        finish(() => {
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the caller gets the reason it gave
          reject(signal?.reason)
        })
      }
      const timer =
        timeoutMs === undefined
          ? undefined
          : setTimeout(() => {
              finish(() => {
                resolve('timeout')
              })
            }, timeoutMs)
      signal?.addEventListener('abort', aborted)
      this.#waiters.add(woken)
    })
  }
}

function isList(value: unknown): boolean {
  return Array.isArray(value)
}

function closedRing(): HoltError {
  return new HoltError('HOLT_CLOSED', 'the ring was closed')
}

function inUse(file: RingFile): HoltError {
  return new HoltError(
    'HOLT_RING',
    `${String(file.uses)} operations are in flight on the file '${file.path}'`,
    {
      path: file.path,
    },
  )
}

function invalid(message: string): HoltError {
  return new HoltError('HOLT_INVALID_ARGUMENT', message)
}
