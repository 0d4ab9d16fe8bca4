import type { BlobId } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import { compactFrame } from './compact-frame.js'
import { EMPTY, NO_CHILD, NO_TERMINAL, MATCH, PATH_ENTRY, PATH_ID, type Outcome } from './descent.js'
import { addToChain, chainLinks } from './entry-chain.js'
import { forkPath } from './fork-path.js'
import { allocateUnits, hasRoom, wasteUnits } from './frame-allocator.js'
import { frameBase, segmentOf, type FrameViews } from './frame-views.js'
import {
  BUMP_UNITS,
  CROSSING,
  ENTRY_BYTES,
  ENTRY_CROSSING_HEAD,
  ENTRY_HIGH_WATER,
  ENTRY_LIVE_COUNT,
  ENTRY_MAX_KEY,
  ENTRY_ROOT,
  ENTRY_TABLE,
  ENTRY_VALUE_BYTES,
  FIRST_REF,
  MAX_ENTRIES,
  NODE4,
  nodeUnits,
} from './layout.js'
import { dropFilter } from './key-filter.js'
import { writeKeyBytes } from './key-words.js'
import { allocateFrame } from './move-subtrees.js'
import { crossingPrefixBytes, type MovingPiece } from './moving-piece.js'
import { entryRoot, nodeAt, setLink, writeNode4 } from './node-edit.js'
import { linkNew, newNodeUnits, raiseMaxKeys } from './put.js'
import { makeRoom } from './spill.js'
import type { Tree } from './tree.js'

/** More rounds than this show a defect. */
const MAX_ROUNDS = 24
/** A piece up to this share of a frame gets room made for it, as a value of that size would. */
const ROOM_SHARE = 8

/**
 * Hangs a piece into the tree, below the first `prefixLength` bytes of the tree's key, where no key lies. Nodes go into the
 * frame at that place if they fit, else into a fresh one. Every frame of the way is resident.
 */
export function graft(tree: Tree, prefixLength: number, piece: MovingPiece): void {
  const { source, keyBytes, keyWords, descent } = tree
  const longestKey = Math.min(prefixLength + piece.restBoundBytes, tree.maxKeyBytes)
  // Behind the prefix, so that the whole path lies in one piece. No key of the tree is longer.
  if (piece.child !== 0) keyBytes.set(piece.tail.subarray(0, piece.tailBytes), prefixLength)
  /** The whole path lies below the named entry already. */
  let isPathBelow = false
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const outcome = descent.run(source, tree.rootId, keyBytes, keyWords, prefixLength)
    if (outcome === MATCH || outcome === NO_TERMINAL) break
    if (tree.views.newest !== 0) forkPath(tree)
    // Where `to` parts from every other key. No way of making room changes that depth.
    const above = outcome === EMPTY ? 0 : descent.depth + (outcome === NO_CHILD ? 0 : descent.common) + 1
    if (piece.child === 0) {
      const fit = graftNodes(tree, outcome, prefixLength, longestKey, piece, above)
      if (fit === DONE) return
      if (fit === TOO_LARGE) nodesToFreshFrame(tree, piece)
      else makeRoom(tree, outcome, prefixLength)
      continue
    }
    const pathBytes = isPathBelow ? 0 : prefixLength + piece.tailBytes - above
    if (outcome !== EMPTY && pathBytes > 0 && !mayHavePrefix(tree, pathBytes)) {
      pathToFreshFrame(tree, piece, above, pathBytes)
      isPathBelow = true
      continue
    }
    if (graftCrossing(tree, outcome, prefixLength, longestKey, piece, above, pathBytes)) return
    makeRoom(tree, outcome, prefixLength)
  }
  throw new HoltError(
    'HOLT_INTERNAL',
    `no room for a moved subtree below a prefix of ${String(prefixLength)} bytes`,
  )
}

const DONE = 0
const TOO_LARGE = 1
const WANTS_ROOM = 2

function graftNodes(
  tree: Tree,
  outcome: Outcome,
  prefixLength: number,
  longestKey: number,
  piece: MovingPiece,
  above: number,
): typeof DONE | typeof TOO_LARGE | typeof WANTS_ROOM {
  const { source, descent, usableUnits } = tree
  const frame = descent.frames - 1
  const id = descent.at(frame, PATH_ID) as BlobId
  const entry = descent.at(frame, PATH_ENTRY)
  const held = source.pageTable[id]
  const forkUnits = newNodeUnits(tree, outcome)
  const addedBytes = prefixLength - above
  const units = piece.unitsWithPath(addedBytes + piece.tailBytes) + forkUnits
  let views: FrameViews = segmentOf(source, held)
  let base = frameBase(source, held)
  const spare = spareEntry(views, base)
  if (spare < 0) return TOO_LARGE
  const prefixBytes = piece.crossingPrefixBytes()
  if (prefixBytes > 0 && prefixBytes + frameCrossingPrefixBytes(views, base) > tree.maxCrossingPrefixBytes)
    return TOO_LARGE
  if (views.u32[(base + BUMP_UNITS) >>> 2] + units > usableUnits) {
    const freeable = wasteUnits(views, base)
    if (freeable > 0 && views.u32[(base + BUMP_UNITS) >>> 2] - freeable + units <= usableUnits) {
      compactFrame(tree, id)
      return graftNodes(tree, descentAgain(tree, prefixLength), prefixLength, longestKey, piece, above)
    }
    return units * ROOM_SHARE <= usableUnits - FIRST_REF ? WANTS_ROOM : TOO_LARGE
  }
  raiseMaxKeys(tree, longestKey)
  const slot = source.writable(id)
  views = segmentOf(source, slot)
  base = frameBase(source, slot)
  // It lies where the piece is to be an entry for a moment.
  dropFilter(views, base)
  if (!piece.copyTo(views, base, spare, usableUnits, tree.keyBytes, above, addedBytes)) return TOO_LARGE
  const root = absorbEntry(views, base, spare, entry)
  linkNew(tree, outcome, views, base, entry, forkUnits, prefixLength, root)
  return DONE
}

function descentAgain(tree: Tree, prefixLength: number): Outcome {
  return tree.descent.run(tree.source, tree.rootId, tree.keyBytes, tree.keyWords, prefixLength)
}

/** An entry number that is not in use; -1: all are. */
function spareEntry(views: FrameViews, base: number): number {
  const highWater = views.u16[(base + ENTRY_HIGH_WATER) >>> 1]
  if (highWater < MAX_ENTRIES) return highWater
  for (let entry = 1; entry < MAX_ENTRIES; entry++) if (entryRoot(views, base, entry) === 0) return entry
  return -1
}

/** Makes what lies below entry `from` part of entry `to`, but for the link, and returns its top. */
function absorbEntry(views: FrameViews, base: number, from: number, to: number): number {
  const { u8, u16, u32, f64 } = views
  const source = base + ENTRY_TABLE + from * ENTRY_BYTES
  const target = base + ENTRY_TABLE + to * ENTRY_BYTES
  const head = u16[(source + ENTRY_CROSSING_HEAD) >>> 1]
  const targetHead = u16[(target + ENTRY_CROSSING_HEAD) >>> 1]
  if (head !== 0) {
    let last = head
    for (let next = last; next !== 0; next = u16[chainLinks(u32, nodeAt(base, next))]) last = next
    u16[chainLinks(u32, nodeAt(base, last))] = targetHead
    if (targetHead !== 0) u16[chainLinks(u32, nodeAt(base, targetHead)) + 1] = last
    u16[(target + ENTRY_CROSSING_HEAD) >>> 1] = head
  }
  u16[(target + ENTRY_LIVE_COUNT) >>> 1] += u16[(source + ENTRY_LIVE_COUNT) >>> 1]
  f64[(target + ENTRY_VALUE_BYTES) >>> 3] += f64[(source + ENTRY_VALUE_BYTES) >>> 3]
  const root = u16[(source + ENTRY_ROOT) >>> 1]
  u8.fill(0, source, source + ENTRY_BYTES)
  return root
}

function frameCrossingPrefixBytes(views: FrameViews, base: number): number {
  const highWater = views.u16[(base + ENTRY_HIGH_WATER) >>> 1]
  let bytes = 0
  for (let entry = 0; entry < highWater; entry++) bytes += crossingPrefixBytes(views, base, entry)
  return bytes
}

/** Whether a crossing in the last frame of the descent may have a path of so many bytes (see limits.ts). */
function mayHavePrefix(tree: Tree, pathBytes: number): boolean {
  const { source, descent } = tree
  const slot = source.pageTable[descent.at(descent.frames - 1, PATH_ID)]
  const held = frameCrossingPrefixBytes(segmentOf(source, slot), frameBase(source, slot))
  return held + ((pathBytes + 7) & ~7) <= tree.maxCrossingPrefixBytes
}

/** The nodes become the only entry of a fresh frame, and the piece names it. */
function nodesToFreshFrame(tree: Tree, piece: MovingPiece): void {
  const { source } = tree
  const id = allocateFrame(tree, 1)
  const slot = source.pageTable[id]
  piece.copyTo(segmentOf(source, slot), frameBase(source, slot), 0, tree.usableUnits, NO_BYTES, 0, 0)
  piece.name(id, 0, piece.restBoundBytes)
}

const NO_BYTES = new Uint8Array(0)

/**
 * Where a crossing cannot carry the path, a fresh frame does. The piece names that frame from then on.
 */
function pathToFreshFrame(tree: Tree, piece: MovingPiece, above: number, pathBytes: number): void {
  const { source } = tree
  const id = allocateFrame(tree, 1)
  const slot = source.pageTable[id]
  const views: FrameViews = segmentOf(source, slot)
  const base = frameBase(source, slot)
  const below = pathBytes - piece.tailBytes + piece.restBoundBytes
  setLink(views, base, 0, 0, 0, writeWrapped(tree, views, base, 0, piece, above, pathBytes))
  views.u16[(base + ENTRY_TABLE + ENTRY_MAX_KEY) >>> 1] = below
  piece.name(id, 0, piece.restBoundBytes)
}

/** A node4 with the path but its last byte as prefix, and under that byte the crossing: where no crossing may stand alone. */
function writeWrapped(
  tree: Tree,
  views: FrameViews,
  base: number,
  entry: number,
  piece: MovingPiece,
  above: number,
  pathBytes: number,
): number {
  const last = above + pathBytes - 1
  const node = allocateUnits(views, base, nodeUnits(NODE4, pathBytes - 1))
  const crossing = writeCrossing(tree, views, base, entry, piece, last + 1, 0)
  const byte = tree.keyBytes[last]
  writeNode4(views, base, node, tree.keyWords, above, pathBytes - 1, 0, byte, crossing, 0, 0)
  return node
}

/** Writes the crossing to the piece, `pathBytes` bytes of the key from `depth` on its prefix, and chains it. */
function writeCrossing(
  tree: Tree,
  views: FrameViews,
  base: number,
  entry: number,
  piece: MovingPiece,
  depth: number,
  pathBytes: number,
): number {
  const { u32 } = views
  const ref = allocateUnits(views, base, nodeUnits(CROSSING, pathBytes))
  const node = nodeAt(base, ref)
  u32[node] = CROSSING | (piece.childEntry << 3) | (pathBytes << 16)
  u32[node + 1] = piece.child
  addToChain(views, base, entry, ref)
  writeKeyBytes(u32, node + 3, tree.keyWords, depth, pathBytes)
  return ref
}

/** False, having changed nothing, when the frame has no room. */
function graftCrossing(
  tree: Tree,
  outcome: Outcome,
  prefixLength: number,
  longestKey: number,
  piece: MovingPiece,
  above: number,
  pathBytes: number,
): boolean {
  const { source, descent, usableUnits } = tree
  const frame = descent.frames - 1
  const id = descent.at(frame, PATH_ID) as BlobId
  const entry = descent.at(frame, PATH_ENTRY)
  const held = source.pageTable[id]
  const forkUnits = outcome === EMPTY ? nodeUnits(NODE4, pathBytes - 1) : newNodeUnits(tree, outcome)
  const crossingUnits = nodeUnits(CROSSING, outcome === EMPTY ? 0 : pathBytes)
  if (!hasRoom(segmentOf(source, held), frameBase(source, held), usableUnits, crossingUnits, forkUnits)) {
    return false
  }
  raiseMaxKeys(tree, longestKey)
  const slot = source.writable(id)
  const views: FrameViews = segmentOf(source, slot)
  const base = frameBase(source, slot)
  dropFilter(views, base)
  const ref =
    outcome === EMPTY
      ? writeWrapped(tree, views, base, entry, piece, above, pathBytes)
      : writeCrossing(tree, views, base, entry, piece, above, pathBytes)
  linkNew(tree, outcome, views, base, entry, forkUnits, prefixLength, ref)
  return true
}
