import { HoltError } from '@holt/errors'
import { PAGE_BYTES } from './frame.js'

/** Typed-array arithmetic is twice as slow beyond 2 GiB; io_uring registers at most 1 GiB in one piece. */
export const MAX_SEGMENT_BYTES = 2 ** 30
/** Slots are numbered below this; so is everything that has a table entry a slot. */
export const MAX_SLOTS = 2 ** 24

export function isPowerOfTwo(value: unknown): value is number {
  return isCount(value, 1, 2 ** 30) && (value & (value - 1)) === 0
}

export function isFrameSize(value: unknown): value is number {
  return isCount(value, PAGE_BYTES, MAX_SEGMENT_BYTES) && value % PAGE_BYTES === 0
}

export function isCount(value: unknown, least: number, most: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most
}

/** The most slots that one segment can have: a power of two. */
export function largestSegment(frameBytes: number): number {
  return 2 ** Math.floor(Math.log2(MAX_SEGMENT_BYTES / frameBytes))
}

function fieldsOf(value: unknown): Partial<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

/**
 * Looks at every size in what came from another thread before a view is made of it. Throws `HOLT_INVALID_ARGUMENT`.
 */
export function checkShared(shared: unknown): void {
  const { frameBytes, segmentFrameCount, maxFrameCount, segments } = fieldsOf(shared)
  if (
    !isFrameSize(frameBytes) ||
    !isPowerOfTwo(segmentFrameCount) ||
    segmentFrameCount > largestSegment(frameBytes) ||
    !isCount(maxFrameCount, 1, MAX_SLOTS - 1) ||
    !Array.isArray(segments)
  ) {
    throw new HoltError('HOLT_INVALID_ARGUMENT', 'what was shared is not what Slab.share returns')
  }
  let slots = 0
  for (const segment of segments) {
    const { buffer, startBytes, frames } = fieldsOf(segment)
    const wanted = Math.min(segmentFrameCount, maxFrameCount + 1 - slots)
    if (
      !(buffer instanceof SharedArrayBuffer) ||
      !isCount(startBytes, 0, PAGE_BYTES - 8) ||
      startBytes % 8 !== 0 ||
      frames !== wanted ||
      buffer.byteLength < startBytes + wanted * frameBytes
    ) {
      throw new HoltError('HOLT_INVALID_ARGUMENT', 'a shared segment is not one that Slab.share returns')
    }
    slots += wanted
  }
}
