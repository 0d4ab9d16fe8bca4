import type { BlobId, Slot } from '@holt/blob-buf-pool'
import type { BackupRequest, BackupState, VacuumStep } from '@holt/blob-store'

/**
 * What one checkpoint commits: the frames that were dirty at its cut, the blobs freed until then, and the engine's note.
 * Its frames lie in slots that nobody changes before the epoch is over.
 */
export interface Epoch {
  readonly number: number
  readonly frames: readonly { readonly id: BlobId; readonly slot: Slot }[]
  readonly deletes: readonly BlobId[]
  readonly note: Uint8Array
}

/** How an epoch ended. With an `error` nothing of it is durable, and all of it belongs to the next cut. */
export interface EpochReport {
  readonly epoch: number
  readonly framesTotal: number
  readonly framesFlushed: number
  readonly deletesTotal: number
  readonly deletesApplied: number
  readonly error?: Error
}

/** Commits epochs one after the other, in the order they were submitted. */
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
  /** Commits what was submitted, then ends. */
  stop(): Promise<void>
}
