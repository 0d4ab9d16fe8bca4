import type { BlobId } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import { unlinkUpwards, dropCrossing } from './delete.js'
import { deletePrefix, freeSubtree, unlinkCrossing } from './delete-prefix.js'
import { type Descent, NO_CHILD, PATH_DEPTH, PATH_ENTRY, PATH_ID } from './descent.js'
import { forkPath } from './fork-path.js'
import { hasRoom } from './frame-allocator.js'
import { frameBase, segmentOf, type FrameViews } from './frame-views.js'
import { pathBytesOf, replaceFront, unitsWithPath } from './front-path.js'
import { graft } from './graft.js'
import { CROSSING, CROSSING_BYTES, ENTRY_BYTES, ENTRY_COUNT, ENTRY_MAX_KEY, ENTRY_TABLE } from './layout.js'
import { dropFilter } from './key-filter.js'
import { MovingPiece } from './moving-piece.js'
import { cutFront, nodeAt } from './node-edit.js'
import { TERMINAL_REF } from './node-search.js'
import { boundBelow, entryMaxKey } from './prefix-bound.js'
import { locatePrefix, type PrefixPlace } from './prefix-place.js'
import { linkNew, newNodeUnits, raiseMaxKeys } from './put.js'
import type { Tree } from './tree.js'

const MAX_ATTEMPTS = 64
const place: PrefixPlace = { ref: 0, depth: 0, cutBytes: 0 }
const piece = new MovingPiece()

/**
 * Puts all keys that begin with `from` below `to` instead, with their values and versions; what lay below `to` goes.
 * False, having changed nothing, when no key begins with `from`. Neither of the two begins with the other.
 *
 * - Where both places lie in one entry of a frame, the top of what moves gets its new path, and is linked there.
 * - Else a frame wholly below `from` is only named anew: by a crossing, and its top's path loses what belonged to `from`.
 * - Nodes in a frame that holds other keys too are copied out, and so is one entry of several: a frame's entries stay
 *   children of one node. Crossings among them go along.
 *
 * So the cost is two descents and at most one frame, whatever lies below. Throws as a descent does, before any change.
 */
export function movePrefix(tree: Tree, from: Uint8Array, to: Uint8Array): boolean {
  if (!bringIn(tree, from, to)) return false
  setKey(tree, to)
  deletePrefix(tree, to.length)
  setKey(tree, from)
  locatePrefix(tree, from.length, place)
  if (tree.views.newest !== 0) forkPath(tree)
  if (!linkAnew(tree, from, to)) {
    setKey(tree, to)
    graft(tree, to.length, piece)
  }
  tree.changes++
  return true
}

function setKey(tree: Tree, key: Uint8Array): void {
  tree.keyBytes.set(key)
}

/** Has every frame of both ways resident at once, and the one below a crossing that moves. Whether there is anything to move. */
function bringIn(tree: Tree, from: Uint8Array, to: Uint8Array): boolean {
  const { source, descent } = tree
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const residency = source.residency[0]
    setKey(tree, to)
    descent.run(source, tree.rootId, tree.keyBytes, tree.keyWords, to.length)
    setKey(tree, from)
    if (!locatePrefix(tree, from.length, place)) return false
    const slot = source.pageTable[descent.at(descent.frames - 1, PATH_ID)]
    const { u32 } = segmentOf(source, slot)
    const node = nodeAt(frameBase(source, slot), place.ref)
    if ((u32[node] & 7) === CROSSING && source.pageTable[u32[node + 1]] <= 0)
      source.fault(u32[node + 1] as BlobId)
    if (source.residency[0] === residency) return true
  }
  throw new HoltError('HOLT_OUT_OF_MEMORY', 'the frames above two prefixes do not fit the cache together')
}

/**
 * Links what lies at {@link place} to its new place if that is in the same entry. Otherwise takes it out of the tree, makes
 * it {@link piece}, and returns false.
 */
function linkAnew(tree: Tree, from: Uint8Array, to: Uint8Array): boolean {
  const { source, descent } = tree
  const frame = descent.frames - 1
  const id = descent.at(frame, PATH_ID) as BlobId
  const entry = descent.at(frame, PATH_ENTRY)
  let slot: number = source.pageTable[id]
  let views: FrameViews = segmentOf(source, slot)
  let base = frameBase(source, slot)
  const { ref, cutBytes } = place
  const word = views.u32[nodeAt(base, ref)]
  if ((word & 7) === CROSSING || !hasOthersAbove(descent, views, base)) {
    takeOut(tree, from.length, to.length)
    return false
  }
  const bound = restBound(tree, views, base, from.length, to.length)
  unlinkUpwards(tree, frame, from.length)
  slot = source.writable(id)
  views = segmentOf(source, slot)
  base = frameBase(source, slot)
  setKey(tree, to)
  const outcome = descent.run(source, tree.rootId, tree.keyBytes, tree.keyWords, to.length)
  if (
    descent.frames - 1 === frame &&
    descent.at(frame, PATH_ID) === id &&
    descent.at(frame, PATH_ENTRY) === entry
  ) {
    const above = descent.depth + (outcome === NO_CHILD ? 0 : descent.common) + 1
    const addedBytes = to.length - above
    const topUnits = unitsWithPath(word, addedBytes + pathBytesOf(word) - cutBytes)
    const forkUnits = newNodeUnits(tree, outcome)
    if (hasRoom(views, base, tree.usableUnits, topUnits, forkUnits)) {
      raiseMaxKeys(tree, Math.min(to.length + bound, tree.maxKeyBytes))
      slot = source.writable(id)
      views = segmentOf(source, slot)
      base = frameBase(source, slot)
      dropFilter(views, base)
      const top = replaceFront(views, base, entry, ref, cutBytes, tree.keyBytes, above, addedBytes)
      linkNew(tree, outcome, views, base, entry, forkUnits, to.length, top)
      return true
    }
  }
  piece.copyNodes(views, base, id, ref, cutBytes, tree.usableUnits, bound + cutBytes)
  freeSubtree(tree, views, base, id, entry, ref, false)
  return false
}

/** Whether something stays in the entry when the node to which `descent.nodes` lead is unlinked. */
function hasOthersAbove({ nodes, nodeCount }: Descent, { u16, u32 }: FrameViews, base: number): boolean {
  for (let i = nodeCount - 1; i >= 0; i--) {
    const node = nodeAt(base, nodes[i * 2])
    const children = (u32[node] >>> 3) & 0x3ff
    if (children > 1 || u16[node * 2 + TERMINAL_REF] !== 0) return true
  }
  return false
}

/** No key at {@link place} has more bytes behind the prefix. As close as it has to be, lest moves there and back raise bounds. */
function restBound(
  tree: Tree,
  views: FrameViews,
  base: number,
  fromLength: number,
  toLength: number,
): number {
  const { descent } = tree
  const frame = descent.frames - 1
  const bound =
    entryMaxKey(views, base, descent.at(frame, PATH_ENTRY)) - (fromLength - descent.at(frame, PATH_DEPTH))
  return toLength <= fromLength ? bound : boundBelow(tree, descent.at(frame, PATH_ID), place, bound)
}

/** Takes what lies at {@link place} out of the tree and makes it {@link piece}. */
function takeOut(tree: Tree, prefixLength: number, toLength: number): void {
  const { source, descent } = tree
  const { ref, cutBytes } = place
  let frame = descent.frames - 1
  const id = descent.at(frame, PATH_ID) as BlobId
  const entry = descent.at(frame, PATH_ENTRY)
  const slot = source.writable(id)
  const views: FrameViews = segmentOf(source, slot)
  const base = frameBase(source, slot)
  const { u8, u16, u32 } = views
  const node = nodeAt(base, ref)
  const word = u32[node]
  const behind = entryMaxKey(views, base, entry) - (prefixLength - descent.at(frame, PATH_DEPTH))
  if ((word & 7) === CROSSING) {
    const child = u32[node + 1]
    const childEntry = (word >>> 3) & 0x3ff
    const childSlot = source.pageTable[child]
    const tailBytes = (word >>> 16) - cutBytes
    const below = entryMaxKey(segmentOf(source, childSlot), frameBase(source, childSlot), childEntry)
    piece.name(child, childEntry, Math.min(behind, tailBytes + below))
    const path = node * 4 + CROSSING_BYTES + cutBytes
    for (let i = 0; i < tailBytes; i++) piece.tail[i] = u8[path + i]
    piece.tailBytes = tailBytes
    dropCrossing(views, base, entry, ref)
  } else if (frame > 0 && descent.nodeCount === 0 && u16[(base + ENTRY_COUNT) >>> 1] === 1) {
    if (cutBytes > 0) {
      cutFront(views, base, ref, cutBytes)
      dropFilter(views, base)
    }
    u16[(base + ENTRY_TABLE + entry * ENTRY_BYTES + ENTRY_MAX_KEY) >>> 1] = behind
    piece.name(id, entry, behind)
    frame--
    unlinkCrossing(tree, frame, prefixLength)
  } else {
    const bound = restBound(tree, views, base, prefixLength, toLength)
    piece.copyNodes(views, base, id, ref, cutBytes, tree.usableUnits, bound + cutBytes)
    freeSubtree(tree, views, base, id, entry, ref, false)
  }
  unlinkUpwards(tree, frame, prefixLength)
}
