import { HoltError } from '@holt/errors'
import { MAX_BLOB_ID } from '@holt/blob-buf-pool'

/** Slots of a data file: twice as many as blobs, since a frame that is written anew needs a second one for a while. */
export const MAX_DISK_SLOTS = 2 * (MAX_BLOB_ID + 1) - 1

/**
 * Which slots of a data file are taken: one bit each. The lowest free one is handed out first, so that the file stays
 * short. Belongs to the one thread that writes.
 */
export class DiskSlots {
  #words = new Uint32Array(16)
  /** No word before this one has a free bit. */
  #firstOpenWord = 0
  #taken = 0

  /** Slots taken. */
  get takenCount(): number {
    return this.#taken
  }

  /** One more than the highest slot taken. */
  get reach(): number {
    let word = this.#words.length - 1
    while (word >= 0 && this.#words[word] === 0) word--
    return word < 0 ? 0 : word * 32 + 32 - Math.clz32(this.#words[word])
  }

  isTaken(slot: number): boolean {
    return slot >>> 5 < this.#words.length && (this.#words[slot >>> 5] & (1 << (slot & 31))) !== 0
  }

  /** Takes this very slot. False when it is taken already. */
  take(slot: number): boolean {
    if (this.isTaken(slot)) return false
    this.#reach(slot >>> 5)
    this.#words[slot >>> 5] |= 1 << (slot & 31)
    this.#taken++
    return true
  }

  /** Takes the lowest free slot. Throws `HOLT_NO_SPACE` when there is none. */
  takeLowest(): number {
    let word = this.#firstOpenWord
    while (word < this.#words.length && this.#words[word] === FULL) word++
    this.#firstOpenWord = word
    this.#reach(word)
    const free = ~this.#words[word]
    const slot = word * 32 + (31 - Math.clz32(free & -free))
    if (slot >= MAX_DISK_SLOTS) {
      throw new HoltError('HOLT_NO_SPACE', `all ${String(MAX_DISK_SLOTS)} slots of the data file are taken`)
    }
    this.take(slot)
    return slot
  }

  release(slot: number): void {
    if (!this.isTaken(slot)) {
      throw new HoltError('HOLT_INTERNAL', `disk slot ${String(slot)} is released, but it is free already`)
    }
    this.#words[slot >>> 5] &= ~(1 << (slot & 31))
    this.#taken--
    this.#firstOpenWord = Math.min(this.#firstOpenWord, slot >>> 5)
  }

  #reach(word: number): void {
    if (word < this.#words.length) return
    const larger = new Uint32Array(Math.max(word + 1, this.#words.length * 2))
    larger.set(this.#words)
    this.#words = larger
  }
}

const FULL = 0xffff_ffff
