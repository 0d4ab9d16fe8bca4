import { HoltError } from '@holt/errors'

import type { Transfer } from './io.js'
import { errnoName, isInterruption } from './native-errno.js'
import { OPCODE } from './ring-operations.js'
import type { RingOperation } from './ring-operations.js'
import type { RingQueue } from './ring-queue.js'
import { endOfFile, systemError } from './system-error.js'

/** The kernel moves at most 2 GiB less a page at once; an even gigabyte keeps direct transfers aligned. */
export const MAX_STEP_BYTES = 2 ** 30

/** How often a transfer that makes no progress is tried again before the system's answer is believed. */
export const MAX_RETRIES = 1000

/** What a transfer has to know of its file. */
export interface TransferFile {
  readonly fd: number
  readonly path: string
  /** Where it stands in the ring's table, or -1. */
  readonly fileIndex: number
  /** Of a file that bypasses the page cache: the block size; else 1. */
  readonly stepBytes: number
}

type Settled = (error: HoltError | undefined) => void

/** A read or write that moves every byte or fails: what stops short is queued again for the rest. */
class ExactTransfer implements RingOperation {
  readonly opcode: typeof OPCODE.read | typeof OPCODE.write
  readonly fd: number
  readonly fileIndex: number
  offset: number
  start = 0
  length: number
  readonly flags = 0
  readonly bytes: Uint8Array
  readonly secondPath = undefined
  readonly #queue: RingQueue
  readonly #file: TransferFile
  readonly #settled: Settled
  /** Remembered: the array can shrink or be detached while the kernel has it. */
  readonly #totalBytes: number
  #retries = 0

  constructor(
    queue: RingQueue,
    opcode: typeof OPCODE.read | typeof OPCODE.write,
    file: TransferFile,
    transfer: Transfer,
    settled: Settled,
  ) {
    this.#queue = queue
    this.opcode = opcode
    this.#file = file
    this.fd = file.fd
    this.fileIndex = file.fileIndex
    this.offset = transfer.offsetBytes
    this.bytes = transfer.bytes
    this.#totalBytes = transfer.bytes.byteLength
    this.length = Math.min(this.#totalBytes, MAX_STEP_BYTES)
    this.#settled = settled
  }

  completed(result: number): void {
    if (this.bytes.byteLength < this.#totalBytes) {
      this.#settled(memoryLost(this.#totalBytes, this.bytes.byteLength, this.#syscall, this.#file.path))
      return
    }
    if (result > this.length) {
      this.#settled(impossible(result, this.length, this.#syscall, this.#file.path))
      return
    }
    // A direct write goes on from the last whole block: what it wrote of the next one is written again.
    const moved = this.opcode === OPCODE.write ? result - (result % this.#file.stepBytes) : result
    if (result > 0 && (moved > 0 || this.#retries++ < MAX_RETRIES)) {
      if (moved > 0) this.#retries = 0
      this.offset += moved
      this.start += moved
      const rest = this.#totalBytes - this.start
      if (rest <= 0) {
        this.#settled(undefined)
        return
      }
      // A direct transfer cannot go on from within a block: it stopped there since the file ends there.
      if (this.opcode === OPCODE.read && result % this.#file.stepBytes !== 0) {
        this.#settled(this.#endOfFile())
        return
      }
      this.length = Math.min(rest, MAX_STEP_BYTES)
      this.#queue.push(this)
      return
    }
    if (result >= 0) {
      this.#settled(
        this.opcode === OPCODE.read ? this.#endOfFile() : systemError('EIO', 'pwrite', this.#file.path),
      )
      return
    }
    const errno = errnoName(result)
    if (isInterruption(errno) && this.#retries++ < MAX_RETRIES) {
      this.#queue.push(this)
      return
    }
    this.#settled(systemError(errno, this.#syscall, this.#file.path))
  }

  abandoned(error: HoltError): void {
    this.#settled(error)
  }

  get #syscall(): 'pread' | 'pwrite' {
    return this.opcode === OPCODE.read ? 'pread' : 'pwrite'
  }

  #endOfFile(): HoltError {
    return endOfFile(this.#file.path, this.offset - this.start, this.#totalBytes, this.start)
  }
}

/** The caller's array was transferred away or made shorter while the kernel used its memory. */
export function memoryLost(wantedBytes: number, leftBytes: number, syscall: string, path: string): HoltError {
  return new HoltError(
    'HOLT_INVALID_ARGUMENT',
    `the memory of a transfer must stay as it is: of ${String(wantedBytes)} bytes ${String(leftBytes)} are left ` +
      `after ${syscall} of '${path}'`,
    { syscall, path },
  )
}

/** The kernel says that it moved more than it was asked to. */
export function impossible(movedBytes: number, askedBytes: number, syscall: string, path: string): HoltError {
  return new HoltError(
    'HOLT_RING',
    `${syscall} of '${path}' completed with ${String(movedBytes)} of ${String(askedBytes)} bytes`,
    { syscall, path },
  )
}

/** One exact transfer. */
export function transferOne(
  queue: RingQueue,
  opcode: typeof OPCODE.read | typeof OPCODE.write,
  file: TransferFile,
  transfer: Transfer,
): Promise<void> {
  if (transfer.bytes.byteLength === 0) return Promise.resolve()
  return new Promise((resolve, reject) => {
    queue.push(
      new ExactTransfer(queue, opcode, file, transfer, (error) => {
        if (error === undefined) resolve()
        else reject(error)
      }),
    )
  })
}

/**
 * Exact transfers, as many at once as the ring takes. After the first error no further one is begun; it is reported
 * when everything outstanding has come back.
 */
export function transferMany(
  queue: RingQueue,
  opcode: typeof OPCODE.read | typeof OPCODE.write,
  file: TransferFile,
  transfers: readonly Transfer[],
): Promise<void> {
  return new Promise((resolve, reject) => {
    beginMany(queue, opcode, file, transfers, (error) => {
      if (error === undefined) resolve()
      else reject(error)
    })
  })
}

/**
 * As {@link transferMany}, and blocks until it is over. The thread sleeps until half of what is outstanding has come
 * back, so the device is never idle, and it is woken a few times for a batch instead of once for each transfer.
 */
export function transferManySync(
  queue: RingQueue,
  opcode: typeof OPCODE.read | typeof OPCODE.write,
  file: TransferFile,
  transfers: readonly Transfer[],
): void {
  let over = false
  let failed: HoltError | undefined
  beginMany(queue, opcode, file, transfers, (error) => {
    over = true
    failed = error
  })
  // Completions change it, which TypeScript does not see.
  while (!(over as boolean)) queue.waitSync()
  if (failed !== undefined) throw failed
}

function beginMany(
  queue: RingQueue,
  opcode: typeof OPCODE.read | typeof OPCODE.write,
  file: TransferFile,
  transfers: readonly Transfer[],
  over: Settled,
): void {
  const parts = transfers.filter(({ bytes }) => bytes.byteLength > 0)
  let next = 0
  let outstanding = 0
  let failed: HoltError | undefined
  const begin = (): void => {
    while (failed === undefined && outstanding < queue.depth && next < parts.length) {
      const part = parts[next++]
      outstanding++
      queue.push(new ExactTransfer(queue, opcode, file, part, settled))
    }
    if (outstanding === 0) over(failed)
  }
  const settled = (error: HoltError | undefined): void => {
    outstanding--
    failed ??= error
    begin()
  }
  begin()
}
