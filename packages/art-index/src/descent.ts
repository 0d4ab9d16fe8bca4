import { type BlobId, FRAME_SHIFT } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import { corruptNode } from './corruption.js'
import type { FrameSource } from './frame-source.js'
import { segmentOf, type FrameViews } from './frame-views.js'
import { commonBytes, sameBytes } from './key-words.js'
import {
  bodyBytes,
  CROSSING,
  CROSSING_BYTES,
  ENTRY_BYTES,
  ENTRY_TABLE,
  FIRST_REF,
  LEAF,
  MAX_INDEX_KEY_BYTES,
  NODE16,
  NODE16_BYTES,
  NODE256_BYTES,
  NODE4,
  NODE48,
  NODE48_BYTES,
  NODE4_BYTES,
} from './layout.js'
import { entryRoot, nodeAt } from './node-edit.js'
import {
  createChildList,
  findIndex,
  findInNode16,
  listChildren,
  NODE16_REFS,
  NODE256_REFS,
  NODE4_REFS,
  NODE48_REFS,
  NONE,
  refPlace,
  TERMINAL,
  TERMINAL_REF,
} from './node-search.js'

/** Where a descent ended. */
export const EMPTY = 0
/** At the key's leaf. */
export const MATCH = 1
/** At a leaf whose rest parts from the key after `common` bytes. */
export const LEAF_SPLIT = 2
/** At an inner node, or crossing, whose prefix parts from the key after `common` bytes. */
export const PREFIX_SPLIT = 3
/** At an inner node at which the key ends, without terminal. */
export const NO_TERMINAL = 4
/** At an inner node without child under the key's byte at `depth`. */
export const NO_CHILD = 5
export type Outcome =
  typeof EMPTY | typeof MATCH | typeof LEAF_SPLIT | typeof PREFIX_SPLIT | typeof NO_TERMINAL | typeof NO_CHILD

/** Per frame of {@link Descent.path}: blob id, entry number, key bytes above the entry's root, crossing by which it was left. */
export const PATH_STRIDE = 4
export const PATH_ID = 0
export const PATH_ENTRY = 1
export const PATH_DEPTH = 2
export const PATH_CROSSING = 3

const MAX_ATTEMPTS = 64
/** By type: the word at which a prefix begins. */
const PATH_WORD = [
  0,
  0,
  NODE4_BYTES / 4,
  NODE16_BYTES / 4,
  NODE48_BYTES / 4,
  NODE256_BYTES / 4,
  CROSSING_BYTES / 4,
]
const list = createChildList()

/** The way from the root to where a key is, or would be: what a change needs to know. Allocates nothing. */
export class Descent {
  readonly path = new Int32Array(PATH_STRIDE * (MAX_INDEX_KEY_BYTES + 2))
  frames = 0
  /** Inner nodes passed in the last frame, from the entry's root down: ref and index of the child taken. */
  readonly nodes = new Int32Array(2 * (MAX_INDEX_KEY_BYTES + 2))
  nodeCount = 0
  /** The node at which it ended. */
  ref = 0
  /** Key bytes above the node; at NO_TERMINAL and NO_CHILD those of its prefix too. */
  depth = 0
  common = 0

  /**
   * Follows the key. When frames had to be faulted in it starts again, until every frame of the way was resident, since
   * a fault may evict another of them.
   */
  run(
    source: FrameSource,
    rootId: number,
    keyBytes: Uint8Array,
    keyWords: Uint32Array,
    keyLength: number,
  ): Outcome {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const outcome = this.#follow(source, rootId, keyBytes, keyWords, keyLength)
      if (outcome >= 0) return outcome as Outcome
    }
    throw new HoltError(
      'HOLT_OUT_OF_MEMORY',
      `the ${String(this.frames)} frames above a key do not fit the cache together`,
    )
  }

  #follow(
    source: FrameSource,
    rootId: number,
    keyBytes: Uint8Array,
    keyWords: Uint32Array,
    keyLength: number,
  ): Outcome | -1 {
    const { pageTable, slab } = source
    const { segments, segmentShift, segmentMask } = slab
    const { path, nodes } = this
    let faulted = false
    let outcome: Outcome = EMPTY
    let id = rootId
    let entry = 0
    let depth = 0
    let frame = 0
    let nodeTop: number
    let ref: number
    for (;;) {
      let slot = pageTable[id]
      if (!(slot > 0)) {
        slot = source.fault(id as BlobId)
        faulted = true
      }
      const { u8, u16, u32 } = segments[slot >>> segmentShift]
      const base = (slot & segmentMask) << FRAME_SHIFT
      if (frame * PATH_STRIDE >= path.length)
        throw corruptNode(id, 0, 'the frames above it are more than a key has bytes')
      path[frame * PATH_STRIDE + PATH_ID] = id
      path[frame * PATH_STRIDE + PATH_ENTRY] = entry
      path[frame * PATH_STRIDE + PATH_DEPTH] = depth
      nodeTop = 0
      ref = u16[(base + ENTRY_TABLE + entry * ENTRY_BYTES) >>> 1]
      if (ref === 0) {
        if (frame !== 0)
          throw corruptNode(id, 0, `entry ${String(entry)} is named by a crossing and not in use`)
        break
      }
      let crossed = false
      for (;;) {
        if (ref < FIRST_REF) throw corruptNode(id, ref, 'a ref into page 0')
        const node = (base >>> 2) + ref * 2
        const word = u32[node] | 0
        const type = word & 7
        const length = word >>> 16
        if (type === LEAF) {
          const restLength = (word >>> 3) & 0x1fff
          const left = keyLength - depth
          if (restLength === left && sameBytes(u32, node + 3, keyWords, depth, left)) {
            outcome = MATCH
          } else {
            this.common = commonBytes(u32, node + 3, keyWords, depth, restLength < left ? restLength : left)
            outcome = LEAF_SPLIT
          }
          break
        }
        if (type < NODE4 || type > CROSSING) throw corruptNode(id, ref, `a node of type ${String(type)}`)
        if (length !== 0) {
          const left = keyLength - depth
          const limit = length < left ? length : left
          const same = commonBytes(u32, node + PATH_WORD[type], keyWords, depth, limit)
          if (same !== length) {
            this.common = same
            outcome = PREFIX_SPLIT
            break
          }
          depth += length
        }
        if (type === CROSSING) {
          path[frame * PATH_STRIDE + PATH_CROSSING] = ref
          frame++
          id = u32[node + 1]
          entry = (word >>> 3) & 0x3ff
          crossed = true
          break
        }
        let index: number
        let next: number
        if (depth === keyLength) {
          index = TERMINAL
          next = u16[node * 2 + TERMINAL_REF]
          if (next === 0) {
            outcome = NO_TERMINAL
            break
          }
          if ((u32[(base >>> 2) + next * 2] & 7) !== LEAF)
            throw corruptNode(id, ref, 'a terminal that is no leaf')
        } else {
          const byte = keyBytes[depth]
          if (type === NODE4) {
            // Unused places repeat the last child, so the first that fits is the child's own, or there is none at all.
            const keys = u32[node + 2] | 0
            if ((keys & 0xff) === byte) index = 0
            else if (((keys >>> 8) & 0xff) === byte) index = 1
            else if (((keys >>> 16) & 0xff) === byte) index = 2
            else if (keys >>> 24 === byte) index = 3
            else {
              outcome = NO_CHILD
              break
            }
            next = u16[node * 2 + NODE4_REFS + index]
          } else if (type === NODE16) {
            index = findInNode16(u32, node, byte)
            if (index === NONE) {
              outcome = NO_CHILD
              break
            }
            const last = ((word >>> 3) & 0x3ff) - 1
            if (index > last) index = last
            next = index < 0 ? 0 : u16[node * 2 + NODE16_REFS + index]
          } else if (type === NODE48) {
            index = u8[node * 4 + 8 + byte] - 1
            next = index < 0 ? 0 : u16[node * 2 + NODE48_REFS + index]
          } else {
            index = byte
            next = u16[node * 2 + NODE256_REFS + byte]
          }
          if (next === 0) {
            outcome = NO_CHILD
            break
          }
          depth++
        }
        nodes[nodeTop] = ref
        nodes[nodeTop + 1] = index
        nodeTop += 2
        ref = next
      }
      if (!crossed) break
    }
    this.frames = frame + 1
    this.nodeCount = nodeTop >>> 1
    this.ref = ref
    this.depth = depth
    return faulted ? -1 : outcome
  }

  /** The id, entry and so on of frame `frame` of the path. */
  at(frame: number, field: number): number {
    return this.path[frame * PATH_STRIDE + field]
  }

  /**
   * Fills {@link nodes} with the way to `target` in an upper frame of the path, the crossing by which it was left.
   * Prefixes have been compared before and are skipped.
   */
  retrace(source: FrameSource, frame: number, keyBytes: Uint8Array, keyLength: number): void {
    const id = this.at(frame, PATH_ID)
    const slot = source.pageTable[id]
    const views: FrameViews = segmentOf(source, slot)
    const base = (slot & source.slab.segmentMask) << FRAME_SHIFT
    const target = this.at(frame, PATH_CROSSING)
    let depth = this.at(frame, PATH_DEPTH)
    let ref = entryRoot(views, base, this.at(frame, PATH_ENTRY))
    this.nodeCount = 0
    while (ref !== target) {
      const node = nodeAt(base, ref)
      const word = views.u32[node]
      depth += word >>> 16
      if (depth >= keyLength) throw corruptNode(id, ref, 'not on the way to a crossing')
      const index = findIndex(views.u8, views.u16, views.u32, node, word, keyBytes[depth++])
      if (index === NONE) throw corruptNode(id, ref, 'not on the way to a crossing')
      this.nodes[this.nodeCount * 2] = ref
      this.nodes[this.nodeCount * 2 + 1] = index
      this.nodeCount++
      ref = views.u16[node * 2 + refPlace(word & 7, index)]
    }
  }

  /** Which end of the last frame the key is, or would be, at: all that lies there lies before it, or behind it. */
  edge(
    source: FrameSource,
    outcome: Outcome,
    keyBytes: Uint8Array,
    keyLength: number,
  ): 'first' | 'last' | 'inside' {
    const slot = source.pageTable[this.at(this.frames - 1, PATH_ID)]
    const views: FrameViews = segmentOf(source, slot)
    const base = (slot & source.slab.segmentMask) << FRAME_SHIFT
    let first = true
    let last = true
    for (let i = 0; i < this.nodeCount; i++) {
      const ref = this.nodes[i * 2]
      const index = this.nodes[i * 2 + 1]
      const count = listChildren(views, base, ref, list)
      const node = nodeAt(base, ref)
      if (index === TERMINAL) {
        last &&= count === 0
        continue
      }
      const place = refPlace(views.u32[node] & 7, index)
      last &&= count > 0 && list.places[count - 1] === place
      first &&= list.places[0] === place && views.u16[node * 2 + TERMINAL_REF] === 0
    }
    const node = nodeAt(base, this.ref)
    if (outcome === NO_CHILD) {
      const count = listChildren(views, base, this.ref, list)
      last &&= count === 0 || list.bytes[count - 1] < keyBytes[this.depth]
      first &&= count > 0 && list.bytes[0] > keyBytes[this.depth] && views.u16[node * 2 + TERMINAL_REF] === 0
    } else if (outcome === NO_TERMINAL) {
      last = false
    } else if (outcome === LEAF_SPLIT || outcome === PREFIX_SPLIT) {
      const word = views.u32[node]
      const type = word & 7
      const path = node * 4 + (type === LEAF || type === CROSSING ? 12 : bodyBytes(type))
      const pathLength = type === LEAF ? (word >>> 3) & 0x1fff : word >>> 16
      const ends = this.depth + this.common >= keyLength
      const below =
        ends ||
        (this.common < pathLength && keyBytes[this.depth + this.common] < views.u8[path + this.common])
      if (below) last = false
      else first = false
    }
    return last ? 'last' : first ? 'first' : 'inside'
  }
}
