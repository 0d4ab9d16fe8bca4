import { isUtf8 } from 'node:buffer'
import { HoltError } from '@holt/errors'
import { LIMITS } from './limits.js'
import { ValuePool } from './value-pool.js'

/**
 * How values look to the caller: an object of the shape that abstract-level's encodings have. `name` is kept in the
 * catalogue; opening the tree with another one is `HOLT_ENCODING`.
 */
export interface ValueEncoding<V> {
  readonly name: string
  /** What `encode` returns and `decode` takes. */
  readonly format: 'view' | 'buffer' | 'utf8'
  // Methods, not properties: so an encoding of one type can stand where one of any type is taken.
  encode(value: V): Uint8Array | string
  decode(data: never): V
}

export type ValueEncodingName = 'view' | 'buffer' | 'utf8' | 'json'

export interface ValueEncodings {
  readonly view: Uint8Array
  readonly buffer: Buffer
  readonly utf8: string
  readonly json: unknown
}

/** Values as JSON text, with a type of your own: `db.tree('objects', { valueEncoding: json<{ size: number }>() })`. */
export function json<T>(): ValueEncoding<T> {
  return {
    name: 'json',
    format: 'utf8',
    encode: (value) => {
      const text = JSON.stringify(value) as string | undefined
      if (text === undefined)
        throw new HoltError('HOLT_ENCODING', `a value of type ${typeof value} has no JSON form`)
      return text
    },
    decode: (text: string) => JSON.parse(text) as T,
  }
}

export interface ValueCodec<V> {
  readonly name: string
  /** The value's bytes. Throws `HOLT_ENCODING`, `HOLT_INVALID_ARGUMENT`, `HOLT_VALUE_TOO_LARGE`. */
  readonly encode: (value: unknown) => Uint8Array
  /** From `bytes[offset … + length)`; never a view of `bytes`. Throws `HOLT_ENCODING`. */
  readonly decode: (bytes: Uint8Array, offset: number, length: number) => V
  /** From a value in memory of its own, which the result may keep. Throws `HOLT_ENCODING`. */
  readonly adopt: (bytes: Uint8Array) => V
  /** No code of a caller runs in `decode`. */
  readonly isOwn: boolean
  /** `into[i]` becomes what `decode` makes of `offsets[i]` and `lengths[i]`, for `from ≤ i < to`; throws nothing. */
  readonly decodeMany?: (
    bytes: Uint8Array,
    offsets: Int32Array,
    lengths: Int32Array,
    from: number,
    to: number,
    into: unknown[],
  ) => void
}

/** The value's bytes, which nobody else will change: a caller's own are copied. Throws as `encode` does. */
export function ownedBytes(codec: ValueCodec<unknown>, value: unknown): Uint8Array {
  const bytes = codec.encode(value)
  return bytes === value ? new Uint8Array(bytes) : bytes
}

const encoder = new TextEncoder()
const pool = new ValuePool()

function checkSize(bytes: Uint8Array): Uint8Array {
  if (bytes.length > LIMITS.maxValueBytes) {
    throw new HoltError(
      'HOLT_VALUE_TOO_LARGE',
      `a value has ${String(bytes.length)} bytes; at most ${String(LIMITS.maxValueBytes)} are allowed`,
    )
  }
  return bytes
}

function bytesOf(value: unknown, what: string): Uint8Array {
  if (!(value instanceof Uint8Array)) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `${what} is ${value === null ? 'null' : typeof value}; a Uint8Array is wanted`,
    )
  }
  return checkSize(value)
}

function textBytes(value: unknown, what: string): Uint8Array {
  if (typeof value !== 'string') {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `${what} is ${value === null ? 'null' : typeof value}; a string is wanted`,
    )
  }
  const bytes = encoder.encode(value)
  // An encoder replaces what it cannot encode: three bytes for a lone surrogate, which would come back as another text.
  if (/\p{Surrogate}/u.test(value))
    throw new HoltError('HOLT_ENCODING', `${what} is an ill-formed string: it holds a lone surrogate`)
  return checkSize(bytes)
}

function textOf(bytes: Uint8Array, offset: number, length: number): string {
  const text = pool.bufferOf(bytes).toString('utf8', offset, offset + length)
  return checkedText(text, () => bytes.slice(offset, offset + length))
}

function bufferOver(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length)
}

function checkedText(text: string, bytes: () => Uint8Array): string {
  if (text.includes('\ufffd') && !isUtf8(bytes())) {
    throw new HoltError(
      'HOLT_ENCODING',
      "a stored value is not valid UTF-8; open the tree with valueEncoding 'view' to read it",
    )
  }
  return text
}

const view: ValueCodec<Uint8Array> = {
  name: 'view',
  encode: (value) => bytesOf(value, 'a value'),
  decode: (bytes, offset, length) => pool.copy(bytes, offset, length),
  adopt: (bytes) => bytes,
  isOwn: true,
  decodeMany: (bytes, offsets, lengths, from, to, into) => {
    pool.copyMany(bytes, offsets, lengths, from, to, into)
  },
}

const buffer: ValueCodec<Buffer> = {
  name: 'buffer',
  encode: view.encode,
  decode: (bytes, offset, length) => {
    const copy = pool.copy(bytes, offset, length)
    return Buffer.from(copy.buffer, copy.byteOffset, copy.length)
  },
  adopt: bufferOver,
  isOwn: true,
}

const utf8: ValueCodec<string> = {
  name: 'utf8',
  encode: (value) => textBytes(value, 'a value'),
  decode: textOf,
  adopt: (bytes) => checkedText(bufferOver(bytes).toString('utf8'), () => bytes),
  isOwn: true,
}

function custom<V>(encoding: ValueEncoding<V>): ValueCodec<V> {
  const { name, format } = encoding
  const failed = (step: string, cause: unknown): HoltError =>
    cause instanceof HoltError
      ? cause
      : new HoltError(
          'HOLT_ENCODING',
          `value encoding '${name}' failed to ${step} a value: ${String(cause)}`,
          { cause },
        )
  const stored: ValueCodec<unknown> = { view, buffer, utf8 }[format]
  const decoded = (data: unknown): V => {
    try {
      return encoding.decode(data as never)
    } catch (cause) {
      throw failed('decode', cause)
    }
  }
  return {
    name,
    isOwn: false,
    encode(value) {
      let encoded: unknown
      try {
        encoded = encoding.encode(value as V)
      } catch (cause) {
        throw failed('encode', cause)
      }
      const what = `what value encoding '${name}' made of a value`
      return format === 'utf8' ? textBytes(encoded, what) : bytesOf(encoded, what)
    },
    decode: (bytes, offset, length) => decoded(stored.decode(bytes, offset, length)),
    adopt: (bytes) => decoded(stored.adopt(bytes)),
  }
}

function isEncoding(value: unknown): value is ValueEncoding<unknown> {
  if (typeof value !== 'object' || value === null) return false
  const { name, format, encode, decode } = value as Record<string, unknown>
  return (
    typeof name === 'string' &&
    name !== '' &&
    (format === 'view' || format === 'buffer' || format === 'utf8') &&
    typeof encode === 'function' &&
    typeof decode === 'function'
  )
}

/** Throws `HOLT_INVALID_ARGUMENT` for what is no encoding. */
export function valueCodec<V>(encoding: ValueEncodingName | ValueEncoding<V>): ValueCodec<V> {
  const codecs: Record<ValueEncodingName, ValueCodec<unknown>> = { view, buffer, utf8, json: custom(json()) }
  if (typeof encoding === 'string' && Object.hasOwn(codecs, encoding))
    return codecs[encoding] as ValueCodec<V>
  if (isEncoding(encoding)) return custom(encoding)
  throw new HoltError(
    'HOLT_INVALID_ARGUMENT',
    `valueEncoding is ${typeof encoding === 'string' ? `'${encoding}'` : typeof encoding}; 'view', 'buffer', 'utf8', 'json' or an object with name, format, encode and decode is wanted`,
  )
}
