import { type BlobId, FRAME_BYTES, FRAME_SHIFT } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import { BulkLoad } from './bulk-load.js'
import { type CompactionBudget, compactStep } from './compaction.js'
import type { CompactionPass } from './compaction-pass.js'
import type { ArtIndexContract } from './contract.js'
import { ColdLeaf, findCold, type PagedFrameSource } from './cold-find.js'
import { corruptNode } from './corruption.js'
import { applyDelete } from './delete.js'
import { deletePrefix } from './delete-prefix.js'
import { MATCH, type Outcome } from './descent.js'
import { disorderOf, lacksFilter, orderFrame } from './frame-order.js'
import { forkPath } from './fork-path.js'
import type { FrameSource } from './frame-source.js'
import { freeNextUnlinked } from './free-unlinked.js'
import type { IndexView } from './index-view.js'
import { sameBytes } from './key-words.js'
import {
  BIRTH,
  BUMP_UNITS,
  CROSSING,
  ENTRY_BYTES,
  ENTRY_COUNT,
  ENTRY_HIGH_WATER,
  ENTRY_TABLE,
  FIRST_REF,
  LARGE_VALUE,
  LEAF,
  LEAF_HEADER_BYTES,
  MAX_INDEX_KEY_BYTES,
  MAX_USABLE_BYTES,
  MIN_USABLE_BYTES,
  NODE16,
  NODE16_BYTES,
  NODE256,
  NODE256_BYTES,
  NODE4,
  NODE48,
  NODE48_BYTES,
  NODE4_BYTES,
} from './layout.js'
import { ValueSource } from './leaf.js'
import {
  findInNode16,
  NODE16_REFS,
  NODE256_REFS,
  NODE4_REFS,
  NODE48_REFS,
  NONE,
  TERMINAL_REF,
} from './node-search.js'
import { type LiveView, LiveViews, type ViewPlace } from './live-views.js'
import { movePrefix } from './move-prefix.js'
import { restBoundBytes } from './prefix-bound.js'
import { ADDED, applyPut, NO_ROOM } from './put.js'
import { makeRoom } from './spill.js'
import { Tree } from './tree.js'
import type { KeptFrame, UnlinkedFrames } from './unlinked-frames.js'
import { bytesPerFrame, checkCopy, ValueFrames } from './value-frames.js'

export interface ArtIndexOptions {
  /** Bytes of each frame that may be used, page 0 included. Default all; tests take less, so that frames spill early. */
  readonly usableFrameBytes?: number
  /** The byte at whose places frames are preferably split. Default `/`. */
  readonly delimiter?: number
  /** For `attach`: {@link ArtIndex.epoch} when the image was made. */
  readonly epoch?: number
}

const FIRST_EPOCH = 1
const DELIMITER = 0x2f
/** A put that needs more rounds of making room than this shows a defect. */
const MAX_ROUNDS = 16
/** A node at or below this ref cannot reach the end of its frame: the largest body and the longest key lie before it. */
const SAFE_REF = (FRAME_BYTES - NODE256_BYTES - MAX_INDEX_KEY_BYTES) >>> 3
const TWO_32 = 2 ** 32
const NO_BYTES = new Uint8Array(0)

/**
 * An adaptive radix tree (V. Leis, A. Kemper, T. Neumann, "The adaptive radix tree", 2013) over the frames of a
 * {@link FrameSource}. One thread changes it.
 */
export class ArtIndex implements ArtIndexContract {
  readonly source: FrameSource
  readonly usableBytes: number
  readonly key: Uint8Array
  /** The memory of {@link key} as words; what lies behind a key does not matter. */
  readonly keyWords: Uint32Array
  foundBytes: Uint8Array = NO_BYTES
  foundOffset = 0
  foundLength = 0
  /** Begins as a fraction, so that the engine keeps this field as a double from the first. */
  foundVersion = 0.5
  foundLarge = false
  readonly #tree: Tree
  readonly #value = new ValueSource()
  readonly #foundFrames: ValueFrames
  readonly #coldLeaf = new ColdLeaf()
  #filteredLookups = 0

  private constructor(tree: Tree) {
    const { source } = tree
    if (source.slab.frameBytes !== FRAME_BYTES) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `the slab's slots have ${String(source.slab.frameBytes)} bytes; frames of ${String(FRAME_BYTES)} are wanted`,
      )
    }
    this.source = source
    this.usableBytes = tree.usableBytes
    this.key = tree.keyBytes.subarray(0, MAX_INDEX_KEY_BYTES)
    this.keyWords = tree.keyWords
    this.#tree = tree
    this.#foundFrames = new ValueFrames(source)
  }

  /** A new, empty tree: allocates its root frame. Throws `HOLT_INVALID_ARGUMENT` on options out of range. */
  static create(source: FrameSource, options: ArtIndexOptions = {}): ArtIndex {
    const usableBytes = usableBytesOf(options)
    const rootId = source.allocate()
    const slot = source.writable(rootId)
    const { u16, u32, f64 } = source.slab.segmentOf(slot)
    const base = source.slab.offsetOf(slot)
    u32[(base + BUMP_UNITS) >>> 2] = FIRST_REF
    u16[(base + ENTRY_COUNT) >>> 1] = 1
    u16[(base + ENTRY_HIGH_WATER) >>> 1] = 1
    const views = new LiveViews(options.epoch ?? FIRST_EPOCH)
    f64[(base + BIRTH) >>> 3] = views.epoch
    source.rootMoved?.(rootId)
    return new ArtIndex(new Tree(source, rootId, usableBytes, options.delimiter ?? DELIMITER, views))
  }

  /**
   * The tree whose root frame is `rootId`, without what it had let go of: see {@link restore}. Throws `HOLT_INVALID_ARGUMENT` on
   * options out of range.
   */
  static attach(source: FrameSource, rootId: BlobId, options: ArtIndexOptions = {}): ArtIndex {
    const views = new LiveViews(options.epoch ?? FIRST_EPOCH)
    const tree = new Tree(source, rootId, usableBytesOf(options), options.delimiter ?? DELIMITER, views)
    source.rootMoved?.(rootId)
    return new ArtIndex(tree)
  }

  /** The root frame. Another one after a change under a view: never keep it. */
  get rootId(): BlobId {
    return this.#tree.rootId
  }

  /** For an index over another thread's frames, which says where the root is now. */
  followRoot(id: BlobId): void {
    this.#tree.setRoot(id)
  }

  get changes(): number {
    return this.#tree.changes
  }

  /**
   * Takes a view of the tree as it is now. `seq` is the commit seq of its newest change: at or above every version that a
   * `put` was given, and not below that of an older view.
   */
  view(seq: number): IndexView {
    return this.#viewOf(this.#tree.views.take(this.#tree.rootId, seq))
  }

  /** Another view, of what an open one shows. Each is closed by itself. */
  viewAt(place: ViewPlace): IndexView {
    return this.#viewOf(this.#tree.views.open(place))
  }

  /**
   * For an index that was just attached: what was kept beside its tree. Opens a view at each of the places, and gives
   * {@link unlinked} the frames that it held then; those that none of these views sees may be given back.
   */
  restore(places: readonly ViewPlace[], frames: Iterable<KeptFrame>): IndexView[] {
    const { unlinked } = this.#tree
    // A frame is judged when it comes: by then the views have to be there.
    const views = places.map((place) => this.viewAt(place))
    for (const { id, isSingle, birth, death } of frames) {
      if (isSingle) unlinked.addSingle(id, birth, death)
      else unlinked.addRoot(id, birth, death)
    }
    return views
  }

  #viewOf(view: LiveView): IndexView {
    const tree = this.#tree
    const { epoch, seq, rootId } = view
    const { source, usableBytes, delimiter } = tree
    const index = new ArtIndex(new Tree(source, rootId, usableBytes, delimiter, LiveViews.ofView(view), tree))
    let isOpen = true
    return {
      index,
      seq,
      place: { epoch, seq, rootId },
      get isOpen() {
        return isOpen
      },
      close: () => {
        isOpen = false
        if (tree.views.close(view)) tree.unlinked.release(view)
      },
    }
  }

  get openViews(): number {
    return this.#tree.views.count
  }

  /** Counts the views that were ever taken. Belongs to the tree's state, as its frames are stamped with it. */
  get epoch(): number {
    return this.#tree.views.epoch
  }

  /**
   * The words in which the value of the last {@link put} lies, from {@link putAt} on, if its leaf holds it. Good until the
   * next change.
   */
  get putWords(): Uint32Array | undefined {
    return this.#value.writtenWords
  }

  get putAt(): number {
    return this.#value.writtenAt
  }

  /** Bytes of the longest key that `put` takes. */
  get maxKeyBytes(): number {
    return this.#tree.maxKeyBytes
  }

  /** A larger value lies in frames of its own. */
  get maxInlineValueBytes(): number {
    return this.#tree.maxInlineValueBytes
  }

  /**
   * Bytes of the found value that lie together: it goes on in another frame after as many. The whole value's when it is
   * not large.
   */
  get foundPartBytes(): number {
    return this.foundLarge
      ? bytesPerFrame(this.foundLength, this.#foundFrames.count)
      : Math.max(this.foundLength, 1)
  }

  /** Bytes of the largest value that `put` takes. */
  get maxValueBytes(): number {
    return this.#tree.maxValueBytes
  }

  /** Throws `FrameAbsent` as `FrameSource.fault` does, `HOLT_CORRUPT` on bytes the index never wrote. */
  find(keyLength: number): boolean {
    const tree = this.#tree
    const { source, keyBytes, keyWords } = tree
    const { pageTable, recency, slab } = source
    const { segments, segmentShift, segmentMask } = slab
    let id: number = tree.rootId
    let entry = 0
    let depth = 0
    for (let hops = 0; hops <= MAX_INDEX_KEY_BYTES; hops++) {
      let slot = pageTable[id]
      if (!(slot > 0)) {
        if (source.readPages !== undefined)
          return this.#findCold(source as PagedFrameSource, id, entry, keyLength, depth)
        slot = source.fault(id as BlobId)
      }
      if (recency[slot] === 0) recency[slot] = 1
      const segment = segments[slot >>> segmentShift]
      const { u8, u16, u32 } = segment
      const base = (slot & segmentMask) << FRAME_SHIFT
      let ref = u16[(base + ENTRY_TABLE + entry * ENTRY_BYTES) >>> 1]
      let type: number
      let node: number
      let word: number
      for (;;) {
        if (ref < FIRST_REF) {
          if (ref === 0) return false
          throw corruptNode(id, ref, 'a ref into page 0')
        }
        node = (base >>> 2) + (ref << 1)
        word = u32[node] | 0
        type = word & 7
        if (type === LEAF || type === CROSSING) break
        if (type === NODE4) {
          if (ref > SAFE_REF) checkInside(id, ref, NODE4_BYTES + (word >>> 16))
          const length = word >>> 16
          if (length !== 0) {
            if (length > keyLength - depth || !sameBytes(u32, node + 5, keyWords, depth, length)) return false
            depth += length
          }
          if (depth < keyLength) {
            const byte = keyBytes[depth++]
            const keys = u32[node + 2] | 0
            const refs = (node << 1) + NODE4_REFS
            if ((keys & 0xff) === byte) ref = u16[refs]
            else if (((keys >>> 8) & 0xff) === byte) ref = u16[refs + 1]
            else if (((keys >>> 16) & 0xff) === byte) ref = u16[refs + 2]
            else if (keys >>> 24 === byte) ref = u16[refs + 3]
            else return false
            continue
          }
        } else if (type === NODE16) {
          if (ref > SAFE_REF) checkInside(id, ref, NODE16_BYTES + (word >>> 16))
          const length = word >>> 16
          if (length !== 0) {
            if (length > keyLength - depth || !sameBytes(u32, node + 14, keyWords, depth, length))
              return false
            depth += length
          }
          if (depth < keyLength) {
            const index = findInNode16(u32, node, keyBytes[depth++])
            if (index === NONE) return false
            ref = u16[(node << 1) + NODE16_REFS + index]
            continue
          }
        } else if (type === NODE48) {
          if (ref > SAFE_REF) checkInside(id, ref, NODE48_BYTES + (word >>> 16))
          const length = word >>> 16
          if (length !== 0) {
            if (length > keyLength - depth || !sameBytes(u32, node + 90, keyWords, depth, length))
              return false
            depth += length
          }
          if (depth < keyLength) {
            const position = u8[(node << 2) + 8 + keyBytes[depth++]]
            if (position === 0) return false
            if (position > 48) throw corruptNode(id, ref, `position ${String(position)} in a node48`)
            ref = u16[(node << 1) + NODE48_REFS - 1 + position]
            continue
          }
        } else if (type === NODE256) {
          if (ref > SAFE_REF) checkInside(id, ref, NODE256_BYTES + (word >>> 16))
          const length = word >>> 16
          if (length !== 0) {
            if (length > keyLength - depth || !sameBytes(u32, node + 130, keyWords, depth, length))
              return false
            depth += length
          }
          if (depth < keyLength) {
            ref = u16[(node << 1) + NODE256_REFS + keyBytes[depth++]]
            continue
          }
        } else {
          throw corruptNode(id, ref, `a node of type ${String(type)}`)
        }
        // The key ends at this node.
        ref = u16[(node << 1) + TERMINAL_REF]
        if (ref === 0) return false
        node = (base >>> 2) + (ref << 1)
        word = u32[node] | 0
        type = word & 7
        if (ref < FIRST_REF || type !== LEAF) throw corruptNode(id, ref, 'a terminal that is no leaf')
        break
      }
      if (type === LEAF) {
        const restLength = (word >>> 3) & 0x1fff
        if (restLength !== keyLength - depth) return false
        const valueOffset = (ref << 3) + LEAF_HEADER_BYTES + ((restLength + 3) & ~3)
        const valueLength = word >>> 16
        if (valueOffset + valueLength > FRAME_BYTES) {
          throw corruptNode(
            id,
            ref,
            `a leaf of ${String(restLength)} + ${String(valueLength)} bytes leaves the frame`,
          )
        }
        if (restLength !== 0 && !sameBytes(u32, node + 3, keyWords, depth, restLength)) return false
        const high = u32[node + 2] | 0
        this.foundVersion = (high & 0x1f_ffff) * TWO_32 + u32[node + 1]
        if ((high & LARGE_VALUE) !== 0) {
          this.#findLarge(u32, node, id, ref)
          return true
        }
        this.foundLarge = false
        this.foundBytes = u8
        this.foundOffset = base + valueOffset
        this.foundLength = valueLength
        return true
      }
      const length = word >>> 16
      if (length !== 0) {
        if (length > keyLength - depth) return false
        if (ref > SAFE_REF) checkInside(id, ref, LEAF_HEADER_BYTES + length)
        if (!sameBytes(u32, node + 3, keyWords, depth, length)) return false
        depth += length
      }
      id = u32[node + 1]
      entry = (word >>> 3) & 0x3ff
    }
    throw corruptNode(id, 0, 'more frames above it than a key has bytes')
  }

  /** The rest of a lookup that met a frame which is not in memory. */
  #findCold(source: PagedFrameSource, id: number, entry: number, keyLength: number, depth: number): boolean {
    const { keyBytes, keyWords } = this.#tree
    const leaf = this.#coldLeaf
    if (!findCold(source, id, entry, keyBytes, keyWords, keyLength, depth, leaf)) {
      if (leaf.isFiltered) this.#filteredLookups++
      return false
    }
    const { u8, u32, node } = leaf
    const word = u32[node] | 0
    const high = u32[node + 2] | 0
    this.foundVersion = (high & 0x1f_ffff) * TWO_32 + u32[node + 1]
    if ((high & LARGE_VALUE) !== 0) {
      this.#findLarge(u32, node, leaf.id, leaf.ref)
      return true
    }
    this.foundLarge = false
    this.foundBytes = u8
    this.foundOffset = node * 4 + ((LEAF_HEADER_BYTES + ((word >>> 3) & 0x1fff) + 3) & ~3)
    this.foundLength = word >>> 16
    return true
  }

  #findLarge(u32: Uint32Array, node: number, id: number, ref: number): void {
    const frames = this.#foundFrames
    frames.take(u32, node, id, ref)
    this.foundLarge = true
    this.foundBytes = NO_BYTES
    this.foundOffset = 0
    this.foundLength = frames.lengthBytes
  }

  readFound(target: Uint8Array, targetOffset: number, from: number, length: number): void {
    if (this.foundLarge) {
      this.#foundFrames.read(target, targetOffset, from, length)
      return
    }
    checkCopy(this.foundLength, target, targetOffset, from, length)
    const start = this.foundOffset + from
    target.set(this.foundBytes.subarray(start, start + length), targetOffset)
  }

  /**
   * See the contract. `source` may be a slab segment's own view, such as `foundBytes`: its bytes are then copied aside
   * first. Throws `HOLT_KEY_TOO_LONG`, `HOLT_VALUE_TOO_LARGE`, `HOLT_INVALID_ARGUMENT` when the value does not lie
   * inside `source`.
   */
  put(
    keyLength: number,
    source: Uint8Array,
    sourceOffset: number,
    sourceLength: number,
    version: number,
  ): boolean {
    const tree = this.#tree
    this.#checkKey(keyLength)
    if (sourceLength > tree.maxValueBytes) {
      throw new HoltError(
        'HOLT_VALUE_TOO_LARGE',
        `a value has ${String(sourceLength)} bytes; at most ${String(tree.maxValueBytes)} are allowed`,
      )
    }
    if (!(sourceOffset >= 0 && sourceLength >= 0 && sourceOffset + sourceLength <= source.length)) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `a value at ${String(sourceOffset)} + ${String(sourceLength)} is not inside its ${String(source.length)} bytes`,
      )
    }
    const value = this.#value
    value.set(source, sourceOffset, sourceLength)
    // A value found in a frame may move while room is made for it.
    if (isSlabMemory(tree.source, source)) value.copyAside()
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const outcome = this.#descend(keyLength)
      if (tree.views.newest !== 0) forkPath(tree)
      const result = applyPut(tree, outcome, keyLength, value, version)
      if (result !== NO_ROOM) {
        tree.changes++
        return result === ADDED
      }
      makeRoom(tree, outcome, keyLength)
    }
    throw new HoltError(
      'HOLT_INTERNAL',
      `no room for a key of ${String(keyLength)} bytes after ${String(MAX_ROUNDS)} rounds`,
    )
  }

  delete(keyLength: number): boolean {
    const tree = this.#tree
    this.#checkKey(keyLength)
    if (this.#descend(keyLength) !== MATCH) return false
    if (tree.views.newest !== 0) forkPath(tree)
    applyDelete(tree, keyLength)
    tree.changes++
    return true
  }

  touch(keyLength: number): void {
    this.#checkKey(keyLength)
    this.#descend(keyLength)
  }

  deletePrefix(prefixLength: number): boolean {
    this.#checkKey(prefixLength)
    return deletePrefix(this.#tree, prefixLength)
  }

  movePrefix(from: Uint8Array, to: Uint8Array): boolean {
    this.#checkKey(from.length)
    this.#checkKey(to.length)
    const shared = Math.min(from.length, to.length)
    let same = 0
    while (same < shared && from[same] === to[same]) same++
    if (same === shared)
      throw new HoltError('HOLT_INVALID_ARGUMENT', 'one of the two prefixes of a move begins with the other')
    return movePrefix(this.#tree, from, to)
  }

  restBoundBytes(prefixLength: number, enoughBytes = 0): number {
    this.#checkKey(prefixLength)
    return restBoundBytes(this.#tree, prefixLength, enoughBytes)
  }

  get unlinked(): UnlinkedFrames {
    return this.#tree.unlinked
  }

  get building(): BlobId[] {
    return [...this.#tree.building].flatMap((roots) => [...roots])
  }

  /** Begins a {@link BulkLoad} of keys that begin with `prefix`; all get this version. Throws `HOLT_KEY_TOO_LONG`. */
  bulkLoad(prefix: Uint8Array, version: number): BulkLoad {
    this.#checkKey(prefix.length)
    return new BulkLoad(this.#tree, prefix, version)
  }

  freeNextUnlinked(): boolean {
    return freeNextUnlinked(this.#tree)
  }

  /**
   * Does one piece of compaction, of bounded size, and says whether there may be more: a candidate that deletes and
   * overwrites have left, else the next frame of `pass`. Contents do not change. Overwrites {@link key}. Throws
   * `HOLT_INVALID_ARGUMENT` for a budget out of range, and, having changed nothing, what the source's `fault` throws.
   */
  compactStep(pass?: CompactionPass, budget: CompactionBudget = {}): boolean {
    return compactStep(this.#tree, pass, budget)
  }

  /** Lookups of absent keys that ended at the filter of a frame which was not in memory. */
  get filteredLookups(): number {
    return this.#filteredLookups
  }

  /** As {@link lacksFilter} says of a resident frame of this index: {@link orderFrame} gives it one. */
  lacksFilter(id: BlobId): boolean {
    return lacksFilter(this.#tree, id)
  }

  /** As {@link disorderOf} says of a resident frame of this index. */
  disorder(id: BlobId): number {
    return disorderOf(this.#tree, id)
  }

  /**
   * Lays the nodes of a frame of this index out depth first, so that walks read memory in order, and gives it the filter that
   * cold lookups ask first. One frame, about a millisecond; contents do not change. Throws, having changed nothing, what the
   * source's `fault` throws.
   */
  orderFrame(id: BlobId): void {
    orderFrame(this.#tree, id)
  }

  /** Places at which {@link compactStep} will look, as deletes and overwrites have left them. */
  get compactionCandidates(): number {
    return this.#tree.candidates.count
  }

  #descend(keyLength: number): Outcome {
    const { descent, source, rootId, keyBytes, keyWords } = this.#tree
    return descent.run(source, rootId, keyBytes, keyWords, keyLength)
  }

  #checkKey(keyLength: number): void {
    const { maxKeyBytes } = this.#tree
    if (keyLength > maxKeyBytes) {
      throw new HoltError(
        'HOLT_KEY_TOO_LONG',
        `a key has ${String(keyLength)} bytes; at most ${String(maxKeyBytes)} are allowed`,
      )
    }
  }
}

function isSlabMemory(frames: FrameSource, bytes: Uint8Array): boolean {
  const { segments } = frames.slab
  for (let i = 0; i < segments.length; i++) if (segments[i].u8 === bytes) return true
  return false
}

function checkInside(id: number, ref: number, bytes: number): void {
  if (ref * 8 + bytes > FRAME_BYTES)
    throw corruptNode(id, ref, `a node of ${String(bytes)} bytes leaves the frame`)
}

function usableBytesOf(options: ArtIndexOptions): number {
  const usable = options.usableFrameBytes ?? MAX_USABLE_BYTES
  if (
    !Number.isInteger(usable) ||
    usable < MIN_USABLE_BYTES ||
    usable > MAX_USABLE_BYTES ||
    usable % 8 !== 0
  ) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `usableFrameBytes is ${String(usable)}; a multiple of 8 from ${String(MIN_USABLE_BYTES)} to ${String(MAX_USABLE_BYTES)} is wanted`,
    )
  }
  return usable
}
