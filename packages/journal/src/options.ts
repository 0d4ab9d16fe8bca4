import { HoltError } from '@holt/errors'
import type { Io } from '@holt/uring-native'
import type { JournalDurability, Lsn } from './contract.js'
import type { JournalEventListener } from './events.js'
import {
  DEFAULT_FIRST_SEGMENT_BYTES,
  DEFAULT_SEGMENT_BYTES,
  isSegmentSize,
  MAX_SEGMENT_BYTES,
  MIN_SEGMENT_BYTES,
  STORE_ID_BYTES,
} from './segment-header.js'

export interface JournalOptions {
  readonly io: Io
  /** Where the segments lie. Must exist. */
  readonly directory: string
  /** 16 bytes that every segment carries; those of another store are refused. */
  readonly storeId: Uint8Array
  /** Size of new segments: a multiple of 4096 from 16 KiB to 128 MiB. 32 MiB by default. */
  readonly segmentBytes?: number
  /**
   * Size of the first segment of an opening that finds no spare: the first write waits until it is made. A multiple as of
   * `segmentBytes`, which is larger. 8 MiB by default, or `segmentBytes` where that is less.
   */
  readonly firstSegmentBytes?: number
  /** What the database acknowledges at: decides whether segments are mapped or written through. */
  readonly durability: JournalDurability
  /** How long a byte stays unsynced in an `'os'` database. 1000 by default. */
  readonly syncIntervalMs?: number
  /** Source of salts, in [0, 1). From the system's random generator by default. */
  readonly random?: () => number
  /** What the directory holds, where the caller has just listed it and nobody else may change it. */
  readonly names?: readonly string[]
  /**
   * Segments that recovery does not need any more stay for followers, up to so many bytes of files; 0 (default): not bounded
   * by bytes.
   */
  readonly retainBytes?: number
  /** And no longer than so long after they ended; 0 (default): not bounded by age. With both 0 nothing is retained. */
  readonly retainMs?: number
  /**
   * What the caller's image holds: the position that {@link Journal.replay} will be given. Nothing is read of the segments
   * before it, so damage there does not matter.
   */
  readonly imagePosition?: Lsn | undefined
  /** Whether segments of an `'os'` journal are mapped where that can be had. Default true. */
  readonly mapped?: boolean
  /** Writes that may be under way together; more than 1 only where nothing is mapped or of durability `'disk'`. Default 1. */
  readonly writesAtOnce?: number
  /** Replay only; {@link Journal.start} is refused. */
  readonly readOnly?: boolean
  readonly onEvent?: JournalEventListener
}

const DEFAULT_SYNC_INTERVAL_MS = 1000

/** Options with every default filled in. */
export type CheckedOptions = Required<
  Omit<JournalOptions, 'onEvent' | 'random' | 'names' | 'imagePosition'>
> & {
  readonly onEvent: JournalEventListener
  readonly random: (() => number) | undefined
}

/** @throws HoltError `HOLT_INVALID_ARGUMENT` */
export function checkOptions(options: JournalOptions): CheckedOptions {
  const segmentBytes = options.segmentBytes ?? DEFAULT_SEGMENT_BYTES
  if (!isSegmentSize(segmentBytes)) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `segmentBytes is ${String(segmentBytes)}, expected a multiple of 4096 from ${String(MIN_SEGMENT_BYTES)} to ${String(MAX_SEGMENT_BYTES)}`,
    )
  }
  const firstSegmentBytes = options.firstSegmentBytes ?? Math.min(segmentBytes, DEFAULT_FIRST_SEGMENT_BYTES)
  if (!isSegmentSize(firstSegmentBytes) || firstSegmentBytes > segmentBytes) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `firstSegmentBytes is ${String(firstSegmentBytes)}, expected a multiple of 4096 from ${String(MIN_SEGMENT_BYTES)} to segmentBytes, ${String(segmentBytes)}`,
    )
  }
  if (options.storeId.length !== STORE_ID_BYTES) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `storeId has ${String(options.storeId.length)} bytes, expected ${String(STORE_ID_BYTES)}`,
    )
  }
  const syncIntervalMs = options.syncIntervalMs ?? DEFAULT_SYNC_INTERVAL_MS
  if (!(syncIntervalMs >= 0 && syncIntervalMs < 2 ** 31)) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `syncIntervalMs is ${String(syncIntervalMs)}, expected 0 or more milliseconds`,
    )
  }
  const retainBytes = retained('retainBytes', options.retainBytes)
  const retainMs = retained('retainMs', options.retainMs)
  const { onEvent } = options
  return {
    io: options.io,
    directory: options.directory,
    storeId: options.storeId.slice(),
    segmentBytes,
    firstSegmentBytes,
    durability: options.durability,
    syncIntervalMs,
    retainBytes,
    retainMs,
    mapped: options.mapped ?? options.durability === 'os',
    writesAtOnce: options.writesAtOnce ?? 1,
    readOnly: options.readOnly ?? false,
    random: options.random,
    onEvent: onEvent === undefined ? () => undefined : guarded(onEvent),
  }
}

function retained(name: string, value = 0): number {
  if (value >= 0 && Number.isSafeInteger(value)) return value
  throw new HoltError(
    'HOLT_INVALID_ARGUMENT',
    `${name} is ${String(value)}, expected a whole number from 0 on`,
  )
}

/** A listener that throws is reported as an uncaught error of its own; the journal's state stays whole. */
function guarded(listener: JournalEventListener): JournalEventListener {
  return (event) => {
    try {
      listener(event)
    } catch (error) {
      queueMicrotask(() => {
        throw error
      })
    }
  }
}
