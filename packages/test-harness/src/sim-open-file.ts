import { HoltError } from '@holt/errors'
import type { IoFile, Mapping, ScheduledSync } from '@holt/uring-native'

/** An open description of a simulated file or directory. */
export class SimOpenFile implements IoFile {
  readonly path: string
  readonly inode: number
  readonly kind: 'file' | 'directory'
  readonly writable: boolean
  readonly direct: boolean
  readonly scheduledSyncs = new Set<ScheduledSync>()
  isOpen = true
  #outstanding = 0
  #waiters: (() => void)[] = []

  constructor(options: {
    readonly path: string
    readonly inode: number
    readonly kind: 'file' | 'directory'
    readonly writable: boolean
    readonly direct: boolean
  }) {
    this.path = options.path
    this.inode = options.inode
    this.kind = options.kind
    this.writable = options.writable
    this.direct = options.direct
  }

  assertOpen(): void {
    if (!this.isOpen) {
      throw new HoltError('HOLT_CLOSED', `the file '${this.path}' was closed`, { path: this.path })
    }
  }

  /** Runs an operation that closing waits for. */
  async track<T>(operation: () => Promise<T>): Promise<T> {
    this.#outstanding++
    try {
      return await operation()
    } finally {
      this.#outstanding--
      if (this.#outstanding === 0) {
        for (const wake of this.#waiters.splice(0)) wake()
      }
    }
  }

  async untilIdle(): Promise<void> {
    while (this.#outstanding > 0) {
      await new Promise<void>((resolve) => {
        this.#waiters.push(resolve)
      })
    }
  }
}

const NO_BYTES = new Uint8Array(0)

/** A mapping of the simulated disk; `unmapFile` is told when it goes. */
export class SimMapping implements Mapping {
  #bytes: Uint8Array
  readonly #unmapFile: () => Promise<void>

  constructor(bytes: Uint8Array, unmapFile: () => Promise<void>) {
    this.#bytes = bytes
    this.#unmapFile = unmapFile
  }

  get bytes(): Uint8Array {
    return this.#bytes
  }

  /** Every page of a simulated file is present always. */
  populate(offsetBytes: number, lengthBytes: number): void {
    if (!(offsetBytes >= 0 && lengthBytes >= 0 && offsetBytes + lengthBytes <= this.#bytes.length)) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `[${String(offsetBytes)}, + ${String(lengthBytes)}) is not within a mapping of ${String(this.#bytes.length)} bytes`,
      )
    }
  }

  async unmap(): Promise<void> {
    if (this.#bytes === NO_BYTES) return
    this.#bytes = NO_BYTES
    await this.#unmapFile()
  }
}
