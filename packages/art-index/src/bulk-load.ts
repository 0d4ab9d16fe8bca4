import type { BlobId } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import { frameBase, segmentOf } from './frame-views.js'
import { graft } from './graft.js'
import { commonBytes, writeKeyBytes } from './key-words.js'
import {
  CROSSING,
  DESCRIPTOR_BYTES,
  FIRST_REF,
  LEAF,
  MAX_ENTRIES,
  MAX_INDEX_KEY_BYTES,
  MAX_VALUE_FRAMES,
  nodeUnits,
} from './layout.js'
import { ValueSource } from './leaf.js'
import { allocateFrame } from './move-subtrees.js'
import { MovingPiece } from './moving-piece.js'
import { locatePrefix, type PrefixPlace } from './prefix-place.js'
import { innerType, SubtreeArena } from './subtree-arena.js'
import type { Tree } from './tree.js'

/** Share of a frame that is filled at most: room for the first puts that come after. */
const FILL = 0.94
/** A frame that would be filled less is filled to the brim if that can be: two subtrees of half a frame each are one frame, not two. */
const LEAST_FILL = 0.75
/** What may wait below one open node before some of it goes to a frame, in frames. */
const WAITING_FRAMES = 3
/** What may lie in no frame yet, in frames. Only keys that branch at very many depths come to it. */
const MAX_ARENA_FRAMES = 64
/** Stands for the byte of a terminal. */
const TERMINAL_BYTE = 256

const piece = new MovingPiece()
const place: PrefixPlace = { ref: 0, depth: 0, cutBytes: 0 }

/**
 * Builds the subtree of many keys in frames that no tree reaches, from ascending keys, and hangs it into the tree in one step.
 *
 * Each frame is written once. Finished subtrees wait on a stack ({@link SubtreeArena}) under the inner nodes of the last key's
 * path, which are still *open*. When more than some frames wait below one of these, or it ends and has more than one, children
 * that together fill a frame well become the entries of a fresh one, and crossings take their places. So children come before parents, and
 * what is held is a few frames for each open node, {@link MAX_ARENA_FRAMES} in all.
 *
 * ```
 *   open nodes        o ──── o ───────── o ── key
 *   waiting          ┌┴┐   ┌─┴──┐      ┌─┴┐
 *                    s x   x x  s      s  s       s: a subtree, x: a crossing to a frame
 * ```
 *
 * The frames belong to the tree's {@link Tree.building} until {@link finish} or {@link abandon}.
 */
export class BulkLoad {
  readonly #tree: Tree
  readonly #prefix: Uint8Array
  readonly #version: number
  readonly #fillUnits: number
  readonly #arena = new SubtreeArena()
  /** Frames that no other frame names yet. */
  readonly #roots = new Set<BlobId>()
  readonly #isNamed = (blob: number): void => {
    this.#roots.delete(blob as BlobId)
  }
  #ended = false

  // The last key and its value, which wait for the next key to know where they part. The value stays where it came from.
  readonly #lastWords = new Uint32Array(KEY_WORDS)
  #lastLength = -1
  #valueWords: Uint32Array = NO_WORDS
  #valueAt = 0
  #valueLength = 0
  #isLarge = false
  readonly #descriptor = new Uint32Array(MAX_DESCRIPTOR_WORDS)
  readonly #source = new ValueSource()

  // Waiting subtrees, those of outer open nodes first.
  #itemLast = new Int32Array(FIRST_ITEMS) // last record
  #itemUnits = new Int32Array(FIRST_ITEMS)
  #itemByte = new Int32Array(FIRST_ITEMS)
  #itemLongest = new Int32Array(FIRST_ITEMS) // bytes of the longest key behind the prefix
  #itemPaths = new Int32Array(FIRST_ITEMS) // bytes of the paths of its crossings
  #items = 0

  // Open nodes, outermost first.
  #openDepth = new Int32Array(FIRST_OPEN)
  #openItem = new Int32Array(FIRST_OPEN) // its first item
  #openUnits = new Int32Array(FIRST_OPEN)
  #openPaths = new Int32Array(FIRST_OPEN)
  #open = 0

  keys = 0
  frames = 0

  /**
   * For keys that begin with `prefix`, told without it. All get the version `version`. The first keys may be added at once;
   * whether the tree has keys below the prefix only matters to {@link finish}.
   */
  constructor(tree: Tree, prefix: Uint8Array, version: number) {
    this.#tree = tree
    this.#prefix = prefix.slice()
    this.#version = version
    this.#fillUnits = Math.floor((tree.usableUnits - FIRST_REF) * FILL)
    tree.building.add(this.#roots)
  }

  /**
   * Adds a key by what it has behind the prefix: `keyLength` bytes from byte `keyAt` of `keyWords` on, which has two words
   * more behind them; and its value, `valueLength` bytes from word `valueAt` of `valueWords` on. The value has to stay as it
   * is until the next `add`, or {@link finish}, is over; the key is copied.
   *
   * False, having changed nothing, when the key does not come behind all added before. Takes fresh frames as it fills
   * them, and as a large value needs them. Throws `HOLT_KEY_TOO_LONG`, `HOLT_VALUE_TOO_LARGE`, and what the source's
   * `allocate` throws: after that one only {@link abandon} may follow.
   */
  add(
    keyWords: Uint32Array,
    keyAt: number,
    keyLength: number,
    valueWords: Uint32Array,
    valueAt: number,
    valueLength: number,
  ): boolean {
    const tree = this.#tree
    this.#checkOpen()
    if (this.#prefix.length + keyLength > tree.maxKeyBytes)
      throw new HoltError(
        'HOLT_KEY_TOO_LONG',
        `a key has ${String(this.#prefix.length + keyLength)} bytes; at most ${String(tree.maxKeyBytes)} are allowed`,
      )
    if (valueLength > tree.maxValueBytes)
      throw new HoltError(
        'HOLT_VALUE_TOO_LARGE',
        `a value has ${String(valueLength)} bytes; at most ${String(tree.maxValueBytes)} are allowed`,
      )
    const last = this.#lastWords
    const lastLength = this.#lastLength
    let kept = 0
    if (lastLength >= 0) {
      const shorter = lastLength < keyLength ? lastLength : keyLength
      const shared = commonBytes(last, 0, keyWords, keyAt, shorter)
      if (shared === keyLength) return false
      if (shared < lastLength && byteAt(last, shared) > byteAt(keyWords, keyAt + shared)) return false
      this.#endLast(shared)
      kept = shared & ~3
    }
    writeKeyBytes(last, kept >>> 2, keyWords, keyAt + kept, keyLength - kept)
    this.#lastLength = keyLength
    this.#isLarge = valueLength > tree.maxInlineValueBytes
    if (this.#isLarge) this.#writeLarge(valueWords, valueAt, valueLength)
    else {
      this.#valueWords = valueWords
      this.#valueAt = valueAt
      this.#valueLength = valueLength
    }
    this.keys++
    return true
  }

  /** The value goes to frames of its own at once; what waits is its descriptor. */
  #writeLarge(valueWords: Uint32Array, valueAt: number, valueLength: number): void {
    const tree = this.#tree
    const { newFrames } = tree
    this.#source.set(
      new Uint8Array(valueWords.buffer, valueWords.byteOffset + valueAt * 4, valueLength),
      0,
      valueLength,
    )
    newFrames.write(this.#source, tree.usableBytes)
    for (let i = 0; i < newFrames.count; i++) this.#roots.add(newFrames.ids[i] as BlobId)
    this.frames += newFrames.count
    tree.changes++
    const { bytes, offset, length } = newFrames.descriptor
    new Uint8Array(this.#descriptor.buffer).set(bytes.subarray(offset, offset + length))
    this.#valueWords = this.#descriptor
    this.#valueAt = 0
    this.#valueLength = length
  }

  /**
   * Hangs all that was added into the tree, below the prefix. False, having changed nothing, when there are keys below it.
   * Throws what a descent throws (`FrameAbsent` among them), having changed nothing.
   */
  finish(): boolean {
    const tree = this.#tree
    const prefix = this.#prefix
    this.#checkOpen()
    tree.keyBytes.set(prefix)
    if (locatePrefix(tree, prefix.length, place)) return false
    if (this.#lastLength >= 0) this.#endLast(-1)
    this.#lastLength = -1
    if (this.#items > 0) {
      const longest = this.#itemLongest[0]
      piece.buildNodes((views) => {
        this.#arena.writeTo(this.#itemLast[0], views, 0, 0, false, longest, this.#isNamed)
      })
      graft(tree, prefix.length, piece)
      tree.changes++
    }
    this.#end()
    return true
  }

  /** Gives all up: its frames, which no view has seen, are unlinked, as {@link Tree.unlinked} tells. Nothing after {@link finish}. */
  abandon(): void {
    if (this.#ended) return
    for (const id of this.#roots) this.#tree.unlinked.addRoot(id, this.#tree.views.epoch)
    this.#tree.changes++
    this.#end()
  }

  #end(): void {
    this.#ended = true
    this.#tree.building.delete(this.#roots)
    this.#arena.clear()
  }

  #checkOpen(): void {
    if (this.#ended) throw new HoltError('HOLT_INTERNAL', 'this bulk load has ended already')
  }

  /** The last key is whole: the next one shares `shared` bytes behind the prefix with it; -1: there is none. */
  #endLast(shared: number): void {
    if (shared >= 0 && (this.#open === 0 || this.#openDepth[this.#open - 1] < shared))
      this.#beginNode(shared, this.#items)
    this.#addLeaf()
    while (this.#open > 0 && this.#openDepth[this.#open - 1] > shared) {
      const node = this.#open - 1
      const above = node > 0 ? this.#openDepth[node - 1] : -1
      const parentDepth = Math.max(above, shared)
      const first = this.#openItem[node]
      this.#endNode(node, parentDepth)
      if (parentDepth < 0) break
      if (above < shared) this.#beginNode(shared, first)
      this.#joined(this.#open - 1, first)
    }
  }

  #addLeaf(): void {
    const depth = this.#open > 0 ? this.#openDepth[this.#open - 1] : -1
    const words = this.#lastWords
    const length = this.#lastLength
    const isTerminal = depth === length
    const restLength = isTerminal ? 0 : length - depth - 1
    const units = this.#arena.pushLeaf(
      words,
      length - restLength,
      restLength,
      this.#valueWords,
      this.#valueAt,
      this.#valueLength,
      this.#version,
      this.#isLarge,
    )
    const item = this.#items
    const byte = isTerminal ? TERMINAL_BYTE : depth >= 0 ? byteAt(words, depth) : 0
    this.#setItem(item, units, byte, length, 0)
    if (this.#open > 0) this.#joined(this.#open - 1, item)
  }

  /** The newest item is `item`: everything on the arena behind the one before. */
  #setItem(item: number, units: number, byte: number, longest: number, paths: number): void {
    if (item === this.#itemLast.length) this.#growItems()
    this.#itemLast[item] = this.#arena.count - 1
    this.#itemUnits[item] = units
    this.#itemByte[item] = byte
    this.#itemLongest[item] = longest
    this.#itemPaths[item] = paths
    this.#items = item + 1
  }

  #growItems(): void {
    this.#itemLast = grown(this.#itemLast)
    this.#itemUnits = grown(this.#itemUnits)
    this.#itemByte = grown(this.#itemByte)
    this.#itemLongest = grown(this.#itemLongest)
    this.#itemPaths = grown(this.#itemPaths)
  }

  #beginNode(depth: number, firstItem: number): void {
    const node = this.#open
    if (node === this.#openDepth.length) {
      this.#openDepth = grown(this.#openDepth)
      this.#openItem = grown(this.#openItem)
      this.#openUnits = grown(this.#openUnits)
      this.#openPaths = grown(this.#openPaths)
    }
    this.#openDepth[node] = depth
    this.#openItem[node] = firstItem
    this.#openUnits[node] = 0
    this.#openPaths[node] = 0
    this.#open = node + 1
  }

  /** The newest item is a child of the innermost open node. */
  #joined(node: number, item: number): void {
    this.#openUnits[node] += this.#itemUnits[item]
    this.#openPaths[node] += this.#itemPaths[item]
    // With more to choose from frames get fuller.
    const units = this.#openUnits
    while (units[node] > WAITING_FRAMES * this.#fillUnits) if (!this.#moveChildren(node)) break
    if (this.#arena.words > MAX_ARENA_FRAMES * this.#fillUnits * 2) this.#moveLargest()
  }

  /** The innermost open node has all its children, and becomes an item itself. */
  #endNode(node: number, parentDepth: number): void {
    const depth = this.#openDepth[node]
    const prefixLength = depth - parentDepth - 1
    const first = this.#openItem[node]
    const hasTerminal = this.#itemByte[first] === TERMINAL_BYTE
    const children = this.#items - first - (hasTerminal ? 1 : 0)
    const own = nodeUnits(innerType(children), prefixLength)
    this.#makeFit(node, own)
    const units = this.#openUnits[node] + own
    let longest = 0
    for (let i = first; i < this.#items; i++) longest = Math.max(longest, this.#itemLongest[i])
    const bytes = this.#itemByte
    const firstChild = hasTerminal ? first + 1 : first
    const words = this.#lastWords
    this.#arena.pushInner(
      children,
      bytes,
      firstChild,
      hasTerminal,
      words,
      parentDepth + 1,
      prefixLength,
      units,
    )
    const byte = parentDepth >= 0 ? byteAt(words, parentDepth) : 0
    const paths = this.#openPaths[node]
    this.#open--
    this.#setItem(first, units, byte, longest, paths)
  }

  /** Moves children of an open node to fresh frames until the rest, with `ownUnits` for the node itself, fits one frame. */
  #makeFit(node: number, ownUnits: number): void {
    while (
      this.#openUnits[node] + ownUnits > this.#fillUnits ||
      this.#openPaths[node] > this.#tree.maxCrossingPrefixBytes
    ) {
      if (!this.#moveChildren(node))
        throw new HoltError('HOLT_INTERNAL', 'a node whose children all are crossings does not fit a frame')
    }
  }

  /** What waits at all open nodes together is much: the one with most gives some away, well filled or not. */
  #moveLargest(): void {
    let largest = 0
    for (let node = 1; node < this.#open; node++) {
      if (this.#openUnits[node] > this.#openUnits[largest]) largest = node
    }
    this.#moveChildren(largest)
  }

  #isMovable(item: number): boolean {
    return (
      this.#itemByte[item] !== TERMINAL_BYTE && (this.#arena.wordOf(this.#itemLast[item]) & 7) !== CROSSING
    )
  }

  readonly #chosen: number[] = []
  readonly #candidates: number[] = []

  /**
   * Moves some children of an open node to one fresh frame: the largest, which is hardest to place, and as many others as fit
   * beside it. False when there is none that is not a crossing already.
   */
  #moveChildren(node: number): boolean {
    const first = this.#openItem[node]
    const end = node + 1 < this.#open ? this.#openItem[node + 1] : this.#items
    const units = this.#itemUnits
    const paths = this.#itemPaths
    const maxPaths = this.#tree.maxCrossingPrefixBytes
    const isByPaths = this.#openPaths[node] > maxPaths
    const weight = isByPaths ? paths : units
    let seed = -1
    for (let i = first; i < end; i++)
      if (this.#isMovable(i) && (seed < 0 || weight[i] > weight[seed])) seed = i
    if (seed < 0) return false
    const chosen = this.#chosen
    chosen.length = 0
    // First fit, the largest first.
    const candidates = this.#candidates
    candidates.length = 0
    for (let i = first; i < end; i++) if (i !== seed && this.#isMovable(i)) candidates.push(i)
    candidates.sort((a, b) => units[b] - units[a])
    chosen.push(seed)
    let sum = units[seed]
    let sumPaths = paths[seed]
    for (const i of candidates) {
      if (chosen.length === MAX_ENTRIES) break
      if (sum + units[i] > this.#fillUnits || sumPaths + paths[i] > maxPaths) continue
      chosen.push(i)
      sum += units[i]
      sumPaths += paths[i]
    }
    if (sum < this.#fillUnits * LEAST_FILL && chosen.length < MAX_ENTRIES) {
      const wholeUnits = this.#tree.usableUnits - FIRST_REF
      for (const i of candidates) {
        if (sum + units[i] > wholeUnits || sumPaths + paths[i] > maxPaths || chosen.includes(i)) continue
        chosen.push(i)
        sumPaths += paths[i]
        break
      }
    }
    chosen.sort((a, b) => a - b)
    this.#moveChosen(node, sumPaths)
    return true
  }

  #moveChosen(node: number, movedPaths: number): void {
    const tree = this.#tree
    const arena = this.#arena
    const chosen = this.#chosen
    const lasts = this.#itemLast
    const top = arena.wordOf(lasts[chosen[0]])
    const pathBytes = chosen.length > 1 || (top & 7) === LEAF ? 0 : top >>> 16
    const paths = (pathBytes + 7) & ~7
    const takesPath =
      pathBytes > 0 && this.#openPaths[node] - movedPaths + paths <= tree.maxCrossingPrefixBytes
    const id = allocateFrame(tree, chosen.length, true)
    const slot = tree.source.pageTable[id]
    const views = segmentOf(tree.source, slot)
    const base = frameBase(tree.source, slot)
    const depth = this.#openDepth[node] + 1 + (takesPath ? pathBytes : 0)
    for (let entry = 0; entry < chosen.length; entry++) {
      const item = chosen[entry]
      arena.writeTo(
        lasts[item],
        views,
        base,
        entry,
        takesPath,
        this.#itemLongest[item] - depth,
        this.#isNamed,
      )
    }
    this.#roots.add(id)
    this.frames++
    // For who compares the frames there are with those that are named.
    tree.changes++
    arena.beginRewrite(chosen[0] > 0 ? lasts[chosen[0] - 1] + 1 : 0)
    let entry = 0
    for (let item = chosen[0]; item < this.#items; item++) {
      if (entry < chosen.length && chosen[entry] === item) {
        const units = arena.replaceByCrossing(lasts[item], id, entry++, takesPath)
        const held = takesPath ? paths : 0
        this.#openUnits[node] += units - this.#itemUnits[item]
        this.#openPaths[node] += held - this.#itemPaths[item]
        this.#itemUnits[item] = units
        this.#itemPaths[item] = held
      } else {
        arena.keep(lasts[item])
      }
      lasts[item] = arena.count - 1
    }
  }
}

const KEY_WORDS = ((MAX_INDEX_KEY_BYTES + 3) >>> 2) + 2
const MAX_DESCRIPTOR_WORDS = (DESCRIPTOR_BYTES >>> 2) + MAX_VALUE_FRAMES
const NO_WORDS = new Uint32Array(0)
const FIRST_ITEMS = 1_024
const FIRST_OPEN = 64

function byteAt(words: Uint32Array, at: number): number {
  return (words[at >>> 2] >>> ((at & 3) << 3)) & 0xff
}

/** An array twice as long. */
function grown(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const longer = new Int32Array(array.length * 2)
  longer.set(array)
  return longer
}
