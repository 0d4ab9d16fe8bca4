import type { BlobId } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import { compactFrame } from './compact-frame.js'
import { copySubtree } from './copy-subtree.js'
import { PATH_ENTRY, PATH_ID, type Outcome } from './descent.js'
import { usedUnits, wasteUnits } from './frame-allocator.js'
import { frameBase, segmentOf, type FrameViews } from './frame-views.js'
import { CROSSING, ENTRY_BYTES, ENTRY_COUNT, ENTRY_MAX_KEY, ENTRY_TABLE, MAX_ENTRIES } from './layout.js'
import { entryRoot, nodeAt } from './node-edit.js'
import { createChildList, listChildren } from './node-search.js'
import { allocateFrame, moveSubtrees } from './move-subtrees.js'
import { chooseSubtrees, type Edge, type SpillChoice } from './spill-choice.js'
import { SubtreeSizes } from './subtree-sizes.js'
import type { Tree } from './tree.js'

/** A frame that is a quarter waste is compacted; below that a part of it moves out. */
const COMPACT_AT = 4
/** Several entries are divided among two frames while none has more than this share, in hundredths. */
const ENTRY_HIGH = 70
/** Under a sorted load at most this share of a frame with several entries moves, in hundredths. */
const FINISHED_HIGH = 90

const list = createChildList()
const choice: SpillChoice = { refs: new Uint16Array(MAX_ENTRIES), count: 0 }
let measured: SubtreeSizes | undefined

/**
 * Makes room in the last frame of the descent, by compaction or by moving a part of it to a fresh frame. The descent is
 * stale afterwards.
 */
export function makeRoom(tree: Tree, outcome: Outcome, keyLength: number): void {
  const { source, descent } = tree
  const id = descent.at(descent.frames - 1, PATH_ID) as BlobId
  const slot = source.pageTable[id]
  const views: FrameViews = segmentOf(source, slot)
  const base = frameBase(source, slot)
  const waste = wasteUnits(views, base)
  if (waste * COMPACT_AT >= usedUnits(views, base)) {
    compactFrame(tree, id)
    return
  }
  const edge = descent.edge(source, outcome, tree.keyBytes, keyLength)
  measured ??= new SubtreeSizes()
  const sizes = measured
  sizes.measure(views, base, id)
  const root = entryRoot(views, base, sizes.largestEntry)
  const several = sizes.entryCount > 1
  if (several && sizes.units[root] * 100 < sizes.totalUnits * ENTRY_HIGH) {
    moveEntries(tree, id, sizes, edge, keyLength)
  } else if (chooseSubtrees(views, base, sizes, descent, edge, tree.delimiter, choice)) {
    moveSubtrees(tree, id, sizes, choice)
    // Drops what has moved, chains the new crossings, and counts anew.
    compactFrame(tree, id)
  } else if (several) {
    moveEntries(tree, id, sizes, edge, keyLength)
  } else if (waste > 0) {
    compactFrame(tree, id)
  } else {
    throw new HoltError('HOLT_INTERNAL', `blob ${String(id)} is full and nothing in it can be moved`)
  }
}

/** Moves about half of the entries to a fresh frame: only the crossings that name them change, in the parent frame. */
function moveEntries(tree: Tree, id: BlobId, sizes: SubtreeSizes, edge: Edge, keyLength: number): void {
  const { source, descent } = tree
  const parentFrame = descent.frames - 2
  const ownEntry = descent.at(parentFrame + 1, PATH_ENTRY)
  const parentId = descent.at(parentFrame, PATH_ID) as BlobId
  descent.retrace(source, parentFrame, tree.keyBytes, keyLength)
  const parentRef = descent.nodes[(descent.nodeCount - 1) * 2]
  const parentSlot = source.writable(parentId)
  const parent: FrameViews = segmentOf(source, parentSlot)
  const parentBase = frameBase(source, parentSlot)
  const slot = source.writable(id)
  const views: FrameViews = segmentOf(source, slot)
  const base = frameBase(source, slot)

  // The crossings that name this frame, in the order of their bytes.
  const count = listChildren(parent, parentBase, parentRef, list)
  let crossings = 0
  let own = 0
  for (let i = 0; i < count; i++) {
    const node = nodeAt(parentBase, list.refs[i])
    const word = parent.u32[node]
    if ((word & 7) !== CROSSING || parent.u32[node + 1] !== id) continue
    if (((word >>> 3) & 0x3ff) === ownEntry) own = crossings
    list.refs[crossings++] = list.refs[i]
  }
  if (crossings !== sizes.entryCount) {
    throw new HoltError(
      'HOLT_INTERNAL',
      `blob ${String(id)} has ${String(sizes.entryCount)} entries, its parent ${String(crossings)} crossings to it`,
    )
  }

  const unitsAt = (i: number): number => {
    const entry = (parent.u32[nodeAt(parentBase, list.refs[i])] >>> 3) & 0x3ff
    return sizes.units[entryRoot(views, base, entry)]
  }
  let from = 0
  let to = 0
  let units = 0
  if (edge === 'first' && own === 0) {
    from = crossings
    to = crossings
    while (from > 1 && (units + unitsAt(from - 1)) * 100 <= sizes.totalUnits * FINISHED_HIGH)
      units += unitsAt(--from)
  } else {
    const share = edge === 'last' && own === crossings - 1 ? FINISHED_HIGH : 50
    // The entry that reaches the share goes too when half of it fits.
    while (to < crossings - 1 && (units + unitsAt(to) / 2) * 100 <= sizes.totalUnits * share)
      units += unitsAt(to++)
  }
  if (from === to) {
    from = 0
    to = 1
  }

  const freshId = allocateFrame(tree, to - from)
  const fresh: FrameViews = segmentOf(source, source.pageTable[freshId])
  const freshBase = frameBase(source, source.pageTable[freshId])
  for (let i = from; i < to; i++) {
    const node = nodeAt(parentBase, list.refs[i])
    const word = parent.u32[node]
    const entry = (word >>> 3) & 0x3ff
    const at = base + ENTRY_TABLE + entry * ENTRY_BYTES
    const bound = views.u16[(at + ENTRY_MAX_KEY) >>> 1]
    const root = entryRoot(views, base, entry)
    copySubtree(views, base, id, root, fresh, freshBase, i - from, tree.usableUnits, bound, false)
    parent.u32[node] = CROSSING | ((i - from) << 3)
    parent.u32[node + 1] = freshId
    views.u8.fill(0, at, at + ENTRY_BYTES)
  }
  views.u16[(base + ENTRY_COUNT) >>> 1] -= to - from
  compactFrame(tree, id)
}
