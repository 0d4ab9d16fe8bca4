import { HoltError } from '@holt/errors'
import type { CursorOptions } from '@holt/art-index'
import type { KeyCodec } from './key-encoding.js'
import { LIMITS, TREE_ID_BYTES } from './limits.js'

/** A part of a tree. Keys compare by the bytes of their encoding. Of several bounds at one end the narrowest counts. */
export interface BoundOptions<K> {
  readonly gt?: K
  readonly gte?: K
  readonly lt?: K
  readonly lte?: K
  /** Only keys that begin with this one. */
  readonly prefix?: K
}

/** Which part of a tree to walk, and how. */
export interface RangeOptions<K> extends BoundOptions<K> {
  /** Descending. Default false. */
  readonly reverse?: boolean
  /** Entries at most. Default no limit. */
  readonly limit?: number
}

export interface DelimiterOptions<K> {
  /** Rolls up keys that hold it after `prefix`: all that share their bytes up to and with it are one `'prefix'` entry. */
  readonly delimiter: K
}

const KNOWN = new Set<string>([
  ...['gt', 'gte', 'lt', 'lte', 'prefix', 'delimiter'],
  ...['reverse', 'limit', 'after'],
])

/** Throws `HOLT_INVALID_ARGUMENT` when a range has one of these options, which `method` does not know. */
export function refuseOptions(range: object, names: readonly string[], method: string): void {
  for (const name of names) {
    if (name in range) throw new HoltError('HOLT_INVALID_ARGUMENT', `'${name}' is no option of ${method}()`)
  }
}

/** A key with its tree's id in front. */
export function withTreeId(treeId: number, key: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(TREE_ID_BYTES + key.length)
  writeTreeId(treeId, bytes)
  bytes.set(key, TREE_ID_BYTES)
  return bytes
}

const keyScratch = new Uint8Array(TREE_ID_BYTES + LIMITS.maxKeyBytes)
/** Below this many bytes a loop is faster than `set` and the view it needs. */
const LOOP_BYTES = 64

/** A key's bytes behind its tree's id. Throws as {@link KeyCodec.write} does. */
export function encodeBehindId(treeId: number, codec: KeyCodec<unknown>, key: unknown): Uint8Array {
  const length = TREE_ID_BYTES + codec.write(key, keyScratch)
  writeTreeId(treeId, keyScratch)
  const bytes = new Uint8Array(length)
  if (length <= LOOP_BYTES) for (let i = 0; i < length; i++) bytes[i] = keyScratch[i]
  else bytes.set(keyScratch.subarray(0, length))
  return bytes
}

/** Big-endian, so that trees lie in the order of their ids. */
export function writeTreeId(treeId: number, bytes: Uint8Array): void {
  bytes[0] = treeId >>> 24
  bytes[1] = treeId >>> 16
  bytes[2] = treeId >>> 8
  bytes[3] = treeId
}

/** The cursor's options for a range of a tree. Throws `HOLT_INVALID_ARGUMENT` and what the key encoding throws. */
export function cursorOptions(treeId: number, codec: KeyCodec<unknown>, range: object): CursorOptions {
  // `for in` takes the names from the object's shape, where Object.keys makes an array; it also names what is inherited.
  for (const name in range) {
    if (!KNOWN.has(name) && Object.hasOwn(range, name))
      throw new HoltError('HOLT_INVALID_ARGUMENT', `'${name}' is no option of a range`)
  }
  // By name, one by one, and always all of them: so every query has one shape, and no access is by a computed name.
  const { gt, gte, lt, lte, prefix, delimiter, reverse } = range as Partial<Record<string, unknown>>
  if (reverse !== undefined && typeof reverse !== 'boolean')
    throw new HoltError('HOLT_INVALID_ARGUMENT', `reverse is ${typeof reverse}; a boolean is wanted`)
  return {
    prefix: prefix === undefined ? treeIdBytes(treeId) : encodeBehindId(treeId, codec, prefix),
    gt: gt === undefined ? undefined : encodeBehindId(treeId, codec, gt),
    gte: gte === undefined ? undefined : encodeBehindId(treeId, codec, gte),
    lt: lt === undefined ? undefined : encodeBehindId(treeId, codec, lt),
    lte: lte === undefined ? undefined : encodeBehindId(treeId, codec, lte),
    delimiter: delimiter === undefined ? undefined : delimiterBytes(codec, delimiter),
    reverse,
  }
}

let lastTreeId = -1
let lastTreeIdBytes: Uint8Array = new Uint8Array(0)

/** The bytes are only read, so those of the last tree serve again. */
function treeIdBytes(treeId: number): Uint8Array {
  if (treeId !== lastTreeId) {
    lastTreeIdBytes = new Uint8Array(TREE_ID_BYTES)
    writeTreeId(treeId, lastTreeIdBytes)
    lastTreeId = treeId
  }
  return lastTreeIdBytes
}

let lastDelimiter = ''
let lastDelimiterBytes: Uint8Array = new Uint8Array(0)

/** The bytes are only read, so those of the last string serve again: nearly always it is the same. */
function delimiterBytes(codec: KeyCodec<unknown>, delimiter: unknown): Uint8Array {
  if (delimiter === lastDelimiter && codec.name === 'utf8' && lastDelimiter !== '') return lastDelimiterBytes
  const bytes = codec.encode(delimiter)
  if (bytes.length === 0) throw new HoltError('HOLT_INVALID_ARGUMENT', 'the delimiter is empty')
  if (typeof delimiter === 'string') {
    lastDelimiter = delimiter
    lastDelimiterBytes = bytes
  }
  return bytes
}

/** The limit of a range as a number. Throws `HOLT_INVALID_ARGUMENT` unless it is a whole number of at least 0. */
export function checkLimit(limit: unknown, otherwise: number): number {
  if (limit === undefined) return otherwise
  if (limit === Infinity) return Infinity
  if (!Number.isSafeInteger(limit) || (limit as number) < 0) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `limit is ${typeof limit === 'number' ? String(limit) : typeof limit}; a whole number of at least 0 is wanted`,
    )
  }
  return limit as number
}
