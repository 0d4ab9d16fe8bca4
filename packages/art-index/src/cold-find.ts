import { type BlobId, FRAME_BYTES, type Slot } from '@holt/blob-buf-pool'
import { corruptNode } from './corruption.js'
import type { FrameSource } from './frame-source.js'
import { hashBytes, hashOfEntry, mayHold } from './key-filter.js'
import { sameBytes } from './key-words.js'
import {
  bodyBytes,
  CROSSING,
  CROSSING_BYTES,
  ENTRY_BYTES,
  ENTRY_TABLE,
  FILTER_ENTRY,
  FIRST_REF,
  FREE_LISTS,
  LEAF,
  LEAF_HEADER_BYTES,
  MAX_ENTRIES,
  MAX_INDEX_KEY_BYTES,
  NODE256,
  NODE4,
  NODE48,
  UNIT_BYTES,
  unitsOfWord,
} from './layout.js'
import { findIndex, NONE, refPlace, TERMINAL_REF } from './node-search.js'
import { existingBlob } from './readable-tree.js'

/** A source that can read parts of frames. */
export type PagedFrameSource = FrameSource & Required<Pick<FrameSource, 'readPages'>>

/** Where a lookup ended: the leaf's frame and ref, its segment's views, the `u32` index of its word 0. */
export class ColdLeaf {
  id = 0
  ref = 0
  node = 0
  u8: Uint8Array = new Uint8Array(0)
  u32: Uint32Array = new Uint32Array(0)
  /** The key is not there, and it was a frame's filter that said so. */
  isFiltered = false
}

/**
 * Goes on with a lookup in a frame that is not in memory: from entry `entry` of blob `id`, the first `depth` bytes of the
 * key being spelled by the frames above. Asks the source for the bytes of each node before it looks at them, so that
 * only the pages on the way are read, and fills `found` when the key is there;
 * frames that are in memory it sees whole. The filter of one that is not is asked first: it comes with the frame's first pages,
 * and mostly says that a key is not there. Slower a node than `find`, and never entered while everything is in memory.
 *
 * Throws `FrameAbsent` when the source may not block, and what `FrameSource.readPages` throws.
 */
export function findCold(
  source: PagedFrameSource,
  id: number,
  entry: number,
  keyBytes: Uint8Array,
  keyWords: Uint32Array,
  keyLength: number,
  depth: number,
  found: ColdLeaf,
): boolean {
  const { pageTable, slab } = source
  found.isFiltered = false
  for (let hops = 0; hops <= MAX_INDEX_KEY_BYTES; hops++) {
    const blob = existingBlob(id)
    if (entry >= MAX_ENTRIES) throw corruptNode(id, 0, `entry ${String(entry)}`)
    const entryByte = ENTRY_TABLE + entry * ENTRY_BYTES
    let slot = bytesOf(source, blob, entryByte, ENTRY_BYTES)
    const { u8, u16, u32 } = slab.segmentOf(slot)
    const base = slab.offsetOf(slot)
    if (!(pageTable[id] > 0)) {
      slot = sameSlot(slot, bytesOf(source, blob, FILTER_ENTRY, 2), id)
      const filterEntry = u16[(base + FILTER_ENTRY) >>> 1]
      if (filterEntry >= MAX_ENTRIES)
        throw corruptNode(id, 0, `a filter from entry ${String(filterEntry)} on`)
      if (filterEntry !== 0) {
        const filterByte = ENTRY_TABLE + filterEntry * ENTRY_BYTES
        slot = sameSlot(slot, bytesOf(source, blob, filterByte, FREE_LISTS - filterByte), id)
        if (!mayHold(u32, base, filterEntry, hashBytes(hashOfEntry(entry), keyBytes, depth, keyLength))) {
          found.isFiltered = true
          return false
        }
      }
    }
    let ref = u16[(base + entryByte) >>> 1]
    let node: number
    let word: number
    let isTerminal = false
    for (;;) {
      if (ref === 0) return false
      if (ref < FIRST_REF) throw corruptNode(id, ref, 'a ref into page 0')
      const at = ref * UNIT_BYTES
      slot = sameSlot(slot, bytesOf(source, blob, at, UNIT_BYTES), id)
      node = (base + at) >>> 2
      word = u32[node] | 0
      const type = word & 7
      if (type < LEAF || type > CROSSING) throw corruptNode(id, ref, `a node of type ${String(type)}`)
      const bytes = unitsOfWord(word) * UNIT_BYTES
      if (at + bytes > FRAME_BYTES)
        throw corruptNode(id, ref, `a node of ${String(bytes)} bytes leaves the frame`)
      slot = sameSlot(slot, bytesOf(source, blob, at, bytes), id)
      if (isTerminal && type !== LEAF) throw corruptNode(id, ref, 'a terminal that is no leaf')
      if (type === LEAF || type === CROSSING) break

      const length = word >>> 16
      if (length > keyLength - depth) return false
      if (!sameBytes(u32, node + bodyBytes(type) / 4, keyWords, depth, length)) return false
      depth += length
      if (depth === keyLength) {
        // The key ends at this node.
        ref = u16[node * 2 + TERMINAL_REF]
        isTerminal = true
        continue
      }
      const index = findIndex(u8, u16, u32, node, word, keyBytes[depth++])
      if (index === NONE) return false
      if (index > lastIndex(type)) throw corruptNode(id, ref, `position ${String(index)} in a node48`)
      ref = u16[node * 2 + refPlace(type, index)]
    }
    if ((word & 7) === LEAF) {
      const restLength = (word >>> 3) & 0x1fff
      if (restLength !== keyLength - depth) return false
      if (!sameBytes(u32, node + LEAF_HEADER_BYTES / 4, keyWords, depth, restLength)) return false
      found.id = id
      found.ref = ref
      found.node = node
      found.u8 = u8
      found.u32 = u32
      return true
    }
    const length = word >>> 16
    if (length > keyLength - depth) return false
    if (!sameBytes(u32, node + CROSSING_BYTES / 4, keyWords, depth, length)) return false
    depth += length
    id = u32[node + 1]
    entry = (word >>> 3) & 0x3ff
  }
  throw corruptNode(id, 0, 'more frames above it than a key has bytes')
}

function bytesOf(source: PagedFrameSource, id: BlobId, from: number, length: number): Slot {
  const slot = source.pageTable[id]
  return slot > 0 ? (slot as Slot) : source.readPages(id, from, from + length)
}

/** Views were taken of the slot before: within one frame the source must stay with it. */
function sameSlot(before: Slot, now: Slot, id: number): Slot {
  if (before !== now) throw corruptNode(id, 0, 'its pages came to lie in different slots')
  return now
}

/** Of a child in this type of node, as `findIndex` counts. */
function lastIndex(type: number): number {
  return type === NODE4 ? 3 : type === NODE256 ? 255 : type === NODE48 ? NODE48_CHILDREN - 1 : 15
}

const NODE48_CHILDREN = 48
