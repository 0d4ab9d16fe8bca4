import { COMMON_PREFIX, Cursor, type CursorOptions, END } from '@holt/art-index'
import type { Engine } from './engine.js'
import type { Entry, Version } from './entries.js'
import type { KeyCodec } from './key-encoding.js'
import { TREE_ID_BYTES } from './limits.js'
import type { ValueCodec } from './value-encoding.js'

/** A {@link Cursor} of the engine's tree whose keys and values look as the caller wants them. */
export class EntryCursor<K, V> {
  readonly #engine: Engine
  readonly #cursor: Cursor
  readonly #keys: KeyCodec<K>
  readonly #values: ValueCodec<V>
  #keyBuffer = Buffer.alloc(0)
  #keySource: Uint8Array | undefined

  constructor(engine: Engine, options: CursorOptions, keys: KeyCodec<K>, values: ValueCodec<V>) {
    this.#engine = engine
    this.#cursor = new Cursor(engine.index, options)
    this.#keys = keys
    this.#values = values
  }

  /** Moves on; false at the end. Throws `HOLT_CLOSED`, and `HOLT_CORRUPT` or `HOLT_IO` for a frame that cannot be read. */
  advance(): boolean {
    this.#engine.assertOpen()
    this.#step = this.#cursor.next()
    return this.#step !== END
  }
  #step: ReturnType<Cursor['next']> = END

  get isPrefix(): boolean {
    return this.#step === COMMON_PREFIX
  }

  get key(): K {
    const { key, keyLength } = this.#cursor
    // The cursor's key buffer is replaced when it grows.
    if (this.#keySource !== key) {
      this.#keySource = key
      this.#keyBuffer = Buffer.from(key.buffer as ArrayBuffer, key.byteOffset, key.length)
    }
    return this.#keys.read(this.#keyBuffer, TREE_ID_BYTES, keyLength)
  }

  get value(): V {
    const { valueBytes, valueOffset, valueLength } = this.#cursor
    return this.#values.decode(valueBytes, valueOffset, valueLength)
  }

  /** The bytes of the entry's key, with the tree's id, as a copy. */
  keyBytes(): Uint8Array {
    return this.#cursor.key.slice(0, this.#cursor.keyLength)
  }

  get entry(): Entry<K, V> {
    if (this.isPrefix) return { kind: 'prefix', prefix: this.key }
    return { kind: 'key', key: this.key, value: this.value, version: this.#cursor.version as Version }
  }
}

/**
 * An iterable iterator over a cursor. It holds nothing between steps and needs no close; the tree may change while it
 * is paused: keys that are there all the time come exactly once.
 */
export class ScanIterator<K, V, T> implements IterableIterator<T> {
  readonly #cursor: EntryCursor<K, V>
  readonly #project: (cursor: EntryCursor<K, V>) => T
  #left: number

  constructor(cursor: EntryCursor<K, V>, limit: number, project: (cursor: EntryCursor<K, V>) => T) {
    this.#cursor = cursor
    this.#left = limit
    this.#project = project
  }

  next(): IteratorResult<T, undefined> {
    if (this.#left <= 0) return { done: true, value: undefined }
    this.#left -= 1
    try {
      if (this.#cursor.advance()) return { done: false, value: this.#project(this.#cursor) }
    } catch (error) {
      // An error is thrown once; afterwards the walk is over.
      this.#left = 0
      throw error
    }
    this.#left = 0
    return { done: true, value: undefined }
  }

  return(): IteratorResult<T, undefined> {
    this.#left = 0
    return { done: true, value: undefined }
  }

  [Symbol.iterator](): this {
    return this
  }
}
