import { FRAME_SHIFT, type SlabSegment, type Slot } from '@holt/blob-buf-pool'
import type { FrameSource } from './frame-source.js'

/** Memory that holds a frame, in every element width: a slab's segment, or the scratch of a compaction. */
export type FrameViews = Pick<SlabSegment, 'u8' | 'u16' | 'u32' | 'f64'>

/** Byte at which the frame of `slot` begins in its segment's views. */
export function frameBase(source: FrameSource, slot: number): number {
  return (slot & source.slab.segmentMask) << FRAME_SHIFT
}

export function segmentOf(source: FrameSource, slot: number): SlabSegment {
  return source.slab.segmentOf(slot as Slot)
}
