import type { BlobId } from '@holt/blob-buf-pool'

/** All that there is to a view: whoever keeps it, and the frames that the view sees, can open the view again. */
export interface ViewPlace {
  readonly epoch: number
  /** Commit seq of the newest change it shows. */
  readonly seq: number
  /** The tree's root frame when it was taken. */
  readonly rootId: BlobId
}

/** An open view. */
export interface LiveView extends ViewPlace {
  /** Frames that the tree has let go of, and that wait for this view to be closed. */
  readonly held: BlobId[]
}

/**
 * The open views of a tree, and its clock.
 *
 * The clock is the *epoch*: it goes up by one with each view that is taken, and by nothing else. Commit seqs would not do,
 * since a frame may also be made by what has none of its own, such as a merge. A frame is stamped with the epoch of its
 * birth; one that the tree lets go of dies in the epoch of that moment.
 *
 * ```
 *   epoch    … 4 4 4 │ 5 5 5 5 │ 6 6 …
 *                  view 4    view 5
 * ```
 *
 * A view of epoch `e` shows what was born in `e` or before, and has not died in `e` or before: it sees a frame just if
 * birth <= e < death. So a frame born at or before the newest view must not be changed; and one that the tree has let go of
 * is given back when no open view lies between its birth and its death.
 */
export class LiveViews {
  /** Of what is born, and of what dies, now. The next view has this one. */
  epoch: number
  /** Epoch of the newest open view; 0: there is none. */
  newest = 0
  /** Ascending by epoch, and so by seq. Several may be at one place. */
  readonly #open: LiveView[] = []

  constructor(epoch: number) {
    this.epoch = epoch
  }

  /** Of the tree of a view, which must not change: every frame counts as seen. */
  static ofView(view: LiveView): LiveViews {
    const views = new LiveViews(view.epoch)
    views.newest = Infinity
    return views
  }

  get count(): number {
    return this.#open.length
  }

  take(rootId: BlobId, seq: number): LiveView {
    const view: LiveView = { epoch: this.epoch, seq, rootId, held: [] }
    this.#open.push(view)
    this.newest = view.epoch
    this.epoch += 1
    return view
  }

  /**
   * Opens a view at a place that was taken before: where one is open still, or has been kept open by who kept the tree. What
   * such a view sees has not been given back.
   */
  open({ epoch, seq, rootId }: ViewPlace): LiveView {
    const view: LiveView = { epoch, seq, rootId, held: [] }
    let at = this.#open.length
    while (at > 0 && this.#open[at - 1].epoch > epoch) at--
    this.#open.splice(at, 0, view)
    this.newest = Math.max(this.newest, epoch)
    return view
  }

  /** False: it was closed before. Who waits in `held` is the caller's to look at. */
  close(view: LiveView): boolean {
    const at = this.#open.indexOf(view)
    if (at < 0) return false
    this.#open.splice(at, 1)
    this.newest = this.#open.at(-1)?.epoch ?? 0
    return true
  }

  /** An open view that sees what was born and died then: the newest before its death, if any. */
  seeing(birth: number, death: number): LiveView | undefined {
    const open = this.#open
    let low = 0
    let high = open.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (open[middle].epoch < death) low = middle + 1
      else high = middle
    }
    const view = open.at(low - 1)
    return low > 0 && view !== undefined && view.epoch >= birth ? view : undefined
  }

  /** The epoch of birth of what a change of commit seq `seq` has made, as late as the open views can tell. */
  birthOfSeq(seq: number): number {
    const open = this.#open
    let low = 0
    let high = open.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (open[middle].seq < seq) low = middle + 1
      else high = middle
    }
    return low === 0 ? 0 : open[low - 1].epoch + 1
  }
}
