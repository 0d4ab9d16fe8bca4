import {
  type ArtIndex,
  COMMON_PREFIX,
  type Cursor,
  type CursorOptions,
  type CursorStep,
  END,
  KEY,
} from '@holt/art-index'
import { HoltError } from '@holt/errors'
import type { AsyncReads } from './async-reads.js'
import type { Entry, Version } from './entries.js'
import { decodeRead } from './found-value.js'
import type { KeyCodec } from './key-encoding.js'
import { TREE_ID_BYTES } from './limits.js'
import { encodeToken } from './list-token.js'
import type { ValueCodec } from './value-encoding.js'

/** What the asynchronous reads of a tree need of it. */
export interface AsyncTreeParts<K, V> {
  readonly reads: AsyncReads
  readonly index: ArtIndex
  readonly treeId: number
  readonly keys: KeyCodec<K>
  readonly values: ValueCodec<V>
}

function keyOf<K>(cursor: Cursor, keys: KeyCodec<K>): K {
  const { key, keyLength } = cursor
  return keys.read(
    Buffer.from(key.buffer as ArrayBuffer, key.byteOffset, key.length),
    TREE_ID_BYTES,
    keyLength,
  )
}

function entryOf<K, V>(
  cursor: Cursor,
  step: CursorStep,
  tree: AsyncTreeParts<K, V>,
): Entry<K, V> | Uint8Array | undefined {
  if (step === END) return undefined
  // Its value is yet to be loaded, and the cursor cannot wait for that: the key is looked up anew.
  if (step === KEY && cursor.valueLarge) return cursor.key.slice(0, cursor.keyLength)
  const key = keyOf(cursor, tree.keys)
  if (step === COMMON_PREFIX) return { kind: 'prefix', prefix: key }
  const value = tree.values.decode(cursor.valueBytes, cursor.valueOffset, cursor.valueLength)
  return { kind: 'key', key, value, version: cursor.version as Version }
}

/** The entry of a key, given with its tree's id, whose value is large; undefined if it is gone by now. */
function largeEntry<K, V>(tree: AsyncTreeParts<K, V>, key: Uint8Array): Promise<Entry<K, V> | undefined> {
  const { index, keys, reads, values } = tree
  return reads.find(
    key,
    (isThere, large): Entry<K, V> | undefined => {
      if (!isThere) return undefined
      const bytes = Buffer.from(key.buffer as ArrayBuffer, key.byteOffset, key.length)
      const version = index.foundVersion as Version
      const value = decodeRead(index, values, large)
      return { kind: 'key', key: keys.read(bytes, TREE_ID_BYTES, key.length), value, version }
    },
    true,
  )
}

/** The entries of a range, up to `limit`. Holds nothing between steps. */
export async function* scanEntries<K, V>(
  tree: AsyncTreeParts<K, V>,
  options: CursorOptions,
  limit: number,
): AsyncGenerator<Entry<K, V>, undefined> {
  const cursor = tree.reads.walk(options)
  for (let left = limit; left > 0;) {
    const found = await tree.reads.step(cursor, (step) => entryOf(cursor, step, tree))
    if (found === undefined) return undefined
    const entry = found instanceof Uint8Array ? await largeEntry(tree, found) : found
    if (entry === undefined) continue
    left--
    yield entry
  }
  return undefined
}

/** One page of `query`, from where `from` begins. */
export async function listEntries<K, V>(
  tree: AsyncTreeParts<K, V>,
  query: CursorOptions,
  from: CursorOptions,
  limit: number,
): Promise<{ readonly entries: Entry<K, V>[]; readonly next: string | undefined }> {
  const cursor = tree.reads.walk(from)
  const entries: Entry<K, V>[] = []
  let token: string | undefined
  while (entries.length < limit) {
    const isLast = entries.length === limit - 1
    const found = await tree.reads.step(cursor, (step) => {
      if (isLast && step !== END)
        token = encodeToken(
          query,
          tree.treeId,
          cursor.key,
          TREE_ID_BYTES,
          cursor.keyLength,
          step === COMMON_PREFIX,
        )
      return entryOf(cursor, step, tree)
    })
    if (found === undefined) return { entries, next: undefined }
    const entry = found instanceof Uint8Array ? await largeEntry(tree, found) : found
    if (entry !== undefined) entries.push(entry)
  }
  const hasNext = await tree.reads.step(cursor, (step) => step !== END)
  return { entries, next: hasNext ? token : undefined }
}

/** Brings what lookups of these keys touch into memory, as far as the cache keeps it. */
export async function prefetchKeys(reads: AsyncReads, keys: readonly Uint8Array[]): Promise<void> {
  const results = await Promise.allSettled(keys.map((key) => reads.find(key, () => undefined)))
  for (const result of results) if (result.status === 'rejected') throw asError(result.reason)
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new HoltError('HOLT_INTERNAL', String(error))
}
