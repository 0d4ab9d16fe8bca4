import type { BlobId } from '@holt/blob-buf-pool'
import { compactFrame } from './compact-frame.js'
import { chainMoved, unchain } from './entry-chain.js'
import { noticeShrinking } from './compaction.js'
import { MATCH, PATH_CROSSING, PATH_ENTRY, PATH_ID, type Outcome } from './descent.js'
import { allocateUnits, freeUnits, hasRoom, usedUnits, wasteUnits } from './frame-allocator.js'
import { frameBase, segmentOf, type FrameViews } from './frame-views.js'
import {
  bodyBytes,
  BUMP_UNITS,
  CROSSING,
  ENTRY_BYTES,
  ENTRY_COUNT,
  ENTRY_LIVE_COUNT,
  ENTRY_TABLE,
  ENTRY_VALUE_BYTES,
  LARGE_VALUE,
  LEAF,
  LEAF_HEADER_BYTES,
  leafUnits,
  nodeUnits,
  unitsOfWord,
} from './layout.js'
import { nodeAt, removeChild, setLink } from './node-edit.js'
import { liveUnits } from './repack.js'
import { createChildList, listChildren, TERMINAL, TERMINAL_REF } from './node-search.js'
import type { Tree } from './tree.js'

const list = createChildList()
/** Below this many units at the top of a frame it is worth winning back what lies free before nodes are merged. */
const LITTLE_ROOM_UNITS = 128

/** Removes the leaf at which a descent with MATCH ended, and every entry and frame that this leaves empty. */
export function applyDelete(tree: Tree, keyLength: number): void {
  const { source, descent } = tree
  prepare(tree, keyLength)
  const frame = descent.frames - 1
  const id = descent.at(frame, PATH_ID) as BlobId
  tree.oldFrames.takeFromLeaf(id, descent.ref)
  const slot = source.writable(id)
  const views: FrameViews = segmentOf(source, slot)
  const base = frameBase(source, slot)
  const entry = descent.at(frame, PATH_ENTRY)
  const before = liveUnits(tree, id)
  const node = nodeAt(base, descent.ref)
  const word = views.u32[node]
  const isLarge = (views.u32[node + 2] & LARGE_VALUE) !== 0
  const stats = base + ENTRY_TABLE + entry * ENTRY_BYTES
  views.u16[(stats + ENTRY_LIVE_COUNT) >>> 1] -= 1
  views.f64[(stats + ENTRY_VALUE_BYTES) >>> 3] -= isLarge ? tree.oldFrames.lengthBytes : word >>> 16
  if (isLarge) {
    unchain(views, base, entry, descent.ref)
    tree.letGoOfOldFrames()
  }
  freeUnits(views, base, descent.ref, unitsOfWord(word))
  unlinkUpwards(tree, frame, keyLength)
  noticeShrinking(tree, id, keyLength, before)
}

/**
 * Unlinks the node to which `descent.nodes` lead in path frame `frame`, which is freed already, and every node, entry
 * and frame above it that this leaves empty.
 */
export function unlinkUpwards(tree: Tree, lastFrame: number, keyLength: number): void {
  const { source, descent } = tree
  let frame = lastFrame
  let id = descent.at(frame, PATH_ID) as BlobId
  let slot: number = source.writable(id)
  let views: FrameViews = segmentOf(source, slot)
  let base = frameBase(source, slot)
  let entry = descent.at(frame, PATH_ENTRY)
  while (unlink(tree, views, base, entry) && frame > 0) {
    const entries = views.u16[(base + ENTRY_COUNT) >>> 1] - 1
    views.u16[(base + ENTRY_COUNT) >>> 1] = entries
    if (entries === 0) source.free(id)
    frame--
    id = descent.at(frame, PATH_ID) as BlobId
    entry = descent.at(frame, PATH_ENTRY)
    slot = source.writable(id)
    views = segmentOf(source, slot)
    base = frameBase(source, slot)
    descent.retrace(source, frame, tree.keyBytes, keyLength)
    dropCrossing(views, base, entry, descent.at(frame, PATH_CROSSING))
  }
}

/** Compacts the frame first when it has hardly any room left for merged nodes and much of it lies free. */
function prepare(tree: Tree, keyLength: number): void {
  const { source, descent } = tree
  const id = descent.at(descent.frames - 1, PATH_ID) as BlobId
  const slot = source.pageTable[id]
  const views = segmentOf(source, slot)
  const base = frameBase(source, slot)
  if (views.u32[(base + BUMP_UNITS) >>> 2] + LITTLE_ROOM_UNITS <= tree.usableUnits) return
  if (wasteUnits(views, base) * 8 < usedUnits(views, base)) return
  compactFrame(tree, id)
  const outcome: Outcome = descent.run(source, tree.rootId, tree.keyBytes, tree.keyWords, keyLength)
  if (outcome !== MATCH) throw new Error('unreachable: a compaction lost a key')
}

/** Takes a crossing out of its entry's chain and frees it. */
export function dropCrossing(views: FrameViews, base: number, entry: number, ref: number): void {
  unchain(views, base, entry, ref)
  freeUnits(views, base, ref, unitsOfWord(views.u32[nodeAt(base, ref)]))
}

/**
 * Unlinks the node to which `descent.nodes` leads, which is freed already, and every node above it that this leaves
 * without anything below. Returns whether the entry is empty now.
 */
function unlink(tree: Tree, views: FrameViews, base: number, entry: number): boolean {
  const { nodes, nodeCount } = tree.descent
  for (let i = nodeCount - 1; i >= 0; i--) {
    const ref = nodes[i * 2]
    removeChild(views, base, ref, nodes[i * 2 + 1])
    const node = nodeAt(base, ref)
    const word = views.u32[node]
    const childCount = (word >>> 3) & 0x3ff
    const terminal = views.u16[node * 2 + TERMINAL_REF]
    if (childCount !== 0 || terminal !== 0) {
      if (childCount + (terminal === 0 ? 0 : 1) === 1) {
        mergeWithOnlyChild(tree, views, base, entry, i, childCount === 0 ? TERMINAL : 0)
      }
      return false
    }
    freeUnits(views, base, ref, unitsOfWord(word))
  }
  setLink(views, base, entry, 0, 0, 0)
  return true
}

/**
 * Replaces the inner node `nodes[i]` and its only child, or terminal, by one node with both paths. Leaves them as they
 * are when that child is a crossing, or when the frame has no room for the new node (see layout.ts).
 */
function mergeWithOnlyChild(
  tree: Tree,
  views: FrameViews,
  base: number,
  entry: number,
  i: number,
  index: number,
): void {
  const { nodes } = tree.descent
  const { u8, u16, u32 } = views
  const parent = nodes[i * 2]
  const node = nodeAt(base, parent)
  const word = u32[node]
  const prefix = node * 4 + bodyBytes(word & 7)
  const prefixLength = word >>> 16
  listChildren(views, base, parent, list)
  const child = index === TERMINAL ? u16[node * 2 + TERMINAL_REF] : list.refs[0]
  const childNode = nodeAt(base, child)
  const childWord = u32[childNode]
  const type = childWord & 7
  if (type === CROSSING) return
  const isLeaf = type === LEAF
  const added = prefixLength + (index === TERMINAL ? 0 : 1)
  const childLength = isLeaf ? (childWord >>> 3) & 0x1fff : childWord >>> 16
  const length = added + childLength
  const valueLength = childWord >>> 16
  const units = isLeaf ? leafUnits(length, valueLength) : nodeUnits(type, length)
  if (!hasRoom(views, base, tree.usableUnits, units, 0)) return

  const merged = allocateUnits(views, base, units)
  const mergedNode = nodeAt(base, merged)
  const body = isLeaf ? LEAF_HEADER_BYTES : bodyBytes(type)
  for (let word32 = 0; word32 < body >>> 2; word32++) u32[mergedNode + word32] = u32[childNode + word32]
  u32[mergedNode] = isLeaf
    ? type | (length << 3) | (valueLength << 16)
    : (childWord & 0xffff) | (length << 16)
  const to = mergedNode * 4 + body
  const childPath = childNode * 4 + body
  u8.copyWithin(to, prefix, prefix + prefixLength)
  if (index !== TERMINAL) u8[to + prefixLength] = list.bytes[0]
  u8.copyWithin(to + added, childPath, childPath + childLength)
  for (let end = length; (end & 3) !== 0; end++) u8[to + end] = 0
  if (isLeaf) {
    const value = childPath + ((childLength + 3) & ~3)
    u8.copyWithin(to + ((length + 3) & ~3), value, value + valueLength)
    if ((u32[mergedNode + 2] & LARGE_VALUE) !== 0) chainMoved(views, base, entry, merged)
  }
  if (i === 0) setLink(views, base, entry, 0, 0, merged)
  else setLink(views, base, entry, nodes[i * 2 - 2], nodes[i * 2 - 1], merged)
  freeUnits(views, base, child, unitsOfWord(childWord))
  freeUnits(views, base, parent, unitsOfWord(word))
}
