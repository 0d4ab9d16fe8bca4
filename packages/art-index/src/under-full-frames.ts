import type { AbsorbedFrames } from './copy-subtree.js'
import { frameBase, segmentOf, type FrameViews } from './frame-views.js'
import { entryRoot } from './node-edit.js'
import { ENTRY_HIGH_WATER, MAX_ENTRIES } from './layout.js'
import { SubtreeSizes } from './subtree-sizes.js'
import type { Tree } from './tree.js'

/** More frames than this are never absorbed at once. */
export const MAX_ABSORBED = 32

/** Children of one frame that a repacking absorbs, with the size of each of their entries. */
export class UnderFullFrames implements AbsorbedFrames {
  count = 0
  readonly ids = new Int32Array(MAX_ABSORBED)
  readonly views: FrameViews[] = []
  readonly bases: number[] = []
  readonly entryCounts = new Int32Array(MAX_ABSORBED)
  /** By position * MAX_ENTRIES + entry: units below that entry. */
  readonly entryUnits = new Int32Array(MAX_ABSORBED * MAX_ENTRIES)
  crossingPrefixBytes = 0
  readonly #sizes = new SubtreeSizes()

  clear(): void {
    this.count = 0
    this.crossingPrefixBytes = 0
  }

  /** Adds a resident frame. */
  add(tree: Tree, id: number): void {
    const slot = tree.source.pageTable[id]
    const views = segmentOf(tree.source, slot)
    const base = frameBase(tree.source, slot)
    const position = this.count++
    const sizes = this.#sizes
    sizes.measure(views, base, id)
    this.ids[position] = id
    this.views[position] = views
    this.bases[position] = base
    this.entryCounts[position] = sizes.entryCount
    const highWater = views.u16[(base + ENTRY_HIGH_WATER) >>> 1]
    this.entryUnits.fill(0, position * MAX_ENTRIES, (position + 1) * MAX_ENTRIES)
    for (let entry = 0; entry < highWater; entry++) {
      const root = entryRoot(views, base, entry)
      this.entryUnits[position * MAX_ENTRIES + entry] = root === 0 ? 0 : sizes.units[root]
    }
    this.crossingPrefixBytes += sizes.crossingPrefixBytes
  }

  positionOf(id: number): number {
    for (let i = 0; i < this.count; i++) if (this.ids[i] === id) return i
    return -1
  }

  /** Takes a frame out again: its place goes to the last. */
  remove(position: number): void {
    const last = --this.count
    this.ids[position] = this.ids[last]
    this.views[position] = this.views[last]
    this.bases[position] = this.bases[last]
    this.entryCounts[position] = this.entryCounts[last]
    this.entryUnits.copyWithin(position * MAX_ENTRIES, last * MAX_ENTRIES, (last + 1) * MAX_ENTRIES)
  }
}
