import { HoltError } from '@holt/errors'
import type { CursorOptions } from '@holt/art-index'
import type { KeyCodec } from './key-encoding.js'
import { TREE_ID_BYTES } from './limits.js'

/** Which part of a tree to walk. Keys compare by the bytes of their encoding. */
export interface RangeOptions<K> {
  readonly gt?: K
  readonly gte?: K
  readonly lt?: K
  readonly lte?: K
  /** Only keys that begin with this one. */
  readonly prefix?: K
  /** Descending. Default false. */
  readonly reverse?: boolean
  /** Entries at most. Default no limit. */
  readonly limit?: number
}

export interface DelimiterOptions<K> {
  /** Rolls up keys that hold it after `prefix`: all that share their bytes up to and with it are one `'prefix'` entry. */
  readonly delimiter: K
}

const BOUNDS = ['gt', 'gte', 'lt', 'lte', 'prefix', 'delimiter'] as const
const KNOWN = new Set<string>([...BOUNDS, 'reverse', 'limit', 'after'])

/** A key with its tree's id in front. */
export function withTreeId(treeId: number, key: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(TREE_ID_BYTES + key.length)
  writeTreeId(treeId, bytes)
  bytes.set(key, TREE_ID_BYTES)
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
  const given = range as Record<string, unknown>
  for (const name of Object.keys(given)) {
    if (!KNOWN.has(name)) throw new HoltError('HOLT_INVALID_ARGUMENT', `'${name}' is no option of a range`)
  }
  if (given['reverse'] !== undefined && typeof given['reverse'] !== 'boolean') {
    throw new HoltError('HOLT_INVALID_ARGUMENT', `reverse is ${typeof given['reverse']}; a boolean is wanted`)
  }
  const options: Record<string, unknown> = { prefix: withTreeId(treeId, new Uint8Array(0)) }
  for (const name of BOUNDS) {
    const key = given[name]
    if (key === undefined) continue
    const bytes = codec.encode(key)
    if (name === 'delimiter' && bytes.length === 0)
      throw new HoltError('HOLT_INVALID_ARGUMENT', 'the delimiter is empty')
    options[name] = name === 'delimiter' ? bytes : withTreeId(treeId, bytes)
  }
  if (given['reverse'] === true) options['reverse'] = true
  return options
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
