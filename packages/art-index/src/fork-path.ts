import { type BlobId, ENVELOPE_BYTES, FRAME_BYTES } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import { corruptNode } from './corruption.js'
import { PATH_CROSSING, PATH_ENTRY, PATH_ID, PATH_STRIDE } from './descent.js'
import { chainLinks } from './entry-chain.js'
import type { FrameSource } from './frame-source.js'
import { frameBase, segmentOf, type FrameViews } from './frame-views.js'
import {
  BIRTH,
  BUMP_UNITS,
  CROSSING,
  ENTRY_BYTES,
  ENTRY_COUNT,
  ENTRY_CROSSING_HEAD,
  ENTRY_TABLE,
  UNIT_BYTES,
} from './layout.js'
import { nodeAt } from './node-edit.js'
import type { Tree } from './tree.js'

/** Epoch in which a resident frame was made. */
export function birthOf(source: FrameSource, id: number): number {
  const slot = source.pageTable[id]
  return segmentOf(source, slot).f64[(frameBase(source, slot) + BIRTH) >>> 3]
}

/** Whether an open view may see a resident frame, so that it must not be changed. */
export function isSeenByView(tree: Tree, id: number): boolean {
  return tree.views.newest !== 0 && birthOf(tree.source, id) <= tree.views.newest
}

/**
 * To be called while views are open, between a descent and the change that it was for: whatever an open view sees of the
 * first `frames` frames of the way becomes a copy, under a new id, parents first, and {@link Tree.descent} names the copies
 * from then on. Contents stay as they are, so to go no further is no harm. Every frame of the way is resident.
 *
 * ```
 *   view ─► root ─► a ─► b          view ─► root  ─► a  ─► b
 *   tree ──┘             ▲          tree ─► root′ ─► a′ ─► b′
 *                      to change
 * ```
 *
 * Throws what the source's `allocate` throws, `HOLT_READ_ONLY` for the tree of a view.
 */
export function forkPath(tree: Tree, frames: number = tree.descent.frames): void {
  const { newest } = tree.views
  if (newest === Infinity)
    throw new HoltError('HOLT_READ_ONLY', 'a view shows a tree as it was; it is for reading only')
  for (let frame = 0; frame < frames; frame++)
    if (birthOf(tree.source, tree.descent.at(frame, PATH_ID)) <= newest) fork(tree, frame)
}

/** Puts a copy of a frame of the way in its place; its parent is one that may be changed. */
function fork(tree: Tree, frame: number): void {
  const { source, descent } = tree
  const id = descent.at(frame, PATH_ID) as BlobId
  const copyId = source.allocate()
  const from: FrameViews = segmentOf(source, source.pageTable[id])
  const fromBase = frameBase(source, source.pageTable[id])
  const to: FrameViews = segmentOf(source, source.pageTable[copyId])
  const toBase = frameBase(source, source.pageTable[copyId])
  const usedBytes = from.u32[(fromBase + BUMP_UNITS) >>> 2] * UNIT_BYTES
  if (usedBytes > FRAME_BYTES) throw corruptNode(id, 0, 'its nodes end behind its end')
  to.u8.set(from.u8.subarray(fromBase + ENVELOPE_BYTES, fromBase + usedBytes), toBase + ENVELOPE_BYTES)
  to.f64[(toBase + BIRTH) >>> 3] = tree.views.epoch
  if (frame === 0) tree.setRoot(copyId)
  else renameCrossings(tree, frame - 1, id, copyId, to.u16[(toBase + ENTRY_COUNT) >>> 1] > 1)
  descent.path[frame * PATH_STRIDE + PATH_ID] = copyId
  tree.unlinked.addSingle(id, from.f64[(fromBase + BIRTH) >>> 3])
  tree.changes++
}

/** Has the crossing by which a frame of the way was left, and with it all siblings that led to the same frame, name the copy. */
function renameCrossings(tree: Tree, frame: number, from: BlobId, to: BlobId, hasSiblings: boolean): void {
  const { source, descent } = tree
  const id = descent.at(frame, PATH_ID) as BlobId
  const slot = source.writable(id)
  const { u16, u32 }: FrameViews = segmentOf(source, slot)
  const base = frameBase(source, slot)
  u32[nodeAt(base, descent.at(frame, PATH_CROSSING)) + 1] = to
  if (!hasSiblings) return
  let steps = 0
  const head = base + ENTRY_TABLE + descent.at(frame, PATH_ENTRY) * ENTRY_BYTES + ENTRY_CROSSING_HEAD
  for (let ref = u16[head >>> 1]; ref !== 0;) {
    if (++steps > FRAME_BYTES / UNIT_BYTES)
      throw corruptNode(id, ref, 'the chain of an entry leads around in circles')
    const node = nodeAt(base, ref)
    if ((u32[node] & 7) === CROSSING && u32[node + 1] === from) u32[node + 1] = to
    ref = u16[chainLinks(u32, node)]
  }
}
