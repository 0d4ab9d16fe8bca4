import { type ArtIndex, Cursor, END, isPrefixEmpty, successorOfPrefix } from '@holt/art-index'
import { foundBytes } from './found-value.js'
import { batchTooLarge, LIMITS } from './limits.js'
import { type BaseTree, type GoneKeys, isGone, keyOf, nameOf, type SeenRecord } from './staged-writes.js'

/** The index, as conditions of a batch look at it. Throws what the index's reads throw. */
export class CommittedTree implements BaseTree {
  readonly #index: ArtIndex
  /** Bytes of values that the batch has read in order to move them. */
  #movedBytes = 0

  constructor(index: ArtIndex) {
    this.#index = index
  }

  /** Before the conditions of each batch. */
  begin(): void {
    this.#movedBytes = 0
  }

  /** What its value needs may be more than a batch takes: then that throws `HOLT_BATCH_TOO_LARGE`. */
  find(key: Uint8Array): SeenRecord | undefined {
    const index = this.#index
    index.key.set(key)
    if (!index.find(key.length)) return undefined
    const { foundBytes: source, foundOffset, foundLength, foundLarge, foundVersion } = index
    const value = (): Uint8Array => {
      // What a batch moves is held in memory: it ends where the batch would be refused anyway.
      this.#movedBytes += foundLength
      if (this.#movedBytes > LIMITS.maxBatchBytes) throw batchTooLarge(this.#movedBytes, LIMITS.maxBatchBytes)
      if (!foundLarge) return source.slice(foundOffset, foundOffset + foundLength)
      // Other keys may have been looked up since.
      index.key.set(key)
      index.find(key.length)
      return foundBytes(index)
    }
    return { version: foundVersion, value }
  }

  /** Looks at no more keys than `gone` names, and one more. */
  hasAny(prefix: Uint8Array, gone: GoneKeys | undefined): boolean {
    if (gone === undefined) return !isPrefixEmpty(this.#index, prefix)
    const cursor = new Cursor(this.#index, { prefix })
    while (cursor.next() !== END) {
      const name = nameOf(cursor.key.subarray(0, cursor.keyLength))
      if (!isGone(name, gone)) return true
      const covering = gone.prefixes.find((covered) => name.startsWith(covered))
      if (covering === undefined) continue
      const behind = successorOfPrefix(keyOf(covering))
      if (behind === undefined) return false
      cursor.restart({ prefix, gte: behind })
    }
    return false
  }

  restBoundBytes(prefix: Uint8Array, enoughBytes: number): number {
    this.#index.key.set(prefix)
    return this.#index.restBoundBytes(prefix.length, enoughBytes)
  }
}
