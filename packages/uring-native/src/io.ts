/**
 * The `Io` seam: the only way holt reaches the disk, the clock and timers.
 *
 * Words. *Exact*: a read or write moves every byte it was asked for or fails; a transfer that stops short is resumed,
 * and the end of the file inside a read is `HOLT_SHORT_TRANSFER`. *Stable*: on the medium, so that a power loss leaves
 * it. What was written and not synced may, after a power loss, be there or not, sector (512 B) by sector, in any order.
 * A name (created, renamed, linked, removed) is stable after `syncDir` of its directory.
 *
 * Errors. What the system refuses is `HOLT_IO` with `errno`, `syscall` and `path`; `ENOSPC`, `EDQUOT` and `EFBIG` are
 * `HOLT_NO_SPACE`, except from a sync: there writes that had succeeded are lost, no room brings them back, and the error
 * is `HOLT_IO`. Use of a closed file or Io is `HOLT_CLOSED`. Bad arguments are `HOLT_INVALID_ARGUMENT` and reach no
 * system call. An operation that reports an error owns none of the caller's buffers any more. The promise face rejects,
 * it never throws; the blocking face, `syncAfter`, `setTimer` and `blockSize` throw.
 *
 * Order. Operations that are outstanding together may run in any order, and a sync covers only writes that had
 * completed when it was called. Who needs an order waits, or uses the combined operation.
 */

declare const fileBrand: unique symbol

/** An open file. Belongs to the Io that opened it. */
export interface IoFile {
  readonly path: string
  readonly [fileBrand]?: never
}

export interface OpenOptions {
  readonly access: 'read' | 'readwrite'
  /** Make the file if it is absent. */
  readonly create?: boolean
  /** With `create`: fail with `HOLT_EXISTS` if it is there. */
  readonly exclusive?: boolean
  readonly truncate?: boolean
  /**
   * Bypass the page cache. Offsets, lengths and addresses are then multiples of {@link Io.blockSize}; offsets and
   * lengths that are not are `HOLT_INVALID_ARGUMENT`. Where the file system refuses it the file is opened without,
   * silently; the rule about multiples still holds.
   */
  readonly direct?: boolean
  /**
   * A hint that the file will be used much and for long: io_uring keeps it registered, which makes each operation a
   * little cheaper. Changes nothing else, and is not reported when refused.
   */
  readonly registered?: boolean
}

export interface FileStat {
  readonly sizeBytes: number
  readonly allocatedBytes: number
  readonly kind: 'file' | 'directory' | 'other'
}

/** One part of a batch. `bytes` is filled (read) or taken (write); it must not change until the batch settles. */
export interface Transfer {
  readonly offsetBytes: number
  readonly bytes: Uint8Array
}

/**
 * A file's bytes mapped shared into memory: what is stored is in the file (page cache) at once and survives a killed
 * process; `sync` of the file makes it stable. On power loss each 512 B sector holds, byte by byte, its synced or its
 * present value.
 */
export interface Mapping {
  /** The whole mapping. Detached (length 0) after {@link unmap}. */
  readonly bytes: Uint8Array
  /** Has the pages of this range made present for writing by another thread, soon. Returns at once, may do nothing. */
  populate(offsetBytes: number, lengthBytes: number): void
  /** Ends the mapping once no other thread uses it. Unsynced bytes stay in the file's page cache. */
  unmap(): Promise<void>
}

/** A sync that will start by itself, by the clock of a thread that a busy event loop does not hold up. */
export interface ScheduledSync {
  /** Settles as {@link Io.sync} would; resolves without a sync when cancelled. */
  readonly done: Promise<void>
  cancel(): void
}

/** An exclusive advisory lock (flock) held on an open file description of its own, gone with the process. */
export interface FileLock {
  release(): Promise<void>
}

/** Who a process is, for lock files that outlive it. Fields that the system does not tell are empty. */
export interface ProcessIdentity {
  readonly pid: number
  /** The process's start in clock ticks since boot, as a decimal. */
  readonly startTime: string
  readonly bootId: string
  readonly machineId: string
  readonly pidNamespace: string
}

export interface IoCounters {
  readonly reads: number
  readonly readBytes: number
  readonly writes: number
  readonly writtenBytes: number
  readonly syncs: number
  readonly otherOperations: number
  /** Where there is a queue to the device that this Io can see. */
  readonly queue?: QueueCounters
  /** How long operations were with the system, the wait for a thread of it included. Of the promise face. */
  readonly latency?: LatencySummary
}

export interface QueueCounters {
  /** How many operations can be with the system at once: entries of the ring, or threads of node's pool. */
  readonly depth: number
  /** How many are with it or wait to be, now. */
  readonly outstanding: number
  /** The most that were with it at once, as far as this Io can see. */
  readonly highest: number
}

/** In microseconds. Percentiles are at most an eighth too high, never too low. */
export interface LatencySummary {
  readonly count: number
  readonly meanUs: number
  readonly p50Us: number
  readonly p90Us: number
  readonly p99Us: number
  readonly p999Us: number
  readonly maxUs: number
}

export interface Timer {
  readonly cancel: () => void
}

export type IoKind = 'uring' | 'fs' | 'sim'

export interface Io {
  readonly kind: IoKind
  /** Of `'fs'` when `'uring'` was wanted: why not, in one line. */
  readonly fallbackReason: string | undefined

  // ---- files, promise face -------------------------------------------------------------------------------------

  /** Throws `HOLT_NOT_FOUND` when absent and not to be created, `HOLT_EXISTS` when `exclusive`. Files are mode 0644. */
  open(path: string, options: OpenOptions): Promise<IoFile>
  /** Waits for what is outstanding on the file, then closes it. Closing twice is `HOLT_CLOSED`. */
  close(file: IoFile): Promise<void>
  stat(file: IoFile): Promise<FileStat>
  /** Of no bytes: nothing, wherever the end of the file is. The same goes for writes. */
  read(file: IoFile, offsetBytes: number, into: Uint8Array): Promise<void>
  /** All of them, at queue depth. The first error is reported, after everything outstanding has come back. */
  readMany(file: IoFile, transfers: readonly Transfer[]): Promise<void>
  write(file: IoFile, offsetBytes: number, bytes: Uint8Array): Promise<void>
  /**
   * Sorted by offset; of several at an equal offset the last one wins; ranges that overlap otherwise are
   * `HOLT_INVALID_ARGUMENT`. The first error is reported, after everything outstanding has come back; any part may
   * have been written then.
   */
  writeMany(file: IoFile, transfers: readonly Transfer[]): Promise<void>
  /** `writeMany`, then one `sync`, which is not started if a write failed. Nothing at all for an empty list. */
  writeManyAndSync(file: IoFile, transfers: readonly Transfer[]): Promise<void>
  /**
   * A write of which this range is stable when it resolves; other unsynced bytes of the file are not covered. Runs on
   * a thread of its own where there is one. Meant for allocated, zeroed ranges, where it is one device command.
   */
  writeDsync(file: IoFile, offsetBytes: number, bytes: Uint8Array): Promise<void>
  /** Makes the file's completed writes, mapped stores included, stable (fdatasync). */
  sync(file: IoFile): Promise<void>
  /**
   * Starts a {@link sync} after `delayMs`. Keeps no process alive, unless it is cancelled too late: then until it is
   * done. Cancelled by `close`.
   */
  syncAfter(file: IoFile, delayMs: number): ScheduledSync
  /** Reserves space for the range and extends the file over it; the new bytes read as zeros. Of no bytes: nothing. */
  allocate(file: IoFile, offsetBytes: number, lengthBytes: number): Promise<void>
  /**
   * Gives the space of the range back to the file system, as far as its blocks lie wholly in it. Like a write of zeros that
   * never makes the file longer: the range reads as zeros at once, and for good after a sync. Resolves to false, with
   * nothing changed, where this Io or the file system cannot.
   */
  punchHole(file: IoFile, offsetBytes: number, lengthBytes: number): Promise<boolean>
  truncate(file: IoFile, sizeBytes: number): Promise<void>
  /**
   * Maps the first `lengthBytes` of the file, all of which must be allocated. `undefined` where stored bytes might not
   * survive as promised (file systems that allocate on overwrite, no addon, no external memory).
   */
  map(file: IoFile, lengthBytes: number): Promise<Mapping | undefined>
  /** The multiple that `direct` transfers need, in bytes: a power of two of at least 512. */
  blockSize(file: IoFile): number

  // ---- files, blocking face: for cache misses and for threads that may block -----------------------------------

  readSync(file: IoFile, offsetBytes: number, into: Uint8Array): void
  /** As {@link readMany}: all of them, at queue depth where there is a queue. */
  readManySync(file: IoFile, transfers: readonly Transfer[]): void
  /**
   * All bytes of the file that has this name now, opened for it and closed again: what a file held open cannot tell once
   * another one was renamed over it. Throws `HOLT_NOT_FOUND`.
   */
  readWholeSync(path: string): Uint8Array
  /**
   * As {@link writeMany}. For a thread that has nothing else to do it costs about half the processor time: it sleeps
   * until several transfers are done, where an event loop is woken by each.
   */
  writeManySync(file: IoFile, transfers: readonly Transfer[]): void
  writeSync(file: IoFile, offsetBytes: number, bytes: Uint8Array): void
  writeDsyncSync(file: IoFile, offsetBytes: number, bytes: Uint8Array): void
  syncSync(file: IoFile): void

  // ---- names ---------------------------------------------------------------------------------------------------

  /** Replaces `to` atomically if it is there. */
  rename(from: string, to: string): Promise<void>
  /** A second name for a file; `HOLT_EXISTS` if `to` is there, atomically. */
  link(existing: string, to: string): Promise<void>
  /** Removes a file's name. `HOLT_NOT_FOUND` if absent. */
  remove(path: string): Promise<void>
  /** Names in a directory, unordered, without `.` and `..`. `HOLT_NOT_FOUND` if absent. */
  list(directory: string): Promise<string[]>
  /** Makes a directory and those above it that are absent. No error if it is there. */
  mkdir(directory: string): Promise<void>
  syncDir(directory: string): Promise<void>
  /**
   * flock on `path` (made if absent, never removed): the lock, `'held'` when another open description has it, or
   * `undefined` where this Io cannot.
   */
  lock(path: string): Promise<FileLock | 'held' | undefined>

  // ---- time and processes --------------------------------------------------------------------------------------

  /** Monotonic milliseconds, with fractions. */
  nowMs(): number
  /** Milliseconds since 1970, as the system's clock says: comparable over restarts, but it can be set, also back. */
  unixTimeMs(): number
  /** Calls back once, after `delayMs`. Keeps no process alive. */
  setTimer(delayMs: number, callback: () => void): Timer
  /** Fills the array, of at most 65 536 bytes, from the system's generator: ids and salts, so that no two are alike. */
  fillRandom(bytes: Uint8Array): void
  processIdentity(): ProcessIdentity
  /** Whether that process is certainly over: same machine and namespace, and its boot or itself is gone (zombies are). */
  isProcessGone(identity: ProcessIdentity): boolean

  readonly counters: IoCounters
  /** Waits for what is outstanding and gives everything back. Files still open are closed. */
  dispose(): Promise<void>
}
