import type { ArtIndex, IndexView, ViewPlace } from '@holt/art-index'
import { ViewEngine, type ViewedEngine } from './view-engine.js'

/** How the views of a database stand. */
export interface ViewStats {
  readonly open: number
  /** Version of the newest write that the oldest open one shows; `undefined` when there is none. */
  readonly oldestVersion: number | undefined
  /** Frames that are kept for open views and snapshots alone. */
  readonly heldFrames: number
  /** Views that nobody had closed when the garbage collector found them. */
  readonly lost: number
}

/**
 * The open views of a database. It closes those that are lost: when the garbage collector finds that all readers of a view
 * are gone without a `close`. What a view holds here leads to none of its readers.
 */
export class OpenViews {
  readonly #engine: ViewedEngine
  readonly #index: ArtIndex
  readonly #changed: () => void
  readonly #onLost: (version: number) => void
  /** With the version of each. */
  readonly #open = new Map<IndexView, number>()
  readonly #registry: FinalizationRegistry<IndexView>
  #lost = 0

  /**
   * @param changed - called when the number of open views has changed
   * @param onLost - called for each view that was lost, with its version
   */
  constructor(engine: ViewedEngine, index: ArtIndex, changed: () => void, onLost: (version: number) => void) {
    this.#engine = engine
    this.#index = index
    this.#changed = changed
    this.#onLost = onLost
    this.#registry = new FinalizationRegistry((view) => {
      if (!view.isOpen) return
      const version = this.#open.get(view) ?? 0
      this.#lost += 1
      this.#close(view)
      this.#onLost(version)
    })
  }

  get count(): number {
    return this.#open.size
  }

  /**
   * A view of all trees as they are now.
   *
   * @param seq - the newest handed out
   * @param version - of the newest commit; it may be lower, where seqs were passed over
   */
  take(seq: number, version: number): ViewEngine {
    return this.#register(this.#index.view(seq), version)
  }

  /** A view of what an open one shows, be it a snapshot's. */
  at(place: ViewPlace): ViewEngine {
    return this.#register(this.#index.viewAt(place), place.seq)
  }

  #register(view: IndexView, version: number): ViewEngine {
    this.#open.set(view, version)
    const reader = new ViewEngine(this.#engine, view, version, () => {
      this.#close(view)
    })
    this.#registry.register(reader, view, view)
    this.#changed()
    return reader
  }

  #close(view: IndexView): void {
    if (!this.#open.delete(view)) return
    view.close()
    this.#registry.unregister(view)
    this.#changed()
  }

  closeAll(): void {
    for (const view of this.list()) this.#close(view)
  }

  /** For who looks at their frames. */
  list(): readonly IndexView[] {
    return [...this.#open.keys()]
  }

  stats(): ViewStats {
    const [oldest] = this.#open.values()
    return {
      open: this.#open.size,
      oldestVersion: this.#open.size === 0 ? undefined : oldest,
      heldFrames: this.#index.unlinked.heldCount,
      lost: this.#lost,
    }
  }
}
