import fs from 'node:fs'

import { HoltError } from '@holt/errors'

import { endOfFile, errnoOf, fromNodeError } from './system-error.js'

/**
 * The calls of node:fs that move bytes, and the loops that make them exact. They stand behind an interface so that a
 * test can make them short, interrupted or failing.
 */
export interface TransferCalls {
  readonly read: TransferCall
  readonly write: TransferCall
  readonly readSync: BlockingTransferCall
  readonly writeSync: BlockingTransferCall
}

export type TransferCall = (
  fd: number,
  bytes: Uint8Array,
  start: number,
  lengthBytes: number,
  offsetBytes: number,
  done: (error: Error | null, movedBytes: number) => void,
) => void

export type BlockingTransferCall = (
  fd: number,
  bytes: Uint8Array,
  start: number,
  lengthBytes: number,
  offsetBytes: number,
) => number

export const NODE_TRANSFER_CALLS: TransferCalls = {
  read: fs.read,
  write: fs.write,
  readSync: fs.readSync,
  writeSync: fs.writeSync,
}

/** One system call moves at most 2 GiB less a page, and node:fs takes lengths of 31 bits. */
const MAX_CALL_BYTES = 2 ** 30

/** How often a transfer that makes no progress is tried again before the system's answer is believed. */
const MAX_RETRIES = 1000

type Attempt = { readonly movedBytes: number } | { readonly error: unknown }

type Direction = 'pread' | 'pwrite'

/** A transfer between a file range and memory, and how much of it is done. */
interface Progress {
  readonly direction: Direction
  readonly path: string
  readonly offsetBytes: number
  readonly totalBytes: number
  doneBytes: number
  retries: number
}

function start(direction: Direction, path: string, offsetBytes: number, totalBytes: number): Progress {
  return { direction, path, offsetBytes, totalBytes, doneBytes: 0, retries: 0 }
}

/**
 * Takes in what one call did: `'again'` to call for the rest, `'done'`, or the error to report.
 *
 * Short: 4096 asked at 0, 1000 moved: the next call asks for 3096 at 1000. Interrupted (EINTR, EAGAIN): the same call
 * again. Nothing moved: a read is at the end of the file; a write is stuck, which is an error rather than a loop.
 */
function advance(progress: Progress, attempt: Attempt): 'again' | 'done' | HoltError {
  const { direction, path, offsetBytes, totalBytes } = progress
  if ('error' in attempt) {
    const errno = errnoOf(attempt.error)
    if ((errno === 'EINTR' || errno === 'EAGAIN') && progress.retries < MAX_RETRIES) {
      progress.retries++
      return 'again'
    }
    return fromNodeError(attempt.error, direction, path)
  }
  progress.retries = 0
  progress.doneBytes += attempt.movedBytes
  if (progress.doneBytes === totalBytes) return 'done'
  if (attempt.movedBytes > 0) return 'again'
  if (direction === 'pread') return endOfFile(path, offsetBytes, totalBytes, progress.doneBytes)
  return new HoltError(
    'HOLT_SHORT_TRANSFER',
    `write of ${String(totalBytes)} bytes at ${String(offsetBytes)} of '${path}' stopped after ${String(progress.doneBytes)}`,
    { syscall: direction, path },
  )
}

function nextCallBytes(progress: Progress): number {
  return Math.min(progress.totalBytes - progress.doneBytes, MAX_CALL_BYTES)
}

/** Moves every byte of `bytes`, on node's thread pool. No call at all for empty `bytes`. */
export function transferExactly(
  calls: TransferCalls,
  direction: Direction,
  fd: number,
  path: string,
  offsetBytes: number,
  bytes: Uint8Array,
): Promise<void> {
  if (bytes.byteLength === 0) return Promise.resolve()
  const progress = start(direction, path, offsetBytes, bytes.byteLength)
  const call = direction === 'pread' ? calls.read : calls.write
  return new Promise((resolve, reject) => {
    const issue = (): void => {
      const done = progress.doneBytes
      try {
        call(fd, bytes, done, nextCallBytes(progress), offsetBytes + done, (error, movedBytes) => {
          const next = advance(progress, error === null ? { movedBytes } : { error })
          if (next === 'done') resolve()
          else if (next === 'again') issue()
          else reject(next)
        })
      } catch (error) {
        // Memory that was detached meanwhile: node:fs refuses it before the system is asked.
        reject(fromNodeError(error, direction, path))
      }
    }
    issue()
  })
}

/** Moves every byte of `bytes` before it returns. No call at all for empty `bytes`. */
export function transferExactlySync(
  calls: TransferCalls,
  direction: Direction,
  fd: number,
  path: string,
  offsetBytes: number,
  bytes: Uint8Array,
): void {
  if (bytes.byteLength === 0) return
  const progress = start(direction, path, offsetBytes, bytes.byteLength)
  const call = direction === 'pread' ? calls.readSync : calls.writeSync
  for (;;) {
    const done = progress.doneBytes
    let attempt: Attempt
    try {
      attempt = { movedBytes: call(fd, bytes, done, nextCallBytes(progress), offsetBytes + done) }
    } catch (error) {
      attempt = { error }
    }
    const next = advance(progress, attempt)
    if (next === 'done') return
    if (next !== 'again') throw next
  }
}

/** A call of node:fs with one result, as a promise that rejects with a `HoltError`. */
export function promised<Result>(
  syscall: string,
  path: string,
  call: (done: (error: NodeJS.ErrnoException | null, result: Result) => void) => void,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    call((error, result) => {
      if (error === null) resolve(result)
      else reject(fromNodeError(error, syscall, path))
    })
  })
}

/** A call of node:fs without a result, as a promise that rejects with a `HoltError`. */
export function completed(
  syscall: string,
  path: string,
  call: (done: (error: NodeJS.ErrnoException | null | undefined) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    call((error) => {
      if (error === null || error === undefined) resolve()
      else reject(fromNodeError(error, syscall, path))
    })
  })
}

/** A blocking call of node:fs that throws a `HoltError`. */
export function blocking<Result>(syscall: string, path: string, call: () => Result): Result {
  try {
    return call()
  } catch (error) {
    throw fromNodeError(error, syscall, path)
  }
}
