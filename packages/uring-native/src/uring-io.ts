import { randomFillSync } from 'node:crypto'
import fs from 'node:fs'

import { HoltError, isHoltError } from '@holt/errors'

import { loadAsyncAddon } from './addon.js'
import type { NativeAddon, NativeRingUse } from './addon.js'
import {
  checkDelay,
  checkFileTransfer,
  checkFileTransfers,
  checkLength,
  checkOpenOptions,
  checkPath,
  checkRange,
  checkWrites,
  notOurs,
  openFlags,
} from './arguments.js'
import { blockSizeOf } from './block-size.js'
import type {
  FileLock,
  FileStat,
  Io,
  IoCounters,
  IoFile,
  Mapping,
  OpenOptions,
  ProcessIdentity,
  ScheduledSync,
  Timer,
  Transfer,
} from './io.js'
import { blocking } from './fs-calls.js'
import { IoTimers, nowMs } from './io-timers.js'
import { errnoName } from './native-errno.js'
import { NativeFile } from './native-file.js'
import { LogThread } from './native-log.js'
import { NativeMapping } from './native-mapping.js'
import { isProcessGone, processIdentity } from './process-identity.js'
import { RingCalls } from './ring-calls.js'
import { OPCODE } from './ring-operations.js'
import { RingQueue } from './ring-queue.js'
import { RegisteredBuffers, RegisteredFiles } from './ring-tables.js'
import type { BufferRegistration } from './ring-tables.js'
import { transferMany, transferManySync, transferOne } from './ring-transfer.js'
import { endOfFile, fromNodeError, systemError } from './system-error.js'

const DEFAULT_DEPTH = 256
const MAX_DEPTH = 4096

/** Files opened as `registered` that are registered; further ones are used by their descriptors. */
const FILE_TABLE = 64

/** Registered memory is pinned: a bound keeps a large cache from locking the machine's memory. */
const DEFAULT_BUFFER_TABLE = 32
const MAX_BUFFER_TABLE = 16_384

export interface UringIoOptions {
  /** Operations that can be with the kernel at once; the kernel may grant fewer. 256 unless given. */
  readonly queueDepth?: number
  /** How many pieces of memory {@link UringIo.registerBuffers} registers at most. 32 unless given. */
  readonly registeredBuffers?: number
}

/**
 * {@link Io} over io_uring. Transfers, opens, stats and names go through one ring for each Io; what makes log bytes
 * stable goes through a native thread of its own (started when first needed), and so does the sync of a file that has
 * used it: there it waits behind that file's earlier commands and not in the kernel's worker pool. An idle UringIo
 * keeps no process alive; outstanding operations do.
 */
export class UringIo implements Io {
  readonly kind = 'uring'
  readonly fallbackReason = undefined
  readonly #addon: NativeAddon
  readonly #queue: RingQueue
  readonly #calls: RingCalls
  readonly #fileTable: RegisteredFiles
  readonly #bufferTable: RegisteredBuffers
  readonly #canTruncate: boolean
  readonly #log: LogThread
  readonly #files = new Set<NativeFile>()
  readonly #mappings = new Set<NativeMapping>()
  readonly #locks = new Set<FileLock>()
  readonly #timers = new IoTimers()
  readonly #outstanding = new Set<Promise<unknown>>()
  readonly #counters = { reads: 0, readBytes: 0, writes: 0, writtenBytes: 0, syncs: 0, otherOperations: 0 }
  #disposed: Promise<void> | undefined

  private constructor(addon: NativeAddon, depth: number, bufferTable: number) {
    this.#addon = addon
    this.#queue = new RingQueue(addon, { depth, fileTable: FILE_TABLE, bufferTable })
    this.#fileTable = new RegisteredFiles(addon, this.#queue.native, FILE_TABLE)
    this.#bufferTable = new RegisteredBuffers(addon, this.#queue.native, bufferTable)
    this.#canTruncate = this.#queue.native.opcodes.includes(OPCODE.ftruncate)
    this.#calls = new RingCalls(this.#queue)
    this.#log = new LogThread(addon)
  }

  /**
   * @throws `HOLT_UNSUPPORTED` where the addon is missing or the system refuses io_uring; the message says why
   */
  static create(options: UringIoOptions = {}): UringIo {
    const depth = checkCount(options.queueDepth ?? DEFAULT_DEPTH, 'queueDepth', 1, MAX_DEPTH)
    const buffers = options.registeredBuffers ?? DEFAULT_BUFFER_TABLE
    checkCount(buffers, 'registeredBuffers', 0, MAX_BUFFER_TABLE)
    return new UringIo(loadAsyncAddon(), depth, buffers)
  }

  /** A copy: it does not change any more. */
  get counters(): IoCounters {
    return {
      ...this.#counters,
      queue: {
        depth: this.#queue.depth,
        outstanding: this.#queue.outstandingCount,
        highest: this.#queue.highestOutstandingCount,
      },
      latency: this.#queue.latency.summary(),
    }
  }

  /** How often the ring was entered, and used registered files and memory. */
  get ringUse(): NativeRingUse {
    return this.#addon.ringUse(this.#queue.native.id)
  }

  /**
   * Registers memory with the kernel: transfers that lie wholly within one of these ranges skip its mapping and
   * pinning. Each range is tried for itself; what is refused (RLIMIT_MEMLOCK, the table is full) is used without, and
   * the result says why. The memory stays pinned until {@link BufferRegistration.release} or `dispose`.
   *
   * @throws `HOLT_INVALID_ARGUMENT` unless all are non-empty arrays on SharedArrayBuffers (other memory can be
   *   detached) that overlap nothing registered; then nothing is registered
   */
  registerBuffers(buffers: readonly Uint8Array[]): BufferRegistration {
    this.#assertUsable()
    return this.#bufferTable.register(buffers)
  }

  // ---- files, promise face -------------------------------------------------------------------------------------

  async open(path: string, options: OpenOptions): Promise<IoFile> {
    this.#assertUsable()
    checkPath(path)
    checkOpenOptions(options)
    const flags = openFlags(options)
    const direct = options.direct === true
    return this.#name(async () => {
      const fd = await this.#calls.open(path, flags, 0o644)
      // Asked for after opening: a file system that cannot would have made the file before it refused. It is then left
      // as it is, in the page cache.
      if (direct) this.#addon.setDirect(fd)
      const index = options.registered === true ? this.#fileTable.add(fd) : -1
      const file = new NativeFile(path, fd, direct, blockSizeOf(this.#addon, fd), index)
      this.#files.add(file)
      return file
    })
  }

  async close(file: IoFile): Promise<void> {
    const own = this.#own(file)
    this.#counters.otherOperations++
    this.#files.delete(own)
    await this.#untilDone(this.#close(own))
  }

  async stat(file: IoFile): Promise<FileStat> {
    const own = this.#own(file)
    this.#counters.otherOperations++
    return own.track(this.#calls.stat(own))
  }

  async read(file: IoFile, offsetBytes: number, into: Uint8Array): Promise<void> {
    const own = this.#own(file)
    checkFileTransfer(own, offsetBytes, into)
    this.#countReads(1, into.byteLength)
    await own.track(transferOne(this.#queue, OPCODE.read, own, { offsetBytes, bytes: into }))
  }

  async readMany(file: IoFile, transfers: readonly Transfer[]): Promise<void> {
    const own = this.#own(file)
    checkFileTransfers(own, transfers)
    this.#countReads(transfers.length, totalBytes(transfers))
    await own.track(transferMany(this.#queue, OPCODE.read, own, transfers))
  }

  async write(file: IoFile, offsetBytes: number, bytes: Uint8Array): Promise<void> {
    const own = this.#own(file)
    checkFileTransfer(own, offsetBytes, bytes)
    this.#countWrites(1, bytes.byteLength)
    await own.track(transferOne(this.#queue, OPCODE.write, own, { offsetBytes, bytes }))
  }

  async writeMany(file: IoFile, transfers: readonly Transfer[]): Promise<void> {
    const own = this.#own(file)
    await own.track(this.#writeParts(own, checkWrites(own, transfers)))
  }

  async writeManyAndSync(file: IoFile, transfers: readonly Transfer[]): Promise<void> {
    const own = this.#own(file)
    const parts = checkWrites(own, transfers)
    if (transfers.length === 0) return
    await own.track(this.#writeParts(own, parts).then(() => this.#sync(own)))
  }

  async writeDsync(file: IoFile, offsetBytes: number, bytes: Uint8Array): Promise<void> {
    const own = this.#own(file)
    checkFileTransfer(own, offsetBytes, bytes)
    this.#countWrites(1, bytes.byteLength)
    this.#counters.syncs++
    own.usesLogThread = true
    await own.track(this.#log.writeDsync(own, offsetBytes, bytes))
  }

  async sync(file: IoFile): Promise<void> {
    const own = this.#own(file)
    await own.track(this.#sync(own))
  }

  syncAfter(file: IoFile, delayMs: number): ScheduledSync {
    const own = this.#own(file)
    checkDelay(delayMs)
    own.usesLogThread = true
    const delayed = this.#log.syncAfter(own, delayMs)
    let cancelled = false
    const finished = async (): Promise<void> => {
      try {
        await delayed.done
        if (!cancelled) this.#counters.syncs++
      } finally {
        own.scheduledSyncs.delete(scheduled)
      }
    }
    const scheduled: ScheduledSync = {
      done: own.track(finished()),
      cancel: () => {
        cancelled = delayed.cancel() || cancelled
      },
    }
    own.scheduledSyncs.add(scheduled)
    return scheduled
  }

  async allocate(file: IoFile, offsetBytes: number, lengthBytes: number): Promise<void> {
    const own = this.#own(file)
    checkRange(offsetBytes, lengthBytes)
    this.#counters.otherOperations++
    if (lengthBytes > 0) await own.track(this.#allocate(own, offsetBytes, lengthBytes))
  }

  async punchHole(file: IoFile, offsetBytes: number, lengthBytes: number): Promise<boolean> {
    const own = this.#own(file)
    checkRange(offsetBytes, lengthBytes)
    this.#counters.otherOperations++
    if (lengthBytes === 0) return true
    try {
      await own.track(this.#calls.punchHole(own, offsetBytes, lengthBytes))
      return true
    } catch (error) {
      if (isHoltError(error) && error.errno === 'EOPNOTSUPP') return false
      throw error
    }
  }

  async truncate(file: IoFile, sizeBytes: number): Promise<void> {
    const own = this.#own(file)
    checkLength(sizeBytes, 'a size')
    this.#counters.otherOperations++
    await own.track(
      this.#canTruncate ? this.#calls.truncate(own, sizeBytes) : this.#log.truncate(own, sizeBytes),
    )
  }

  async map(file: IoFile, lengthBytes: number): Promise<Mapping | undefined> {
    const own = this.#own(file)
    checkLength(lengthBytes)
    this.#counters.otherOperations++
    if (lengthBytes === 0) return undefined
    const mapped = this.#addon.mapFile(own.fd, lengthBytes)
    if (mapped === undefined) return undefined
    if (typeof mapped === 'number') throw systemError(errnoName(mapped), 'mmap', own.path)
    own.usesLogThread = true
    const mapping: NativeMapping = new NativeMapping(mapped.id, mapped.buffer, this.#log, (id, bytes) =>
      this.#untilDone(this.#unmap(mapping, id, bytes)),
    )
    this.#mappings.add(mapping)
    return Promise.resolve(mapping)
  }

  blockSize(file: IoFile): number {
    return this.#own(file).blockSizeBytes
  }

  // ---- files, blocking face ------------------------------------------------------------------------------------

  readSync(file: IoFile, offsetBytes: number, into: Uint8Array): void {
    const own = this.#own(file)
    checkFileTransfer(own, offsetBytes, into)
    this.#countReads(1, into.byteLength)
    const got = this.#addon.readSync(own.fd, into, offsetBytes)
    if (got < 0) throw systemError(errnoName(got), 'pread', own.path)
    if (got < into.byteLength) throw endOfFile(own.path, offsetBytes, into.byteLength, got)
  }

  readManySync(file: IoFile, transfers: readonly Transfer[]): void {
    const own = this.#own(file)
    checkFileTransfers(own, transfers)
    this.#countReads(transfers.length, totalBytes(transfers))
    transferManySync(this.#queue, OPCODE.read, own, transfers)
  }

  readWholeSync(path: string): Uint8Array {
    this.#assertUsable()
    checkPath(path)
    const bytes = blocking('readFile', path, () => fs.readFileSync(path))
    this.#countReads(1, bytes.byteLength)
    return bytes
  }

  writeManySync(file: IoFile, transfers: readonly Transfer[]): void {
    const own = this.#own(file)
    const parts = checkWrites(own, transfers)
    this.#countWrites(parts.length, totalBytes(parts))
    if (own.direct) {
      transferManySync(this.#queue, OPCODE.write, own, parts)
      return
    }
    // A write into the page cache is a copy: the kernel would hand it to a thread of its own only to wait for that.
    for (const { offsetBytes, bytes } of parts)
      check(this.#addon.writeSync(own.fd, bytes, offsetBytes, false), 'pwrite', own.path)
  }

  writeSync(file: IoFile, offsetBytes: number, bytes: Uint8Array): void {
    const own = this.#own(file)
    checkFileTransfer(own, offsetBytes, bytes)
    this.#countWrites(1, bytes.byteLength)
    check(this.#addon.writeSync(own.fd, bytes, offsetBytes, false), 'pwrite', own.path)
  }

  writeDsyncSync(file: IoFile, offsetBytes: number, bytes: Uint8Array): void {
    const own = this.#own(file)
    checkFileTransfer(own, offsetBytes, bytes)
    this.#countWrites(1, bytes.byteLength)
    this.#counters.syncs++
    check(this.#addon.writeSync(own.fd, bytes, offsetBytes, true), 'pwritev2', own.path)
  }

  syncSync(file: IoFile): void {
    const own = this.#own(file)
    this.#counters.syncs++
    check(this.#addon.syncSync(own.fd), 'fdatasync', own.path)
  }

  // ---- names ---------------------------------------------------------------------------------------------------

  async rename(from: string, to: string): Promise<void> {
    this.#assertUsable()
    checkPath(from)
    checkPath(to)
    await this.#name(() => this.#calls.rename(from, to))
  }

  async link(existing: string, to: string): Promise<void> {
    this.#assertUsable()
    checkPath(existing)
    checkPath(to)
    await this.#name(() => this.#calls.link(existing, to))
  }

  async remove(path: string): Promise<void> {
    this.#assertUsable()
    checkPath(path)
    await this.#name(() => this.#calls.unlink(path))
  }

  // Listing and making directories are loops of many calls, for which io_uring has no operation or no advantage.

  async list(directory: string): Promise<string[]> {
    this.#assertUsable()
    checkPath(directory)
    return this.#name(() => nodeCall('readdir', directory, fs.promises.readdir(directory)))
  }

  async mkdir(directory: string): Promise<void> {
    this.#assertUsable()
    checkPath(directory)
    await this.#name(() => nodeCall('mkdir', directory, fs.promises.mkdir(directory, { recursive: true })))
  }

  async syncDir(directory: string): Promise<void> {
    this.#assertUsable()
    checkPath(directory)
    this.#counters.syncs++
    await this.#name(() => this.#calls.syncDirectory(directory))
  }

  async lock(path: string): Promise<FileLock | 'held' | undefined> {
    this.#assertUsable()
    checkPath(path)
    this.#counters.otherOperations++
    const fd = this.#addon.lockFile(path)
    if (fd < 0) {
      const errno = errnoName(fd)
      if (errno === 'EAGAIN') return Promise.resolve('held')
      // A file system without such locks.
      if (errno === 'EOPNOTSUPP' || errno === 'ENOLCK' || errno === 'ENOSYS') return undefined
      throw systemError(errno, 'flock', path)
    }
    let released: Promise<void> | undefined
    const lock: FileLock = {
      release: () => {
        released ??= new Promise((resolve) => {
          this.#locks.delete(lock)
          check(this.#addon.closeSync(fd), 'close', path)
          resolve()
        })
        return released
      },
    }
    this.#locks.add(lock)
    return lock
  }

  // ---- time and processes --------------------------------------------------------------------------------------

  nowMs(): number {
    return nowMs()
  }

  unixTimeMs(): number {
    return Date.now()
  }

  fillRandom(bytes: Uint8Array): void {
    randomFillSync(bytes)
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    this.#assertUsable()
    return this.#timers.set(delayMs, callback)
  }

  processIdentity(): ProcessIdentity {
    return processIdentity()
  }

  isProcessGone(identity: ProcessIdentity): boolean {
    return isProcessGone(identity)
  }

  /** As {@link Io.dispose}; further calls return the same promise. Mappings, locks and timers end too. */
  dispose(): Promise<void> {
    this.#disposed ??= this.#dispose()
    return this.#disposed
  }

  async #dispose(): Promise<void> {
    this.#timers.cancelAll()
    let failed: { readonly error: unknown } | undefined
    // An open that is under way ends with a file more to close.
    while (this.#outstanding.size > 0 || this.#files.size > 0 || this.#mappings.size > 0) {
      const closing = [...this.#files].map((file) => this.#close(file))
      this.#files.clear()
      for (const mapping of this.#mappings) closing.push(mapping.unmap())
      this.#mappings.clear()
      const outcomes = await Promise.allSettled([...closing, ...this.#outstanding])
      for (const outcome of outcomes.slice(0, closing.length)) {
        if (outcome.status === 'rejected') failed ??= { error: outcome.reason }
      }
    }
    for (const lock of this.#locks) {
      try {
        await lock.release()
      } catch (error) {
        failed ??= { error }
      }
    }
    this.#log.close()
    this.#queue.close()
    if (failed !== undefined) throw failed.error
  }

  // ---- within --------------------------------------------------------------------------------------------------

  #assertUsable(): void {
    if (this.#disposed !== undefined) throw new HoltError('HOLT_CLOSED', 'this UringIo was disposed')
  }

  #own(file: IoFile): NativeFile {
    this.#assertUsable()
    if (!(file instanceof NativeFile)) throw notOurs()
    file.assertOpen()
    if (!this.#files.has(file)) throw notOurs()
    return file
  }

  async #close(file: NativeFile): Promise<void> {
    await file.settle()
    this.#fileTable.remove(file.fileIndex)
    // What the kernel had is back, so a broken ring leaves the descriptor to be closed without it.
    if (this.#queue.broken !== undefined) check(this.#addon.closeSync(file.fd), 'close', file.path)
    else await this.#calls.close(file)
  }

  /** Where the file system has no fallocate, zeros are appended: holes in what is there stay. */
  async #allocate(file: NativeFile, offsetBytes: number, lengthBytes: number): Promise<void> {
    try {
      await this.#calls.allocate(file, offsetBytes, lengthBytes)
    } catch (error) {
      if (!isHoltError(error) || error.errno !== 'EOPNOTSUPP') throw error
      await this.#log.appendZeros(file, offsetBytes + lengthBytes)
    }
  }

  async #writeParts(file: NativeFile, parts: readonly Transfer[]): Promise<void> {
    this.#countWrites(parts.length, totalBytes(parts))
    await transferMany(this.#queue, OPCODE.write, file, parts)
  }

  #sync(file: NativeFile): Promise<void> {
    this.#counters.syncs++
    return file.usesLogThread ? this.#log.sync(file) : this.#calls.dataSync(file)
  }

  async #unmap(mapping: NativeMapping, id: number, bytes: Uint8Array): Promise<void> {
    await this.#queue.untilUnused(bytes.buffer)
    this.#addon.detachMapping(id)
    if (this.#log.isStarted) await this.#log.barrier()
    this.#mappings.delete(mapping)
  }

  /** Runs an operation on names, which {@link dispose} waits for. */
  #name<Result>(operation: () => Promise<Result>): Promise<Result> {
    this.#counters.otherOperations++
    return this.#untilDone(operation())
  }

  async #untilDone<Result>(operation: Promise<Result>): Promise<Result> {
    this.#outstanding.add(operation)
    try {
      return await operation
    } finally {
      this.#outstanding.delete(operation)
    }
  }

  #countReads(count: number, bytes: number): void {
    this.#counters.reads += count
    this.#counters.readBytes += bytes
  }

  #countWrites(count: number, bytes: number): void {
    this.#counters.writes += count
    this.#counters.writtenBytes += bytes
  }
}

function checkCount(count: unknown, name: string, least: number, most: number): number {
  if (typeof count === 'number' && Number.isInteger(count) && count >= least && count <= most) return count
  const found = typeof count === 'number' ? String(count) : `a ${typeof count}`
  throw new HoltError(
    'HOLT_INVALID_ARGUMENT',
    `${name} must be an integer from ${String(least)} to ${String(most)}, found ${found}`,
  )
}

function totalBytes(transfers: readonly Transfer[]): number {
  let total = 0
  for (const { bytes } of transfers) total += bytes.byteLength
  return total
}

function check(result: number, syscall: string, path: string): void {
  if (result < 0) throw systemError(errnoName(result), syscall, path)
}

async function nodeCall<Result>(syscall: string, path: string, call: Promise<Result>): Promise<Result> {
  try {
    return await call
  } catch (error) {
    throw fromNodeError(error, syscall, path)
  }
}
