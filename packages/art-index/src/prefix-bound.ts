import type { BlobId } from '@holt/blob-buf-pool'
import { corruptNode } from './corruption.js'
import { PATH_DEPTH, PATH_ENTRY, PATH_ID } from './descent.js'
import { frameBase, segmentOf, type FrameViews } from './frame-views.js'
import { CROSSING, ENTRY_BYTES, ENTRY_MAX_KEY, ENTRY_TABLE, FIRST_REF, LEAF, UNIT_BYTES } from './layout.js'
import { nodeAt } from './node-edit.js'
import { createChildList, listChildren, TERMINAL_REF } from './node-search.js'
import { locatePrefix, type PrefixPlace } from './prefix-place.js'
import type { Tree } from './tree.js'

const place: PrefixPlace = { ref: 0, depth: 0, cutBytes: 0 }
const list = createChildList()

/**
 * No key that begins with the first `prefixLength` bytes of the tree's key has more bytes behind them; -1 when there is
 * none. An upper bound, since deletes lower no bound: only where it would exceed `enoughBytes` it is made closer, by a walk
 * of the nodes below the prefix in their frame. Throws as a descent does.
 */
export function restBoundBytes(tree: Tree, prefixLength: number, enoughBytes: number): number {
  if (!locatePrefix(tree, prefixLength, place)) return -1
  const { source, descent } = tree
  const frame = descent.frames - 1
  const id = descent.at(frame, PATH_ID)
  const slot = source.pageTable[id]
  const views = segmentOf(source, slot)
  const base = frameBase(source, slot)
  const bound =
    entryMaxKey(views, base, descent.at(frame, PATH_ENTRY)) - (prefixLength - descent.at(frame, PATH_DEPTH))
  if (bound <= enoughBytes) return bound
  const node = nodeAt(base, place.ref)
  const word = views.u32[node]
  if ((word & 7) === CROSSING) {
    const child = views.u32[node + 1]
    const childSlot = source.pageTable[child] > 0 ? source.pageTable[child] : source.fault(child as BlobId)
    const below = entryMaxKey(
      segmentOf(source, childSlot),
      frameBase(source, childSlot),
      (word >>> 3) & 0x3ff,
    )
    return Math.min(bound, (word >>> 16) - place.cutBytes + below)
  }
  return boundBelow(tree, id, place, bound)
}

/**
 * No key below a place in the resident frame `id` has more bytes behind the place's prefix than this: what a walk of its
 * nodes finds, or `bound` where that is less or where it meets a crossing to a frame that is not resident.
 */
export function boundBelow(tree: Tree, id: number, { ref, cutBytes }: PrefixPlace, bound: number): number {
  const slot = tree.source.pageTable[id]
  const longest = longestBelow(tree, segmentOf(tree.source, slot), frameBase(tree.source, slot), id, ref)
  return longest < 0 ? bound : Math.min(bound, longest - cutBytes)
}

export function entryMaxKey(views: FrameViews, base: number, entry: number): number {
  return views.u16[(base + ENTRY_TABLE + entry * ENTRY_BYTES + ENTRY_MAX_KEY) >>> 1]
}

/** Bytes of the longest key below a node, from the node's path on; -1 when absent frames lie below. */
function longestBelow(tree: Tree, views: FrameViews, base: number, id: number, ref: number): number {
  const { u16, u32 } = views
  // Ref and bytes above it, in turns.
  const pending = [ref, 0]
  let longest = 0
  let visited = 0
  while (pending.length > 0) {
    const depth = pending.pop() ?? 0
    const next = pending.pop() ?? 0
    if (next < FIRST_REF || ++visited > 2 ** 19 / UNIT_BYTES)
      throw corruptNode(id, next, 'nodes that form no tree')
    const node = nodeAt(base, next)
    const word = u32[node]
    const type = word & 7
    if (type === CROSSING) {
      const { source } = tree
      const slot = source.pageTable[u32[node + 1]]
      if (!(slot > 0)) return -1
      const below = entryMaxKey(segmentOf(source, slot), frameBase(source, slot), (word >>> 3) & 0x3ff)
      longest = Math.max(longest, depth + (word >>> 16) + below)
      continue
    }
    if (type === LEAF) {
      longest = Math.max(longest, depth + ((word >>> 3) & 0x1fff))
      continue
    }
    const below = depth + (word >>> 16)
    const count = listChildren(views, base, next, list)
    for (let i = 0; i < count; i++) pending.push(list.refs[i], below + 1)
    if (u16[node * 2 + TERMINAL_REF] !== 0) longest = Math.max(longest, below)
  }
  return longest
}
