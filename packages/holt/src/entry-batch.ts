import { encodeTexts, type KeyCodec } from './key-encoding.js'
import { LIMITS } from './limits.js'

const ENTRIES = 64
const VALUE_BYTES = 65_536
/** Whoever reads keys by words may look at two words behind one. */
const SPARE_BYTES = 8

/**
 * Some entries on their way into a tree: keys one behind the other, each value from a whole word on. Keys that are strings
 * are encoded all together: a call of the encoder costs more than what it does for one key.
 */
export class EntryBatch {
  count = 0
  /** By entry, once {@link encodeKeys} was called: bytes from the start of {@link keyWords}. */
  readonly keyAt = new Uint32Array(ENTRIES)
  readonly keyLength = new Uint32Array(ENTRIES)
  /** By entry: words from the start of {@link valueWords}. */
  readonly valueAt = new Uint32Array(ENTRIES)
  /** In bytes. */
  readonly valueLength = new Uint32Array(ENTRIES)
  readonly keyWords = new Uint32Array((ENTRIES * LIMITS.maxKeyBytes + SPARE_BYTES) / 4)
  valueWords: Uint32Array
  readonly #keys: KeyCodec<unknown>
  readonly #keyBytes = new Uint8Array(this.keyWords.buffer)
  #keysEnd = 0
  /** Of the keys that are strings; those of the same number as entries are not encoded yet. */
  #text = ''
  readonly #usualValues = new Uint32Array(VALUE_BYTES / 4)
  #valueBytes: Uint8Array
  #valuesEnd = 0

  constructor(keys: KeyCodec<unknown>) {
    this.#keys = keys
    this.valueWords = this.#usualValues
    this.#valueBytes = new Uint8Array(this.valueWords.buffer)
  }

  /** Whether there is room for an entry with such a value. An empty batch takes every one. */
  hasRoom(valueLength: number): boolean {
    return (
      this.count < ENTRIES && (this.#valuesEnd + valueLength <= this.#valueBytes.length || this.count === 0)
    )
  }

  /** Copies both. Throws as {@link KeyCodec.check} does, having changed nothing. */
  add(key: unknown, value: Uint8Array): void {
    const checked = this.#keys.check(key)
    const entry = this.count
    const { length } = value
    if (this.#valuesEnd + length > this.#valueBytes.length) {
      this.valueWords = new Uint32Array((length + 3) >>> 2)
      this.#valueBytes = new Uint8Array(this.valueWords.buffer)
    }
    this.#valueBytes.set(value, this.#valuesEnd)
    this.valueAt[entry] = this.#valuesEnd >>> 2
    this.valueLength[entry] = length
    this.#valuesEnd = (this.#valuesEnd + length + 3) & ~3
    if (typeof checked === 'string') {
      this.#text += checked
    } else {
      this.#keyBytes.set(checked, this.#keysEnd)
      this.#keysEnd += checked.length
    }
    this.keyLength[entry] = checked.length
    this.count = entry + 1
  }

  /** Makes the keys' bytes of what was added. Throws `HOLT_INVALID_KEY` for an ill-formed string. */
  encodeKeys(): void {
    if (this.#text !== '') encodeTexts(this.#text, this.keyLength, this.count, this.#keyBytes)
    let at = 0
    for (let entry = 0; entry < this.count; entry++) {
      this.keyAt[entry] = at
      at += this.keyLength[entry]
    }
  }

  clear(): void {
    this.count = 0
    this.#text = ''
    this.#keysEnd = 0
    this.#valuesEnd = 0
    if (this.valueWords === this.#usualValues) return
    this.valueWords = this.#usualValues
    this.#valueBytes = new Uint8Array(this.valueWords.buffer)
  }
}
