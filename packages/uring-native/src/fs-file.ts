import fs from 'node:fs'

import { HoltError } from '@holt/errors'

import { completed } from './fs-calls.js'
import type { FsQueue } from './fs-queue.js'
import type { IoFile, ScheduledSync } from './io.js'

/** Direct I/O is not used here, so any multiple would do; a page is one that every device takes. */
export const BLOCK_SIZE_BYTES = 4096

/** Whether this system's O_DSYNC means what POSIX says; macOS leaves the bytes in the drive's cache. */
const O_DSYNC = process.platform === 'linux' ? fs.constants.O_DSYNC : 0

export interface FsFileOptions {
  readonly direct: boolean
  readonly writable: boolean
  /** Through which its descriptors are closed. */
  readonly queue: FsQueue
}

/** An open file of {@link FsIo}: its descriptors, and what is outstanding on them. */
export class FsFile implements IoFile {
  readonly path: string
  readonly fd: number
  readonly direct: boolean
  readonly blockSizeBytes = BLOCK_SIZE_BYTES
  readonly writable: boolean
  readonly scheduledSyncs = new Set<ScheduledSync>()

  readonly #queue: FsQueue
  #state: 'open' | 'closed' = 'open'
  #outstanding = 0
  #outstandingWrites = 0
  #idleWaiters: (() => void)[] = []
  #allocation: Promise<void> | undefined
  /** A second descriptor on the same file that syncs what it writes; `'none'` where there cannot be one. */
  #dsyncFd: number | 'unopened' | 'none' = 'unopened'

  constructor(path: string, fd: number, options: FsFileOptions) {
    this.path = path
    this.fd = fd
    this.direct = options.direct
    this.writable = options.writable
    this.#queue = options.queue
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  assertOpen(): void {
    if (this.#state !== 'open')
      throw new HoltError('HOLT_CLOSED', `the file '${this.path}' was closed`, { path: this.path })
  }

  /** Runs an operation that {@link close} waits for. */
  async track<Result>(operation: () => Promise<Result>): Promise<Result> {
    this.#outstanding++
    try {
      return await operation()
    } finally {
      this.#outstanding--
      this.#wakeIdleWaiters()
    }
  }

  /** Like {@link track}, for what changes bytes: it waits for an allocation that writes zeros at this moment. */
  trackWrite<Result>(operation: () => Promise<Result>): Promise<Result> {
    return this.track(async () => {
      while (this.#allocation !== undefined) await this.#allocation
      this.#outstandingWrites++
      try {
        return await operation()
      } finally {
        this.#outstandingWrites--
        this.#wakeIdleWaiters()
      }
    })
  }

  /** Like {@link track}, alone: after outstanding writes, with later ones waiting. */
  trackAllocation(operation: () => Promise<void>): Promise<void> {
    return this.track(async () => {
      while (this.#allocation !== undefined) await this.#allocation
      const run = async (): Promise<void> => {
        await this.#until(() => this.#outstandingWrites === 0)
        await operation()
      }
      const allocation = run()
      this.#allocation = allocation.catch(() => undefined)
      try {
        await allocation
      } finally {
        this.#allocation = undefined
      }
    })
  }

  /**
   * The descriptor for writes that are stable when they return, or undefined where there is none. The file is found
   * again by its path, and may have been renamed or replaced meanwhile: only the same inode will do.
   */
  dsyncFd(): number | undefined {
    if (this.#dsyncFd === 'unopened') this.#dsyncFd = this.#openDsync() ?? 'none'
    return this.#dsyncFd === 'none' ? undefined : this.#dsyncFd
  }

  #openDsync(): number | undefined {
    if (O_DSYNC === 0) return undefined
    let fd: number | undefined
    try {
      fd = fs.openSync(this.path, fs.constants.O_RDWR | O_DSYNC)
      const ours = fs.fstatSync(this.fd, { bigint: true })
      const found = fs.fstatSync(fd, { bigint: true })
      if (ours.ino === found.ino && ours.dev === found.dev) return fd
    } catch {
      // Not there any more, or not ours to open: the caller does without.
    }
    if (fd !== undefined) fs.closeSync(fd)
    return undefined
  }

  /** Refuses new operations, cancels scheduled syncs, waits for what is outstanding, gives the descriptors back. */
  async close(): Promise<void> {
    this.#state = 'closed'
    for (const scheduled of this.scheduledSyncs) scheduled.cancel()
    await this.#until(() => this.#outstanding === 0)
    const dsyncFd = this.#dsyncFd
    this.#dsyncFd = 'none'
    try {
      if (typeof dsyncFd === 'number') await this.#closeDescriptor(dsyncFd)
    } finally {
      await this.#closeDescriptor(this.fd)
    }
  }

  #closeDescriptor(fd: number): Promise<void> {
    return this.#queue.run(() =>
      completed('close', this.path, (done) => {
        fs.close(fd, done)
      }),
    )
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve))
  }

  #wakeIdleWaiters(): void {
    const waiters = this.#idleWaiters
    this.#idleWaiters = []
    for (const wake of waiters) wake()
  }
}
