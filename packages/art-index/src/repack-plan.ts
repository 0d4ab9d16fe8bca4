import type { FrameViews } from './frame-views.js'
import { CROSSING, LEAF, MAX_ENTRIES, nodeUnits, UNIT_BYTES } from './layout.js'
import { entryRoot, nodeAt } from './node-edit.js'
import { createChildList, listChildren } from './node-search.js'
import type { SpillChoice } from './spill-choice.js'
import type { SubtreeSizes } from './subtree-sizes.js'
import { MAX_ABSORBED, type UnderFullFrames } from './under-full-frames.js'

/** Subtrees smaller than this are not worth a crossing. */
const LEAST_UNITS = 24
const BARE_CROSSING_UNITS = nodeUnits(CROSSING, 0)

const list = createChildList()
const items = new Uint16Array(256)

/**
 * How a frame and some of its children become fewer frames. From the leaves up, where a node has more below it than a
 * frame takes, groups of its children that fill a frame well go into frames of their own; what is left stays with the
 * node. (The enhancement of Kundu and Misra's tree partitioning by C.-C. Kanne and G. Moerkotte, "A Linear-Time
 * Algorithm for Optimal Tree Sibling Partitioning", 2006, with first-fit decreasing for the groups.)
 */
export class RepackPlan {
  /** Children of one node each; those of nodes further down come first. */
  readonly groups: SpillChoice[] = []
  groupCount = 0
  /** Frames that turned out to be best left as they are: absorbed frames without these are to be dissolved. */
  readonly kept: number[] = []
  /** Units that the frame itself will have. */
  ownUnits = 0
  savedFrames = 0
  /** By ref: units of the node and all below it, absorbed frames included. */
  readonly #units = new Int32Array(65_536)
  readonly #touched = new Uint8Array(65_536)
  /** By ref: whether a group has it. A node may be cut twice. */
  readonly #grouped = new Uint8Array(65_536)

  /**
   * Plans for a measured frame and the frames to absorb; no frame shall hold more than `maxUnits`. False when that
   * cannot be done.
   */
  make(
    views: FrameViews,
    base: number,
    sizes: SubtreeSizes,
    absorbed: UnderFullFrames,
    maxUnits: number,
  ): boolean {
    const units = this.#units
    const touched = this.#touched
    this.groupCount = 0
    this.kept.length = 0
    this.#grouped.fill(0)
    for (let i = 0; i < sizes.count; i++) {
      const ref = sizes.order[i]
      units[ref] = sizes.units[ref]
      touched[ref] = 0
    }
    let total = sizes.totalUnits
    for (let i = 0; i < sizes.crossingCount; i++) {
      const ref = sizes.crossings[i]
      const node = nodeAt(base, ref)
      const position = absorbed.positionOf(views.u32[node + 1])
      const word = views.u32[node]
      units[ref] = sizes.units[ref]
      if (position < 0) continue
      const entry = (word >>> 3) & 0x3ff
      const prefixLength = word >>> 16
      const inside =
        absorbed.entryUnits[position * MAX_ENTRIES + entry] +
        (prefixLength === 0 ? 0 : (prefixLength + UNIT_BYTES + 3) >>> 3)
      total += inside - units[ref]
      this.#raise(sizes, ref, inside - units[ref])
    }
    for (let i = sizes.count - 1; i >= 0; i--) {
      const ref = sizes.order[i]
      if (touched[ref] === 0 || units[ref] <= maxUnits) continue
      const won = this.#cut(views, base, sizes, absorbed, ref, units[ref] - maxUnits, maxUnits)
      if (won < 0) return false
      total -= won
    }
    if (total > maxUnits) {
      // Each entry fits by itself, all of them together do not.
      const won = this.#cut(
        views,
        base,
        sizes,
        absorbed,
        entryRoot(views, base, sizes.largestEntry),
        total - maxUnits,
        maxUnits,
      )
      if (won < 0) return false
      total -= won
    }
    this.ownUnits = total
    this.savedFrames = absorbed.count - this.groupCount
    return total <= maxUnits
  }

  #raise(sizes: SubtreeSizes, from: number, by: number): void {
    const units = this.#units
    units[from] += by
    for (let ref = sizes.parent[from]; ref !== 0; ref = sizes.parent[ref]) {
      units[ref] += by
      this.#touched[ref] = 1
    }
  }

  /** Takes at least `excess` units from below `ref`, in groups of its children; how many, or -1 when it cannot. */
  #cut(
    views: FrameViews,
    base: number,
    sizes: SubtreeSizes,
    absorbed: UnderFullFrames,
    ref: number,
    excess: number,
    maxUnits: number,
  ): number {
    sizes.noteLeaves(views, base, ref)
    const count = listChildren(views, base, ref, list)
    let itemCount = 0
    for (let i = 0; i < count; i++) {
      const child = list.refs[i]
      const node = nodeAt(base, child)
      const type = views.u32[node] & 7
      if (this.#grouped[child] !== 0) continue
      if (type === LEAF) this.#units[child] = sizes.units[child]
      if (type === CROSSING && absorbed.positionOf(views.u32[node + 1]) < 0) continue
      if (this.#units[child] < LEAST_UNITS || this.#units[child] > maxUnits) continue
      items[itemCount++] = child
    }
    const units = this.#units
    items.subarray(0, itemCount).sort((a, b) => units[b] - units[a])
    let won = 0
    while (won < excess) {
      if (this.groupCount + this.kept.length >= MAX_ABSORBED) return -1
      const group = this.#group(this.groupCount)
      let taken = 0
      let left = 0
      for (let i = 0; i < itemCount; i++) {
        const child = items[i]
        if (taken + units[child] <= maxUnits && group.count < MAX_ENTRIES) {
          group.refs[group.count++] = child
          taken += units[child]
        } else {
          items[left++] = child
        }
      }
      itemCount = left
      if (group.count === 0) return -1
      let rest = BARE_CROSSING_UNITS * group.count
      if (group.count === 1) {
        const only = group.refs[0]
        const node = nodeAt(base, only)
        const word = views.u32[node]
        const type = word & 7
        const position = type === CROSSING ? absorbed.positionOf(views.u32[node + 1]) : -1
        if (position >= 0 && absorbed.entryCounts[position] === 1) {
          this.kept.push(absorbed.ids[position])
          absorbed.remove(position)
          rest = sizes.units[only]
          group.count = 0
        } else if (type !== LEAF && type !== CROSSING) {
          rest = nodeUnits(CROSSING, word >>> 16)
        }
      }
      if (group.count > 0) {
        // The order of the children's bytes, as entries are numbered elsewhere.
        group.refs.subarray(0, group.count).sort((a, b) => sizes.byte[a] - sizes.byte[b])
        this.groupCount++
      }
      for (let i = 0; i < group.count; i++) this.#grouped[group.refs[i]] = 1
      won += taken - rest
      this.#raise(sizes, ref, rest - taken)
    }
    return won
  }

  #group(at: number): SpillChoice {
    let group = this.groups.at(at)
    if (group === undefined) {
      group = { refs: new Uint16Array(256), count: 0 }
      this.groups.push(group)
    }
    group.count = 0
    return group
  }
}
