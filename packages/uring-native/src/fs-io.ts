import { randomFillSync } from 'node:crypto'
import fs from 'node:fs'

import { HoltError } from '@holt/errors'

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
import {
  NODE_TRANSFER_CALLS,
  blocking,
  completed,
  promised,
  transferExactly,
  transferExactlySync,
} from './fs-calls.js'
import type { TransferCalls } from './fs-calls.js'
import { BLOCK_SIZE_BYTES, FsFile } from './fs-file.js'
import { FsQueue } from './fs-queue.js'
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
import { IoTimers, nowMs } from './io-timers.js'
import { isProcessGone, processIdentity } from './process-identity.js'
import { systemError } from './system-error.js'

/** Transfers of one batch that wait in node's thread pool at once; it has four threads unless told otherwise. */
const BATCH_DEPTH = 32

const ZEROS = new Uint8Array(1 << 20)

export interface FsIoOptions {
  /** Why there is no io_uring, where it was wanted. */
  readonly fallbackReason?: string | undefined
  /** For tests: the calls that move bytes. */
  readonly calls?: TransferCalls
}

/**
 * {@link Io} over node:fs: portable, on node's thread pool. `direct` is taken and has no effect but the rule about
 * multiples; `map` and `lock` answer `undefined`, `punchHole` false. `allocate` writes zeros where the file grows, and leaves holes in the
 * part that is there as they are; `writeSync` and `writeDsyncSync` into a range that is being allocated may be lost.
 */
export class FsIo implements Io {
  readonly kind = 'fs'
  readonly fallbackReason: string | undefined
  readonly #calls: TransferCalls
  readonly #queue = new FsQueue()
  readonly #files = new Set<FsFile>()
  readonly #timers = new IoTimers()
  readonly #outstanding = new Set<Promise<unknown>>()
  readonly #counters = { reads: 0, readBytes: 0, writes: 0, writtenBytes: 0, syncs: 0, otherOperations: 0 }
  #disposed: Promise<void> | undefined

  private constructor(options: FsIoOptions) {
    this.fallbackReason = options.fallbackReason
    this.#calls = options.calls ?? NODE_TRANSFER_CALLS
  }

  static create(options: FsIoOptions = {}): FsIo {
    return new FsIo(options)
  }

  /** A copy: it does not change any more. */
  get counters(): IoCounters {
    return { ...this.#counters, ...this.#queue.counters }
  }

  // ---- files, promise face -------------------------------------------------------------------------------------

  async open(path: string, options: OpenOptions): Promise<IoFile> {
    this.#assertUsable()
    checkPath(path)
    checkOpenOptions(options)
    const flags = openFlags(options)
    const direct = options.direct === true
    const writable = options.access === 'readwrite'
    return this.#name(async () => {
      const fd = await promised<number>('open', path, (done) => {
        fs.open(path, flags, 0o644, done)
      })
      const file = new FsFile(path, fd, { direct, writable, queue: this.#queue })
      this.#files.add(file)
      return file
    })
  }

  async close(file: IoFile): Promise<void> {
    const own = this.#own(file)
    this.#files.delete(own)
    this.#counters.otherOperations++
    await this.#untilDone(own.close())
  }

  async stat(file: IoFile): Promise<FileStat> {
    const own = this.#own(file)
    this.#counters.otherOperations++
    const stats = await own.track(() => this.#fstat(own))
    return {
      sizeBytes: stats.size,
      allocatedBytes: stats.blocks * 512,
      kind: stats.isFile() ? 'file' : stats.isDirectory() ? 'directory' : 'other',
    }
  }

  async read(file: IoFile, offsetBytes: number, into: Uint8Array): Promise<void> {
    const own = this.#own(file)
    checkFileTransfer(own, offsetBytes, into)
    await own.track(() => this.#queue.run(() => this.#transferIn(own, offsetBytes, into)))
  }

  async readMany(file: IoFile, transfers: readonly Transfer[]): Promise<void> {
    const own = this.#own(file)
    checkFileTransfers(own, transfers)
    const parts = [...transfers]
    await own.track(() =>
      this.#queue.runAll(parts, BATCH_DEPTH, (part) => this.#transferIn(own, part.offsetBytes, part.bytes)),
    )
  }

  async write(file: IoFile, offsetBytes: number, bytes: Uint8Array): Promise<void> {
    const own = this.#own(file)
    checkFileTransfer(own, offsetBytes, bytes)
    await own.trackWrite(() => this.#queue.run(() => this.#transferOut(own, offsetBytes, bytes)))
  }

  async writeMany(file: IoFile, transfers: readonly Transfer[]): Promise<void> {
    const own = this.#own(file)
    const parts = checkWrites(own, transfers)
    await own.trackWrite(() => this.#writeAll(own, parts))
  }

  async writeManyAndSync(file: IoFile, transfers: readonly Transfer[]): Promise<void> {
    const own = this.#own(file)
    const parts = checkWrites(own, transfers)
    if (transfers.length === 0) return
    await own.trackWrite(async () => {
      await this.#writeAll(own, parts)
      await this.#sync(own)
    })
  }

  async writeDsync(file: IoFile, offsetBytes: number, bytes: Uint8Array): Promise<void> {
    const own = this.#own(file)
    checkFileTransfer(own, offsetBytes, bytes)
    await own.trackWrite(async () => {
      assertWritable(own)
      const dsyncFd = own.dsyncFd()
      await this.#queue.run(() => this.#transferOut(own, offsetBytes, bytes, dsyncFd))
      if (dsyncFd === undefined) await this.#sync(own)
      else this.#counters.syncs++
    })
  }

  async sync(file: IoFile): Promise<void> {
    const own = this.#own(file)
    await own.track(() => this.#sync(own))
  }

  syncAfter(file: IoFile, delayMs: number): ScheduledSync {
    const own = this.#own(file)
    checkDelay(delayMs)
    let settle: (outcome: Promise<void> | undefined) => void
    const done = new Promise<void>((resolve) => {
      settle = resolve
    })
    const end = (outcome?: Promise<void>): void => {
      clearTimeout(timer)
      own.scheduledSyncs.delete(scheduled)
      settle(outcome)
    }
    const timer = setTimeout(() => {
      end(own.track(() => this.#sync(own)))
    }, delayMs)
    timer.unref()
    const scheduled: ScheduledSync = {
      done,
      cancel: () => {
        end()
      },
    }
    own.scheduledSyncs.add(scheduled)
    return scheduled
  }

  async allocate(file: IoFile, offsetBytes: number, lengthBytes: number): Promise<void> {
    const own = this.#own(file)
    checkRange(offsetBytes, lengthBytes)
    this.#counters.otherOperations++
    await own.trackAllocation(() => this.#extend(own, offsetBytes, offsetBytes + lengthBytes))
  }

  async punchHole(file: IoFile, offsetBytes: number, lengthBytes: number): Promise<boolean> {
    this.#own(file)
    checkRange(offsetBytes, lengthBytes)
    // Node has no call for it.
    return Promise.resolve(false)
  }

  async truncate(file: IoFile, sizeBytes: number): Promise<void> {
    const own = this.#own(file)
    checkLength(sizeBytes, 'a size')
    this.#counters.otherOperations++
    await own.trackWrite(() => this.#setSize(own, sizeBytes))
  }

  async map(file: IoFile, lengthBytes: number): Promise<Mapping | undefined> {
    this.#own(file)
    checkLength(lengthBytes)
    return Promise.resolve(undefined)
  }

  blockSize(file: IoFile): number {
    this.#own(file)
    return BLOCK_SIZE_BYTES
  }

  // ---- files, blocking face ------------------------------------------------------------------------------------

  readSync(file: IoFile, offsetBytes: number, into: Uint8Array): void {
    const own = this.#own(file)
    checkFileTransfer(own, offsetBytes, into)
    transferExactlySync(this.#calls, 'pread', own.fd, own.path, offsetBytes, into)
    this.#countRead(into)
  }

  readManySync(file: IoFile, transfers: readonly Transfer[]): void {
    const own = this.#own(file)
    checkFileTransfers(own, transfers)
    for (const { offsetBytes, bytes } of transfers) this.readSync(file, offsetBytes, bytes)
  }

  readWholeSync(path: string): Uint8Array {
    this.#assertUsable()
    checkPath(path)
    const bytes = blocking('readFile', path, () => fs.readFileSync(path))
    this.#countRead(bytes)
    return bytes
  }

  writeManySync(file: IoFile, transfers: readonly Transfer[]): void {
    for (const { offsetBytes, bytes } of checkWrites(this.#own(file), transfers))
      this.writeSync(file, offsetBytes, bytes)
  }

  writeSync(file: IoFile, offsetBytes: number, bytes: Uint8Array): void {
    const own = this.#own(file)
    checkFileTransfer(own, offsetBytes, bytes)
    transferExactlySync(this.#calls, 'pwrite', own.fd, own.path, offsetBytes, bytes)
    this.#countWrite(bytes)
  }

  writeDsyncSync(file: IoFile, offsetBytes: number, bytes: Uint8Array): void {
    const own = this.#own(file)
    checkFileTransfer(own, offsetBytes, bytes)
    assertWritable(own)
    const dsyncFd = own.dsyncFd()
    transferExactlySync(this.#calls, 'pwrite', dsyncFd ?? own.fd, own.path, offsetBytes, bytes)
    this.#countWrite(bytes)
    if (dsyncFd === undefined) this.syncSync(own)
    else this.#counters.syncs++
  }

  syncSync(file: IoFile): void {
    const own = this.#own(file)
    blocking('fdatasync', own.path, () => {
      fs.fdatasyncSync(own.fd)
    })
    this.#counters.syncs++
  }

  // ---- names ---------------------------------------------------------------------------------------------------

  async rename(from: string, to: string): Promise<void> {
    this.#assertUsable()
    checkPath(from)
    checkPath(to)
    await this.#name(() =>
      completed('rename', from, (done) => {
        fs.rename(from, to, done)
      }),
    )
  }

  async link(existing: string, to: string): Promise<void> {
    this.#assertUsable()
    checkPath(existing)
    checkPath(to)
    await this.#name(() =>
      completed('link', to, (done) => {
        fs.link(existing, to, done)
      }),
    )
  }

  async remove(path: string): Promise<void> {
    this.#assertUsable()
    checkPath(path)
    await this.#name(() =>
      completed('unlink', path, (done) => {
        fs.unlink(path, done)
      }),
    )
  }

  async list(directory: string): Promise<string[]> {
    this.#assertUsable()
    checkPath(directory)
    return this.#name(() =>
      promised<string[]>('readdir', directory, (done) => {
        fs.readdir(directory, done)
      }),
    )
  }

  async mkdir(directory: string): Promise<void> {
    this.#assertUsable()
    checkPath(directory)
    await this.#name(() =>
      completed('mkdir', directory, (done) => {
        fs.mkdir(directory, { recursive: true }, (error) => {
          done(error)
        })
      }),
    )
  }

  async syncDir(directory: string): Promise<void> {
    this.#assertUsable()
    checkPath(directory)
    await this.#name(() => syncDirectory(directory))
    this.#counters.syncs++
  }

  async lock(path: string): Promise<FileLock | 'held' | undefined> {
    this.#assertUsable()
    checkPath(path)
    return Promise.resolve(undefined)
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

  /** As {@link Io.dispose}; further calls return the same promise. Timers that are still set are cancelled. */
  dispose(): Promise<void> {
    this.#disposed ??= this.#dispose()
    return this.#disposed
  }

  async #dispose(): Promise<void> {
    this.#timers.cancelAll()
    // An open that is under way ends with a file more to close.
    while (this.#outstanding.size > 0 || this.#files.size > 0) {
      const closing = [...this.#files].map((file) => file.close())
      this.#files.clear()
      const outcomes = await Promise.allSettled([...closing, ...this.#outstanding])
      for (const outcome of outcomes.slice(0, closing.length)) {
        if (outcome.status === 'rejected') throw outcome.reason
      }
    }
  }

  // ---- within --------------------------------------------------------------------------------------------------

  #assertUsable(): void {
    if (this.#disposed !== undefined) throw new HoltError('HOLT_CLOSED', 'this FsIo was disposed')
  }

  #own(file: IoFile): FsFile {
    this.#assertUsable()
    if (!(file instanceof FsFile)) throw notOurs()
    file.assertOpen()
    if (!this.#files.has(file)) throw notOurs()
    return file
  }

  async #transferIn(file: FsFile, offsetBytes: number, into: Uint8Array): Promise<void> {
    await transferExactly(this.#calls, 'pread', file.fd, file.path, offsetBytes, into)
    this.#countRead(into)
  }

  async #transferOut(file: FsFile, offsetBytes: number, bytes: Uint8Array, fd = file.fd): Promise<void> {
    await transferExactly(this.#calls, 'pwrite', fd, file.path, offsetBytes, bytes)
    this.#countWrite(bytes)
  }

  #writeAll(file: FsFile, parts: readonly Transfer[]): Promise<void> {
    return this.#queue.runAll(parts, BATCH_DEPTH, (part) =>
      this.#transferOut(file, part.offsetBytes, part.bytes),
    )
  }

  async #sync(file: FsFile): Promise<void> {
    await this.#queue.run(() =>
      completed('fdatasync', file.path, (done) => {
        fs.fdatasync(file.fd, done)
      }),
    )
    this.#counters.syncs++
  }

  /** Writes zeros from the end of the file, or the start of the range behind it, to `endBytes`; all or nothing. */
  async #extend(file: FsFile, offsetBytes: number, endBytes: number): Promise<void> {
    assertWritable(file)
    const { size: oldSizeBytes } = await this.#fstat(file)
    let at = Math.max(offsetBytes, oldSizeBytes)
    try {
      while (at < endBytes) {
        const chunk = ZEROS.subarray(0, Math.min(ZEROS.length, endBytes - at))
        const startBytes = at
        await this.#queue.run(() =>
          transferExactly(this.#calls, 'pwrite', file.fd, file.path, startBytes, chunk),
        )
        at += chunk.length
      }
    } catch (error) {
      await this.#setSize(file, oldSizeBytes)
      throw error
    }
  }

  #fstat(file: FsFile): Promise<fs.Stats> {
    return this.#queue.run(() =>
      promised<fs.Stats>('fstat', file.path, (done) => {
        fs.fstat(file.fd, done)
      }),
    )
  }

  #setSize(file: FsFile, sizeBytes: number): Promise<void> {
    return this.#queue.run(() =>
      completed('ftruncate', file.path, (done) => {
        fs.ftruncate(file.fd, sizeBytes, done)
      }),
    )
  }

  /** Runs an operation on names, which {@link dispose} waits for. */
  #name<Result>(operation: () => Promise<Result>): Promise<Result> {
    this.#counters.otherOperations++
    return this.#untilDone(this.#queue.run(operation))
  }

  async #untilDone<Result>(operation: Promise<Result>): Promise<Result> {
    this.#outstanding.add(operation)
    try {
      return await operation
    } finally {
      this.#outstanding.delete(operation)
    }
  }

  #countRead(into: Uint8Array): void {
    this.#counters.reads++
    this.#counters.readBytes += into.byteLength
  }

  #countWrite(bytes: Uint8Array): void {
    this.#counters.writes++
    this.#counters.writtenBytes += bytes.byteLength
  }
}

/** The system's own answer, for the calls that would reach the file through another descriptor or none. */
function assertWritable(file: FsFile): void {
  if (!file.writable) throw systemError('EBADF', 'pwrite', file.path)
}

/** Windows has no such call, and makes names stable by itself. */
async function syncDirectory(directory: string): Promise<void> {
  if (process.platform === 'win32') return
  const fd = await promised<number>('open', directory, (done) => {
    fs.open(directory, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY, done)
  })
  try {
    await completed('fsync', directory, (done) => {
      fs.fsync(fd, done)
    })
  } finally {
    await completed('close', directory, (done) => {
      fs.close(fd, done)
    })
  }
}
