import type { BlobId } from '@holt/blob-buf-pool'
import type { HoltError } from '@holt/errors'
import type { CursorContract, CursorOptions, CursorStep } from './contract.js'
import { COMMON_PREFIX, END, KEY } from './contract.js'
import { corruptNode } from './corruption.js'
import type { EntryRun } from './entry-run.js'
import { framesAhead } from './frames-ahead.js'
import { type Bound, copyOfBytes, delimiterOf, keyRangeOf } from './key-range.js'
import {
  bodyBytes,
  CROSSING,
  CROSSING_BYTES,
  ENTRY_BYTES,
  ENTRY_TABLE,
  FIRST_REF,
  LARGE_VALUE,
  LEAF,
  LEAF_HEADER_BYTES,
  MAX_ENTRIES,
  MAX_INDEX_KEY_BYTES,
  NODE16,
  NODE256,
  NODE4,
  NODE48,
  UNIT_BYTES,
} from './layout.js'
import { existingBlob, type ReadableTree } from './readable-tree.js'
import { checkCopy, ValueFrames } from './value-frames.js'

/** A tree that may change between a cursor's steps. */
export interface CursorTree extends ReadableTree {
  /** Goes up with every change of the tree or of the places of its nodes. */
  readonly changes: number
}

/*
 * The stack has one level for each inner node between the root and the present place, crossings left out:
 *
 *   BLOB      frame of the node; its slot is looked up each time the walk comes back to it, so frames may come and go
 *   REF       the node
 *   LENGTH    bytes of the path to the node, its own prefix included: key[0 … LENGTH) spells it as long as the level
 *             is on the stack, since everything deeper writes behind it
 *   POSITION  what to visit next: a child's index (node4, node16) or byte (node48, node256); TERMINAL; forward any
 *             number past the last child, or backward BEFORE_ALL, when nothing is left
 *   TIE       1 while the path is a prefix of the bound at which the walk ends. Only below such nodes keys need be
 *             compared with it; everything below the others lies inside
 */
const BLOB = 0
const REF = 1
const LENGTH = 2
const POSITION = 3
const TIE = 4
const LEVEL = 5

const TERMINAL = -1
const BEFORE_ALL = -2
const PAST_ALL = 256

/** A step's inner result: an inner node was pushed, go on there. */
const PUSHED = 3
type Visit = CursorStep | typeof PUSHED

/** Crossings in a row that add no byte to the path: more than this is a loop. */
const MAX_BARE_CROSSINGS = 64

const FREE = 0
const TIED = 1
const OUTSIDE = 2

/**
 * An ordered walk over the keys of a tree; see {@link CursorContract} for what it promises.
 *
 * Between steps it keeps a stack of (frame, node, position) and the bytes of the last key, nothing is pinned. When the
 * tree has changed since, it seeks again from the place it had reached. When only frames have moved or left, it goes
 * on: the bytes of a frame do not change while the tree does not, so its refs stay good, and it never needs more than
 * one frame at a time. A step that throws `FrameAbsent` can be repeated once the frame is there and loses no ground.
 *
 * Rolling up: while no path on the stack holds the delimiter, the first child whose path does is a whole group, and is
 * skipped without a look below. Only where a bound cuts through the group, the walk goes down to one key of it and then
 * drops the stack's levels that lie in the group.
 */
export class Cursor implements CursorContract {
  readonly #tree: CursorTree
  readonly #frameBytes: number
  #reverse = false
  #delimiter: Uint8Array | undefined
  /** Where delimiters begin to count. */
  #delimiterFrom = 0
  /** The bound at which the walk ends. */
  #stop: Bound | undefined

  #scratch = new Uint8Array(512)
  #scratchView = new DataView(this.#scratch.buffer)
  #scratchWords = new Uint32Array(this.#scratch.buffer)
  #stack = new Int32Array(LEVEL * 24)
  /** Index in the stack of the deepest level; negative when there is none. */
  #top = -LEVEL
  /** The root of the tree is yet to be visited. */
  #rootPending = false
  /** The next key may lie in a group whose beginning is on the stack: look at all of its bytes. */
  #edge = false
  #ended = false

  /** The stack says nothing: seek first. */
  #stale = true
  #changes = 0
  #residency = 0
  /** The place reached: key[0 … resumeLength) was seen, it and what is below it still to come or not. */
  #resumeLength = 0
  #resumeSelf = true
  #resumeBelow = true

  // The frame in view.
  #blob = 0
  #base = 0
  #u8: Uint8Array
  #u16: Uint16Array
  #u32: Uint32Array

  keyLength = 0
  valueBytes: Uint8Array = NO_BYTES
  valueOffset = 0
  valueLength = 0
  valueLarge = false
  readonly #valueFrames: ValueFrames
  /** Index of the found leaf's first word in `#u32`. */
  #leafWord = -1
  /** Version of the leaf, where its frame may have left: that of a large value. */
  #largeVersion = 0

  /** Throws `HOLT_INVALID_ARGUMENT` on an empty delimiter. Reads nothing yet. The options' bytes are copied. */
  constructor(tree: CursorTree, options: CursorOptions = {}) {
    this.#tree = tree
    this.#valueFrames = new ValueFrames(tree.source)
    const { slab } = tree.source
    const segment = slab.segments[0]
    this.#frameBytes = slab.frameBytes
    this.#u8 = segment.u8
    this.#u16 = segment.u16
    this.#u32 = segment.u32
    this.restart(options)
  }

  /** Begins another walk of the same tree with the memory of this cursor. Throws as the constructor does. */
  restart(options: CursorOptions = {}): void {
    const delimiter = delimiterOf(options)
    const { low, high } = keyRangeOf(options)
    this.#reverse = options.reverse === true
    this.#delimiter = copyOver(this.#delimiter, delimiter)
    this.#delimiterFrom = options.prefix?.length ?? 0
    const stop = this.#reverse ? low : high
    this.#stop =
      stop === undefined
        ? undefined
        : { bytes: copyOfBytes(stop.bytes, stop.bytes.length), inclusive: stop.inclusive }
    const start = this.#reverse ? high : low
    const length = start?.bytes.length ?? 0
    if (length > this.#scratch.length - 4) this.#growScratch(length)
    if (start) this.#scratch.set(start.bytes)
    this.#resumeLength = length
    this.#resumeSelf = start?.inclusive ?? true
    this.#resumeBelow = start === undefined || !this.#reverse
    this.#top = -LEVEL
    this.#stale = true
    this.#ended = false
    this.keyLength = 0
    this.valueLength = 0
    this.valueLarge = false
    this.#leafWord = -1
  }

  /**
   * Goes on behind the entry with this key, or common prefix: what lies behind it, in the walk's direction, is still to
   * come, as if the step that gave it had been the last one. The options stay.
   */
  resumeBehind(key: Uint8Array, step: CursorStep): void {
    if (key.length > this.#scratch.length - 4) this.#growScratch(key.length)
    this.#scratch.set(key)
    this.#resumeLength = key.length
    this.#resumeSelf = false
    this.#resumeBelow = step === KEY && !this.#reverse
    this.#top = -LEVEL
    this.#stale = true
    this.#ended = false
  }

  /**
   * Goes on where `other` is, a forward walk of the same tree that rolls nothing up: comes to what the other comes to next,
   * and ends at the tree's end, whatever bound the other has.
   */
  follow(other: Cursor): void {
    this.restart()
    const length = other.#resumeLength
    if (length > this.#scratch.length - 4) this.#growScratch(length)
    const from = other.#scratch
    const to = this.#scratch
    for (let i = 0; i < length; i++) to[i] = from[i]
    this.#resumeLength = length
    this.#resumeSelf = other.#resumeSelf
    this.#resumeBelow = other.#resumeBelow
  }

  /**
   * Blobs that are not in memory and that the walk comes to from the node it is at: what to load together with the one
   * that a step missed. At most `limit`; reads nothing.
   */
  framesAhead(limit: number): BlobId[] {
    if (this.#ended || this.#stale || this.#top < 0) return []
    const stack = this.#stack
    const top = this.#top
    const blob = existingBlob(stack[top + BLOB])
    return framesAhead(this.#tree.source, blob, stack[top + REF], stack[top + POSITION], this.#reverse, limit)
  }

  get key(): Uint8Array {
    return this.#scratch
  }

  /** The bytes of {@link key} as words. Those behind the key's last byte are undefined. */
  get keyWords(): Uint32Array {
    return this.#scratchWords
  }

  get version(): number {
    const word = this.#leafWord
    if (word < 0) return 0
    if (this.valueLarge) return this.#largeVersion
    const u32 = this.#u32
    return u32[word + 1] + (u32[word + 2] & 0x1f_ffff) * 0x1_0000_0000
  }

  readValue(target: Uint8Array, targetOffset: number, from: number, length: number): void {
    if (this.valueLarge) {
      this.#valueFrames.read(target, targetOffset, from, length)
      return
    }
    checkCopy(this.valueLength, target, targetOffset, from, length)
    const start = this.valueOffset + from
    target.set(this.valueBytes.subarray(start, start + length), targetOffset)
  }

  /**
   * Goes to the next entry. Throws `FrameAbsent` (load the frame, then call again) and whatever the source's `fault`
   * throws, `HOLT_CORRUPT` when the bytes cannot be a tree; after the latter the cursor is at its end.
   */
  next(): CursorStep {
    if (this.#ended) return END
    const tree = this.#tree
    const { residency } = tree.source
    if (this.#stale || tree.changes !== this.#changes) this.#seek()
    else if (residency[0] !== this.#residency) this.#blob = 0
    const step = this.#advance()
    this.#residency = residency[0]
    return step
  }

  /** Whether {@link take} may ever give something: not to a walk that rolls up, or goes backward. */
  get takesRuns(): boolean {
    return !this.#reverse && this.#delimiter === undefined
  }

  /**
   * Takes plain entries that come next, until `run` is full or has `most` of them: keys of a forward walk without
   * delimiter whose leaves lie in the frame in view, far from a bound, and hold their values themselves. Returns how many
   * it added; none where {@link next} must go first. Reads no frame, throws nothing. Afterwards the cursor's fields say
   * nothing until the next step.
   *
   * One loop over what `next` does a step at a time, with the walk's state in locals: what is unusual is left to it,
   * damage included.
   */
  take(run: EntryRun, most: number): number {
    const tree = this.#tree
    if (
      this.#top < 0 ||
      this.#stale ||
      this.#reverse ||
      this.#delimiter !== undefined ||
      tree.changes !== this.#changes ||
      tree.source.residency[0] !== this.#residency
    )
      return 0
    const u8 = this.#u8
    const u16 = this.#u16
    const u32 = this.#u32
    const base = this.#base
    const blob = this.#blob
    const frameBytes = this.#frameBytes
    const stack = this.#stack
    let scratch = this.#scratch
    const { keyWords, keyView, keyBytes, starts, ends, versions, valueOffsets, valueLengths } = run
    const { fullKeyBytes, fullValueBytes, skippedBytes, withKeys } = run
    const wanted = most < run.capacity ? most : run.capacity
    const before = run.count
    let { count, keyEnd, valueSum } = run
    let top = this.#top
    /** The leaf taken last, if nothing was pushed or popped since. */
    let lastLeaf = -1
    let lastBranch = 0
    let lastRest = 0

    walk: while (top >= 0 && stack[top + BLOB] === blob && stack[top + TIE] === FREE) {
      const node = base + stack[top + REF] * UNIT_BYTES
      const word = u32[node >>> 2] | 0
      const type = word & 7
      const length = stack[top + LENGTH]
      let position = stack[top + POSITION]
      if (position === TERMINAL) {
        if (u16[(node >>> 1) + 2] !== 0) break
        position = 0
      }
      if (length < skippedBytes || length + 16 > scratch.length) break
      const children = (word >>> 3) & 1_023
      const refs = (node + (type === NODE4 ? 12 : type === NODE16 ? 24 : type === NODE48 ? 264 : 8)) >>> 1
      for (;;) {
        let branch: number
        let ref: number
        if (type <= NODE16) {
          if (position >= children) break
          branch = u8[node + 8 + position]
          ref = u16[refs + position]
        } else if (type === NODE48) {
          while (position < 256 && u8[node + 8 + position] === 0) position++
          if (position >= 256) break
          branch = position
          const place = u8[node + 8 + position]
          ref = place > 48 ? 0 : u16[refs + place - 1]
        } else {
          while (position < 256 && u16[refs + position] === 0) position++
          if (position >= 256) break
          branch = position
          ref = u16[refs + position]
        }
        stack[top + POSITION] = position
        if (ref < FIRST_REF || ref * UNIT_BYTES >= frameBytes) break walk
        const child = base + ref * UNIT_BYTES
        const childWord = u32[child >>> 2] | 0
        const childType = childWord & 7
        if (childType === LEAF) {
          const rest = (childWord >>> 3) & 8_191
          const valueLength = childWord >>> 16
          const value = child + ((LEAF_HEADER_BYTES + rest + 3) & ~3)
          const keyLength = length + 1 + rest
          const high = u32[(child >>> 2) + 2] | 0
          if (
            count >= wanted ||
            keyEnd >= fullKeyBytes ||
            valueSum >= fullValueBytes ||
            value + valueLength > base + frameBytes ||
            keyLength > MAX_INDEX_KEY_BYTES ||
            (high & LARGE_VALUE) !== 0
          )
            break walk
          if (withKeys) {
            const scratchWords = this.#scratchWords
            // Up to 15 bytes too many, on both sides: what follows lies over them.
            for (let from = skippedBytes >>> 2, to = keyEnd >>> 2; from << 2 < length; from += 4, to += 4) {
              keyWords[to] = scratchWords[from]
              keyWords[to + 1] = scratchWords[from + 1]
              keyWords[to + 2] = scratchWords[from + 2]
              keyWords[to + 3] = scratchWords[from + 3]
            }
            let at = keyEnd + length - skippedBytes
            keyBytes[at++] = branch
            const end = at + rest
            let from = (child + LEAF_HEADER_BYTES) >>> 2
            for (; at < end; at += 4) keyView.setUint32(at, u32[from++], true)
            keyView.setUint32(end, 0, true)
            starts[count] = keyEnd
            ends[count] = end
            keyEnd = (end + 3) & ~3
          }
          versions[count] = u32[(child >>> 2) + 1] + (high & 0x1f_ffff) * 0x1_0000_0000
          valueOffsets[count] = value
          valueLengths[count] = valueLength
          valueSum += valueLength
          count++
          position++
          lastLeaf = child
          lastBranch = branch
          lastRest = rest
          continue
        }
        const prefixLength = childWord >>> 16
        const below = length + 1 + prefixLength
        if (
          childType === CROSSING ||
          below > MAX_INDEX_KEY_BYTES ||
          top + 2 * LEVEL > stack.length ||
          below + 4 > scratch.length
        )
          break walk
        if (childType < NODE4 || childType > NODE256) break walk
        const inner = (childWord >>> 3) & 1_023
        if ((childType === NODE4 && inner > 4) || (childType === NODE16 && inner > 16)) break walk
        const body = bodyBytes(childType)
        if (ref * UNIT_BYTES + body + prefixLength > frameBytes) break walk
        stack[top + POSITION] = position + 1
        scratch[length] = branch
        const view = this.#scratchView
        let from = (child + body) >>> 2
        for (let to = length + 1; to < below; to += 4) view.setUint32(to, u32[from++], true)
        top += LEVEL
        stack[top + BLOB] = blob
        stack[top + REF] = ref
        stack[top + LENGTH] = below
        stack[top + POSITION] = TERMINAL
        stack[top + TIE] = FREE
        lastLeaf = -1
        this.#resumeLength = below
        this.#resumeSelf = true
        this.#resumeBelow = true
        continue walk
      }
      // Nothing is left of this node.
      lastLeaf = -1
      top -= LEVEL
      this.#resumeLength = length
      this.#resumeSelf = false
      this.#resumeBelow = false
    }

    this.#top = top
    this.keyLength = 0
    this.valueLength = 0
    this.valueLarge = false
    this.#leafWord = -1
    if (lastLeaf >= 0) {
      const length = stack[top + LENGTH]
      const rest = lastRest
      if (length + 1 + rest + 4 > scratch.length) {
        this.#growScratch(length + 1 + rest)
        scratch = this.#scratch
      }
      scratch[length] = lastBranch
      const bytes = lastLeaf + LEAF_HEADER_BYTES
      for (let i = 0; i < rest; i++) scratch[length + 1 + i] = u8[bytes + i]
      this.#resumeLength = length + 1 + rest
      this.#resumeSelf = false
      this.#resumeBelow = true
    }
    run.count = count
    run.keyEnd = keyEnd
    run.valueSum = valueSum
    run.valueBytes = u8
    return count - before
  }

  #end(): typeof END {
    this.#ended = true
    this.#top = -LEVEL
    this.#rootPending = false
    this.keyLength = 0
    this.valueLength = 0
    this.valueLarge = false
    this.#leafWord = -1
    return END
  }

  #advance(): CursorStep {
    for (;;) {
      const stack = this.#stack
      const top = this.#top
      if (top < 0) {
        if (!this.#rootPending) return this.#end()
        const { rootId } = this.#tree
        this.#enter(rootId)
        const root = this.#entryRoot(0)
        if (root === 0) return this.#end()
        this.#rootPending = false
        const step = this.#visit(root, 0, 0, this.#stop === undefined ? FREE : TIED, 0)
        if (step !== PUSHED) return step
        continue
      }
      if (stack[top + BLOB] !== this.#blob) this.#enter(stack[top + BLOB])
      const u8 = this.#u8
      const u16 = this.#u16
      const node = this.#base + stack[top + REF] * UNIT_BYTES
      const word = this.#u32[node >>> 2]
      const length = stack[top + LENGTH]
      let at = stack[top + POSITION]
      let branch = -1
      let ref = 0
      if (this.#reverse) {
        switch (word & 7) {
          case NODE4:
            if (at >= 0) {
              branch = u8[node + 8 + at]
              ref = u16[((node + 12) >>> 1) + at]
            }
            break
          case NODE16:
            if (at >= 0) {
              branch = u8[node + 8 + at]
              ref = u16[((node + 24) >>> 1) + at]
            }
            break
          case NODE48:
            while (at >= 0 && u8[node + 8 + at] === 0) at--
            if (at >= 0) {
              branch = at
              ref = this.#node48Child(node, at)
            }
            break
          default: {
            const children = (node + 8) >>> 1
            while (at >= 0 && u16[children + at] === 0) at--
            if (at >= 0) {
              branch = at
              ref = u16[children + at]
            }
          }
        }
        if (branch < 0) {
          ref = at === BEFORE_ALL ? 0 : u16[(node >>> 1) + 2]
          if (ref === 0) {
            this.#pop(top, length)
            continue
          }
          at = TERMINAL
        }
        stack[top + POSITION] = at - 1
      } else {
        if (at === TERMINAL) {
          ref = u16[(node >>> 1) + 2]
          if (ref === 0) at = 0
        }
        if (at !== TERMINAL) {
          switch (word & 7) {
            case NODE4:
              if (at < ((word >>> 3) & 1_023)) {
                branch = u8[node + 8 + at]
                ref = u16[((node + 12) >>> 1) + at]
              }
              break
            case NODE16:
              if (at < ((word >>> 3) & 1_023)) {
                branch = u8[node + 8 + at]
                ref = u16[((node + 24) >>> 1) + at]
              }
              break
            case NODE48:
              while (at < 256 && u8[node + 8 + at] === 0) at++
              if (at < 256) {
                branch = at
                ref = this.#node48Child(node, at)
              }
              break
            default: {
              const children = (node + 8) >>> 1
              while (at < 256 && u16[children + at] === 0) at++
              if (at < 256) {
                branch = at
                ref = u16[children + at]
              }
            }
          }
          if (branch < 0) {
            this.#pop(top, length)
            continue
          }
        }
        stack[top + POSITION] = at + 1
      }
      let below = length
      if (branch >= 0) {
        // There is room: behind the path of a level are four bytes.
        this.#scratch[length] = branch
        below = length + 1
      } else if (((this.#u32[this.#nodeAt(ref) >>> 2] ?? 0) & 0xffff) !== LEAF) {
        throw this.#corrupt(ref, 'a terminal is not a leaf without rest')
      }
      const step = this.#visit(ref, below, length, stack[top + TIE], at)
      if (step !== PUSHED) return step
    }
  }

  #pop(top: number, length: number): void {
    this.#top = top - LEVEL
    this.#resumeLength = length
    this.#resumeSelf = false
    this.#resumeBelow = false
  }

  /**
   * Comes to the subtree at `ref`, whose path so far is key[0 … length), of which the part behind `seen` is new:
   * returns its key if it is a leaf, rolls it up if the delimiter is in its path, else pushes its node. `tie` is that
   * of the level above, `at` the position there that leads here.
   */
  #visit(ref: number, length: number, seen: number, tie: number, at: number): Visit {
    const delimiter = this.#delimiter
    const reverse = this.#reverse
    /** key[0 … searched) holds no delimiter. */
    let searched = seen
    let compared = seen
    let crossings = 0
    if (delimiter !== undefined && tie === FREE && !this.#edge) {
      // A branch byte that completes a delimiter settles it without a look at the child.
      const end = this.#delimiterEnd(searched, length)
      if (end > 0) return this.#rolledUp(end)
      searched = length
    }
    for (;;) {
      const node = this.#nodeAt(ref)
      const word = this.#u32[node >>> 2]
      const type = word & 7
      if (type === LEAF) {
        const rest = (word >>> 3) & 8_191
        const valueLength = word >>> 16
        const value = node + ((LEAF_HEADER_BYTES + rest + 3) & ~3)
        const keyLength = length + rest
        if (value + valueLength > this.#base + this.#frameBytes)
          throw this.#corrupt(ref, 'a leaf reaches past its frame')
        if (rest > 0) this.#append(ref, node + LEAF_HEADER_BYTES, length, rest)
        if (tie !== FREE && this.#keyOutside(compared, keyLength)) return this.#end()
        if (delimiter !== undefined) {
          const end = this.#delimiterEnd(this.#edge ? 0 : searched, keyLength)
          this.#edge = false
          if (end > 0) {
            const stack = this.#stack
            let top = this.#top
            while (top >= 0 && stack[top + LENGTH] >= end) top -= LEVEL
            this.#top = top
            return this.#rolledUp(end)
          }
        }
        this.keyLength = keyLength
        this.#resumeLength = keyLength
        this.#resumeSelf = false
        this.#resumeBelow = !reverse
        this.valueBytes = this.#u8
        this.valueOffset = value
        this.valueLength = valueLength
        this.valueLarge = false
        this.#leafWord = node >>> 2
        if ((this.#u32[(node >>> 2) + 2] & LARGE_VALUE) !== 0) this.#takeLarge(node >>> 2, ref)
        return KEY
      }

      const prefixLength = word >>> 16
      if (prefixLength > 0) {
        this.#append(ref, node + headerBytesOf(type), length, prefixLength)
        length += prefixLength
      }
      if (tie !== FREE) {
        tie = this.#against(compared, length)
        if (tie === OUTSIDE) return this.#end()
        compared = length
      }
      if (delimiter !== undefined && !this.#edge) {
        const end = this.#delimiterEnd(searched, length)
        if (end > 0) {
          if (tie === FREE) return this.#rolledUp(end)
          // The bound cuts through the group: whether any of it is inside, the first key tells.
          this.#edge = true
        }
        searched = length
      }
      if (type !== CROSSING) {
        this.#push(ref, word, length, tie, reverse ? lastPosition(word) : TERMINAL)
        return PUSHED
      }

      this.#resumeLength = length
      this.#resumeSelf = true
      this.#resumeBelow = true
      if (prefixLength > 0) crossings = 0
      else if (++crossings > MAX_BARE_CROSSINGS)
        throw this.#corrupt(ref, 'crossings lead to crossings without end')
      const child = this.#u32[(node >>> 2) + 1]
      // Should the child not be there, the step is repeated from the level above.
      this.#leave(at)
      const from = this.#blob
      this.#enter(child)
      if (this.#top < 0) this.#rootPending = false
      else this.#stack[this.#top + POSITION] = reverse ? at - 1 : at + 1
      const entry = (word >>> 3) & 1_023
      const root = this.#entryRoot(entry)
      if (root === 0) throw this.#corruptCrossing(from, ref, child, entry)
      ref = root
    }
  }

  #takeLarge(word: number, ref: number): void {
    const frames = this.#valueFrames
    try {
      frames.take(this.#u32, word, this.#blob, ref)
    } catch (error) {
      this.#end()
      throw error
    }
    this.#largeVersion = this.version
    this.valueBytes = NO_BYTES
    this.valueOffset = 0
    this.valueLength = frames.lengthBytes
    this.valueLarge = true
  }

  /** Makes the level above point at the child it has just handed out. */
  #leave(at: number): void {
    if (this.#top < 0) this.#rootPending = true
    else this.#stack[this.#top + POSITION] = at
  }

  #rolledUp(length: number): typeof COMMON_PREFIX {
    this.keyLength = length
    this.#resumeLength = length
    this.#resumeSelf = false
    this.#resumeBelow = false
    this.valueLength = 0
    this.valueLarge = false
    this.#leafWord = -1
    return COMMON_PREFIX
  }

  #push(ref: number, word: number, length: number, tie: number, position: number): void {
    const type = word & 7
    const children = (word >>> 3) & 1_023
    if (
      type < NODE4 ||
      type > NODE256 ||
      (type === NODE4 && children > 4) ||
      (type === NODE16 && children > 16)
    )
      throw this.#corrupt(ref, `no node: type ${String(type)} with ${String(children)} children`)
    if (ref * UNIT_BYTES + headerBytesOf(type) > this.#frameBytes)
      throw this.#corrupt(ref, 'a node reaches past its frame')
    if (length > MAX_INDEX_KEY_BYTES) throw this.#pathTooLong(ref, length)
    if (length + 4 > this.#scratch.length) this.#growScratch(length)
    const top = this.#top + LEVEL
    if (top + LEVEL > this.#stack.length) {
      const larger = new Int32Array(this.#stack.length * 2)
      larger.set(this.#stack)
      this.#stack = larger
    }
    const stack = this.#stack
    stack[top + BLOB] = this.#blob
    stack[top + REF] = ref
    stack[top + LENGTH] = length
    stack[top + POSITION] = position
    stack[top + TIE] = tie
    this.#top = top
  }

  /**
   * Sets the stack so that the next entry is the first at or behind the resume point, in the walk's direction. The
   * resume point itself stays as it is, so that a seek that throws can be repeated.
   *
   * A subtree whose path parts from the target, or goes on where the target ends, lies on one side of it whole; its
   * level above then points at it or behind it. Only nodes whose path is a prefix of the target are pushed.
   */
  #seek(): void {
    const reverse = this.#reverse
    const target = this.#scratch
    const targetLength = this.#resumeLength
    const self = this.#resumeSelf
    const below = this.#resumeBelow
    const { changes, rootId } = this.#tree
    this.#stale = true
    this.#top = -LEVEL
    this.#edge = false
    this.#rootPending = true
    this.#blob = 0
    if (targetLength > 0 || !self || !below) {
      this.#enter(rootId)
      let ref = this.#entryRoot(0)
      let depth = 0
      let at = 0
      let crossings = 0
      let tie = this.#stop === undefined ? FREE : TIED
      let compared = 0
      /** Whether the subtree in hand is to be visited whole. */
      let included = true
      while (ref !== 0) {
        const node = this.#nodeAt(ref)
        const u8 = this.#u8
        const word = this.#u32[node >>> 2]
        const type = word & 7
        const leaf = type === LEAF
        const length = leaf ? (word >>> 3) & 8_191 : word >>> 16
        const bytes = node + (leaf ? LEAF_HEADER_BYTES : headerBytesOf(type))
        if (bytes + length > this.#base + this.#frameBytes)
          throw this.#corrupt(ref, 'a node reaches past its frame')
        const shared = Math.min(length, targetLength - depth)
        let i = 0
        while (i < shared && u8[bytes + i] === target[depth + i]) i++
        if (i < shared) {
          included = u8[bytes + i] > target[depth + i] !== reverse
          break
        }
        if (i < length) {
          // The target ends inside this path.
          included = below
          break
        }
        depth += length
        if (leaf) {
          included = depth === targetLength ? self : reverse
          break
        }
        if (type === CROSSING) {
          if (length > 0) crossings = 0
          else if (++crossings > MAX_BARE_CROSSINGS)
            throw this.#corrupt(ref, 'crossings lead to crossings without end')
          const from = this.#blob
          const child = this.#u32[(node >>> 2) + 1]
          const entry = (word >>> 3) & 1_023
          this.#enter(child)
          const root = this.#entryRoot(entry)
          if (root === 0) throw this.#corruptCrossing(from, ref, child, entry)
          ref = root
          continue
        }
        if (tie !== FREE) {
          tie = this.#against(compared, depth)
          compared = depth
          if (tie === OUTSIDE) {
            this.#end()
            break
          }
        }
        crossings = 0
        if (this.#top < 0) this.#rootPending = false
        this.#push(ref, word, depth, tie, TERMINAL)
        const top = this.#top
        const stack = this.#stack
        ref = 0
        if (depth === targetLength) {
          if (!reverse) stack[top + POSITION] = self ? TERMINAL : below ? 0 : PAST_ALL
          else stack[top + POSITION] = below ? lastPosition(word) : self ? TERMINAL : BEFORE_ALL
          break
        }
        const branch = target[depth]
        if (type === NODE4 || type === NODE16) {
          const children = (word >>> 3) & 1_023
          at = 0
          while (at < children && u8[node + 8 + at] < branch) at++
          if (at < children && u8[node + 8 + at] === branch)
            ref = this.#u16[((node + (type === NODE4 ? 12 : 24)) >>> 1) + at]
        } else {
          at = branch
          if (type === NODE256) ref = this.#u16[((node + 8) >>> 1) + at]
          else if (u8[node + 8 + at] !== 0) ref = this.#node48Child(node, at)
        }
        stack[top + POSITION] = reverse ? at - 1 : ref === 0 ? at : at + 1
        depth++
      }
      if (ref !== 0 && !this.#ended) {
        // The subtree in hand has no level of its own.
        if (included) this.#leave(at)
        else if (this.#top < 0) this.#rootPending = false
      }
    }
    // Only when the deepest level lies in a group, the first key cannot be told from its bytes below that level.
    if (this.#top >= 0) this.#edge = this.#delimiterEnd(0, this.#stack[this.#top + LENGTH]) > 0
    this.#stale = false
    this.#changes = changes
  }

  /** Where the part key[compared … length) of a path leaves the walk's last bound; what lies before is equal to it. */
  #against(compared: number, length: number): number {
    const stop = this.#stop
    if (stop === undefined) return FREE
    const order = comparePath(this.#scratch, compared, length, stop.bytes)
    if (order === 0) return TIED
    return order > 0 === this.#reverse ? FREE : OUTSIDE
  }

  #keyOutside(compared: number, length: number): boolean {
    const stop = this.#stop
    if (stop === undefined) return false
    const order = comparePath(this.#scratch, compared, length, stop.bytes)
    if (order !== 0) return order > 0 !== this.#reverse
    return length === stop.bytes.length ? !stop.inclusive : this.#reverse
  }

  /** End of the first delimiter that ends behind key[0 … searched), or 0. */
  #delimiterEnd(searched: number, length: number): number {
    const delimiter = this.#delimiter
    if (delimiter === undefined) return 0
    const scratch = this.#scratch
    const width = delimiter.length
    const first = delimiter[0]
    const last = length - width
    const from = this.#delimiterFrom
    let i = searched - width + 1
    if (i < from) i = from
    if (width === 1) {
      while (i <= last && scratch[i] !== first) i++
      return i <= last ? i + 1 : 0
    }
    for (; i <= last; i++) {
      if (scratch[i] !== first) continue
      let matched = 1
      while (matched < width && scratch[i + matched] === delimiter[matched]) matched++
      if (matched === width) return i + width
    }
    return 0
  }

  /** Copies path bytes of the frame in view behind key[0 … length). By words: up to three bytes too many, which is room. */
  #append(ref: number, offset: number, length: number, count: number): void {
    const end = length + count
    if (end > MAX_INDEX_KEY_BYTES) throw this.#pathTooLong(ref, end)
    if (offset + count > this.#base + this.#frameBytes)
      throw this.#corrupt(ref, 'a node reaches past its frame')
    if (end + 4 > this.#scratch.length) this.#growScratch(end)
    const view = this.#scratchView
    const u32 = this.#u32
    for (let from = offset >>> 2, to = length; to < end; from++, to += 4) view.setUint32(to, u32[from], true)
  }

  #growScratch(length: number): void {
    const larger = new Uint8Array(Math.max(this.#scratch.length * 2, (length + 11) & ~3))
    larger.set(this.#scratch)
    this.#scratch = larger
    this.#scratchView = new DataView(larger.buffer)
    this.#scratchWords = new Uint32Array(larger.buffer)
  }

  #nodeAt(ref: number): number {
    const offset = ref * UNIT_BYTES
    if (ref < FIRST_REF || offset >= this.#frameBytes) throw this.#corrupt(ref, 'a node was expected here')
    return this.#base + offset
  }

  #node48Child(node: number, byte: number): number {
    const position = this.#u8[node + 8 + byte]
    if (position > 48)
      throw this.#corrupt((node - this.#base) / UNIT_BYTES, `position ${String(position)} in a node of 48`)
    return this.#u16[((node + 264) >>> 1) + position - 1]
  }

  #entryRoot(entry: number): number {
    return entry < MAX_ENTRIES ? this.#u16[(this.#base + ENTRY_TABLE + entry * ENTRY_BYTES) >>> 1] : 0
  }

  #enter(id: number): void {
    const { source } = this.#tree
    const { slab } = source
    let slot = source.pageTable[id] as number | undefined
    if (slot === undefined || slot <= 0) slot = source.fault(existingBlob(id), true)
    const segment = slab.segments[slot >>> slab.segmentShift]
    this.#u8 = segment.u8
    this.#u16 = segment.u16
    this.#u32 = segment.u32
    this.#base = (slot & slab.segmentMask) * slab.frameBytes
    this.#blob = id
  }

  #corrupt(ref: number, what: string): HoltError {
    const blob = this.#blob
    this.#end()
    return corruptNode(blob, ref, what)
  }

  #pathTooLong(ref: number, length: number): HoltError {
    return this.#corrupt(
      ref,
      `a path of ${String(length)} bytes, at most ${String(MAX_INDEX_KEY_BYTES)} are allowed`,
    )
  }

  #corruptCrossing(blob: number, ref: number, child: number, entry: number): HoltError {
    this.#end()
    return corruptNode(
      blob,
      ref,
      `a crossing to entry ${String(entry)} of blob ${String(child)}, which is unused`,
    )
  }
}

const NO_BYTES = new Uint8Array(0)

/** A copy of `bytes`; `kept`, if it is one already. */
function copyOver(kept: Uint8Array | undefined, bytes: Uint8Array | undefined): Uint8Array | undefined {
  if (bytes === undefined) return undefined
  return kept?.length === 1 && bytes.length === 1 && kept[0] === bytes[0] ? kept : new Uint8Array(bytes)
}

/** Where a backward walk of a node begins. */
function lastPosition(word: number): number {
  const type = word & 7
  return type === NODE48 || type === NODE256 ? 255 : ((word >>> 3) & 1_023) - 1
}

/** Bytes of an inner node or crossing before its prefix. A type that does not exist is refused when it is pushed. */
function headerBytesOf(type: number): number {
  return type === CROSSING ? CROSSING_BYTES : bodyBytes(type)
}

/**
 * Byte order of the path `key[0 … length)` and a bound, given that they agree up to `from`: 0 when the path is a prefix
 * of the bound or equal to it, positive also when the bound is a proper prefix of the path.
 */
function comparePath(key: Uint8Array, from: number, length: number, bound: Uint8Array): number {
  const shared = Math.min(length, bound.length)
  for (let i = from; i < shared; i++) {
    const difference = key[i] - bound[i]
    if (difference !== 0) return difference
  }
  return length > bound.length ? 1 : 0
}
