import { ArtIndex } from '@holt/art-index'
import type { BufferManager } from '@holt/blob-store'
import type { Journal, ReplayReport } from '@holt/journal'
import { decodeEffects } from './effect.js'
import type { EngineNote } from './engine-note.js'
import { SEQ_WINDOW } from './limits.js'

/** What opening found and did. */
export interface RecoveryStats {
  readonly replayedRecords: number
  readonly replayedBytes: number
  readonly replayMs: number
  readonly tail: 'clean' | 'torn' | 'none'
  /** Valid records behind a torn end: they were never acknowledged at the durability they were lost to. */
  readonly recordsBehindEnd: number
}

export interface Recovered {
  readonly index: ArtIndex
  /** Where seqs go on: everything that may have been handed out before lies below. */
  readonly seq: number
  readonly stats: RecoveryStats
}

/**
 * The newest durable image, then the journal behind its position: always the same result, however often it is
 * interrupted and repeated. Changes nothing on the disk.
 */
export async function recover(
  frames: BufferManager,
  note: EngineNote | undefined,
  journal: Journal | undefined,
  usableFrameBytes: number,
  nowMs: () => number,
): Promise<Recovered> {
  const options = { usableFrameBytes }
  const index =
    note === undefined ? ArtIndex.create(frames, options) : ArtIndex.attach(frames, note.rootId, options)
  const startedMs = nowMs()
  const report: ReplayReport | undefined = await journal?.replay(
    note === undefined || note.journalPosition === 0 ? undefined : note.journalPosition,
    (record) => {
      for (const effect of decodeEffects(record)) {
        index.key.set(effect.key)
        if (effect.kind === 'put')
          index.put(effect.key.length, effect.value, 0, effect.value.length, record.seq)
        else index.delete(effect.key.length)
      }
    },
  )
  const highestSeq = Math.max(note?.seq ?? 0, note?.seqFloor ?? 0, report?.highestSeq ?? 0)
  const isNew = note === undefined && (report === undefined || journal?.isNew === true)
  return {
    index,
    // Seqs beyond the highest one found may have been handed out and lost with the tail of the log.
    seq: isNew ? 0 : highestSeq + SEQ_WINDOW,
    stats: {
      replayedRecords: report?.records ?? 0,
      replayedBytes: report?.bytes ?? 0,
      replayMs: nowMs() - startedMs,
      tail: report?.tail ?? 'none',
      recordsBehindEnd: report?.recordsBehindEnd ?? 0,
    },
  }
}
