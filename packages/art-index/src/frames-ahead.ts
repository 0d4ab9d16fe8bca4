import { type BlobId, FRAME_SHIFT } from '@holt/blob-buf-pool'
import type { FrameSource } from './frame-source.js'
import { CROSSING, NODE16 } from './layout.js'
import { createChildList, listChildren } from './node-search.js'
import { existingBlob } from './readable-tree.js'

const list = createChildList()

/**
 * Blobs that are not in memory and that crossings among a node's children lead to, in the order of a walk that is at
 * `position` (a child's index in a node4 or node16, else a byte): at most `limit`, each once. Reads nothing.
 */
export function framesAhead(
  source: FrameSource,
  blob: BlobId,
  ref: number,
  position: number,
  reverse: boolean,
  limit: number,
): BlobId[] {
  const slot = source.pageTable[blob]
  const ahead: BlobId[] = []
  if (slot <= 0) return ahead
  const { segments, segmentShift, segmentMask } = source.slab
  const views = segments[slot >>> segmentShift]
  const base = (slot & segmentMask) << FRAME_SHIFT
  const { u32 } = views
  const byIndex = (u32[(base >>> 2) + ref * 2] & 7) <= NODE16
  const count = listChildren(views, base, ref, list)
  for (let step = 0; step < count && ahead.length < limit; step++) {
    const i = reverse ? count - 1 - step : step
    const at = byIndex ? i : list.bytes[i]
    if (reverse ? at > position : at < position) continue
    const child = (base >>> 2) + list.refs[i] * 2
    if ((u32[child] & 7) !== CROSSING) continue
    const id = existingBlob(u32[child + 1])
    if (source.pageTable[id] <= 0 && !ahead.includes(id)) ahead.push(id)
  }
  return ahead
}
