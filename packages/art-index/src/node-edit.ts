import { allocateUnits, freeUnits } from './frame-allocator.js'
import {
  bodyBytes,
  CROSSING,
  CROSSING_BYTES,
  ENTRY_BYTES,
  ENTRY_TABLE,
  LEAF_HEADER_BYTES,
  leafUnits,
  NODE16,
  NODE256,
  NODE4,
  NODE48,
  nodeUnits,
  SHRINK_NODE16_AT,
  SHRINK_NODE256_AT,
  SHRINK_NODE48_AT,
  unitsOfWord,
} from './layout.js'
import type { FrameViews } from './frame-views.js'
import { writeKeyBytes } from './key-words.js'
import {
  createChildList,
  listChildren,
  NODE16_REFS,
  NODE256_REFS,
  NODE4_REFS,
  NODE48_REFS,
  refPlace,
  repetitions,
  TERMINAL,
  TERMINAL_REF,
} from './node-search.js'

const children = createChildList()
/** Above this `copyWithin` is faster than a loop. */
const LONGEST_LOOP_WORDS = 256

/** u32 index of a node. */
export function nodeAt(base: number, ref: number): number {
  return (base >>> 2) + ref * 2
}

/** The number of children that do not fit an inner node of this type. */
export function capacity(type: number): number {
  return type === NODE4 ? 4 : type === NODE16 ? 16 : type === NODE48 ? 48 : 256
}

/** The ref of `entry`'s root. */
export function entryRoot(views: FrameViews, base: number, entry: number): number {
  return views.u16[(base + ENTRY_TABLE + entry * ENTRY_BYTES) >>> 1]
}

/** Points `parent`'s child `index` to `ref`; `parent` 0: the entry's root. */
export function setLink(
  views: FrameViews,
  base: number,
  entry: number,
  parent: number,
  index: number,
  ref: number,
): void {
  const { u16, u32 } = views
  if (parent === 0) {
    u16[(base + ENTRY_TABLE + entry * ENTRY_BYTES) >>> 1] = ref
    return
  }
  const node = nodeAt(base, parent)
  const word = u32[node]
  const place = refPlace(word & 7, index)
  const last = place + repetitions(word & 7, (word >>> 3) & 0x3ff, place)
  for (let i = place; i <= last; i++) u16[node * 2 + i] = ref
}

/** Writes a node4 with one child, or two in the order of their bytes, and the key's bytes from `depth` on as prefix. */
export function writeNode4(
  views: FrameViews,
  base: number,
  ref: number,
  keyWords: Uint32Array,
  depth: number,
  prefixLength: number,
  terminal: number,
  byte: number,
  child: number,
  secondByte: number,
  second: number,
): void {
  const { u16, u32 } = views
  const node = nodeAt(base, ref)
  u32[node] = NODE4 | ((second === 0 ? 1 : 2) << 3) | (prefixLength << 16)
  u32[node + 1] = terminal
  const lastByte = second === 0 ? byte : secondByte
  const last = second === 0 ? child : second
  u32[node + 2] = byte | (lastByte << 8) | (lastByte << 16) | (lastByte << 24)
  const refs = node * 2 + NODE4_REFS
  u16[refs] = child
  u16[refs + 1] = last
  u16[refs + 2] = last
  u16[refs + 3] = last
  writeKeyBytes(u32, node + 5, keyWords, depth, prefixLength)
}

/** Adds a child to a node that has room for it and none under `byte`. */
export function addChild(views: FrameViews, base: number, ref: number, byte: number, child: number): void {
  const { u8, u16, u32 } = views
  const node = nodeAt(base, ref)
  const word = u32[node]
  const type = word & 7
  const count = (word >>> 3) & 0x3ff
  u32[node] = word + (1 << 3)
  if (type === NODE256) {
    u16[node * 2 + NODE256_REFS + byte] = child
    return
  }
  if (type === NODE48) {
    u8[node * 4 + 8 + byte] = count + 1
    u16[node * 2 + NODE48_REFS + count] = child
    return
  }
  const keys = node * 4 + 8
  const refs = node * 2 + (type === NODE4 ? NODE4_REFS : NODE16_REFS)
  let i = count
  for (; i > 0 && u8[keys + i - 1] > byte; i--) {
    u8[keys + i] = u8[keys + i - 1]
    u16[refs + i] = u16[refs + i - 1]
  }
  u8[keys + i] = byte
  u16[refs + i] = child
  repeatLast(views, node, type, count + 1)
}

function repeatLast(views: FrameViews, node: number, type: number, count: number): void {
  const { u8, u16 } = views
  const keys = node * 4 + 8
  const refs = node * 2 + (type === NODE4 ? NODE4_REFS : NODE16_REFS)
  const byte = count === 0 ? 0 : u8[keys + count - 1]
  const ref = count === 0 ? 0 : u16[refs + count - 1]
  for (let i = count; i < capacity(type); i++) {
    u8[keys + i] = byte
    u16[refs + i] = ref
  }
}

/** Units of the next larger node with the same prefix. */
export function grownUnits(word: number): number {
  return nodeUnits((word & 7) + 1, word >>> 16)
}

/** Copies a full node into the next larger type; frees the old block; returns the new one. The caller has made room. */
export function grow(views: FrameViews, base: number, ref: number): number {
  const { u32 } = views
  const node = nodeAt(base, ref)
  const word = u32[node]
  const type = word & 7
  const prefixLength = word >>> 16
  const grownRef = allocateUnits(views, base, grownUnits(word))
  const grown = nodeAt(base, grownRef)
  const count = listChildren(views, base, ref, children)
  u32[grown] = (type + 1) | (count << 3) | (prefixLength << 16)
  u32[grown + 1] = u32[node + 1]
  writeChildren(views, grown, type + 1, count)
  const from = node + (bodyBytes(type) >>> 2)
  const to = grown + (bodyBytes(type + 1) >>> 2)
  for (let i = 0; i < (prefixLength + 3) >>> 2; i++) u32[to + i] = u32[from + i]
  freeUnits(views, base, ref, unitsOfWord(word))
  return grownRef
}

/** Writes the `count` children of the list `children` into the body of a node of this type. */
function writeChildren(views: FrameViews, node: number, type: number, count: number): void {
  const { u8, u16, u32 } = views
  const { bytes, refs } = children
  if (type === NODE256) {
    for (let i = 2; i < 130; i++) u32[node + i] = 0
    for (let i = 0; i < count; i++) u16[node * 2 + NODE256_REFS + bytes[i]] = refs[i]
  } else if (type === NODE48) {
    for (let i = 2; i < 90; i++) u32[node + i] = 0
    for (let i = 0; i < count; i++) {
      u8[node * 4 + 8 + bytes[i]] = i + 1
      u16[node * 2 + NODE48_REFS + i] = refs[i]
    }
  } else {
    const first = node * 2 + (type === NODE4 ? NODE4_REFS : NODE16_REFS)
    for (let i = 0; i < count; i++) {
      u8[node * 4 + 8 + i] = bytes[i]
      u16[first + i] = refs[i]
    }
    repeatLast(views, node, type, count)
  }
}

/** Takes the child `index`, or the terminal, out of an inner node, and makes the node smaller, in place, when few are left. */
export function removeChild(views: FrameViews, base: number, ref: number, index: number): void {
  const { u8, u16, u32 } = views
  const node = nodeAt(base, ref)
  if (index === TERMINAL) {
    u16[node * 2 + TERMINAL_REF] = 0
    return
  }
  const word = u32[node]
  const type = word & 7
  const count = ((word >>> 3) & 0x3ff) - 1
  u32[node] = word - (1 << 3)
  if (type === NODE256) {
    u16[node * 2 + NODE256_REFS + index] = 0
    if (count <= SHRINK_NODE256_AT) shrink(views, base, ref, NODE48)
  } else if (type === NODE48) {
    const positions = node * 4 + 8
    const refs = node * 2 + NODE48_REFS
    for (let byte = 0; byte < 256; byte++) {
      const position = u8[positions + byte]
      if (position === index + 1) u8[positions + byte] = 0
      else if (position === count + 1) u8[positions + byte] = index + 1
    }
    u16[refs + index] = u16[refs + count]
    u16[refs + count] = 0
    if (count <= SHRINK_NODE48_AT) shrink(views, base, ref, NODE16)
  } else {
    const keys = node * 4 + 8
    const refs = node * 2 + (type === NODE4 ? NODE4_REFS : NODE16_REFS)
    for (let i = index; i < count; i++) {
      u8[keys + i] = u8[keys + i + 1]
      u16[refs + i] = u16[refs + i + 1]
    }
    repeatLast(views, node, type, count)
    if (type === NODE16 && count <= SHRINK_NODE16_AT) shrink(views, base, ref, NODE4)
  }
}

/** Rewrites a node as the smaller `type` at the same ref and frees the rest of its block. Needs no room. */
function shrink(views: FrameViews, base: number, ref: number, type: number): void {
  const { u8, u32 } = views
  const node = nodeAt(base, ref)
  const word = u32[node]
  const prefixLength = word >>> 16
  const count = listChildren(views, base, ref, children)
  const prefix = node * 4 + bodyBytes(word & 7)
  u8.copyWithin(node * 4 + bodyBytes(type), prefix, prefix + prefixLength)
  u32[node] = type | (count << 3) | (prefixLength << 16)
  writeChildren(views, node, type, count)
  freeTail(views, base, ref, unitsOfWord(word), nodeUnits(type, prefixLength))
}

function freeTail(views: FrameViews, base: number, ref: number, units: number, kept: number): void {
  if (kept < units) freeUnits(views, base, ref + kept, units - kept)
}

/** Takes `cut` bytes off the front of the path of a node of any type, in place. */
export function cutFront(views: FrameViews, base: number, ref: number, cut: number): void {
  const { u32 } = views
  const node = nodeAt(base, ref)
  const word = u32[node]
  const type = word & 7
  if (type >= NODE4) {
    const prefixLength = word >>> 16
    const prefix = node * 4 + (type === CROSSING ? CROSSING_BYTES : bodyBytes(type))
    writeKeyBytes(u32, prefix >>> 2, u32, prefix + cut, prefixLength - cut)
    u32[node] = word - (cut << 16)
    freeTail(views, base, ref, nodeUnits(type, prefixLength), nodeUnits(type, prefixLength - cut))
    return
  }
  const restLength = (word >>> 3) & 0x1fff
  const valueLength = word >>> 16
  const kept = restLength - cut
  const rest = node + (LEAF_HEADER_BYTES >>> 2)
  // Word by word to lower places, so nothing is overwritten before it is read. `copyWithin` would cost more than all else here.
  writeKeyBytes(u32, rest, u32, rest * 4 + cut, kept)
  const moved = (kept + 3) >>> 2
  const held = (restLength + 3) >>> 2
  if (moved !== held) {
    const words = (valueLength + 3) >>> 2
    if (words > LONGEST_LOOP_WORDS) u32.copyWithin(rest + moved, rest + held, rest + held + words)
    else for (let i = 0; i < words; i++) u32[rest + moved + i] = u32[rest + held + i]
  }
  u32[node] = word - (cut << 3)
  freeTail(views, base, ref, leafUnits(restLength, valueLength), leafUnits(kept, valueLength))
}
