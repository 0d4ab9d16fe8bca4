import {
  COMMON_PREFIX,
  Cursor,
  type CursorOptions,
  type CursorStep,
  END,
  EntryRun,
  KEY,
} from '@holt/art-index'
import { HoltError } from '@holt/errors'
import type { ReadEngine } from './read-engine.js'
import type { Entry, Version } from './entries.js'
import { decodeCurrent } from './found-value.js'
import type { KeyCodec } from './key-encoding.js'
import { LIMITS, TREE_ID_BYTES } from './limits.js'
import { encodeToken } from './list-token.js'
import { withTreeId } from './range.js'
import type { ValueCodec } from './value-encoding.js'

/** What of its entries an iterator gives. */
export const WHOLE = 0
export const KEY_ONLY = 1
export const VALUE_ONLY = 2
export type EntryPart = typeof WHOLE | typeof KEY_ONLY | typeof VALUE_ONLY

/** Entries that are read in one go, and where it ends before: a little above so many bytes of keys, or of values. */
export const PAGE_ENTRIES = 128
const PAGE_KEY_BYTES = 8_192
const PAGE_VALUE_BYTES = 16_384

/**
 * Reads entries of a tree, some at a time. What is dear by the entry is done once for all of them: the keys of a page
 * become one string of which each key is a part (100 keys: 3 µs instead of 9).
 *
 * Between pages nothing is held. A page says for which state of the tree it was read ({@link isCurrent}); whoever hands
 * its entries out one by one drops the rest when the tree has changed, and goes on behind the last ({@link resumeBehind}).
 * Its memory serves one walk after the other: {@link ScanPages}.
 */
export class ScanPage {
  readonly #engine: ReadEngine
  readonly #cursor: Cursor
  /** There is nothing behind the page's last entry. */
  ended = false
  /** What the walk ended with behind the page's last entry. */
  failure: Error | undefined
  #changes = -1
  #treeId = 0
  #keys: KeyCodec<unknown> | undefined
  #values: ValueCodec<unknown> | undefined
  /** Its keys are without their tree's id. */
  readonly #run = new EntryRun(
    PAGE_ENTRIES,
    TREE_ID_BYTES,
    LIMITS.maxKeyBytes,
    PAGE_KEY_BYTES,
    PAGE_VALUE_BYTES,
  )
  readonly #keyBytes = this.#run.keyBytes
  readonly #keyBuffer = Buffer.from(this.#keyBytes.buffer)
  readonly #starts = this.#run.starts
  readonly #ends = this.#run.ends
  readonly #versions = this.#run.versions
  readonly #steps = new Uint8Array(PAGE_ENTRIES)
  readonly #decoded: unknown[] = []
  /** So many of its places may hold something. */
  #decodedCount = 0
  #text: string | undefined

  constructor(engine: ReadEngine) {
    this.#engine = engine
    this.#cursor = new Cursor(engine.index)
  }

  /** Begins another walk. Without `keys` or `values` those are not read. Throws as the constructor of a cursor does. */
  begin<K, V>(
    treeId: number,
    options: CursorOptions,
    keys: KeyCodec<K> | undefined,
    values: ValueCodec<V> | undefined,
  ): void {
    this.#treeId = treeId
    this.#keys = keys
    this.#values = values
    this.#cursor.restart(options)
    this.#run.clear()
    this.ended = false
    this.failure = undefined
  }

  /**
   * Reads up to `limit` entries, at most {@link PAGE_ENTRIES}. What goes wrong is kept in {@link failure}: the entries
   * before it are good.
   */
  fill(limit: number): void {
    const { index } = this.#engine
    const cursor = this.#cursor
    const values = this.#values
    const run = this.#run
    const most = limit < PAGE_ENTRIES ? limit : PAGE_ENTRIES
    const { changes } = index
    /** Whether nobody else's code runs between two entries: then the cursor may be ahead of what is decoded. */
    const mayTake = cursor.takesRuns && (values === undefined || values.isOwn)
    this.#changes = changes
    this.#text = undefined
    this.failure = undefined
    this.ended = false
    run.clear()
    try {
      while (run.count < most && !run.isFull) {
        if (mayTake) {
          const from = run.count
          if (cursor.take(run, most) > 0) {
            this.#steps.fill(KEY, from, run.count)
            if (values !== undefined) this.#decode(values, from)
            continue
          }
        }
        const step = cursor.next()
        if (step === END) {
          this.ended = true
          break
        }
        const { count } = run
        if (step === KEY) {
          this.#versions[count] = cursor.version
          if (values !== undefined) {
            run.valueSum += cursor.valueLength
            this.#decoded[count] = decodeCurrent(cursor, values)
          }
        }
        this.#steps[count] = step
        run.addKey(cursor.keyWords, cursor.keyLength)
        // A caller's own decoder may have written to the tree.
        if (index.changes !== changes) break
      }
    } catch (error) {
      this.failure = error instanceof Error ? error : new HoltError('HOLT_INTERNAL', String(error))
    }
    const { count } = run
    if (count >= this.#decodedCount) this.#decodedCount = count + 1
    if (count > 0) this.#text = this.#keys?.textOf(this.#keyBuffer, this.#ends[count - 1])
  }

  /** Decodes what was taken from `from` on. What throws, and all behind it, is taken back. */
  #decode(values: ValueCodec<unknown>, from: number): void {
    const run = this.#run
    const { valueBytes, valueOffsets, valueLengths } = run
    const decoded = this.#decoded
    if (values.decodeMany !== undefined) {
      values.decodeMany(valueBytes, valueOffsets, valueLengths, from, run.count, decoded)
      return
    }
    const { count } = run
    run.count = from
    for (let i = from; i < count; i++) {
      decoded[i] = values.decode(valueBytes, valueOffsets[i], valueLengths[i])
      run.count = i + 1
    }
  }

  /** Entries in the page. */
  get count(): number {
    return this.#run.count
  }

  /** Whether the tree is still as it was when the page was read. */
  get isCurrent(): boolean {
    return this.#engine.index.changes === this.#changes
  }

  /** Makes the next page begin behind the entry at `index` of this one, in the tree as it is then. */
  resumeBehind(index: number): void {
    const from = this.#starts[index]
    const to = this.#ends[index]
    const key = withTreeId(this.#treeId, this.#keyBytes.subarray(from, to))
    this.#cursor.resumeBehind(key, this.#steps[index] as CursorStep)
  }

  /** Whether there is an entry behind the page's last one. The page can be used for nothing but another walk then. */
  hasNext(): boolean {
    return !this.ended && this.#cursor.next() !== END
  }

  /** The token with which `options`, the query of this walk, goes on behind the page's last entry. */
  token(options: CursorOptions): string {
    const last = this.count - 1
    const isPrefix = this.#steps[last] === COMMON_PREFIX
    return encodeToken(options, this.#treeId, this.#keyBytes, this.#starts[last], this.#ends[last], isPrefix)
  }

  /** Forgets what belongs to others. */
  end(): void {
    this.#decoded.fill(undefined, 0, this.#decodedCount)
    this.#decodedCount = 0
    this.#text = undefined
    this.failure = undefined
  }

  keyAt(index: number): unknown {
    const from = this.#starts[index]
    const to = this.#ends[index]
    const text = this.#text
    return text === undefined ? this.#keys?.read(this.#keyBuffer, from, to) : text.substring(from, to)
  }

  valueAt(index: number): unknown {
    return this.#decoded[index]
  }

  /** Appends entries `from … to` to `all`: what `entryAt`, `keyAt` or `valueAt` give one by one. */
  append(all: unknown[], part: EntryPart, from: number, to: number): void {
    const starts = this.#starts
    const ends = this.#ends
    const versions = this.#versions
    const decoded = this.#decoded
    const steps = this.#steps
    const text = this.#text
    for (let i = from; i < to; i++) {
      if (part === VALUE_ONLY) all.push(decoded[i])
      else if (text === undefined) all.push(part === KEY_ONLY ? this.keyAt(i) : this.entryAt(i))
      else {
        const key = text.substring(starts[i], ends[i])
        if (part === KEY_ONLY) all.push(key)
        else if (steps[i] === COMMON_PREFIX) all.push({ kind: 'prefix', prefix: key })
        else all.push({ kind: 'key', key, value: decoded[i], version: versions[i] as Version })
      }
    }
  }

  entryAt(index: number): Entry<unknown, unknown> {
    if (this.#steps[index] === COMMON_PREFIX) return { kind: 'prefix', prefix: this.keyAt(index) }
    return {
      kind: 'key',
      key: this.keyAt(index),
      value: this.#decoded[index],
      version: this.#versions[index] as Version,
    }
  }
}

const MAX_SPARE_PAGES = 4

/** Pages of walks that are over: making one costs more than a short walk. */
export class ScanPages {
  readonly #engine: ReadEngine
  readonly #spare: ScanPage[] = []

  constructor(engine: ReadEngine) {
    this.#engine = engine
  }

  take(): ScanPage {
    return this.#spare.pop() ?? new ScanPage(this.#engine)
  }

  /** Takes a page back that nobody else uses any more. */
  give(page: ScanPage): void {
    page.end()
    if (this.#spare.length < MAX_SPARE_PAGES) this.#spare.push(page)
  }
}
