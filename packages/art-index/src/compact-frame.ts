import { type BlobId, FRAME_BYTES } from '@holt/blob-buf-pool'
import { copySubtree } from './copy-subtree.js'
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
  UNIT_BYTES,
} from './layout.js'
import { entryRoot } from './node-edit.js'
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
 * the bounds of the longest keys.
 */
export function compactFrame(tree: Tree, id: BlobId): void {
  const { source } = tree
  const slot = source.writable(id)
  const views: FrameViews = segmentOf(source, slot)
  const base = frameBase(source, slot)
  const { u8, u16, u32 } = views
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
    copySubtree(views, base, id, root, rebuilt, 0, entry, tree.usableUnits, 0, false)
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
  u32[(base + FREE_UNITS) >>> 2] = 0
  u32[(base + DEAD_UNITS) >>> 2] = 0
  u16[(base + ENTRY_HIGH_WATER) >>> 1] = newHighWater
  u32[(base + COMPACTIONS) >>> 2] += 1
  tree.changes++
}
