import type { BlobId, Slot } from '@holt/blob-buf-pool'
import type { BackupRequest, BackupState, VacuumStep } from '@holt/blob-store'

/**
 * What one checkpoint commits: the frames that were dirty at its cut, the blobs freed until then, and the engine's note.
 * Its frames lie in slots that nobody changes before the epoch is over.
 */
export interface Epoch {
  readonly number: number
  /**
   * The epoch that it was cut on top of: it holds only what has changed since, so it is worth nothing without that one. 0
   * where there is none.
   */
  readonly follows: number
  readonly frames: readonly { readonly id: BlobId; readonly slot: Slot }[]
  readonly deletes: readonly BlobId[]
  readonly note: Uint8Array
}

/** How an epoch ended. */
export interface EpochReport {
  readonly epoch: number
  readonly framesTotal: number
  readonly framesFlushed: number
  readonly deletesTotal: number
  readonly deletesApplied: number
  /** Its frames and its note are durable. Otherwise nothing of it is, and all of it belongs to the next cut. */
  readonly isCommitted: boolean
  /** Of a committed one: the blobs whose removal failed, and belongs to the next cut. */
  readonly deletesLeft: readonly BlobId[]
  /** Why not all of it is durable. */
  readonly error?: Error
}

/**
 * Commits epochs in the order they were submitted, one after the other or several that wait as one group. One that follows
 * an epoch which failed fails with the same error, and nothing of it is written.
 */
export interface EpochWorker {
  /** Waits while the queue is full. Resolves with the report, of a failure too; rejects only after `stop`. */
  submit(epoch: Epoch): Promise<EpochReport>
  /**
   * One step of `BlobStore.vacuum`, between two epochs. A store that has none is done at once. Rejects with the step's
   * error, and after `stop`.
   */
  vacuum(maxFrames: number): Promise<VacuumStep>
  /** One request of `BlobStore.backup`, between two epochs. Rejects `HOLT_UNSUPPORTED` for a store without, and after `stop`. */
  backup(request: BackupRequest): Promise<BackupState>
  /** Commits what is queued, refuses what is held back by the full queue, then ends. */
  stop(): Promise<void>
}

/** The report of an epoch of which nothing is durable. */
export function failedReport(epoch: Epoch, error: Error): EpochReport {
  return {
    epoch: epoch.number,
    framesTotal: epoch.frames.length,
    framesFlushed: 0,
    deletesTotal: epoch.deletes.length,
    deletesApplied: 0,
    isCommitted: false,
    deletesLeft: [],
    error,
  }
}
