import { corruptNode } from './corruption.js'
import { chainLinks } from './entry-chain.js'
import type { FrameViews } from './frame-views.js'
import {
  bodyBytes,
  CROSSING,
  ENTRY_BYTES,
  ENTRY_CROSSING_HEAD,
  ENTRY_HIGH_WATER,
  ENTRY_LIVE_COUNT,
  ENTRY_TABLE,
  FILTER_ENTRY,
  LEAF,
  LEAF_HEADER_BYTES,
  MAX_ENTRIES,
} from './layout.js'
import { entryRoot, nodeAt } from './node-edit.js'
import { createChildList, listChildren, TERMINAL_REF } from './node-search.js'

/*
 * A frame's filter answers, for most keys that the frame does not hold, that it does not: a lookup that has read the first
 * pages of a frame then ends there, and reads no node (see cold-find.ts). It is a Bloom filter (B. H. Bloom, 1970) over the
 * keys of a frame in which every key ends, so one without crossings:
 *
 *   - It holds each key of the frame by its entry's number and its bytes *from the entry on*. So whatever changes above,
 *     a renamed prefix, a frame hung in elsewhere, concerns no filter.
 *   - A put adds its key. A delete leaves it in: such a key costs a needless look, no wrong answer.
 *   - Whatever else brings keys or crossings into a frame, or changes the path below an entry, drops the filter. The next
 *     time the frame is laid out it gets one anew.
 *
 * It lies where the entry table has places for entries that the frame does not have. No frame gets entries later, and most
 * have few: 5 bits for each of five thousand keys, which take no byte more on the disk.
 *
 * A key is hashed byte by byte (FNV-1a, 32 bits), so that a walk hashes what keys share once; three numbers below the count
 * of bits are made of the hash.
 */

/** With fewer bits for a key, half of the absent ones would pass. */
const FEWEST_BITS_PER_KEY = 2
/** A frame with fewer keys needs none: its nodes lie in the pages that are read with its header. */
export const FEWEST_FILTERED_KEYS = 32

const FNV_PRIME = 0x0100_0193
const FNV_OFFSET = 0x811c_9dc5

/** The hash of no bytes below an entry. */
export function hashOfEntry(entry: number): number {
  return Math.imul(FNV_OFFSET ^ entry, FNV_PRIME)
}

/** Goes on from `hash` with bytes `from … to - 1`. */
export function hashBytes(hash: number, bytes: Uint8Array, from: number, to: number): number {
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ bytes[i], FNV_PRIME)
  return hash
}

export function hashByte(hash: number, byte: number): number {
  return Math.imul(hash ^ byte, FNV_PRIME)
}

/** Adds the key with this hash to a frame's filter, whose place begins at that of entry `filterEntry`. */
export function addToFilter(views: FrameViews, base: number, filterEntry: number, hash: number): void {
  const { u32 } = views
  const words = filterWord(base, filterEntry)
  const bits = filterBits(filterEntry)
  const mixed = mix(hash)
  const first = scale(mixed >>> 16, bits)
  const second = scale(mixed & 0xffff, bits)
  const third = scale(remix(mixed), bits)
  u32[words + (first >>> 5)] |= 1 << (first & 31)
  u32[words + (second >>> 5)] |= 1 << (second & 31)
  u32[words + (third >>> 5)] |= 1 << (third & 31)
}

/** False: no key with this hash is in the frame. */
export function mayHold(u32: Uint32Array, base: number, filterEntry: number, hash: number): boolean {
  const words = filterWord(base, filterEntry)
  const bits = filterBits(filterEntry)
  const mixed = mix(hash)
  const first = scale(mixed >>> 16, bits)
  if (((u32[words + (first >>> 5)] >>> (first & 31)) & 1) === 0) return false
  const second = scale(mixed & 0xffff, bits)
  if (((u32[words + (second >>> 5)] >>> (second & 31)) & 1) === 0) return false
  const third = scale(remix(mixed), bits)
  return ((u32[words + (third >>> 5)] >>> (third & 31)) & 1) === 1
}

function filterWord(base: number, filterEntry: number): number {
  return (base + ENTRY_TABLE + filterEntry * ENTRY_BYTES) >>> 2
}

function filterBits(filterEntry: number): number {
  return (MAX_ENTRIES - filterEntry) * ENTRY_BYTES * 8
}

/** All 32 bits of a hash depend on each of its bytes then; the last ones of FNV-1a reach its low bits only. */
function mix(hash: number): number {
  hash ^= hash >>> 16
  hash = Math.imul(hash, 0x85eb_ca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2_ae35)
  return hash ^ (hash >>> 16)
}

function remix(mixed: number): number {
  return Math.imul(mixed ^ (mixed >>> 15), 0x2c1b_3c6d) >>> 16
}

/** A number of 16 bits as one below `bits`, which has 16 bits too. */
function scale(number: number, bits: number): number {
  return Math.imul(number, bits) >>> 16
}

/** Whether a resident frame should have a filter: it has no crossings, not few keys, and places in its table. */
export function wantsFilter(views: FrameViews, base: number): boolean {
  const { u16, u32 } = views
  const highWater = u16[(base + ENTRY_HIGH_WATER) >>> 1]
  let keys = 0
  for (let entry = 0; entry < highWater; entry++) {
    const at = base + ENTRY_TABLE + entry * ENTRY_BYTES
    for (let ref = u16[(at + ENTRY_CROSSING_HEAD) >>> 1]; ref !== 0;) {
      const node = nodeAt(base, ref)
      if ((u32[node] & 7) === CROSSING) return false
      ref = u16[chainLinks(u32, node)]
    }
    keys += u16[(at + ENTRY_LIVE_COUNT) >>> 1]
  }
  return keys >= FEWEST_FILTERED_KEYS && filterBits(highWater) >= FEWEST_BITS_PER_KEY * keys
}

/** The entry number whose place in the table is the first of the filter; 0: the frame has none. */
export function filterEntryOf(views: FrameViews, base: number): number {
  return views.u16[(base + FILTER_ENTRY) >>> 1]
}

/** For a change that a frame's filter does not follow, before or after it, so long as no lookup is between. */
export function dropFilter(views: FrameViews, base: number): void {
  const at = (base + FILTER_ENTRY) >>> 1
  const filterEntry = views.u16[at]
  if (filterEntry === 0) return
  views.u16[at] = 0
  views.u32.fill(0, filterWord(base, filterEntry), filterWord(base, MAX_ENTRIES))
}

const MAX_PENDING = 65_536
const pendingRefs = new Uint16Array(MAX_PENDING)
const pendingHashes = new Int32Array(MAX_PENDING)
const list = createChildList()

/** Gives a resident frame a filter of its keys, which it should have ({@link wantsFilter}). */
export function writeFilter(views: FrameViews, base: number, id: number): void {
  const { u8, u16, u32 } = views
  const highWater = u16[(base + ENTRY_HIGH_WATER) >>> 1]
  u16[(base + FILTER_ENTRY) >>> 1] = highWater
  u32.fill(0, filterWord(base, highWater), filterWord(base, MAX_ENTRIES))
  const { bytes, refs } = list
  for (let entry = 0; entry < highWater; entry++) {
    pendingRefs[0] = entryRoot(views, base, entry)
    pendingHashes[0] = hashOfEntry(entry)
    let top = pendingRefs[0] === 0 ? 0 : 1
    while (top > 0) {
      const ref = pendingRefs[--top]
      let hash = pendingHashes[top]
      const node = nodeAt(base, ref)
      const word = u32[node]
      const type = word & 7
      if (type === LEAF) {
        addToFilter(views, base, highWater, hashLeaf(u8, node, word, hash))
        continue
      }
      const path = node * 4 + bodyBytes(type)
      hash = hashBytes(hash, u8, path, path + (word >>> 16))
      const count = listChildren(views, base, ref, list)
      if (top + count > MAX_PENDING) throw corruptNode(id, ref, 'nodes that form a loop')
      // A terminal has no rest.
      if (u16[node * 2 + TERMINAL_REF] !== 0) addToFilter(views, base, highWater, hash)
      for (let i = 0; i < count; i++) {
        const child = refs[i]
        const childHash = hashByte(hash, bytes[i])
        const childNode = nodeAt(base, child)
        const childWord = u32[childNode]
        if ((childWord & 7) === LEAF) {
          addToFilter(views, base, highWater, hashLeaf(u8, childNode, childWord, childHash))
        } else {
          pendingRefs[top] = child
          pendingHashes[top++] = childHash
        }
      }
    }
  }
}

function hashLeaf(u8: Uint8Array, node: number, word: number, hash: number): number {
  const rest = node * 4 + LEAF_HEADER_BYTES
  return hashBytes(hash, u8, rest, rest + ((word >>> 3) & 0x1fff))
}
