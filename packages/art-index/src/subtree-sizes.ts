import { corruptNode } from './corruption.js'
import type { FrameViews } from './frame-views.js'
import {
  CROSSING,
  CROSSING_BYTES,
  ENTRY_HIGH_WATER,
  LEAF,
  leafUnits,
  NODE16,
  NODE4,
  unitsOfWord,
} from './layout.js'
import { entryRoot, nodeAt } from './node-edit.js'
import { createChildList, listChildren, NODE16_REFS, NODE4_REFS, TERMINAL_REF } from './node-search.js'

const REFS = 65_536
const list = createChildList()

/**
 * The size of every subtree of a frame, found in one pass. Most nodes are leaves, and hardly one of them is ever asked
 * for: of the leaves below a node the three tables tell after {@link noteLeaves} only, which saves three cache lines each.
 */
export class SubtreeSizes {
  /** By ref, terminals and leaves excepted: units of the node and all below it in this frame. */
  readonly units = new Int32Array(REFS)
  /** By ref, likewise: the node above, 0 above an entry's root. */
  readonly parent = new Uint16Array(REFS)
  /** By ref, likewise: the byte under which the parent holds the node. */
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
    const { units, parent, byte, order } = this
    const { u8, u16, u32 } = views
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
      let children: number
      let childRefs: Uint16Array
      let childBytes: Uint8Array
      let firstRef = 0
      let firstByte = 0
      if (type === NODE4 || type === NODE16) {
        // Read where they are, without the list.
        children = Math.min((word >>> 3) & 0x3ff, type === NODE4 ? 4 : 16)
        childRefs = u16
        childBytes = u8
        firstRef = node * 2 + (type === NODE4 ? NODE4_REFS : NODE16_REFS)
        firstByte = node * 4 + 8
      } else {
        children = listChildren(views, base, ref, list)
        childRefs = refs
        childBytes = bytes
      }
      if (count + children > REFS) throw corruptNode(id, ref, 'nodes that form a loop')
      for (let child = 0; child < children; child++) {
        const childRef = childRefs[firstRef + child]
        const childWord = u32[nodeAt(base, childRef)] | 0
        const childType = childWord & 7
        if (childType === LEAF) {
          own += leafUnits((childWord >>> 3) & 0x1fff, childWord >>> 16)
          continue
        }
        parent[childRef] = ref
        byte[childRef] = childBytes[firstByte + child]
        if (childType === CROSSING) {
          const childUnits = unitsOfWord(childWord)
          units[childRef] = childUnits
          own += childUnits
          this.crossings[crossingCount++] = childRef
          this.crossingPrefixBytes += childUnits * 8 - (CROSSING_BYTES + 4)
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

  /** Notes units, parent and byte of the leaves right below a node. */
  noteLeaves(views: FrameViews, base: number, ref: number): void {
    const count = listChildren(views, base, ref, list)
    for (let i = 0; i < count; i++) {
      const child = list.refs[i]
      const word = views.u32[nodeAt(base, child)]
      if ((word & 7) !== LEAF) continue
      this.units[child] = unitsOfWord(word)
      this.parent[child] = ref
      this.byte[child] = list.bytes[i]
    }
  }
}
