import { chainMoved } from './entry-chain.js'
import { allocateUnits, freeUnits } from './frame-allocator.js'
import type { FrameViews } from './frame-views.js'
import {
  bodyBytes,
  LARGE_VALUE,
  LEAF,
  LEAF_HEADER_BYTES,
  leafUnits,
  nodeUnits,
  unitsOfWord,
} from './layout.js'
import { nodeAt } from './node-edit.js'

/*
 * The path of a leaf or inner node whose place in the tree changes: bytes at its front go, others come.
 *
 *   before   │ cut  │ tail │           after   │ added │ tail │
 */

/** Path bytes of a node with that word 0. */
export function pathBytesOf(word: number): number {
  return (word & 7) === LEAF ? (word >>> 3) & 0x1fff : word >>> 16
}

/** Units of the leaf or inner node with that word 0, had it a path of `pathBytes`. */
export function unitsWithPath(word: number, pathBytes: number): number {
  return (word & 7) === LEAF ? leafUnits(pathBytes, word >>> 16) : nodeUnits(word & 7, pathBytes)
}

/**
 * Replaces the first `cutBytes` bytes of the path of a leaf or inner node of `entry` by the `addedBytes` bytes from
 * `added[addedFrom]` on. Returns where the node is now: in a block of its own unless the path keeps its length. The old
 * block is freed; who links to the node is the caller's to tell. There is room for {@link unitsWithPath}.
 */
export function replaceFront(
  views: FrameViews,
  base: number,
  entry: number,
  ref: number,
  cutBytes: number,
  added: Uint8Array,
  addedFrom: number,
  addedBytes: number,
): number {
  const { u8, u32 } = views
  const node = nodeAt(base, ref)
  const word = u32[node]
  const isLeaf = (word & 7) === LEAF
  const body = isLeaf ? LEAF_HEADER_BYTES : bodyBytes(word & 7)
  let target = ref
  if (addedBytes !== cutBytes) {
    const tailBytes = pathBytesOf(word) - cutBytes
    const length = tailBytes + addedBytes
    target = allocateUnits(views, base, unitsWithPath(word, length))
    const to = nodeAt(base, target)
    for (let i = 1; i < body >>> 2; i++) u32[to + i] = u32[node + i]
    const grownBy = addedBytes - cutBytes
    u32[to] = isLeaf ? word + (grownBy << 3) : word + grownBy * 0x1_0000
    const path = to * 4 + body
    const held = node * 4 + body
    u8.copyWithin(path + addedBytes, held + cutBytes, held + cutBytes + tailBytes)
    for (let end = length; (end & 3) !== 0; end++) u8[path + end] = 0
    if (isLeaf) {
      const value = held + ((cutBytes + tailBytes + 3) & ~3)
      u8.copyWithin(path + ((length + 3) & ~3), value, value + (word >>> 16))
      if ((u32[to + 2] & LARGE_VALUE) !== 0) chainMoved(views, base, entry, target)
    }
    freeUnits(views, base, ref, unitsOfWord(word))
  }
  const path = nodeAt(base, target) * 4 + body
  for (let i = 0; i < addedBytes; i++) u8[path + i] = added[addedFrom + i]
  return target
}
