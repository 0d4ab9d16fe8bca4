import {
  type IndexView,
  MAX_PROBLEMS,
  type TreeProblem,
  verifySteps,
  type VerifyReport,
} from '@holt/art-index'
import { type BlobId, FRAME_BYTES } from '@holt/blob-buf-pool'
import { HoltError, isHoltError } from '@holt/errors'
import type { Engine } from './engine.js'
import { withLeaks } from './leaked-frames.js'

export interface VerifyOptions {
  /** Called after each frame. What it throws ends the check. */
  readonly onProgress?: (progress: VerifyProgress) => void
  /** Ends the check early; it rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

export interface VerifyProgress {
  readonly frames: number
  /** Frames that the database holds; it may change while the check goes on. */
  readonly framesTotal: number
}

/** The main thread is held for so long at most, beside the time that one frame takes. */
const SLICE_MS = 4
/** So often the check begins anew when the tree changes under it; then it has writes wait. */
const ATTEMPTS_WITHOUT_HOLD = 2
const ATTEMPTS = 8

/**
 * Checks everything: each byte of the tree (see `verifyTree`) and of what snapshots and open views show, the stored image of
 * each frame, that every blob held is reached by the tree or kept for a reason, that nothing which a snapshot sees can be
 * given back under it, that no stored frame is unknown, and that no two share a place on the disk.
 *
 * It works frame by frame and gives the event loop its turn between. The tree must stand still meanwhile: when it has
 * changed, the check begins anew, and from the third time on writes wait until it is done.
 */
export async function verifyDatabase(engine: Engine, options: VerifyOptions): Promise<VerifyReport> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const holds = attempt > ATTEMPTS_WITHOUT_HOLD
    if (holds) engine.holdWrites()
    try {
      const report = await attemptVerify(engine, options)
      if (report !== undefined) return report
    } finally {
      if (holds) engine.releaseWrites()
    }
  }
  throw new HoltError('HOLT_BUSY', 'the tree changed whenever it was to be checked; try again')
}

/** `undefined` when the tree changed meanwhile. */
async function attemptVerify(engine: Engine, options: VerifyOptions): Promise<VerifyReport | undefined> {
  const { index, frames, store, io } = engine
  const { onProgress, signal } = options
  const { changes } = index
  const problems: TreeProblem[] = []
  const scratch = new Uint8Array(FRAME_BYTES)
  const framesTotal = frames.liveBlobs().length
  let framesDone = 0
  let sliceStartMs = io.nowMs()
  const steps = verifySteps(index)
  let step = steps.next()
  while (step.done !== true) {
    const id = step.value
    const isResident = frames.isResident(id)
    let isPinned = false
    if (isResident) {
      const found = await readStored(engine, id, scratch)
      if (found !== undefined) problems.push({ blobId: id, ref: 0, what: found })
    } else {
      isPinned = await loadIfPossible(engine, id)
    }
    if (!isResident || io.nowMs() - sliceStartMs > SLICE_MS) {
      await nextTurn()
      sliceStartMs = io.nowMs()
    }
    try {
      engine.assertOpen()
      signal?.throwIfAborted()
      if (index.changes !== changes) return undefined
      step = steps.next()
    } finally {
      if (isPinned) frames.unpin(id)
    }
    onProgress?.({ frames: ++framesDone, framesTotal })
  }
  const known = new Set([...step.value.blobIds, ...step.value.unlinkedBlobIds])
  for (const [name, view] of viewsOf(engine)) {
    for (const problem of (await verifyView(engine, view, known)) ?? [])
      problems.push({ ...problem, what: `seen by ${name}: ${problem.what}` })
  }
  engine.assertOpen()
  if (index.changes !== changes) return undefined
  // From here to the end in one turn: nothing changes.
  for (const id of store.list())
    if (!frames.isInUse(id)) problems.push({ blobId: id, ref: 0, what: 'a stored frame that nobody knows' })
  for (const { blobId, what } of store.verifyMapping?.() ?? []) problems.push({ blobId, ref: 0, what })
  const report = withLeaks(step.value, frames.liveBlobs())
  return { ...report, problems: [...report.problems, ...problems] }
}

/** Those that keep frames: snapshots, and open views, of which several may be of one snapshot. */
function viewsOf({ snapshots, views }: Engine): [name: string, view: IndexView][] {
  const named = [...snapshots.views()].map<[string, IndexView]>(([name, view]) => [
    `snapshot '${name}'`,
    view,
  ])
  const others = views
    .list()
    .map<[string, IndexView]>((view) => [`the view of version ${String(view.seq)}`, view])
  return [...named, ...others]
}

/**
 * The problems of the tree that a view shows; `undefined` when it was closed meanwhile.
 *
 * @param known - what the tree reaches, and what it has let go of: a view sees nothing else
 */
async function verifyView(
  engine: Engine,
  view: IndexView,
  known: ReadonlySet<BlobId>,
): Promise<readonly TreeProblem[] | undefined> {
  const { frames, io } = engine
  let sliceStartMs = io.nowMs()
  /** The frame that is looked at next, where it had to be loaded. */
  let pinned: BlobId | undefined
  const steps = verifySteps(view.index)
  for (;;) {
    if (!view.isOpen) return undefined
    const step = steps.next()
    if (pinned !== undefined) frames.unpin(pinned)
    pinned = undefined
    if (step.done === true) return [...step.value.problems, ...bookProblems(engine, view, step.value, known)]
    const id = step.value
    if (!frames.isResident(id) && (await loadIfPossible(engine, id))) pinned = id
    if (pinned !== undefined || io.nowMs() - sliceStartMs > SLICE_MS) {
      await nextTurn()
      sliceStartMs = io.nowMs()
    }
  }
}

/** What the books have to say of the frames that a view sees, lest they be given back under it. */
function bookProblems(
  { index }: Engine,
  { place }: IndexView,
  { problems, blobIds }: VerifyReport,
  known: ReadonlySet<BlobId>,
): TreeProblem[] {
  // One that cannot be walked to its end does not say what it sees.
  if (problems.length > 0) return []
  const found: TreeProblem[] = []
  for (const blobId of blobIds) {
    const kept = index.unlinked.of(blobId)
    if (!known.has(blobId)) found.push({ blobId, ref: 0, what: 'the frame belongs to nothing' })
    else if (kept !== undefined && !(kept.birth <= place.epoch && place.epoch < kept.death)) {
      const lived = `from epoch ${String(kept.birth)} to ${String(kept.death)}`
      found.push({
        blobId,
        ref: 0,
        what: `the tree says it had it ${lived}, the view is of ${String(place.epoch)}`,
      })
    }
  }
  return found.slice(0, MAX_PROBLEMS)
}

/** What is wrong with the stored image of a frame that is in memory; `undefined` when nothing is, or there is none. */
async function readStored(engine: Engine, id: BlobId, scratch: Uint8Array): Promise<string | undefined> {
  if (!engine.store.has(id)) return undefined
  try {
    await engine.store.read(id, scratch)
    return undefined
  } catch (error) {
    if (isHoltError(error, 'HOLT_CORRUPT')) return `the stored image: ${error.message}`
    // Deleted meanwhile.
    if (isHoltError(error, 'HOLT_NOT_FOUND')) return undefined
    throw error
  }
}

/** Loads and pins a frame, without blocking; false when it cannot be, which the check then meets and reports. */
async function loadIfPossible(engine: Engine, id: BlobId): Promise<boolean> {
  try {
    await engine.frames.load(id)
    return true
  } catch (error) {
    if (isHoltError(error, 'HOLT_CORRUPT') || isHoltError(error, 'HOLT_NOT_FOUND')) return false
    throw error
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
