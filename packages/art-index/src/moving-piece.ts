import { FRAME_BYTES, PAGE_BYTES } from '@holt/blob-buf-pool'
import { copySubtree } from './copy-subtree.js'
import { chainLinks, chainMoved } from './entry-chain.js'
import { allocateUnits, freeUnits } from './frame-allocator.js'
import type { FrameViews } from './frame-views.js'
import {
  BUMP_UNITS,
  bodyBytes,
  CROSSING,
  CROSSING_BYTES,
  ENTRY_BYTES,
  ENTRY_CROSSING_HEAD,
  ENTRY_TABLE,
  FIRST_REF,
  LARGE_VALUE,
  LEAF,
  LEAF_HEADER_BYTES,
  leafUnits,
  MAX_INDEX_KEY_BYTES,
  nodeUnits,
  unitsOfWord,
} from './layout.js'
import { cutFront, entryRoot, nodeAt } from './node-edit.js'
import { entryMaxKey } from './prefix-bound.js'

/**
 * What a move carries from one place of the tree to another: nodes, kept aside in a frame of their own as its entry 0, or
 * a whole entry of another frame, which is only named.
 *
 * ```
 *   key:   prefix moved from │ tail │ rest, below the piece's top
 * ```
 */
export class MovingPiece {
  /** The nodes; allocated at the first move that has some. */
  #aside: FrameViews | undefined
  /** The entry that is named; blob 0: the piece is the nodes aside. */
  child = 0
  childEntry = 0
  /** Path bytes between the moved prefix and the named entry. Nodes carry theirs in their top. */
  readonly tail = new Uint8Array(MAX_INDEX_KEY_BYTES)
  tailBytes = 0
  /** No key of the piece has more bytes behind the moved prefix. */
  restBoundBytes = 0

  /** Names an entry as the piece. */
  name(child: number, childEntry: number, restBoundBytes: number): void {
    this.child = child
    this.childEntry = childEntry
    this.tailBytes = 0
    this.restBoundBytes = restBoundBytes
  }

  /** Copies the nodes below `ref` aside, the first `cutBytes` of its path left out. They stay where they are as well. */
  copyNodes(
    from: FrameViews,
    fromBase: number,
    fromId: number,
    ref: number,
    cutBytes: number,
    usableUnits: number,
    keyBoundBytes: number,
  ): void {
    const aside = (this.#aside ??= createFrame())
    aside.u8.fill(0, 0, PAGE_BYTES)
    aside.u32[BUMP_UNITS >>> 2] = FIRST_REF
    copySubtree(from, fromBase, fromId, ref, aside, 0, 0, usableUnits, keyBoundBytes, false)
    const root = entryRoot(aside, 0, 0)
    if (cutBytes > 0) cutFront(aside, 0, root, cutBytes)
    this.child = 0
    this.restBoundBytes = entryMaxKey(aside, 0, 0) - cutBytes
    this.tailBytes = tailBytesOf(aside.u32[nodeAt(0, root)])
  }

  /** Units of all nodes aside, their top with a path of `pathBytes`. */
  unitsWithPath(pathBytes: number): number {
    const aside = this.#nodes
    const word = aside.u32[nodeAt(0, entryRoot(aside, 0, 0))]
    const units = aside.u32[BUMP_UNITS >>> 2] - FIRST_REF
    return units - unitsOfWord(word) + unitsOfTop(word, pathBytes)
  }

  /** Bytes that the paths of crossings among the nodes take. */
  crossingPrefixBytes(): number {
    return crossingPrefixBytes(this.#nodes, 0, 0)
  }

  /**
   * Copies the nodes into a frame as its entry `entry`, with the `addedBytes` bytes from `added[addedFrom]` on in front of
   * their top's path. False, having changed nothing, when they have no room for that aside.
   */
  copyTo(
    to: FrameViews,
    toBase: number,
    entry: number,
    usableUnits: number,
    added: Uint8Array,
    addedFrom: number,
    addedBytes: number,
  ): boolean {
    const aside = this.#nodes
    let root = entryRoot(aside, 0, 0)
    const word = aside.u32[nodeAt(0, root)]
    if (addedBytes > 0) {
      const units = unitsOfTop(word, this.tailBytes + addedBytes)
      if (aside.u32[BUMP_UNITS >>> 2] + units > usableUnits) return false
      root = lengthenFront(aside, root, added, addedFrom, addedBytes)
      aside.u16[ENTRY_TABLE >>> 1] = root
    }
    copySubtree(aside, 0, 0, root, to, toBase, entry, usableUnits, this.restBoundBytes + addedBytes, false)
    return true
  }

  get #nodes(): FrameViews {
    return (this.#aside ??= createFrame())
  }
}

function createFrame(): FrameViews {
  const buffer = new ArrayBuffer(FRAME_BYTES)
  return {
    u8: new Uint8Array(buffer),
    u16: new Uint16Array(buffer),
    u32: new Uint32Array(buffer),
    f64: new Float64Array(buffer),
  }
}

function tailBytesOf(word: number): number {
  return (word & 7) === LEAF ? (word >>> 3) & 0x1fff : word >>> 16
}

function unitsOfTop(word: number, pathBytes: number): number {
  return (word & 7) === LEAF ? leafUnits(pathBytes, word >>> 16) : nodeUnits(word & 7, pathBytes)
}

/** Bytes that the paths of an entry's crossings take, as blocks do. */
export function crossingPrefixBytes(views: FrameViews, base: number, entry: number): number {
  const { u16, u32 } = views
  let bytes = 0
  let ref = u16[(base + ENTRY_TABLE + entry * ENTRY_BYTES + ENTRY_CROSSING_HEAD) >>> 1]
  while (ref !== 0) {
    const node = nodeAt(base, ref)
    if ((u32[node] & 7) === CROSSING) bytes += unitsOfWord(u32[node]) * 8 - (CROSSING_BYTES + 4)
    ref = u16[chainLinks(u32, node)]
  }
  return bytes
}

/** Rewrites a leaf or inner node with bytes in front of its path; frees the old block; returns the new one. */
function lengthenFront(
  views: FrameViews,
  ref: number,
  added: Uint8Array,
  addedFrom: number,
  addedBytes: number,
): number {
  const { u8, u32 } = views
  const node = nodeAt(0, ref)
  const word = u32[node]
  const isLeaf = (word & 7) === LEAF
  const held = tailBytesOf(word)
  const length = held + addedBytes
  const longer = allocateUnits(views, 0, unitsOfTop(word, length))
  const to = nodeAt(0, longer)
  const body = isLeaf ? LEAF_HEADER_BYTES : bodyBytes(word & 7)
  for (let i = 1; i < body >>> 2; i++) u32[to + i] = u32[node + i]
  u32[to] = isLeaf ? word + (addedBytes << 3) : word + addedBytes * 0x1_0000
  const path = to * 4 + body
  for (let i = 0; i < addedBytes; i++) u8[path + i] = added[addedFrom + i]
  u8.copyWithin(path + addedBytes, node * 4 + body, node * 4 + body + held)
  for (let end = length; (end & 3) !== 0; end++) u8[path + end] = 0
  if (isLeaf) {
    const value = node * 4 + body + ((held + 3) & ~3)
    u8.copyWithin(path + ((length + 3) & ~3), value, value + (word >>> 16))
    if ((u32[to + 2] & LARGE_VALUE) !== 0) chainMoved(views, 0, 0, longer)
  }
  freeUnits(views, 0, ref, unitsOfWord(word))
  return longer
}
