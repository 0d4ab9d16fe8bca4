import type { BlobId } from '@holt/blob-buf-pool'

/**
 * Keeps frames by {@link BlobId}. Its contract is one sentence: **`flush` is the atomic commit point**. After a crash
 * the store shows exactly the state of the last completed flush, or of the one in progress, never a mixture.
 *
 * *Staged* is what was written or deleted since the last flush: reads of this instance see it, a reopened store does
 * not. A failed `writeMany` stages nothing. After a failed `flush` what was staged is dropped, and reads show the last
 * completed flush again: the caller writes those frames anew (a sync is never repeated over the same writes). If it
 * cannot be told whether the commit became durable, the store settles that by itself before the next flush, or fails
 * every later one with `HOLT_POISONED`.
 *
 * A frame says itself which of its pages are in use (`usedPages` of `@holt/blob-buf-pool`). Those are kept; the others
 * need not be, and whoever reads a frame must not look at them.
 *
 * Errors: `HOLT_NOT_FOUND` for a blob that is not there, `HOLT_CORRUPT` for bytes that fail their checks (naming file,
 * blob and page), `HOLT_NO_SPACE` and `HOLT_IO` from beneath, `HOLT_CLOSED` after `close`.
 */
export interface BlobStore {
  readonly supports: BlobStoreSupport

  /** Fills `into` (one frame) with the blob; its pages not in use hold whatever they like. */
  read(id: BlobId, into: Uint8Array): Promise<void>
  /** Each blob into its own buffer, at queue depth. The first error is reported, after all have come back. */
  readMany(reads: readonly BlobRead[]): Promise<void>
  /**
   * Fills `into` with the bytes from `offsetBytes` on; both multiples of a page. Pages not in use become zeros. `header`
   * is the blob's page 0, if the caller has read it before: it need not be read again to check the others. Throws
   * `HOLT_BUSY` when the blob was written anew since. Only with `supports.rangedReads`.
   */
  readRange(id: BlobId, offsetBytes: number, into: Uint8Array, header?: Uint8Array): Promise<void>
  /** As `read`, blocking. Only with `supports.syncReads`. */
  readSync(id: BlobId, into: Uint8Array): void
  /** As `readRange`, blocking. Only with `supports.syncReads` and `supports.rangedReads`. */
  readRangeSync(id: BlobId, offsetBytes: number, into: Uint8Array, header?: Uint8Array): void

  /** Stages one frame. `frame` must not change until it settles, except that the store fills in the envelope. */
  write(id: BlobId, frame: Uint8Array): Promise<void>
  /** Stages several; of several for one id the last wins. */
  writeMany(writes: readonly BlobWrite[]): Promise<void>
  /** Stages a removal. An unknown id is no error. */
  delete(id: BlobId): Promise<void>

  has(id: BlobId): boolean
  /** Every blob there is, ascending. */
  list(): BlobId[]
  /** Commits what is staged together with `note` (up to {@link MAX_NOTE_BYTES}). Resolves when it is durable. */
  flush(note: Uint8Array): Promise<void>
  /** The note of the last completed flush; `undefined` before the first. */
  note(): Uint8Array | undefined
  /** Whether anything is staged. */
  readonly needsFlush: boolean

  /**
   * One step of giving back room that nothing stored needs, where the store can: moves up to `maxFrames` frames, so that
   * its files can be cut off, and commits that. To be called until `isDone`, with nothing staged. A crash at any moment
   * leaves the state of the last flush, and so does an error.
   */
  vacuum?(maxFrames: number): Promise<VacuumStep>
  /**
   * A copy of the state of the last flush in a directory of its own, piece by piece, where the store can: a store like this
   * one. One at a time (`HOLT_BUSY`). From `begin` on the places of that state are kept, whatever is flushed meanwhile; a
   * request that fails, and `close`, give them back and remove what was written.
   *
   * `begin` rejects `HOLT_EXISTS` unless the directory is absent or empty; `copy` `HOLT_CORRUPT` for a frame that fails its
   * checks; `finish` is the commit point of the copy, with a note of its own; `abandon` gives up, and is no error without
   * anything to give up.
   */
  backup?(request: BackupRequest): Promise<BackupState>
  stats(): BlobStoreStats
  /** What is wrong with the places where blobs are kept, where the store can tell. Empty for a sound one. */
  verifyMapping?(): readonly { readonly blobId: BlobId; readonly what: string }[]
  close(): Promise<void>

  /**
   * How a thread of its own opens the writing half of this store, while this instance goes on reading. Without it the
   * store runs inline.
   */
  readonly worker?: BlobStoreWorker
}

export interface BlobStoreSupport {
  readonly syncReads: boolean
  readonly rangedReads: boolean
  /** False: `flush` is no commit point, and the facade refuses the store. */
  readonly atomicFlush: boolean
}

export interface BlobRead {
  readonly id: BlobId
  readonly into: Uint8Array
}

export interface BlobWrite {
  readonly id: BlobId
  /** One frame. Its envelope (magic, id, checksums) is filled in by the store. */
  readonly frame: Uint8Array
}

export interface VacuumStep {
  readonly movedFrames: number
  readonly freedBytes: number
  readonly isDone: boolean
}

export type BackupRequest = { readonly directory: string } & (
  | { readonly kind: 'begin' }
  | { readonly kind: 'copy'; readonly maxFrames: number }
  | { readonly kind: 'finish'; readonly note: Uint8Array }
  | { readonly kind: 'abandon' }
)

/** How far a backup is. */
export interface BackupState {
  readonly frames: number
  /** Of the pages in use. */
  readonly bytes: number
  readonly copiedFrames: number
  readonly copiedBytes: number
  /** Of the state that is copied. Told by `begin` alone. */
  readonly note: Uint8Array | undefined
}

export interface BlobStoreStats {
  readonly blobs: number
  readonly files: readonly { readonly name: string; readonly sizeBytes: number }[]
}

/** A module that exports `openBlobStore(data, io): Promise<BlobStore>`. */
export interface BlobStoreWorker {
  readonly moduleUrl: string
  /** Structured-cloneable; shared memory in it is shared. */
  readonly data: unknown
}

export const MAX_NOTE_BYTES = 4 * 2 ** 20
