import { randomFillSync } from 'node:crypto'
import { HoltError, type HoltErrorCode } from '@holt/errors'
import type {
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
} from '@holt/uring-native'

interface Inode {
  /** Shared, so that a mapping is these very bytes. */
  data: Uint8Array
  /** What a power loss leaves. */
  stable: Uint8Array
}

interface MemoryFile extends IoFile {
  readonly inode: Inode
  isOpen: boolean
  readonly scheduled: Set<ScheduledSync>
}

interface Fault {
  readonly operation: string
  readonly pathPart: string
  readonly code: HoltErrorCode
  remaining: number
  /** Fails that often; then the rule is over. */
  times: number
}

interface Due {
  readonly atMs: number
  readonly run: () => void
  done: boolean
}

/**
 * A disk in memory with a clock that moves only by {@link advance}. Every call is recorded as `operation name …` in
 * {@link calls}. Nothing beneath `packages/journal` can crash a disk, so this does: {@link powerLoss} gives the disk as
 * a power loss leaves it, {@link killed} as the death of the process does.
 */
export class MemoryIo implements Io {
  readonly kind = 'fs'
  readonly fallbackReason = undefined
  readonly calls: string[] = []
  /** Whether `map` works. */
  readonly mappable: boolean
  #names = new Map<string, Inode>()
  #stableNames = new Map<string, Inode>()
  readonly #faults: Fault[] = []
  readonly #held = new Map<string, { readonly pathPart: string; readonly waiting: (() => void)[] }>()
  #due: Due[] = []
  #now = 0
  syncs = 0
  /** Files and mappings that are in use. */
  inUse = 0

  constructor(options: { readonly mappable?: boolean } = {}) {
    this.mappable = options.mappable ?? false
  }

  // ---- what tests do to it ---------------------------------------------------------------------------------------

  /** The disk after a power loss at this moment, in which nothing unsynced survived. */
  powerLoss(): MemoryIo {
    const after = new MemoryIo({ mappable: this.mappable })
    for (const [name, inode] of this.#stableNames) after.#put(name, inode.stable)
    return after
  }

  /** The disk after the process died at this moment: the operating system has all that was written or mapped. */
  killed(): MemoryIo {
    const after = new MemoryIo({ mappable: this.mappable })
    for (const [name, inode] of this.#names) after.#put(name, inode.data)
    return after
  }

  /** A file's present bytes, to be looked at or damaged in place. */
  bytesOf(path: string): Uint8Array {
    return this.#inode(path).data
  }

  /** Cuts a file off, as damage: at once and stably. */
  cut(path: string, sizeBytes: number): void {
    const inode = this.#inode(path)
    inode.data = shared(inode.data.subarray(0, sizeBytes))
    inode.stable = inode.data.slice()
  }

  erase(path: string): void {
    this.#names.delete(path)
    this.#stableNames.delete(path)
  }

  copyTo(path: string, other: MemoryIo): void {
    other.#put(path, this.#inode(path).data)
  }

  names(): string[] {
    return [...this.#names.keys()].map((path) => path.slice(path.lastIndexOf('/') + 1)).sort()
  }

  /** From the `nth` (1 is the next) such call on files whose path holds `pathPart`, `times` calls fail. */
  failOn(operation: string, pathPart: string, code: HoltErrorCode, nth = 1, times = 1): void {
    this.#faults.push({ operation, pathPart, code, remaining: nth - 1, times })
  }

  /** Calls of that operation on files whose path holds `pathPart` do not go on until {@link release}. */
  hold(operation: string, pathPart = ''): void {
    this.#held.set(operation, { pathPart, waiting: [] })
  }

  release(operation: string): void {
    const waiting = this.#held.get(operation)?.waiting ?? []
    this.#held.delete(operation)
    for (const go of waiting) go()
  }

  /** Moves the clock, calls back what falls due in order, and lets everything settle. */
  async advance(milliseconds: number): Promise<void> {
    const until = this.#now + milliseconds
    for (;;) {
      const next = this.#due
        .filter((due) => !due.done && due.atMs <= until)
        .sort((a, b) => a.atMs - b.atMs)
        .at(0)
      if (next === undefined) break
      this.#now = Math.max(this.#now, next.atMs)
      next.done = true
      next.run()
      await settle()
    }
    this.#due = this.#due.filter((due) => !due.done)
    this.#now = until
    await settle()
  }

  // ---- Io --------------------------------------------------------------------------------------------------------

  async open(path: string, options: OpenOptions): Promise<IoFile> {
    await this.#call('open', path)
    let inode = this.#names.get(path)
    if (inode === undefined) {
      if (options.create !== true) throw new HoltError('HOLT_NOT_FOUND', `${path} is not there`)
      inode = { data: shared(new Uint8Array(0)), stable: new Uint8Array(0) }
      this.#names.set(path, inode)
    } else if (options.exclusive === true) throw new HoltError('HOLT_EXISTS', `${path} is there`)
    if (options.truncate === true) inode.data = shared(new Uint8Array(0))
    this.inUse++
    const file: MemoryFile = { path, inode, isOpen: true, scheduled: new Set() }
    return file
  }

  async close(file: IoFile): Promise<void> {
    const own = opened(file)
    await this.#call('close', file.path)
    for (const scheduled of own.scheduled) scheduled.cancel()
    own.isOpen = false
    this.inUse--
  }

  async stat(file: IoFile): Promise<FileStat> {
    const { inode } = opened(file)
    await this.#call('stat', file.path)
    return { sizeBytes: inode.data.length, allocatedBytes: inode.data.length, kind: 'file' }
  }

  async read(file: IoFile, offsetBytes: number, into: Uint8Array): Promise<void> {
    const { inode } = opened(file)
    await this.#call('read', file.path, `${String(offsetBytes)}+${String(into.length)}`)
    if (offsetBytes + into.length > inode.data.length)
      throw new HoltError('HOLT_SHORT_TRANSFER', `${file.path} ends`)
    into.set(inode.data.subarray(offsetBytes, offsetBytes + into.length))
  }

  async write(file: IoFile, offsetBytes: number, bytes: Uint8Array): Promise<void> {
    opened(file)
    const taken = bytes.slice()
    await this.#call('write', file.path, `${String(offsetBytes)}+${String(bytes.length)}`)
    if (!taken.every((byte, i) => byte === bytes[i]))
      throw new Error('the buffer of a write under way was changed')
    this.#store(opened(file).inode, offsetBytes, bytes)
  }

  async writeDsync(file: IoFile, offsetBytes: number, bytes: Uint8Array): Promise<void> {
    opened(file)
    const taken = bytes.slice()
    await this.#call('writeDsync', file.path, `${String(offsetBytes)}+${String(bytes.length)}`)
    if (!taken.every((byte, i) => byte === bytes[i]))
      throw new Error('the buffer of a write under way was changed')
    const { inode } = opened(file)
    this.#store(inode, offsetBytes, bytes)
    inode.stable.set(bytes, offsetBytes)
  }

  async sync(file: IoFile): Promise<void> {
    const { inode } = opened(file)
    // Only what is there when the sync begins is covered.
    const covered = inode.data.slice()
    await this.#call('sync', file.path)
    opened(file)
    inode.stable = covered
    this.syncs++
  }

  syncAfter(file: IoFile, delayMs: number): ScheduledSync {
    const own = opened(file)
    let settleWith: (outcome: Promise<void> | undefined) => void = () => undefined
    const done = new Promise<void>((resolve) => {
      settleWith = (outcome) => {
        resolve(outcome)
      }
    })
    const timer = this.setTimer(delayMs, () => {
      own.scheduled.delete(scheduled)
      settleWith(this.sync(file))
    })
    const scheduled: ScheduledSync = {
      done,
      cancel: () => {
        if (!own.scheduled.delete(scheduled)) return
        timer.cancel()
        settleWith(undefined)
      },
    }
    own.scheduled.add(scheduled)
    return scheduled
  }

  async allocate(file: IoFile, offsetBytes: number, lengthBytes: number): Promise<void> {
    const { inode } = opened(file)
    await this.#call('allocate', file.path)
    const grown = new Uint8Array(Math.max(inode.data.length, offsetBytes + lengthBytes))
    grown.set(inode.data)
    inode.data = shared(grown)
  }

  async map(file: IoFile, lengthBytes: number): Promise<Mapping | undefined> {
    const { inode } = opened(file)
    await this.#call('map', file.path)
    if (!this.mappable) return undefined
    this.inUse++
    const { calls } = this
    let bytes = inode.data.subarray(0, lengthBytes)
    const end = (): void => {
      this.inUse--
      bytes = new Uint8Array(0)
    }
    return {
      get bytes() {
        return bytes
      },
      populate: (offsetBytes, length) => {
        calls.push(`populate ${file.path} ${String(offsetBytes)}+${String(length)}`)
      },
      unmap: async () => {
        await settle()
        end()
      },
    }
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#call('rename', from, to.slice(to.lastIndexOf('/') + 1))
    this.#names.set(to, this.#inode(from))
    this.#names.delete(from)
  }

  async remove(path: string): Promise<void> {
    await this.#call('remove', path)
    this.#inode(path)
    this.#names.delete(path)
  }

  /** There is but one directory, which is always there. */
  async mkdir(directory: string): Promise<void> {
    await this.#call('mkdir', directory)
  }

  async list(directory: string): Promise<string[]> {
    await this.#call('list', directory)
    return this.names()
  }

  async syncDir(directory: string): Promise<void> {
    await this.#call('syncDir', directory)
    this.#stableNames = new Map(this.#names)
  }

  fillRandom(bytes: Uint8Array): void {
    randomFillSync(bytes)
  }

  nowMs(): number {
    return this.#now
  }

  unixTimeMs(): number {
    return this.#now
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const due: Due = { atMs: this.#now + delayMs, run: callback, done: false }
    this.#due.push(due)
    return {
      cancel: () => {
        due.done = true
      },
    }
  }

  readonly counters: IoCounters = {
    reads: 0,
    readBytes: 0,
    writes: 0,
    writtenBytes: 0,
    syncs: 0,
    otherOperations: 0,
  }

  // The journal uses none of these.
  readMany = (_file: IoFile, _transfers: readonly Transfer[]): Promise<void> => unused()
  writeMany = (_file: IoFile, _transfers: readonly Transfer[]): Promise<void> => unused()
  writeManyAndSync = (_file: IoFile, _transfers: readonly Transfer[]): Promise<void> => unused()
  punchHole = (): Promise<boolean> => unused()
  truncate = (): Promise<void> => unused()
  blockSize = (): number => unused()
  readSync = (): void => unused()
  readManySync = (): void => unused()
  readWholeSync = (): Uint8Array => unused()
  writeManySync = (): void => unused()
  writeSync = (): void => unused()
  writeDsyncSync = (): void => unused()
  syncSync = (): void => unused()
  link = (): Promise<void> => unused()
  lock = (): Promise<undefined> => unused()
  processIdentity = (): ProcessIdentity => unused()
  isProcessGone = (): boolean => unused()
  dispose = (): Promise<void> => Promise.resolve()

  // ---- within ----------------------------------------------------------------------------------------------------

  async #call(operation: string, path: string, rest = ''): Promise<void> {
    this.calls.push(`${operation} ${path.slice(path.lastIndexOf('/') + 1)} ${rest}`.trim())
    const held = this.#held.get(operation)
    if (held !== undefined && path.includes(held.pathPart)) {
      await new Promise<void>((resolve) => {
        held.waiting.push(resolve)
      })
    }
    await Promise.resolve()
    for (const fault of this.#faults) {
      if (fault.operation !== operation || !path.includes(fault.pathPart) || fault.times === 0) continue
      if (fault.remaining-- > 0) continue
      fault.remaining = 0
      fault.times--
      throw new HoltError(fault.code, `${operation} of ${path} was made to fail`)
    }
  }

  #store(inode: Inode, offsetBytes: number, bytes: Uint8Array): void {
    if (offsetBytes + bytes.length > inode.data.length) throw new Error('a write past the end of a segment')
    inode.data.set(bytes, offsetBytes)
  }

  #inode(path: string): Inode {
    const inode = this.#names.get(path)
    if (inode === undefined) throw new HoltError('HOLT_NOT_FOUND', `${path} is not there`)
    return inode
  }

  #put(path: string, bytes: Uint8Array): void {
    const inode: Inode = { data: shared(bytes), stable: bytes.slice() }
    this.#names.set(path, inode)
    this.#stableNames.set(path, inode)
  }
}

/** Lets everything that needs no clock come to an end. */
export async function settle(): Promise<void> {
  await new Promise<void>((resolve) => {
    setImmediate(resolve)
  })
}

function shared(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(new SharedArrayBuffer(bytes.length))
  copy.set(bytes)
  return copy
}

function opened(file: IoFile): MemoryFile {
  const own = file as MemoryFile
  if (!own.isOpen) throw new HoltError('HOLT_CLOSED', `${file.path} is closed`)
  return own
}

function unused(): never {
  throw new Error('the journal is not expected to use this')
}
