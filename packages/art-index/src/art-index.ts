import type { BlobId } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import type { ArtIndexContract } from './contract.js'
import type { FrameSource } from './frame-source.js'
import {
  BUMP_UNITS,
  ENTRY_COUNT,
  ENTRY_HIGH_WATER,
  FIRST_REF,
  MAX_INDEX_KEY_BYTES,
  MAX_USABLE_BYTES,
  MIN_USABLE_BYTES,
} from './layout.js'

export interface ArtIndexOptions {
  /** Bytes of each frame that may be used, page 0 included. Default all; tests take less, so that frames spill early. */
  readonly usableFrameBytes?: number
  /** The byte at whose places frames are preferably split. Default `/`. */
  readonly delimiter?: number
}

/** An adaptive radix tree over the frames of a {@link FrameSource}. One thread changes it. */
export class ArtIndex implements ArtIndexContract {
  readonly source: FrameSource
  readonly rootId: BlobId
  readonly usableBytes: number
  readonly delimiter: number
  readonly key: Uint8Array
  foundBytes: Uint8Array
  foundOffset = 0
  foundLength = 0
  foundVersion = 0
  changes = 0

  private constructor(source: FrameSource, rootId: BlobId, options: ArtIndexOptions) {
    this.source = source
    this.rootId = rootId
    this.usableBytes = usableBytesOf(options)
    this.delimiter = options.delimiter ?? 0x2f
    this.key = new Uint8Array(MAX_INDEX_KEY_BYTES)
    this.foundBytes = this.key
  }

  /** A new, empty tree: allocates its root frame. Throws `HOLT_INVALID_ARGUMENT` on options out of range. */
  static create(source: FrameSource, options: ArtIndexOptions = {}): ArtIndex {
    usableBytesOf(options)
    const rootId = source.allocate()
    const slot = source.writable(rootId)
    const { u16, u32 } = source.slab.segmentOf(slot)
    const base = source.slab.offsetOf(slot)
    u32[(base + BUMP_UNITS) >>> 2] = FIRST_REF
    u16[(base + ENTRY_COUNT) >>> 1] = 1
    u16[(base + ENTRY_HIGH_WATER) >>> 1] = 1
    return new ArtIndex(source, rootId, options)
  }

  /** The tree whose root frame is `rootId`. */
  static attach(source: FrameSource, rootId: BlobId, options: ArtIndexOptions = {}): ArtIndex {
    return new ArtIndex(source, rootId, options)
  }

  find(keyLength: number): boolean {
    throw new HoltError('HOLT_UNSUPPORTED', `find of ${String(keyLength)} bytes`)
  }

  put(
    keyLength: number,
    source: Uint8Array,
    sourceOffset: number,
    sourceLength: number,
    version: number,
  ): boolean {
    throw new HoltError(
      'HOLT_UNSUPPORTED',
      `put of ${String([keyLength, source.length, sourceOffset, sourceLength, version])} bytes`,
    )
  }

  delete(keyLength: number): boolean {
    throw new HoltError('HOLT_UNSUPPORTED', `delete of ${String(keyLength)} bytes`)
  }

  touch(keyLength: number): void {
    throw new HoltError('HOLT_UNSUPPORTED', `touch of ${String(keyLength)} bytes`)
  }
}

function usableBytesOf(options: ArtIndexOptions): number {
  const usable = options.usableFrameBytes ?? MAX_USABLE_BYTES
  if (
    !Number.isInteger(usable) ||
    usable < MIN_USABLE_BYTES ||
    usable > MAX_USABLE_BYTES ||
    usable % 8 !== 0
  ) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `usableFrameBytes is ${String(usable)}; a multiple of 8 from ${String(MIN_USABLE_BYTES)} to ${String(MAX_USABLE_BYTES)} is wanted`,
    )
  }
  return usable
}
