import type { ArtIndex, IndexView } from '@holt/art-index'
import type { BufferManager } from '@holt/blob-store'
import { HoltError } from '@holt/errors'
import type { Io } from '@holt/uring-native'
import { AsyncReads, type AsyncReadEngine } from './async-reads.js'
import type { OwnedReadEngine } from './owned-tree-reader.js'
import { ScanPages } from './scan-page.js'
import { VisitWalks } from './visit.js'

/** The database beneath a view. */
export interface ViewedEngine {
  readonly frames: BufferManager
  readonly io: Io
  /** Throws `HOLT_CLOSED` once the database was closed. */
  assertOpen(): void
  holdWrites(): void
  releaseWrites(): void
}

/**
 * What reads of a view ask for what they read: the frames of the database, by the root that it had then. All that can be
 * read by, readers and iterators and streams, holds it; nobody else does. So once it is lost the view cannot be used any
 * more, and is closed: see {@link OpenViews}.
 */
export class ViewEngine implements OwnedReadEngine, AsyncReadEngine {
  readonly index: ArtIndex
  readonly frames: BufferManager
  readonly io: Io
  /** Of the newest commit that it shows. */
  readonly version: number
  readonly #engine: ViewedEngine
  readonly #view: IndexView
  readonly #close: () => void
  // Made when they are first wanted: many a view is for a few lookups.
  #pages: ScanPages | undefined
  #visits: VisitWalks | undefined
  #asyncReads: AsyncReads | undefined

  constructor(engine: ViewedEngine, view: IndexView, version: number, close: () => void) {
    this.index = view.index
    this.frames = engine.frames
    this.io = engine.io
    this.version = version
    this.#engine = engine
    this.#view = view
    this.#close = close
  }

  get pages(): ScanPages {
    return (this.#pages ??= new ScanPages(this))
  }
  get visits(): VisitWalks {
    return (this.#visits ??= new VisitWalks(this.index))
  }
  get asyncReads(): AsyncReads {
    return (this.#asyncReads ??= new AsyncReads(this))
  }

  /** The view, or its database, was closed. */
  get closed(): boolean {
    return !this.#view.isOpen
  }

  assertOpen(): void {
    if (this.#view.isOpen) return
    this.#engine.assertOpen()
    throw new HoltError('HOLT_CLOSED', 'the view was closed')
  }

  holdWrites(): void {
    this.#engine.holdWrites()
  }
  releaseWrites(): void {
    this.#engine.releaseWrites()
  }

  close(): void {
    this.#close()
  }
}
