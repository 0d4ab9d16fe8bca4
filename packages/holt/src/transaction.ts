import { HoltError } from '@holt/errors'
import { batchTooLarge, type Engine } from './engine.js'
import type { Version } from './entries.js'
import { LIMITS } from './limits.js'
import {
  type ConditionFailure,
  type Operation,
  operationBytes,
  type OperationKind,
  renamePrefixOf,
} from './operation.js'
import type { Tree } from './tree.js'
import { TREE_INTERNALS, type TreeInternals } from './tree-internals.js'

/** What `db.atomic` came to. `failed` names the first operation whose condition did not hold; nothing was changed then. */
export type AtomicResult =
  | { readonly committed: true; readonly version: Version }
  | {
      readonly committed: false
      readonly failed: {
        /** Its place among the operations of the batch, from 0. */
        readonly index: number
        readonly operation: OperationKind
        readonly reason: ConditionFailure
        /** Its key, as its tree's encoding gives it. */
        readonly key: unknown
      }
    }

/** Collects the operations of a batch on one tree. Each sees the effects of those before it. */
export interface TreeBatch<K, V> {
  put(key: K, value: V): this
  /** No condition: a key that is not there stays away. */
  delete(key: K): this
  /** No condition. Deletes every key that begins with `prefix`, those put by this batch before it too. */
  deletePrefix(prefix: K): this
  /**
   * Condition: a key begins with `from`, and none with `to` unless `force`. Those put by this batch before it count, and
   * move too. `HOLT_KEY_TOO_LONG` as for `tree.renamePrefix` rejects the batch.
   */
  renamePrefix(from: K, to: K, options?: { readonly force?: boolean }): this
  /** Condition: the key is not there. */
  putIfAbsent(key: K, value: V): this
  /** Condition: the key's version is `version`. */
  compareAndPut(key: K, value: V, version: Version): this
  /** Condition: `from` is there, and `to` is not unless `force`. */
  rename(from: K, to: K, options?: { readonly force?: boolean }): this
}

/** A batch over several trees, as the callback of `db.atomic` sees it. Of no use afterwards. */
export class Transaction {
  readonly #engine: Engine
  readonly #operations: Operation[] = []
  readonly #trees: TreeInternals<unknown, unknown>[] = []
  #bytes = 0
  #ended = false

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** The batch's part for one tree of this database. Throws `HOLT_INVALID_ARGUMENT` for a tree of another one. */
  in<K, V>(tree: Tree<K, V>): TreeBatch<K, V> {
    const internals = tree[TREE_INTERNALS]
    if (internals.engine !== this.#engine)
      throw new HoltError('HOLT_INVALID_ARGUMENT', `tree '${tree.name}' belongs to another database`)
    const add = (operation: Operation): void => {
      this.#add(operation, internals as TreeInternals<unknown, unknown>)
    }
    const batch: TreeBatch<K, V> = {
      put(key, value) {
        add({ kind: 'put', key: internals.key(key), value: internals.value(value) })
        return batch
      },
      delete(key) {
        add({ kind: 'delete', key: internals.key(key) })
        return batch
      },
      deletePrefix(prefix) {
        add({ kind: 'deletePrefix', key: internals.key(prefix) })
        return batch
      },
      renamePrefix(from, to, options = {}) {
        add(renamePrefixOf(internals.key(from), internals.key(to), options.force === true))
        return batch
      },
      putIfAbsent(key, value) {
        add({ kind: 'putIfAbsent', key: internals.key(key), value: internals.value(value) })
        return batch
      },
      compareAndPut(key, value, version) {
        add({ kind: 'compareAndPut', key: internals.key(key), value: internals.value(value), version })
        return batch
      },
      rename(from, to, options = {}) {
        add({
          kind: 'rename',
          key: internals.key(from),
          to: internals.key(to),
          force: options.force === true,
        })
        return batch
      },
    }
    return batch
  }

  #add(operation: Operation, tree: TreeInternals<unknown, unknown>): void {
    if (this.#ended)
      throw new HoltError('HOLT_CLOSED', 'the batch was handed over already; its callback has returned')
    if (this.#operations.length >= LIMITS.maxBatchOperations) {
      throw new HoltError(
        'HOLT_BATCH_TOO_LARGE',
        `the batch has more than ${String(LIMITS.maxBatchOperations)} operations`,
      )
    }
    this.#bytes += operationBytes(operation)
    if (this.#bytes > LIMITS.maxBatchBytes) throw batchTooLarge(this.#bytes, LIMITS.maxBatchBytes)
    this.#operations.push(operation)
    this.#trees.push(tree)
  }

  /** Ends the collecting. */
  end(): readonly Operation[] {
    this.#ended = true
    return this.#operations
  }

  /** The key of an operation as its tree gives keys. */
  keyOf(index: number): unknown {
    const operation = this.#operations.at(index)
    const tree = this.#trees.at(index)
    return operation === undefined ? undefined : tree?.readKey(Buffer.from(operation.key))
  }
}
