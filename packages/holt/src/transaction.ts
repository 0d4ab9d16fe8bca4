import { HoltError } from '@holt/errors'
import type { Durability } from './durability.js'
import type { BatchOutcome, Engine } from './engine.js'
import type { Version } from './entries.js'
import { batchTooLarge, LIMITS, TREE_ID_BYTES } from './limits.js'
import {
  type ConditionFailure,
  type Operation,
  operationBytes,
  type OperationKind,
  renamePrefixOf,
} from './operation.js'
import type { PackedBatch } from './packed-batch.js'
import { encodeBehindId } from './range.js'
import type { Tree } from './tree.js'
import { TREE_INTERNALS, type TreeInternals } from './tree-internals.js'
import { assertThere } from './tree-state.js'
import { ownedBytes } from './value-encoding.js'

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

/**
 * A batch over several trees, as the callback of `db.atomic` sees it. Of no use afterwards.
 *
 * As long as its operations depend on nothing they are packed ({@link PackedBatch}). The first one with a condition makes
 * objects of them all.
 */
export class Transaction {
  readonly #engine: Engine
  readonly #trees = new Map<number, TreeInternals<unknown, unknown>>()
  readonly #batches = new Map<unknown, unknown>()
  readonly #packed: PackedBatch
  /** In place of {@link #packed}, from the first condition on. */
  #operations: Operation[] | undefined
  #bytes = 0
  #ended = false

  constructor(engine: Engine) {
    this.#engine = engine
    this.#packed = engine.takePackedBatch()
  }

  /** The batch's part for one tree of this database. Throws `HOLT_INVALID_ARGUMENT` for a tree of another one. */
  in<K, V>(tree: Tree<K, V>): TreeBatch<K, V> {
    const known = this.#batches.get(tree)
    if (known !== undefined) return known as TreeBatch<K, V>
    const internals = tree[TREE_INTERNALS]
    if (internals.engine !== this.#engine)
      throw new HoltError('HOLT_INVALID_ARGUMENT', `tree '${tree.name}' belongs to another database`)
    const batch = new TreeOperations<K, V>(this, internals)
    this.#batches.set(tree, batch)
    this.#trees.set(internals.id, internals)
    return batch
  }

  /** @internal */
  put(tree: TreeInternals<unknown, unknown>, key: unknown, value: unknown): void {
    if (this.#operations === undefined) {
      const bytes = tree.values.encode(value)
      this.#checkRoom(this.#packed.count, this.#packed.lengthBytes + bytes.length)
      this.#packed.addPut(tree.id, tree.keys, key, bytes)
    } else {
      const keyBytes = encodeBehindId(tree.id, tree.keys, key)
      this.#push({ kind: 'put', key: keyBytes, value: ownedBytes(tree.values, value) })
    }
  }

  /** @internal */
  delete(tree: TreeInternals<unknown, unknown>, key: unknown): void {
    if (this.#operations === undefined) {
      this.#checkRoom(this.#packed.count, this.#packed.lengthBytes)
      this.#packed.addDelete(tree.id, tree.keys, key)
    } else {
      this.#push({ kind: 'delete', key: encodeBehindId(tree.id, tree.keys, key) })
    }
  }

  /** @internal Adds an operation that is judged when the batch is applied. */
  add(operation: Operation): void {
    if (this.#operations === undefined) {
      this.#checkRoom(0, 0)
      this.#operations = this.#packed.operations()
      for (const packed of this.#operations) this.#bytes += operationBytes(packed)
    }
    this.#push(operation)
  }

  #push(operation: Operation): void {
    const operations = (this.#operations ??= [])
    this.#checkRoom(operations.length, this.#bytes + operationBytes(operation))
    this.#bytes += operationBytes(operation)
    operations.push(operation)
  }

  #checkRoom(count: number, bytes: number): void {
    if (this.#ended)
      throw new HoltError('HOLT_CLOSED', 'the batch was handed over already; its callback has returned')
    if (count >= LIMITS.maxBatchOperations) {
      throw new HoltError(
        'HOLT_BATCH_TOO_LARGE',
        `the batch has more than ${String(LIMITS.maxBatchOperations)} operations`,
      )
    }
    if (bytes > LIMITS.maxBatchBytes) throw batchTooLarge(bytes, LIMITS.maxBatchBytes)
  }

  /** Ends the collecting. */
  end(): void {
    this.#ended = true
  }

  /** Hands the batch over to the engine. Once, after {@link end}. */
  commit(durability: Durability): Promise<BatchOutcome> {
    for (const tree of this.#trees.values()) assertThere(tree.state)
    if (this.#operations !== undefined) return this.#engine.write(this.#operations, durability)
    return this.#engine.writePacked(this.#packed, durability)
  }

  /** What and where an operation whose condition did not hold is: its kind, and its key as its tree gives keys. */
  operationAt(index: number): { readonly operation: OperationKind; readonly key: unknown } {
    const operation = this.#operations?.at(index)
    if (operation === undefined)
      throw new HoltError('HOLT_INTERNAL', `no operation ${String(index)} in the batch`)
    const bytes = Buffer.from(operation.key)
    const tree = this.#trees.get(bytes.readUInt32BE(0))
    return { operation: operation.kind, key: tree?.keys.read(bytes, TREE_ID_BYTES, bytes.length) }
  }
}

class TreeOperations<K, V> implements TreeBatch<K, V> {
  readonly #batch: Transaction
  readonly #tree: TreeInternals<K, V>

  constructor(batch: Transaction, tree: TreeInternals<K, V>) {
    this.#batch = batch
    this.#tree = tree
  }

  put(key: K, value: V): this {
    this.#batch.put(this.#tree, key, value)
    return this
  }

  delete(key: K): this {
    this.#batch.delete(this.#tree, key)
    return this
  }

  putIfAbsent(key: K, value: V): this {
    this.#batch.add({ kind: 'putIfAbsent', key: this.#key(key), value: ownedBytes(this.#tree.values, value) })
    return this
  }

  compareAndPut(key: K, value: V, version: Version): this {
    const bytes = ownedBytes(this.#tree.values, value)
    this.#batch.add({ kind: 'compareAndPut', key: this.#key(key), value: bytes, version })
    return this
  }

  deletePrefix(prefix: K): this {
    this.#batch.add({ kind: 'deletePrefix', key: this.#key(prefix) })
    return this
  }

  renamePrefix(from: K, to: K, options: { readonly force?: boolean } = {}): this {
    this.#batch.add(renamePrefixOf(this.#key(from), this.#key(to), options.force === true))
    return this
  }

  rename(from: K, to: K, options: { readonly force?: boolean } = {}): this {
    const force = options.force === true
    this.#batch.add({ kind: 'rename', key: this.#key(from), to: this.#key(to), force })
    return this
  }

  #key(key: K): Uint8Array {
    return encodeBehindId(this.#tree.id, this.#tree.keys, key)
  }
}
