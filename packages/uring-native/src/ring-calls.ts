import fs from 'node:fs'

import { HoltError } from '@holt/errors'

import type { FileStat } from './io.js'
import { errnoName, isInterruption } from './native-errno.js'
import { FALLOCATE_PUNCH_HOLE, FSYNC_DATASYNC, OPCODE, pathBytes } from './ring-operations.js'
import type { RingOperation } from './ring-operations.js'
import type { RingQueue } from './ring-queue.js'
import type { TransferFile } from './ring-transfer.js'
import { STATX_BASIC_STATS, STATX_BYTES, statOf } from './statx.js'
import { systemError } from './system-error.js'

const { O_DIRECTORY, O_RDONLY } = fs.constants
const O_CLOEXEC = 0o2000000

type Fields = Partial<Omit<RingOperation, 'opcode' | 'completed' | 'abandoned'>>

/** Results that are more than success: everything else returns 0. */
const RETURNS_A_VALUE: ReadonlySet<keyof typeof OPCODE> = new Set(['openat'])

/** The system calls that are no transfers, each as one operation of the ring. */
export class RingCalls {
  readonly #queue: RingQueue

  constructor(queue: RingQueue) {
    this.#queue = queue
  }

  open(path: string, flags: number, mode: number): Promise<number> {
    return this.#call('openat', path, {
      bytes: pathBytes(path),
      flags: flags | O_CLOEXEC,
      length: mode,
    })
  }

  async close(file: TransferFile): Promise<void> {
    await this.#once('close', file.path, { fd: file.fd })
  }

  async stat(file: TransferFile): Promise<FileStat> {
    const bytes = new Uint8Array(STATX_BYTES)
    await this.#call('statx', file.path, { fd: file.fd, bytes, length: STATX_BASIC_STATS })
    return statOf(bytes)
  }

  async dataSync(file: TransferFile): Promise<void> {
    await this.#call(
      'fsync',
      file.path,
      { fd: file.fd, fileIndex: file.fileIndex, flags: FSYNC_DATASYNC },
      'fdatasync',
    )
  }

  async allocate(file: TransferFile, offsetBytes: number, lengthBytes: number): Promise<void> {
    await this.#call('fallocate', file.path, { fd: file.fd, offset: offsetBytes, start: lengthBytes })
  }

  async punchHole(file: TransferFile, offsetBytes: number, lengthBytes: number): Promise<void> {
    const range = { offset: offsetBytes, start: lengthBytes, length: FALLOCATE_PUNCH_HOLE }
    await this.#call('fallocate', file.path, { fd: file.fd, ...range })
  }

  async truncate(file: TransferFile, sizeBytes: number): Promise<void> {
    await this.#call('ftruncate', file.path, { fd: file.fd, offset: sizeBytes })
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#call('renameat', from, { bytes: pathBytes(from), secondPath: pathBytes(to) })
  }

  async link(existing: string, to: string): Promise<void> {
    await this.#call('linkat', to, { bytes: pathBytes(existing), secondPath: pathBytes(to) })
  }

  async unlink(path: string): Promise<void> {
    await this.#call('unlinkat', path, { bytes: pathBytes(path) })
  }

  /** Makes the names in the directory stable. */
  async syncDirectory(directory: string): Promise<void> {
    const fd = await this.open(directory, O_RDONLY | O_DIRECTORY, 0)
    try {
      await this.#call('fsync', directory, { fd })
    } finally {
      await this.#once('close', directory, { fd })
    }
  }

  /** As {@link #once}, repeated when it was not done, see {@link isInterruption}. */
  async #call(opcode: keyof typeof OPCODE, path: string, fields: Fields, syscall?: string): Promise<number> {
    for (;;) {
      const result = await this.#submit(opcode, fields)
      if (result >= 0) return expected(opcode, result, path)
      const errno = errnoName(result)
      if (!isInterruption(errno)) throw systemError(errno, syscall ?? opcode, path)
    }
  }

  /** Repeated only if it was not begun: a close that was interrupted has given the descriptor back. */
  async #once(opcode: keyof typeof OPCODE, path: string, fields: Fields): Promise<void> {
    for (;;) {
      const result = await this.#submit(opcode, fields)
      const errno = result < 0 ? errnoName(result) : ''
      if (errno === '' || errno === 'EINTR') return
      if (errno !== 'ECANCELED') throw systemError(errno, opcode, path)
    }
  }

  #submit(opcode: keyof typeof OPCODE, fields: Fields): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#queue.push({
        fd: -1,
        fileIndex: -1,
        offset: 0,
        start: 0,
        length: 0,
        flags: 0,
        bytes: undefined,
        secondPath: undefined,
        ...fields,
        opcode: OPCODE[opcode],
        completed: resolve,
        abandoned: reject,
      })
    })
  }
}

function expected(opcode: keyof typeof OPCODE, result: number, path: string): number {
  if (result === 0 || RETURNS_A_VALUE.has(opcode)) return result
  throw new HoltError(
    'HOLT_RING',
    `${opcode} of '${path}' gave the unexpected result ${String(result)}, not 0`,
  )
}
