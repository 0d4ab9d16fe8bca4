import { ENVELOPE_BYTES, FRAME_BYTES, FRAME_UNIT_BYTES, PAGE_BYTES, USED_UNITS } from '@holt/blob-buf-pool'

/**
 * The bytes of an index frame. Little-endian throughout; every node starts on a multiple of 8.
 *
 * A *ref* is a u16 that counts 8-byte units from the start of the frame, so it cannot point outside it. 0 is none, and
 * a ref below {@link FIRST_REF} (page 0) is never a node.
 *
 * ```
 * frame header, from byte 640 (ENVELOPE_BYTES)
 *   640  bumpUnits      u32   first unit never used; nodes lie in [FIRST_REF, bumpUnits). The store reads it too: pages
 *                             wholly behind it are not stored
 *   644  freeUnits      u32   units on the free lists
 *   648  deadUnits      u32   units lost until the next compaction (blocks too large for a free list)
 *   652  entryCount     u16   entries in use
 *   654  entryHighWater u16   one more than the highest entry number ever used since compaction
 *   656  compactions    u16   how often, modulo 2^16
 *   658  filterEntry    u16   the entry table's places from this number on hold the filter; 0: there is none
 *   660  orderedUnits   u32   nodes before this unit were laid out depth first; those behind have come since. 0: none was
 *   664  birth          f64   epoch of the tree when the frame was made, see live-views.ts; 0 in a frame of a value
 *   672  entry table    206 × 16 B, the filter in the places of numbers that are not in use
 *  3968  free lists     64 × u16: head of the list of free blocks of (index + 1) units; 0 is empty.
 *                       A free block's first u16 is the next block's ref.
 *  4096  nodes
 *
 * entry (16 B): a subtree whose parent node lies in the parent frame
 *   0  rootRef       u16   root node; 0: this entry number is unused (or, in the root frame, the tree is empty)
 *   2  crossingHead  u16   first of the crossings and large leaves below this entry, chained through themselves
 *   4  liveCount     u16   keys (leaves) below this entry that lie in this frame
 *   6  maxKeyBytes   u16   no key below this entry, frames below included, has more bytes from here on. Only ever raised
 *   8  valueBytes    f64   sum of the value lengths of those leaves, large ones at their full length
 * ```
 *
 * Nodes. Word 0 of each: bits 0-2 the type, the rest as drawn.
 *
 * ```
 * leaf      w0: type | restLength << 3 (13 bits) | valueLength << 16
 *           w1: version bits 0-31   w2: version bits 32-52 (21 bits) | flags << 21
 *           12: rest of the key, padded with zeros to a multiple of 4; then the value. With flag 1 (LARGE_VALUE) the
 *           leaf is large: instead of the value stands its descriptor, and valueLength is that one's length
 * inner     w0: type | childCount << 3 (10 bits) | prefixLength << 16
 *           w1: terminal ref u16 (the leaf of the key that ends here, restLength 0) | reserved u16
 *   node4     8: 4 keys     12: 4 refs u16                          20: prefix
 *   node16    8: 16 keys    24: 16 refs u16                         56: prefix
 *   node48    8: 256 × u8 (1-based position, 0 none)  264: 48 refs u16   360: prefix
 *   node256   8: 256 refs u16                                      520: prefix
 * crossing  w0: type | entry number << 3 (10 bits) | prefixLength << 16
 *           w1: child blob id
 *           w2: next in the entry's chain u16 | previous u16 (0: the head)
 *           12: prefix
 * ```
 *
 * The filter is a Bloom filter over the keys of a frame without crossings, for lookups that read it page by page. Bit i is
 * bit i % 8 of byte i / 8. Each key of the frame has three bits set, by a hash h of its bytes from its entry on; others may be
 * set as well. All arithmetic is modulo 2^32, and m = (206 - filterEntry) × 128 the number of bits.
 *
 * ```
 * h = (0x811c9dc5 xor entry number) × 0x01000193; for each byte: h = (h xor byte) × 0x01000193     (FNV-1a)
 * h = (h xor h >> 16) × 0x85ebca6b; h = (h xor h >> 13) × 0xc2b2ae35; h = h xor h >> 16            (fmix32 of MurmurHash3)
 * bits: (h >> 16) × m >> 16;  (h & 0xffff) × m >> 16;  ((h xor h >> 15) × 0x2c1b3c6d >> 16) × m >> 16
 * ```
 *
 * A value larger than an eighth of a frame's nodes lies in 1 to 33 frames of its own, which hold nothing else and never
 * change once written.
 *
 * ```
 * descriptor  0: length of the value u32, bytes
 *             4: next in the entry's chain u16 | previous u16 (0: the head)
 *             8: blob id u32 of each of its frames, in order
 *
 * value frame, from byte 640
 *   640  bumpUnits  u32   first unit behind the bytes
 *   644  dataBytes  u32   bytes of the value that lie here
 *   648  part       u32   which frame of the value this is, counted from 0
 *   652  0          u32   where a frame of nodes counts its entries, which are never none
 *  4096  the bytes
 * ```
 *
 * All frames of a value but its last hold the same number of bytes: the value's length, divided by their number and
 * rounded up to whole pages. So length and number say where each byte is. Whoever frees a large leaf frees its frames;
 * the chain leads to those below an entry without a walk of its nodes.
 *
 * Node4 and node16 keep their keys ascending; unused keys and refs repeat the last one in use. Node48 fills positions
 * 0 … childCount - 1 without gaps (removing moves the last one down). In every inner node childCount does not count the
 * terminal. A child under byte `b` holds keys that continue with `b`; neither a leaf's rest nor a node's prefix repeats
 * that byte.
 *
 * An inner node has at least one of (children + terminal). As a rule it has two: one that is left with a single leaf or
 * inner node below merges with it. It stays as it is when its only child is a crossing (whether that may take a longer
 * prefix is known in another frame only), and when the frame has no room for the merged node.
 *
 * An entry's root is never a crossing. A crossing with a prefix names a frame that has one entry only: so a key that
 * parts from the prefix changes this frame alone. A frame with several entries is the child of one node, through
 * crossings without prefix. An entry's root may have a prefix of its own in either case. Entries come into being
 * together with their frame, numbered from 0; none is added to a frame later.
 */

export const BUMP_UNITS = USED_UNITS
export const FREE_UNITS = ENVELOPE_BYTES + 4
export const DEAD_UNITS = ENVELOPE_BYTES + 8
export const ENTRY_COUNT = ENVELOPE_BYTES + 12
export const ENTRY_HIGH_WATER = ENVELOPE_BYTES + 14
export const COMPACTIONS = ENVELOPE_BYTES + 16
export const FILTER_ENTRY = ENVELOPE_BYTES + 18
export const ORDERED_UNITS = ENVELOPE_BYTES + 20
export const BIRTH = ENVELOPE_BYTES + 24
export const ENTRY_TABLE = ENVELOPE_BYTES + 32
export const ENTRY_BYTES = 16
export const MAX_ENTRIES = 206
export const FREE_LISTS = 3_968
export const FREE_LIST_COUNT = 64

export const ENTRY_ROOT = 0
export const ENTRY_CROSSING_HEAD = 2
export const ENTRY_LIVE_COUNT = 4
export const ENTRY_MAX_KEY = 6
export const ENTRY_VALUE_BYTES = 8

export const UNIT_BYTES = FRAME_UNIT_BYTES
export const FIRST_REF = PAGE_BYTES / UNIT_BYTES
export const MAX_USABLE_BYTES = FRAME_BYTES
/**
 * Smallest usable frame that tests may ask for: a node256 whose children are all crossings (520 + 256 x 16 bytes) cannot
 * be divided, and beside it must lie the largest leaf and a new node above both.
 */
export const MIN_USABLE_BYTES = PAGE_BYTES + 8_192

export const LEAF = 1
export const NODE4 = 2
export const NODE16 = 3
export const NODE48 = 4
export const NODE256 = 5
export const CROSSING = 6

/** Bit of a leaf's w2: its value lies in frames of its own. */
export const LARGE_VALUE = 1 << 21
export const DESCRIPTOR_BYTES = 8
export const MAX_VALUE_FRAMES = 33
export const VALUE_DATA_BYTES = ENVELOPE_BYTES + 4
export const VALUE_PART = ENVELOPE_BYTES + 8

export const LEAF_HEADER_BYTES = 12
export const NODE4_BYTES = 20
export const NODE16_BYTES = 56
export const NODE48_BYTES = 360
export const NODE256_BYTES = 520
export const CROSSING_BYTES = 12

/** Growth at the child that no longer fits; shrinking with hysteresis, at this many children left. */
export const SHRINK_NODE16_AT = 3
export const SHRINK_NODE48_AT = 12
export const SHRINK_NODE256_AT = 37

export const MAX_KEY_BYTES = 4_096
/** Including the four bytes of the tree's id that the facade puts in front. */
export const MAX_INDEX_KEY_BYTES = MAX_KEY_BYTES + 4
export const MAX_VALUE_BYTES = 16 * 2 ** 20
/** An inline value must leave room beside it in its frame: at most an eighth of the frame, and 16 bits of length. */
export const MAX_INLINE_VALUE_BYTES = 65_535

export function leafUnits(restLength: number, valueLength: number): number {
  return (((LEAF_HEADER_BYTES + restLength + 3) & ~3) + valueLength + 7) >>> 3
}

/** Index in `u32` of a large leaf's descriptor; `node` that of its word 0. */
export function descriptorAt(u32: Uint32Array, node: number): number {
  return node + (LEAF_HEADER_BYTES >>> 2) + ((((u32[node] >>> 3) & 0x1fff) + 3) >>> 2)
}

/** Of an inner node without prefix, by type. */
export function bodyBytes(type: number): number {
  return type === NODE4
    ? NODE4_BYTES
    : type === NODE16
      ? NODE16_BYTES
      : type === NODE48
        ? NODE48_BYTES
        : NODE256_BYTES
}

/** Of an inner node or a crossing. */
export function nodeUnits(type: number, prefixLength: number): number {
  return ((type === CROSSING ? CROSSING_BYTES : bodyBytes(type)) + prefixLength + 7) >>> 3
}

/** Of the block whose word 0 is `word`, whatever its type. */
export function unitsOfWord(word: number): number {
  const type = word & 7
  return type === LEAF ? leafUnits((word >>> 3) & 0x1fff, word >>> 16) : nodeUnits(type, word >>> 16)
}
