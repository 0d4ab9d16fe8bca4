import { type BlobId, FRAME_BYTES } from '@holt/blob-buf-pool'
import { type AbsorbedFrames, copySubtree } from './copy-subtree.js'
import { frameBase, segmentOf, type FrameViews } from './frame-views.js'
import {
  BUMP_UNITS,
  COMPACTIONS,
  DEAD_UNITS,
  ENTRY_BYTES,
  ENTRY_HIGH_WATER,
  ENTRY_MAX_KEY,
  ENTRY_TABLE,
  FIRST_REF,
  FREE_LIST_COUNT,
  FREE_LISTS,
  FREE_UNITS,
  NODE256,
  NODE4,
  ORDERED_UNITS,
  UNIT_BYTES,
  unitsOfWord,
} from './layout.js'
import { dropFilter, wantsFilter, writeFilter } from './key-filter.js'
import { entryRoot, nodeAt } from './node-edit.js'
import { createChildList, listChildren, TERMINAL_REF } from './node-search.js'
import type { Tree } from './tree.js'

let scratch: FrameViews | undefined

function scratchFrame(): FrameViews {
  if (scratch === undefined) {
    const buffer = new ArrayBuffer(FRAME_BYTES)
    scratch = {
      u8: new Uint8Array(buffer),
      u16: new Uint16Array(buffer),
      u32: new Uint32Array(buffer),
      f64: new Float64Array(buffer),
    }
  }
  return scratch
}

/**
 * Lays the nodes of a resident frame out anew, depth first in key order and without gaps. Entry numbers stay, and so do
 * the bounds of the longest keys; a filter is dropped. `absorbed`: children of the frame whose entries take the places of the
 * crossings to them; the caller has seen to it that they fit, and frees them.
 */
export function compactFrame(tree: Tree, id: BlobId, absorbed?: AbsorbedFrames): void {
  const { source } = tree
  const slot = source.writable(id)
  const views: FrameViews = segmentOf(source, slot)
  const base = frameBase(source, slot)
  const { u8, u16, u32 } = views
  dropFilter(views, base)
  const rebuilt = scratchFrame()
  rebuilt.u32[BUMP_UNITS >>> 2] = FIRST_REF
  const highWater = u16[(base + ENTRY_HIGH_WATER) >>> 1]
  let newHighWater = 0
  for (let entry = 0; entry < highWater; entry++) {
    const root = entryRoot(views, base, entry)
    const entryByte = ENTRY_TABLE + entry * ENTRY_BYTES
    if (root === 0) {
      rebuilt.u8.fill(0, entryByte, entryByte + ENTRY_BYTES)
      continue
    }
    copySubtree(views, base, id, root, rebuilt, 0, entry, tree.usableUnits, 0, false, absorbed)
    rebuilt.u16[(entryByte + ENTRY_MAX_KEY) >>> 1] = u16[(base + entryByte + ENTRY_MAX_KEY) >>> 1]
    newHighWater = entry + 1
  }
  const bump = rebuilt.u32[BUMP_UNITS >>> 2]
  // The root frame's only entry stays in use when it is empty.
  if (id === tree.rootId) newHighWater = Math.max(newHighWater, 1)
  u8.set(rebuilt.u8.subarray(ENTRY_TABLE, ENTRY_TABLE + highWater * ENTRY_BYTES), base + ENTRY_TABLE)
  u8.set(rebuilt.u8.subarray(FIRST_REF * UNIT_BYTES, bump * UNIT_BYTES), base + FIRST_REF * UNIT_BYTES)
  u8.fill(0, base + FREE_LISTS, base + FREE_LISTS + FREE_LIST_COUNT * 2)
  u32[(base + BUMP_UNITS) >>> 2] = bump
  u32[(base + ORDERED_UNITS) >>> 2] = bump
  u32[(base + FREE_UNITS) >>> 2] = 0
  u32[(base + DEAD_UNITS) >>> 2] = 0
  u16[(base + ENTRY_HIGH_WATER) >>> 1] = newHighWater
  u16[(base + COMPACTIONS) >>> 1] += 1
  tree.changes++
}

/** As {@link compactFrame}, and with the filter that the frame should have: for where there is time for one. */
export function layOutFrame(tree: Tree, id: BlobId): void {
  compactFrame(tree, id)
  const slot = tree.source.pageTable[id]
  const views: FrameViews = segmentOf(tree.source, slot)
  const base = frameBase(tree.source, slot)
  if (wantsFilter(views, base)) writeFilter(views, base, id)
}

const pending = new Uint16Array(65_536)
const list = createChildList()

/** Whether a resident frame's nodes lie as {@link compactFrame} would lay them. */
export function isCompact(tree: Tree, id: BlobId): boolean {
  const slot = tree.source.pageTable[id]
  const views: FrameViews = segmentOf(tree.source, slot)
  const base = frameBase(tree.source, slot)
  const { u16, u32 } = views
  if (u32[(base + FREE_UNITS) >>> 2] !== 0 || u32[(base + DEAD_UNITS) >>> 2] !== 0) return false
  const highWater = u16[(base + ENTRY_HIGH_WATER) >>> 1]
  let expected = FIRST_REF
  for (let entry = 0; entry < highWater; entry++) {
    pending[0] = entryRoot(views, base, entry)
    let top = pending[0] === 0 ? 0 : 1
    while (top > 0) {
      const ref = pending[--top]
      if (ref !== expected) return false
      const node = nodeAt(base, ref)
      const word = u32[node]
      expected += unitsOfWord(word)
      const count = listChildren(views, base, ref, list)
      for (let i = count - 1; i >= 0; i--) pending[top++] = list.refs[i]
      if ((word & 7) >= NODE4 && (word & 7) <= NODE256 && u16[node * 2 + TERMINAL_REF] !== 0)
        pending[top++] = u16[node * 2 + TERMINAL_REF]
    }
  }
  return true
}
