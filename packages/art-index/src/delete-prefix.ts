import type { BlobId } from '@holt/blob-buf-pool'
import { noticeShrinking } from './compaction.js'
import { corruptNode } from './corruption.js'
import { dropCrossing, unlinkUpwards } from './delete.js'
import { PATH_CROSSING, PATH_ENTRY, PATH_ID } from './descent.js'
import { unchain } from './entry-chain.js'
import { birthOf, forkPath } from './fork-path.js'
import { freeUnits } from './frame-allocator.js'
import { frameBase, segmentOf, type FrameViews } from './frame-views.js'
import {
  CROSSING,
  descriptorAt,
  ENTRY_BYTES,
  ENTRY_COUNT,
  ENTRY_LIVE_COUNT,
  ENTRY_TABLE,
  ENTRY_VALUE_BYTES,
  FIRST_REF,
  LARGE_VALUE,
  LEAF,
  NODE256,
  unitsOfWord,
} from './layout.js'
import { nodeAt } from './node-edit.js'
import { createChildList, listChildren, TERMINAL_REF } from './node-search.js'
import { locatePrefix, type PrefixPlace } from './prefix-place.js'
import { liveUnits } from './repack.js'
import type { Tree } from './tree.js'

const place: PrefixPlace = { ref: 0, depth: 0, cutBytes: 0 }
const list = createChildList()

/**
 * Removes every key that begins with the first `prefixLength` bytes of the tree's key; false when there is none. Costs
 * the descent and the nodes below the prefix in one frame, whatever lies below that: frames wholly below it go to
 * {@link Tree.unlinked}. Throws as a descent does, before any change.
 */
export function deletePrefix(tree: Tree, prefixLength: number): boolean {
  if (!locatePrefix(tree, prefixLength, place)) return false
  unlinkPlace(tree, prefixLength, place.ref)
  return true
}

/** Takes the node at which `descent.nodes` lead, and all below it, out of the tree. */
export function unlinkPlace(tree: Tree, prefixLength: number, ref: number): void {
  const { source, descent } = tree
  let frame = descent.frames - 1
  const held = source.pageTable[descent.at(frame, PATH_ID)]
  const entries = segmentOf(source, held).u16[(frameBase(source, held) + ENTRY_COUNT) >>> 1]
  const isWholeFrame = frame > 0 && descent.nodeCount === 0 && entries === 1
  // What goes as a whole is not changed.
  if (tree.views.newest !== 0) forkPath(tree, isWholeFrame ? frame : frame + 1)
  const id = descent.at(frame, PATH_ID) as BlobId
  const before = liveUnits(tree, id)
  if (isWholeFrame) {
    tree.unlinked.addRoot(id, birthOf(source, id))
    frame--
    unlinkCrossing(tree, frame, prefixLength)
  } else {
    const slot = source.writable(id)
    const views = segmentOf(source, slot)
    freeSubtree(tree, views, frameBase(source, slot), id, descent.at(frame, PATH_ENTRY), ref, true)
  }
  unlinkUpwards(tree, frame, prefixLength)
  if (!isWholeFrame) noticeShrinking(tree, id, prefixLength, before)
  tree.changes++
}

/** Frees the crossing by which the descent left path frame `frame`, and has `descent.nodes` lead there. */
export function unlinkCrossing(tree: Tree, frame: number, keyLength: number): void {
  const { source, descent } = tree
  const slot = source.writable(descent.at(frame, PATH_ID) as BlobId)
  descent.retrace(source, frame, tree.keyBytes, keyLength)
  dropCrossing(
    segmentOf(source, slot),
    frameBase(source, slot),
    descent.at(frame, PATH_ENTRY),
    descent.at(frame, PATH_CROSSING),
  )
}

/**
 * Frees all nodes below `ref` of one frame, itself included, and takes them out of the entry's counts and chain. With
 * `andBelow` what they lead to goes as well: child frames to {@link Tree.unlinked}, the frames of large values at once.
 * What linked to `ref` stays as it is.
 */
export function freeSubtree(
  tree: Tree,
  views: FrameViews,
  base: number,
  id: BlobId,
  entry: number,
  ref: number,
  andBelow: boolean,
): void {
  const { u16, u32, f64 } = views
  const pending = [ref]
  let keys = 0
  let valueBytes = 0
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (next < FIRST_REF) throw corruptNode(id, next, 'a ref into page 0')
    const node = nodeAt(base, next)
    const word = u32[node]
    const type = word & 7
    if (type === CROSSING) {
      if (andBelow) tree.unlinked.addRoot(u32[node + 1] as BlobId)
      dropCrossing(views, base, entry, next)
      continue
    }
    if (type === LEAF) {
      keys++
      if ((u32[node + 2] & LARGE_VALUE) === 0) {
        valueBytes += word >>> 16
      } else {
        valueBytes += u32[descriptorAt(u32, node)]
        unchain(views, base, entry, next)
        if (andBelow) {
          tree.oldFrames.take(u32, node, id, next)
          tree.letGoOfOldFrames()
        }
      }
    } else if (type >= LEAF && type <= NODE256) {
      const count = listChildren(views, base, next, list)
      for (let i = 0; i < count; i++) pending.push(list.refs[i])
      const terminal = u16[node * 2 + TERMINAL_REF]
      if (terminal !== 0) pending.push(terminal)
    } else {
      throw corruptNode(id, next, `a node of type ${String(type)}`)
    }
    freeUnits(views, base, next, unitsOfWord(word))
  }
  const stats = base + ENTRY_TABLE + entry * ENTRY_BYTES
  u16[(stats + ENTRY_LIVE_COUNT) >>> 1] -= keys
  f64[(stats + ENTRY_VALUE_BYTES) >>> 3] -= valueBytes
}
