import type { SharedReader } from './attach.js'
import type { Count, Entry, KeyEntry, VersionedValue } from './entries.js'
import type { BoundOptions, DelimiterOptions, RangeOptions } from './range.js'
import { checkLimit } from './range.js'
import type { Listing, ListOptions, TreeReader } from './tree-reader.js'

/**
 * So many entries are read at a time. They must all hold together, so more of them would have to be read again more
 * often under a busy writer.
 */
const CHUNK_ENTRIES = 64

/**
 * A named tree of another thread's database, for reading. Every single call shows one state of the tree, except walks and
 * listings longer than {@link CHUNK_ENTRIES}: these are read piece by piece, as with a cursor of the owner's own.
 *
 * Every method may fail as its twin of `Tree`, and with `HOLT_BUSY` when the owner changes what is read without a pause.
 */
export class SharedTree<K, V> {
  readonly #reader: SharedReader
  readonly #tree: TreeReader<K, V>

  /** @internal Made by `SharedReader.tree`. */
  constructor(reader: SharedReader, tree: TreeReader<K, V>) {
    this.#reader = reader
    this.#tree = tree
  }

  get name(): string {
    return this.#tree.name
  }

  /** The value of a key, as a copy of one's own; `undefined` if the key is not there. */
  get(key: K): V | undefined {
    return this.#reader.read(() => this.#tree.get(key))
  }

  /** Value and version of a key, of one instant; `undefined` if the key is not there. */
  getRecord(key: K): VersionedValue<V> | undefined {
    return this.#reader.read(() => this.#tree.getRecord(key))
  }

  /** Whether a key is there. */
  has(key: K): boolean {
    return this.#reader.read(() => this.#tree.has(key))
  }

  /** As `Tree.getInto`. Until it returns, `buffer` may hold anything. */
  getInto(key: K, buffer: Uint8Array, offsetBytes?: number): number | undefined {
    return this.#reader.read(() => this.#tree.getInto(key, buffer, offsetBytes))
  }

  /** The entry with the longest key that `query` begins with, or is equal to; `undefined` if there is none. */
  longestPrefix(query: K): KeyEntry<K, V> | undefined {
    return this.#reader.read(() => this.#tree.longestPrefix(query))
  }

  /** The first entry of a range, in byte order; `undefined` if it is empty. */
  first(range?: BoundOptions<K>): KeyEntry<K, V> | undefined {
    return this.#reader.read(() => this.#tree.first(range))
  }

  /** The last entry of a range, in byte order; `undefined` if it is empty. */
  last(range?: BoundOptions<K>): KeyEntry<K, V> | undefined {
    return this.#reader.read(() => this.#tree.last(range))
  }

  /** How many keys a range holds, as `Tree.count`, all of one instant. */
  count(range?: BoundOptions<K> & { readonly limit?: number }): Count {
    return this.#reader.read(() => this.#tree.count(range))
  }

  /** Whether a range holds no key. */
  isEmpty(range?: BoundOptions<K>): boolean {
    return this.#reader.read(() => this.#tree.isEmpty(range))
  }

  /** One page of a walk, as `Tree.list`; tokens of one serve the other. */
  list(options: ListOptions<K> & DelimiterOptions<K>): Listing<K, V>
  list(options?: Omit<ListOptions<K>, 'delimiter'>): Listing<K, V, KeyEntry<K, V>>
  list(options: ListOptions<K> = {}): Listing<K, V> {
    let wanted = Math.min(checkLimit(options.limit, 1_000), 10_000)
    const entries: Entry<K, V>[] = []
    let page = options
    for (;;) {
      const limit = Math.min(wanted, CHUNK_ENTRIES)
      const part: Listing<K, V> = this.#reader.read(() => this.#tree.list({ ...page, limit } as never))
      for (const entry of part.entries) entries.push(entry)
      wanted -= part.entries.length
      if (part.next === undefined || wanted <= 0) return { entries, next: part.next }
      page = { ...options, after: part.next }
    }
  }

  /** Walks keys and values in byte order. */
  scan(range: RangeOptions<K> & DelimiterOptions<K>): IterableIterator<Entry<K, V>>
  scan(range?: RangeOptions<K>): IterableIterator<KeyEntry<K, V>>
  *scan(range: RangeOptions<K> = {}): IterableIterator<Entry<K, V>> {
    let left = checkLimit(range.limit, Infinity)
    let page: ListOptions<K> = range
    while (left > 0) {
      const limit = Math.min(left, CHUNK_ENTRIES)
      const part: Listing<K, V> = this.#reader.read(() => this.#tree.list({ ...page, limit } as never))
      yield* part.entries
      left -= part.entries.length
      if (part.next === undefined) return
      page = { ...range, after: part.next }
    }
  }
}
