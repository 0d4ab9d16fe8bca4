import { ArtIndex } from '@holt/art-index'
import { type BlobId, FrameAbsent } from '@holt/blob-buf-pool'
import type { BufferManager } from '@holt/blob-store'
import { type Journal, lsnOffset, type ReplayedRecord } from '@holt/journal'
import { applyEffect } from './apply-effect.js'
import { applyPutRecord, decodeEffects, PUT_RECORD } from './effect.js'
import type { EngineNote } from './engine-note.js'
import { SEQ_WINDOW } from './limits.js'
import type { ReplayCheckpoints } from './replay-checkpoints.js'
import { isSnapshotRecord } from './snapshot-record.js'
import { Snapshots } from './snapshots.js'

/** What opening found and did. */
export interface RecoveryStats {
  readonly replayedRecords: number
  readonly replayedBytes: number
  readonly replayMs: number
  readonly tail: 'clean' | 'torn'
  /** Valid records behind a torn end: they were never acknowledged at the durability they were lost to. */
  readonly recordsBehindEnd: number
  /** Checkpoints half-way, because the changes of the journal did not fit into the cache. */
  readonly checkpoints: number
}

export interface Recovered {
  readonly index: ArtIndex
  readonly snapshots: Snapshots
  /** The journal has taken or dropped some that the image knows otherwise. */
  readonly areSnapshotsNew: boolean
  /** Where seqs go on: everything that may have been handed out before lies below. */
  readonly seq: number
  /** The highest seq that the image and the journal hold. */
  readonly lastSeq: number
  readonly stats: RecoveryStats
}

export interface RecoveryParts {
  readonly frames: BufferManager
  readonly note: EngineNote | undefined
  readonly journal: Journal
  readonly usableFrameBytes: number
  readonly nowMs: () => number
  /** Without them the cache grows as far as replay needs it to. */
  readonly checkpoints?: ReplayCheckpoints
}

/**
 * The newest durable image, then the journal behind its position: always the same result, however often it is
 * interrupted and repeated. Changes nothing on the disk, unless replay outgrows the cache: see {@link ReplayCheckpoints}.
 */
export async function recover({
  frames,
  note,
  journal,
  usableFrameBytes,
  nowMs,
  checkpoints,
}: RecoveryParts): Promise<Recovered> {
  const index =
    note === undefined
      ? ArtIndex.create(frames, { usableFrameBytes })
      : ArtIndex.attach(frames, note.rootId, {
          usableFrameBytes,
          epoch: note.epoch,
        })
  const snapshots = new Snapshots(index)
  if (note !== undefined) snapshots.restore(note.snapshots, note.unlinked)
  let areSnapshotsNew = false
  const startedMs = nowMs()
  let lastSeq = note?.seq ?? 0
  const apply = (record: ReplayedRecord): void => {
    lastSeq = Math.max(lastSeq, record.seq)
    // Most records are puts.
    if (record.type === PUT_RECORD) {
      if (!putIfInMemory(frames, index, record))
        withPathInMemory(frames, () => {
          applyPutRecord(index, record)
        })
      return
    }
    if (isSnapshotRecord(record)) {
      snapshots.replay(record)
      areSnapshotsNew = true
      return
    }
    for (const effect of decodeEffects(record)) {
      withPathInMemory(frames, () => {
        applyEffect(index, effect, record.seq)
      })
    }
  }
  const report = await journal.replay(note?.journalPosition, (record) => {
    if (checkpoints?.isDue !== true) {
      apply(record)
      return undefined
    }
    const seqFloor = Math.max(note?.seqFloor ?? 0, lastSeq)
    return checkpoints
      .take({ index, snapshots, seq: lastSeq, seqFloor, position: record.position })
      .then(() => {
        apply(record)
      })
  })
  // Seqs beyond the highest one found may have been handed out and lost with the tail of the log. Only where there was
  // neither image nor segment nobody can have got one.
  const isNew = note === undefined && lsnOffset(report.end) === 0
  const highestSeq = Math.max(note?.seq ?? 0, note?.seqFloor ?? 0, report.highestSeq)
  return {
    index,
    snapshots,
    areSnapshotsNew,
    seq: isNew ? 0 : highestSeq + SEQ_WINDOW,
    lastSeq,
    stats: {
      replayedRecords: report.records,
      replayedBytes: report.bytes,
      replayMs: nowMs() - startedMs,
      tail: report.tail,
      recordsBehindEnd: report.recordsBehindEnd,
      checkpoints: checkpoints?.taken ?? 0,
    },
  }
}

/** Applies a put's record, unless a frame is missing: then nothing has changed. */
function putIfInMemory(frames: BufferManager, index: ArtIndex, record: ReplayedRecord): boolean {
  frames.mayBlock = false
  try {
    applyPutRecord(index, record)
    return true
  } catch (error) {
    if (error instanceof FrameAbsent) return false
    throw error
  } finally {
    frames.mayBlock = true
  }
}

/**
 * Runs a change, loading what it misses. Frames that were loaded for it are pinned, so that loading one cannot drive out
 * another of the same path: where almost everything is dirty the cache grows instead.
 */
function withPathInMemory(frames: BufferManager, change: () => void): void {
  const pinned: BlobId[] = []
  try {
    for (;;) {
      frames.mayBlock = false
      try {
        change()
        return
      } catch (error) {
        if (!(error instanceof FrameAbsent)) throw error
        frames.mayBlock = true
        pinned.push(error.id)
        frames.pin(error.id)
      }
    }
  } finally {
    frames.mayBlock = true
    for (const id of pinned) frames.unpin(id)
  }
}
