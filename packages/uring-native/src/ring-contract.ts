import type { HoltError } from '@holt/errors'

import type { FileStat } from './io.js'
import type { RingFile } from './ring-files.js'

/**
 * The contract of `Ring`, io_uring as it is: operations go in under handles of the caller's, completions come out under
 * the same handles, and the caller drives the ring tick by tick. Who wants a promise for each operation uses `Io`.
 *
 * ```
 *   queue ──▶ queued ──poll, park──▶ with the kernel ──▶ completed ──poll──▶ completions ──take──▶ gone
 *     └─▶ refused: the operation comes back
 *   └──────────────── in flight: the handle is taken, the buffers are the ring's ─────────┘
 * ```
 *
 * Handles. A number or an object, compared as a `Map` compares its keys. A handle is *in flight* from `queue` until the
 * `poll` that puts its completion into `completions`; queueing an operation under a handle that is in flight is
 * `HOLT_RING` and changes nothing. Each operation that was queued completes exactly once.
 *
 * Room. At most `entries` operations are in flight. One more is not an error: `queue` answers with the operation and
 * its buffers untouched (`'full'`), so that the same object can be queued again after a `poll`. The same happens when
 * nobody takes the completions and twice as many as `entries` lie there (`'undrained'`).
 *
 * Driving. `queue` only queues. `poll` hands everything queued to the kernel by one native call, never waits, and
 * appends what has completed to `completions`. `park` hands over too and waits, without blocking the thread, until
 * there is something to `poll`, its time is over, or its signal is aborted; it takes nothing. With nothing in flight it
 * returns `'idle'` at once. `parkSync` blocks the thread. Operations in flight keep the process alive; queued ones that
 * were never handed over do not.
 *
 * Transfers move every byte: what stops short is resumed, what a signal interrupted is repeated. A read that meets the
 * end of the file completes without error with fewer bytes (`movedBytes`). With `once` there is one system call, and
 * whatever it moved is the result: for pipes and the like. `bytes` must not be read (write: changed) while in flight;
 * memory that is detached or shrinks meanwhile makes the operation fail with `HOLT_INVALID_ARGUMENT`.
 *
 * Order. Operations in flight together run in any order. `chain` makes them run one after the other: once one fails or
 * moves fewer bytes than asked, the later ones are not run and complete with errno `ECANCELED`; in a hard chain only a
 * member that cannot be started does that. Members of a chain are not resumed: a short one completes with
 * `HOLT_SHORT_TRANSFER` and its `movedBytes`.
 *
 * Cancelling. `cancel` asks; the operation still completes once, with errno `ECANCELED` if it was stopped, else with
 * what it did. One that was queued and not handed over is never run, and takes its chain with it.
 *
 * Durability. Names are made stable by `syncDirectory`, bytes by `fsync` (with all metadata) or `datasync`.
 *
 * Memory. Memory given to `registerBuffers` is used by the fixed operations wherever a transfer lies wholly within a
 * piece. Files opened as `registered` are used by an index. What the kernel refuses of either is used without, and
 * `capabilities` and the registration say so; as they do for the submission thread (SQPOLL).
 *
 * Errors. Bad arguments are thrown as `HOLT_INVALID_ARGUMENT` by `queue`, which changes nothing then; a closed file or
 * ring is `HOLT_CLOSED`, a file of another ring `HOLT_INVALID_ARGUMENT`. What the system refuses is an error of the
 * completion (`HOLT_IO` and its relatives, with errno). A ring that breaks (a completion is lost or foreign, the kernel
 * refuses it for good) gets everything back from the kernel, completes all that was in flight with `HOLT_RING` and the
 * reason, and throws the same from then on.
 *
 * The end. `dispose` never runs what was not handed over (it completes with `ECANCELED`), waits for everything that is
 * with the kernel (first asking to cancel it if told to), closes files that are still open, and gives the ring back.
 * Completions stay readable. A file can be closed only while nothing else in flight uses it, but for earlier members of
 * the close's own chain; else `HOLT_RING`.
 *
 * A ring belongs to the thread that made it. When its environment ends (exit, `worker.terminate()`), what is in flight
 * is cancelled or waited for, and every descriptor is closed.
 */
export type RingHandle = number | object

/** Of `open`. Files are mode 0644. */
export interface RingOpenOptions {
  readonly access: 'read' | 'readwrite'
  readonly create?: boolean
  /** With `create`: fail with `HOLT_EXISTS` if it is there. */
  readonly exclusive?: boolean
  readonly truncate?: boolean
  /**
   * Bypass the page cache where the file system can. Offsets and lengths are then multiples of the file's
   * `blockSizeBytes`; others are `HOLT_INVALID_ARGUMENT`. Addresses too, or the kernel refuses with `EINVAL`.
   */
  readonly direct?: boolean
  /** Each write is stable when it completes (O_DSYNC). */
  readonly dsync?: boolean
  /** Register the file with the ring if there is a place. */
  readonly registered?: boolean
}

/** One operation, under a handle of the caller's. */
export type RingRequest<Handle extends RingHandle = RingHandle> = { readonly handle: Handle } & (
  | { readonly op: 'nop' }
  | { readonly op: 'open'; readonly path: string; readonly options: RingOpenOptions }
  | { readonly op: 'stat'; readonly file: RingFile }
  | { readonly op: 'close' | 'fsync' | 'datasync'; readonly file: RingFile }
  | {
      readonly op: 'read' | 'write'
      readonly file: RingFile
      readonly offsetBytes: number
      readonly bytes: Uint8Array
      /** One system call, whatever it moves. */
      readonly once?: boolean
    }
  | {
      /** Reserves space for the range and extends the file over it. */
      readonly op: 'allocate'
      readonly file: RingFile
      readonly offsetBytes: number
      readonly lengthBytes: number
    }
  | { readonly op: 'truncate'; readonly file: RingFile; readonly sizeBytes: number }
  | { readonly op: 'rename'; readonly from: string; readonly to: string }
  | {
      /** `remove` takes the name of a file away, `mkdir` makes one directory. */
      readonly op: 'remove' | 'mkdir'
      readonly path: string
    }
  | { readonly op: 'syncDirectory'; readonly path: string }
)

export type RingOp = RingRequest['op']

/** What `queue` says. */
export type Queued<Request> =
  | { readonly queued: true }
  | {
      readonly queued: false
      /** `'full'`: poll first. `'undrained'`: take completions first. */
      readonly reason: 'full' | 'undrained'
      /** What was given, for another attempt. */
      readonly operation: Request
    }

/** What became of an operation. `error` tells failures from the rest. */
export type RingCompletion<Handle extends RingHandle = RingHandle> = { readonly handle: Handle } & (
  | { readonly op: 'open'; readonly error: undefined; readonly file: RingFile }
  | { readonly op: 'stat'; readonly error: undefined; readonly stat: FileStat }
  | {
      readonly op: 'read' | 'write'
      readonly error: undefined
      readonly bytes: Uint8Array
      /** The first so many bytes were filled or taken. */
      readonly movedBytes: number
    }
  | {
      readonly op: Exclude<RingOp, 'open' | 'stat' | 'read' | 'write'>
      readonly error: undefined
    }
  | {
      readonly op: RingOp
      readonly error: HoltError
      /** Of reads and writes: how many bytes may have been moved before. */
      readonly movedBytes: number
    }
)

export interface RingOptions {
  /** Operations that can be in flight; the kernel may grant fewer. 256 unless given, at most 4096. */
  readonly entries?: number
  /**
   * SQPOLL: a thread of the kernel takes operations over without a system call, and sleeps after so long without work
   * (2000 ms unless given). Where that is refused the ring works without.
   */
  readonly submissionThread?: boolean | { readonly idleMs: number }
  /** Places for files opened as `registered`: 64 unless given. */
  readonly registeredFiles?: number
  /** Places for memory: 32 unless given. */
  readonly registeredBuffers?: number
}

/** What this kernel granted. Refusals name the errno; `undefined` where nothing was refused. */
export interface RingCapabilities {
  readonly entries: number
  readonly completionEntries: number
  /**
   * How completions reach the thread: only when it asks (Linux 6.1), without interrupting it (5.19), by interrupting it,
   * or from the kernel's submission thread.
   */
  readonly completionMode: 'deferred' | 'cooperative' | 'interrupting' | 'submission-thread'
  readonly submissionThreadRefusal: string | undefined
  readonly registeredFilesRefusal: string | undefined
  readonly registeredBuffersRefusal: string | undefined
  /** Whether the kernel's ring truncates (Linux 6.9), or the call blocks for a moment in `queue`. */
  readonly truncate: 'ring' | 'blocking'
  /** The opcodes of io_uring that the kernel knows (IORING_REGISTER_PROBE). */
  readonly opcodes: ReadonlySet<number>
}

export interface ParkOptions {
  /** How long to wait at most, in milliseconds. For ever unless given. */
  readonly timeoutMs?: number
  /** Ends the waiting: the promise rejects with the signal's reason. Operations go on. */
  readonly signal?: AbortSignal
}

/** Why the waiting ended: there is something to poll, nothing is in flight, or the time is over. */
export type Parked = 'ready' | 'idle' | 'timeout'
