import fs from 'node:fs'

import { HoltError } from '@holt/errors'

import type { OpenOptions, Transfer } from './io.js'
import { orderWrites } from './transfer-batch.js'

/** What every Io checks before any system call. A failed check is `HOLT_INVALID_ARGUMENT` and has no effect. */

/** The furthest byte a file can have here: what a JavaScript number counts exactly. */
export const MAX_FILE_BYTES = Number.MAX_SAFE_INTEGER

/** The longest delay of a timer, in milliseconds (2^31 - 1, about 24 days). */
export const MAX_DELAY_MS = 2 ** 31 - 1

/** Linux refuses longer paths; other systems refuse earlier with an errno of their own. */
export const MAX_PATH_BYTES = 4095

function invalid(message: string): HoltError {
  return new HoltError('HOLT_INVALID_ARGUMENT', message)
}

/** Shows any value in a message without calling code of its own. */
function show(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > 100 ? `${value.slice(0, 100)}...` : value)
    case 'number':
    case 'bigint':
    case 'boolean':
    case 'undefined':
      return String(value)
    case 'symbol':
    case 'function':
      return `a ${typeof value}`
    default:
      return value === null ? 'null' : 'an object'
  }
}

/** A path: a well-formed, non-empty string of at most {@link MAX_PATH_BYTES} bytes of UTF-8 without NUL. */
export function checkPath(path: unknown): asserts path is string {
  if (typeof path !== 'string') throw invalid(`a path must be a string, found ${show(path)}`)
  if (path === '') throw invalid('a path must not be empty')
  if (path.includes('\0')) throw invalid(`a path must not contain a NUL byte, found ${show(path)}`)
  if (/[\uD800-\uDFFF]/u.test(path)) throw invalid(`a path must be well-formed Unicode, found ${show(path)}`)
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw invalid(
      `a path must be at most ${String(MAX_PATH_BYTES)} bytes, found ${String(Buffer.byteLength(path))}`,
    )
  }
}

/** A length or size in bytes: an integer from 0 to {@link MAX_FILE_BYTES}. `what` names it in the message. */
export function checkLength(lengthBytes: unknown, what = 'a length'): asserts lengthBytes is number {
  if (typeof lengthBytes !== 'number' || !Number.isSafeInteger(lengthBytes) || lengthBytes < 0) {
    throw invalid(`${what} must be an integer from 0 to 2^53 - 1, found ${show(lengthBytes)}`)
  }
}

/** An offset in bytes, with the range [offset, offset + length) within {@link MAX_FILE_BYTES}. */
export function checkRange(offsetBytes: unknown, lengthBytes: unknown): asserts offsetBytes is number {
  checkLength(offsetBytes, 'an offset')
  checkLength(lengthBytes)
  if (offsetBytes > MAX_FILE_BYTES - lengthBytes) {
    throw invalid(`offset ${String(offsetBytes)} and length ${String(lengthBytes)} reach beyond 2^53 - 1`)
  }
}

/** Bytes to fill or take: a `Uint8Array` (a `Buffer` is one) over memory that is not detached. */
export function checkBytes(bytes: unknown): asserts bytes is Uint8Array {
  if (!(bytes instanceof Uint8Array)) throw invalid(`bytes must be a Uint8Array, found ${show(bytes)}`)
  if (bytes.byteLength === 0 && isDetached(bytes))
    throw invalid('bytes must not lie in a detached ArrayBuffer')
}

/** Offset and bytes of one read or write. */
export function checkTransfer(offsetBytes: unknown, bytes: unknown): asserts offsetBytes is number {
  checkBytes(bytes)
  checkRange(offsetBytes, bytes.byteLength)
}

/** Every transfer of a list. */
export function checkTransfers(transfers: unknown): asserts transfers is readonly Transfer[] {
  if (!Array.isArray(transfers)) throw invalid(`transfers must be an array, found ${show(transfers)}`)
  const list: readonly unknown[] = transfers
  for (const part of list) {
    if (typeof part !== 'object' || part === null)
      throw invalid(`a transfer must be an object, found ${show(part)}`)
    const { offsetBytes, bytes } = part as Partial<Record<keyof Transfer, unknown>>
    checkTransfer(offsetBytes, bytes)
  }
}

/** What a file opened `direct` needs: offset and length in multiples of the block size. */
export function checkAligned(offsetBytes: number, lengthBytes: number, blockSizeBytes: number): void {
  if (offsetBytes % blockSizeBytes !== 0 || lengthBytes % blockSizeBytes !== 0) {
    throw invalid(
      `offset ${String(offsetBytes)} and length ${String(lengthBytes)} of a direct transfer must be multiples ` +
        `of ${String(blockSizeBytes)}`,
    )
  }
}

/** What the checks have to know of a file. */
export interface TransferTarget {
  readonly direct: boolean
  readonly blockSizeBytes: number
}

/** One read or write of a file. */
export function checkFileTransfer(
  file: TransferTarget,
  offsetBytes: unknown,
  bytes: unknown,
): asserts offsetBytes is number {
  checkTransfer(offsetBytes, bytes)
  if (file.direct) checkAligned(offsetBytes, (bytes as Uint8Array).byteLength, file.blockSizeBytes)
}

/** Every transfer of a list, for a file. */
export function checkFileTransfers(
  file: TransferTarget,
  transfers: unknown,
): asserts transfers is readonly Transfer[] {
  checkTransfers(transfers)
  if (!file.direct) return
  for (const { offsetBytes, bytes } of transfers) {
    checkAligned(offsetBytes, bytes.byteLength, file.blockSizeBytes)
  }
}

/** A batch of writes of a file, ordered as they are carried out. */
export function checkWrites(file: TransferTarget, transfers: unknown): Transfer[] {
  checkFileTransfers(file, transfers)
  return orderWrites(transfers)
}

/** A delay in milliseconds: a number from 0 to {@link MAX_DELAY_MS}, fractions allowed. */
export function checkDelay(delayMs: unknown): asserts delayMs is number {
  if (typeof delayMs !== 'number' || !(delayMs >= 0 && delayMs <= MAX_DELAY_MS)) {
    throw invalid(`a delay must be from 0 to ${String(MAX_DELAY_MS)} ms, found ${show(delayMs)}`)
  }
}

/** What is called when something has happened. */
export function checkCallback(callback: unknown): asserts callback is () => void {
  if (typeof callback !== 'function') throw invalid(`a callback must be a function, found ${show(callback)}`)
}

const OPEN_FLAGS = [
  'create',
  'exclusive',
  'truncate',
  'direct',
  'registered',
] as const satisfies readonly (keyof OpenOptions)[]

/** Options of `open`: a known access, boolean flags, and no flag that the access or another flag contradicts. */
export function checkOpenOptions(options: unknown): asserts options is OpenOptions {
  if (typeof options !== 'object' || options === null) {
    throw invalid(`open options must be an object, found ${show(options)}`)
  }
  const given = options as Readonly<Record<string, unknown>>
  for (const name of Object.keys(given)) {
    if (name !== 'access' && !OPEN_FLAGS.some((flag) => flag === name)) {
      throw invalid(`open does not know the option ${show(name)}`)
    }
  }
  if (given['access'] !== 'read' && given['access'] !== 'readwrite') {
    throw invalid(`access must be 'read' or 'readwrite', found ${show(given['access'])}`)
  }
  for (const flag of OPEN_FLAGS) {
    if (given[flag] !== undefined && typeof given[flag] !== 'boolean') {
      throw invalid(`open option ${flag} must be a boolean, found ${show(given[flag])}`)
    }
  }
  if (given['exclusive'] === true && given['create'] !== true) throw invalid('exclusive needs create')
  if (given['access'] === 'read' && (given['create'] === true || given['truncate'] === true)) {
    throw invalid("create and truncate need access 'readwrite'")
  }
}

/** The flags of the system's open for checked options. `direct` is not among them. */
export function openFlags(options: OpenOptions): number {
  const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC } = fs.constants
  return (
    (options.access === 'readwrite' ? O_RDWR : O_RDONLY) |
    (options.create === true ? O_CREAT : 0) |
    (options.exclusive === true ? O_EXCL : 0) |
    (options.truncate === true ? O_TRUNC : 0)
  )
}

/** A file of another Io, or of none. */
export function notOurs(): HoltError {
  return invalid('the file was not opened by this Io')
}

/**
 * Whether the memory beneath an empty array was transferred away. `detached` of ArrayBuffer exists from Node 22 on;
 * before that, making a view on a detached buffer is what throws.
 */
function isDetached(bytes: Uint8Array): boolean {
  try {
    new Uint8Array(bytes.buffer)
    return false
  } catch {
    return true
  }
}
