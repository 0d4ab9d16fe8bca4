import type { BlobId } from '@holt/blob-buf-pool'
import type { LiveView, LiveViews } from './live-views.js'

/** Of a root whose frame has not been looked at yet. */
export const UNKNOWN_BIRTH = -1

/** A frame that the tree let go of. */
export interface UnlinkedFrame {
  /**
   * False: it is the root of an unlinked subtree, every entry of it and every frame that its crossings name is unlinked as
   * well. True: it is unlinked alone, as a frame of which the tree has a copy, or one of a large value.
   */
  readonly isSingle: boolean
  /** Epochs, see live-views.ts; {@link UNKNOWN_BIRTH} only for a root. */
  readonly birth: number
  readonly death: number
}

/** As whoever keeps the tree keeps it. */
export interface KeptFrame extends UnlinkedFrame {
  readonly id: BlobId
}

/**
 * Frames that the tree let go of and that are not given back yet: such as may be now, and such as an open view sees. Whoever
 * keeps the tree keeps them too (the engine in its note), or they leak.
 *
 * What may be given back goes last in, first out: so of subtrees it holds at most the siblings along one path. What a view
 * sees waits with the newest view that sees it, and is looked at again when that one is closed.
 */
export class UnlinkedFrames {
  readonly #views: LiveViews
  readonly #frames = new Map<BlobId, UnlinkedFrame>()
  readonly #ready: BlobId[] = []

  constructor(views: LiveViews) {
    this.#views = views
  }

  /** Those that may be given back now. */
  get size(): number {
    return this.#ready.length
  }

  /** Those that wait for a view to be closed. */
  get heldCount(): number {
    return this.#frames.size - this.#ready.length
  }

  /**
   * The root of an unlinked subtree. Naming one twice, as the crossings of a run of siblings do, is naming it once. Without
   * a birth it is looked at when its turn comes.
   */
  addRoot(id: BlobId, birth: number = UNKNOWN_BIRTH, death: number = this.#views.epoch): void {
    this.#add(id, { isSingle: false, birth, death })
  }

  /** A frame that is unlinked alone. */
  addSingle(id: BlobId, birth: number, death: number = this.#views.epoch): void {
    this.#add(id, { isSingle: true, birth, death })
  }

  #add(id: BlobId, frame: UnlinkedFrame): void {
    if (this.#frames.has(id)) return
    this.#frames.set(id, frame)
    this.#settle(id, frame)
  }

  #settle(id: BlobId, { birth, death }: UnlinkedFrame): void {
    const view = birth === UNKNOWN_BIRTH ? undefined : this.#views.seeing(birth, death)
    if (view === undefined) this.#ready.push(id)
    else view.held.push(id)
  }

  /** The one to give back next; `undefined` when there is none. */
  get next(): BlobId | undefined {
    return this.#ready.at(-1)
  }

  of(id: BlobId): UnlinkedFrame | undefined {
    return this.#frames.get(id)
  }

  /** Takes {@link next} out. */
  removeNext(): void {
    const id = this.#ready.pop()
    if (id !== undefined) this.#frames.delete(id)
  }

  /** The birth of {@link next}, a root, was found: if a view sees it, it has to wait, and this is true. */
  holdNext(birth: number): boolean {
    const id = this.#ready.at(-1)
    const frame = id === undefined ? undefined : this.#frames.get(id)
    if (id === undefined || frame === undefined) return false
    const view = this.#views.seeing(birth, frame.death)
    if (view === undefined) return false
    this.#ready.pop()
    this.#frames.set(id, { ...frame, birth })
    view.held.push(id)
    return true
  }

  /** A view was closed: what waited for it waits for another that sees it, or no longer. */
  release(view: LiveView): void {
    for (const id of view.held.splice(0)) {
      const frame = this.#frames.get(id)
      if (frame !== undefined) this.#settle(id, frame)
    }
  }

  /** All, whether they wait for a view or not. */
  *list(): Generator<KeptFrame, undefined, undefined> {
    for (const [id, frame] of this.#frames) yield { id, ...frame }
    return undefined
  }

  /** Roots of subtrees, whether they wait for a view or not. */
  *roots(): Generator<BlobId, undefined, undefined> {
    for (const [id, { isSingle }] of this.#frames) if (!isSingle) yield id
    return undefined
  }

  /** Frames that are unlinked alone, whether they wait for a view or not. */
  *singles(): Generator<BlobId, undefined, undefined> {
    for (const [id, { isSingle }] of this.#frames) if (isSingle) yield id
    return undefined
  }
}
