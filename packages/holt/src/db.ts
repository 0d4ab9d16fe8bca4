import { treeStatistics, type TreeStatistics, type VerifyReport } from '@holt/art-index'
import { HoltError } from '@holt/errors'
import { backUp, type BackupOptions, type BackupReport } from './backup.js'
import { Catalog } from './catalog.js'
import { type ChangeFeed, type ChangesOptions, changesOfDatabase } from './change-feed.js'
import { raisedDurability } from './durability.js'
import { DbView } from './db-view.js'
import { compactDatabase, type CompactionProgress, type CompactOptions } from './compaction.js'
import type { Engine } from './engine.js'
import type { Version } from './entries.js'
import { keyCodec, type KeyEncodingName, type KeyEncodings } from './key-encoding.js'
import type { RecoveryStats } from './recovery.js'
import type { DbStats } from './stats.js'
import { checkStorePath } from './store-directory.js'
import { ShareDesk } from './share.js'
import { checkSnapshotName, type Snapshot } from './snapshots.js'
import type { SharedDb } from './share-messages.js'
import { type AtomicResult, Transaction } from './transaction.js'
import { durabilityOf, Tree, type WriteOptions } from './tree.js'
import { vacuumDatabase, type VacuumOptions, type VacuumReport } from './vacuum.js'
import {
  valueCodec,
  type ValueEncoding,
  type ValueEncodingName,
  type ValueEncodings,
} from './value-encoding.js'
import { verifyDatabase, type VerifyOptions } from './verify.js'

export interface TreeOptions<
  N extends KeyEncodingName = KeyEncodingName,
  E = ValueEncodingName | ValueEncoding<unknown>,
> {
  /** Default `'utf8'`. */
  readonly keyEncoding?: N
  /** Default `'view'`. */
  readonly valueEncoding?: E
}

type ValueOf<E> = E extends ValueEncodingName
  ? ValueEncodings[E]
  : E extends ValueEncoding<infer V>
    ? V
    : never

/** @internal What `open` joins into a database. */
export interface DbParts {
  readonly engine: Engine
  readonly path: string | undefined
  readonly recovery: RecoveryStats | undefined
  /** What a path that a user names means to the Io. */
  readonly resolvePath: (path: string) => string
  /** Gives back what is not the engine's: lock, Io. */
  readonly release: () => Promise<void>
}

/** An open database. Made by `open` and `openMemory`; end it with `close`. */
export class Db implements AsyncDisposable {
  /** The directory; `undefined` for a database in memory. */
  readonly path: string | undefined
  readonly #engine: Engine
  readonly #catalog: Catalog
  readonly #recovery: RecoveryStats | undefined
  readonly #resolvePath: (path: string) => string
  readonly #release: () => Promise<void>
  #shares: ShareDesk | undefined
  #closing: Promise<void> | undefined

  constructor(parts: DbParts) {
    this.path = parts.path
    this.#engine = parts.engine
    this.#catalog = new Catalog(parts.engine)
    this.#recovery = parts.recovery
    this.#resolvePath = parts.resolvePath
    this.#release = parts.release
  }

  /** Whether it was opened with `readOnly`. */
  get readOnly(): boolean {
    return this.#engine.readOnly
  }

  /**
   * The tree of that name, made if there is none. The names of its encodings are kept: another one at a later opening
   * rejects with `HOLT_ENCODING`. `HOLT_INVALID_ARGUMENT` for an empty name, an unknown option or encoding;
   * `HOLT_READ_ONLY` if there is none and the database was opened for reading.
   */
  async tree<
    N extends KeyEncodingName = 'utf8',
    E extends ValueEncodingName | ValueEncoding<unknown> = 'view',
  >(name: string, options: TreeOptions<N, E> = {}): Promise<Tree<KeyEncodings[N], ValueOf<E>>> {
    this.#engine.assertOpen()
    for (const option of Object.keys(options)) {
      if (option !== 'keyEncoding' && option !== 'valueEncoding') {
        throw new HoltError(
          'HOLT_INVALID_ARGUMENT',
          `'${option}' is no option of a tree; there are keyEncoding and valueEncoding`,
        )
      }
    }
    const keys = keyCodec((options.keyEncoding ?? 'utf8') as N)
    const values = valueCodec<ValueOf<E>>((options.valueEncoding ?? 'view') as ValueEncodingName)
    const record = await this.#catalog.findOrCreate(name, keys.name, values.name)
    if (record.keyEncoding !== keys.name || record.valueEncoding !== values.name) {
      throw new HoltError(
        'HOLT_ENCODING',
        `tree '${name}' was made with key encoding '${record.keyEncoding}' and value encoding '${record.valueEncoding}', not '${keys.name}' and '${values.name}'`,
      )
    }
    return new Tree(this.#engine, name, record.id, keys, values, this.#catalog.stateOf(record.id, name))
  }

  /**
   * Drops the tree of that name with all its keys, in one step whatever their number; the space comes back in the
   * background. The name is free at once; handles of the dropped tree fail with `HOLT_TREE_DROPPED` from the call on.
   * Rejects `HOLT_NOT_FOUND` if there is none, and what a write rejects with: then the tree is as before.
   */
  async dropTree(name: string, options?: WriteOptions): Promise<void> {
    this.#engine.assertOpen()
    await this.#catalog.drop(name, raisedDurability(this.#engine.durability, options?.durability))
  }

  /**
   * Runs `collect`, which says what to do through `tx.in(tree)`, then applies all of it or nothing, in one journal
   * record. Conditions are judged in order, each operation seeing the effects of those before it. `collect` must be
   * synchronous (`HOLT_INVALID_ARGUMENT`); what it throws rejects, and nothing is changed.
   */
  async atomic(collect: (tx: Transaction) => void, options?: WriteOptions): Promise<AtomicResult> {
    this.#engine.assertOpen()
    const durability = raisedDurability(this.#engine.durability, options?.durability)
    const tx = new Transaction(this.#engine)
    const call: (tx: Transaction) => unknown = collect
    const returned = call(tx)
    tx.end()
    if (typeof returned === 'object' && returned !== null && 'then' in returned) {
      // Whatever it does later comes too late; its failure must not go unheard either.
      Promise.resolve(returned).catch(() => undefined)
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        'the callback of atomic is asynchronous; it must collect its operations at once',
      )
    }
    const outcome = await tx.commit(durability)
    if (outcome.committed) return { committed: true, version: outcome.version as Version }
    const { index, reason } = outcome.failed
    return { committed: false, failed: { index, reason, ...tx.operationAt(index) } }
  }

  /**
   * What another thread of this process needs to read along: give it to a worker (`workerData`, `postMessage`), which
   * calls `attach` with it. Readers take no locks and copy nothing but results; they wait for this thread only where a
   * frame is not in memory, so it must let its event loop turn. Writes cost a little more from the first call on.
   *
   * Throws `HOLT_UNSUPPORTED` off x64, where this is not tested yet.
   */
  share(): SharedDb {
    this.#engine.assertOpen()
    this.#shares ??= new ShareDesk(this.#engine)
    return this.#shares.shared()
  }

  /**
   * The version of the newest commit that reads show: what they gave in the same turn is the state at it. Together with
   * `db.sync()`, after which it is certain, it is where a feed of changes goes on.
   */
  get version(): Version {
    return this.#engine.lastVersion as Version
  }

  /**
   * Commits of all trees, or of those named, with a version above `fromVersion`; without it, those made from now on. Keys and
   * values are bytes; `tree.changes` decodes them. How far back it can go is what `retainJournalBytes` and `retainJournalMs`
   * of `open` say; 0 begins with the first commit ever.
   *
   * Throws `HOLT_INVALID_ARGUMENT` for an option or version that cannot be, `HOLT_UNSUPPORTED` with durability
   * `'memory'` or read-only, the signal's reason; see {@link ChangeFeed} for what its steps reject with.
   */
  changes(fromVersion?: number, options: ChangesOptions = {}): ChangeFeed {
    return changesOfDatabase(this.#engine, (id) => this.#catalog.nameOf(id), fromVersion, options)
  }

  /**
   * All trees as they are now, for as long as the view is open: see `Tree.view`, which is one of a single tree.
   */
  view(): DbView {
    this.#engine.assertOpen()
    return new DbView(this.#engine.takeView())
  }

  /**
   * Gives all trees as they are, with every write called before it, a name that stays when the database is closed, and over
   * crashes: what is acknowledged is as durable as any write (`durability` as of a put). It costs the same whatever the
   * trees hold; from then on the first change of each part that it shows copies that part, and what it alone shows takes
   * space until {@link dropSnapshot}.
   *
   * Rejects `HOLT_EXISTS` when there is one of that name; `HOLT_INVALID_ARGUMENT` for an empty name, or one of more than
   * `LIMITS.maxSnapshotNameBytes`, or an unknown option; and what a write rejects with.
   */
  async snapshot(name: string, options?: WriteOptions): Promise<Snapshot> {
    this.#engine.assertOpen()
    const durability = durabilityOf(this.#engine, options)
    checkSnapshotName(name)
    const takenMs = this.#engine.io.unixTimeMs()
    const outcome = await this.#engine.changeSnapshot({ kind: 'take', name, takenMs }, durability)
    if (!outcome.committed) throw new HoltError('HOLT_INTERNAL', 'a snapshot has no condition')
    return { name, version: outcome.version as Version, takenAt: new Date(takenMs) }
  }

  /** The snapshots that there are, in the order in which they were taken. */
  snapshots(): Snapshot[] {
    this.#engine.assertOpen()
    return this.#engine.snapshots.list()
  }

  /**
   * All trees as that snapshot shows them, as a view: end it with `close`, or by `using`. There may be several of one
   * snapshot. A view that is open when its snapshot is dropped goes on as any other. Throws `HOLT_NOT_FOUND`.
   */
  openSnapshot(name: string): DbView {
    checkSnapshotName(name)
    return new DbView(this.#engine.openSnapshot(name))
  }

  /**
   * Ends a snapshot: its name is free at once, and the space of what nothing else shows comes back in the background.
   * Rejects `HOLT_NOT_FOUND` if there is none of that name, and what a write rejects with.
   */
  async dropSnapshot(name: string, options?: WriteOptions): Promise<void> {
    this.#engine.assertOpen()
    const durability = durabilityOf(this.#engine, options)
    checkSnapshotName(name)
    await this.#engine.changeSnapshot({ kind: 'drop', name }, durability)
  }

  /** Resolves when all writes called before it survive a power loss. Without a journal that takes a checkpoint. */
  sync(): Promise<void> {
    return this.#engine.sync()
  }

  /** Writes all changes into the store's image, so that the journal behind it can be recycled. */
  checkpoint(): Promise<void> {
    return this.#engine.checkpoint()
  }

  /**
   * Joins frames that deletes and divisions have left half empty, and lays every frame out in key order, while reads and
   * writes go on. Contents do not change. The files become smaller with the next checkpoints. Rejects with the signal's reason
   * when it was ended early (what was done stays done), `HOLT_INVALID_ARGUMENT` for an option out of range.
   */
  async compact(options: CompactOptions = {}): Promise<CompactionProgress> {
    this.#engine.assertOpen()
    return compactDatabase(this.#engine, options)
  }

  /**
   * Checks everything: every invariant of the tree, every checksum, that no frame is lost or used twice. Resolves to a
   * report that names each problem's place; `problems` is empty for a sound database. Gives the event loop its turn
   * between frames; writes may have to wait when they keep changing what is being checked.
   *
   * Rejects `HOLT_IO` when a frame cannot be read, `HOLT_CLOSED` when the database is closed meanwhile, with the signal's
   * reason when it is aborted, `HOLT_INVALID_ARGUMENT` for an unknown option.
   */
  async verify(options: VerifyOptions = {}): Promise<VerifyReport> {
    this.#engine.assertOpen()
    refuseUnknown(options, ['onProgress', 'signal'], 'verify')
    return await verifyDatabase(this.#engine, options)
  }

  /**
   * Gives back room on the disk: writes a checkpoint, moves frames from the end of `blobs.dat` into free places before
   * it, cuts off the end, and writes the manifest anew. Reads and writes go on meanwhile. A crash at any moment loses
   * nothing. Nothing to be done for a database in memory.
   *
   * Rejects as `checkpoint` does, `HOLT_CLOSED` when the database is closed meanwhile, with the signal's reason when it
   * is aborted, `HOLT_INVALID_ARGUMENT` for an unknown option.
   */
  async vacuum(options: VacuumOptions = {}): Promise<VacuumReport> {
    this.#engine.assertOpen()
    refuseUnknown(options, ['onProgress', 'signal'], 'vacuum')
    return await vacuumDatabase(this.#engine, options)
  }

  /**
   * Copies the database into `directory`, which is absent or empty (else `HOLT_EXISTS`), while reads and writes go on:
   * makes a checkpoint and copies its image, each page checked against its checksum. The copy is a database of its own, as
   * small as it can be, and opens like any other; it holds every write up to the report's `version` and none behind it. Its
   * manifest is written last, so what did not come to its end opens as nothing.
   *
   * Rejects as `checkpoint` does; `HOLT_CORRUPT`, naming the place, for a damaged frame; `HOLT_NO_SPACE` and `HOLT_IO`;
   * `HOLT_BUSY` while another backup is under way; `HOLT_CLOSED` when the database is closed meanwhile; with the signal's
   * reason when it is aborted; `HOLT_UNSUPPORTED` for a database in memory; `HOLT_INVALID_ARGUMENT`. What was written is
   * removed then, and the directory left empty.
   */
  async backup(directory: string, options: BackupOptions = {}): Promise<BackupReport> {
    this.#engine.assertOpen()
    checkStorePath(directory, 'the path of a backup')
    refuseUnknown(options, ['onProgress', 'signal'], 'backup')
    return await backUp(this.#engine, this.#resolvePath(directory), options)
  }

  stats(): DbStats {
    const {
      io,
      index,
      frames,
      store,
      journal,
      checkpointer,
      reclaimer,
      compaction,
      views,
      seq,
      waitingWrites,
      waitingBytes,
      durability,
    } = this.#engine
    return {
      durability,
      io: { kind: io.kind, fallbackReason: io.fallbackReason, counters: io.counters },
      writes: { seq, waiting: waitingWrites, waitingBytes },
      cache: frames.stats(),
      lookups: { filtered: index.filteredLookups },
      store: store.stats(),
      reclaim: reclaimer.stats(),
      compaction: compaction.stats(),
      views: views.stats(),
      journal: journal?.stats(),
      checkpoint: checkpointer?.stats(),
      recovery: this.#recovery,
    }
  }

  /** Walks everything and counts frames, nodes, fill and depth. */
  treeStatistics(): TreeStatistics {
    this.#engine.assertOpen()
    return treeStatistics(this.#engine.index)
  }

  /**
   * Applies what waits, writes a last checkpoint, and gives everything back. Rejects with the cause when the journal
   * was poisoned or the checkpoint failed; everything is given back then too, and what the journal holds is there at the
   * next opening. A second call returns the same promise.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#shares?.close()
    try {
      await this.#engine.close()
    } finally {
      await this.#release()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

function refuseUnknown(options: object, known: readonly string[], method: string): void {
  for (const name of Object.keys(options)) {
    if (!known.includes(name))
      throw new HoltError('HOLT_INVALID_ARGUMENT', `'${name}' is no option of ${method}()`)
  }
}
