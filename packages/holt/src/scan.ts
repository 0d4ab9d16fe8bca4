import type { CursorOptions } from '@holt/art-index'
import { HoltError } from '@holt/errors'
import type { ReadEngine } from './read-engine.js'
import type { KeyCodec } from './key-encoding.js'
import { type EntryPart, KEY_ONLY, PAGE_ENTRIES, type ScanPage, WHOLE } from './scan-page.js'
import { assertThere, type TreeState } from './tree-state.js'
import type { ValueCodec } from './value-encoding.js'

/** A walk that ends early has read few entries in vain; one that goes on doubles them from page to page. */
const FIRST_PAGE_ENTRIES = 8

/** What a walk is over, and of it what its entries need. */
export interface Walk {
  readonly treeId: number
  readonly options: CursorOptions
  readonly keys: KeyCodec<unknown> | undefined
  readonly values: ValueCodec<unknown> | undefined
  readonly state: TreeState
}

/** A walk over entries. It can be iterated over once, step by step, or taken whole. */
export interface Scan<T> extends IterableIterator<T> {
  /**
   * All entries that are still to come, in an array: cheaper than to collect them one by one. Throws as the steps
   * do; what it had by then is lost.
   */
  toArray(): T[]
}

/**
 * An iterable iterator over a range. It needs no close and pins nothing between steps; the tree may change while it is
 * paused: keys that are there all the time come exactly once, and each entry is as it is at its step. It reads ahead,
 * and drops what it has read when the tree has changed.
 */
export class ScanIterator<T> implements Scan<T> {
  readonly #engine: ReadEngine
  readonly #walk: Walk
  readonly #part: EntryPart
  #page: ScanPage | undefined
  /** The entry of the page to hand out next. */
  #at = 0
  #left: number
  #ahead = FIRST_PAGE_ENTRIES
  /** A page is being read, so a caller's decoder may be running. */
  #isReading = false

  constructor(engine: ReadEngine, walk: Walk, limit: number, part: EntryPart) {
    this.#engine = engine
    this.#walk = walk
    this.#left = limit
    this.#part = part
    if (limit < PAGE_ENTRIES) this.#ahead = PAGE_ENTRIES
  }

  next(): IteratorResult<T, undefined> {
    if (this.#left <= 0) return this.#end()
    if (this.#isReading) throw askedByDecoder()
    try {
      const page = this.#current()
      if (page === undefined) return this.#end()
      this.#left -= 1
      const at = this.#at++
      const part = this.#part
      // Not by a function of the caller's: the compiler would have to call it.
      const value = part === WHOLE ? page.entryAt(at) : part === KEY_ONLY ? page.keyAt(at) : page.valueAt(at)
      return { done: false, value: value as T }
    } catch (error) {
      // An error is thrown once; afterwards the walk is over.
      this.#end()
      throw error
    }
  }

  toArray(): T[] {
    if (this.#isReading) throw askedByDecoder()
    const all: T[] = []
    this.#ahead = PAGE_ENTRIES
    try {
      while (this.#left > 0) {
        const page = this.#current()
        if (page === undefined) break
        const from = this.#at
        const to = Math.min(page.count, from + this.#left)
        page.append(all, this.#part, from, to)
        this.#at = to
        this.#left -= to - from
      }
    } finally {
      this.#end()
    }
    return all
  }

  /** A page whose entry at `#at` is the next one; undefined if there is none. */
  #current(): ScanPage | undefined {
    if (this.#engine.closed) this.#engine.assertOpen()
    assertThere(this.#walk.state)
    const page = this.#page
    if (page !== undefined && this.#at < page.count && page.isCurrent) return page
    return this.#turn()
  }

  /** Reads the next page; undefined if there is nothing more. */
  #turn(): ScanPage | undefined {
    let page = this.#page
    if (page === undefined) {
      page = this.#engine.pages.take()
      this.#page = page
      const { treeId, options, keys, values } = this.#walk
      page.begin(treeId, options, keys, values)
    } else {
      if (!page.isCurrent) page.resumeBehind(this.#at - 1)
      else if (page.ended) return undefined
      else if (page.failure !== undefined) throw page.failure
    }
    this.#isReading = true
    page.fill(Math.min(this.#left, this.#ahead))
    this.#isReading = false
    this.#ahead = Math.min(this.#ahead * 2, PAGE_ENTRIES)
    this.#at = 0
    if (page.count > 0) return page
    if (page.failure !== undefined) throw page.failure
    return undefined
  }

  #end(): IteratorResult<T, undefined> {
    this.#left = 0
    // A page that is being read is the reader's until it is done.
    if (this.#page !== undefined && !this.#isReading) {
      this.#engine.pages.give(this.#page)
      this.#page = undefined
    }
    return { done: true, value: undefined }
  }

  return(): IteratorResult<T, undefined> {
    return this.#end()
  }

  [Symbol.iterator](): this {
    return this
  }
}

function askedByDecoder(): HoltError {
  return new HoltError('HOLT_INVALID_ARGUMENT', 'an iterator is asked for its next entry by its own decoder')
}
