/** Values above this have memory of their own, so that a small value kept for long does not keep a large pool. */
const LARGEST_POOLED_BYTES = 1_024
const POOL_BYTES = 65_536
/** Up to here a loop over words is faster than the call of `set` and the view it needs. */
const LONGEST_LOOP_BYTES = 128
const NO_BYTES = new ArrayBuffer(0)

/**
 * Copies of stored values. Small ones are cut from a shared block: above 64 bytes a `Uint8Array` of its own costs ten
 * times the view that it takes to cut one off.
 */
export class ValuePool {
  #block = NO_BYTES
  #blockWords = new Uint32Array(NO_BYTES)
  #usedBytes = 0
  #words: Uint32Array = new Uint32Array(NO_BYTES)
  #wordsSource: Uint8Array | undefined
  #buffer = Buffer.alloc(0)
  #bufferSource: Uint8Array | undefined

  /** A copy of `bytes[offset … + length)`; `bytes` begins at a multiple of 4 and the value is padded to one. */
  copy(bytes: Uint8Array, offset: number, length: number): Uint8Array {
    if (length > LARGEST_POOLED_BYTES) {
      const copy = new Uint8Array(length)
      copy.set(bytes.subarray(offset, offset + length))
      return copy
    }
    if (this.#usedBytes + length > this.#block.byteLength) {
      this.#block = new ArrayBuffer(POOL_BYTES)
      this.#blockWords = new Uint32Array(this.#block)
      this.#usedBytes = 0
    }
    const at = this.#usedBytes
    this.#usedBytes = at + ((length + 7) & ~7)
    const copy = new Uint8Array(this.#block, at, length)
    if (length > LONGEST_LOOP_BYTES || ((bytes.byteOffset + offset) & 3) !== 0) {
      copy.set(bytes.subarray(offset, offset + length))
      return copy
    }
    // Whole words: a stored value is padded to one with zeros, and so is its place in the block.
    if (this.#wordsSource !== bytes) {
      this.#wordsSource = bytes
      this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2)
    }
    const from = this.#words
    const to = this.#blockWords
    const fromIndex = offset >>> 2
    const toIndex = at >>> 2
    for (let i = (length - 1) >> 2; i >= 0; i--) to[toIndex + i] = from[fromIndex + i]
    return copy
  }

  /** A Buffer over the same memory as `bytes`; the last one is kept, as lookups come from the same few segments. */
  bufferOf(bytes: Uint8Array): Buffer {
    if (this.#bufferSource !== bytes) {
      this.#bufferSource = bytes
      this.#buffer = Buffer.from(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length)
    }
    return this.#buffer
  }
}
