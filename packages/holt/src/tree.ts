import { HoltError } from '@holt/errors'
import { type AsyncTreeParts, listEntries, prefetchKeys, scanEntries } from './async-tree.js'
import { bulkLoad, type BulkEntries, type BulkLoadOptions, type BulkLoadResult } from './bulk-load.js'
import { type ChangeFeed, changesOfTree, type TreeChangesOptions } from './change-feed.js'
import { type Durability, raisedDurability } from './durability.js'
import type { BatchOutcome, Engine, KeyEncoder } from './engine.js'
import type { Entry, KeyEntry, Version, VersionedValue } from './entries.js'
import { decodeRead } from './found-value.js'
import { LIMITS } from './limits.js'
import { resumeAt } from './list-token.js'
import { type Operation, renamePrefixOf } from './operation.js'
import {
  checkLimit,
  cursorOptions,
  type DelimiterOptions,
  encodeBehindId,
  type RangeOptions,
  refuseOptions,
} from './range.js'
import { TREE_INTERNALS, type TreeInternals } from './tree-internals.js'
import { DEFAULT_LIST_ENTRIES, type Listing, type ListOptions, TreeReader } from './tree-reader.js'
import { assertThere } from './tree-state.js'
import { ownedBytes } from './value-encoding.js'
import { streamValue } from './value-stream.js'
import { type EntryVisitor, type ValueVisitor, visitEntries, visitFound } from './visit.js'

/** What a single write may ask for. */
export interface WriteOptions {
  /** `'disk'` over a database of durability `'os'`: this write, and all before it, survive a power loss. */
  readonly durability?: Durability
}

export interface RenameOptions extends WriteOptions {
  /** Replace what is at the destination. Default false. */
  readonly force?: boolean
}

/**
 * A named tree: an ordered map from keys to values.
 *
 * Reads are synchronous; a read of what is not in memory waits for the disk. Writes return promises and never throw
 * synchronously. Writes of one thread apply in call order, and are visible at the latest when their promise resolves.
 *
 * Every method may fail with `HOLT_CLOSED` after `db.close()`, with `HOLT_TREE_DROPPED` after `db.dropTree()`, with
 * `HOLT_INVALID_KEY` or `HOLT_KEY_TOO_LONG` for its key, with `HOLT_CORRUPT` or `HOLT_IO` when a frame cannot be read.
 * Writes besides: `HOLT_VALUE_TOO_LARGE`, `HOLT_ENCODING`, `HOLT_NO_SPACE`, `HOLT_POISONED`, `HOLT_QUEUE_FULL`,
 * `HOLT_CHECKPOINT_FAILED`.
 */
export class Tree<K, V> extends TreeReader<K, V, Engine> {
  readonly #encoder: KeyEncoder<K> = { encodeIntoScratch: (key) => this.scratch(key) }

  // ---- reading where it lies -----------------------------------------------------------------------------------

  /**
   * The bytes of a value in its encoding, in chunks of at most half a MiB: frame by frame, without blocking and without
   * holding the value or its frames in between. All chunks are of one version: if the key is overwritten, deleted or
   * moved meanwhile, the next step rejects `HOLT_BUSY`; begin again. The first step rejects `HOLT_NOT_FOUND` if the key
   * is not there.
   */
  getStream(key: K): AsyncIterableIterator<Uint8Array> {
    return streamValue(this.engine, this.#key(key))
  }

  /**
   * Commits that change this tree, with a version above `fromVersion`; without it, those made from now on. As `db.changes`,
   * with keys and values decoded; it ends behind the tree's `dropTree`. Throws as `db.changes` does, and
   * `HOLT_TREE_DROPPED`.
   */
  changes(fromVersion?: number, options: TreeChangesOptions = {}): ChangeFeed<K, V> {
    return changesOfTree(this[TREE_INTERNALS], fromVersion, options)
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
    return visitEntries(this.engine, cursorOptions(this.id, this.keyCodec, range), this.keyCodec, limit, look)
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
    return scanEntries(this.#async(), cursorOptions(this.id, this.keyCodec, range), limit)
  }

  /** As `list`, by promise. Tokens of either serve the other. */
  listAsync(options: ListOptions<K> & DelimiterOptions<K>): Promise<Listing<K, V>>
  listAsync(options?: Omit<ListOptions<K>, 'delimiter'>): Promise<Listing<K, V, KeyEntry<K, V>>>
  async listAsync(options: ListOptions<K> = {}): Promise<Listing<K, V>> {
    this.engine.assertOpen()
    const query = cursorOptions(this.id, this.keyCodec, options)
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
      Array.from(keys, (key) => this.#key(key)),
    )
  }

  // Rejects what `get` throws.
  async #findAsync<T>(
    key: K,
    take: (isThere: boolean, large: Uint8Array | undefined) => T,
    wantsValue = false,
  ): Promise<T> {
    return await this.engine.asyncReads.find(this.#key(key), take, wantsValue)
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

  // ---- writing -------------------------------------------------------------------------------------------------

  /**
   * Puts a key. Resolves when acknowledged; the promise may be shared with other writes that were acknowledged
   * together, so do not count writes by it.
   */
  put(key: K, value: V, options?: WriteOptions): Promise<void> {
    try {
      const engine = this.engine
      if (engine.closed) engine.assertOpen()
      const durability = options === undefined ? engine.durability : durabilityOf(engine, options)
      const bytes = this.valueCodec.encode(value)
      return engine.put(this.scratch(key), bytes, 0, bytes.length, durability)
    } catch (error) {
      return rejected(error)
    }
  }

  /** Deletes a key. Resolves to whether it was there. */
  delete(key: K, options?: WriteOptions): Promise<boolean> {
    try {
      const engine = this.engine
      engine.assertOpen()
      return engine.delete(
        this.scratch(key),
        options === undefined ? engine.durability : durabilityOf(engine, options),
      )
    } catch (error) {
      return rejected(error)
    }
  }

  /**
   * Deletes every key that begins with `prefix`, in one step that costs the depth of the tree, not their number; the
   * space comes back in the background. Resolves to whether there was one. The empty prefix means all keys.
   */
  deletePrefix(prefix: K, options?: WriteOptions): Promise<boolean> {
    return this.#writeOne(() => ({ kind: 'deletePrefix', key: this.#key(prefix) }), options).then(
      (outcome) => outcome.committed && outcome.found[0],
    )
  }

  /**
   * Has every key that begins with `from` begin with `to` instead: a directory renamed. Atomic, and at a cost that does
   * not depend on the number of keys. Values and versions stay. Rejects `HOLT_NOT_FOUND` if no key begins with `from`,
   * `HOLT_EXISTS` if one begins with `to` and `force` is not set (with it they go in the same step),
   * `HOLT_INVALID_ARGUMENT` if one of the two begins with the other, `HOLT_KEY_TOO_LONG` if a key might become too long:
   * what is known of lengths is an upper bound, which long keys that were there once may have raised.
   */
  async renamePrefix(from: K, to: K, options: RenameOptions = {}): Promise<void> {
    const { force = false, ...write } = options
    const outcome = await this.#writeOne(() => {
      if (typeof force !== 'boolean')
        throw new HoltError('HOLT_INVALID_ARGUMENT', `force is ${typeof force}; a boolean is wanted`)
      return renamePrefixOf(this.#key(from), this.#key(to), force)
    }, write)
    if (outcome.committed) return
    if (outcome.failed.reason === 'exists')
      throw new HoltError('HOLT_EXISTS', 'there are keys below the new prefix already')
    throw new HoltError('HOLT_NOT_FOUND', 'there is no key below the prefix to be renamed')
  }

  /**
   * Loads many entries at once: frames are built directly, aside from the tree, and hung in
   * by one step when the last entry has come. All or nothing, over a crash too; when this resolves they are part of a durable
   * image, whatever the database's durability. All keys have one version. Reads and writes go on meanwhile; writes wait while
   * the last step is made durable.
   *
   * That is so when the tree is empty. Else the entries are put in batches of 1 000: then those put before an error stay.
   *
   * With `sorted: true` memory does not grow with the input, else all of it is kept, encoded, with some 10 bytes for each
   * entry. Rejects `HOLT_INVALID_ARGUMENT` for an entry out of order or one that is no pair, `HOLT_EXISTS` if somebody put a
   * key into the tree meanwhile, the signal's reason when aborted, and with what the input throws.
   */
  async bulkLoad(entries: BulkEntries<K, V>, options: BulkLoadOptions = {}): Promise<BulkLoadResult> {
    return await bulkLoad(this[TREE_INTERNALS], entries, options)
  }

  /** Puts a key that is not there yet. Resolves to its version, or `undefined` if it is there. */
  putIfAbsent(key: K, value: V, options?: WriteOptions): Promise<Version | undefined> {
    return this.#writeOne(
      () => ({ kind: 'putIfAbsent', key: this.#key(key), value: this.#value(value) }),
      options,
    ).then(versionOf)
  }

  /** Puts a key whose version still is `version`. Resolves to the new version, or `undefined` if it is another by now. */
  compareAndPut(key: K, value: V, version: Version, options?: WriteOptions): Promise<Version | undefined> {
    return this.#writeOne(() => {
      if (typeof version !== 'number')
        throw new HoltError('HOLT_INVALID_ARGUMENT', `version is ${typeof version}; a number is wanted`)
      return { kind: 'compareAndPut', key: this.#key(key), value: this.#value(value), version }
    }, options).then(versionOf)
  }

  /**
   * Moves a value to another key, atomically; it gets a new version, which is what this resolves to. Rejects
   * `HOLT_NOT_FOUND` if there is no `from`, `HOLT_EXISTS` if there is a `to` and `force` is not set.
   */
  rename(from: K, to: K, options?: RenameOptions): Promise<Version> {
    try {
      const engine = this.engine
      engine.assertOpen()
      const force = options?.force ?? false
      if (typeof force !== 'boolean')
        throw new HoltError('HOLT_INVALID_ARGUMENT', `force is ${typeof force}; a boolean is wanted`)
      const durability =
        options === undefined ? engine.durability : durabilityOf(engine, withoutForce(options))
      const outcome =
        engine.renameNow(this.#encoder, from, to, force, durability) ??
        engine.write([{ kind: 'rename', key: this.#key(from), to: this.#key(to), force }], durability)
      return outcome.then(renamedVersion)
    } catch (error) {
      return rejected(error)
    }
  }

  #writeOne(make: () => Operation, options: WriteOptions | undefined): Promise<BatchOutcome> {
    try {
      this.engine.assertOpen()
      return this.engine.write([make()], durabilityOf(this.engine, options))
    } catch (error) {
      return rejected(error)
    }
  }

  #key(key: K): Uint8Array {
    assertThere(this.state)
    return encodeBehindId(this.id, this.keyCodec, key)
  }

  #value(value: V): Uint8Array {
    return ownedBytes(this.valueCodec, value)
  }

  // ---- for the package's own use -------------------------------------------------------------------------------

  /** @internal What a batch needs to take this tree's operations. */
  get [TREE_INTERNALS](): TreeInternals<K, V> {
    assertThere(this.state)
    return {
      id: this.id,
      engine: this.engine,
      keys: this.keyCodec,
      values: this.valueCodec,
      state: this.state,
    }
  }
}

function durabilityOf(engine: Engine, options: WriteOptions | undefined): Durability {
  if (options === undefined) return engine.durability
  for (const name of Object.keys(options)) {
    if (name !== 'durability')
      throw new HoltError('HOLT_INVALID_ARGUMENT', `'${name}' is no option of a write`)
  }
  return raisedDurability(engine.durability, options.durability)
}

function withoutForce({ force: _force, ...write }: RenameOptions): WriteOptions {
  return write
}

function renamedVersion(outcome: BatchOutcome): Version {
  if (outcome.committed) return outcome.version as Version
  if (outcome.failed.reason === 'exists')
    throw new HoltError('HOLT_EXISTS', 'there is a value at the destination already')
  throw new HoltError('HOLT_NOT_FOUND', 'there is no value at the key to be renamed')
}

function versionOf(outcome: BatchOutcome): Version | undefined {
  return outcome.committed ? (outcome.version as Version) : undefined
}

function rejected(error: unknown): Promise<never> {
  return Promise.reject(error instanceof Error ? error : new HoltError('HOLT_INTERNAL', String(error)))
}
