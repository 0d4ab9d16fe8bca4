import { chainLinks } from './entry-chain.js'
import { corruptNode } from './corruption.js'
import {
  CROSSING,
  CROSSING_BYTES,
  descriptorAt,
  ENTRY_CROSSING_HEAD,
  ENTRY_LIVE_COUNT,
  ENTRY_ROOT,
  ENTRY_VALUE_BYTES,
  LARGE_VALUE,
  LEAF,
  LEAF_HEADER_BYTES,
  MAX_ENTRIES,
  UNIT_BYTES,
} from './layout.js'
import { NodeChildren } from './node-children.js'
import { FrameReader, type ReadableTree } from './readable-tree.js'

export interface PrefixCount {
  readonly keys: number
  /** Sum of the lengths of their values. */
  readonly valueBytes: number
}

/**
 * Counts the keys that begin with `prefix` and sums their values' lengths. It looks at the nodes below the prefix in
 * the one frame where the prefix ends; of every frame below only the entry's header and chain of crossings, whatever
 * number of keys it holds. Throws `HOLT_CORRUPT` on bytes that cannot be a tree, and what the source's `fault` throws.
 */
export function countPrefix(tree: ReadableTree, prefix: Uint8Array): PrefixCount {
  const walk = new PrefixWalk(tree)
  walk.descend(prefix)
  return walk.count()
}

/** Whether no key begins with `prefix`. Costs one descent. Throws as {@link countPrefix} does. */
export function isPrefixEmpty(tree: ReadableTree, prefix: Uint8Array): boolean {
  const walk = new PrefixWalk(tree)
  walk.descend(prefix)
  // Every subtree holds a key: what becomes empty is unlinked in the same operation.
  return walk.isEmpty
}

/** Where the keys of a prefix are: nowhere, in one whole entry, or below a node within an entry. */
class PrefixWalk {
  readonly #reader: FrameReader
  readonly #children: NodeChildren
  readonly #tree: ReadableTree
  /** The topmost node whose keys all have the prefix, in the frame in view; 0: there is none. */
  #ref = 0
  /** The entry whose root that node is; -1: it lies deeper. */
  #entry = -1
  #keys = 0
  #valueBytes = 0

  constructor(tree: ReadableTree) {
    this.#tree = tree
    this.#reader = new FrameReader(tree.source)
    this.#children = new NodeChildren(this.#reader)
  }

  get isEmpty(): boolean {
    return this.#ref === 0
  }

  descend(prefix: Uint8Array): void {
    const reader = this.#reader
    let depth = 0
    this.#enterEntry(this.#tree.rootId, 0)
    let crossings = 0
    while (this.#ref !== 0 && depth < prefix.length) {
      const { u8, u32, blob } = reader
      const node = reader.nodeOffset(this.#ref)
      const word = u32[node >>> 2]
      const type = word & 7
      const isLeaf = type === LEAF
      const length = isLeaf ? (word >>> 3) & 8_191 : word >>> 16
      const bytes = isLeaf
        ? node + LEAF_HEADER_BYTES
        : type === CROSSING
          ? node + CROSSING_BYTES
          : this.#children.prefixOffset(this.#ref)
      if (bytes + length > reader.base + reader.frameBytes)
        throw corruptNode(blob, this.#ref, 'a node reaches past its frame')
      const shared = Math.min(length, prefix.length - depth)
      for (let i = 0; i < shared; i++) {
        if (u8[bytes + i] !== prefix[depth + i]) {
          this.#ref = 0
          return
        }
      }
      depth += shared
      // Only a crossing that the prefix ends in, or at, is left behind here: its whole entry has the prefix.
      if (type === CROSSING) {
        if (shared > 0) crossings = 0
        else if (++crossings > MAX_BARE_CROSSINGS)
          throw corruptNode(blob, this.#ref, 'crossings lead to crossings without end')
        this.#enterEntry(u32[(node >>> 2) + 1], (word >>> 3) & 1_023)
        continue
      }
      if (depth === prefix.length) return
      this.#entry = -1
      this.#ref = isLeaf ? 0 : this.#children.child(this.#ref, prefix[depth])
      crossings = 0
      depth++
    }
  }

  /** Counts the keys below the place that {@link descend} came to. */
  count(): PrefixCount {
    const reader = this.#reader
    /** Entries, as blob id and number, that are wholly covered and not yet counted. */
    const covered: number[] = []
    const seen = new Set<number>()
    if (this.#ref !== 0) {
      if (this.#entry >= 0) covered.push(reader.blob, this.#entry)
      else this.#countNodes(this.#ref, covered)
    }
    while (covered.length > 0) {
      const entry = covered.pop() ?? 0
      const blob = covered.pop() ?? 0
      const identity = blob * MAX_ENTRIES + entry
      if (seen.has(identity)) throw corruptNode(blob, 0, `several crossings lead to entry ${String(entry)}`)
      seen.add(identity)
      this.#countEntry(blob, entry, covered)
    }
    return { keys: this.#keys, valueBytes: this.#valueBytes }
  }

  #enterEntry(blob: number, entry: number): void {
    const reader = this.#reader
    const isChild = reader.blob !== 0
    reader.enter(blob)
    this.#entry = entry
    this.#ref = reader.u16[(reader.entryOffset(entry) + ENTRY_ROOT) >>> 1]
    if (this.#ref === 0 && isChild)
      throw corruptNode(blob, 0, `a crossing leads to entry ${String(entry)}, which is unused`)
  }

  #countNodes(ref: number, covered: number[]): void {
    const reader = this.#reader
    const { u32, blob } = reader
    const pending = [ref]
    let visited = 0
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      if (++visited > reader.frameBytes / UNIT_BYTES)
        throw corruptNode(blob, next, 'nodes lead around in circles')
      const node = reader.nodeOffset(next)
      const word = u32[node >>> 2]
      const type = word & 7
      if (type === LEAF) {
        this.#keys++
        const isLarge = (u32[(node >>> 2) + 2] & LARGE_VALUE) !== 0
        this.#valueBytes += isLarge ? u32[descriptorAt(u32, node >>> 2)] : word >>> 16
      } else if (type === CROSSING) covered.push(u32[(node >>> 2) + 1], (word >>> 3) & 1_023)
      else this.#children.pushAll(next, pending)
    }
  }

  #countEntry(blob: number, number: number, covered: number[]): void {
    const reader = this.#reader
    reader.enter(blob)
    const { u16, u32, f64 } = reader
    const entry = reader.entryOffset(number)
    this.#keys += u16[(entry + ENTRY_LIVE_COUNT) >>> 1]
    this.#valueBytes += f64[(entry + ENTRY_VALUE_BYTES) >>> 3]
    let visited = 0
    for (let ref = u16[(entry + ENTRY_CROSSING_HEAD) >>> 1]; ref !== 0;) {
      if (++visited > reader.frameBytes / UNIT_BYTES)
        throw corruptNode(blob, ref, `the chain of entry ${String(number)} leads around in circles`)
      const node = reader.nodeOffset(ref)
      const word = u32[node >>> 2]
      if ((word & 7) === CROSSING) covered.push(u32[(node >>> 2) + 1], (word >>> 3) & 1_023)
      else if ((word & 7) !== LEAF)
        throw corruptNode(blob, ref, `in the chain of entry ${String(number)}, but neither crossing nor leaf`)
      ref = u16[chainLinks(u32, node >>> 2)]
    }
  }
}

/** Crossings in a row that add no byte to the path: more than this is a loop. */
const MAX_BARE_CROSSINGS = 64
