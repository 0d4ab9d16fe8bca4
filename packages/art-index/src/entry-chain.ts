import { descriptorAt, ENTRY_BYTES, ENTRY_CROSSING_HEAD, ENTRY_TABLE, LEAF } from './layout.js'
import type { FrameViews } from './frame-views.js'
import { nodeAt } from './node-edit.js'

/*
 * The chain of an entry: everything below it that leads out of its frame, which is crossings and large leaves. It is
 * doubly linked by refs that lie in those nodes themselves.
 */

/** Index in `u16` of a chained node's `next`, `previous` behind it; `node` is the index in `u32` of its word 0. */
export function chainLinks(u32: Uint32Array, node: number): number {
  return ((u32[node] & 7) === LEAF ? descriptorAt(u32, node) + 1 : node + 2) * 2
}

/** Writes the links of the node at `ref` so that it comes in front of `head` (0: none). Returns `ref`, the new head. */
export function chainInFront(views: FrameViews, base: number, ref: number, head: number): number {
  const { u16, u32 } = views
  const links = chainLinks(u32, nodeAt(base, ref))
  u16[links] = head
  u16[links + 1] = 0
  if (head !== 0) u16[chainLinks(u32, nodeAt(base, head)) + 1] = ref
  return ref
}

function headAt(base: number, entry: number): number {
  return (base + ENTRY_TABLE + entry * ENTRY_BYTES + ENTRY_CROSSING_HEAD) >>> 1
}

/** Puts a crossing or large leaf into the chain of its entry. */
export function addToChain(views: FrameViews, base: number, entry: number, ref: number): void {
  const head = headAt(base, entry)
  views.u16[head] = chainInFront(views, base, ref, views.u16[head])
}

/** Takes a crossing or large leaf out of the chain of its entry. */
export function unchain(views: FrameViews, base: number, entry: number, ref: number): void {
  const { u16, u32 } = views
  const links = chainLinks(u32, nodeAt(base, ref))
  const next = u16[links]
  const previous = u16[links + 1]
  if (previous === 0) u16[headAt(base, entry)] = next
  else u16[chainLinks(u32, nodeAt(base, previous))] = next
  if (next !== 0) u16[chainLinks(u32, nodeAt(base, next)) + 1] = previous
}

/** A chained node was copied, its links included, to `ref`: its neighbours in the chain now name that. */
export function chainMoved(views: FrameViews, base: number, entry: number, ref: number): void {
  const { u16, u32 } = views
  const links = chainLinks(u32, nodeAt(base, ref))
  const next = u16[links]
  const previous = u16[links + 1]
  if (previous === 0) u16[headAt(base, entry)] = ref
  else u16[chainLinks(u32, nodeAt(base, previous))] = ref
  if (next !== 0) u16[chainLinks(u32, nodeAt(base, next)) + 1] = ref
}
