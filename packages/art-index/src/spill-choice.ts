import type { Descent } from './descent.js'
import type { FrameViews } from './frame-views.js'
import { bodyBytes, CROSSING, LEAF, MAX_ENTRIES } from './layout.js'
import { nodeAt, entryRoot } from './node-edit.js'
import { createChildList, listChildren, TERMINAL } from './node-search.js'
import type { SubtreeSizes } from './subtree-sizes.js'

/** Shares of the units in use, in hundredths. */
const TARGET = 50
const BAND_LOW = 35
const BAND_HIGH = 70
/** Under a sorted load everything that is finished goes, if it is at least this much. */
const FINISHED_LOW = 35
/** A run smaller than this is worse than moving its whole parent. */
const RUN_LOW = 25

export type Edge = 'first' | 'last' | 'inside'

/** Subtrees to move: children of one node, in the order of their bytes. */
export interface SpillChoice {
  readonly refs: Uint16Array
  count: number
}

const list = createChildList()
const candidate: SpillChoice = { refs: new Uint16Array(MAX_ENTRIES), count: 0 }

/**
 * Chooses what to move out of the largest entry of a measured frame into `choice`; false: nothing can be moved.
 *
 * - Under a sorted load (the key lies at an edge of the frame) the largest run of siblings beside the key's way: what
 *   is finished goes and fills a frame well; what still grows stays with the free room.
 * - Else one subtree that is 35 to 70 % of the frame, rather one that begins behind the delimiter.
 * - Else a run of siblings that together reach half of the frame. Crossings among them are passed over: they stay.
 */
export function chooseSubtrees(
  views: FrameViews,
  base: number,
  sizes: SubtreeSizes,
  descent: Descent,
  edge: Edge,
  delimiter: number,
  choice: SpillChoice,
): boolean {
  const total = sizes.totalUnits
  choice.count = 0
  if (
    edge !== 'inside' &&
    finishedSiblings(views, base, sizes, descent, edge, choice) * 100 >= total * FINISHED_LOW
  ) {
    return true
  }
  const single = bestSingle(views, base, sizes, delimiter)
  if (single !== 0) {
    choice.refs[0] = single
    choice.count = 1
    return true
  }
  const root = entryRoot(views, base, sizes.largestEntry)
  const parent = descendToSpread(views, base, sizes, root)
  const units = runOfSiblings(views, base, sizes, parent, total * (TARGET / 100), choice)
  if (parent !== root && units * 100 < total * RUN_LOW) {
    choice.refs[0] = parent
    choice.count = 1
  }
  return choice.count > 0
}

function isMovable(views: FrameViews, base: number, ref: number): boolean {
  return (views.u32[nodeAt(base, ref)] & 7) !== CROSSING
}

/** Fills `choice` with the largest run that lies before (edge 'last') or behind ('first') the key's way; its units. */
function finishedSiblings(
  views: FrameViews,
  base: number,
  sizes: SubtreeSizes,
  descent: Descent,
  edge: Edge,
  choice: SpillChoice,
): number {
  let best = 0
  // The node at which the descent ended counts as well: all its children lie beside the way.
  for (let i = 0; i <= descent.nodeCount; i++) {
    const ref = i < descent.nodeCount ? descent.nodes[i * 2] : descent.ref
    const taken =
      i < descent.nodeCount ? (i + 1 < descent.nodeCount ? descent.nodes[i * 2 + 2] : descent.ref) : 0
    if (i < descent.nodeCount && descent.nodes[i * 2 + 1] === TERMINAL) continue
    sizes.noteLeaves(views, base, ref)
    const count = listChildren(views, base, ref, list)
    let units = 0
    candidate.count = 0
    for (let k = 0; k < count && candidate.count < MAX_ENTRIES; k++) {
      const child = list.refs[edge === 'last' ? k : count - 1 - k]
      if (child === taken) break
      if (!isMovable(views, base, child)) continue
      candidate.refs[candidate.count++] = child
      units += sizes.units[child]
    }
    if (units <= best) continue
    best = units
    choice.count = candidate.count
    choice.refs.set(candidate.refs)
  }
  if (edge === 'first') choice.refs.subarray(0, choice.count).reverse()
  return best
}

/** The inner node, no entry's root, whose size is nearest to the target within the band; 0 when there is none. */
function bestSingle(views: FrameViews, base: number, sizes: SubtreeSizes, delimiter: number): number {
  const total = sizes.totalUnits
  let best = 0
  let bestScore = 0
  for (let i = 0; i < sizes.count; i++) {
    const ref = sizes.order[i]
    const share = (sizes.units[ref] * 100) / total
    if (sizes.parent[ref] === 0 || share < BAND_LOW || share > BAND_HIGH) continue
    const node = nodeAt(base, ref)
    const word = views.u32[node]
    const type = word & 7
    if (type === CROSSING || type === LEAF) continue
    const prefixLength = word >>> 16
    const before =
      prefixLength === 0 ? sizes.byte[ref] : views.u8[node * 4 + bodyBytes(type) + prefixLength - 1]
    const score = (before === delimiter ? 200 : 100) - Math.abs(share - TARGET)
    if (score > bestScore) {
      best = ref
      bestScore = score
    }
  }
  return best
}

/** Follows the largest child while it is most of the frame. */
function descendToSpread(views: FrameViews, base: number, sizes: SubtreeSizes, root: number): number {
  let ref = root
  for (;;) {
    const count = listChildren(views, base, ref, list)
    let largest = 0
    for (let i = 0; i < count; i++) {
      const child = list.refs[i]
      const type = views.u32[nodeAt(base, child)] & 7
      if (type === CROSSING || type === LEAF) continue
      if (largest === 0 || sizes.units[child] > sizes.units[largest]) largest = child
    }
    if (largest === 0 || sizes.units[largest] * 100 <= sizes.totalUnits * BAND_HIGH) return ref
    ref = largest
  }
}

/** Fills `choice` with children of one node from its first on, until `targetUnits` are reached; the units they have. */
function runOfSiblings(
  views: FrameViews,
  base: number,
  sizes: SubtreeSizes,
  parent: number,
  targetUnits: number,
  choice: SpillChoice,
): number {
  sizes.noteLeaves(views, base, parent)
  const count = listChildren(views, base, parent, list)
  let units = 0
  choice.count = 0
  for (let i = 0; i < count && units < targetUnits && choice.count < MAX_ENTRIES; i++) {
    const child = list.refs[i]
    if (!isMovable(views, base, child)) continue
    choice.refs[choice.count++] = child
    units += sizes.units[child]
  }
  return units
}
