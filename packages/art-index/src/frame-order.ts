import type { BlobId } from '@holt/blob-buf-pool'
import { layOutFrame } from './compact-frame.js'
import { isSeenByView } from './fork-path.js'
import { frameBase, type FrameViews, segmentOf } from './frame-views.js'
import { filterEntryOf, wantsFilter } from './key-filter.js'
import { BUMP_UNITS, ENTRY_COUNT, FIRST_REF, ORDERED_UNITS } from './layout.js'
import type { Tree } from './tree.js'

/**
 * Part of a resident frame's nodes, 0 to 1, that came since its nodes were laid out depth first: a walk finds those wherever
 * there was room. A walk reads memory in order where nodes lie in order. 0 for a frame of a large value, and for one that an
 * open view sees, which stays as it is.
 */
export function disorderOf(tree: Tree, id: BlobId): number {
  const slot = tree.source.pageTable[id]
  const { u16, u32 }: FrameViews = segmentOf(tree.source, slot)
  const base = frameBase(tree.source, slot)
  if (u16[(base + ENTRY_COUNT) >>> 1] === 0 || isSeenByView(tree, id)) return 0
  const units = u32[(base + BUMP_UNITS) >>> 2] - FIRST_REF
  if (units <= 0) return 0
  const ordered = Math.max(0, u32[(base + ORDERED_UNITS) >>> 2] - FIRST_REF)
  return 1 - ordered / units
}

/**
 * Whether a resident frame should have a filter, and has none: a lookup that reads it by page asks that
 * first. Not one that an open view sees.
 */
export function lacksFilter(tree: Tree, id: BlobId): boolean {
  const slot = tree.source.pageTable[id]
  const views: FrameViews = segmentOf(tree.source, slot)
  const base = frameBase(tree.source, slot)
  return filterEntryOf(views, base) === 0 && wantsFilter(views, base) && !isSeenByView(tree, id)
}

/** Lays the nodes of a resident frame out depth first, with the filter it should have. Contents do not change. */
export function orderFrame(tree: Tree, id: BlobId): void {
  layOutFrame(tree, id)
}
