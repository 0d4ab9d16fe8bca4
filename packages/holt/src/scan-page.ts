import { COMMON_PREFIX, Cursor, type CursorOptions, type CursorStep, END, KEY } from '@holt/art-index'
import { HoltError } from '@holt/errors'
import type { ReadEngine } from './read-engine.js'
import type { Entry, Version } from './entries.js'
import { decodeCurrent } from './found-value.js'
import type { KeyCodec } from './key-encoding.js'
import { LIMITS, TREE_ID_BYTES } from './limits.js'
import { encodeToken } from './list-token.js'
import { withTreeId } from './range.js'
import type { ValueCodec } from './value-encoding.js'

/** Entries that are read in one go, and where it ends before: a little above so many bytes of keys, or of values. */
export const PAGE_ENTRIES = 64
const PAGE_KEY_BYTES = 4_096
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
  count = 0
  /** There is nothing behind the page's last entry. */
  ended = false
  /** What the walk ended with behind the page's last entry. */
  failure: Error | undefined
  #changes = -1
  #treeId = 0
  #keys: KeyCodec<unknown> | undefined
  #values: ValueCodec<unknown> | undefined
  /** Keys without their tree's id, each from a multiple of 4 on. */
  readonly #keyWords = new Uint32Array((PAGE_KEY_BYTES + LIMITS.maxKeyBytes) >>> 2)
  readonly #keyBytes = new Uint8Array(this.#keyWords.buffer)
  readonly #keyBuffer = Buffer.from(this.#keyWords.buffer)
  readonly #starts = new Int32Array(PAGE_ENTRIES)
  readonly #ends = new Int32Array(PAGE_ENTRIES)
  readonly #steps = new Uint8Array(PAGE_ENTRIES)
  readonly #versions = new Float64Array(PAGE_ENTRIES)
  readonly #decoded: unknown[] = []
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
    this.count = 0
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
    const most = limit < PAGE_ENTRIES ? limit : PAGE_ENTRIES
    const keyWords = this.#keyWords
    const starts = this.#starts
    const ends = this.#ends
    const { changes } = index
    let count = 0
    let at = 0
    let valueBytes = 0
    this.#changes = changes
    this.#text = undefined
    this.failure = undefined
    this.ended = false
    try {
      while (count < most && at < PAGE_KEY_BYTES && valueBytes < PAGE_VALUE_BYTES) {
        const step = cursor.next()
        if (step === END) {
          this.ended = true
          break
        }
        const from = cursor.keyWords
        const length = cursor.keyLength - TREE_ID_BYTES
        let to = at >>> 2
        for (let word = TREE_ID_BYTES >>> 2, left = length; left > 0; left -= 4) keyWords[to++] = from[word++]
        // Behind the key's last byte there is whatever there was: it would spoil the page's text.
        if ((length & 3) !== 0) keyWords[to - 1] &= (1 << ((length & 3) << 3)) - 1
        starts[count] = at
        ends[count] = at + length
        this.#steps[count] = step
        if (step === KEY) {
          this.#versions[count] = cursor.version
          if (values !== undefined) {
            valueBytes += cursor.valueLength
            this.#decoded[count] = decodeCurrent(cursor, values)
          }
        }
        at = to << 2
        count++
        // A caller's own decoder may have written to the tree.
        if (index.changes !== changes) break
      }
    } catch (error) {
      this.failure = error instanceof Error ? error : new HoltError('HOLT_INTERNAL', String(error))
    }
    this.count = count
    if (count > 0) this.#text = this.#keys?.textOf(this.#keyBuffer, ends[count - 1])
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
    this.#decoded.fill(undefined)
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
