import { HoltError } from '@holt/errors'
import { type BulkLoad, maxInlineValueBytes, MIN_USABLE_BYTES } from '@holt/art-index'
import type { Engine } from './engine.js'
import { EntryBatch } from './entry-batch.js'
import type { Operation } from './operation.js'
import { encodeBehindId, withTreeId } from './range.js'
import { END, SortedEntries, WORKING } from './sorted-entries.js'
import type { TreeInternals } from './tree-internals.js'
import { assertThere } from './tree-state.js'
import { ownedBytes, type ValueCodec } from './value-encoding.js'

export interface BulkLoadProgress {
  /** Entries taken from the input so far. */
  readonly entries: number
}

export interface BulkLoadOptions {
  /**
   * The entries come in ascending order of their keys' bytes, no key twice: then they are not kept and may be more than
   * fits into memory. Default false: they are all kept, encoded, until the last has come, and sorted; of several for one
   * key the last one counts.
   */
  readonly sorted?: boolean
  /** Called after every 10 000 entries. What it throws ends the load. */
  readonly onProgress?: (progress: BulkLoadProgress) => void
  /** Ends it early: it rejects with the signal's reason, and nothing of it is there. */
  readonly signal?: AbortSignal
}

export interface BulkLoadResult {
  /** Keys that were loaded. */
  readonly keys: number
}

export type BulkEntries<K, V> = Iterable<readonly [K, V]> | AsyncIterable<readonly [K, V]>

const PROGRESS_ENTRIES = 10_000
const LOOK_ENTRIES = 64
/** So long the event loop is held at a time. */
const SLICE_MS = 4
/** A clock that stands still must not hold it for ever. */
const SLICE_PIECES = 256
/** No value up to this size has frames of its own, however small frames are. */
const ALWAYS_INLINE_BYTES = maxInlineValueBytes(MIN_USABLE_BYTES)
const BATCH_OPERATIONS = 1_000
const BATCH_BYTES = 2 ** 20

/**
 * Loads entries into a tree: into an empty one as frames built aside and hung in by one step, into any other by batches of puts.
 */
export async function bulkLoad<K, V>(
  tree: TreeInternals<K, V>,
  entries: BulkEntries<K, V>,
  options: BulkLoadOptions,
): Promise<BulkLoadResult> {
  const { engine, state, id } = tree
  const pace = new Pace(engine, options)
  engine.assertOpen()
  checkEntries(entries)
  const check = (): void => {
    assertThere(state)
    pace.check()
  }
  check()
  const prefix = withTreeId(id, new Uint8Array(0))
  const load = await engine.beginLoad(prefix, check)
  if (load === undefined) return await putAll(tree, entries, pace)
  const sorted = pace.isSorted ? undefined : new SortedEntries()
  try {
    if (sorted === undefined) await addSorted(tree, load, entries, pace)
    else await addUnsorted(tree, load, entries, pace, sorted)
    check()
    engine.assertOpen()
    const { keys } = load
    if (keys > 0) await engine.commitLoad(load, prefix, check)
    return { keys }
  } finally {
    engine.abandonLoad(load)
    // Not before: until it has ended the load reads the last entry where it lies.
    sorted?.end()
  }
}

function checkEntries(entries: unknown): void {
  if (
    typeof entries === 'object' &&
    entries !== null &&
    (Symbol.iterator in entries || Symbol.asyncIterator in entries)
  )
    return
  throw new HoltError('HOLT_INVALID_ARGUMENT', 'entries is no iterable; pairs [key, value] are wanted')
}

/** Calls `take` for each entry, and waits where it says so. */
async function forEachEntry<K, V>(
  entries: BulkEntries<K, V>,
  take: (key: K, value: V) => Promise<void> | undefined,
): Promise<void> {
  if (Symbol.iterator in entries) {
    for (const entry of entries) {
      checkPair(entry)
      const wait = take(entry[0], entry[1])
      if (wait !== undefined) await wait
    }
  } else {
    for await (const entry of entries) {
      checkPair(entry)
      const wait = take(entry[0], entry[1])
      if (wait !== undefined) await wait
    }
  }
}

function checkPair(entry: unknown): void {
  if (Array.isArray(entry) && entry.length === 2) return
  throw new HoltError('HOLT_INVALID_ARGUMENT', 'an entry is no pair; [key, value] is wanted')
}

async function addSorted<K, V>(
  { keys, values }: TreeInternals<K, V>,
  load: BulkLoad,
  entries: BulkEntries<K, V>,
  pace: Pace,
): Promise<void> {
  // The load still reads the last entry of one when it gets the first of the other.
  let batch = new EntryBatch(keys)
  let other = new EntryBatch(keys)
  const flush = async (): Promise<void> => {
    batch.encodeKeys()
    const { keyWords, keyAt, keyLength, valueWords, valueAt, valueLength } = batch
    for (let i = 0; i < batch.count; i++) {
      const wait = pace.beforeAdding(load.frames, valueLength[i])
      if (wait !== undefined) await wait
      if (!load.add(keyWords, keyAt[i], keyLength[i], valueWords, valueAt[i], valueLength[i]))
        throw outOfOrder(load.keys)
    }
    const added = batch
    batch = other
    other = added
    batch.clear()
  }
  await forEachBatch(entries, values, pace, () => batch, flush)
}

async function addUnsorted<K, V>(
  { keys, values }: TreeInternals<K, V>,
  load: BulkLoad,
  entries: BulkEntries<K, V>,
  pace: Pace,
  sorted: SortedEntries,
): Promise<void> {
  const batch = new EntryBatch(keys)
  await forEachBatch(
    entries,
    values,
    pace,
    () => batch,
    () => {
      batch.encodeKeys()
      sorted.add(batch)
      batch.clear()
      return pace.afterWork()
    },
  )
  for (;;) {
    const entry = sorted.next()
    if (entry === END) return
    if (entry === WORKING) {
      const wait = pace.afterWork()
      if (wait !== undefined) await wait
      continue
    }
    const words = sorted.wordsOf(entry)
    const at = sorted.keyAt(entry)
    const keyLength = sorted.keyLength(entry)
    const valueLength = sorted.valueLength(entry)
    const wait = pace.beforeAdding(load.frames, valueLength)
    if (wait !== undefined) await wait
    if (!load.add(words, at * 4, keyLength, words, at + ((keyLength + 3) >>> 2), valueLength))
      throw new HoltError('HOLT_INTERNAL', 'sorted entries are not ascending')
  }
}

/** Puts entries into the batch that `batchOf` returns, and has `flush` empty it when it is full, and at the end. */
async function forEachBatch<K, V>(
  entries: BulkEntries<K, V>,
  values: ValueCodec<V>,
  pace: Pace,
  batchOf: () => EntryBatch,
  flush: () => Promise<void> | undefined,
): Promise<void> {
  await forEachEntry(entries, (key, value) => {
    const bytes = values.encode(value)
    pace.taken()
    const batch = batchOf()
    if (batch.hasRoom(bytes.length)) {
      batch.add(key, bytes)
      return undefined
    }
    const flushed = flush()
    if (flushed !== undefined)
      return flushed.then(() => {
        batchOf().add(key, bytes)
      })
    batchOf().add(key, bytes)
    return undefined
  })
  await flush()
}

function outOfOrder(entries: number): HoltError {
  return new HoltError(
    'HOLT_INVALID_ARGUMENT',
    `entry ${String(entries)}, counted from 0, does not come behind the one before it; without sorted: true any order will do`,
  )
}

/** The way into a tree that is not empty. */
async function putAll<K, V>(
  { engine, id, keys, values, state }: TreeInternals<K, V>,
  entries: BulkEntries<K, V>,
  pace: Pace,
): Promise<BulkLoadResult> {
  let operations: Operation[] = []
  let bytes = 0
  let count = 0
  let last: Uint8Array | undefined
  const flush = async (): Promise<void> => {
    const batch = operations
    operations = []
    bytes = 0
    assertThere(state)
    await engine.write(batch, engine.durability)
    count += batch.length
  }
  await forEachEntry(entries, (key, value) => {
    const keyBytes = encodeBehindId(id, keys, key)
    if (pace.isSorted && last !== undefined && Buffer.compare(last, keyBytes) >= 0)
      throw outOfOrder(count + operations.length)
    last = keyBytes
    const valueBytes = ownedBytes(values, value)
    operations.push({ kind: 'put', key: keyBytes, value: valueBytes })
    bytes += keyBytes.length + valueBytes.length
    pace.taken()
    const wait = operations.length % LOOK_ENTRIES === 0 ? pace.afterWork() : undefined
    if (operations.length < BATCH_OPERATIONS && bytes < BATCH_BYTES) return wait
    return wait === undefined ? flush() : wait.then(flush)
  })
  if (operations.length > 0) await flush()
  return { keys: count }
}

/** When a load has to wait: for room, for the event loop's turn; and what is looked at then. */
class Pace {
  readonly isSorted: boolean
  readonly #engine: Engine
  readonly #onProgress: BulkLoadOptions['onProgress']
  readonly #signal: AbortSignal | undefined
  #entries = 0
  #steps = 0
  /** Frames of the load when there was room last; -1 after somebody else had a turn. */
  #framesLooked = -1
  #sliceStartMs: number

  /** Throws `HOLT_INVALID_ARGUMENT` for options that are none. */
  constructor(engine: Engine, options: BulkLoadOptions) {
    for (const option of Object.keys(options)) {
      if (option !== 'sorted' && option !== 'onProgress' && option !== 'signal')
        throw new HoltError(
          'HOLT_INVALID_ARGUMENT',
          `'${option}' is no option of bulkLoad; there are sorted, onProgress and signal`,
        )
    }
    const { sorted = false, onProgress, signal } = options
    if (typeof sorted !== 'boolean')
      throw new HoltError('HOLT_INVALID_ARGUMENT', `sorted is ${typeof sorted}; a boolean is wanted`)
    this.isSorted = sorted
    this.#engine = engine
    this.#onProgress = onProgress
    this.#signal = signal
    this.#sliceStartMs = engine.io.nowMs()
  }

  check(): void {
    this.#signal?.throwIfAborted()
  }

  /** One more entry has come from the input. */
  taken(): void {
    this.#framesLooked = -1
    if (this.#entries > 0 && this.#entries % PROGRESS_ENTRIES === 0)
      this.#onProgress?.({ entries: this.#entries })
    this.#entries += 1
    if (this.#entries % LOOK_ENTRIES === 0) {
      this.check()
      this.#engine.assertOpen()
    }
  }

  /**
   * Before an entry, with the bytes of its value, goes to frames, when the load has made so many. A promise where that has
   * to wait.
   */
  beforeAdding(frames: number, valueBytes: number): Promise<void> | undefined {
    // Where neither the event loop nor the input had a turn, nobody but the load has taken room away.
    if (frames !== this.#framesLooked || valueBytes > ALWAYS_INLINE_BYTES) {
      if (!this.#engine.hasRoomToLoad(valueBytes)) return this.#whenRoom(valueBytes)
      this.#framesLooked = frames
    }
    this.#steps += 1
    return this.#steps % LOOK_ENTRIES === 0 ? this.afterWork() : undefined
  }

  /** After work that took a while. A promise where the event loop is to have a turn. */
  afterWork(): Promise<void> | undefined {
    this.check()
    const { io } = this.#engine
    this.#engine.assertOpen()
    this.#pieces += 1
    if (this.#pieces % SLICE_PIECES !== 0 && io.nowMs() - this.#sliceStartMs < SLICE_MS) return undefined
    this.#engine.loadChanged()
    return this.#turn()
  }
  #pieces = 0

  async #turn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    this.#framesLooked = -1
    this.#sliceStartMs = this.#engine.io.nowMs()
    this.check()
    this.#engine.assertOpen()
  }

  async #whenRoom(valueBytes: number): Promise<void> {
    do {
      await this.#engine.whenRoomToLoad()
      await this.#turn()
    } while (!this.#engine.hasRoomToLoad(valueBytes))
  }
}
