import {
  countPrefix,
  Cursor,
  type CursorOptions,
  END,
  isPrefixEmpty,
  longestPrefix,
  NO_PREFIX,
} from '@holt/art-index'
import { HoltError } from '@holt/errors'
import { type Durability, raisedDurability } from './durability.js'
import type { BatchOutcome, Engine, KeyEncoder } from './engine.js'
import type { Count, Entry, KeyEntry, Version, VersionedValue } from './entries.js'
import { decodeFound, decodeRead } from './found-value.js'
import type { KeyCodec } from './key-encoding.js'
import { LIMITS, TREE_ID_BYTES } from './limits.js'
import { resumeAt } from './list-token.js'
import { type Operation, renamePrefixOf } from './operation.js'
import { type AsyncTreeParts, listEntries, prefetchKeys, scanEntries } from './async-tree.js'
import {
  type BoundOptions,
  checkLimit,
  cursorOptions,
  type DelimiterOptions,
  encodeBehindId,
  type RangeOptions,
  refuseOptions,
  writeTreeId,
} from './range.js'
import { type ScanPage } from './scan-page.js'
import { ScanIterator } from './scan.js'
import { TREE_INTERNALS, type TreeInternals } from './tree-internals.js'
import { assertThere, type TreeState } from './tree-state.js'
import { ownedBytes, type ValueCodec } from './value-encoding.js'
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

export interface ListOptions<K> extends RangeOptions<K> {
  readonly delimiter?: K
  /** Go on where the listing that returned this token stopped. */
  readonly after?: string
}

export interface Listing<K, V, E = Entry<K, V>> {
  readonly entries: readonly E[]
  /** Where to go on; `undefined` when there is no more. */
  readonly next: string | undefined
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
export class Tree<K, V> {
  readonly name: string
  readonly #id: number
  readonly #engine: Engine
  readonly #keys: KeyCodec<K>
  readonly #values: ValueCodec<V>
  readonly #encoder: KeyEncoder<K> = { encodeIntoScratch: (key) => this.#scratch(key) }
  readonly #state: TreeState

  /** Made by `db.tree(name)`. */
  constructor(
    engine: Engine,
    name: string,
    id: number,
    keys: KeyCodec<K>,
    values: ValueCodec<V>,
    state: TreeState,
  ) {
    this.#state = state
    this.#engine = engine
    this.name = name
    this.#id = id
    this.#keys = keys
    this.#values = values
  }

  get keyEncoding(): string {
    return this.#keys.name
  }
  get valueEncoding(): string {
    return this.#values.name
  }

  // ---- reading -------------------------------------------------------------------------------------------------

  /** The value of a key, as a copy of one's own; `undefined` if the key is not there. */
  get(key: K): V | undefined {
    if (!this.#find(key)) return undefined
    return decodeFound(this.#engine.index, this.#values)
  }

  /** Value and version of a key, of one instant; `undefined` if the key is not there. */
  getRecord(key: K): VersionedValue<V> | undefined {
    if (!this.#find(key)) return undefined
    const { index } = this.#engine
    const version = index.foundVersion as Version
    return { value: decodeFound(index, this.#values), version }
  }

  /**
   * Bytes `offsetBytes … + lengthBytes` of a value in its encoding, as a copy; fewer where the value ends before, and
   * `undefined` if the key is not there. Of a large value only the frames with these bytes are looked at. Throws
   * `HOLT_INVALID_ARGUMENT` unless both are whole numbers from 0 on.
   */
  readRange(key: K, offsetBytes: number, lengthBytes: number): Uint8Array | undefined {
    checkWhole('offsetBytes', offsetBytes)
    checkWhole('lengthBytes', lengthBytes)
    if (!this.#find(key)) return undefined
    const { index } = this.#engine
    const from = Math.min(offsetBytes, index.foundLength)
    const range = new Uint8Array(Math.min(lengthBytes, index.foundLength - from))
    index.readFound(range, 0, from, range.length)
    return range
  }

  /**
   * The bytes of a value in its encoding, in chunks of at most half a MiB: frame by frame, without blocking and without
   * holding the value or its frames in between. All chunks are of one version: if the key is overwritten, deleted or
   * moved meanwhile, the next step rejects `HOLT_BUSY`; begin again. The first step rejects `HOLT_NOT_FOUND` if the key
   * is not there.
   */
  getStream(key: K): AsyncIterableIterator<Uint8Array> {
    return streamValue(this.#engine, this.#key(key))
  }

  /** Whether a key is there. */
  has(key: K): boolean {
    return this.#find(key)
  }

  /**
   * Copies the bytes of a value into `buffer` from `offsetBytes` on (default 0), as they are stored, whatever the tree's
   * value encoding. Returns how many they are, or `undefined` if the key is not there; nothing is copied then. Throws
   * `HOLT_BUFFER_TOO_SMALL`, having copied nothing, when they do not fit, and `HOLT_INVALID_ARGUMENT` for a buffer that
   * is none or an offset outside it.
   */
  getInto(key: K, buffer: Uint8Array, offsetBytes = 0): number | undefined {
    if (!(buffer instanceof Uint8Array))
      throw new HoltError('HOLT_INVALID_ARGUMENT', `buffer is ${typeof buffer}; a Uint8Array is wanted`)
    if (!Number.isInteger(offsetBytes) || offsetBytes < 0 || offsetBytes > buffer.length) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `offsetBytes is ${String(offsetBytes)}; a whole number up to the buffer's ${String(buffer.length)} is wanted`,
      )
    }
    if (!this.#find(key)) return undefined
    const { index } = this.#engine
    const { foundBytes, foundOffset, foundLength } = index
    if (foundLength > buffer.length - offsetBytes) {
      throw new HoltError(
        'HOLT_BUFFER_TOO_SMALL',
        `the value has ${String(foundLength)} bytes; the buffer has room for ${String(buffer.length - offsetBytes)}`,
      )
    }
    if (foundLength > LONGEST_LOOP_BYTES) {
      index.readFound(buffer, offsetBytes, 0, foundLength)
    } else {
      for (let i = 0; i < foundLength; i++) buffer[offsetBytes + i] = foundBytes[foundOffset + i]
    }
    return foundLength
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
    if (!this.#find(key)) return false
    visitFound(this.#engine, look)
    return true
  }

  /**
   * Shows `look` entry after entry where they lie; `false` ends the walk. Takes the options of `scan`, returns the number
   * of entries shown. The rules of `visit` hold: the entry and its views are valid until `look` returns, writes made
   * there are applied when the whole visit is over (so they count as waiting: `HOLT_QUEUE_FULL`).
   */
  visitRange(range: RangeOptions<K> & Partial<DelimiterOptions<K>>, look: EntryVisitor<K>): number {
    this.#engine.assertOpen()
    assertThere(this.#state)
    refuseOptions(range, ['after'], 'visitRange')
    const limit = checkLimit(range.limit, Infinity)
    return visitEntries(this.#engine, cursorOptions(this.#id, this.#keys, range), this.#keys, limit, look)
  }

  /** The entry with the longest key that `query` begins with, or is equal to; `undefined` if there is none. */
  longestPrefix(query: K): KeyEntry<K, V> | undefined {
    const engine = this.#engine
    engine.assertOpen()
    assertThere(this.#state)
    const { index } = engine
    const length = longestPrefix(index, index.key, this.#scratch(query))
    // The frames of the way may have been loaded one over the other, so the record is looked up by its key.
    if (length === NO_PREFIX || !index.find(length)) return undefined
    const version = index.foundVersion as Version
    // Before the value: a decoder of the caller's may look for other keys.
    const key = this.#keys.read(Buffer.from(index.key.subarray(0, length)), TREE_ID_BYTES, length)
    return { kind: 'key', key, value: decodeFound(index, this.#values), version }
  }

  /** The first entry of a range, in byte order; `undefined` if it is empty. */
  first(range: BoundOptions<K> = {}): KeyEntry<K, V> | undefined {
    return this.#endOf(range, false)
  }

  /** The last entry of a range, in byte order; `undefined` if it is empty. */
  last(range: BoundOptions<K> = {}): KeyEntry<K, V> | undefined {
    return this.#endOf(range, true)
  }

  #endOf(range: BoundOptions<K>, reverse: boolean): KeyEntry<K, V> | undefined {
    refuseOptions(range, ['reverse', 'limit', 'delimiter', 'after'], reverse ? 'last' : 'first')
    const walk = this.#scan<KeyEntry<K, V>>(
      { ...range, reverse, limit: 1 },
      entryOf,
      this.#keys,
      this.#values,
    )
    const found = walk.next()
    walk.return()
    return found.done === true ? undefined : found.value
  }

  /**
   * How many keys a range holds, and the bytes of their values. For a prefix, or the whole tree, without `limit` the
   * cost is that of the frames below, not of the keys. With `limit`, or with bounds, it walks; it stops one key behind
   * the limit, and tells by `exact` whether that key was there.
   */
  count(range: BoundOptions<K> & { readonly limit?: number } = {}): Count {
    const engine = this.#engine
    engine.assertOpen()
    assertThere(this.#state)
    refuseOptions(range, ['reverse', 'delimiter', 'after'], 'count')
    const limit = checkLimit(range.limit, Infinity)
    const options = cursorOptions(this.#id, this.#keys, range)
    if (limit === Infinity && !hasBounds(range))
      return { ...countPrefix(engine.index, prefixOf(options)), exact: true }
    const cursor = new Cursor(engine.index, options)
    let keys = 0
    let valueBytes = 0
    while (cursor.next() !== END) {
      if (keys === limit) return { keys, valueBytes, exact: false }
      keys++
      valueBytes += cursor.valueLength
    }
    return { keys, valueBytes, exact: true }
  }

  /** Whether a range holds no key. Costs one descent. */
  isEmpty(range: BoundOptions<K> = {}): boolean {
    const engine = this.#engine
    engine.assertOpen()
    assertThere(this.#state)
    refuseOptions(range, ['reverse', 'limit', 'delimiter', 'after'], 'isEmpty')
    const options = cursorOptions(this.#id, this.#keys, range)
    if (!hasBounds(range)) return isPrefixEmpty(engine.index, prefixOf(options))
    return new Cursor(engine.index, options).next() === END
  }

  /** Walks keys and values in byte order. Throws `HOLT_INVALID_ARGUMENT` for options that are none. */
  scan(range: RangeOptions<K> & DelimiterOptions<K>): IterableIterator<Entry<K, V>>
  scan(range?: RangeOptions<K>): IterableIterator<KeyEntry<K, V>>
  scan(range: RangeOptions<K> = {}): IterableIterator<Entry<K, V>> {
    return this.#scan(range, entryOf, this.#keys, this.#values)
  }

  /** As `scan`, keys only (with a delimiter: common prefixes too). */
  keys(range: RangeOptions<K> & Partial<DelimiterOptions<K>> = {}): IterableIterator<K> {
    return this.#scan(range, keyOf, this.#keys, undefined)
  }

  /** As `scan`, values only. */
  values(range: RangeOptions<K> = {}): IterableIterator<V> {
    // A common prefix has no value.
    refuseOptions(range, ['delimiter'], 'values')
    return this.#scan(range, valueOf, undefined, this.#values)
  }

  /**
   * One page of a walk: up to `limit` entries (default 1 000, at most 10 000), common prefixes counted, and a token to
   * go on with. Throws `HOLT_INVALID_TOKEN` for a token of another query.
   */
  list(options: ListOptions<K> & DelimiterOptions<K>): Listing<K, V>
  list(options?: Omit<ListOptions<K>, 'delimiter'>): Listing<K, V, KeyEntry<K, V>>
  list(options: ListOptions<K> = {}): Listing<K, V> {
    this.#engine.assertOpen()
    assertThere(this.#state)
    const query = cursorOptions(this.#id, this.#keys, options)
    const limit = Math.min(checkLimit(options.limit, DEFAULT_LIST_ENTRIES), LIMITS.maxListEntries)
    const from = options.after === undefined ? query : resumeAt(query, options.after)
    const entries: Entry<K, V>[] = []
    if (from === undefined || limit === 0) return { entries, next: undefined }
    const { pages } = this.#engine
    const page = pages.take()
    try {
      page.begin(this.#id, from, this.#keys, this.#values)
      for (;;) {
        page.fill(limit - entries.length)
        for (let i = 0; i < page.count; i++) entries.push(page.entryAt(i) as Entry<K, V>)
        if (page.failure !== undefined) throw page.failure
        if (page.ended) return { entries, next: undefined }
        if (entries.length >= limit) return { entries, next: page.hasNext() ? page.token(query) : undefined }
        this.#engine.assertOpen()
      }
    } finally {
      pages.give(page)
    }
  }

  // ---- reading without waiting for the disk --------------------------------------------------------------------

  /** As `get`, for what may not be in memory: it is read by promise, and the event loop goes on. */
  getAsync(key: K): Promise<V | undefined> {
    return this.#findAsync(
      key,
      (isThere, large) => (isThere ? decodeRead(this.#engine.index, this.#values, large) : undefined),
      true,
    )
  }

  /** As `getRecord`, by promise. */
  getRecordAsync(key: K): Promise<VersionedValue<V> | undefined> {
    return this.#findAsync(
      key,
      (isThere, large) => {
        if (!isThere) return undefined
        const { index } = this.#engine
        const version = index.foundVersion as Version
        return { value: decodeRead(index, this.#values, large), version }
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
    this.#engine.assertOpen()
    if ('after' in range)
      throw new HoltError('HOLT_INVALID_ARGUMENT', "'after' is an option of list(), not of a scan")
    const limit = checkLimit(range.limit, Infinity)
    return scanEntries(this.#async(), cursorOptions(this.#id, this.#keys, range), limit)
  }

  /** As `list`, by promise. Tokens of either serve the other. */
  listAsync(options: ListOptions<K> & DelimiterOptions<K>): Promise<Listing<K, V>>
  listAsync(options?: Omit<ListOptions<K>, 'delimiter'>): Promise<Listing<K, V, KeyEntry<K, V>>>
  async listAsync(options: ListOptions<K> = {}): Promise<Listing<K, V>> {
    this.#engine.assertOpen()
    const query = cursorOptions(this.#id, this.#keys, options)
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
    this.#engine.assertOpen()
    await prefetchKeys(
      this.#engine.asyncReads,
      Array.from(keys, (key) => this.#key(key)),
    )
  }

  // Rejects what `get` throws.
  async #findAsync<T>(
    key: K,
    take: (isThere: boolean, large: Uint8Array | undefined) => T,
    wantsValue = false,
  ): Promise<T> {
    return await this.#engine.asyncReads.find(this.#key(key), take, wantsValue)
  }

  #async(): AsyncTreeParts<K, V> {
    assertThere(this.#state)
    return {
      reads: this.#engine.asyncReads,
      index: this.#engine.index,
      treeId: this.#id,
      keys: this.#keys,
      values: this.#values,
    }
  }

  #scan<T>(
    range: object,
    project: (page: ScanPage, index: number) => unknown,
    keys: KeyCodec<K> | undefined,
    values: ValueCodec<V> | undefined,
  ): ScanIterator<T> {
    const engine = this.#engine
    engine.assertOpen()
    if ('after' in range)
      throw new HoltError('HOLT_INVALID_ARGUMENT', "'after' is an option of list(), not of a scan")
    const limit = checkLimit((range as RangeOptions<K>).limit, Infinity)
    const treeId = this.#id
    const options = cursorOptions(treeId, this.#keys, range)
    return new ScanIterator(engine, { treeId, options, keys, values, state: this.#state }, limit, project)
  }

  #find(key: K): boolean {
    const engine = this.#engine
    if (engine.closed) engine.assertOpen()
    return engine.index.find(this.#scratch(key))
  }

  /** Encodes a key into the index's scratch buffer, behind the tree's id, and returns the length of both. */
  #scratch(key: K): number {
    assertThere(this.#state)
    const scratch = this.#engine.index.key
    const length = this.#keys.write(key, scratch)
    writeTreeId(this.#id, scratch)
    return TREE_ID_BYTES + length
  }

  // ---- writing -------------------------------------------------------------------------------------------------

  /**
   * Puts a key. Resolves when acknowledged; the promise may be shared with other writes that were acknowledged
   * together, so do not count writes by it.
   */
  put(key: K, value: V, options?: WriteOptions): Promise<void> {
    try {
      const engine = this.#engine
      if (engine.closed) engine.assertOpen()
      const durability = options === undefined ? engine.durability : durabilityOf(engine, options)
      const bytes = this.#values.encode(value)
      return engine.put(this.#scratch(key), bytes, 0, bytes.length, durability)
    } catch (error) {
      return rejected(error)
    }
  }

  /** Deletes a key. Resolves to whether it was there. */
  delete(key: K, options?: WriteOptions): Promise<boolean> {
    try {
      const engine = this.#engine
      engine.assertOpen()
      return engine.delete(
        this.#scratch(key),
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
      const engine = this.#engine
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
      this.#engine.assertOpen()
      return this.#engine.write([make()], durabilityOf(this.#engine, options))
    } catch (error) {
      return rejected(error)
    }
  }

  #key(key: K): Uint8Array {
    assertThere(this.#state)
    return encodeBehindId(this.#id, this.#keys, key)
  }

  #value(value: V): Uint8Array {
    return ownedBytes(this.#values, value)
  }

  // ---- for the package's own use -------------------------------------------------------------------------------

  /** @internal What a batch needs to take this tree's operations. */
  get [TREE_INTERNALS](): TreeInternals<K, V> {
    assertThere(this.#state)
    return { id: this.#id, engine: this.#engine, keys: this.#keys, values: this.#values, state: this.#state }
  }
}

const DEFAULT_LIST_ENTRIES = 1_000
/** Up to here a loop is faster than the call of `set` and the view it needs. */
const LONGEST_LOOP_BYTES = 64
const NO_BYTES = new Uint8Array(0)

function hasBounds(range: BoundOptions<unknown>): boolean {
  const { gt, gte, lt, lte } = range
  return gt !== undefined || gte !== undefined || lt !== undefined || lte !== undefined
}

function prefixOf(options: CursorOptions): Uint8Array {
  return options.prefix ?? NO_BYTES
}

const entryOf = (page: ScanPage, index: number): unknown => page.entryAt(index)
const keyOf = (page: ScanPage, index: number): unknown => page.keyAt(index)
const valueOf = (page: ScanPage, index: number): unknown => page.valueAt(index)

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

function checkWhole(name: string, value: unknown): void {
  if (!(Number.isSafeInteger(value) && (value as number) >= 0)) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `${name} is ${typeof value === 'number' ? String(value) : typeof value}; a whole number from 0 on is wanted`,
    )
  }
}

function versionOf(outcome: BatchOutcome): Version | undefined {
  return outcome.committed ? (outcome.version as Version) : undefined
}

function rejected(error: unknown): Promise<never> {
  return Promise.reject(error instanceof Error ? error : new HoltError('HOLT_INTERNAL', String(error)))
}
