import { isUtf8 } from 'node:buffer'
import { HoltError } from '@holt/errors'
import { LIMITS, TREE_ID_BYTES } from './limits.js'

/** How keys look to the caller. Order is always that of the encoded bytes. */
export type KeyEncodingName = 'utf8' | 'view' | 'buffer'

export interface KeyEncodings {
  readonly utf8: string
  readonly view: Uint8Array
  readonly buffer: Buffer
}

/** Translates between a caller's keys and bytes behind the tree's id. */
export interface KeyCodec<K> {
  readonly name: KeyEncodingName
  /**
   * Writes the key into `scratch` from {@link TREE_ID_BYTES} on and returns its length in bytes, without the id.
   * Throws `HOLT_INVALID_KEY` for what is no key, `HOLT_KEY_TOO_LONG` beyond the limit.
   */
  readonly write: (key: unknown, scratch: Uint8Array) => number
  /**
   * The key itself, if it is one: bytes, or a string to be encoded by {@link encodeTexts}, which finds out whether it is well
   * formed. Throws as `write` does for all else.
   */
  readonly check: (key: unknown) => string | Uint8Array
  /** The key's own bytes, as a copy. Throws as `write` does. */
  readonly encode: (key: unknown) => Uint8Array
  /**
   * All of `bytes[0 … to)` as one string in which every byte is one character, so that keys can be cut from it;
   * undefined when it is not ASCII throughout, or keys are no strings.
   */
  readonly textOf: (bytes: Buffer, to: number) => string | undefined
  /** The key whose bytes are `bytes[from … to)`. Throws `HOLT_INVALID_KEY` when they do not decode. */
  readonly read: (bytes: Buffer, from: number, to: number) => K
}

const encoder = new TextEncoder()

function wrongType(key: unknown, wanted: string): HoltError {
  const found = key === null ? 'null' : typeof key
  return new HoltError('HOLT_INVALID_KEY', `a key is ${found}; this tree's key encoding wants ${wanted}`)
}

function tooLong(lengthBytes: number): HoltError {
  return new HoltError(
    'HOLT_KEY_TOO_LONG',
    `a key has ${String(lengthBytes)} bytes; at most ${String(LIMITS.maxKeyBytes)} are allowed`,
  )
}

function checkString(key: unknown): string {
  if (typeof key !== 'string') throw wrongType(key, 'a string')
  if (!isWellFormed(key)) throw illFormed()
  checkStringLength(key)
  return key
}

function checkStringLength(key: string): void {
  if (key.length <= ALWAYS_FITS_UNITS) return
  const lengthBytes = Buffer.byteLength(key)
  if (lengthBytes > LIMITS.maxKeyBytes) throw tooLong(lengthBytes)
}

/** No string of so many UTF-16 units is too long, as each takes at most three bytes: only above the bytes are counted. */
const ALWAYS_FITS_UNITS = Math.floor(LIMITS.maxKeyBytes / 3)

function illFormed(): HoltError {
  return new HoltError('HOLT_INVALID_KEY', 'a key is an ill-formed string: it holds a lone surrogate')
}

// `isWellFormed` is in every Node holt runs on, not yet in TypeScript's ES2023 library.
const wellFormed = (String.prototype as unknown as { isWellFormed: (this: string) => boolean }).isWellFormed
function isWellFormed(text: string): boolean {
  return wellFormed.call(text)
}

function checkBytes(key: unknown, wanted: string): Uint8Array {
  if (!(key instanceof Uint8Array)) throw wrongType(key, wanted)
  if (key.length > LIMITS.maxKeyBytes) throw tooLong(key.length)
  return key
}

const utf8: KeyCodec<string> = {
  name: 'utf8',
  write(key, scratch) {
    if (typeof key !== 'string') throw wrongType(key, 'a string')
    checkStringLength(key)
    const { written } = encoder.encodeInto(key, tailOf(scratch))
    // As many bytes as units is ASCII, which needs no look for lone surrogates: 10 ns of a lookup's 300.
    if (written !== key.length && !isWellFormed(key)) throw illFormed()
    return written
  },
  check(key) {
    if (typeof key !== 'string') throw wrongType(key, 'a string')
    checkStringLength(key)
    return key
  },
  encode: (key) => encoder.encode(checkString(key)),
  textOf(bytes, to) {
    const text = bytes.toString('utf8', 0, to)
    // A character of several bytes makes the text shorter; a byte that is none of UTF-8 becomes U+FFFD.
    return text.length === to && !text.includes('\ufffd') ? text : undefined
  },
  read(bytes, from, to) {
    const text = bytes.toString('utf8', from, to)
    if (text.includes('\ufffd') && !isUtf8(bytes.subarray(from, to))) {
      throw new HoltError(
        'HOLT_INVALID_KEY',
        "a stored key is not valid UTF-8; open the tree with keyEncoding 'view' to read it",
      )
    }
    return text
  },
}

const noText = (): undefined => undefined

const view: KeyCodec<Uint8Array> = {
  name: 'view',
  write(key, scratch) {
    const bytes = checkBytes(key, 'a Uint8Array')
    scratch.set(bytes, TREE_ID_BYTES)
    return bytes.length
  },
  check: (key) => checkBytes(key, 'a Uint8Array'),
  encode: (key) => Uint8Array.prototype.slice.call(checkBytes(key, 'a Uint8Array')),
  textOf: noText,
  read: (bytes, from, to) => new Uint8Array(bytes.subarray(from, to)),
}

const buffer: KeyCodec<Buffer> = {
  name: 'buffer',
  write: view.write,
  check: view.check,
  encode: view.encode,
  textOf: noText,
  read: (bytes, from, to) => Buffer.from(bytes.subarray(from, to)),
}

/**
 * Encodes keys that stand one behind the other in `text`, `lengths[0 … count)` UTF-16 units each, to the beginning of
 * `target`, which has room for them; `lengths` become those in bytes. Throws `HOLT_INVALID_KEY` for an ill-formed one.
 */
export function encodeTexts(text: string, lengths: Uint32Array, count: number, target: Uint8Array): void {
  const { written } = encoder.encodeInto(text, target)
  // As many bytes as units is ASCII throughout.
  if (written === text.length) return
  let unit = 0
  let at = 0
  for (let i = 0; i < count; i++) {
    const key = text.slice(unit, unit + lengths[i])
    // Two keys that are ill-formed may be well formed together.
    if (!isWellFormed(key)) throw illFormed()
    unit += lengths[i]
    lengths[i] = encoder.encodeInto(key, target.subarray(at)).written
    at += lengths[i]
  }
}

/** The part of a scratch buffer behind the tree's id; one view is kept per buffer, as making one costs more than using it. */
const tails = new WeakMap<Uint8Array, Uint8Array>()
let lastScratch: Uint8Array | undefined
let lastTail: Uint8Array = new Uint8Array(0)
function tailOf(scratch: Uint8Array): Uint8Array {
  if (scratch === lastScratch) return lastTail
  let tail = tails.get(scratch)
  if (tail === undefined) {
    tail = scratch.subarray(TREE_ID_BYTES)
    tails.set(scratch, tail)
  }
  lastScratch = scratch
  lastTail = tail
  return tail
}

const CODECS = { utf8, view, buffer }

/** Throws `HOLT_INVALID_ARGUMENT` for an unknown name. */
export function keyCodec<N extends KeyEncodingName>(name: N): KeyCodec<KeyEncodings[N]> {
  if (!Object.hasOwn(CODECS, name)) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `keyEncoding is ${JSON.stringify(name)}; 'utf8', 'view' or 'buffer' is wanted`,
    )
  }
  return CODECS[name] as unknown as KeyCodec<KeyEncodings[N]>
}
