import { addToChain } from './entry-chain.js'
import type { FrameViews } from './frame-views.js'
import { writeKeyBytes } from './key-words.js'
import {
  bodyBytes,
  BUMP_UNITS,
  CROSSING,
  CROSSING_BYTES,
  descriptorAt,
  ENTRY_BYTES,
  ENTRY_LIVE_COUNT,
  ENTRY_MAX_KEY,
  ENTRY_ROOT,
  ENTRY_TABLE,
  ENTRY_VALUE_BYTES,
  FIRST_REF,
  LARGE_VALUE,
  LEAF,
  LEAF_HEADER_BYTES,
  leafUnits,
  NODE16,
  NODE256,
  NODE4,
  NODE48,
  nodeUnits,
  ORDERED_UNITS,
  unitsOfWord,
} from './layout.js'
import { nodeAt } from './node-edit.js'
import { NODE16_REFS, NODE256_REFS, NODE4_REFS, NODE48_REFS, TERMINAL_REF } from './node-search.js'

const INNER_HEADER_WORDS = 3
const FIRST_WORDS = 65_536
/** A path has no more inner nodes than a key has bytes, and one. */
const MAX_OPEN = 4_104

/** The type of an inner node with so many children. */
export function innerType(children: number): number {
  return children <= 4 ? NODE4 : children <= 16 ? NODE16 : children <= 48 ? NODE48 : NODE256
}

/**
 * A stack of subtrees that lie in no frame yet: one record for each node, children before parents, so that every subtree is a
 * run of records and no record names another. Leaves and crossings are blocks as in a frame; an inner node is
 *
 * ```
 *   word 0   as in a frame: type | childCount << 3 | prefixLength << 16
 *   word 1   1 if it has a terminal, which is then the first of its children's subtrees
 *   word 2   units of the whole subtree
 *   3        childCount bytes, padded to words; the prefix, padded to words; padded to 8 bytes
 * ```
 */
export class SubtreeArena {
  /** The records' memory, as that of a frame is seen. */
  views: FrameViews = viewsOf(new ArrayBuffer(FIRST_WORDS * 4))
  #longs = new BigUint64Array(this.views.u32.buffer)
  #words = 0
  #starts = new Uint32Array(1_024)
  /** Records on the stack. */
  count = 0
  // Inner nodes of the subtree being written that still want children: ref, record, children wanted, end of the room left.
  readonly #openRef = new Int32Array(MAX_OPEN)
  readonly #openRecord = new Int32Array(MAX_OPEN)
  readonly #openLeft = new Int32Array(MAX_OPEN)
  readonly #openEnd = new Int32Array(MAX_OPEN)

  get words(): number {
    return this.#words
  }

  clear(): void {
    this.#words = 0
    this.count = 0
  }

  /**
   * Pushes the leaf of the `restLength` bytes of the key from byte `depth` on, with `valueLength` bytes from word `valueAt` on.
   * Returns its units.
   */
  pushLeaf(
    keyWords: Uint32Array,
    depth: number,
    restLength: number,
    valueWords: Uint32Array,
    valueAt: number,
    valueLength: number,
    version: number,
    isLarge: boolean,
  ): number {
    const units = leafUnits(restLength, valueLength)
    const at = this.#push(units * 2)
    const { u32 } = this.views
    u32[at] = LEAF | (restLength << 3) | (valueLength << 16)
    u32[at + 1] = version
    u32[at + 2] = Math.floor(version / 2 ** 32) | (isLarge ? LARGE_VALUE : 0)
    const rest = at + (LEAF_HEADER_BYTES >>> 2)
    writeKeyBytes(u32, rest, keyWords, depth, restLength)
    const value = rest + ((restLength + 3) >>> 2)
    const end = at + units * 2
    const words = valueLength >>> 2
    let i = 0
    for (; i < words - 1; i += 2) {
      u32[value + i] = valueWords[valueAt + i]
      u32[value + i + 1] = valueWords[valueAt + i + 1]
    }
    if (i < words) u32[value + i] = valueWords[valueAt + i]
    // The last word may hold bytes behind the value.
    for (let behind = value + words; behind < end; behind++) u32[behind] = 0
    const left = (valueLength & 3) << 3
    if (left !== 0) u32[value + words] = valueWords[valueAt + words] & ((1 << left) - 1)
    return units
  }

  /** Pushes an inner node above what was pushed last; `bytes[from … + childCount)` are its children's. */
  pushInner(
    childCount: number,
    bytes: Int32Array,
    from: number,
    hasTerminal: boolean,
    keyWords: Uint32Array,
    depth: number,
    prefixLength: number,
    subtreeUnits: number,
  ): void {
    const byteWords = (childCount + 3) >>> 2
    const words = (INNER_HEADER_WORDS + byteWords + ((prefixLength + 3) >>> 2) + 1) & ~1
    const at = this.#push(words)
    const { u8, u32 } = this.views
    u32[at] = innerType(childCount) | (childCount << 3) | (prefixLength << 16)
    u32[at + 1] = hasTerminal ? 1 : 0
    u32[at + 2] = subtreeUnits
    const keys = (at + INNER_HEADER_WORDS) * 4
    for (let i = 0; i < childCount; i++) u8[keys + i] = bytes[from + i]
    writeKeyBytes(u32, at + INNER_HEADER_WORDS + byteWords, keyWords, depth, prefixLength)
  }

  #push(words: number): number {
    const at = this.#words
    const needed = at + words
    if (needed > this.views.u32.length) {
      let length = this.views.u32.length * 2
      while (length < needed) length *= 2
      const grown = viewsOf(new ArrayBuffer(length * 4))
      grown.u32.set(this.views.u32.subarray(0, at))
      this.views = grown
      this.#longs = new BigUint64Array(grown.u32.buffer)
    }
    if (this.count === this.#starts.length) {
      const grown = new Uint32Array(this.count * 2)
      grown.set(this.#starts)
      this.#starts = grown
    }
    this.#starts[this.count++] = at
    this.#words = needed
    return at
  }

  /** Word 0 of a record. */
  wordOf(record: number): number {
    return this.views.u32[this.#starts[record]]
  }

  /**
   * Writes the subtree with top `record` behind what a frame holds, depth first in key order, as its entry `entry`; without
   * the path of its top if `dropsPath`. `longestKeyBytes` counts from the entry on. `leave` is told of each blob that it leads to.
   */
  writeTo(
    record: number,
    views: FrameViews,
    base: number,
    entry: number,
    dropsPath: boolean,
    longestKeyBytes: number,
    leave: (blob: number) => void,
  ): void {
    const { u8: fromBytes, u32: from } = this.views
    const { u16, u32, f64 } = views
    // Blocks are copied 8 bytes at a time: the compiler makes no numbers of them.
    const fromLongs = this.#longs
    const toLongs = this.#longsOf(views)
    const starts = this.#starts
    const openRef = this.#openRef
    const openRecord = this.#openRecord
    const openLeft = this.#openLeft
    const openEnd = this.#openEnd
    const stats = base + ENTRY_TABLE + entry * ENTRY_BYTES
    let keys = 0
    let valueBytes = 0
    let open = -1
    // Of the innermost open node: children wanted, end of the room left for them, and how they are linked.
    let left = 0
    let end = 0
    let terminals = 0
    let type = 0
    let lastIndex = 0
    let places = 0
    let terminalAt = 0
    let refsAt = 0
    let bytesAt = 0
    // From the last record to the first: parents before children, so that refs are known when a child is met. The
    // children of a node come last to first and fill its room from the end.
    for (let r = record; ; r--) {
      const at = starts[r]
      let word = from[at]
      const ownType = word & 7
      const isInner = ownType >= NODE4 && ownType <= NODE256
      let units = isInner ? from[at + 2] : unitsOfWord(word)
      let ref: number
      if (open < 0) {
        if (dropsPath && isInner) {
          units += nodeUnits(ownType, 0) - unitsOfWord(word)
          word &= 0xffff
        }
        ref = u32[(base + BUMP_UNITS) >>> 2]
        u32[(base + BUMP_UNITS) >>> 2] = ref + units
        if (ref === FIRST_REF || u32[(base + ORDERED_UNITS) >>> 2] === ref)
          u32[(base + ORDERED_UNITS) >>> 2] = ref + units
        u16[(stats + ENTRY_ROOT) >>> 1] = ref
      } else {
        end -= units
        ref = end
        left--
        const index = left - terminals
        if (index < 0) u16[terminalAt] = ref
        else if (type === NODE256) u16[refsAt + fromBytes[bytesAt + index]] = ref
        else {
          u16[refsAt + index] = ref
          if (index === lastIndex) for (let i = index + 1; i < places; i++) u16[refsAt + i] = ref
        }
      }
      const node = nodeAt(base, ref)
      if (isInner) {
        this.#writeInner(views, node, at, word)
        if (open >= 0) {
          openLeft[open] = left
          openEnd[open] = end
        }
        open++
        openRef[open] = ref
        openRecord[open] = at
        left = ((word >>> 3) & 0x3ff) + from[at + 1]
        end = ref + units
      } else {
        for (let i = node >>> 1, j = at >>> 1, stop = j + units; j < stop; i++, j++) toLongs[i] = fromLongs[j]
        if (ownType === CROSSING) {
          addToChain(views, base, entry, ref)
          leave(u32[node + 1])
        } else {
          keys++
          if ((u32[node + 2] & LARGE_VALUE) === 0) {
            valueBytes += word >>> 16
          } else {
            const descriptor = descriptorAt(u32, node)
            const behind = descriptor + (word >>> 18)
            valueBytes += u32[descriptor]
            addToChain(views, base, entry, ref)
            for (let i = descriptor + 2; i < behind; i++) leave(u32[i])
          }
        }
        if (left > 0) continue
        do open--
        while (open >= 0 && openLeft[open] === 0)
        if (open < 0) break
        left = openLeft[open]
        end = openEnd[open]
      }
      const parent = nodeAt(base, openRef[open])
      const parentRecord = openRecord[open]
      const parentWord = u32[parent]
      type = parentWord & 7
      terminals = from[parentRecord + 1]
      lastIndex = ((parentWord >>> 3) & 0x3ff) - 1
      places = type === NODE4 ? 4 : type === NODE16 ? 16 : 0
      terminalAt = parent * 2 + TERMINAL_REF
      refsAt = parent * 2 + refsOf(type)
      bytesAt = (parentRecord + INNER_HEADER_WORDS) * 4
    }
    u16[(stats + ENTRY_LIVE_COUNT) >>> 1] = keys
    u16[(stats + ENTRY_MAX_KEY) >>> 1] = longestKeyBytes
    f64[(stats + ENTRY_VALUE_BYTES) >>> 3] = valueBytes
  }

  /** The memory of a frame by 8 bytes. */
  #longsOf({ u32 }: FrameViews): BigUint64Array {
    if (this.#frameWords !== u32) {
      this.#frameWords = u32
      this.#frameLongs = new BigUint64Array(u32.buffer, u32.byteOffset, u32.length >>> 1)
    }
    return this.#frameLongs
  }
  #frameWords: Uint32Array | undefined
  #frameLongs: BigUint64Array = new BigUint64Array(0)

  #writeInner(views: FrameViews, node: number, at: number, word: number): void {
    const { u8: fromBytes, u32: from } = this.views
    const { u8, u32 } = views
    const type = word & 7
    const count = (word >>> 3) & 0x3ff
    u32[node] = word
    u32[node + 1] = 0
    const bytes = (at + INNER_HEADER_WORDS) * 4
    const body = bodyBytes(type) >>> 2
    for (let i = 2; i < body; i++) u32[node + i] = 0
    const keys = node * 4 + 8
    if (type === NODE48) {
      for (let i = 0; i < count; i++) u8[keys + fromBytes[bytes + i]] = i + 1
    } else if (type !== NODE256) {
      const places = type === NODE4 ? 4 : 16
      for (let i = 0; i < places; i++) u8[keys + i] = fromBytes[bytes + Math.min(i, count - 1)]
    }
    const prefix = at + INNER_HEADER_WORDS + ((count + 3) >>> 2)
    const prefixWords = ((word >>> 16) + 3) >>> 2
    for (let i = 0; i < prefixWords; i++) u32[node + body + i] = from[prefix + i]
  }

  /**
   * Begins to write the stack anew from record `first` on; {@link keep} and {@link replaceByCrossing} then take the records
   * that were there one subtree after the other, {@link endRewrite} ends it.
   */
  beginRewrite(first: number): void {
    this.#readRecord = first
    this.#oldCount = this.count
    this.count = first
    this.#oldWords = this.#words
    this.#words = this.#starts[first]
  }
  #readRecord = 0
  #oldCount = 0
  #oldWords = 0

  /** The subtree up to record `last` stays. */
  keep(last: number): void {
    const starts = this.#starts
    const first = this.#readRecord
    const from = starts[first]
    const end = last + 1 < this.#oldCount ? starts[last + 1] : this.#oldWords
    const to = this.#words
    this.views.u32.copyWithin(to, from, end)
    this.#words = to + end - from
    for (let r = first; r <= last; r++) starts[this.count++] = starts[r] - from + to
    this.#readRecord = last + 1
  }

  /** A crossing takes the place of the subtree up to record `last`, with the path of its top if `takesPath`. Returns its units. */
  replaceByCrossing(last: number, child: number, childEntry: number, takesPath: boolean): number {
    const { u32 } = this.views
    const top = this.#starts[last]
    const word = u32[top]
    const prefixLength = takesPath && (word & 7) !== LEAF ? word >>> 16 : 0
    const to = this.#words
    const units = nodeUnits(CROSSING, prefixLength)
    // A crossing is never longer than what it stands for, so what has not been read yet is not written over.
    if (prefixLength > 0) {
      const prefix = top + INNER_HEADER_WORDS + ((((word >>> 3) & 0x3ff) + 3) >>> 2)
      u32.copyWithin(to + (CROSSING_BYTES >>> 2), prefix, prefix + ((prefixLength + 3) >>> 2))
    }
    u32[to] = CROSSING | (childEntry << 3) | (prefixLength << 16)
    u32[to + 1] = child
    u32[to + 2] = 0
    this.#starts[this.count++] = to
    this.#words = to + units * 2
    this.#readRecord = last + 1
    return units
  }

  endRewrite(): void {
    if (this.#readRecord < this.#oldCount) this.keep(this.#oldCount - 1)
  }
}

/** Where the refs of an inner node begin, in `u16` from its word 0 on. */
function refsOf(type: number): number {
  return type === NODE4
    ? NODE4_REFS
    : type === NODE16
      ? NODE16_REFS
      : type === NODE48
        ? NODE48_REFS
        : NODE256_REFS
}

function viewsOf(buffer: ArrayBuffer): FrameViews {
  return {
    u8: new Uint8Array(buffer),
    u16: new Uint16Array(buffer),
    u32: new Uint32Array(buffer),
    f64: new Float64Array(buffer),
  }
}
