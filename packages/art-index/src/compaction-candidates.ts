/** Random deletes halve all frames of a tree at about the same time; keys are short as a rule. */
const CAPACITY = 1_024
const NO_KEY = new Uint8Array(0)

/**
 * Keys that lead to frames from which much has gone, first in, first out. Keys and not blob ids: what a key leads to is
 * found by a descent, so a candidate cannot go stale. When the queue is full further ones are dropped.
 */
export class CompactionCandidates {
  readonly #keys: Uint8Array[] = []

  get count(): number {
    return this.#keys.length
  }

  /** Copies the first `keyLength` bytes. */
  offer(keyBytes: Uint8Array, keyLength: number): void {
    if (this.#keys.length < CAPACITY) this.#keys.push(keyBytes.slice(0, keyLength))
  }

  /** The oldest; only while there is one. */
  first(): Uint8Array {
    return this.#keys.at(0) ?? NO_KEY
  }

  drop(): void {
    this.#keys.shift()
  }
}
