import { HoltError } from '@holt/errors'
import type { Follower, ReplayedRecord } from '@holt/journal'
import {
  type Change,
  type ChangeCodecs,
  type Commit,
  presentChange,
  RAW,
  storedChanges,
  type StoredChange,
} from './change.js'
import type { Engine } from './engine.js'
import type { Version } from './entries.js'
import type { TreeInternals } from './tree-internals.js'
import { assertThere } from './tree-state.js'

export interface TreeChangesOptions {
  /** Ends the feed: the next step, or the one under way, rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

export interface ChangesOptions extends TreeChangesOptions {
  /** Only changes of trees with these names; by default those of all. */
  readonly trees?: readonly string[]
}

/** What a feed needs to know to tell changes. */
interface Telling<K, V> {
  readonly codecs: ChangeCodecs<K, V>
  /** Whether it is to be told, as far as its tree's id says. */
  readonly wantsId: (treeId: number) => boolean
  readonly wantsName: (name: string) => boolean
  /** The name of a tree that there is, or that went since the database was opened. */
  readonly nameOf: (treeId: number) => string | undefined
  /** Whether nothing can come behind this change. */
  readonly isLast: (stored: StoredChange) => boolean
}

/** @internal Feeds of one database: its closing ends them. */
export class ChangeFeeds {
  readonly #open = new Set<ChangeFeed<unknown, unknown>>()

  add(feed: ChangeFeed<unknown, unknown>): void {
    this.#open.add(feed)
  }

  remove(feed: ChangeFeed<unknown, unknown>): void {
    this.#open.delete(feed)
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open].map((feed) => feed.return()))
  }
}

/**
 * Commits in their order, from a version on, and then as they happen: each once it survives a power loss, so that nothing
 * that was told is ever taken back. It reads the journal's files and holds nothing in memory but the part it reads.
 *
 * It ends when the database is closed, a tree's also behind the tree's `dropTree`. A step rejects with
 * `HOLT_POSITION_EXPIRED` (its `oldestVersion` is the lowest version to begin at) when what comes next is not kept any more,
 * `HOLT_CORRUPT` naming a damaged file, `HOLT_IO`, `HOLT_POISONED` when the journal failed and all before was told,
 * `HOLT_INVALID_KEY` or `HOLT_ENCODING` for bytes that do not decode, and the signal's reason. That ends the feed; another one
 * can be begun where it stopped. One that waits keeps no process alive.
 */
export class ChangeFeed<K = Uint8Array, V = Uint8Array>
  implements AsyncIterableIterator<Commit<K, V>, undefined>, AsyncDisposable
{
  readonly #engine: Engine
  readonly #telling: Telling<K, V>
  readonly #signal: AbortSignal | undefined
  readonly #follower: Follower
  readonly #onAbort = (): void => {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#isAborted = true
    // Whoever takes the next step is told why it ended, and no more.
    this.#giveBack().catch(() => undefined)
  }
  /** Looks for the name of a tree that a life before this one dropped. */
  #ahead: Follower | undefined
  readonly #droppedNames = new Map<number, string>()
  #version: number
  #isEnded = false
  /** By the signal, which is still to be told. */
  #isAborted = false
  #turn: Promise<unknown> = Promise.resolve()

  /** @internal */
  constructor(
    engine: Engine,
    fromVersion: number | undefined,
    telling: Telling<K, V>,
    signal: AbortSignal | undefined,
  ) {
    const { journal } = engine
    if (journal === undefined) {
      throw new HoltError(
        'HOLT_UNSUPPORTED',
        "changes are read from the journal as it is written: not with durability 'memory', which has none, and not read-only",
      )
    }
    if (fromVersion !== undefined && !(Number.isSafeInteger(fromVersion) && fromVersion >= 0)) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `fromVersion is ${String(fromVersion)}; a version that was seen before, or 0, is wanted`,
      )
    }
    if (fromVersion !== undefined && fromVersion > engine.seq) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `fromVersion is ${String(fromVersion)}, which this database has not reached: its newest is ${String(engine.lastVersion)}`,
      )
    }
    signal?.throwIfAborted()
    this.#engine = engine
    this.#telling = telling
    this.#signal = signal
    this.#version = fromVersion ?? engine.lastVersion
    this.#follower = journal.follow(fromVersion, engine.lastVersion)
    engine.feeds.add(this)
    signal?.addEventListener('abort', this.#onAbort)
  }

  /**
   * All commits up to this version were told, or passed over because they change no tree that is wanted. To begin here later
   * misses nothing. It may be higher than that of the last commit told.
   */
  get version(): Version {
    return this.#version as Version
  }

  /** Steps that overlap wait for each other. */
  next(): Promise<IteratorResult<Commit<K, V>, undefined>> {
    const result = this.#turn.then(() => this.#next())
    this.#turn = result.catch(() => undefined)
    return result
  }

  /** Ends it, a step under way too. */
  async return(): Promise<IteratorResult<Commit<K, V>, undefined>> {
    this.#isEnded = true
    await this.#giveBack()
    await this.#turn
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  async #next(): Promise<IteratorResult<Commit<K, V>, undefined>> {
    try {
      while (!this.#isEnded) {
        const record = await this.#follower.next()
        if (record === undefined) break
        const changes = await this.#changesOf(record)
        // It may have been ended while it looked for a name.
        if (changes === undefined) break
        this.#version = record.seq
        if (changes.length > 0) return { done: false, value: { version: record.seq as Version, changes } }
      }
      if (this.#isAborted) {
        this.#isAborted = false
        this.#signal?.throwIfAborted()
      }
    } catch (error) {
      this.#isEnded = true
      await this.#giveBack()
      throw error
    }
    this.#isEnded = true
    await this.#giveBack()
    return { done: true, value: undefined }
  }

  async #changesOf(record: ReplayedRecord): Promise<Change<K, V>[] | undefined> {
    const { codecs, wantsId, wantsName, isLast } = this.#telling
    const { seq } = record
    const changes: Change<K, V>[] = []
    for (const stored of storedChanges(record)) {
      if (!wantsId(stored.treeId)) continue
      const name = 'name' in stored ? stored.name : await this.#nameOf(stored.treeId, seq)
      if (name === undefined) return undefined
      if (!wantsName(name)) continue
      changes.push(presentChange(stored, name, codecs))
      if (isLast(stored)) this.#isEnded = true
    }
    return changes
  }

  /** Undefined when the feed was ended meanwhile. */
  async #nameOf(treeId: number, seq: number): Promise<string | undefined> {
    return (
      this.#telling.nameOf(treeId) ?? this.#droppedNames.get(treeId) ?? (await this.#nameAhead(treeId, seq))
    )
  }

  /** The tree is gone, so what dropped it lies further on in the journal, and says what it was called. */
  async #nameAhead(treeId: number, seq: number): Promise<string | undefined> {
    const { journal } = this.#engine
    const ahead = journal?.follow(seq, this.#engine.lastVersion)
    this.#ahead = ahead
    try {
      while (!this.#isEnded) {
        const record = await ahead?.next()
        if (record === undefined) return undefined
        for (const stored of storedChanges(record)) {
          if (stored.kind === 'dropTree') this.#droppedNames.set(stored.treeId, stored.name)
        }
        const name = this.#droppedNames.get(treeId)
        if (name !== undefined) return name
      }
      return undefined
    } finally {
      this.#ahead = undefined
      await ahead?.close()
    }
  }

  async #giveBack(): Promise<void> {
    this.#signal?.removeEventListener('abort', this.#onAbort)
    await this.#ahead?.close()
    await this.#follower.close()
    this.#engine.feeds.remove(this)
  }
}

/** @internal Changes of all trees, as bytes. */
export function changesOfDatabase(
  engine: Engine,
  nameOf: (treeId: number) => string | undefined,
  fromVersion: number | undefined,
  options: ChangesOptions,
): ChangeFeed {
  engine.assertOpen()
  refuseUnknown(options, ['signal', 'trees'])
  const { signal, trees } = options
  if (trees !== undefined && !(Array.isArray(trees) && trees.every((name) => typeof name === 'string')))
    throw new HoltError('HOLT_INVALID_ARGUMENT', "trees is no array of trees' names")
  const wanted = trees === undefined ? undefined : new Set(trees)
  return new ChangeFeed(
    engine,
    fromVersion,
    {
      codecs: RAW,
      wantsId: () => true,
      wantsName: (name) => wanted?.has(name) ?? true,
      nameOf,
      isLast: () => false,
    },
    signal,
  )
}

/** @internal Changes of one tree, decoded. */
export function changesOfTree<K, V>(
  { engine, id, keys, values, state }: TreeInternals<K, V>,
  fromVersion: number | undefined,
  options: TreeChangesOptions,
): ChangeFeed<K, V> {
  engine.assertOpen()
  assertThere(state)
  refuseUnknown(options, ['signal'])
  return new ChangeFeed(
    engine,
    fromVersion,
    {
      codecs: { keys, values },
      wantsId: (treeId) => treeId === id,
      wantsName: () => true,
      nameOf: () => state.name,
      isLast: (stored) => stored.kind === 'dropTree',
    },
    options.signal,
  )
}

function refuseUnknown(options: object, known: readonly string[]): void {
  for (const name of Object.keys(options)) {
    if (!known.includes(name))
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `'${name}' is no option of changes(); there ${known.length === 1 ? 'is' : 'are'} ${known.join(' and ')}`,
      )
  }
}
