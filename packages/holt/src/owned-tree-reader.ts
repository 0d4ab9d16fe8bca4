import { type AsyncTreeParts, listEntries, prefetchKeys, scanEntries } from './async-tree.js'
import { HoltError } from '@holt/errors'
import type { AsyncReads } from './async-reads.js'
import type { Entry, KeyEntry, Version, VersionedValue } from './entries.js'
import { decodeRead } from './found-value.js'
import { LIMITS } from './limits.js'
import { resumeAt } from './list-token.js'
import {
  checkLimit,
  type DelimiterOptions,
  encodeBehindId,
  type RangeOptions,
  refuseOptions,
} from './range.js'
import { DEFAULT_LIST_ENTRIES, type Listing, type ListOptions, TreeReader } from './tree-reader.js'
import { assertThere } from './tree-state.js'
import { type StreamEngine, streamValue } from './value-stream.js'
import { type EntryVisitor, type ValueVisitor, visitEntries, type VisitEngine, visitFound } from './visit.js'

/** What all reads together need of an engine: that of the owner, or a view of it. */
export interface OwnedReadEngine extends VisitEngine, StreamEngine {
  readonly asyncReads: AsyncReads
}

/**
 * All that can be read of a named tree by the thread that opened its database: now, by `Tree`, and as it was, by a view.
 * Beside what `TreeReader` has there are reads that copy nothing, and reads that do not wait for the disk.
 */
export class OwnedTreeReader<K, V, E extends OwnedReadEngine = OwnedReadEngine> extends TreeReader<K, V, E> {
  // ---- reading where it lies -----------------------------------------------------------------------------------

  /**
   * The bytes of a value in its encoding, in chunks of at most half a MiB: frame by frame, without blocking and without
   * holding the value or its frames in between. All chunks are of one version: if the key is overwritten, deleted or
   * moved meanwhile, the next step rejects `HOLT_BUSY`; begin again. The first step rejects `HOLT_NOT_FOUND` if the key
   * is not there.
   */
  getStream(key: K): AsyncIterableIterator<Uint8Array> {
    return streamValue(this.engine, this.keyBytes(key))
  }

  /**
   * Shows `look` the bytes of a value where they lie, without a copy; a value that lies in frames of its own is gathered
   * into one. The view is of shared memory: it is valid until `look` returns, and must not be written to. Returns whether
   * the key is there.
   *
   * Reads inside `look` are as usual. Writes made there are accepted, and applied when it has returned. Throws
   * `HOLT_INVALID_ARGUMENT` when `look` is asynchronous, and what `look` throws.
   */
  visit(key: K, look: ValueVisitor): boolean {
    if (!this.find(key)) return false
    visitFound(this.engine, look)
    return true
  }

  /**
   * Shows `look` entry after entry where they lie; `false` ends the walk. Takes the options of `scan`, returns the number
   * of entries shown. The rules of `visit` hold: the entry and its views are valid until `look` returns, writes made
   * there are applied when the whole visit is over (so they count as waiting: `HOLT_QUEUE_FULL`).
   */
  visitRange(range: RangeOptions<K> & Partial<DelimiterOptions<K>>, look: EntryVisitor<K>): number {
    this.engine.assertOpen()
    assertThere(this.state)
    refuseOptions(range, ['after'], 'visitRange')
    const limit = checkLimit(range.limit, Infinity)
    return visitEntries(this.engine, this.rangeOf(range), this.keyCodec, limit, look)
  }

  // ---- reading without waiting for the disk --------------------------------------------------------------------

  /** As `get`, for what may not be in memory: it is read by promise, and the event loop goes on. */
  getAsync(key: K): Promise<V | undefined> {
    return this.#findAsync(
      key,
      (isThere, large) => (isThere ? decodeRead(this.engine.index, this.valueCodec, large) : undefined),
      true,
    )
  }

  /** As `getRecord`, by promise. */
  getRecordAsync(key: K): Promise<VersionedValue<V> | undefined> {
    return this.#findAsync(
      key,
      (isThere, large) => {
        if (!isThere) return undefined
        const { index } = this.engine
        const version = index.foundVersion as Version
        return { value: decodeRead(index, this.valueCodec, large), version }
      },
      true,
    )
  }

  /** As `has`, by promise. */
  hasAsync(key: K): Promise<boolean> {
    return this.#findAsync(key, (isThere) => isThere)
  }

  /**
   * As `scan`, by promise: loads what it comes to, several frames at a time, gives the event loop its turn by time, and
   * holds nothing between steps.
   */
  scanAsync(range: RangeOptions<K> & DelimiterOptions<K>): AsyncIterableIterator<Entry<K, V>>
  scanAsync(range?: RangeOptions<K>): AsyncIterableIterator<KeyEntry<K, V>>
  scanAsync(range: RangeOptions<K> = {}): AsyncIterableIterator<Entry<K, V>> {
    this.engine.assertOpen()
    if ('after' in range)
      throw new HoltError('HOLT_INVALID_ARGUMENT', "'after' is an option of list(), not of a scan")
    const limit = checkLimit(range.limit, Infinity)
    return scanEntries(this.#async(), this.rangeOf(range), limit)
  }

  /** As `list`, by promise. Tokens of either serve the other. */
  listAsync(options: ListOptions<K> & DelimiterOptions<K>): Promise<Listing<K, V>>
  listAsync(options?: Omit<ListOptions<K>, 'delimiter'>): Promise<Listing<K, V, KeyEntry<K, V>>>
  async listAsync(options: ListOptions<K> = {}): Promise<Listing<K, V>> {
    this.engine.assertOpen()
    const query = this.rangeOf(options)
    const limit = Math.min(checkLimit(options.limit, DEFAULT_LIST_ENTRIES), LIMITS.maxListEntries)
    const from = options.after === undefined ? query : resumeAt(query, options.after)
    if (from === undefined || limit === 0) return { entries: [], next: undefined }
    return await listEntries(this.#async(), query, from, limit)
  }

  /**
   * Reads what lookups of these keys need into memory, many at a time; keys that are not there are none the worse. How
   * much of it stays is the cache's to say.
   */
  async prefetch(keys: Iterable<K>): Promise<void> {
    this.engine.assertOpen()
    await prefetchKeys(
      this.engine.asyncReads,
      Array.from(keys, (key) => this.keyBytes(key)),
    )
  }

  // Rejects what `get` throws.
  async #findAsync<T>(
    key: K,
    take: (isThere: boolean, large: Uint8Array | undefined) => T,
    wantsValue = false,
  ): Promise<T> {
    return await this.engine.asyncReads.find(this.keyBytes(key), take, wantsValue)
  }

  #async(): AsyncTreeParts<K, V> {
    assertThere(this.state)
    return {
      reads: this.engine.asyncReads,
      index: this.engine.index,
      treeId: this.id,
      keys: this.keyCodec,
      values: this.valueCodec,
    }
  }

  /** A key's bytes, behind the tree's id. */
  protected keyBytes(key: K): Uint8Array {
    assertThere(this.state)
    return encodeBehindId(this.id, this.keyCodec, key)
  }
}
