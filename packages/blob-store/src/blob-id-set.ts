import { HoltError } from '@holt/errors'
import { type BlobId, MAX_BLOB_ID } from '@holt/blob-buf-pool'

/** A set of blob ids: one bit each in shared memory, of which only touched pages cost anything. */
export class BlobIdSet {
  readonly buffer: SharedArrayBuffer
  readonly #words: Int32Array
  /** No id at or above `32 × #limit` is in the set. */
  #limit = 0
  /** Every word below this one is full. */
  #firstRoom = 0
  #count = 0

  constructor() {
    this.buffer = new SharedArrayBuffer((MAX_BLOB_ID + 1) / 8)
    this.#words = new Int32Array(this.buffer)
  }

  get count(): number {
    return this.#count
  }

  has(id: BlobId): boolean {
    return ((this.#words[id >>> 5] >>> (id & 31)) & 1) === 1
  }

  add(id: BlobId): void {
    if (this.has(id)) return
    this.#words[id >>> 5] |= 1 << (id & 31)
    this.#limit = Math.max(this.#limit, (id >>> 5) + 1)
    this.#count += 1
  }

  delete(id: BlobId): void {
    if (!this.has(id)) return
    this.#words[id >>> 5] &= ~(1 << (id & 31))
    this.#firstRoom = Math.min(this.#firstRoom, id >>> 5)
    this.#count -= 1
  }

  /** Adds and returns the lowest id that is not in the set, from 1 on. Throws `HOLT_OUT_OF_MEMORY` when all are. */
  addLowest(): BlobId {
    const words = this.#words
    let word = this.#firstRoom
    while (word < words.length && words[word] === -1) word += 1
    this.#firstRoom = word
    for (; word < words.length; word++) {
      const taken = word === 0 ? words[0] | 1 : words[word]
      if (taken === -1) continue
      const id = (word * 32 + (31 - Math.clz32(~taken & -~taken))) as BlobId
      this.add(id)
      return id
    }
    throw new HoltError('HOLT_OUT_OF_MEMORY', `all ${String(MAX_BLOB_ID)} blob ids are in use`)
  }

  /** The ids in the set, ascending. */
  list(): BlobId[] {
    const ids: BlobId[] = []
    for (let word = 0; word < this.#limit; word++) {
      for (let rest = this.#words[word]; rest !== 0; rest &= rest - 1) {
        ids.push((word * 32 + (31 - Math.clz32(rest & -rest))) as BlobId)
      }
    }
    return ids
  }

  clear(): void {
    this.#words.fill(0, 0, this.#limit)
    this.#limit = 0
    this.#firstRoom = 0
    this.#count = 0
  }
}
