import { HoltError } from '@holt/errors'
import { bulkLoad, type BulkEntries, type BulkLoadOptions, type BulkLoadResult } from './bulk-load.js'
import { type ChangeFeed, changesOfTree, type TreeChangesOptions } from './change-feed.js'
import { type Durability, raisedDurability } from './durability.js'
import type { BatchOutcome, Engine, KeyEncoder } from './engine.js'
import type { Version } from './entries.js'
import { type Operation, renamePrefixOf } from './operation.js'
import { OwnedTreeReader } from './owned-tree-reader.js'
import { TREE_INTERNALS, type TreeInternals } from './tree-internals.js'
import { assertThere } from './tree-state.js'
import { ownedBytes } from './value-encoding.js'
import { type ViewOptions, TreeView } from './tree-view.js'

/** What a single write may ask for. */
export interface WriteOptions {
  /** `'disk'` over a database of durability `'os'`: this write, and all before it, survive a power loss. */
  readonly durability?: Durability
}

export interface RenameOptions extends WriteOptions {
  /** Replace what is at the destination. Default false. */
  readonly force?: boolean
}

/**
 * A named tree: an ordered map from keys to values.
 *
 * Reads are synchronous; a read of what is not in memory waits for the disk. Writes return promises and never throw
 * synchronously. Writes of one thread apply in call order, and are visible at the latest when their promise resolves.
 *
 * Every method may fail with `HOLT_CLOSED` after `db.close()`, with `HOLT_TREE_DROPPED` after `db.dropTree()`, with
 * `HOLT_INVALID_KEY` or `HOLT_KEY_TOO_LONG` for its key, with `HOLT_CORRUPT` or `HOLT_IO` when a frame cannot be read.
 * Writes besides: `HOLT_VALUE_TOO_LARGE`, `HOLT_ENCODING`, `HOLT_NO_SPACE`, `HOLT_POISONED`, `HOLT_QUEUE_FULL`,
 * `HOLT_CHECKPOINT_FAILED`.
 */
export class Tree<K, V> extends OwnedTreeReader<K, V, Engine> {
  readonly #encoder: KeyEncoder<K> = { encodeIntoScratch: (key) => this.scratch(key) }

  // ---- views ---------------------------------------------------------------------------------------------------

  /**
   * The tree as it is now, for as long as the view is open: it shows nothing that is applied later. Taking it costs the
   * same whatever the tree holds, and copies nothing; as long as it is open, the first change of each frame that it sees
   * copies that frame. With `prefix` it shows only the keys that begin with it. End it with `close`, or by `using`.
   *
   * Writes that were called and not applied yet (they wait for a frame, or for room) are not in it: await them first.
   * Throws `HOLT_INVALID_ARGUMENT` for an unknown option.
   */
  view(options: ViewOptions<K> = {}): TreeView<K, V> {
    this.engine.assertOpen()
    assertThere(this.state)
    const { id, keyCodec, valueCodec, name } = this
    return new TreeView(() => this.engine.takeView(), name, id, keyCodec, valueCodec, options)
  }

  // ---- changes -------------------------------------------------------------------------------------------------

  /**
   * Commits that change this tree, with a version above `fromVersion`; without it, those made from now on. As `db.changes`,
   * with keys and values decoded; it ends behind the tree's `dropTree`. Throws as `db.changes` does, and
   * `HOLT_TREE_DROPPED`.
   */
  changes(fromVersion?: number, options: TreeChangesOptions = {}): ChangeFeed<K, V> {
    return changesOfTree(this[TREE_INTERNALS], fromVersion, options)
  }

  // ---- writing -------------------------------------------------------------------------------------------------

  /**
   * Puts a key. Resolves when acknowledged; the promise may be shared with other writes that were acknowledged
   * together, so do not count writes by it.
   */
  put(key: K, value: V, options?: WriteOptions): Promise<void> {
    try {
      const engine = this.engine
      if (engine.closed) engine.assertOpen()
      const durability = options === undefined ? engine.durability : durabilityOf(engine, options)
      const bytes = this.valueCodec.encode(value)
      return engine.put(this.scratch(key), bytes, 0, bytes.length, durability)
    } catch (error) {
      return rejected(error)
    }
  }

  /** Deletes a key. Resolves to whether it was there. */
  delete(key: K, options?: WriteOptions): Promise<boolean> {
    try {
      const engine = this.engine
      engine.assertOpen()
      return engine.delete(
        this.scratch(key),
        options === undefined ? engine.durability : durabilityOf(engine, options),
      )
    } catch (error) {
      return rejected(error)
    }
  }

  /**
   * Deletes every key that begins with `prefix`, in one step that costs the depth of the tree, not their number; the
   * space comes back in the background. Resolves to whether there was one. The empty prefix means all keys.
   */
  deletePrefix(prefix: K, options?: WriteOptions): Promise<boolean> {
    return this.#writeOne(() => ({ kind: 'deletePrefix', key: this.keyBytes(prefix) }), options).then(
      (outcome) => outcome.committed && outcome.found[0],
    )
  }

  /**
   * Has every key that begins with `from` begin with `to` instead: a directory renamed. Atomic, and at a cost that does
   * not depend on the number of keys. Values and versions stay. Rejects `HOLT_NOT_FOUND` if no key begins with `from`,
   * `HOLT_EXISTS` if one begins with `to` and `force` is not set (with it they go in the same step),
   * `HOLT_INVALID_ARGUMENT` if one of the two begins with the other, `HOLT_KEY_TOO_LONG` if a key might become too long:
   * what is known of lengths is an upper bound, which long keys that were there once may have raised.
   */
  async renamePrefix(from: K, to: K, options: RenameOptions = {}): Promise<void> {
    const { force = false, ...write } = options
    const outcome = await this.#writeOne(() => {
      if (typeof force !== 'boolean')
        throw new HoltError('HOLT_INVALID_ARGUMENT', `force is ${typeof force}; a boolean is wanted`)
      return renamePrefixOf(this.keyBytes(from), this.keyBytes(to), force)
    }, write)
    if (outcome.committed) return
    if (outcome.failed.reason === 'exists')
      throw new HoltError('HOLT_EXISTS', 'there are keys below the new prefix already')
    throw new HoltError('HOLT_NOT_FOUND', 'there is no key below the prefix to be renamed')
  }

  /**
   * Loads many entries at once: frames are built directly, aside from the tree, and hung in
   * by one step when the last entry has come. All or nothing, over a crash too; when this resolves they are part of a durable
   * image, whatever the database's durability. All keys have one version. Reads and writes go on meanwhile; writes wait while
   * the last step is made durable.
   *
   * That is so when the tree is empty. Else the entries are put in batches of 1 000: then those put before an error stay.
   *
   * With `sorted: true` memory does not grow with the input, else all of it is kept, encoded, with some 10 bytes for each
   * entry. Rejects `HOLT_INVALID_ARGUMENT` for an entry out of order or one that is no pair, `HOLT_EXISTS` if somebody put a
   * key into the tree meanwhile, the signal's reason when aborted, and with what the input throws.
   */
  async bulkLoad(entries: BulkEntries<K, V>, options: BulkLoadOptions = {}): Promise<BulkLoadResult> {
    return await bulkLoad(this[TREE_INTERNALS], entries, options)
  }

  /** Puts a key that is not there yet. Resolves to its version, or `undefined` if it is there. */
  putIfAbsent(key: K, value: V, options?: WriteOptions): Promise<Version | undefined> {
    return this.#writeOne(
      () => ({ kind: 'putIfAbsent', key: this.keyBytes(key), value: this.#value(value) }),
      options,
    ).then(versionOf)
  }

  /** Puts a key whose version still is `version`. Resolves to the new version, or `undefined` if it is another by now. */
  compareAndPut(key: K, value: V, version: Version, options?: WriteOptions): Promise<Version | undefined> {
    return this.#writeOne(() => {
      if (typeof version !== 'number')
        throw new HoltError('HOLT_INVALID_ARGUMENT', `version is ${typeof version}; a number is wanted`)
      return { kind: 'compareAndPut', key: this.keyBytes(key), value: this.#value(value), version }
    }, options).then(versionOf)
  }

  /**
   * Moves a value to another key, atomically; it gets a new version, which is what this resolves to. Rejects
   * `HOLT_NOT_FOUND` if there is no `from`, `HOLT_EXISTS` if there is a `to` and `force` is not set.
   */
  rename(from: K, to: K, options?: RenameOptions): Promise<Version> {
    try {
      const engine = this.engine
      engine.assertOpen()
      const force = options?.force ?? false
      if (typeof force !== 'boolean')
        throw new HoltError('HOLT_INVALID_ARGUMENT', `force is ${typeof force}; a boolean is wanted`)
      const durability =
        options === undefined ? engine.durability : durabilityOf(engine, withoutForce(options))
      const outcome =
        engine.renameNow(this.#encoder, from, to, force, durability) ??
        engine.write([{ kind: 'rename', key: this.keyBytes(from), to: this.keyBytes(to), force }], durability)
      return outcome.then(renamedVersion)
    } catch (error) {
      return rejected(error)
    }
  }

  #writeOne(make: () => Operation, options: WriteOptions | undefined): Promise<BatchOutcome> {
    try {
      this.engine.assertOpen()
      return this.engine.write([make()], durabilityOf(this.engine, options))
    } catch (error) {
      return rejected(error)
    }
  }

  #value(value: V): Uint8Array {
    return ownedBytes(this.valueCodec, value)
  }

  // ---- for the package's own use -------------------------------------------------------------------------------

  /** @internal What a batch needs to take this tree's operations. */
  get [TREE_INTERNALS](): TreeInternals<K, V> {
    assertThere(this.state)
    return {
      id: this.id,
      engine: this.engine,
      keys: this.keyCodec,
      values: this.valueCodec,
      state: this.state,
    }
  }
}

/** @internal Throws `HOLT_INVALID_ARGUMENT` for an unknown option, and a durability that cannot be. */
export function durabilityOf(engine: Engine, options: WriteOptions | undefined): Durability {
  if (options === undefined) return engine.durability
  for (const name of Object.keys(options)) {
    if (name !== 'durability')
      throw new HoltError('HOLT_INVALID_ARGUMENT', `'${name}' is no option of a write`)
  }
  return raisedDurability(engine.durability, options.durability)
}

function withoutForce({ force: _force, ...write }: RenameOptions): WriteOptions {
  return write
}

function renamedVersion(outcome: BatchOutcome): Version {
  if (outcome.committed) return outcome.version as Version
  if (outcome.failed.reason === 'exists')
    throw new HoltError('HOLT_EXISTS', 'there is a value at the destination already')
  throw new HoltError('HOLT_NOT_FOUND', 'there is no value at the key to be renamed')
}

function versionOf(outcome: BatchOutcome): Version | undefined {
  return outcome.committed ? (outcome.version as Version) : undefined
}

function rejected(error: unknown): Promise<never> {
  return Promise.reject(error instanceof Error ? error : new HoltError('HOLT_INTERNAL', String(error)))
}
