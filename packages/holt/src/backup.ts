import { HoltError } from '@holt/errors'
import { lsn } from '@holt/journal'
import type { Engine } from './engine.js'
import { decodeNote, encodeNote } from './engine-note.js'
import type { Version } from './entries.js'

export interface BackupOptions {
  /** Called after each piece. What it throws ends the backup. */
  readonly onProgress?: (progress: BackupProgress) => void
  /** Ends the backup early, between two pieces; it rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

export interface BackupProgress {
  readonly frames: number
  readonly framesTotal: number
  /** Of the pages in use. */
  readonly bytes: number
  readonly bytesTotal: number
}

export interface BackupReport {
  readonly frames: number
  readonly bytes: number
  /** Every write up to this version is in the backup, and none behind it. */
  readonly version: Version
}

/** Frames that one piece copies: 8 MiB at most, so that checkpoints between two pieces do not wait for long. */
const FRAMES_PER_PIECE = 16

/**
 * Copies the image of a checkpoint that it makes. The thread that writes does it, piece by piece between checkpoints; the
 * image's places are held until the end, so that what is written meanwhile goes elsewhere.
 *
 * The copy's note names a journal that does not exist yet, so it is a store by itself: see `lsn`. What a close finds half
 * done, the store's own end removes.
 */
export async function backUp(
  engine: Engine,
  directory: string,
  options: BackupOptions,
): Promise<BackupReport> {
  const { onProgress, signal } = options
  const { checkpointer } = engine
  signal?.throwIfAborted()
  if (checkpointer === undefined && !engine.readOnly)
    throw new HoltError('HOLT_UNSUPPORTED', 'a database in memory has no image that could be copied')
  await engine.checkpointForVacuum()
  signal?.throwIfAborted()
  if (checkpointer === undefined) throw new HoltError('HOLT_INTERNAL', 'there is nobody who writes')
  let state = await checkpointer.backup({ kind: 'begin', directory })
  try {
    const { note: noteBytes } = state
    if (noteBytes === undefined) throw new HoltError('HOLT_INTERNAL', 'a checkpoint has left no note')
    const note = decodeNote(noteBytes)
    while (state.copiedFrames < state.frames) {
      state = await checkpointer.backup({ kind: 'copy', directory, maxFrames: FRAMES_PER_PIECE })
      const { copiedFrames, frames, copiedBytes, bytes } = state
      onProgress?.({ frames: copiedFrames, framesTotal: frames, bytes: copiedBytes, bytesTotal: bytes })
      signal?.throwIfAborted()
    }
    await checkpointer.backup({
      kind: 'finish',
      directory,
      note: encodeNote({ ...note, journalPosition: lsn(1, 0) }),
    })
    return { frames: state.frames, bytes: state.bytes, version: note.seq as Version }
  } catch (error) {
    // A store that was closed has seen to it.
    await checkpointer.backup({ kind: 'abandon', directory }).catch(() => undefined)
    throw error
  }
}
