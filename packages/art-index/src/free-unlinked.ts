import { type BlobId, MAX_BLOB_ID } from '@holt/blob-buf-pool'
import { corruptNode } from './corruption.js'
import { chainLinks } from './entry-chain.js'
import {
  BIRTH,
  CROSSING,
  ENTRY_CROSSING_HEAD,
  ENTRY_HIGH_WATER,
  ENTRY_ROOT,
  LEAF,
  MAX_ENTRIES,
  UNIT_BYTES,
} from './layout.js'
import { FrameReader } from './readable-tree.js'
import type { Tree } from './tree.js'
import { UNKNOWN_BIRTH } from './unlinked-frames.js'
import { ValueFrames } from './value-frames.js'

/**
 * Gives back the frame that is {@link UnlinkedFrames.next}, the root of a subtree with its large values: its child frames
 * take its place in the set, and died when it did. A root that turns out to be seen by a view waits for that instead, with
 * all below it: what a view sees has not changed since. Reads its entries and their chains, no other node and no value, and
 * nothing of a frame that is unlinked alone. False when nothing was given back. Throws what `fault` throws, `HOLT_CORRUPT`
 * on bytes that cannot be a frame; then nothing has changed.
 */
export function freeNextUnlinked(tree: Tree): boolean {
  const { unlinked, source } = tree
  const id = unlinked.next
  const frame = id === undefined ? undefined : unlinked.of(id)
  if (id === undefined || frame === undefined) return false
  if (frame.isSingle) {
    unlinked.removeNext()
    source.free(id)
    return true
  }
  const reader = new FrameReader(source)
  reader.enter(id)
  if (frame.birth === UNKNOWN_BIRTH && unlinked.holdNext(reader.f64[(reader.base + BIRTH) >>> 3]))
    return false
  const children: BlobId[] = []
  const values: BlobId[] = []
  const versions: number[] = []
  forEachBelow(reader, (below, isValue, version) => {
    if (isValue) versions.push(version)
    ;(isValue ? values : children).push(below)
  })
  unlinked.removeNext()
  for (const child of children) unlinked.addRoot(child, UNKNOWN_BIRTH, frame.death)
  for (let i = 0; i < values.length; i++) tree.letGoOfValueFrame(values[i], versions[i], frame.death)
  source.free(id)
  return true
}

/**
 * Calls `visit` for each frame that the one in view leads to, by the chains of its entries; for one of a large value with the
 * version of its leaf. Throws `HOLT_CORRUPT`.
 */
export function forEachBelow(
  reader: FrameReader,
  visit: (blob: BlobId, isValue: boolean, version: number) => void,
): void {
  const { base, u16, u32, blob } = reader
  const highWater = Math.min(u16[(base + ENTRY_HIGH_WATER) >>> 1], MAX_ENTRIES)
  const frames = new ValueFrames(reader.source)
  let visited = 0
  for (let entry = 0; entry < highWater; entry++) {
    const at = reader.entryOffset(entry)
    if (u16[(at + ENTRY_ROOT) >>> 1] === 0) continue
    for (let ref = u16[(at + ENTRY_CROSSING_HEAD) >>> 1]; ref !== 0;) {
      if (++visited > reader.frameBytes / UNIT_BYTES)
        throw corruptNode(blob, ref, 'the chain of an entry leads around in circles')
      const node = reader.nodeOffset(ref) >>> 2
      const type = u32[node] & 7
      if (type === CROSSING) {
        const child = u32[node + 1]
        if (child < 1 || child > MAX_BLOB_ID)
          throw corruptNode(blob, ref, `a crossing to blob ${String(child)}, which cannot exist`)
        visit(child as BlobId, false, 0)
      } else if (type === LEAF) {
        frames.take(u32, node, blob, ref)
        for (let part = 0; part < frames.count; part++)
          visit(frames.ids[part] as BlobId, true, frames.version)
      } else {
        throw corruptNode(blob, ref, 'in the chain of an entry, but neither crossing nor leaf')
      }
      ref = u16[chainLinks(u32, node)]
    }
  }
}
