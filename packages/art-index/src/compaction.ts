import type { BlobId } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import { isCompact, layOutFrame } from './compact-frame.js'
import type { CompactionPass } from './compaction-pass.js'
import { PATH_ID } from './descent.js'
import { isSeenByView } from './fork-path.js'
import { usedUnits, wasteUnits } from './frame-allocator.js'
import { lacksFilter } from './frame-order.js'
import { frameBase, segmentOf } from './frame-views.js'
import { FIRST_REF } from './layout.js'
import { liveUnits, repackChildren } from './repack.js'
import type { Tree } from './tree.js'
import { MAX_ABSORBED } from './under-full-frames.js'

export interface CompactionBudget {
  /** Frames that one step may read and write. Default 8, at least 2. */
  readonly frames?: number
  /**
   * Share of a frame that a full pass may fill, above 0.5 and up to 1. Default 0.95, as new keys soon divide a fuller one; but
   * frames that would stay {@link BRIM} full or less are filled to the brim if that saves one.
   */
  readonly fill?: number
}

const DEFAULT_FRAMES = 8
const DEFAULT_FILL = 0.95
/** In hundredths: subtrees of nearly half a frame would otherwise have one each, and memory for twice of what they need. */
const BRIM = 67
/**
 * What merges because keys were deleted fills at most this share: a frame that was divided has to lose a quarter before it
 * merges, and to win a third before it is divided again.
 */
const MERGED_FILL = 0.75
/** A candidate's frame that is a quarter waste is laid out anew. */
const COMPACT_AT = 4

/** Notices that the last frame of the descent went from `before` units to what it has: a candidate at each halving. */
export function noticeShrinking(tree: Tree, id: BlobId, keyLength: number, before: number): void {
  if (!(tree.source.pageTable[id] > 0)) return
  const after = liveUnits(tree, id)
  if (after < before && Math.clz32(after) !== Math.clz32(before))
    tree.candidates.offer(tree.keyBytes, keyLength)
}

/**
 * Does one piece of compaction: for the oldest candidate that deletes have left, else, when a pass is given, for the
 * pass's next frame. What an open view sees stays as it is. False: there is nothing left to do. Throws
 * `HOLT_INVALID_ARGUMENT` for a budget out of range, and what `FrameSource.fault` throws, having changed nothing.
 */
export function compactStep(tree: Tree, pass: CompactionPass | undefined, budget: CompactionBudget): boolean {
  const frames = budget.frames ?? DEFAULT_FRAMES
  const fill = budget.fill ?? DEFAULT_FILL
  if (!Number.isInteger(frames) || frames < 2 || !(fill > 0.5 && fill <= 1)) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `frames is ${String(frames)} and fill ${String(fill)}; at least 2, and above 0.5 and up to 1, are wanted`,
    )
  }
  const maxAbsorbed = Math.min(frames - 1, MAX_ABSORBED)
  if (tree.candidates.count > 0) {
    // Another round may find more at the same place: it stays until nothing is left.
    if (!compactCandidate(tree, maxAbsorbed)) tree.candidates.drop()
    return true
  }
  if (pass === undefined || pass.finished) return false
  const id = pass.next(tree)
  let saved = repackChildren(tree, id, { fill, maxAbsorbed }, pass.known)
  if (saved < 0 && budget.fill === undefined) {
    // The tries may have faulted others in, and this one out.
    if (!(tree.source.pageTable[id] > 0)) tree.source.fault(id)
    saved = repackChildren(tree, id, { fill: 1, underFull: BRIM, maxAbsorbed }, pass.known)
  }
  if (saved >= 0) {
    pass.framesSaved += saved
    return true
  }
  if (!(tree.source.pageTable[id] > 0)) tree.source.fault(id)
  if (!isSeenByView(tree, id) && (!isCompact(tree, id) || lacksFilter(tree, id))) layOutFrame(tree, id)
  pass.finish(tree, id, liveUnits(tree, id))
  return true
}

function compactCandidate(tree: Tree, maxAbsorbed: number): boolean {
  const { source, descent, candidates } = tree
  const key = candidates.first()
  tree.keyBytes.set(key)
  descent.run(source, tree.rootId, tree.keyBytes, tree.keyWords, key.length)
  const options = { fill: MERGED_FILL, maxAbsorbed }
  const last = descent.frames - 1
  const half = ((tree.usableUnits - FIRST_REF) * MERGED_FILL) / 2
  for (let frame = last; frame >= 0; frame--) {
    const id = descent.at(frame, PATH_ID) as BlobId
    // What lies further up concerns this key only if the frame below has become small.
    if (frame < last && liveUnits(tree, descent.at(frame + 1, PATH_ID)) > half) break
    if (repackChildren(tree, id, options, new Map()) >= 0) return true
  }
  const id = descent.at(last, PATH_ID) as BlobId
  if (isSeenByView(tree, id)) return false
  const slot = source.pageTable[id]
  const views = segmentOf(source, slot)
  const base = frameBase(source, slot)
  if (wasteUnits(views, base) * COMPACT_AT < usedUnits(views, base)) return false
  layOutFrame(tree, id)
  return false
}
