import type { Effect } from './effect.js'

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

export type OperationKind = Operation['kind']

/** Why an operation's condition did not hold. */
export type ConditionFailure = 'exists' | 'not-found' | 'version'

/** What a batch comes to: effects to apply, or the first operation whose condition does not hold. */
export type Resolution =
  | { readonly kind: 'effects'; readonly effects: readonly Effect[]; readonly found: readonly boolean[] }
  | { readonly kind: 'failed'; readonly index: number; readonly reason: ConditionFailure }

export interface CurrentRecord {
  readonly version: number
  readonly value: () => Uint8Array
}

/**
 * Resolves conditions to effects, in order; each operation sees the effects of those before it. `read` tells what the
 * tree holds now. Changes nothing. `found[i]` tells of a delete whether its key was there.
 */
export function resolveOperations(
  operations: readonly Operation[],
  read: (key: Uint8Array) => CurrentRecord | undefined,
): Resolution {
  const effects: Effect[] = []
  const found: boolean[] = []
  // What this batch has done so far, by key; null is deleted. Only needed where a later operation may look.
  const staged = operations.length > 1 ? new Map<string, Uint8Array | null>() : undefined
  const nameOf = (key: Uint8Array): string =>
    Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1')

  const look = (
    key: Uint8Array,
  ): { readonly version: number | undefined; readonly value: () => Uint8Array } | undefined => {
    const own = staged?.get(nameOf(key))
    if (own === null) return undefined
    // A record of this very batch has no version yet that anybody could know.
    if (own !== undefined) return { version: undefined, value: () => own }
    return read(key)
  }
  const put = (key: Uint8Array, value: Uint8Array): void => {
    effects.push({ kind: 'put', key, value })
    staged?.set(nameOf(key), value)
  }
  const remove = (key: Uint8Array): void => {
    effects.push({ kind: 'delete', key })
    staged?.set(nameOf(key), null)
  }

  for (const [index, operation] of operations.entries()) {
    const failed = (reason: ConditionFailure): Resolution => ({ kind: 'failed', index, reason })
    const { key } = operation
    found.push(false)
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
    }
  }
  return { kind: 'effects', effects, found }
}

/** Every key that the operation may look at or change. */
export function keysOf(operation: Operation): readonly Uint8Array[] {
  return operation.kind === 'rename' ? [operation.key, operation.to] : [operation.key]
}

/** Bytes that an operation keeps in memory while it waits. */
export function operationBytes(operation: Operation): number {
  const value =
    operation.kind === 'rename'
      ? operation.to.length
      : operation.kind === 'delete'
        ? 0
        : operation.value.length
  return 64 + operation.key.length + value
}
