import type { BlobId } from '@holt/blob-buf-pool'
import { compactFrame, layOutFrame } from './compact-frame.js'
import { isSeenByView } from './fork-path.js'
import { usedUnits, wasteUnits } from './frame-allocator.js'
import { frameBase, segmentOf } from './frame-views.js'
import { FIRST_REF } from './layout.js'
import { nodeAt } from './node-edit.js'
import { moveSubtrees } from './move-subtrees.js'
import { RepackPlan } from './repack-plan.js'
import { SubtreeSizes } from './subtree-sizes.js'
import type { Tree } from './tree.js'
import { MAX_ABSORBED, UnderFullFrames } from './under-full-frames.js'

export interface RepackOptions {
  /** Share of a frame that may be filled. */
  readonly fill: number
  /** A child with less than this share of it is worth a try, in hundredths. Default {@link UNDER_FULL}. */
  readonly underFull?: number
  /** At most so many children are looked at, and rewritten, at once. */
  readonly maxAbsorbed: number
}

/** What is known of frames that need not be resident: units of their nodes by blob id. May be out of date. */
export type KnownUnits = Map<number, number>

/** One with more can hardly be joined with anything. */
const UNDER_FULL = 88
/** What moves down from a frame into its children, so that these are full and it is small, must be this part of a frame. */
const SINKS_AT = 16
/** Tries that came to nothing before a frame is left as it is. */
const MAX_ATTEMPTS = 6

const sizes = new SubtreeSizes()
const absorbed = new UnderFullFrames()
const plan = new RepackPlan()

/** Under-full children of the measured frame, those of one node side by side. */
interface Child {
  readonly id: number
  readonly units: number
  readonly node: number
}

/** Units of a resident frame's nodes. */
export function liveUnits(tree: Tree, id: number): number {
  const { source } = tree
  const slot = source.pageTable[id]
  const views = segmentOf(source, slot)
  const base = frameBase(source, slot)
  return usedUnits(views, base) - wasteUnits(views, base)
}

/**
 * Makes a resident frame and some of its under-full children fewer frames: a child moves into its parent, children
 * of one node are joined, or several are filled up from one of them. Where no frame can be saved, children are filled up
 * from the frame itself, so that it becomes small and may save one together with its siblings. Returns how many frames
 * it saved, -1 when it did nothing. Does one such thing at a time; repeating it comes to an end, since no step adds a
 * frame, and one that frees none moves a good part of a frame down.
 *
 * What an open view sees is left alone, and children that are neither resident nor `known`; those it makes become known. Throws what
 * `FrameSource.fault` throws, having changed nothing: then the frame must be resident again before the next call.
 */
export function repackChildren(tree: Tree, id: BlobId, options: RepackOptions, known: KnownUnits): number {
  const { source } = tree
  if (isSeenByView(tree, id)) return -1
  const slot = source.pageTable[id]
  const views = segmentOf(source, slot)
  const base = frameBase(source, slot)
  const maxUnits = Math.floor((tree.usableUnits - FIRST_REF) * options.fill)
  const underFull = options.underFull ?? UNDER_FULL
  sizes.measure(views, base, id)
  if (sizes.crossingCount === 0) return -1
  const children: Child[] = []
  const seen = new Set<number>()
  for (let i = 0; i < sizes.crossingCount; i++) {
    const ref = sizes.crossings[i]
    const child = views.u32[nodeAt(base, ref) + 1]
    if (seen.has(child)) continue
    seen.add(child)
    const isResident = source.pageTable[child] > 0
    if (isResident && isSeenByView(tree, child)) continue
    const units = isResident ? liveUnits(tree, child) : known.get(child)
    if (units === undefined || units * 100 > maxUnits * underFull) continue
    children.push({ id: child, units, node: sizes.parent[ref] })
  }
  if (children.length === 0) return -1
  const most = Math.min(options.maxAbsorbed, MAX_ABSORBED)
  let attempts = 0
  const attempt = (group: readonly Child[], sinks: boolean): boolean => {
    let units = sizes.totalUnits
    for (const child of group) units += child.units
    // Whatever goes where: so many units need at least this many frames.
    const least = Math.ceil(units / maxUnits)
    if (group.length === 0 || least > group.length + (sinks ? 1 : 0)) return false
    attempts++
    return repack(tree, id, group, maxUnits, sinks)
  }

  const siblingGroups: Child[][] = []
  for (let from = 0; from < children.length;) {
    let to = from + 1
    while (to < children.length && children[to].node === children[from].node) to++
    siblingGroups.push(
      children
        .slice(from, to)
        .sort((a, b) => a.units - b.units)
        .slice(0, most),
    )
    from = to
  }
  for (const siblings of siblingGroups) {
    if (attempts >= MAX_ATTEMPTS) break
    if (siblings.length > 1 && attempt(siblings, false)) return plan.savedFrames
  }
  const smallest = children.reduce((least, child) => (child.units < least.units ? child : least))
  if (attempt([smallest], false)) return plan.savedFrames
  for (let from = 0; from < children.length && attempts < MAX_ATTEMPTS; from += Math.max(1, most >>> 1)) {
    const window = children.slice(from, from + most)
    if (window[0].node !== window[window.length - 1].node && attempt(window, false)) return plan.savedFrames
  }
  attempts = 0
  for (const siblings of siblingGroups) {
    if (attempts >= MAX_ATTEMPTS) break
    if (attempt(siblings, true)) return plan.savedFrames
  }
  return -1

  function repack(
    owner: Tree,
    parent: BlobId,
    group: readonly Child[],
    limit: number,
    sinks: boolean,
  ): boolean {
    makeResident(owner, parent, group)
    for (const child of group) if (isSeenByView(owner, child.id)) return false
    absorbed.clear()
    for (const child of group) absorbed.add(owner, child.id)
    if (sizes.crossingPrefixBytes + absorbed.crossingPrefixBytes > owner.maxCrossingPrefixBytes) return false
    const place = source.pageTable[parent]
    if (!plan.make(segmentOf(source, place), frameBase(source, place), sizes, absorbed, limit)) return false
    const sunk = sizes.totalUnits - plan.ownUnits
    if (plan.savedFrames < 1 && !(sinks && plan.savedFrames === 0 && sunk * SINKS_AT >= limit)) return false
    sizes.crossingPrefixBytes += absorbed.crossingPrefixBytes
    for (let i = 0; i < plan.groupCount; i++) {
      const fresh = moveSubtrees(owner, parent, sizes, plan.groups[i], absorbed)
      layOutFrame(owner, fresh)
      known.set(fresh, liveUnits(owner, fresh))
    }
    compactFrame(owner, parent, absorbed)
    for (let i = 0; i < absorbed.count; i++) {
      known.delete(absorbed.ids[i])
      source.free(absorbed.ids[i] as BlobId)
    }
    return true
  }
}

/** A fault may evict another frame: all are resident once a round met none that is absent. */
function makeResident(tree: Tree, parent: BlobId, group: readonly Child[]): void {
  const { source } = tree
  for (let round = 0; round <= MAX_ABSORBED; round++) {
    let faulted = false
    for (let i = -1; i < group.length; i++) {
      const id = i < 0 ? parent : (group[i].id as BlobId)
      if (source.pageTable[id] > 0) continue
      source.fault(id)
      faulted = true
    }
    if (!faulted) return
  }
}
