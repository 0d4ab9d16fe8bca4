import { MAX_PROBLEMS, type TreeProblem, type VerifyReport } from '@holt/art-index'
import type { BlobId } from '@holt/blob-buf-pool'

/**
 * Adds a problem for each live frame that belongs neither to the tree nor to what it has let go of. Only for a sound
 * tree: one that cannot be walked to its end does not say what belongs to it.
 */
export function withLeaks(report: VerifyReport, liveBlobs: readonly BlobId[]): VerifyReport {
  if (report.problems.length > 0) return report
  const known = new Set([...report.blobIds, ...report.unlinkedBlobIds])
  const leaked = liveBlobs.filter((id) => !known.has(id))
  const problems: TreeProblem[] = leaked
    .slice(0, MAX_PROBLEMS)
    .map((blobId) => ({ blobId, ref: 0, what: 'the frame belongs to nothing: it has leaked' }))
  return { ...report, problems, problemsLeftOut: leaked.length - problems.length }
}
