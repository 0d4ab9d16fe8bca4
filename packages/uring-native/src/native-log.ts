import type { NativeAddon } from './addon.js'
import { errnoName } from './native-errno.js'
import { systemError } from './system-error.js'

interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
  readonly syscall: string
  readonly path: string
}

/** What the log thread has to know of a file. */
export interface LogFile {
  readonly fd: number
  readonly path: string
}

/** A sync that the log thread will start by its own clock. */
export interface DelayedSync {
  readonly done: Promise<void>
  /**
   * Takes it back if its time has not come: true, and `done` resolves. Else it has begun, and whoever called this waits
   * for its end: until then the process stays.
   */
  cancel(): boolean
}

/**
 * The native thread that makes bytes stable, one command after the other. Started by the first of them.
 */
export class LogThread {
  readonly #addon: NativeAddon
  #thread: number | undefined
  #nextCommand = 1
  readonly #waiters = new Map<number, Waiter>()

  constructor(addon: NativeAddon) {
    this.#addon = addon
  }

  get isStarted(): boolean {
    return this.#thread !== undefined
  }

  /** Writes the range, and it is stable. */
  writeDsync(file: LogFile, offsetBytes: number, bytes: Uint8Array): Promise<void> {
    return this.#command('pwritev2', file.path, (thread, command) => {
      this.#addon.logWriteDsync(thread, command, file.fd, bytes, offsetBytes)
    })
  }

  sync(file: LogFile): Promise<void> {
    return this.#command('fdatasync', file.path, (thread, command) => {
      this.#addon.logSync(thread, command, file.fd)
    })
  }

  syncAfter(file: LogFile, delayMs: number): DelayedSync {
    let id = 0
    const done = this.#command('fdatasync', file.path, (thread, command) => {
      id = command
      this.#addon.logSyncAfter(thread, command, file.fd, delayMs)
    })
    return {
      done,
      cancel: () => {
        const waiter = this.#waiters.get(id)
        if (waiter === undefined || this.#thread === undefined) return false
        if (!this.#addon.logCancel(this.#thread, id)) {
          // A sync that starts by itself keeps no process alive; the command behind it does.
          void this.barrier()
          return false
        }
        this.#waiters.delete(id)
        waiter.resolve()
        return true
      },
    }
  }

  truncate(file: LogFile, sizeBytes: number): Promise<void> {
    return this.#command('ftruncate', file.path, (thread, command) => {
      this.#addon.logTruncate(thread, command, file.fd, sizeBytes)
    })
  }

  /** Lets the file reach `endBytes` by appending zeros: `Io.allocate` where there is no fallocate. */
  appendZeros(file: LogFile, endBytes: number): Promise<void> {
    return this.#command('pwritev2', file.path, (thread, command) => {
      this.#addon.logAppendZeros(thread, command, file.fd, endBytes)
    })
  }

  /** Resolves when everything that was given before is done, and the thread has let go of detached mappings. */
  barrier(): Promise<void> {
    return this.#command('barrier', '', (thread, command) => {
      this.#addon.logBarrier(thread, command)
    })
  }

  /** A hint: without a thread nothing is done. */
  populate(mapping: number, offsetBytes: number, lengthBytes: number): void {
    let thread: number
    try {
      thread = this.#started()
    } catch {
      return
    }
    this.#addon.logPopulate(thread, mapping, offsetBytes, lengthBytes)
  }

  /** Finishes the command in hand and ends the thread. Whoever still waits would wait for ever: wait first. */
  close(): void {
    if (this.#thread !== undefined) this.#addon.closeLogThread(this.#thread)
    this.#thread = undefined
  }

  #started(): number {
    if (this.#thread !== undefined) return this.#thread
    const thread = this.#addon.createLogThread((command, result) => {
      const waiter = this.#waiters.get(command)
      if (waiter === undefined) return
      this.#waiters.delete(command)
      if (result < 0) waiter.reject(systemError(errnoName(result), waiter.syscall, waiter.path))
      else waiter.resolve()
    })
    if (thread < 0) throw systemError(errnoName(thread), 'pthread_create', 'the log thread')
    this.#thread = thread
    return thread
  }

  #command(syscall: string, path: string, give: (thread: number, command: number) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const thread = this.#started()
      const command = this.#nextCommand
      this.#nextCommand = (this.#nextCommand + 1) >>> 0
      this.#waiters.set(command, { resolve, reject, syscall, path })
      give(thread, command)
    })
  }
}
