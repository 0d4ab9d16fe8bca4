import type { BlobId } from '@holt/blob-buf-pool'
import { corruptNode } from './corruption.js'
import { frameBase, segmentOf } from './frame-views.js'
import {
  bodyBytes,
  CROSSING,
  CROSSING_BYTES,
  FIRST_REF,
  LEAF,
  MAX_INDEX_KEY_BYTES,
  NODE256,
} from './layout.js'
import { entryRoot, nodeAt } from './node-edit.js'
import { createChildList, listChildren } from './node-search.js'
import type { KnownUnits } from './repack.js'
import type { Tree } from './tree.js'

const list = createChildList()
/** Per pending node: ref, bytes of the path above it, last of them. */
const pending = new Int32Array(65_536 * 3)

/**
 * Where a walk over all frames is, children before parents, in key order. It holds no frame and no ref, only the path of
 * the frame that was finished last: so the tree may change between two steps, and nothing is visited that has left it.
 */
export class CompactionPass {
  /** The root was finished. */
  finished = false
  /** Frames it has been at, and by how many there are fewer. */
  framesVisited = 0
  framesSaved = 0
  readonly #done = new Uint8Array(MAX_INDEX_KEY_BYTES + 8)
  #doneLength = -1
  readonly #path = new Uint8Array(MAX_INDEX_KEY_BYTES + 8)
  #pathLength = 0
  /** Frames that were finished. */
  readonly known: KnownUnits = new Map<number, number>()

  /** The frame that is next, resident. Throws what `FrameSource.fault` throws. */
  next(tree: Tree): BlobId {
    let id: number = tree.rootId
    let entry = 0
    let length = 0
    let inside = this.#doneLength >= 0
    for (;;) {
      if (!(tree.source.pageTable[id] > 0)) tree.source.fault(id as BlobId)
      const ref = this.#nextCrossing(tree, id, entry, length, inside)
      if (ref === 0) {
        this.#pathLength = length
        return id as BlobId
      }
      length = this.#pathLength
      inside &&= length < this.#doneLength && this.#agreesWithDone(length)
      const slot = tree.source.pageTable[id]
      const { u32 } = segmentOf(tree.source, slot)
      const node = nodeAt(frameBase(tree.source, slot), ref)
      entry = (u32[node] >>> 3) & 0x3ff
      id = u32[node + 1]
    }
  }

  /** The frame that {@link next} gave is finished, and has so many units. */
  finish(tree: Tree, id: BlobId, units: number): void {
    this.#done.set(this.#path.subarray(0, this.#pathLength))
    this.#doneLength = this.#pathLength
    this.known.set(id, units)
    this.framesVisited++
    if (id === tree.rootId) this.finished = true
  }

  #agreesWithDone(length: number): boolean {
    for (let i = 0; i < length; i++) if (this.#path[i] !== this.#done[i]) return false
    return true
  }

  /** Below 0: what begins with this path is finished; 0: it leads to the last one finished, or is it; else it comes later. */
  #compareWithDone(length: number): number {
    const shared = Math.min(length, this.#doneLength)
    for (let i = 0; i < shared; i++) {
      const difference = this.#path[i] - this.#done[i]
      if (difference !== 0) return difference
    }
    // What lies in or below the frame that was finished last has been seen.
    return length > this.#doneLength ? -1 : 0
  }

  /** The first crossing of an entry that leads to something unfinished, its path in `#path`; 0: there is none. */
  #nextCrossing(tree: Tree, id: number, entry: number, above: number, inside: boolean): number {
    const { source } = tree
    const slot = source.pageTable[id]
    const views = segmentOf(source, slot)
    const base = frameBase(source, slot)
    const { u8, u32 } = views
    const path = this.#path
    pending[0] = entryRoot(views, base, entry)
    pending[1] = above
    pending[2] = -1
    let top = pending[0] === 0 ? 0 : 3
    while (top > 0) {
      top -= 3
      const ref = pending[top]
      let length = pending[top + 1]
      if (ref < FIRST_REF) throw corruptNode(id, ref, 'a ref into page 0')
      if (pending[top + 2] >= 0) path[length - 1] = pending[top + 2]
      const node = nodeAt(base, ref)
      const word = u32[node]
      const type = word & 7
      if (type === LEAF) continue
      if (type === 0 || type > CROSSING) throw corruptNode(id, ref, `a node of type ${String(type)}`)
      const prefix = node * 4 + (type === CROSSING ? CROSSING_BYTES : bodyBytes(type))
      const prefixLength = word >>> 16
      if (length + prefixLength > MAX_INDEX_KEY_BYTES)
        throw corruptNode(id, ref, 'a path that is longer than any key')
      for (let i = 0; i < prefixLength; i++) path[length + i] = u8[prefix + i]
      length += prefixLength
      if (type === CROSSING) {
        if (inside) {
          const order = this.#compareWithDone(length)
          if (order < 0 || (order === 0 && length === this.#doneLength)) continue
        }
        this.#pathLength = length
        return ref
      }
      if (type > NODE256) continue
      if (inside && length <= this.#doneLength && this.#compareWithDone(length) < 0) continue
      const count = listChildren(views, base, ref, list)
      if (top + count * 3 > pending.length) throw corruptNode(id, ref, 'nodes that form a loop')
      for (let i = count - 1; i >= 0; i--) {
        pending[top++] = list.refs[i]
        pending[top++] = length + 1
        pending[top++] = list.bytes[i]
      }
    }
    return 0
  }
}
