import type { ArtIndex } from './art-index.js'
import type { ViewPlace } from './live-views.js'

/**
 * A tree as it was when the view was taken, for as long as the view is open. Taking one costs the same whatever the tree
 * holds, and copies nothing: the next change of each frame that the view sees copies that one frame (see fork-path.ts).
 *
 * Its frames are like any others: they leave memory and are read again. So a cursor over {@link index} goes on whatever
 * happens to the tree. After {@link close} the frames are given back, and nothing of `index` may be used any more.
 */
export interface IndexView {
  /** For reading: `find`, `readFound`, cursors and the walks. What would change something throws `HOLT_READ_ONLY`. */
  readonly index: ArtIndex
  /** Commit seq of the newest change that it shows. */
  readonly seq: number
  /** By it another view of the same can be opened: see `ArtIndex.viewAt` and `ArtIndex.restore`. */
  readonly place: ViewPlace
  readonly isOpen: boolean
  /** What it alone has seen may be given back: see `ArtIndex.unlinked`. A second call does nothing. */
  close(): void
}
