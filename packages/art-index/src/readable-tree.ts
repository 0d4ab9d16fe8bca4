import { type BlobId, MAX_BLOB_ID, type SlabSegment } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import { corruptNode } from './corruption.js'
import type { FrameSource } from './frame-source.js'
import { ENTRY_BYTES, ENTRY_TABLE, FIRST_REF, MAX_ENTRIES, UNIT_BYTES } from './layout.js'

/** What a walk that only reads needs to know of a tree. An `ArtIndex` is one. */
export interface ReadableTree {
  readonly source: FrameSource
  readonly rootId: BlobId
}

/** Throws `HOLT_CORRUPT` when no blob can have this id, which then was read from damaged bytes. */
export function existingBlob(id: number): BlobId {
  if (id < 1 || id > MAX_BLOB_ID)
    throw new HoltError('HOLT_CORRUPT', `a crossing leads to blob ${String(id)}, which cannot exist`)
  return id as BlobId
}

const NOTHING: SlabSegment = {
  buffer: new SharedArrayBuffer(0),
  u8: new Uint8Array(0),
  u16: new Uint16Array(0),
  u32: new Uint32Array(0),
  f64: new Float64Array(0),
}

/**
 * One frame at a time, seen through its segment's views. For walks whose cost is in the frames, not in the steps:
 * hoist the fields before a loop, and read them again after each {@link enter}.
 */
export class FrameReader {
  readonly source: FrameSource
  readonly frameBytes: number
  /** The frame in view; 0 is none. */
  blob = 0
  /** Byte offset of the frame in its segment. */
  base = 0
  u8 = NOTHING.u8
  u16 = NOTHING.u16
  u32 = NOTHING.u32
  f64 = NOTHING.f64

  constructor(source: FrameSource) {
    this.source = source
    this.frameBytes = source.slab.frameBytes
  }

  /** Brings a frame into view, from the store if need be. Throws what {@link FrameSource.fault} throws. */
  enter(id: number): void {
    const { source } = this
    let slot = source.pageTable[id] as number | undefined
    if (slot === undefined || slot <= 0) slot = source.fault(existingBlob(id), true)
    const { slab } = source
    const segment = slab.segments[slot >>> slab.segmentShift]
    this.blob = id
    this.base = (slot & slab.segmentMask) * slab.frameBytes
    this.u8 = segment.u8
    this.u16 = segment.u16
    this.u32 = segment.u32
    this.f64 = segment.f64
  }

  /** Byte offset, in the segment, of an entry of the frame in view. */
  entryOffset(entry: number): number {
    if (entry >= MAX_ENTRIES)
      throw corruptNode(this.blob, 0, `entry ${String(entry)} of at most ${String(MAX_ENTRIES)}`)
    return this.base + ENTRY_TABLE + entry * ENTRY_BYTES
  }

  /** Byte offset, in the segment, of the node at `ref` in the frame in view. Throws `HOLT_CORRUPT` when it is none. */
  nodeOffset(ref: number): number {
    if (ref < FIRST_REF || ref * UNIT_BYTES >= this.frameBytes) {
      throw corruptNode(this.blob, ref, 'a node was expected here')
    }
    return this.base + ref * UNIT_BYTES
  }
}
