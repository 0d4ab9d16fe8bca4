import {
  EMPTY,
  LEAF_SPLIT,
  MATCH,
  NO_CHILD,
  NO_TERMINAL,
  PATH_DEPTH,
  PATH_ENTRY,
  PATH_ID,
  type Outcome,
} from './descent.js'
import { addToChain, unchain } from './entry-chain.js'
import { allocateUnits, freeUnits, hasRoom } from './frame-allocator.js'
import { frameBase, segmentOf, type FrameViews } from './frame-views.js'
import {
  bodyBytes,
  CROSSING,
  CROSSING_BYTES,
  ENTRY_BYTES,
  ENTRY_LIVE_COUNT,
  ENTRY_MAX_KEY,
  ENTRY_TABLE,
  ENTRY_VALUE_BYTES,
  LARGE_VALUE,
  LEAF,
  LEAF_HEADER_BYTES,
  leafUnits,
  NODE4,
  nodeUnits,
} from './layout.js'
import { addToFilter, filterEntryOf, hashBytes, hashOfEntry } from './key-filter.js'
import { writeLeaf, type ValueSource } from './leaf.js'
import { noticeShrinking } from './compaction.js'
import { liveUnits } from './repack.js'
import { addChild, capacity, cutFront, grow, grownUnits, nodeAt, setLink, writeNode4 } from './node-edit.js'
import { TERMINAL_REF } from './node-search.js'
import type { Tree } from './tree.js'
import { descriptorBytes } from './value-frames.js'
import type { BlobId } from '@holt/blob-buf-pool'

/** What {@link applyPut} came to. */
export const NO_ROOM = -1
export const OVERWRITTEN = 0
export const ADDED = 1

/**
 * Changes the last frame of the descent so that the key has the value, or returns NO_ROOM, having changed nothing, when
 * that frame cannot give the blocks this needs.
 */
export function applyPut(
  tree: Tree,
  outcome: Outcome,
  keyLength: number,
  value: ValueSource,
  version: number,
): typeof NO_ROOM | typeof OVERWRITTEN | typeof ADDED {
  const { source, descent, usableUnits } = tree
  const lastFrame = descent.frames - 1
  const id = descent.at(lastFrame, PATH_ID)
  let slot: number = source.pageTable[id]
  let views: FrameViews = segmentOf(source, slot)
  let base = frameBase(source, slot)
  const { ref, depth, common } = descent
  const node = nodeAt(base, ref)
  const word = outcome === EMPTY ? 0 : views.u32[node]

  let restLength = 0
  const isLarge = value.length > tree.maxInlineValueBytes
  const storedBytes = isLarge ? descriptorBytes(tree.usableBytes, value.length) : value.length
  if (outcome === MATCH) {
    restLength = (word >>> 3) & 0x1fff
    const units = leafUnits(restLength, storedBytes)
    const held = leafUnits(restLength, word >>> 16)
    if (units !== held && !hasRoom(views, base, usableUnits, units, 0)) return NO_ROOM
    tree.oldFrames.takeFromLeaf(id as BlobId, ref)
    slot = source.writable(id as BlobId)
    if (isLarge) tree.newFrames.write(value, tree.usableBytes)
    views = segmentOf(source, slot)
    base = frameBase(source, slot)
    overwrite(
      tree,
      views,
      base,
      id as BlobId,
      descent.at(lastFrame, PATH_ENTRY),
      word,
      units === held,
      value,
      isLarge,
      version,
      keyLength,
    )
    return OVERWRITTEN
  }
  if (outcome === EMPTY) {
    restLength = keyLength
  } else if (outcome === NO_CHILD) {
    restLength = keyLength - depth - 1
  } else if (outcome !== NO_TERMINAL) {
    restLength = Math.max(0, keyLength - depth - common - 1)
  }
  const nodeBlock = newNodeUnits(tree, outcome)
  const leafBlock = leafUnits(restLength, storedBytes)
  if (!hasRoom(views, base, usableUnits, leafBlock, nodeBlock)) return NO_ROOM

  raiseMaxKeys(tree, keyLength)
  slot = source.writable(id as BlobId)
  // Without room for the value's frames this throws, and all that has changed is a bound that may be too high.
  if (isLarge) tree.newFrames.write(value, tree.usableBytes)
  views = segmentOf(source, slot)
  base = frameBase(source, slot)
  const leaf = allocateUnits(views, base, leafBlock)
  const stored = isLarge ? tree.newFrames.descriptor : value
  writeLeaf(views, base, leaf, tree.keyWords, keyLength - restLength, restLength, stored, version)
  const entry = descent.at(lastFrame, PATH_ENTRY)
  linkNew(tree, outcome, views, base, entry, nodeBlock, keyLength, leaf)
  if (isLarge) markLarge(views, base, entry, leaf)
  const filterEntry = filterEntryOf(views, base)
  if (filterEntry !== 0) {
    const hash = hashBytes(hashOfEntry(entry), tree.keyBytes, descent.at(lastFrame, PATH_DEPTH), keyLength)
    addToFilter(views, base, filterEntry, hash)
  }
  const stats = base + ENTRY_TABLE + entry * ENTRY_BYTES
  views.u16[(stats + ENTRY_LIVE_COUNT) >>> 1] += 1
  views.f64[(stats + ENTRY_VALUE_BYTES) >>> 3] += value.length
  return ADDED
}

/** Units of the inner node that a new child at the end of the descent needs: a grown one, a fork, or none (0). */
export function newNodeUnits(tree: Tree, outcome: Outcome): number {
  const { source, descent } = tree
  if (outcome === EMPTY || outcome === NO_TERMINAL) return 0
  if (outcome !== NO_CHILD) return nodeUnits(NODE4, descent.common)
  const slot = source.pageTable[descent.at(descent.frames - 1, PATH_ID)]
  const word = segmentOf(source, slot).u32[nodeAt(frameBase(source, slot), descent.ref)]
  return ((word >>> 3) & 0x3ff) === capacity(word & 7) ? grownUnits(word) : 0
}

/**
 * Links a new node, for the first `keyLength` bytes of the key, where the descent ended: `nodeBlock` is what
 * {@link newNodeUnits} says, and there is room for it.
 */
export function linkNew(
  tree: Tree,
  outcome: Outcome,
  views: FrameViews,
  base: number,
  entry: number,
  nodeBlock: number,
  keyLength: number,
  child: number,
): void {
  const { ref, depth } = tree.descent
  if (outcome === EMPTY) {
    setLink(views, base, entry, 0, 0, child)
  } else if (outcome === NO_TERMINAL) {
    views.u16[nodeAt(base, ref) * 2 + TERMINAL_REF] = child
  } else if (outcome === NO_CHILD) {
    let target = ref
    if (nodeBlock !== 0) {
      target = grow(views, base, ref)
      link(tree, views, base, entry, target)
    }
    addChild(views, base, target, tree.keyBytes[depth], child)
  } else {
    split(tree, views, base, entry, outcome === LEAF_SPLIT, nodeBlock, keyLength, child)
  }
}

/** Points whatever pointed to the node at which the descent ended to `ref`. */
function link(tree: Tree, views: FrameViews, base: number, entry: number, ref: number): void {
  const { nodes, nodeCount } = tree.descent
  if (nodeCount === 0) setLink(views, base, entry, 0, 0, ref)
  else setLink(views, base, entry, nodes[nodeCount * 2 - 2], nodes[nodeCount * 2 - 1], ref)
}

function overwrite(
  tree: Tree,
  views: FrameViews,
  base: number,
  id: BlobId,
  entry: number,
  word: number,
  inPlace: boolean,
  value: ValueSource,
  isLarge: boolean,
  version: number,
  keyLength: number,
): void {
  const { oldFrames } = tree
  const restLength = (word >>> 3) & 0x1fff
  const heldBytes = word >>> 16
  const heldLength = oldFrames.count === 0 ? heldBytes : oldFrames.lengthBytes
  let ref = tree.descent.ref
  if (oldFrames.count !== 0) unchain(views, base, entry, ref)
  const stored = isLarge ? tree.newFrames.descriptor : value
  if (!inPlace) {
    const held = ref
    ref = allocateUnits(views, base, leafUnits(restLength, stored.length))
    link(tree, views, base, entry, ref)
    freeUnits(views, base, held, leafUnits(restLength, heldBytes))
  }
  writeLeaf(views, base, ref, tree.keyWords, keyLength - restLength, restLength, stored, version)
  if (isLarge) markLarge(views, base, entry, ref)
  if (oldFrames.count !== 0) tree.letGoOfOldFrames()
  if (!inPlace && stored.length < heldBytes) {
    const won = leafUnits(restLength, heldBytes) - leafUnits(restLength, stored.length)
    noticeShrinking(tree, id, keyLength, liveUnits(tree, id) + won)
  }
  if (heldLength !== value.length) {
    views.f64[(base + ENTRY_TABLE + entry * ENTRY_BYTES + ENTRY_VALUE_BYTES) >>> 3] +=
      value.length - heldLength
  }
}

/** Makes a leaf that holds a descriptor a large one. */
function markLarge(views: FrameViews, base: number, entry: number, ref: number): void {
  views.u32[nodeAt(base, ref) + 2] |= LARGE_VALUE
  addToChain(views, base, entry, ref)
}

/** Puts a node4 above the node whose path parts from the key: below it that node, its path shortened, and the new leaf. */
function split(
  tree: Tree,
  views: FrameViews,
  base: number,
  entry: number,
  isLeaf: boolean,
  nodeBlock: number,
  keyLength: number,
  leaf: number,
): void {
  const { ref, depth, common } = tree.descent
  const { keyBytes, keyWords } = tree
  const { u8, u32 } = views
  const node = nodeAt(base, ref)
  const word = u32[node]
  const type = word & 7
  const path = node * 4 + (isLeaf ? LEAF_HEADER_BYTES : type === CROSSING ? CROSSING_BYTES : bodyBytes(type))
  const fork = allocateUnits(views, base, nodeBlock)
  link(tree, views, base, entry, fork)
  if (type === LEAF && common === ((word >>> 3) & 0x1fff)) {
    // The old key ends at the fork.
    cutFront(views, base, ref, common)
    writeNode4(views, base, fork, keyWords, depth, common, ref, keyBytes[depth + common], leaf, 0, 0)
    return
  }
  const oldByte = u8[path + common]
  cutFront(views, base, ref, common + 1)
  if (depth + common === keyLength) {
    writeNode4(views, base, fork, keyWords, depth, common, leaf, oldByte, ref, 0, 0)
    return
  }
  const newByte = keyBytes[depth + common]
  if (newByte < oldByte)
    writeNode4(views, base, fork, keyWords, depth, common, 0, newByte, leaf, oldByte, ref)
  else writeNode4(views, base, fork, keyWords, depth, common, 0, oldByte, ref, newByte, leaf)
}

/** Raises the bound of the longest key below each entry on the way, where the new key exceeds it. Rarely writes. */
export function raiseMaxKeys(tree: Tree, keyLength: number): void {
  const { source, descent } = tree
  for (let frame = 0; frame < descent.frames; frame++) {
    const id = descent.at(frame, PATH_ID)
    const length = keyLength - descent.at(frame, PATH_DEPTH)
    const at = ENTRY_TABLE + descent.at(frame, PATH_ENTRY) * ENTRY_BYTES + ENTRY_MAX_KEY
    let slot: number = source.pageTable[id]
    if (segmentOf(source, slot).u16[(frameBase(source, slot) + at) >>> 1] >= length) continue
    slot = source.writable(id as BlobId)
    segmentOf(source, slot).u16[(frameBase(source, slot) + at) >>> 1] = length
  }
}
