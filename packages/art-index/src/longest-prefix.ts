import { corruptNode } from './corruption.js'
import {
  CROSSING,
  CROSSING_BYTES,
  ENTRY_ROOT,
  LEAF,
  LEAF_HEADER_BYTES,
  MAX_INDEX_KEY_BYTES,
} from './layout.js'
import { NodeChildren } from './node-children.js'
import { FrameReader, type ReadableTree } from './readable-tree.js'

/** No key is a prefix of the query. */
export const NO_PREFIX = -1

/**
 * Length in bytes of the longest key of the tree that is a prefix of `query[0 … queryLength)` or equal to it;
 * {@link NO_PREFIX} when there is none. One walk from the root along the query, through as many frames as it takes:
 * the keys that are prefixes of the query are the terminals on its way, and the leaf at its end.
 *
 * Throws `HOLT_CORRUPT` on bytes that cannot be a tree, and what the source's `fault` throws.
 */
export function longestPrefix(tree: ReadableTree, query: Uint8Array, queryLength: number): number {
  const reader = new FrameReader(tree.source)
  const children = new NodeChildren(reader)
  let longest = NO_PREFIX
  let depth = 0
  let ref = enterEntry(reader, tree.rootId, 0)
  // Each round goes at least one node down; crossings may follow each other without a byte between.
  for (let rounds = 0; ref !== 0; rounds++) {
    if (rounds > MAX_ROUNDS) throw corruptNode(reader.blob, ref, 'nodes lead around in circles')
    const node = reader.nodeOffset(ref)
    const { u8, u16, u32, blob } = reader
    const word = u32[node >>> 2]
    const type = word & 7
    const isLeaf = type === LEAF
    const length = isLeaf ? (word >>> 3) & 8_191 : word >>> 16
    const path = isLeaf
      ? node + LEAF_HEADER_BYTES
      : type === CROSSING
        ? node + CROSSING_BYTES
        : children.prefixOffset(ref)
    if (path + length > reader.base + reader.frameBytes)
      throw corruptNode(blob, ref, 'a node reaches past its frame')
    if (length > queryLength - depth) return longest
    for (let i = 0; i < length; i++) if (u8[path + i] !== query[depth + i]) return longest
    depth += length
    if (isLeaf) return depth
    if (type === CROSSING) {
      ref = enterEntry(reader, u32[(node >>> 2) + 1], (word >>> 3) & 1_023)
      if (ref === 0) throw corruptNode(reader.blob, 0, 'a crossing leads to an entry that is unused')
      continue
    }
    if (u16[(node >>> 1) + 2] !== 0) longest = depth
    if (depth === queryLength) return longest
    ref = children.child(ref, query[depth])
    depth++
  }
  return longest
}

/** A byte of the query, or a crossing, for each node: more are not on any way down. */
const MAX_ROUNDS = 65 * (MAX_INDEX_KEY_BYTES + 1)

function enterEntry(reader: FrameReader, blob: number, entry: number): number {
  reader.enter(blob)
  return reader.u16[(reader.entryOffset(entry) + ENTRY_ROOT) >>> 1]
}
