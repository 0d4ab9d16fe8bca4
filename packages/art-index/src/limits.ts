import { PAGE_BYTES } from '@holt/blob-buf-pool'
import { MAX_INDEX_KEY_BYTES, MAX_INLINE_VALUE_BYTES, MAX_VALUE_BYTES, MAX_VALUE_FRAMES } from './layout.js'

/*
 * What always fits. A frame can be divided down to one entry whose root is a node256 with 256 crossings and a terminal.
 * With n node bytes in a frame (at least 8 192), k the longest key and v the largest inline value, that and a put that splits
 * the root's prefix need at most
 *
 *   node256 with its prefix   520 + k
 *   256 crossings             4 096 + n/16 (CROSSING_PREFIX_SHARE)
 *   terminal                  16 + v
 *   a node4 above             20 + k
 *   the new leaf              16 + k + v        with k ≤ n/32, v ≤ n/8: 4 700 + 13n/32 ≤ n
 */

/** At most this share of a frame's node bytes goes to the prefixes of its crossings. */
export const CROSSING_PREFIX_SHARE = 16

/** Largest value that lies in its leaf, in frames with this many usable bytes (page 0 included). */
export function maxInlineValueBytes(usableFrameBytes: number): number {
  return Math.min(MAX_INLINE_VALUE_BYTES, (usableFrameBytes - PAGE_BYTES) >>> 3)
}

/** Bytes that one value frame takes at most: whole pages. */
export function valueFrameBytes(usableFrameBytes: number): number {
  return (usableFrameBytes - PAGE_BYTES) & ~(PAGE_BYTES - 1)
}

/** Largest value in frames with this many usable bytes. Smaller than usual only in tiny ones. */
export function maxValueBytes(usableFrameBytes: number): number {
  return Math.min(MAX_VALUE_BYTES, MAX_VALUE_FRAMES * valueFrameBytes(usableFrameBytes))
}

/** Frames that a value takes beside its leaf: 0 when it lies in the leaf. */
export function valueFrameCount(usableFrameBytes: number, valueBytes: number): number {
  return valueBytes <= maxInlineValueBytes(usableFrameBytes)
    ? 0
    : Math.ceil(valueBytes / valueFrameBytes(usableFrameBytes))
}

/** Longest key, the tree's id included, in frames with this many usable bytes. Shorter than usual only in tiny ones. */
export function maxKeyBytes(usableFrameBytes: number): number {
  return Math.min(MAX_INDEX_KEY_BYTES, (usableFrameBytes - PAGE_BYTES) >>> 5)
}
