import { corruptNode } from './corruption.js'
import type { FrameViews } from './frame-views.js'
import { CROSSING, CROSSING_BYTES, ENTRY_HIGH_WATER, LEAF, unitsOfWord } from './layout.js'
import { entryRoot, nodeAt } from './node-edit.js'
import { createChildList, listChildren, TERMINAL_REF } from './node-search.js'

const REFS = 65_536
const list = createChildList()

/** The size of every subtree of a frame, found in one pass. */
export class SubtreeSizes {
  /** By ref, terminals excepted: units of the node and all below it in this frame. */
  readonly units = new Int32Array(REFS)
  /** By ref: the node above, 0 above an entry's root. */
  readonly parent = new Uint16Array(REFS)
  /** By ref: the byte under which the parent holds the node. */
  readonly byte = new Uint8Array(REFS)
  /** The inner nodes, and roots, those above before those below. */
  readonly order = new Uint16Array(REFS)
  count = 0
  /** The crossings: those of one node side by side, in the order of their bytes. */
  readonly crossings = new Uint16Array(REFS)
  crossingCount = 0
  totalUnits = 0
  /** Bytes that the prefixes of crossings take. */
  crossingPrefixBytes = 0
  /** Entries in use, and the one with the most units. */
  entryCount = 0
  largestEntry = 0

  measure(views: FrameViews, base: number, id: number): void {
    const { units, parent, order } = this
    const { u16, u32 } = views
    let count = 0
    this.entryCount = 0
    this.crossingPrefixBytes = 0
    let crossingCount = 0
    const highWater = u16[(base + ENTRY_HIGH_WATER) >>> 1]
    for (let entry = 0; entry < highWater; entry++) {
      const root = entryRoot(views, base, entry)
      if (root === 0) continue
      parent[root] = 0
      order[count++] = root
      this.entryCount++
    }
    const { bytes, refs } = list
    for (let i = 0; i < count; i++) {
      const ref = order[i]
      const node = nodeAt(base, ref)
      const word = u32[node]
      const type = word & 7
      // Leaves and crossings are dealt with at their parent: only inner nodes come here, and roots.
      let own = unitsOfWord(word)
      const children = listChildren(views, base, ref, list)
      if (count + children > REFS) throw corruptNode(id, ref, 'nodes that form a loop')
      for (let child = 0; child < children; child++) {
        const childRef = refs[child]
        const childWord = u32[nodeAt(base, childRef)] | 0
        const childType = childWord & 7
        parent[childRef] = ref
        this.byte[childRef] = bytes[child]
        if (childType === LEAF || childType === CROSSING) {
          const childUnits = unitsOfWord(childWord)
          units[childRef] = childUnits
          own += childUnits
          if (childType === CROSSING) {
            this.crossings[crossingCount++] = childRef
            this.crossingPrefixBytes += childUnits * 8 - (CROSSING_BYTES + 4)
          }
        } else {
          order[count++] = childRef
        }
      }
      if (type !== LEAF && u16[node * 2 + TERMINAL_REF] !== 0) {
        own += unitsOfWord(u32[nodeAt(base, u16[node * 2 + TERMINAL_REF])])
      }
      units[ref] = own
    }
    this.count = count
    this.crossingCount = crossingCount
    for (let i = count - 1; i >= 0; i--) {
      const ref = order[i]
      if (parent[ref] !== 0) units[parent[ref]] += units[ref]
    }
    this.totalUnits = 0
    this.largestEntry = 0
    let largest = 0
    for (let entry = 0; entry < highWater; entry++) {
      const root = entryRoot(views, base, entry)
      if (root === 0) continue
      this.totalUnits += units[root]
      if (units[root] > largest) {
        largest = units[root]
        this.largestEntry = entry
      }
    }
  }
}
