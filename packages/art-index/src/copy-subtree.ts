import { chainInFront } from './entry-chain.js'
import { corruptNode } from './corruption.js'
import type { FrameViews } from './frame-views.js'
import {
  BUMP_UNITS,
  CROSSING,
  descriptorAt,
  ENTRY_BYTES,
  ENTRY_CROSSING_HEAD,
  ENTRY_LIVE_COUNT,
  ENTRY_MAX_KEY,
  ENTRY_TABLE,
  ENTRY_VALUE_BYTES,
  FIRST_REF,
  LARGE_VALUE,
  LEAF,
  NODE256,
  unitsOfWord,
} from './layout.js'
import { nodeAt } from './node-edit.js'
import { createChildList, listChildren, repetitions, TERMINAL_REF } from './node-search.js'

/** More nodes than this cannot be pending at once: every node takes two units or more. */
const MAX_PENDING = 65_536
const STRIDE = 3
/** Per pending node: its ref, the u16 index (from the frame's start) its new ref goes to and on how many more, its depth. */
const pending = new Int32Array(MAX_PENDING * STRIDE)
const REPETITIONS_SHIFT = 20
const PLACE_MASK = (1 << REPETITIONS_SHIFT) - 1
const list = createChildList()

/**
 * Copies the subtree below `ref` of one frame to the bump pointer of another, depth first in key order, as root of
 * `entry`, and writes that entry: root, chain of crossings and large leaves, live count, value bytes, and the exact length of its longest
 * key. What lies below its crossings is not looked at: `keyBoundBytes` bounds the length of every key below `ref`, from there on.
 * `dropPrefix`: the root is copied without its prefix.
 */
export function copySubtree(
  from: FrameViews,
  fromBase: number,
  fromId: number,
  ref: number,
  to: FrameViews,
  toBase: number,
  entry: number,
  usableUnits: number,
  keyBoundBytes: number,
  dropPrefix: boolean,
): void {
  const { u16, u32 } = to
  const entryByte = ENTRY_TABLE + entry * ENTRY_BYTES
  let bump = u32[(toBase + BUMP_UNITS) >>> 2]
  let liveCount = 0
  let valueBytes = 0
  let longest = 0
  let chain = 0
  pending[0] = ref
  pending[1] = entryByte >>> 1
  pending[2] = 0
  let top = STRIDE
  while (top > 0) {
    top -= STRIDE
    const source = pending[top]
    const link = pending[top + 1]
    const depth = pending[top + 2]
    if (source < FIRST_REF) throw corruptNode(fromId, source, 'a ref into page 0')
    const node = nodeAt(fromBase, source)
    const word = from.u32[node]
    const type = word & 7
    if (type < LEAF || type > CROSSING) throw corruptNode(fromId, source, `a node of type ${String(type)}`)
    const isRoot = source === ref
    const dropped = isRoot && dropPrefix ? word >>> 16 : 0
    const copiedWord = word - dropped * 0x1_0000
    const units = unitsOfWord(copiedWord)
    if (source + units > usableUnits || bump + units > usableUnits) {
      throw corruptNode(fromId, source, `a node of ${String(units)} units that leaves the frame`)
    }
    const copy = nodeAt(toBase, bump)
    for (let i = 1; i < units * 2; i++) u32[copy + i] = from.u32[node + i]
    u32[copy] = copiedWord
    const place = (toBase >>> 1) + (link & PLACE_MASK)
    for (let i = place + (link >>> REPETITIONS_SHIFT); i >= place; i--) u16[i] = bump

    if (type === LEAF) {
      liveCount++
      if ((from.u32[node + 2] & LARGE_VALUE) === 0) {
        valueBytes += word >>> 16
      } else {
        valueBytes += from.u32[descriptorAt(from.u32, node)]
        chain = chainInFront(to, toBase, bump, chain)
      }
      const length = depth + ((word >>> 3) & 0x1fff)
      if (length > longest) longest = length
    } else if (type === CROSSING) {
      chain = chainInFront(to, toBase, bump, chain)
      longest = keyBoundBytes
    } else if (type <= NODE256) {
      const childDepth = depth + (copiedWord >>> 16)
      const count = listChildren(from, fromBase, source, list)
      if (top + (count + 1) * STRIDE > pending.length)
        throw corruptNode(fromId, source, 'nodes that form a loop')
      const childrenAt = bump * 4
      for (let i = count - 1; i >= 0; i--) {
        const more = i === count - 1 ? repetitions(type, count, list.places[i]) : 0
        pending[top] = list.refs[i]
        pending[top + 1] = (childrenAt + list.places[i]) | (more << REPETITIONS_SHIFT)
        pending[top + 2] = childDepth + 1
        top += STRIDE
      }
      const terminal = from.u16[node * 2 + TERMINAL_REF]
      if (terminal !== 0) {
        pending[top] = terminal
        pending[top + 1] = childrenAt + TERMINAL_REF
        pending[top + 2] = childDepth
        top += STRIDE
      }
    }
    bump += units
  }
  u32[(toBase + BUMP_UNITS) >>> 2] = bump
  const at = toBase + entryByte
  u16[(at + ENTRY_CROSSING_HEAD) >>> 1] = chain
  u16[(at + ENTRY_LIVE_COUNT) >>> 1] = liveCount
  u16[(at + ENTRY_MAX_KEY) >>> 1] = longest
  to.f64[(at + ENTRY_VALUE_BYTES) >>> 3] = valueBytes
}
