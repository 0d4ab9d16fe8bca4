import type { BlobId, Slab, Slot } from '@holt/blob-buf-pool'
import { type BlobStore, retireFrames, type SlotTable } from '@holt/blob-store'
import { HoltError } from '@holt/errors'
import { type Epoch, type EpochReport, failedReport } from './epoch.js'

export interface GroupCommitOptions {
  readonly store: BlobStore
  readonly slab: Slab
  readonly slots: SlotTable
}

/**
 * Commits several epochs, each cut on top of the one before, as one: the newest image of each frame in one batch, one
 * flush with the last epoch's note, which makes that epoch's cut the group's. Slots are retired as soon as their frames
 * are durable. Returns a report for each epoch, in order; never rejects.
 *
 * - A store whose flush is atomic gets the removals before it: one flush commits both, or neither.
 * - Any other gets them behind it, when nothing durable names those blobs any more, and a second flush if any was applied.
 *   Removals that fail, or whose flush does, are left to the next cut; the frames stay committed.
 */
export async function commitGroup(
  options: GroupCommitOptions,
  epochs: readonly Epoch[],
): Promise<EpochReport[]> {
  const { store, slab, slots } = options
  const { written, removed } = netEffect(epochs)
  const note = epochs[epochs.length - 1].note
  const { atomicFlush } = store.supports
  try {
    if (written.size > 0)
      await store.writeMany([...written].map(([id, slot]) => ({ id, frame: slab.bytes(slot) })))
    if (atomicFlush) for (const id of removed) await store.delete(id)
    await store.flush(note)
  } catch (error) {
    const cause = asError(error)
    return epochs.map((epoch) => failedReport(epoch, cause))
  }
  for (const { frames } of epochs) retireFrames(slots, slab, frames)
  return atomicFlush ? epochs.map(wholeReport) : await removeBehind(store, epochs, removed, note)
}

/** What the epochs come to together: of several images of a frame the last, and no image of one that is given up behind it. */
function netEffect(epochs: readonly Epoch[]): {
  readonly written: ReadonlyMap<BlobId, Slot>
  readonly removed: ReadonlySet<BlobId>
} {
  const written = new Map<BlobId, Slot>()
  const removed = new Set<BlobId>()
  for (const { frames, deletes } of epochs) {
    for (const { id, slot } of frames) {
      written.set(id, slot)
      removed.delete(id)
    }
    for (const id of deletes) {
      written.delete(id)
      removed.add(id)
    }
  }
  return { written, removed }
}

async function removeBehind(
  store: BlobStore,
  epochs: readonly Epoch[],
  removed: ReadonlySet<BlobId>,
  note: Uint8Array,
): Promise<EpochReport[]> {
  const failures = new Map<BlobId, Error>()
  for (const id of removed) {
    try {
      await store.delete(id)
    } catch (error) {
      failures.set(id, asError(error))
    }
  }
  let flushFailure: Error | undefined
  if (removed.size > failures.size) {
    try {
      await store.flush(note)
    } catch (error) {
      flushFailure = asError(error)
    }
  }
  return epochs.map((epoch) => {
    const failed = epoch.deletes.filter((id) => failures.has(id))
    const error = failed.length > 0 ? failures.get(failed[0]) : flushFailure
    if (error === undefined) return wholeReport(epoch)
    // Not those of which a later epoch has written another image.
    const left = flushFailure === undefined ? failed : epoch.deletes.filter((id) => removed.has(id))
    return {
      ...wholeReport(epoch),
      deletesApplied: flushFailure === undefined ? epoch.deletes.length - failed.length : 0,
      deletesLeft: left,
      error,
    }
  })
}

function wholeReport({ number, frames, deletes }: Epoch): EpochReport {
  return {
    epoch: number,
    framesTotal: frames.length,
    framesFlushed: frames.length,
    deletesTotal: deletes.length,
    deletesApplied: deletes.length,
    isCommitted: true,
    deletesLeft: [],
  }
}

function asError(error: unknown): Error {
  if (error instanceof Error) return error
  return new HoltError('HOLT_INTERNAL', 'a checkpoint failed with something that is no error', {
    cause: error,
  })
}
