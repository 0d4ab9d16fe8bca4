import { FRAME_BYTES } from '@holt/blob-buf-pool'
import { MAX_USABLE_BYTES, MIN_USABLE_BYTES } from '@holt/art-index'
import { HoltError } from '@holt/errors'
import { DEFAULT_SEGMENT_BYTES, MAX_SEGMENT_BYTES } from '@holt/journal'
import type { Io } from '@holt/uring-native'
import type { Durability } from './durability.js'
import { LIMITS } from './limits.js'

/** When checkpoints start by themselves, and where they run. */
export interface CheckpointOptions {
  /** So long after the first change since the last one. Default 5 000. */
  readonly intervalMs?: number
  /** So many changed frames. Default half of the cache. */
  readonly dirtyFrames?: number
  /** So many bytes of journal. Default 128 MiB: about a million small puts, which an opening after a crash replays in two seconds. */
  readonly journalBytes?: number
  /** On a worker thread (default), or inline on the thread that opened the database. */
  readonly thread?: boolean
}

export interface OpenOptions {
  /** What an acknowledged write survives. Default `'os'`. */
  readonly durability?: Durability
  /** Bytes of frames held in memory: at least 16 frames of 512 KiB. Default 256 MiB. */
  readonly cacheBytes?: number
  /**
   * How the disk is reached: `'auto'` (io_uring where it can be had, else node:fs; the environment variable `HOLT_IO`
   * overrides it), `'uring'`, `'fs'`, or an Io of one's own, which is then not disposed of by `close`.
   */
  readonly io?: 'auto' | 'uring' | 'fs' | Io
  /** Make the database if the directory is absent or empty. Default true. */
  readonly createIfMissing?: boolean
  /** Fail with `HOLT_EXISTS` if there is a database. Default false. */
  readonly errorIfExists?: boolean
  /**
   * Show the state at opening and change no byte: no lock is taken, no file made. Several may read, beside one that writes.
   * Not with `createIfMissing` or `errorIfExists`. Default false.
   */
  readonly readOnly?: boolean
  /** In `'os'` mode: a sync starts so long after the first unsynced byte. Default 1 000. */
  readonly syncIntervalMs?: number
  /** Bytes of a journal segment: a multiple of 4 096 from 64 KiB to 128 MiB. Default 32 MiB. */
  readonly segmentBytes?: number
  /**
   * Keep the journal behind a checkpoint, and over a close, so that `db.changes` can go back: as many of its segments,
   * newest first, as have no more bytes together. Default 0: not bounded by bytes, and nothing is kept if `retainJournalMs` is
   * 0 too.
   */
  readonly retainJournalBytes?: number
  /**
   * Keep a segment of the journal so long after its last record. It is looked at when a checkpoint has ended. Default 0: not
   * bounded by age.
   */
  readonly retainJournalMs?: number
  readonly checkpoint?: CheckpointOptions
  /**
   * Merge frames that deletes leave half empty, when no write comes for a moment, in pieces of about a millisecond. Default
   * true; `db.compact()` does it, and more, in either case.
   */
  readonly backgroundCompaction?: boolean
  /** Bytes of each frame that are used. For tests that want many frames of little data. */
  readonly usableFrameBytes?: number
}

export interface ResolvedOptions {
  readonly durability: Durability
  readonly cacheFrames: number
  readonly io: 'auto' | 'uring' | 'fs' | Io
  readonly createIfMissing: boolean
  readonly errorIfExists: boolean
  readonly readOnly: boolean
  readonly syncIntervalMs: number
  readonly segmentBytes: number
  readonly retainJournalBytes: number
  readonly retainJournalMs: number
  readonly backgroundCompaction: boolean
  readonly usableFrameBytes: number
  readonly checkpoint: Required<CheckpointOptions>
}

const KNOWN: Readonly<Record<keyof OpenOptions, true>> = {
  durability: true,
  cacheBytes: true,
  io: true,
  createIfMissing: true,
  errorIfExists: true,
  readOnly: true,
  syncIntervalMs: true,
  segmentBytes: true,
  retainJournalBytes: true,
  retainJournalMs: true,
  checkpoint: true,
  backgroundCompaction: true,
  usableFrameBytes: true,
}
const KNOWN_CHECKPOINT: Readonly<Record<keyof CheckpointOptions, true>> = {
  intervalMs: true,
  dirtyFrames: true,
  journalBytes: true,
  thread: true,
}

function invalid(what: string): HoltError {
  return new HoltError('HOLT_INVALID_ARGUMENT', what)
}

function checkNames(options: object, known: object, what: string): void {
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(known, name))
      throw invalid(`'${name}' is no ${what}; there are ${Object.keys(known).join(', ')}`)
  }
}

function whole(name: string, value: unknown, otherwise: number, least: number, most: number): number {
  if (value === undefined) return otherwise
  if (!Number.isSafeInteger(value) || (value as number) < least || (value as number) > most) {
    throw invalid(
      `${name} is ${typeof value === 'number' ? String(value) : typeof value}; a whole number from ${String(least)} to ${String(most)} is wanted`,
    )
  }
  return value as number
}

function flag(name: string, value: unknown, otherwise: boolean): boolean {
  if (value === undefined) return otherwise
  if (typeof value !== 'boolean') throw invalid(`${name} is ${typeof value}; a boolean is wanted`)
  return value
}

function isIo(value: unknown): value is Io {
  return typeof value === 'object' && value !== null && typeof (value as Partial<Io>).readSync === 'function'
}

const MIB = 2 ** 20

/** Fills in what is not said. Throws `HOLT_INVALID_ARGUMENT` for an unknown option or one of wrong type or range. */
export function resolveOptions(options: unknown = {}): ResolvedOptions {
  if (typeof options !== 'object' || options === null)
    throw invalid(`the options are ${options === null ? 'null' : typeof options}; an object is wanted`)
  checkNames(options, KNOWN, 'option of open')
  const given: { readonly [name in keyof OpenOptions]?: unknown } = options
  const { durability = 'os', io = 'auto', checkpoint = {} } = given
  if (durability !== 'memory' && durability !== 'os' && durability !== 'disk') {
    throw invalid(`durability is ${JSON.stringify(durability)}; 'memory', 'os' or 'disk' is wanted`)
  }
  if (io !== 'auto' && io !== 'uring' && io !== 'fs' && !isIo(io))
    throw invalid("io is neither 'auto', 'uring', 'fs' nor an Io")
  if (typeof checkpoint !== 'object' || checkpoint === null) throw invalid('checkpoint is no object')
  checkNames(checkpoint, KNOWN_CHECKPOINT, 'option of checkpoint')
  const when: { readonly [name in keyof CheckpointOptions]?: unknown } = checkpoint
  const cacheBytes = whole(
    'cacheBytes',
    given.cacheBytes,
    256 * MIB,
    LIMITS.minCacheFrames * FRAME_BYTES,
    2 ** 43,
  )
  const cacheFrames = Math.floor(cacheBytes / FRAME_BYTES)
  const segmentBytes = whole(
    'segmentBytes',
    given.segmentBytes,
    DEFAULT_SEGMENT_BYTES,
    65_536,
    MAX_SEGMENT_BYTES,
  )
  if (segmentBytes % 4_096 !== 0)
    throw invalid(`segmentBytes is ${String(segmentBytes)}; a multiple of 4096 is wanted`)
  const readOnly = flag('readOnly', given.readOnly, false)
  const createIfMissing = flag('createIfMissing', given.createIfMissing, !readOnly)
  const errorIfExists = flag('errorIfExists', given.errorIfExists, false)
  if (readOnly && (createIfMissing || errorIfExists))
    throw invalid('readOnly makes no database: it goes with neither createIfMissing nor errorIfExists')
  const retainJournalBytes = whole(
    'retainJournalBytes',
    given.retainJournalBytes,
    0,
    0,
    Number.MAX_SAFE_INTEGER,
  )
  const retainJournalMs = whole('retainJournalMs', given.retainJournalMs, 0, 0, Number.MAX_SAFE_INTEGER)
  if (durability === 'memory' && retainJournalBytes + retainJournalMs > 0)
    throw invalid("with durability 'memory' there is no journal that could be retained")
  return {
    durability,
    cacheFrames,
    io,
    createIfMissing,
    errorIfExists,
    readOnly,
    syncIntervalMs: whole('syncIntervalMs', given.syncIntervalMs, 1_000, 1, 2 ** 31 - 1),
    segmentBytes,
    retainJournalBytes,
    retainJournalMs,
    backgroundCompaction: flag('backgroundCompaction', given.backgroundCompaction, true),
    usableFrameBytes: whole(
      'usableFrameBytes',
      given.usableFrameBytes,
      MAX_USABLE_BYTES,
      MIN_USABLE_BYTES,
      MAX_USABLE_BYTES,
    ),
    checkpoint: {
      intervalMs: whole('checkpoint.intervalMs', when.intervalMs, 5_000, 1, 2 ** 31 - 1),
      dirtyFrames: whole(
        'checkpoint.dirtyFrames',
        when.dirtyFrames,
        Math.max(4, cacheFrames >>> 1),
        1,
        2 ** 24,
      ),
      journalBytes: whole('checkpoint.journalBytes', when.journalBytes, 128 * MIB, 4_096, 2 ** 43),
      // An Io of the caller's cannot follow to another thread.
      thread: flag('checkpoint.thread', when.thread, !isIo(io)) && !isIo(io),
    },
  }
}
