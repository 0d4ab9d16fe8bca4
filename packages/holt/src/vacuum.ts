import type { Engine } from './engine.js'

export interface VacuumOptions {
  /** Called after each step, with the sums so far. What it throws ends the vacuum. */
  readonly onProgress?: (progress: VacuumReport) => void
  /** Ends the vacuum early, between two steps; it rejects with the signal's reason. What was freed stays freed. */
  readonly signal?: AbortSignal
}

export interface VacuumReport {
  /** Frames that were moved towards the start of the data file. */
  readonly movedFrames: number
  /** Bytes that the files of the image gave back to the system. */
  readonly freedBytes: number
}

/** Frames that one step moves: 8 MiB, so that checkpoints between two steps do not wait for long. */
const FRAMES_PER_STEP = 16

/** Writes a checkpoint, so that what was deleted is free in the image too, then has the store give back room in steps. */
export async function vacuumDatabase(engine: Engine, options: VacuumOptions): Promise<VacuumReport> {
  const { onProgress, signal } = options
  let movedFrames = 0
  let freedBytes = 0
  signal?.throwIfAborted()
  await engine.checkpointForVacuum()
  const { checkpointer } = engine
  while (checkpointer !== undefined) {
    engine.assertOpen()
    signal?.throwIfAborted()
    const step = await checkpointer.vacuum(FRAMES_PER_STEP)
    movedFrames += step.movedFrames
    freedBytes += step.freedBytes
    onProgress?.({ movedFrames, freedBytes })
    if (step.isDone) break
  }
  return { movedFrames, freedBytes }
}
