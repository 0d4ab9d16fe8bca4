declare const lsnBrand: unique symbol

/**
 * A place in the log: segment number × 2^28 + byte offset in the segment. Ordered as a number, exact up to
 * {@link MAX_SEGMENT_NUMBER}; segments are smaller than 2^28 bytes. Offset 0, which no record has, means "before that
 * segment": the position of a store that has no journal yet.
 */
export type Lsn = number & { readonly [lsnBrand]: never }

/**
 * 2^28: with it 2^25 segments (1 PiB of log at 32 MiB each) have exact positions in a double; 2^32 would have left
 * 2^21, which a server that writes 100 MB/s uses up in a week.
 */
const SEGMENT_STRIDE = 2 ** 28

/** The highest number a segment can have. */
export const MAX_SEGMENT_NUMBER = 2 ** 25 - 1

export function lsn(segmentNumber: number, offsetBytes: number): Lsn {
  return (segmentNumber * SEGMENT_STRIDE + offsetBytes) as Lsn
}
export function lsnSegment(position: Lsn): number {
  return Math.floor(position / SEGMENT_STRIDE)
}
export function lsnOffset(position: Lsn): number {
  return position % SEGMENT_STRIDE
}

/** What an acknowledgement survives: the death of the process, or a power loss. */
export type JournalDurability = 'os' | 'disk'

/** What the caller's records are: the journal carries type and body and understands neither. 16 … 255. */
export type RecordType = number

/** A record, as replay hands it out. `body` is valid inside the callback only. */
export interface ReplayedRecord {
  readonly type: RecordType
  readonly seq: number
  readonly position: Lsn
  readonly body: Uint8Array
}

export interface ReplayReport {
  readonly records: number
  readonly bytes: number
  /** Highest seq of a valid record or segment floor; 0 without any. */
  readonly highestSeq: number
  /** End of the last valid record. */
  readonly end: Lsn
  /** `clean` after a closing mark, `torn` otherwise. */
  readonly tail: 'clean' | 'torn'
  /** Valid records found behind a torn end, which are not part of the log. */
  readonly recordsBehindEnd: number
}

/**
 * The write-ahead log, as its one appending thread sees it.
 *
 * An append is `reserve`, fill `body`, `leave`, in one synchronous piece; records follow each other without gaps. What
 * `reserve` was given room for is always completed: a reservation that is not wanted becomes a filler by `cancel`.
 *
 * A failed write or sync *poisons* the journal: every later `reserve`, `acknowledge` and `sync` fails with
 * `HOLT_POISONED` and the cause, nothing is retried. No space for a further segment is not poison: `whenRoom` rejects
 * with `HOLT_NO_SPACE`, and a later call tries again.
 */
export interface JournalContract {
  /** Whether `reserve(bodyBytes)` would go on now. False when poisoned: ask `whenRoom`, which then says why. */
  hasRoom(bodyBytes: number): boolean
  /** Resolves when `hasRoom(bodyBytes)`. Rejects `HOLT_NO_SPACE`, `HOLT_POISONED`, `HOLT_CLOSED`. */
  whenRoom(bodyBytes: number): Promise<void>
  /** Begins a record. Afterwards `bodyOffset` and `body` say where its bytes go. */
  reserve(type: RecordType, seq: number, bodyBytes: number): void
  /** Buffer into which the reserved record's body is to be copied, at {@link bodyOffset}. */
  readonly body: Uint8Array
  /**
   * The memory of {@link body} as words, little-endian. `bodyOffset` is a multiple of 4; whoever writes a body by words may
   * write all of its last one, but must leave zeros behind the body.
   */
  readonly bodyWords: Uint32Array
  readonly bodyOffset: number
  /** Ends the reserved record: its checksums are computed and it counts. */
  leave(): void
  /**
   * Appends a record in one step, cheaper than `reserve`, filling and `leave`. Its body is the word `first`, then `aBytes` bytes
   * of `a` from word `aAt` on, padded with zeros to a multiple of 4, then `bBytes` bytes of `b` from word `bAt` on.
   *
   * Memory that is not shared must not be of changing size; the journal may keep `a` and `b` alive until it is closed.
   */
  append(
    type: RecordType,
    seq: number,
    first: number,
    a: Uint32Array,
    aAt: number,
    aBytes: number,
    b: Uint32Array,
    bAt: number,
    bBytes: number,
  ): void
  /** Turns the reserved record into a filler. */
  cancel(): void
  /**
   * Resolves when everything appended so far is acknowledged at that durability. One promise serves all appends that
   * are acknowledged together; in mapped `'os'` mode it is an already resolved one.
   */
  acknowledge(durability: JournalDurability): Promise<void>
  /** As `acknowledge('disk')`, for everything appended so far. */
  sync(): Promise<void>
  /** End of what was appended; of a journal that was sealed, the place that {@link seal} told. */
  readonly position: Lsn
  /** Everything before it is on the medium. */
  readonly stablePosition: Lsn
  /** Highest seq below which a crash cannot make the journal forget that it was handed out: durable seq or floor. */
  readonly durableSeq: number
  /** Whether an appended record counts as acknowledged at `'os'` at once: the log is mapped. */
  readonly immediate: boolean
  /** Bytes appended since the journal was opened. */
  readonly appendedBytes: number
  /** Largest body that one record can have: a segment's room. */
  readonly maxBodyBytes: number
  /** Segments that lie wholly before `position` may be used again or removed. */
  recycle(position: Lsn): void
  /**
   * Tells records as soon as they are stable: those with a seq above `afterSeq`, or, without it, those appended from now on.
   * `lastSeq` is the highest seq used so far. It ends when the journal is closed. Throws `HOLT_CLOSED`.
   */
  follow(afterSeq: number | undefined, lastSeq: number): Follower
  /** Followers are told nothing that is appended from now on, until {@link releaseFollowers}. */
  holdFollowers(): void
  releaseFollowers(): void
  stats(): JournalStats
  /**
   * Nothing is appended any more. From now on {@link position} is the place before the segment that the next opening
   * makes, so an image with that position holds all that the log says and needs none of its files. Where segments are
   * retained it is the end of the log, as the next one is to continue it. A journal that was not started stays as it is.
   */
  seal(): Promise<void>
  /**
   * Drains, syncs in every mode, writes the closing mark. Poisoned: releases everything and rejects with the cause.
   *
   * With `discard`, the journal is sealed and an image with its position durable: the segments and the spare are removed
   * instead, all but those to be retained. A crash in between leaves some of them, which nobody reads any more; a removal
   * that fails is an event.
   */
  close(options?: { readonly discard?: boolean }): Promise<void>
}

/** Reads a log while it is being written, record by record in order, each once it is stable. */
export interface Follower {
  /**
   * The caller's next record; `undefined` when the follower or the journal was closed. The body is valid until the next
   * call. One call at a time.
   *
   * @throws HoltError `HOLT_POSITION_EXPIRED`, with the lowest seq behind which all records are there; `HOLT_CORRUPT`
   * naming the file; `HOLT_IO`; `HOLT_POISONED` when all that is stable was told and nothing more can come.
   */
  next(): Promise<ReplayedRecord | undefined>
  /** Ends it: a call of {@link next} under way gives `undefined`. Gives its file back. */
  close(): Promise<void>
}

export interface JournalStats {
  readonly mode: 'mapped' | 'written'
  readonly segments: number
  readonly segmentBytes: number
  readonly sizeBytes: number
  readonly records: number
  readonly appendedBytes: number
  readonly syncs: number
  readonly groups: number
  readonly segmentSwitches: number
  readonly unstableBytes: number
}
