import { CompactionPass } from '@holt/art-index'
import { HoltError } from '@holt/errors'
import type { Engine } from './engine.js'

export interface CompactionProgress {
  /** Frames that are finished. */
  readonly framesVisited: number
  /** Frames by which the tree has become smaller. */
  readonly framesSaved: number
}

export interface CompactOptions {
  /** Ends it early: what was done stays done, and it rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** Called between two slices of work. What it throws ends the compaction. */
  readonly onProgress?: (progress: CompactionProgress) => void
  /**
   * Share of a frame that may be filled, above 0.5 and up to 1. Less leaves room, so that the next keys do not divide what was
   * just joined. Default 0.95, and 1 for frames that would be two thirds full, or less, else.
   */
  readonly fill?: number
}

/** So long the event loop is held at a time. */
const SLICE_MS = 2
/** A clock that stands still must not hold it for ever. */
const STEPS_PER_SLICE = 256
const FRAMES_PER_STEP = 8

/**
 * Goes through all frames once, children before parents, and makes them few, full and well laid out. Reads and writes
 * go on meanwhile, between any two steps.
 */
export async function compactDatabase(engine: Engine, options: CompactOptions): Promise<CompactionProgress> {
  for (const option of Object.keys(options)) {
    if (option !== 'signal' && option !== 'onProgress' && option !== 'fill') {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `'${option}' is no option of compact; there are signal, onProgress and fill`,
      )
    }
  }
  const { signal, onProgress, fill } = options
  if (fill !== undefined && !(typeof fill === 'number' && fill > 0.5 && fill <= 1)) {
    throw new HoltError('HOLT_INVALID_ARGUMENT', `fill is ${String(fill)}; above 0.5 and up to 1 is wanted`)
  }
  const { io, index, frames } = engine
  const budget = {
    ...(fill === undefined ? {} : { fill }),
    frames: Math.max(2, Math.min(FRAMES_PER_STEP, frames.capacityFrames >>> 2)),
  }
  const pass = new CompactionPass()
  const progress = (): CompactionProgress => ({
    framesVisited: pass.framesVisited,
    framesSaved: pass.framesSaved,
  })
  let sliceStartMs = io.nowMs()
  for (let steps = 1; ; steps++) {
    signal?.throwIfAborted()
    if (!(await engine.reshape(() => index.compactStep(pass, budget)))) return progress()
    if (steps % STEPS_PER_SLICE !== 0 && io.nowMs() - sliceStartMs < SLICE_MS) continue
    onProgress?.(progress())
    await new Promise((resolve) => setImmediate(resolve))
    sliceStartMs = io.nowMs()
  }
}
