import type { BlobId } from '@holt/blob-buf-pool'
import { CompactionCandidates } from './compaction-candidates.js'
import { Descent } from './descent.js'
import type { FrameSource } from './frame-source.js'
import { PAGE_BYTES } from '@holt/blob-buf-pool'
import { MAX_INDEX_KEY_BYTES, UNIT_BYTES } from './layout.js'
import { CROSSING_PREFIX_SHARE, maxInlineValueBytes, maxKeyBytes, maxValueBytes } from './limits.js'
import { UnlinkedFrames } from './unlinked-frames.js'
import { ValueFrames } from './value-frames.js'

/** What the operations of one index share. */
export class Tree {
  readonly source: FrameSource
  readonly rootId: BlobId
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
  readonly descent = new Descent()
  readonly candidates = new CompactionCandidates()
  /** Frames of the large value that the running operation writes, and of the one that it takes away. */
  readonly newFrames: ValueFrames
  readonly oldFrames: ValueFrames
  /** Let go of by the tree, not given back yet. */
  readonly unlinked = new UnlinkedFrames()
  /** By bulk load under way: the frames it has made that no other frame names. An image without them leaks them. */
  readonly building = new Set<ReadonlySet<BlobId>>()
  changes = 0

  constructor(source: FrameSource, rootId: BlobId, usableBytes: number, delimiter: number) {
    this.source = source
    this.rootId = rootId
    this.usableBytes = usableBytes
    this.usableUnits = usableBytes / UNIT_BYTES
    this.maxKeyBytes = maxKeyBytes(usableBytes)
    this.maxValueBytes = maxValueBytes(usableBytes)
    this.maxInlineValueBytes = maxInlineValueBytes(usableBytes)
    this.newFrames = new ValueFrames(source)
    this.oldFrames = new ValueFrames(source)
    this.maxCrossingPrefixBytes = Math.floor((usableBytes - PAGE_BYTES) / CROSSING_PREFIX_SHARE)
    this.delimiter = delimiter
    const buffer = new ArrayBuffer(((MAX_INDEX_KEY_BYTES + 3) & ~3) + 8)
    this.keyBytes = new Uint8Array(buffer)
    this.keyWords = new Uint32Array(buffer)
  }
}
