import { CROSSING, LEAF, NODE16, NODE4, NODE48 } from './layout.js'
import type { FrameViews } from './frame-views.js'

/** In place of a child's index: the node's terminal. */
export const TERMINAL = -1
/** No child there. */
export const NONE = -2

/*
 * Where things are in a node, in elements from its start.
 *
 *            keys            refs (u16 index)
 *   node4    u32 2           6
 *   node16   u32 2 … 5       12
 *   node48   u8 8 … 263      132 + position
 *   node256                  4 + byte
 */
export const NODE4_REFS = 6
export const NODE16_REFS = 12
export const NODE48_REFS = 132
export const NODE256_REFS = 4
export const TERMINAL_REF = 2

/**
 * A byte among the 16 of a node16, without a branch: per word the exact test for a zero byte (0x80 where one is), the
 * four results interleaved. Unused keys repeat the last one, so the answer may be a repetition of the true place.
 */
export function findInNode16(u32: Uint32Array, node: number, byte: number): number {
  const pattern = Math.imul(byte, 0x0101_0101)
  const a = u32[node + 2] ^ pattern
  const b = u32[node + 3] ^ pattern
  const c = u32[node + 4] ^ pattern
  const d = u32[node + 5] ^ pattern
  const hits =
    ((~(((a & 0x7f7f_7f7f) + 0x7f7f_7f7f) | a) & 0x8080_8080) >>> 7) |
    ((~(((b & 0x7f7f_7f7f) + 0x7f7f_7f7f) | b) & 0x8080_8080) >>> 6) |
    ((~(((c & 0x7f7f_7f7f) + 0x7f7f_7f7f) | c) & 0x8080_8080) >>> 5) |
    ((~(((d & 0x7f7f_7f7f) + 0x7f7f_7f7f) | d) & 0x8080_8080) >>> 4)
  if (hits === 0) return NONE
  const bit = 31 - Math.clz32(hits & -hits)
  return ((bit & 7) << 2) | (bit >>> 3)
}

/** The index of the child under `byte` of an inner node, or NONE. `node` is its u32 index, `word` its word 0. */
export function findIndex(
  u8: Uint8Array,
  u16: Uint16Array,
  u32: Uint32Array,
  node: number,
  word: number,
  byte: number,
): number {
  const type = word & 7
  if (type === NODE4) {
    const keys = u32[node + 2] | 0
    const found =
      (keys & 0xff) === byte
        ? 0
        : ((keys >>> 8) & 0xff) === byte
          ? 1
          : ((keys >>> 16) & 0xff) === byte
            ? 2
            : keys >>> 24 === byte
              ? 3
              : NONE
    return found >= ((word >>> 3) & 0x3ff) ? NONE : found
  }
  if (type === NODE16) {
    const found = findInNode16(u32, node, byte)
    const last = ((word >>> 3) & 0x3ff) - 1
    return found > last ? last : found
  }
  if (type === NODE48) {
    const position = u8[node * 4 + 8 + byte]
    return position === 0 ? NONE : position - 1
  }
  return u16[node * 2 + NODE256_REFS + byte] === 0 ? NONE : byte
}

/** u16 index, from the node's start, of the ref of the child with this index. */
export function refPlace(type: number, index: number): number {
  if (index === TERMINAL) return TERMINAL_REF
  if (type === NODE4) return NODE4_REFS + index
  if (type === NODE16) return NODE16_REFS + index
  if (type === NODE48) return NODE48_REFS + index
  return NODE256_REFS + index
}

/** Children of one node, in the order of their bytes: bytes, refs, and where those refs stand (see {@link refPlace}). */
export interface ChildList {
  readonly bytes: Uint8Array
  readonly refs: Uint16Array
  readonly places: Int32Array
}

export function createChildList(): ChildList {
  return { bytes: new Uint8Array(256), refs: new Uint16Array(256), places: new Int32Array(256) }
}

/** Fills `list` and returns how many there are. Leaves and crossings have none. */
export function listChildren(views: FrameViews, base: number, ref: number, list: ChildList): number {
  const { u8, u16, u32 } = views
  const node = (base >>> 2) + ref * 2
  const word = u32[node] | 0
  const type = word & 7
  const { bytes, refs, places } = list
  if (type === LEAF || type === CROSSING) return 0
  if (type === NODE4 || type === NODE16) {
    const count = Math.min((word >>> 3) & 0x3ff, type === NODE4 ? 4 : 16)
    const first = type === NODE4 ? NODE4_REFS : NODE16_REFS
    for (let i = 0; i < count; i++) {
      bytes[i] = u8[node * 4 + 8 + i]
      refs[i] = u16[node * 2 + first + i]
      places[i] = first + i
    }
    return count
  }
  let count = 0
  for (let byte = 0; byte < 256; byte++) {
    let place = NODE256_REFS + byte
    if (type === NODE48) {
      const position = u8[node * 4 + 8 + byte]
      if (position === 0) continue
      place = NODE48_REFS + position - 1
    }
    const child = u16[node * 2 + place]
    if (child === 0) continue
    bytes[count] = byte
    refs[count] = child
    places[count++] = place
  }
  return count
}

/** How many refs after that at `place` repeat it: node4 and node16 fill their unused places with the last child. */
export function repetitions(type: number, childCount: number, place: number): number {
  if (type === NODE4 && place === NODE4_REFS + childCount - 1) return 4 - childCount
  if (type === NODE16 && place === NODE16_REFS + childCount - 1) return 16 - childCount
  return 0
}
