import { writeKeyBytes } from './key-words.js'
import { LEAF, LEAF_HEADER_BYTES } from './layout.js'
import type { FrameViews } from './frame-views.js'
import { nodeAt } from './node-edit.js'

/** Parts of an array up to this are put together from their bytes: cheaper than a view for `set`, above all of a Buffer. */
const LONGEST_LOOP_BYTES = 256
/** Whole arrays need no view. Shorter ones are put together all the same: `set` has its price, whatever the length. */
const SHORTEST_SET_BYTES = 24
const TWO_32 = 2 ** 32

/**
 * The value of the running put. Values mostly come from the same scratch buffer: from its second use in a row on it is
 * read through a word view, so that no put has to make one. The last source stays referenced until the next put.
 */
export class ValueSource {
  bytes: Uint8Array = EMPTY_BYTES
  #words: Uint32Array = EMPTY_WORDS
  offset = 0
  length = 0
  /** Where {@link copyTo} last put the value, as words; undefined until it has. */
  writtenWords: Uint32Array | undefined
  writtenAt = 0

  set(bytes: Uint8Array, offset: number, length: number): void {
    if (bytes !== this.bytes) {
      this.bytes = bytes
      this.#words = EMPTY_WORDS
    } else if (this.#words === EMPTY_WORDS && (bytes.byteOffset & 3) === 0 && bytes.length >= 16) {
      this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2)
    }
    this.offset = offset
    this.length = length
    this.writtenWords = undefined
  }

  /** Copies the value to byte `to`, a multiple of 4. */
  copyTo(views: FrameViews, to: number): void {
    const { u8, u32 } = views
    const { bytes, offset, length } = this
    this.writtenWords = u32
    this.writtenAt = to >>> 2
    const words = this.#words
    // The lengths differ when a resizable buffer has grown or shrunk since the view was made.
    if (words.length === bytes.length >>> 2 && length >= 8 && length <= 1_024) {
      const shift = (offset & 3) << 3
      const back = 31 - shift
      let at = offset >>> 2
      const end = (to + (length & ~3)) >>> 2
      // The word behind the last whole one is read bytewise below, so this never looks past the view.
      let low = words[at]
      const last = words.length - 1
      for (let i = to >>> 2; i < end; i++) {
        const high = at < last ? words[at + 1] : 0
        u32[i] = (low >>> shift) | ((high << back) << 1)
        low = high
        at++
      }
      const whole = length & ~3
      // With a shift the last whole word may have wanted bytes behind the view's last word.
      for (let i = whole >= 4 ? whole - 4 : 0; i < length; i++) u8[to + i] = bytes[offset + i]
    } else if (length === bytes.length && length >= SHORTEST_SET_BYTES) {
      u8.set(bytes, to)
    } else if (length <= LONGEST_LOOP_BYTES) {
      let from = offset
      const end = (to + length) >>> 2
      for (let i = to >>> 2; i < end; i++, from += 4)
        u32[i] = bytes[from] | (bytes[from + 1] << 8) | (bytes[from + 2] << 16) | (bytes[from + 3] << 24)
      for (let i = length & ~3; i < length; i++) u8[to + i] = bytes[offset + i]
    } else {
      u8.set(bytes.subarray(offset, offset + length), to)
    }
  }

  /** Forgets a caller's buffer that need not be kept alive. */
  copyAside(): void {
    const kept = new Uint8Array(this.length)
    kept.set(this.bytes.subarray(this.offset, this.offset + this.length))
    this.bytes = kept
    this.#words = EMPTY_WORDS
    this.offset = 0
  }
}

const EMPTY_BYTES = new Uint8Array(0)
const EMPTY_WORDS = new Uint32Array(0)

/** Writes a leaf for the key's last `restLength` bytes, from `depth` on. */
export function writeLeaf(
  views: FrameViews,
  base: number,
  ref: number,
  keyWords: Uint32Array,
  depth: number,
  restLength: number,
  value: ValueSource,
  version: number,
): void {
  const { u32 } = views
  const node = nodeAt(base, ref)
  u32[node] = LEAF | (restLength << 3) | (value.length << 16)
  u32[node + 1] = version
  u32[node + 2] = Math.floor(version / TWO_32)
  writeKeyBytes(u32, node + 3, keyWords, depth, restLength)
  value.copyTo(views, node * 4 + LEAF_HEADER_BYTES + ((restLength + 3) & ~3))
}
