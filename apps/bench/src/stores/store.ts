/**
 * What is measured: an ordered map from text to bytes, in a directory of its own. One file implements it for each
 * engine, by the fastest of the engine's ways that is sound: a value that is returned stays what it is, and a write has
 * happened when its call returns (or its promise resolves), with what `Durability` says.
 *
 * Keys order by the bytes of their UTF-8. A call may be answered at once or by a promise; `getsAreAsync` and its
 * siblings say which, so that nobody pays for an `await` it does not need.
 */

export type MaybePromise<T> = T | Promise<T>

/**
 * `'os'`: an acknowledged write survives the end of the process, by `kill -9` too. `'disk'`: it survives a power loss.
 */
export type Durability = 'os' | 'disk'

export interface StoreOptions {
  /** Exists; the store alone uses it. */
  readonly directory: string
  readonly durability: Durability
  /** For engines with a cache of their own. */
  readonly cacheBytes: number
}

export interface StoreEntry {
  readonly key: string
  readonly value: Uint8Array
}

/** Sees one entry of a listing: bytes that are valid only during the call. */
export type EntryVisitor = (bytes: Uint8Array, offsetBytes: number, lengthBytes: number) => void

export interface Store {
  readonly getsAreAsync: boolean
  readonly listsAreAsync: boolean
  readonly writesAreAsync: boolean
  /** Listings cost the same after keys came and went. */
  readonly keepsOrder: boolean

  /** A value of the caller's own; `undefined` if the key is absent. */
  get(key: string): MaybePromise<Uint8Array | undefined>
  /** The value in memory that the next call uses again; absent where the engine has no such call. */
  readonly getReused?: (key: string) => ReusedValue | undefined

  put(key: string, value: Buffer): MaybePromise<void>
  /** All or none, as one transaction of the engine. */
  putBatch(entries: readonly (readonly [key: string, value: Buffer])[]): MaybePromise<void>
  /**
   * Many writers, one put each, under way together; resolves when all are acknowledged. An engine that has no way to
   * join writes of several writers takes them as one transaction.
   */
  putTogether(entries: readonly (readonly [key: string, value: Buffer])[]): MaybePromise<void>
  remove(key: string): MaybePromise<void>
  /** Atomic. The destination is known to be free. */
  rename(from: string, to: string): MaybePromise<void>

  /** The first entries that are not below `from`. */
  list(from: string, limit: number): MaybePromise<readonly StoreEntry[]>
  listKeys(from: string, limit: number): MaybePromise<readonly string[]>
  /** The listing without a copy of any value; how many there were. Absent where the engine has no such call. */
  readonly visit?: (from: string, limit: number, visitor: EntryVisitor) => number
  /** What lies directly below a prefix: keys without a further `/`, and common prefixes up to and with it. */
  listDirectory(prefix: string): MaybePromise<readonly string[]>

  /** Everything that waits is done: checkpoints, compactions under way. Not part of any measurement. */
  settle?(): MaybePromise<void>
  /** Gives back all space the engine can give back. Followed by `close`. */
  compact?(): MaybePromise<void>
  close(): MaybePromise<void>
}

export interface ReusedValue {
  readonly bytes: Uint8Array
  readonly lengthBytes: number
}

export type OpenStore = (options: StoreOptions) => MaybePromise<Store>
