import { type BlobId, MAX_BLOB_ID } from '@holt/blob-buf-pool'
import { corruptNode } from './corruption.js'
import {
  CROSSING,
  ENTRY_CROSSING_HEAD,
  ENTRY_HIGH_WATER,
  ENTRY_ROOT,
  MAX_ENTRIES,
  UNIT_BYTES,
} from './layout.js'
import { FrameReader } from './readable-tree.js'
import type { Tree } from './tree.js'

/**
 * Gives back the frame that is {@link UnlinkedFrames.next}: its children take its place in the set. Reads its entries
 * and their chains of crossings, no other node. Throws what `fault` throws, `HOLT_CORRUPT` on bytes that cannot be a
 * frame; then nothing has changed.
 */
export function freeNextUnlinked(tree: Tree): void {
  const { unlinked, source } = tree
  const id = unlinked.next
  if (id === undefined) return
  const reader = new FrameReader(source)
  reader.enter(id)
  const children: BlobId[] = []
  forEachChildFrame(reader, (child) => children.push(child))
  unlinked.removeNext()
  for (const child of children) unlinked.add(child)
  source.free(id)
}

/** Calls `visit` for each crossing of the frame in view, by the chains of its entries. Throws `HOLT_CORRUPT`. */
export function forEachChildFrame(reader: FrameReader, visit: (child: BlobId) => void): void {
  const { base, u16, u32, blob } = reader
  const highWater = Math.min(u16[(base + ENTRY_HIGH_WATER) >>> 1], MAX_ENTRIES)
  let visited = 0
  for (let entry = 0; entry < highWater; entry++) {
    const at = reader.entryOffset(entry)
    if (u16[(at + ENTRY_ROOT) >>> 1] === 0) continue
    for (let ref = u16[(at + ENTRY_CROSSING_HEAD) >>> 1]; ref !== 0;) {
      if (++visited > reader.frameBytes / UNIT_BYTES)
        throw corruptNode(blob, ref, 'the chain of crossings leads around in circles')
      const node = reader.nodeOffset(ref)
      if ((u32[node >>> 2] & 7) !== CROSSING)
        throw corruptNode(blob, ref, 'in a chain of crossings, but not a crossing')
      const child = u32[(node >>> 2) + 1]
      if (child < 1 || child > MAX_BLOB_ID)
        throw corruptNode(blob, ref, `a crossing to blob ${String(child)}, which cannot exist`)
      visit(child as BlobId)
      ref = u16[(node + 8) >>> 1]
    }
  }
}
