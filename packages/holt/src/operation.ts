import { HoltError } from '@holt/errors'
import type { Effect } from './effect.js'
import { TREE_ID_BYTES } from './limits.js'
import { type BaseTree, type SeenRecord, StagedWrites } from './staged-writes.js'

/** A write as it was asked for. Keys carry their tree's id. */
export type Operation =
  | { readonly kind: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly key: Uint8Array }
  | { readonly kind: 'putIfAbsent'; readonly key: Uint8Array; readonly value: Uint8Array }
  | {
      readonly kind: 'compareAndPut'
      readonly key: Uint8Array
      readonly value: Uint8Array
      readonly version: number
    }
  | { readonly kind: 'rename'; readonly key: Uint8Array; readonly to: Uint8Array; readonly force: boolean }
  /** `key` is the prefix. With `always` it is an effect even if there is no key: then the journal says so. */
  | { readonly kind: 'deletePrefix'; readonly key: Uint8Array; readonly always?: boolean }
  /** `key` is the old prefix, `to` the new one; neither begins with the other. */
  | {
      readonly kind: 'renamePrefix'
      readonly key: Uint8Array
      readonly to: Uint8Array
      readonly force: boolean
    }

export type OperationKind = Operation['kind']

/** Why an operation's condition did not hold. */
export type ConditionFailure = 'exists' | 'not-found' | 'version'

/** What a batch comes to: effects to apply, or the first operation whose condition does not hold. */
export type Resolution =
  | {
      readonly kind: 'effects'
      readonly effects: readonly Effect[]
      /** Of a delete, whether its key was there; of a deletePrefix, whether any was. */
      readonly found: readonly boolean[]
      /**
       * Names under which keys of this batch were known before its moves. Frames below them are changed too, beside
       * those that {@link keysOf} leads to.
       */
      readonly formerKeys: readonly Uint8Array[]
    }
  | { readonly kind: 'failed'; readonly index: number; readonly reason: ConditionFailure }

/**
 * Resolves conditions to effects, in order; each operation sees the effects of those before it. `tree` tells what there
 * is now. Changes nothing. `maxKeyBytes` is the longest key, its tree's id included: `HOLT_KEY_TOO_LONG` is thrown for a
 * renamePrefix whose keys might exceed it. Throws what `tree` throws.
 */
export function resolveOperations(
  operations: readonly Operation[],
  tree: BaseTree,
  maxKeyBytes: number,
): Resolution {
  const effects: Effect[] = []
  const found: boolean[] = []
  const formerKeys: Uint8Array[] = []
  // Only needed where a later operation may look.
  const staged = operations.length > 1 ? new StagedWrites(tree) : undefined

  const look = (key: Uint8Array): SeenRecord | undefined => (staged ?? tree).find(key)
  const put = (key: Uint8Array, value: Uint8Array): void => {
    effects.push({ kind: 'put', key, value })
    staged?.put(key, value)
  }
  const remove = (key: Uint8Array): void => {
    effects.push({ kind: 'delete', key })
    staged?.delete(key)
  }

  const hasAny = (prefix: Uint8Array): boolean =>
    staged === undefined ? tree.hasAny(prefix, undefined) : staged.hasAny(prefix)

  for (const [index, operation] of operations.entries()) {
    const failed = (reason: ConditionFailure): Resolution => ({ kind: 'failed', index, reason })
    const { key } = operation
    found.push(false)
    if (staged?.hasMoves === true)
      for (const known of keysOf(operation)) formerKeys.push(...staged.formerKeys(known).slice(1))
    switch (operation.kind) {
      case 'put':
        put(key, operation.value)
        break
      case 'delete':
        if (look(key) !== undefined) {
          found[index] = true
          remove(key)
        }
        break
      case 'putIfAbsent':
        if (look(key) !== undefined) return failed('exists')
        put(key, operation.value)
        break
      case 'compareAndPut':
        if (look(key)?.version !== operation.version) return failed('version')
        put(key, operation.value)
        break
      case 'rename': {
        const source = look(key)
        if (source === undefined) return failed('not-found')
        if (Buffer.compare(key, operation.to) === 0) break
        if (!operation.force && look(operation.to) !== undefined) return failed('exists')
        const value = source.value()
        remove(key)
        put(operation.to, value)
        break
      }
      case 'deletePrefix':
        found[index] = hasAny(key)
        if (found[index] || operation.always === true) {
          effects.push({ kind: 'deletePrefix', key })
          staged?.deletePrefix(key)
        }
        break
      case 'renamePrefix': {
        const { to } = operation
        if (!hasAny(key)) return failed('not-found')
        if (!operation.force && hasAny(to)) return failed('exists')
        const restBytes = (staged ?? tree).restBoundBytes(key, maxKeyBytes - to.length)
        if (restBytes > maxKeyBytes - to.length) throw keysTooLong(to.length + restBytes, maxKeyBytes)
        effects.push({ kind: 'movePrefix', key, to })
        staged?.movePrefix(key, to)
        break
      }
    }
  }
  return { kind: 'effects', effects, found, formerKeys }
}

function keysTooLong(bytes: number, maxKeyBytes: number): HoltError {
  return new HoltError(
    'HOLT_KEY_TOO_LONG',
    `below the new prefix a key may have ${String(bytes - TREE_ID_BYTES)} bytes; at most ${String(maxKeyBytes - TREE_ID_BYTES)} are allowed`,
  )
}

/** Throws `HOLT_INVALID_ARGUMENT` when one of the prefixes begins with the other. */
export function renamePrefixOf(from: Uint8Array, to: Uint8Array, force: boolean): Operation {
  const shared = Math.min(from.length, to.length)
  if (Buffer.compare(from.subarray(0, shared), to.subarray(0, shared)) === 0) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      'of the two prefixes of a rename one begins with the other: keys would be moved into themselves',
    )
  }
  return { kind: 'renamePrefix', key: from, to, force }
}

/** Every key, or prefix, that the operation may look at or change. */
export function keysOf(operation: Operation): readonly Uint8Array[] {
  return operation.kind === 'rename' || operation.kind === 'renamePrefix'
    ? [operation.key, operation.to]
    : [operation.key]
}

/** Whether the operation may let go of whole frames. */
export function unlinks(operation: Operation): boolean {
  return operation.kind === 'deletePrefix' || operation.kind === 'renamePrefix'
}

/** Bytes that an operation keeps in memory while it waits. */
export function operationBytes(operation: Operation): number {
  const value =
    operation.kind === 'rename' || operation.kind === 'renamePrefix'
      ? operation.to.length
      : operation.kind === 'delete' || operation.kind === 'deletePrefix'
        ? 0
        : operation.value.length
  return 64 + operation.key.length + value
}
