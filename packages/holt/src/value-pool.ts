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
    if (this.#wordsSource !== bytes) this.#look(bytes)
    copyWords(this.#words, offset >>> 2, this.#blockWords, at >>> 2, (length + 3) >>> 2)
    return copy
  }

  /** `into[i]` becomes a copy of `bytes[offsets[i] … + lengths[i])`, for `from ≤ i < to`. */
  copyMany(
    bytes: Uint8Array,
    offsets: Int32Array,
    lengths: Int32Array,
    from: number,
    to: number,
    into: unknown[],
  ): void {
    let i = from
    while (i < to) {
      let until = i
      let end = this.#usedBytes
      const room = this.#block.byteLength
      for (; until < to; until++) {
        const length = lengths[until]
        const next = (end + length + 7) & ~7
        if (length > LONGEST_LOOP_BYTES || next > room) break
        end = next
      }
      if (until > i && (bytes.byteOffset & 3) === 0) {
        this.#copyWords(bytes, offsets, lengths, i, until, into)
        i = until
      }
      // What is too long for the loop, and what begins the next block.
      if (i < to) {
        into[i] = this.copy(bytes, offsets[i], lengths[i])
        i++
      }
    }
  }

  /** All words first, then all views: in turns both take twice as long. */
  #copyWords(
    bytes: Uint8Array,
    offsets: Int32Array,
    lengths: Int32Array,
    from: number,
    to: number,
    into: unknown[],
  ): void {
    if (this.#wordsSource !== bytes) this.#look(bytes)
    const source = this.#words
    const target = this.#blockWords
    const block = this.#block
    let at = this.#usedBytes
    for (let i = from; i < to; i++) {
      const length = lengths[i]
      copyWords(source, offsets[i] >>> 2, target, at >>> 2, (length + 3) >>> 2)
      at = (at + length + 7) & ~7
    }
    at = this.#usedBytes
    for (let i = from; i < to; i++) {
      const length = lengths[i]
      into[i] = new Uint8Array(block, at, length)
      at = (at + length + 7) & ~7
    }
    this.#usedBytes = at
  }

  #look(bytes: Uint8Array): void {
    this.#wordsSource = bytes
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2)
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

/** Four at a time: two thirds of the time of a plain loop for 60 bytes. */
function copyWords(source: Uint32Array, from: number, target: Uint32Array, to: number, count: number): void {
  const end = to + count
  for (; to <= end - 4; to += 4, from += 4) {
    target[to] = source[from]
    target[to + 1] = source[from + 1]
    target[to + 2] = source[from + 2]
    target[to + 3] = source[from + 3]
  }
  while (to < end) target[to++] = source[from++]
}
