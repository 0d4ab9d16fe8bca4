import { HoltError } from '@holt/errors'
import type { CursorOptions } from './contract.js'

/** One end of a range of keys. */
export interface Bound {
  readonly bytes: Uint8Array
  readonly inclusive: boolean
}

/** Up to here a loop is faster than a copy by the constructor or by `set`. */
const LONGEST_LOOP_BYTES = 64

/** A copy of `bytes[0 … length)`. Not by `slice`: that of a Buffer copies nothing. */
export function copyOfBytes(bytes: Uint8Array, length: number): Uint8Array {
  const copy = new Uint8Array(length)
  if (length > LONGEST_LOOP_BYTES) copy.set(length === bytes.length ? bytes : bytes.subarray(0, length))
  else for (let i = 0; i < length; i++) copy[i] = bytes[i]
  return copy
}

/** The range that `prefix` and the four bounds of {@link CursorOptions} describe together; undefined is open. */
export interface KeyRange {
  readonly low: Bound | undefined
  readonly high: Bound | undefined
}

/**
 * The smallest bytes that sort behind every key with this prefix: what to pass as `gte` to go on behind a common
 * prefix. Undefined when there are none: the prefix is empty or all 0xff.
 */
export function successorOfPrefix(prefix: Uint8Array): Uint8Array | undefined {
  let length = prefix.length
  while (length > 0 && prefix[length - 1] === 0xff) length--
  if (length === 0) return undefined
  const successor = copyOfBytes(prefix, length)
  successor[length - 1] = (successor[length - 1] ?? 0) + 1
  return successor
}

/** Byte order: negative when `a` sorts first, 0 when both are the same bytes. */
export function compareKeys(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** Joins prefix and bounds to one range. Of two bounds at one end the narrower counts. The bytes are not copied. */
export function keyRangeOf(options: CursorOptions): KeyRange {
  const { prefix, gt, gte, lt, lte } = options
  let low: Bound | undefined
  let high: Bound | undefined
  if (prefix !== undefined && prefix.length > 0) {
    low = { bytes: prefix, inclusive: true }
    const successor = successorOfPrefix(prefix)
    if (successor !== undefined) high = { bytes: successor, inclusive: false }
  }
  if (gte !== undefined) low = higher(low, gte, true)
  if (gt !== undefined) low = higher(low, gt, false)
  if (lte !== undefined) high = lower(high, lte, true)
  if (lt !== undefined) high = lower(high, lt, false)
  return { low, high }
}

function higher(bound: Bound | undefined, bytes: Uint8Array, inclusive: boolean): Bound {
  if (bound === undefined) return { bytes, inclusive }
  const order = compareKeys(bytes, bound.bytes)
  return order > 0 || (order === 0 && !inclusive) ? { bytes, inclusive } : bound
}

function lower(bound: Bound | undefined, bytes: Uint8Array, inclusive: boolean): Bound {
  if (bound === undefined) return { bytes, inclusive }
  const order = compareKeys(bytes, bound.bytes)
  return order < 0 || (order === 0 && !inclusive) ? { bytes, inclusive } : bound
}

/** The delimiter's bytes, or none. Throws `HOLT_INVALID_ARGUMENT` when it is there but empty. */
export function delimiterOf(options: CursorOptions): Uint8Array | undefined {
  const { delimiter } = options
  if (delimiter === undefined) return undefined
  if (delimiter.length === 0)
    throw new HoltError('HOLT_INVALID_ARGUMENT', 'the delimiter is empty; it needs one byte or more')
  return delimiter
}
