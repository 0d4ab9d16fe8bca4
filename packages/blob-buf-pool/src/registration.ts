import { HoltError } from '@holt/errors'
import { type Slot, slotNumber } from './frame.js'
import type { Slab } from './slab.js'
import { isCount } from './slab-sizes.js'

/**
 * A range of a slab's memory that a ring registers once, so that transfers within it need no mapping of their own.
 *
 * Its address does not change, and `bytes` keeps the segment alive: a ring that keeps the registrations it was given
 * until it has given them back to the kernel outlives the slab in every order of closing.
 */
export interface Registration {
  /** Place in the ring's table of buffers, below 65 536: the slot's number, or the segment's. */
  readonly index: number
  readonly bytes: Uint8Array
  /** The slot whose bytes come first; the others follow in order. */
  readonly firstSlot: Slot
  readonly slotCount: number
}

export interface RegistrationOptions {
  /**
   * `'segment'`: one range a segment, few entries however many slots. `'slot'`: one range a slot, for rings whose
   * callers name the buffer by its slot; index 0 stays empty, as slot 0 does.
   */
  readonly per: 'slot' | 'segment'
  /** Memory to register at most: registering pins it, and what may be pinned is often 8 MiB. Default: all. */
  readonly maxBytes?: number
  /** Entries of the table; indices are below this. Default 16 384, what the kernel takes. */
  readonly maxCount?: number
}

const KERNEL_BUFFERS = 16_384
const INDEX_SPACE = 65_536

/** The lowest slots first: they are also those that are leased first. */
export function registrationsOf(slab: Slab, options: RegistrationOptions): readonly Registration[] {
  const { per, maxBytes = Number.MAX_SAFE_INTEGER, maxCount = KERNEL_BUFFERS } = options
  if (!isCount(maxBytes, 0, Number.MAX_SAFE_INTEGER) || !isCount(maxCount, 0, INDEX_SPACE)) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `maxBytes ${String(maxBytes)} and maxCount ${String(maxCount)}: integers are wanted, maxCount up to 65536`,
    )
  }
  if (!['slot', 'segment'].includes(per)) {
    throw new HoltError('HOLT_INVALID_ARGUMENT', `per is '${per}'; 'slot' or 'segment' is wanted`)
  }
  const seen = slab.segments.reduce((sum, segment) => sum + segment.u8.length / slab.frameBytes, 0)
  const limit = Math.min(slab.frameCount + 1, seen, Math.floor(maxBytes / slab.frameBytes) + 1)
  const slotsPerEntry = per === 'slot' ? 1 : slab.segmentMask + 1
  const registrations: Registration[] = []
  for (let index = 0; index < maxCount && index * slotsPerEntry < limit; index++) {
    const firstSlot = Math.max(index * slotsPerEntry, 1)
    const slotCount = Math.min((index + 1) * slotsPerEntry, limit) - firstSlot
    if (slotCount <= 0) continue
    const offset = slab.offsetOf(slotNumber(firstSlot))
    const bytes = slab
      .segmentOf(slotNumber(firstSlot))
      .u8.subarray(offset, offset + slotCount * slab.frameBytes)
    registrations.push({ index, bytes, firstSlot: slotNumber(firstSlot), slotCount })
  }
  return registrations
}
