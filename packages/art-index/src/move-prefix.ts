import type { BlobId } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import { unlinkUpwards, dropCrossing } from './delete.js'
import { deletePrefix, freeSubtree, unlinkCrossing } from './delete-prefix.js'
import { PATH_DEPTH, PATH_ENTRY, PATH_ID } from './descent.js'
import { frameBase, segmentOf, type FrameViews } from './frame-views.js'
import { graft } from './graft.js'
import { CROSSING, CROSSING_BYTES, ENTRY_BYTES, ENTRY_COUNT, ENTRY_MAX_KEY, ENTRY_TABLE } from './layout.js'
import { MovingPiece } from './moving-piece.js'
import { cutFront, nodeAt } from './node-edit.js'
import { entryMaxKey } from './prefix-bound.js'
import { locatePrefix, type PrefixPlace } from './prefix-place.js'
import type { Tree } from './tree.js'

const MAX_ATTEMPTS = 64
const place: PrefixPlace = { ref: 0, depth: 0, cutBytes: 0 }
const piece = new MovingPiece()

/**
 * Puts all keys that begin with `from` below `to` instead, with their values and versions; what lay below `to` goes.
 * False, having changed nothing, when no key begins with `from`. Neither of the two begins with the other.
 *
 * - A frame wholly below `from` is only named anew: by a crossing, and its top's path loses what belonged to `from`.
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
  takeOut(tree, from.length)
  setKey(tree, to)
  graft(tree, to.length, piece)
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

/** Takes what lies at {@link place} out of the tree and makes it {@link piece}. */
function takeOut(tree: Tree, prefixLength: number): void {
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
    if (cutBytes > 0) cutFront(views, base, ref, cutBytes)
    u16[(base + ENTRY_TABLE + entry * ENTRY_BYTES + ENTRY_MAX_KEY) >>> 1] = behind
    piece.name(id, entry, behind)
    frame--
    unlinkCrossing(tree, frame, prefixLength)
  } else {
    piece.copyNodes(views, base, id, ref, cutBytes, tree.usableUnits, behind + cutBytes)
    freeSubtree(tree, views, base, id, entry, ref, false)
  }
  unlinkUpwards(tree, frame, prefixLength)
}
