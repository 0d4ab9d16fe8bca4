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
import type { Count, Entry, KeyEntry, Version, VersionedValue } from './entries.js'
import { decodeFound } from './found-value.js'
import type { KeyCodec } from './key-encoding.js'
import { LIMITS, TREE_ID_BYTES } from './limits.js'
import { resumeAt } from './list-token.js'
import {
  type BoundOptions,
  checkLimit,
  cursorOptions,
  type DelimiterOptions,
  type RangeOptions,
  refuseOptions,
  writeTreeId,
} from './range.js'
import type { ReadEngine } from './read-engine.js'
import { type Scan, ScanIterator } from './scan.js'
import { type EntryPart, KEY_ONLY, VALUE_ONLY, WHOLE } from './scan-page.js'
import { assertThere, type TreeState } from './tree-state.js'
import type { ValueCodec } from './value-encoding.js'

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
 * What can be read of a named tree without a promise: by its owner, who has all of `Tree`, and by a thread that reads along,
 * through `SharedTree`.
 *
 * Every method may fail with `HOLT_CLOSED` after `db.close()`, with `HOLT_TREE_DROPPED` after `db.dropTree()`, with
 * `HOLT_INVALID_KEY` or `HOLT_KEY_TOO_LONG` for its key, with `HOLT_CORRUPT` or `HOLT_IO` when a frame cannot be read.
 */
export class TreeReader<K, V, E extends ReadEngine = ReadEngine> {
  readonly name: string
  protected readonly id: number
  protected readonly engine: E
  protected readonly keyCodec: KeyCodec<K>
  protected readonly valueCodec: ValueCodec<V>
  protected readonly state: TreeState

  constructor(
    engine: E,
    name: string,
    id: number,
    keys: KeyCodec<K>,
    values: ValueCodec<V>,
    state: TreeState,
  ) {
    this.name = name
    this.engine = engine
    this.id = id
    this.keyCodec = keys
    this.valueCodec = values
    this.state = state
  }

  get keyEncoding(): string {
    return this.keyCodec.name
  }
  get valueEncoding(): string {
    return this.valueCodec.name
  }

  // ---- reading -------------------------------------------------------------------------------------------------

  /** The value of a key, as a copy of one's own; `undefined` if the key is not there. */
  get(key: K): V | undefined {
    if (!this.find(key)) return undefined
    return decodeFound(this.engine.index, this.valueCodec)
  }

  /** Value and version of a key, of one instant; `undefined` if the key is not there. */
  getRecord(key: K): VersionedValue<V> | undefined {
    if (!this.find(key)) return undefined
    const { index } = this.engine
    const version = index.foundVersion as Version
    return { value: decodeFound(index, this.valueCodec), version }
  }

  /**
   * Bytes `offsetBytes … + lengthBytes` of a value in its encoding, as a copy; fewer where the value ends before, and
   * `undefined` if the key is not there. Of a large value only the frames with these bytes are looked at. Throws
   * `HOLT_INVALID_ARGUMENT` unless both are whole numbers from 0 on.
   */
  readRange(key: K, offsetBytes: number, lengthBytes: number): Uint8Array | undefined {
    checkWhole('offsetBytes', offsetBytes)
    checkWhole('lengthBytes', lengthBytes)
    if (!this.find(key)) return undefined
    const { index } = this.engine
    const from = Math.min(offsetBytes, index.foundLength)
    const range = new Uint8Array(Math.min(lengthBytes, index.foundLength - from))
    index.readFound(range, 0, from, range.length)
    return range
  }

  /** Whether a key is there. */
  has(key: K): boolean {
    return this.find(key)
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
    if (!this.find(key)) return undefined
    const { index } = this.engine
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

  /** The entry with the longest key that `query` begins with, or is equal to; `undefined` if there is none. */
  longestPrefix(query: K): KeyEntry<K, V> | undefined {
    const engine = this.engine
    engine.assertOpen()
    assertThere(this.state)
    const { index } = engine
    const length = longestPrefix(index, index.key, this.scratch(query))
    // The frames of the way may have been loaded one over the other, so the record is looked up by its key.
    if (length === NO_PREFIX || !index.find(length)) return undefined
    const version = index.foundVersion as Version
    // Before the value: a decoder of the caller's may look for other keys.
    const key = this.keyCodec.read(Buffer.from(index.key.subarray(0, length)), TREE_ID_BYTES, length)
    return { kind: 'key', key, value: decodeFound(index, this.valueCodec), version }
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
      WHOLE,
      this.keyCodec,
      this.valueCodec,
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
    const engine = this.engine
    engine.assertOpen()
    assertThere(this.state)
    refuseOptions(range, ['reverse', 'delimiter', 'after'], 'count')
    const limit = checkLimit(range.limit, Infinity)
    const options = this.rangeOf(range)
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
    const engine = this.engine
    engine.assertOpen()
    assertThere(this.state)
    refuseOptions(range, ['reverse', 'limit', 'delimiter', 'after'], 'isEmpty')
    const options = this.rangeOf(range)
    if (!hasBounds(range)) return isPrefixEmpty(engine.index, prefixOf(options))
    return new Cursor(engine.index, options).next() === END
  }

  /** Walks keys and values in byte order. Throws `HOLT_INVALID_ARGUMENT` for options that are none. */
  scan(range: RangeOptions<K> & DelimiterOptions<K>): Scan<Entry<K, V>>
  scan(range?: RangeOptions<K>): Scan<KeyEntry<K, V>>
  scan(range: RangeOptions<K> = {}): Scan<Entry<K, V>> {
    return this.#scan(range, WHOLE, this.keyCodec, this.valueCodec)
  }

  /** As `scan`, keys only (with a delimiter: common prefixes too). */
  keys(range: RangeOptions<K> & Partial<DelimiterOptions<K>> = {}): Scan<K> {
    return this.#scan(range, KEY_ONLY, this.keyCodec, undefined)
  }

  /** As `scan`, values only. */
  values(range: RangeOptions<K> = {}): Scan<V> {
    // A common prefix has no value.
    refuseOptions(range, ['delimiter'], 'values')
    return this.#scan(range, VALUE_ONLY, undefined, this.valueCodec)
  }

  /**
   * One page of a walk: up to `limit` entries (default 1 000, at most 10 000), common prefixes counted, and a token to
   * go on with. Throws `HOLT_INVALID_TOKEN` for a token of another query.
   */
  list(options: ListOptions<K> & DelimiterOptions<K>): Listing<K, V>
  list(options?: Omit<ListOptions<K>, 'delimiter'>): Listing<K, V, KeyEntry<K, V>>
  list(options: ListOptions<K> = {}): Listing<K, V> {
    this.engine.assertOpen()
    assertThere(this.state)
    const query = this.rangeOf(options)
    const limit = Math.min(checkLimit(options.limit, DEFAULT_LIST_ENTRIES), LIMITS.maxListEntries)
    const from = options.after === undefined ? query : resumeAt(query, options.after)
    const entries: Entry<K, V>[] = []
    if (from === undefined || limit === 0) return { entries, next: undefined }
    const { pages } = this.engine
    const page = pages.take()
    try {
      page.begin(this.id, from, this.keyCodec, this.valueCodec)
      for (;;) {
        page.fill(limit - entries.length)
        page.append(entries, WHOLE, 0, page.count)
        if (page.failure !== undefined) throw page.failure
        if (page.ended) return { entries, next: undefined }
        if (entries.length >= limit) return { entries, next: page.hasNext() ? page.token(query) : undefined }
        this.engine.assertOpen()
      }
    } finally {
      pages.give(page)
    }
  }

  #scan<T>(
    range: object,
    part: EntryPart,
    keys: KeyCodec<K> | undefined,
    values: ValueCodec<V> | undefined,
  ): ScanIterator<T> {
    const engine = this.engine
    engine.assertOpen()
    if ('after' in range)
      throw new HoltError('HOLT_INVALID_ARGUMENT', "'after' is an option of list(), not of a scan")
    const limit = checkLimit((range as RangeOptions<K>).limit, Infinity)
    const treeId = this.id
    const options = this.rangeOf(range)
    return new ScanIterator(engine, { treeId, options, keys, values, state: this.state }, limit, part)
  }

  /** A range of the tree, for a cursor. Throws `HOLT_INVALID_ARGUMENT` and what the key encoding throws. */
  protected rangeOf(range: object): CursorOptions {
    return cursorOptions(this.id, this.keyCodec, range)
  }

  protected find(key: K): boolean {
    const engine = this.engine
    if (engine.closed) engine.assertOpen()
    return engine.index.find(this.scratch(key))
  }

  /** Encodes a key into the index's scratch buffer, behind the tree's id, and returns the length of both. */
  protected scratch(key: K): number {
    assertThere(this.state)
    const scratch = this.engine.index.key
    const length = this.keyCodec.write(key, scratch)
    writeTreeId(this.id, scratch)
    return TREE_ID_BYTES + length
  }
}

export const DEFAULT_LIST_ENTRIES = 1_000
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

function checkWhole(name: string, value: unknown): void {
  if (!(Number.isSafeInteger(value) && (value as number) >= 0)) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `${name} is ${typeof value === 'number' ? String(value) : typeof value}; a whole number from 0 on is wanted`,
    )
  }
}
