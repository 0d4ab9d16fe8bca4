import { type BlobId, PAGE_BYTES } from '@holt/blob-buf-pool'
import { chainLinks } from './entry-chain.js'
import { hashByte, hashBytes, hashOfEntry, mayHold } from './key-filter.js'
import {
  BIRTH,
  bodyBytes,
  BUMP_UNITS,
  CROSSING,
  DEAD_UNITS,
  DESCRIPTOR_BYTES,
  descriptorAt,
  ENTRY_COUNT,
  ENTRY_CROSSING_HEAD,
  ENTRY_HIGH_WATER,
  ENTRY_LIVE_COUNT,
  ENTRY_MAX_KEY,
  ENTRY_ROOT,
  ENTRY_VALUE_BYTES,
  FILTER_ENTRY,
  FIRST_REF,
  FREE_LIST_COUNT,
  FREE_LISTS,
  FREE_UNITS,
  LARGE_VALUE,
  LEAF,
  LEAF_HEADER_BYTES,
  leafUnits,
  MAX_ENTRIES,
  MAX_INDEX_KEY_BYTES,
  MAX_VALUE_FRAMES,
  NODE16,
  NODE4,
  NODE48,
  nodeUnits,
  ORDERED_UNITS,
  SHRINK_NODE16_AT,
  SHRINK_NODE256_AT,
  SHRINK_NODE48_AT,
  UNIT_BYTES,
} from './layout.js'
import { CROSSING_PREFIX_SHARE, maxValueBytes, valueFrameCount } from './limits.js'
import type { FrameReader } from './readable-tree.js'

export interface FoundCrossing {
  readonly ref: number
  readonly child: BlobId
  readonly childEntry: number
  /** The inner node it is a child of; 0: it is an entry's root. */
  readonly parentNode: number
  /** Bytes of the path from the root of the tree to behind its prefix. */
  readonly depth: number
  readonly hasPrefix: boolean
}

export interface FoundLargeValue {
  /** The leaf. */
  readonly ref: number
  readonly lengthBytes: number
  readonly frames: readonly BlobId[]
}

export interface EntryFacts {
  /** Bytes of the path to it. */
  readonly depth: number
  readonly maxKeyBytes: number
  /** Keys, value bytes and longest key (from the entry on) in this frame. */
  keys: number
  valueBytes: number
  longestKeyBytes: number
  readonly crossings: FoundCrossing[]
  readonly largeValues: FoundLargeValue[]
}

export interface FrameFacts {
  readonly entries: (EntryFacts | undefined)[]
  nodes: number
}

export type ReportProblem = (blob: BlobId, ref: number, what: string) => void

/** Checks frames by themselves, one after the other; what concerns several frames is the caller's. */
export class FrameVerifier {
  readonly #reader: FrameReader
  readonly #usableBytes: number
  readonly #epoch: number
  readonly #report: ReportProblem
  /** Per unit: whether a node or a free block has it. */
  readonly #taken: Uint8Array
  /** Per unit: the entry, counted from 1, of the crossing or large leaf there that has not been met in its chain. */
  readonly #chainOf: Uint8Array
  #blob = 0 as BlobId
  #bumpUnits = 0
  /** Bytes that the frame's crossings take beyond what each takes without a path. */
  #crossingPrefixBytes = 0
  #filterEntry = 0
  // Nodes yet to visit: ref, bytes of the path to it, hash of those of them behind the entry, parent node.
  readonly #pending: number[] = []

  /** @param epoch - no frame was born later */
  constructor(reader: FrameReader, usableBytes: number, epoch: number, report: ReportProblem) {
    this.#reader = reader
    this.#usableBytes = usableBytes
    this.#epoch = epoch
    this.#report = report
    this.#taken = new Uint8Array(reader.frameBytes / UNIT_BYTES)
    this.#chainOf = new Uint8Array(reader.frameBytes / UNIT_BYTES)
  }

  /** The frame in the reader's view. `depths` says which entries have a crossing, and how long the path to each is. */
  verify(blob: BlobId, isRoot: boolean, depths: readonly (number | undefined)[]): FrameFacts {
    const { base, u16, u32, f64 } = this.#reader
    this.#blob = blob
    this.#taken.fill(0)
    this.#crossingPrefixBytes = 0
    this.#chainOf.fill(0)
    const facts: FrameFacts = { entries: [], nodes: 0 }
    this.#bumpUnits = u32[(base + BUMP_UNITS) >>> 2]
    if (this.#bumpUnits < FIRST_REF || this.#bumpUnits > this.#usableBytes / UNIT_BYTES) {
      this.#problem(0, `nodes are said to end at unit ${String(this.#bumpUnits)}, outside the usable frame`)
      this.#bumpUnits = Math.min(Math.max(this.#bumpUnits, FIRST_REF), this.#usableBytes / UNIT_BYTES)
    }

    const orderedUnits = u32[(base + ORDERED_UNITS) >>> 2]
    if (orderedUnits > this.#bumpUnits)
      this.#problem(
        0,
        `nodes are said to be in order up to unit ${String(orderedUnits)}, behind their end at ${String(this.#bumpUnits)}`,
      )

    const birth = f64[(base + BIRTH) >>> 3]
    if (!(birth >= 1 && birth <= this.#epoch && Number.isSafeInteger(birth)))
      this.#problem(
        0,
        `the frame says it was made in epoch ${String(birth)}; up to ${String(this.#epoch)} is possible`,
      )

    this.#filterEntry = u16[(base + FILTER_ENTRY) >>> 1]
    if (this.#filterEntry >= MAX_ENTRIES) {
      this.#problem(0, `a filter from entry ${String(this.#filterEntry)} on`)
      this.#filterEntry = 0
    }

    let liveUnits = 0
    let used = 0
    let highest = -1
    const places = this.#filterEntry === 0 ? MAX_ENTRIES : this.#filterEntry
    for (let number = 0; number < MAX_ENTRIES; number++) {
      const root = number >= places ? 0 : u16[(this.#reader.entryOffset(number) + ENTRY_ROOT) >>> 1]
      const depth = depths[number]
      if (root === 0 && !(isRoot && number === 0)) {
        if (depth !== undefined)
          this.#problem(0, `entry ${String(number)} is unused, but a crossing leads to it`)
        continue
      }
      used++
      highest = number
      if (depth === undefined)
        this.#problem(0, `entry ${String(number)} is in use, but no crossing leads to it`)
      liveUnits += this.#verifyEntry(facts, number, root, depth ?? 0)
    }
    const most = (this.#usableBytes - PAGE_BYTES) / CROSSING_PREFIX_SHARE
    if (this.#crossingPrefixBytes > most)
      this.#problem(
        0,
        `the paths of its crossings have ${String(this.#crossingPrefixBytes)} bytes, at most ${String(most)} leave room`,
      )
    const entryCount = u16[(base + ENTRY_COUNT) >>> 1]
    const highWater = u16[(base + ENTRY_HIGH_WATER) >>> 1]
    if (entryCount !== used)
      this.#problem(0, `${String(entryCount)} entries are said to be in use, ${String(used)} are`)
    if (highWater <= highest || highWater > MAX_ENTRIES)
      this.#problem(
        0,
        `the entries' high-water mark is ${String(highWater)}, the highest in use ${String(highest)}`,
      )

    if (this.#filterEntry !== 0 && this.#filterEntry < highWater)
      this.#problem(
        0,
        `the filter begins at entry ${String(this.#filterEntry)}, below the high-water mark ${String(highWater)}`,
      )

    const freeUnits = u32[(base + FREE_UNITS) >>> 2]
    const deadUnits = u32[(base + DEAD_UNITS) >>> 2]
    const listedUnits = this.#verifyFreeLists()
    if (listedUnits !== freeUnits)
      this.#problem(
        0,
        `${String(freeUnits)} units are said to be free, the lists hold ${String(listedUnits)}`,
      )
    if (FIRST_REF + liveUnits + freeUnits + deadUnits !== this.#bumpUnits) {
      const sum = `${String(liveUnits)} live + ${String(freeUnits)} free + ${String(deadUnits)} dead`
      this.#problem(0, `${sum} units do not make up the ${String(this.#bumpUnits - FIRST_REF)} in use`)
    }
    return facts
  }

  #problem(ref: number, what: string): void {
    this.#report(this.#blob, ref, what)
  }

  /** Takes units for a node or block; false, and a problem, where they are outside or taken. */
  #claim(ref: number, units: number, what: string): boolean {
    if (ref < FIRST_REF || ref + units > this.#bumpUnits) {
      this.#problem(ref, `${what} of ${String(units)} units lies outside the nodes' area`)
      return false
    }
    for (let unit = ref; unit < ref + units; unit++) {
      if (this.#taken[unit] !== 0) {
        this.#problem(ref, `${what} of ${String(units)} units overlaps another at ref ${String(unit)}`)
        return false
      }
    }
    this.#taken.fill(1, ref, ref + units)
    return true
  }

  /** Returns the units of its nodes. */
  #verifyEntry(facts: FrameFacts, number: number, root: number, depth: number): number {
    const { u16, f64 } = this.#reader
    const offset = this.#reader.entryOffset(number)
    const entry: EntryFacts = {
      depth,
      maxKeyBytes: u16[(offset + ENTRY_MAX_KEY) >>> 1],
      keys: 0,
      valueBytes: 0,
      longestKeyBytes: 0,
      crossings: [],
      largeValues: [],
    }
    facts.entries[number] = entry
    let units = 0
    if (root !== 0) this.#pending.push(root, depth, hashOfEntry(number), 0)
    while (this.#pending.length > 0) {
      const parent = this.#pending.pop() ?? 0
      const hash = this.#pending.pop() ?? 0
      const pathBytes = this.#pending.pop() ?? 0
      const ref = this.#pending.pop() ?? 0
      const claimed = this.#verifyNode(entry, number, ref, pathBytes, hash, parent)
      units += claimed
      if (claimed > 0) facts.nodes++
    }
    const liveCount = u16[(offset + ENTRY_LIVE_COUNT) >>> 1]
    const valueBytes = f64[(offset + ENTRY_VALUE_BYTES) >>> 3]
    const name = `entry ${String(number)}`
    if (liveCount !== entry.keys)
      this.#problem(0, `${name} counts ${String(liveCount)} keys, there are ${String(entry.keys)}`)
    if (valueBytes !== entry.valueBytes)
      this.#problem(
        0,
        `${name} sums ${String(valueBytes)} value bytes, there are ${String(entry.valueBytes)}`,
      )
    this.#verifyChain(entry, number, u16[(offset + ENTRY_CROSSING_HEAD) >>> 1])
    return units
  }

  #verifyChain(entry: EntryFacts, number: number, head: number): void {
    const { base, u16, u32 } = this.#reader
    let previous = 0
    let met = 0
    for (let ref = head; ref !== 0;) {
      if (this.#chainOf[ref] !== number + 1) {
        this.#problem(
          ref,
          `in the chain of entry ${String(number)}, but not a crossing or large leaf of it met once`,
        )
        return
      }
      this.#chainOf[ref] = 0
      met++
      const links = chainLinks(u32, (base + ref * UNIT_BYTES) >>> 2)
      if (u16[links + 1] !== previous)
        this.#problem(
          ref,
          `the chain's previous is ${String(u16[links + 1])}, ${String(previous)} was expected`,
        )
      previous = ref
      ref = u16[links]
    }
    if (met !== entry.crossings.length + entry.largeValues.length) {
      const there = `${String(entry.crossings.length)} and ${String(entry.largeValues.length)}`
      this.#problem(
        head,
        `the chain of entry ${String(number)} has ${String(met)} crossings and large leaves, there are ${there}`,
      )
    }
  }

  /** Returns the node's units, 0 where it is none; its children go to the pending ones. */
  #verifyNode(
    entry: EntryFacts,
    number: number,
    ref: number,
    depth: number,
    hash: number,
    parent: number,
  ): number {
    const { base, u8, u16, u32 } = this.#reader
    if (ref < FIRST_REF || ref >= this.#bumpUnits) {
      this.#problem(ref, `a node was expected here, a child of ref ${String(parent)}`)
      return 0
    }
    const node = base + ref * UNIT_BYTES
    const word = u32[node >>> 2]
    const type = word & 7
    if (type === LEAF) {
      const rest = (word >>> 3) & 8_191
      const valueLength = word >>> 16
      const units = leafUnits(rest, valueLength)
      if (!this.#claim(ref, units, 'a leaf')) return 0
      for (let i = rest; (i & 3) !== 0; i++) {
        if (u8[node + LEAF_HEADER_BYTES + i] !== 0)
          this.#problem(ref, 'the rest of a key is not padded with zeros')
      }
      const flags = (u32[(node >>> 2) + 2] >>> 21) << 21
      if ((flags & ~LARGE_VALUE) !== 0) this.#problem(ref, 'a leaf has flags that are not known')
      this.#checkPath(ref, depth + rest)
      const from = node + LEAF_HEADER_BYTES
      if (
        this.#filterEntry !== 0 &&
        !mayHold(u32, base, this.#filterEntry, hashBytes(hash, u8, from, from + rest))
      )
        this.#problem(ref, 'a leaf whose key is not in the filter of its frame')
      entry.keys++
      entry.valueBytes += flags & LARGE_VALUE ? this.#verifyLarge(entry, number, ref, node) : valueLength
      entry.longestKeyBytes = Math.max(entry.longestKeyBytes, depth + rest - entry.depth)
      return units
    }
    if (type < NODE4 || type > CROSSING) {
      this.#problem(ref, `a node of type ${String(type)}`)
      return 0
    }
    const prefixLength = word >>> 16
    const units = nodeUnits(type, prefixLength)
    if (!this.#claim(ref, units, 'a node')) return 0
    this.#checkPath(ref, depth + prefixLength)
    if (type === CROSSING) {
      if (this.#filterEntry !== 0) this.#problem(ref, 'a crossing in a frame that has a filter')
      if (parent === 0) this.#problem(ref, `the root of entry ${String(number)} is a crossing`)
      this.#chainOf[ref] = number + 1
      this.#crossingPrefixBytes += (units - nodeUnits(CROSSING, 0)) * UNIT_BYTES
      entry.crossings.push({
        ref,
        child: u32[(node >>> 2) + 1] as BlobId,
        childEntry: (word >>> 3) & 1_023,
        parentNode: parent,
        depth: depth + prefixLength,
        hasPrefix: prefixLength > 0,
      })
      if (word & 0xe000) this.#problem(ref, 'unknown bits in the first word')
      return units
    }
    const prefix = node + bodyBytes(type)
    const pathHash = hashBytes(hash, u8, prefix, prefix + prefixLength)
    const terminal = u16[(node >>> 1) + 2]
    if (u16[(node >>> 1) + 3] !== 0 || (word & 0xe000) !== 0)
      this.#problem(ref, 'unknown bits in the first words')
    if (terminal !== 0) {
      if (terminal < this.#bumpUnits && (u32[(base + terminal * UNIT_BYTES) >>> 2] & 0xffff) !== LEAF)
        this.#problem(ref, `its terminal at ref ${String(terminal)} is not a leaf without rest`)
      this.#pending.push(terminal, depth + prefixLength, pathHash, ref)
    }
    const children = this.#verifyChildren(ref, node, word, depth + prefixLength + 1, pathHash)
    if (children === 0 && terminal === 0) this.#problem(ref, 'a node without children and terminal')
    return units
  }

  /** Returns the length of the large leaf's value. */
  #verifyLarge(entry: EntryFacts, number: number, ref: number, node: number): number {
    const { u32 } = this.#reader
    const storedBytes = u32[node >>> 2] >>> 16
    const count = (storedBytes - DESCRIPTOR_BYTES) / 4
    if (!(Number.isInteger(count) && count >= 1 && count <= MAX_VALUE_FRAMES)) {
      this.#problem(ref, `a large leaf with a descriptor of ${String(storedBytes)} bytes`)
      return 0
    }
    const descriptor = descriptorAt(u32, node >>> 2)
    const lengthBytes = u32[descriptor]
    const wanted = valueFrameCount(this.#usableBytes, lengthBytes)
    if (count !== wanted || lengthBytes > maxValueBytes(this.#usableBytes)) {
      const length = `${String(lengthBytes)} bytes`
      this.#problem(ref, `a value of ${length} in ${String(count)} frames, ${String(wanted)} were expected`)
    }
    const frames: BlobId[] = []
    for (let i = 0; i < count; i++) frames.push(u32[descriptor + 2 + i] as BlobId)
    this.#chainOf[ref] = number + 1
    entry.largeValues.push({ ref, lengthBytes, frames })
    return lengthBytes
  }

  #checkPath(ref: number, length: number): void {
    if (length > MAX_INDEX_KEY_BYTES)
      this.#problem(
        ref,
        `a path of ${String(length)} bytes, at most ${String(MAX_INDEX_KEY_BYTES)} are allowed`,
      )
  }

  /** Returns how many children there are. */
  #verifyChildren(ref: number, node: number, word: number, depth: number, hash: number): number {
    const { u8, u16 } = this.#reader
    const type = word & 7
    const count = (word >>> 3) & 1_023
    const [least, most] = CHILDREN[type]
    if (count < least || count > most)
      this.#problem(ref, `${String(count)} children in a node for ${String(least)} to ${String(most)}`)
    if (type === NODE4 || type === NODE16) {
      const keys = node + 8
      const refs = (node + 8 + most) >>> 1
      const inUse = Math.min(count, most)
      for (let i = 0; i < most; i++) {
        if (i < inUse) {
          if (i > 0 && u8[keys + i] <= u8[keys + i - 1])
            this.#problem(ref, `keys are not ascending at ${String(i)}`)
          this.#pending.push(u16[refs + i], depth, hashByte(hash, u8[keys + i]), ref)
        } else if (
          inUse > 0 &&
          (u8[keys + i] !== u8[keys + inUse - 1] || u16[refs + i] !== u16[refs + inUse - 1])
        )
          this.#problem(ref, `place ${String(i)} is not in use and does not repeat the last that is`)
      }
      return inUse
    }
    let found = 0
    if (type === NODE48) {
      const positions = new Uint8Array(49)
      for (let byte = 0; byte < 256; byte++) {
        const position = u8[node + 8 + byte]
        if (position === 0) continue
        found++
        if (position > count || position > 48)
          this.#problem(ref, `byte ${String(byte)} has position ${String(position)} of ${String(count)}`)
        else if (positions[position]++ > 0) this.#problem(ref, `two bytes have position ${String(position)}`)
        else this.#pending.push(u16[((node + 264) >>> 1) + position - 1], depth, hashByte(hash, byte), ref)
      }
    } else {
      for (let byte = 0; byte < 256; byte++) {
        const child = u16[((node + 8) >>> 1) + byte]
        if (child === 0) continue
        found++
        this.#pending.push(child, depth, hashByte(hash, byte), ref)
      }
    }
    if (found !== count)
      this.#problem(ref, `${String(count)} children are said to be there, ${String(found)} are`)
    return found
  }

  /** Returns the units on all lists. */
  #verifyFreeLists(): number {
    const { base, u16 } = this.#reader
    let total = 0
    for (let list = 0; list < FREE_LIST_COUNT; list++) {
      const units = list + 1
      let ref = u16[((base + FREE_LISTS) >>> 1) + list]
      while (ref !== 0 && this.#claim(ref, units, 'a free block')) {
        total += units
        ref = u16[(base + ref * UNIT_BYTES) >>> 1]
      }
    }
    return total
  }
}

/** By type: fewest and most children. How few a node4 may have depends on its terminal and place. */
const CHILDREN: readonly (readonly [number, number])[] = [
  [0, 0],
  [0, 0],
  [0, 4],
  [SHRINK_NODE16_AT + 1, 16],
  [SHRINK_NODE48_AT + 1, 48],
  [SHRINK_NODE256_AT + 1, 256],
]
