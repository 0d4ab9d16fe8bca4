import { type ArtIndex, Cursor, END, isPrefixEmpty, successorOfPrefix } from '@holt/art-index'
import { type BaseTree, type GoneKeys, isGone, keyOf, nameOf, type SeenRecord } from './staged-writes.js'

/** The index, as conditions of a batch look at it. Throws what the index's reads throw. */
export class CommittedTree implements BaseTree {
  readonly #index: ArtIndex

  constructor(index: ArtIndex) {
    this.#index = index
  }

  find(key: Uint8Array): SeenRecord | undefined {
    const index = this.#index
    index.key.set(key)
    if (!index.find(key.length)) return undefined
    const { foundBytes, foundOffset, foundLength, foundVersion } = index
    return { version: foundVersion, value: () => foundBytes.slice(foundOffset, foundOffset + foundLength) }
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
