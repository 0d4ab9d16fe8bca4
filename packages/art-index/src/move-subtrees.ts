import type { BlobId } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import { type AbsorbedFrames, copySubtree } from './copy-subtree.js'
import { frameBase, segmentOf, type FrameViews } from './frame-views.js'
import {
  BIRTH,
  BUMP_UNITS,
  bodyBytes,
  CROSSING,
  CROSSING_BYTES,
  ENTRY_BYTES,
  ENTRY_COUNT,
  ENTRY_HIGH_WATER,
  ENTRY_MAX_KEY,
  ENTRY_TABLE,
  FIRST_REF,
  LEAF,
} from './layout.js'
import { entryRoot, nodeAt } from './node-edit.js'
import type { SpillChoice } from './spill-choice.js'
import type { SubtreeSizes } from './subtree-sizes.js'
import type { Tree } from './tree.js'

/** A fresh, empty frame with this many entries. `isWrittenOnce` as for the source's `allocate`. */
export function allocateFrame(tree: Tree, entries: number, isWrittenOnce = false): BlobId {
  const id = tree.source.allocate(isWrittenOnce)
  const slot = tree.source.pageTable[id]
  const { u16, u32, f64 } = segmentOf(tree.source, slot)
  const base = frameBase(tree.source, slot)
  f64[(base + BIRTH) >>> 3] = tree.views.epoch
  u32[(base + BUMP_UNITS) >>> 2] = FIRST_REF
  u16[(base + ENTRY_COUNT) >>> 1] = entries
  u16[(base + ENTRY_HIGH_WATER) >>> 1] = entries
  return id
}

/**
 * Moves the chosen children of one node of a measured frame to a fresh one; each leaves a crossing in its own place. What
 * has moved, and the chains and counts, are wrong in the frame until it is compacted. `absorbed` as in copySubtree. Returns
 * the fresh frame.
 */
export function moveSubtrees(
  tree: Tree,
  id: BlobId,
  sizes: SubtreeSizes,
  choice: SpillChoice,
  absorbed?: AbsorbedFrames,
): BlobId {
  const { source } = tree
  const freshId = allocateFrame(tree, choice.count)
  const fresh: FrameViews = segmentOf(source, source.pageTable[freshId])
  const freshBase = frameBase(source, source.pageTable[freshId])
  const slot = source.writable(id)
  const views: FrameViews = segmentOf(source, slot)
  const base = frameBase(source, slot)
  for (let i = 0; i < choice.count; i++) {
    const ref = choice.refs[i]
    const node = nodeAt(base, ref)
    const word = views.u32[node]
    const type = word & 7
    const prefixLength = type === LEAF ? 0 : word >>> 16
    const handsPrefix =
      choice.count === 1 &&
      prefixLength !== 0 &&
      sizes.crossingPrefixBytes + ((prefixLength + 7) & ~7) <= tree.maxCrossingPrefixBytes
    const bound = keyBoundOf(views, base, sizes, ref) - (handsPrefix ? prefixLength : 0)
    copySubtree(views, base, id, ref, fresh, freshBase, i, tree.usableUnits, bound, handsPrefix, absorbed)
    if (handsPrefix) {
      const prefix = node * 4 + bodyBytes(type)
      views.u8.copyWithin(node * 4 + CROSSING_BYTES, prefix, prefix + prefixLength)
      sizes.crossingPrefixBytes += (prefixLength + 7) & ~7
    }
    views.u32[node] = CROSSING | (i << 3) | ((handsPrefix ? prefixLength : 0) << 16)
    views.u32[node + 1] = freshId
    views.u32[node + 2] = 0
  }
  return freshId
}

/** No key below `ref` has more bytes from there on. Not exact: what lies in other frames is known by the entry's bound only. */
function keyBoundOf(views: FrameViews, base: number, sizes: SubtreeSizes, ref: number): number {
  let above = 0
  let node = ref
  while (sizes.parent[node] !== 0) {
    node = sizes.parent[node]
    above += (views.u32[nodeAt(base, node)] >>> 16) + 1
  }
  const highWater = views.u16[(base + ENTRY_HIGH_WATER) >>> 1]
  for (let entry = 0; entry < highWater; entry++) {
    if (entryRoot(views, base, entry) !== node) continue
    return views.u16[(base + ENTRY_TABLE + entry * ENTRY_BYTES + ENTRY_MAX_KEY) >>> 1] - above
  }
  throw new HoltError('HOLT_INTERNAL', `ref ${String(ref)} is below no entry of its frame`)
}
