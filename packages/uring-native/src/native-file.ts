import { HoltError } from '@holt/errors'

import type { IoFile, ScheduledSync } from './io.js'
import type { TransferFile } from './ring-transfer.js'

/** An open file of UringIo: its descriptor and what is outstanding on it. */
export class NativeFile implements IoFile, TransferFile {
  readonly path: string
  readonly fd: number
  readonly direct: boolean
  readonly blockSizeBytes: number
  readonly fileIndex: number
  readonly scheduledSyncs = new Set<ScheduledSync>()
  /** Whether its syncs go to the log thread: it is mapped, or has had a write there. */
  usesLogThread = false

  #isOpen = true
  #outstanding = 0
  #idleWaiters: (() => void)[] = []

  constructor(path: string, fd: number, direct: boolean, blockSizeBytes: number, fileIndex: number) {
    this.path = path
    this.fd = fd
    this.direct = direct
    this.blockSizeBytes = blockSizeBytes
    this.fileIndex = fileIndex
  }

  get stepBytes(): number {
    return this.direct ? this.blockSizeBytes : 1
  }

  assertOpen(): void {
    if (!this.#isOpen)
      throw new HoltError('HOLT_CLOSED', `the file '${this.path}' was closed`, { path: this.path })
  }

  /** Counts an operation as outstanding until it settles. */
  async track<Result>(operation: Promise<Result>): Promise<Result> {
    this.#outstanding++
    try {
      return await operation
    } finally {
      this.#outstanding--
      if (this.#outstanding === 0) {
        const waiters = this.#idleWaiters
        this.#idleWaiters = []
        for (const wake of waiters) wake()
      }
    }
  }

  /** Refuses further operations, cancels scheduled syncs and waits for what is outstanding. */
  async settle(): Promise<void> {
    this.#isOpen = false
    for (const scheduled of this.scheduledSyncs) scheduled.cancel()
    while (this.#outstanding > 0) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve))
  }
}
