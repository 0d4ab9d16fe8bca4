import { FRAME_BYTES, PAGE_BYTES } from '@holt/blob-buf-pool'
import { copySubtree } from './copy-subtree.js'
import { chainLinks } from './entry-chain.js'
import type { FrameViews } from './frame-views.js'
import { pathBytesOf, replaceFront, unitsWithPath } from './front-path.js'
import {
  BUMP_UNITS,
  CROSSING,
  CROSSING_BYTES,
  ENTRY_BYTES,
  ENTRY_CROSSING_HEAD,
  ENTRY_TABLE,
  FIRST_REF,
  MAX_INDEX_KEY_BYTES,
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
    this.tailBytes = pathBytesOf(aside.u32[nodeAt(0, root)])
  }

  /** Has `write` write nodes as entry 0 of an empty frame, with the entry's counts: they are the piece. */
  buildNodes(write: (aside: FrameViews) => void): void {
    const aside = this.#nodes
    aside.u8.fill(0, 0, PAGE_BYTES)
    aside.u32[BUMP_UNITS >>> 2] = FIRST_REF
    write(aside)
    this.child = 0
    this.restBoundBytes = entryMaxKey(aside, 0, 0)
    this.tailBytes = pathBytesOf(aside.u32[nodeAt(0, entryRoot(aside, 0, 0))])
  }

  /** Units of all nodes aside, their top with a path of `pathBytes`. */
  unitsWithPath(pathBytes: number): number {
    const aside = this.#nodes
    const word = aside.u32[nodeAt(0, entryRoot(aside, 0, 0))]
    const units = aside.u32[BUMP_UNITS >>> 2] - FIRST_REF
    return units - unitsOfWord(word) + unitsWithPath(word, pathBytes)
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
      const units = unitsWithPath(word, this.tailBytes + addedBytes)
      if (aside.u32[BUMP_UNITS >>> 2] + units > usableUnits) return false
      root = replaceFront(aside, 0, 0, root, 0, added, addedFrom, addedBytes)
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
