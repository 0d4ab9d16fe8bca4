import type { Effect } from './effect.js'
import { BULK_LOAD_RECORD, decodeEffects } from './effect.js'
import type { ReplayedRecord } from '@holt/journal'
import { CATALOG_ID, COUNTER_NAME, parseRecord, treeNameOf, type TreeRecord } from './catalog.js'
import type { Version } from './entries.js'
import { type KeyCodec, keyCodec, type KeyEncodingName } from './key-encoding.js'
import { TREE_ID_BYTES } from './limits.js'
import { type ValueCodec, valueCodec } from './value-encoding.js'

/** One thing that a commit did. `tree` is the tree's name. */
export type Change<K = Uint8Array, V = Uint8Array> =
  | { readonly kind: 'put'; readonly tree: string; readonly key: K; readonly value: V }
  | { readonly kind: 'delete'; readonly tree: string; readonly key: K }
  /** All keys below the prefix went, if there were any. */
  | { readonly kind: 'deletePrefix'; readonly tree: string; readonly prefix: K }
  /** All keys below `from` are below `to` now, with values and versions, in place of what was there. */
  | { readonly kind: 'renamePrefix'; readonly tree: string; readonly from: K; readonly to: K }
  | {
      readonly kind: 'createTree'
      readonly tree: string
      readonly keyEncoding: KeyEncodingName
      readonly valueEncoding: string
    }
  /** The tree and all that was in it went. */
  | { readonly kind: 'dropTree'; readonly tree: string }
  /** The tree was empty and holds what a bulk load brought, which is not listed: read it. */
  | { readonly kind: 'bulkLoad'; readonly tree: string }

/** All that one commit did, in order: one write, or a batch as a whole. */
export interface Commit<K = Uint8Array, V = Uint8Array> {
  /** Of the commit, and of the keys that it put. Higher than those of all commits before it. */
  readonly version: Version
  readonly changes: readonly Change<K, V>[]
}

/** A change as the journal has it. */
export type StoredChange =
  | (Effect & { readonly treeId: number })
  | {
      readonly kind: 'createTree'
      readonly treeId: number
      readonly name: string
      readonly record: TreeRecord
    }
  | { readonly kind: 'dropTree'; readonly treeId: number; readonly name: string }
  | { readonly kind: 'bulkLoad'; readonly treeId: number }

/** What a record of the journal did. Throws `HOLT_CORRUPT` for one that is none of ours. */
export function storedChanges(record: ReplayedRecord): StoredChange[] {
  if (record.type === BULK_LOAD_RECORD) return [{ kind: 'bulkLoad', treeId: treeIdOf(record.body) }]
  const changes: StoredChange[] = []
  let droppedName: string | undefined
  for (const effect of decodeEffects(record)) {
    const treeId = treeIdOf(effect.key)
    if (treeId === CATALOG_ID) {
      const name = treeNameOf(effect.key)
      if (name === COUNTER_NAME) continue
      if (effect.kind === 'put') {
        const created = parseRecord(name, effect.value)
        changes.push({ kind: 'createTree', treeId: created.id, name, record: created })
      } else droppedName = name
    } else if (droppedName !== undefined && effect.kind === 'deletePrefix') {
      // The second half of the drop: the first one tells the name, this one the id.
      changes.push({ kind: 'dropTree', treeId, name: droppedName })
      droppedName = undefined
    } else changes.push({ ...effect, treeId })
  }
  return changes
}

function treeIdOf(key: Uint8Array): number {
  return ((key[0] << 24) | (key[1] << 16) | (key[2] << 8) | key[3]) >>> 0
}

/** How keys and values of a feed look. */
export interface ChangeCodecs<K, V> {
  readonly keys: KeyCodec<K>
  readonly values: ValueCodec<V>
}

/** Keys and values as the bytes that they are. */
export const RAW: ChangeCodecs<Uint8Array, Uint8Array> = {
  keys: keyCodec('view'),
  values: valueCodec<Uint8Array>('view'),
}

/** Throws what the encodings throw for bytes that do not decode. */
export function presentChange<K, V>(
  stored: StoredChange,
  tree: string,
  { keys, values }: ChangeCodecs<K, V>,
): Change<K, V> {
  const keyOf = (bytes: Uint8Array): K =>
    keys.read(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), TREE_ID_BYTES, bytes.length)
  switch (stored.kind) {
    case 'put':
      return { kind: 'put', tree, key: keyOf(stored.key), value: values.adopt(stored.value) }
    case 'delete':
      return { kind: 'delete', tree, key: keyOf(stored.key) }
    case 'deletePrefix':
      return { kind: 'deletePrefix', tree, prefix: keyOf(stored.key) }
    case 'movePrefix':
      return { kind: 'renamePrefix', tree, from: keyOf(stored.key), to: keyOf(stored.to) }
    case 'createTree': {
      const { keyEncoding, valueEncoding } = stored.record
      return { kind: 'createTree', tree, keyEncoding, valueEncoding }
    }
    case 'dropTree':
    case 'bulkLoad':
      return { kind: stored.kind, tree }
  }
}
