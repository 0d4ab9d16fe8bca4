import type { BlobId } from '@holt/blob-buf-pool'
import { CompactionCandidates } from './compaction-candidates.js'
import { Descent } from './descent.js'
import type { FrameSource } from './frame-source.js'
import { PAGE_BYTES } from '@holt/blob-buf-pool'
import { MAX_INDEX_KEY_BYTES, UNIT_BYTES } from './layout.js'
import { CROSSING_PREFIX_SHARE, maxInlineValueBytes, maxKeyBytes, maxValueBytes } from './limits.js'
import type { LiveViews } from './live-views.js'
import { UnlinkedFrames } from './unlinked-frames.js'
import { ValueFrames } from './value-frames.js'

/** What the operations of one index share. */
export class Tree {
  readonly source: FrameSource
  #rootId: BlobId
  readonly usableBytes: number
  readonly usableUnits: number
  readonly maxKeyBytes: number
  readonly maxValueBytes: number
  /** A larger value lies in frames of its own. */
  readonly maxInlineValueBytes: number
  /** Bytes of a frame that the prefixes of its crossings may take. */
  readonly maxCrossingPrefixBytes: number
  readonly delimiter: number
  /** The key of the running operation; a little longer than any key, see key-words.ts. */
  readonly keyBytes: Uint8Array
  readonly keyWords: Uint32Array
  readonly descent: Descent
  readonly candidates = new CompactionCandidates()
  /** Frames of the large value that the running operation writes, and of the one that it takes away. */
  readonly newFrames: ValueFrames
  readonly oldFrames: ValueFrames
  /** Those that are open. While there are any, a change forks what they see first: fork-path.ts. */
  readonly views: LiveViews
  /** Let go of by the tree, not given back yet. */
  readonly unlinked: UnlinkedFrames
  /** By bulk load under way: the frames it has made that no other frame names. An image without them leaks them. */
  readonly building = new Set<ReadonlySet<BlobId>>()
  changes = 0

  /** With `original` it is for reading only, beside that one, whose scratch memory it shares. */
  constructor(
    source: FrameSource,
    rootId: BlobId,
    usableBytes: number,
    delimiter: number,
    views: LiveViews,
    original?: Tree,
  ) {
    this.source = source
    this.#rootId = rootId
    this.descent = original?.descent ?? new Descent()
    this.views = views
    this.unlinked = new UnlinkedFrames(views)
    this.usableBytes = usableBytes
    this.usableUnits = usableBytes / UNIT_BYTES
    this.maxKeyBytes = maxKeyBytes(usableBytes)
    this.maxValueBytes = maxValueBytes(usableBytes)
    this.maxInlineValueBytes = maxInlineValueBytes(usableBytes)
    this.newFrames = new ValueFrames(source)
    this.oldFrames = new ValueFrames(source)
    this.maxCrossingPrefixBytes = Math.floor((usableBytes - PAGE_BYTES) / CROSSING_PREFIX_SHARE)
    this.delimiter = delimiter
    const buffer = original?.keyBytes.buffer ?? new ArrayBuffer(((MAX_INDEX_KEY_BYTES + 3) & ~3) + 8)
    this.keyBytes = original?.keyBytes ?? new Uint8Array(buffer)
    this.keyWords = original?.keyWords ?? new Uint32Array(buffer)
  }

  get rootId(): BlobId {
    return this.#rootId
  }

  /** The root frame has been copied, and the tree goes on in the copy. */
  setRoot(id: BlobId): void {
    this.#rootId = id
    this.source.rootMoved?.(id)
  }

  /** Lets go of the frames that {@link oldFrames} names, those of one large value: at once, unless a view sees them. */
  letGoOfOldFrames(): void {
    const { oldFrames, views } = this
    if (views.newest === 0) {
      oldFrames.free()
      return
    }
    for (let i = 0; i < oldFrames.count; i++)
      this.letGoOfValueFrame(oldFrames.ids[i] as BlobId, oldFrames.version)
    oldFrames.count = 0
  }

  /** As {@link letGoOfOldFrames}, for one frame of a value whose leaf has that version. */
  letGoOfValueFrame(id: BlobId, version: number, death: number = this.views.epoch): void {
    const birth = this.views.birthOfSeq(version)
    if (this.views.seeing(birth, death) === undefined) this.source.free(id)
    else this.unlinked.addSingle(id, birth, death)
  }
}
