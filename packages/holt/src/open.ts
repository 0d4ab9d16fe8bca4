import { resolve } from 'node:path'
import { BufferManager, FileBlobStore, MemoryBlobStore } from '@holt/blob-store'
import { ArtIndex } from '@holt/art-index'
import { Checkpointer, EpochCommitter, type EpochWorker, ThreadEpochWorker } from '@holt/checkpointer'
import { Journal } from '@holt/journal'
import { addressOfBytes, adviseHugePages, FsIo, populateMemory, type Io, openIo } from '@holt/uring-native'
import { Db } from './db.js'
import { Engine } from './engine.js'
import { decodeNote, encodeNote, noteOfTree } from './engine-note.js'
import { CHANNELS, publish } from './events.js'
import { openReadOnly } from './open-read-only.js'
import { type OpenOptions, resolveOptions, type ResolvedOptions } from './options.js'
import { recover } from './recovery.js'
import { ReplayCheckpoints } from './replay-checkpoints.js'
import { checkStorePath, LOCK_FILES, prepareDirectory } from './store-directory.js'
import { Snapshots } from './snapshots.js'
import { StoreLock } from './store-lock.js'

const CHECKPOINT_CHANNELS = {
  start: CHANNELS.checkpointStart,
  end: CHANNELS.checkpointEnd,
  stall: CHANNELS.checkpointStall,
} as const
/** Frames that a database in memory may grow to. */
const MEMORY_FRAMES = 65_536

/**
 * Opens the database in a directory, and makes it if there is none.
 *
 * Throws `HOLT_INVALID_ARGUMENT` for unknown or wrong options, `HOLT_LOCKED` when it is open already, `HOLT_NOT_FOUND`
 * (with `createIfMissing: false`), `HOLT_EXISTS` (with `errorIfExists`), `HOLT_NOT_A_STORE`, `HOLT_VERSION`,
 * `HOLT_CORRUPT`, `HOLT_IO`.
 *
 * With `readOnly` it takes no lock, changes no byte and makes nothing: it shows the state at opening, also of a store that
 * another process has open. Everything that writes rejects with `HOLT_READ_ONLY`. `HOLT_BUSY`, here or at a later read,
 * says that the writer has moved on and that what is wanted is no more: close it, and open it again.
 */
export async function open(path: string, options?: OpenOptions): Promise<Db> {
  checkStorePath(path, 'the path of a database')
  const resolved = resolveOptions(options)
  const { io, isOwn } = chooseIo(resolved.io)
  const undo: (() => Promise<void>)[] = []
  if (isOwn) undo.push(() => io.dispose())
  try {
    // An Io of the caller's has its own idea of directories.
    const directory = isOwn ? resolve(path) : path
    if (resolved.readOnly)
      return await openReadOnly(io, directory, resolved, () => (isOwn ? io.dispose() : Promise.resolve()))
    return await openIn(io, directory, resolved, undo)
  } catch (error) {
    await giveBack(undo)
    throw error
  }
}

/** A database in memory: the same engine without a disk. Options as of `open`, of which only some make sense here. */
export function openMemory(
  options: Pick<OpenOptions, 'usableFrameBytes' | 'backgroundCompaction'> = {},
): Promise<Db> {
  const { usableFrameBytes, backgroundCompaction } = resolveOptions(options)
  const io = FsIo.create()
  const store = new MemoryBlobStore()
  const frames = new BufferManager({
    store,
    capacityFrames: MEMORY_FRAMES,
    maxFrames: MEMORY_FRAMES,
    prepareMemory: adviseHugePages,
  })
  const index = ArtIndex.create(frames, { usableFrameBytes })
  const engine = new Engine({
    io,
    frames,
    index,
    snapshots: new Snapshots(index),
    store,
    journal: undefined,
    checkpointer: undefined,
    durability: 'memory',
    seq: 0,
    lastSeq: 0,
    start: () => Promise.resolve(),
    backgroundCompaction,
  })
  return Promise.resolve(
    new Db({
      engine,
      path: undefined,
      recovery: undefined,
      resolvePath: resolve,
      release: () => io.dispose(),
    }),
  )
}

function chooseIo(wanted: ResolvedOptions['io']): { readonly io: Io; readonly isOwn: boolean } {
  if (typeof wanted === 'string') return { io: openIo({ prefer: wanted }), isOwn: true }
  return { io: wanted, isOwn: false }
}

async function giveBack(undo: readonly (() => Promise<void>)[]): Promise<void> {
  for (const step of [...undo].reverse()) await step().catch(() => undefined)
}

async function openIn(
  io: Io,
  directory: string,
  options: ResolvedOptions,
  undo: (() => Promise<void>)[],
): Promise<Db> {
  await prepareDirectory(io, directory, options)
  const lock = await StoreLock.acquire(io, directory)
  undo.push(() => lock.release())

  // Nobody else changes it from now on.
  const names = await io.list(directory)
  const store = await FileBlobStore.open({
    io,
    directory,
    names,
    createIfMissing: true,
    isOwnName: (name) => LOCK_FILES.test(name),
  })
  undo.push(() => store.close())
  const noteBytes = store.note()
  const note = noteBytes === undefined ? undefined : decodeNote(noteBytes)
  const frames = new BufferManager({
    store,
    capacityFrames: options.cacheFrames,
    blobsInUse: store.list(),
    addressOf: addressOfBytes,
    // Thousands of simulated lives begin in one process, and touch little each; and they must not depend on when
    // another thread is done.
    ...(io.kind === 'sim' ? {} : { prepareMemory: adviseHugePages, populateMemory }),
  })
  const { durability } = options
  const found = await Journal.open({
    io,
    directory,
    names,
    storeId: store.storeId,
    segmentBytes: options.segmentBytes,
    retainBytes: options.retainJournalBytes,
    retainMs: options.retainJournalMs,
    imagePosition: note?.journalPosition,
    syncIntervalMs: options.syncIntervalMs,
    durability: durability === 'disk' ? 'disk' : 'os',
    onEvent: (event) => {
      if (event.kind === 'segment-switch')
        publish(CHANNELS.segmentSwitch, { path: directory, segment: event.segment })
      else if (event.kind === 'poisoned')
        publish(CHANNELS.journalPoisoned, { path: directory, error: event.cause })
      else if (event.kind === 'recycle-failed')
        publish(CHANNELS.recycleFailed, { path: directory, error: event.cause })
    },
  })
  undo.push(() => found.close())
  const worker: EpochWorker =
    options.checkpoint.thread && io.kind !== 'sim'
      ? new ThreadEpochWorker({ store: store.worker, slab: frames.slab, slots: frames.slots, io: io.kind })
      : new EpochCommitter({ store, slab: frames.slab, slots: frames.slots })
  undo.push(() => worker.stop())
  let isSettled = false
  const settle = async (): Promise<void> => {
    if (isSettled) return
    await lock.settle()
    await store.settle()
    isSettled = true
  }
  const { index, snapshots, areSnapshotsNew, seq, lastSeq, stats } = await recover({
    frames,
    note,
    journal: found,
    usableFrameBytes: options.usableFrameBytes,
    nowMs: () => io.nowMs(),
    checkpoints: new ReplayCheckpoints({
      frames,
      worker,
      settle,
      settleJournal: (position) => found.settleReplayed(position),
    }),
  })
  const journal = durability === 'memory' ? undefined : found
  // What is written now is in no journal: what is there ends, lest it goes on later as if nothing were missing.
  const placeWithoutJournal = found.placeBehindAll

  const checkpointer: Checkpointer = new Checkpointer({
    frames,
    worker,
    io,
    journal,
    triggers: options.checkpoint,
    note: () =>
      encodeNote({
        ...noteOfTree(index, snapshots),
        seq: engine.seq,
        seqFloor: engine.seqFloor,
        journalPosition: journal?.position ?? placeWithoutJournal,
      }),
    onEvent: ({ kind, ...event }) => {
      publish(CHECKPOINT_CHANNELS[kind], { path: directory, ...event })
    },
  })
  if (areSnapshotsNew) checkpointer.noteChanged()
  const engine: Engine = new Engine({
    io,
    frames,
    index,
    snapshots,
    store,
    journal,
    checkpointer,
    durability,
    seq,
    lastSeq,
    start: async (seqFloor) => {
      await settle()
      if (journal !== undefined) await journal.start(seqFloor, undefined, lastSeq)
      // Without a journal the image itself must say which seqs may have been handed out.
      else await checkpointer.checkpoint({ force: true })
    },
    backgroundCompaction: options.backgroundCompaction,
    onViewLost: (version) => {
      publish(CHANNELS.viewLost, { path: directory, version })
    },
  })
  const release = async (): Promise<void> => {
    if (journal === undefined) await found.close()
    await lock.release()
    if (typeof options.io === 'string') await io.dispose()
  }
  const resolvePath = (to: string): string => (typeof options.io === 'string' ? resolve(to) : to)
  return new Db({ engine, path: directory, recovery: stats, resolvePath, release })
}
