import {
  BUMP_UNITS,
  DEAD_UNITS,
  FIRST_REF,
  FREE_LIST_COUNT,
  FREE_LISTS,
  FREE_UNITS,
  ORDERED_UNITS,
  UNIT_BYTES,
} from './layout.js'
import type { FrameViews } from './frame-views.js'

/*
 * Blocks of a frame, in units of 8 bytes. A block comes from the list of its exact size, else from the bump pointer. It
 * goes back to the bump pointer when it lies on top, else to its list; one too large for a list is dead until the frame
 * is compacted. Blocks carry no header: a node's word 0 tells its size.
 */

/** Whether blocks of `first` and then `second` units (0: none) can be had now. */
export function hasRoom(
  views: FrameViews,
  base: number,
  usableUnits: number,
  first: number,
  second: number,
): boolean {
  const bump = views.u32[(base + BUMP_UNITS) >>> 2]
  if (bump + first + second <= usableUnits) return true
  let wanted = 0
  const firstListed = first <= FREE_LIST_COUNT ? listHead(views, base, first) : 0
  if (firstListed === 0) wanted += first
  if (second !== 0) {
    let secondListed = second <= FREE_LIST_COUNT ? listHead(views, base, second) : 0
    if (second === first && firstListed !== 0) secondListed = views.u16[(base >>> 1) + firstListed * 4]
    if (secondListed === 0) wanted += second
  }
  return bump + wanted <= usableUnits
}

function listHead(views: FrameViews, base: number, units: number): number {
  return views.u16[((base + FREE_LISTS) >>> 1) + units - 1]
}

/** A block; its bytes are whatever they were. The caller has asked {@link hasRoom}. */
export function allocateUnits(views: FrameViews, base: number, units: number): number {
  const { u16, u32 } = views
  if (units <= FREE_LIST_COUNT) {
    const list = ((base + FREE_LISTS) >>> 1) + units - 1
    const ref = u16[list]
    if (ref !== 0) {
      u16[list] = u16[(base >>> 1) + ref * 4]
      u32[(base + FREE_UNITS) >>> 2] -= units
      return ref
    }
  }
  const at = (base + BUMP_UNITS) >>> 2
  const ref = u32[at]
  u32[at] = ref + units
  return ref
}

/** Gives a block, or the tail of one, back. */
export function freeUnits(views: FrameViews, base: number, ref: number, units: number): void {
  const { u16, u32 } = views
  const bumpAt = (base + BUMP_UNITS) >>> 2
  if (ref + units === u32[bumpAt]) {
    u32[bumpAt] = ref
    const orderedAt = (base + ORDERED_UNITS) >>> 2
    if (u32[orderedAt] > ref) u32[orderedAt] = ref
  } else if (units <= FREE_LIST_COUNT) {
    const list = ((base + FREE_LISTS) >>> 1) + units - 1
    u16[(base >>> 1) + ref * 4] = u16[list]
    u16[list] = ref
    u32[(base + FREE_UNITS) >>> 2] += units
  } else {
    u32[(base + DEAD_UNITS) >>> 2] += units
  }
}

/** Units below the bump pointer, live or not. */
export function usedUnits(views: FrameViews, base: number): number {
  return views.u32[(base + BUMP_UNITS) >>> 2] - FIRST_REF
}

/** Units below the bump pointer that a compaction would win. */
export function wasteUnits(views: FrameViews, base: number): number {
  return views.u32[(base + FREE_UNITS) >>> 2] + views.u32[(base + DEAD_UNITS) >>> 2]
}

/** Of the usable bytes of a frame. */
export function unitsOfBytes(usableBytes: number): number {
  return Math.floor(usableBytes / UNIT_BYTES)
}
