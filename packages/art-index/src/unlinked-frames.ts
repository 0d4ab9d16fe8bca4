import type { BlobId } from '@holt/blob-buf-pool'

/**
 * Frames that the tree let go of together with all below them, and that are not given back yet. Each is the root of an
 * unlinked subtree of frames: every entry of it, and every frame that its crossings name, is unlinked as well.
 *
 * A set, given back last in, first out: so it holds at most the siblings along one path. Whoever keeps the tree keeps
 * it too (the engine in its note), or what lies in it leaks.
 */
export class UnlinkedFrames implements Iterable<BlobId> {
  readonly #ids = new Set<BlobId>()
  readonly #stack: BlobId[] = []

  get size(): number {
    return this.#ids.size
  }

  /** Naming one twice, as the crossings of a run of siblings do, is naming it once. */
  add(id: BlobId): void {
    if (this.#ids.has(id)) return
    this.#ids.add(id)
    this.#stack.push(id)
  }

  /** The one to give back next; `undefined` when there is none. */
  get next(): BlobId | undefined {
    return this.#stack.at(-1)
  }

  /** Takes {@link next} out. */
  removeNext(): void {
    const id = this.#stack.pop()
    if (id !== undefined) this.#ids.delete(id)
  }

  [Symbol.iterator](): IterableIterator<BlobId> {
    return this.#ids.values()
  }
}
