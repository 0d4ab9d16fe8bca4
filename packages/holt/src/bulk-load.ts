import { HoltError } from '@holt/errors'
import type { BulkLoad } from '@holt/art-index'
import type { Engine } from './engine.js'
import { TREE_ID_BYTES } from './limits.js'
import type { Operation } from './operation.js'
import { encodeBehindId, withTreeId, writeTreeId } from './range.js'
import { SortedRuns } from './sorted-runs.js'
import type { TreeInternals } from './tree-internals.js'
import { assertThere } from './tree-state.js'
import { ownedBytes } from './value-encoding.js'

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
const SLICE_ENTRIES = 16_384
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
  try {
    if (options.sorted === true) await addSorted(tree, load, entries, pace)
    else await addUnsorted(tree, load, entries, pace)
    check()
    engine.assertOpen()
    const { keys } = load
    if (keys > 0) await engine.commitLoad(load, prefix, check)
    return { keys }
  } finally {
    engine.abandonLoad(load)
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
  { engine, id, keys, values }: TreeInternals<K, V>,
  load: BulkLoad,
  entries: BulkEntries<K, V>,
  pace: Pace,
): Promise<void> {
  const scratch = engine.index.key
  const add = (key: K, bytes: Uint8Array): void => {
    const keyLength = TREE_ID_BYTES + keys.write(key, scratch)
    writeTreeId(id, scratch)
    if (!load.add(keyLength, bytes, 0, bytes.length)) throw outOfOrder(load.keys)
  }
  await forEachEntry(entries, (key, value) => {
    const bytes = values.encode(value)
    // Whoever has its turn meanwhile uses the scratch buffer too.
    const wait = pace.next(bytes.length)
    if (wait === undefined) add(key, bytes)
    else
      return wait.then(() => {
        add(key, bytes)
      })
    return undefined
  })
}

async function addUnsorted<K, V>(
  { engine, id, keys, values }: TreeInternals<K, V>,
  load: BulkLoad,
  entries: BulkEntries<K, V>,
  pace: Pace,
): Promise<void> {
  const scratch = engine.index.key
  const runs = new SortedRuns()
  await forEachEntry(entries, (key, value) => {
    const bytes = values.encode(value)
    const keyLength = keys.write(key, scratch)
    runs.add(scratch, TREE_ID_BYTES, keyLength, bytes)
    return pace.next(0)
  })
  pace.isCounting = false
  for (const entry of runs.merged()) {
    const wait = pace.next(entry.valueLength)
    if (wait !== undefined) await wait
    const { bytes, keyOffset, keyLength } = entry
    scratch.set(bytes.subarray(keyOffset, keyOffset + keyLength), TREE_ID_BYTES)
    writeTreeId(id, scratch)
    if (!load.add(TREE_ID_BYTES + keyLength, bytes, keyOffset + keyLength, entry.valueLength))
      throw new HoltError('HOLT_INTERNAL', 'sorted entries are not ascending')
  }
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
    const wait = pace.next(0)
    if (operations.length < BATCH_OPERATIONS && bytes < BATCH_BYTES) return wait
    return wait === undefined ? flush() : wait.then(flush)
  })
  if (operations.length > 0) await flush()
  return { keys: count }
}

/** When a load has to wait: for room, for the event loop's turn; and what is looked at then. */
class Pace {
  readonly isSorted: boolean
  /** Whether entries are taken from the input. */
  isCounting = true
  readonly #engine: Engine
  readonly #onProgress: BulkLoadOptions['onProgress']
  readonly #signal: AbortSignal | undefined
  #entries = 0
  #steps = 0
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

  /** Before each entry, with the bytes of its value if frames are built from it now. A promise where that has to wait. */
  next(valueBytes: number): Promise<void> | undefined {
    const engine = this.#engine
    this.#steps += 1
    if (this.isCounting) {
      if (this.#entries > 0 && this.#entries % PROGRESS_ENTRIES === 0)
        this.#onProgress?.({ entries: this.#entries })
      this.#entries += 1
    }
    if (!engine.hasRoomToLoad(valueBytes)) return this.#whenRoom(valueBytes)
    if (this.#steps % LOOK_ENTRIES !== 0) return undefined
    this.check()
    engine.assertOpen()
    if (this.#steps % SLICE_ENTRIES !== 0 && engine.io.nowMs() - this.#sliceStartMs < SLICE_MS)
      return undefined
    engine.loadChanged()
    return this.#turn()
  }

  async #turn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
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
