import { BufferManager, FileBlobStore } from '@holt/blob-store'
import { HoltError, isHoltError } from '@holt/errors'
import { Journal } from '@holt/journal'
import { addressOfBytes, adviseHugePages, type Io } from '@holt/uring-native'
import { Db } from './db.js'
import { Engine, keepingProcessAlive } from './engine.js'
import { decodeNote } from './engine-note.js'
import type { ResolvedOptions } from './options.js'
import { recover } from './recovery.js'
import { LOCK_FILES, prepareDirectory } from './store-directory.js'
import { isLockHeld } from './store-lock.js'

/** Looks that an opening takes at a store that another process changes under it, and the first pause between two. */
const MOST_LOOKS = 8
const FIRST_PAUSE_MS = 1

/** A look that came to nothing. */
interface Miss {
  readonly error: unknown
  /** Whether the manifest was read, and was the newest still when the look had ended. */
  readonly isOfCurrentImage: boolean
}

/**
 * Opens a store without its lock and without changing a byte of it: the image that the manifest names, and the journal
 * behind it, replayed into memory by recovery's own code. Frames that replay changes are dirty, so they stay in memory,
 * and nobody writes them.
 *
 * Another process may write the store meanwhile: commit images, use places of older ones again, take segments out of the
 * log. Each of these begins with another manifest. So a look counts if the manifest is the same at its end, and nothing
 * was wrong. What was wrong is damage (`HOLT_CORRUPT`) if a second look finds the very same, and either both were of an
 * image that was the newest all the time, or nobody holds the lock. Anything else may be the writer's doing: it is looked
 * again, some times, and then `HOLT_BUSY`.
 */
export async function openReadOnly(
  io: Io,
  directory: string,
  options: ResolvedOptions,
  release: () => Promise<void>,
): Promise<Db> {
  let before: Miss | undefined
  for (let count = 1, pauseMs = FIRST_PAUSE_MS; ; count++, pauseMs *= 2) {
    await prepare(io, directory)
    const seen = await look(io, directory, options, release)
    if (seen instanceof Db) return seen
    const { error } = seen
    if (!mayBeTheWriters(error)) throw error
    if (isDamage(seen, before) && (seen.isOfCurrentImage || !(await isLockHeld(io, directory)))) throw error
    if (count === MOST_LOOKS) {
      throw new HoltError(
        'HOLT_BUSY',
        `${directory} changed whenever it was looked at: open it again, or with fewer writes going on`,
        { cause: error, path: directory },
      )
    }
    before = seen
    await keepingProcessAlive(new Promise<void>((resume) => io.setTimer(pauseMs, resume)))
  }
}

/** A directory that is listed while a store is being made there shows files without a manifest: that is looked at twice. */
async function prepare(io: Io, directory: string): Promise<void> {
  const wanted = { createIfMissing: false, errorIfExists: false }
  try {
    await prepareDirectory(io, directory, wanted)
  } catch (error) {
    if (!isHoltError(error, 'HOLT_CORRUPT')) throw error
    await prepareDirectory(io, directory, wanted)
  }
}

/** Files that go away, end early or fail their checks. */
function mayBeTheWriters(error: unknown): boolean {
  return (
    isHoltError(error, 'HOLT_CORRUPT') ||
    isHoltError(error, 'HOLT_BUSY') ||
    isHoltError(error, 'HOLT_NOT_FOUND') ||
    isHoltError(error, 'HOLT_SHORT_TRANSFER')
  )
}

/** Whether two looks in a row found the same wrong. */
function isDamage(now: Miss, before: Miss | undefined): boolean {
  return (
    isHoltError(now.error, 'HOLT_CORRUPT') &&
    isHoltError(before?.error, 'HOLT_CORRUPT') &&
    now.error.message === before.error.message &&
    now.isOfCurrentImage === before.isOfCurrentImage
  )
}

async function look(
  io: Io,
  directory: string,
  options: ResolvedOptions,
  release: () => Promise<void>,
): Promise<Db | Miss> {
  let store: FileBlobStore
  try {
    store = await FileBlobStore.open({
      io,
      directory,
      readOnly: true,
      isOwnName: (name) => LOCK_FILES.test(name),
    })
  } catch (error) {
    return { error, isOfCurrentImage: false }
  }
  let db: Db | undefined
  try {
    const built = await build(io, directory, options, store, release)
    if (store.isCurrent()) db = built
    return db ?? { error: changed(directory), isOfCurrentImage: false }
  } catch (error) {
    const isOfCurrentImage = store.isCurrent()
    // Records that were made on top of a newer image need not fit the older one.
    const isFit = isOfCurrentImage || mayBeTheWriters(error)
    return { error: isFit ? error : changed(directory, error), isOfCurrentImage }
  } finally {
    if (db === undefined) await store.close()
  }
}

function changed(directory: string, cause?: unknown): HoltError {
  return new HoltError('HOLT_BUSY', `${directory} was written while it was being opened`, { cause })
}

async function build(
  io: Io,
  directory: string,
  options: ResolvedOptions,
  store: FileBlobStore,
  release: () => Promise<void>,
): Promise<Db> {
  const noteBytes = store.note()
  const note = noteBytes === undefined ? undefined : decodeNote(noteBytes)
  const frames = new BufferManager({
    store,
    capacityFrames: options.cacheFrames,
    blobsInUse: store.list(),
    addressOf: addressOfBytes,
    // As in an opening for writing: simulated lives are many, and small.
    ...(io.kind === 'sim' ? {} : { prepareMemory: adviseHugePages }),
  })
  // Lists the directory itself: segments made since the manifest was read belong to what is to be shown.
  const journal = await Journal.open({
    io,
    directory,
    storeId: store.storeId,
    durability: options.durability === 'disk' ? 'disk' : 'os',
    imagePosition: note?.journalPosition,
    readOnly: true,
  })
  const { index, snapshots, seq, lastSeq, stats } = await recover({
    frames,
    note,
    journal,
    usableFrameBytes: options.usableFrameBytes,
    nowMs: () => io.nowMs(),
  })
  await journal.close()
  const engine = new Engine({
    io,
    frames,
    index,
    snapshots,
    store,
    journal: undefined,
    checkpointer: undefined,
    durability: options.durability,
    seq,
    lastSeq,
    start: () => Promise.reject(new HoltError('HOLT_READ_ONLY', 'the database was opened for reading')),
    backgroundCompaction: false,
    readOnly: true,
  })
  return new Db({ engine, path: directory, recovery: stats, resolvePath: (to) => to, release })
}
