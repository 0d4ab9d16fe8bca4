import { chainInFront } from './entry-chain.js'
import { corruptNode } from './corruption.js'
import type { FrameViews } from './frame-views.js'
import {
  bodyBytes,
  BUMP_UNITS,
  CROSSING,
  CROSSING_BYTES,
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
  LEAF_HEADER_BYTES,
  leafUnits,
  NODE256,
  ORDERED_UNITS,
  unitsOfWord,
} from './layout.js'
import { entryRoot, nodeAt } from './node-edit.js'
import { createChildList, listChildren, repetitions, TERMINAL_REF } from './node-search.js'

/** More nodes than this cannot be pending at once: every node takes two units or more. */
const MAX_PENDING = 65_536
const STRIDE = 4
/**
 * Per pending node: its ref, the u16 index (from the frame's start) its new ref goes to and on how many more, its depth,
 * and where it is: 0 in the frame itself, else the position of its absorbed frame, counted from 1, and, above that, the
 * crossing whose prefix goes before its own.
 */
const pending = new Int32Array(MAX_PENDING * STRIDE)
const REPETITIONS_SHIFT = 20
const PLACE_MASK = (1 << REPETITIONS_SHIFT) - 1
const CROSSING_SHIFT = 8
const ABSORBED_MASK = (1 << CROSSING_SHIFT) - 1
const list = createChildList()

/** Frames whose entries are copied in place of the crossings that lead to them. All are children of one frame. */
export interface AbsorbedFrames {
  readonly count: number
  readonly ids: Int32Array
  readonly views: readonly FrameViews[]
  readonly bases: readonly number[]
}

function positionOf(absorbed: AbsorbedFrames, id: number): number {
  for (let i = 0; i < absorbed.count; i++) if (absorbed.ids[i] === id) return i + 1
  return 0
}

/**
 * Copies the subtree below `ref` of one frame to the bump pointer of another, depth first in key order, as root of
 * `entry`, and writes that entry: root, chain of crossings and large leaves, live count, value bytes, and the exact length of its longest
 * key. What lies below its crossings is not looked at: `keyBoundBytes` bounds the length of every key below `ref`, from there on.
 * `dropPrefix`: the root is copied without its prefix. `absorbed`: crossings to these frames give way to what they lead to.
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
  absorbed?: AbsorbedFrames,
): void {
  const { u16, u32 } = to
  const ownViews = from
  const ownBase = fromBase
  const ownId = fromId
  const { refs, places } = list
  const entryByte = ENTRY_TABLE + entry * ENTRY_BYTES
  let bump = u32[(toBase + BUMP_UNITS) >>> 2]
  const isOrdered = bump === FIRST_REF || u32[(toBase + ORDERED_UNITS) >>> 2] === bump
  let liveCount = 0
  let valueBytes = 0
  let longest = 0
  let chain = 0
  pending[0] = ref
  pending[1] = entryByte >>> 1
  pending[2] = 0
  pending[3] = 0
  let position = 0
  let isRoot = true
  let top = STRIDE
  while (top > 0) {
    top -= STRIDE
    const source = pending[top]
    const link = pending[top + 1]
    const depth = pending[top + 2]
    const where = pending[top + 3]
    if ((where & ABSORBED_MASK) !== position) {
      position = where & ABSORBED_MASK
      from = absorbed === undefined || position === 0 ? ownViews : absorbed.views[position - 1]
      fromBase = absorbed === undefined || position === 0 ? ownBase : absorbed.bases[position - 1]
      fromId = absorbed === undefined || position === 0 ? ownId : absorbed.ids[position - 1]
    }
    if (source < FIRST_REF) throw corruptNode(fromId, source, 'a ref into page 0')
    const node = nodeAt(fromBase, source)
    const word = from.u32[node]
    const type = word & 7
    if (type < LEAF || type > CROSSING) throw corruptNode(fromId, source, `a node of type ${String(type)}`)
    if (type === CROSSING && position === 0 && absorbed !== undefined) {
      const target = positionOf(absorbed, from.u32[node + 1])
      if (target !== 0) {
        const childEntry = (word >>> 3) & 0x3ff
        pending[top] = entryRoot(absorbed.views[target - 1], absorbed.bases[target - 1], childEntry)
        pending[top + 3] = target | (word >>> 16 === 0 ? 0 : source << CROSSING_SHIFT)
        top += STRIDE
        continue
      }
    }
    const dropped = isRoot && dropPrefix ? word >>> 16 : 0
    isRoot = false
    const crossing = where >>> CROSSING_SHIFT
    const added = crossing === 0 ? 0 : ownViews.u32[nodeAt(ownBase, crossing)] >>> 16
    const copiedWord = word - dropped * 0x1_0000 + (type === LEAF ? added << 3 : added * 0x1_0000)
    const units = unitsOfWord(copiedWord)
    const sourceUnits = dropped === 0 && added === 0 ? units : unitsOfWord(word)
    if (source + sourceUnits > usableUnits || bump + units > usableUnits) {
      throw corruptNode(fromId, source, `a node of ${String(units)} units that leaves the frame`)
    }
    const copy = nodeAt(toBase, bump)
    if (added === 0) {
      copyUnits(from.u32, node, u32, copy, units)
    } else {
      copyBehindPrefix(ownViews, nodeAt(ownBase, crossing), added, from, node, word, to, copy)
    }
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
      const length = depth + ((copiedWord >>> 3) & 0x1fff)
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
      bump += units
      const terminal = from.u16[node * 2 + TERMINAL_REF]
      // The terminal, counted as child -1, and leaves before the first other child are copied at once: most nodes are leaves.
      let next = terminal === 0 ? 0 : -1
      for (; next < count; next++) {
        const leaf = next < 0 ? terminal : refs[next]
        const leafNode = nodeAt(fromBase, leaf)
        const leafWord = leaf < FIRST_REF ? 0 : from.u32[leafNode]
        if ((leafWord & 7) !== LEAF) break
        const restLength = (leafWord >>> 3) & 0x1fff
        const taken = leafUnits(restLength, leafWord >>> 16)
        if (leaf + taken > usableUnits || bump + taken > usableUnits)
          throw corruptNode(fromId, leaf, `a leaf of ${String(taken)} units that leaves the frame`)
        copyUnits(from.u32, leafNode, u32, nodeAt(toBase, bump), taken)
        const leafPlace = (toBase >>> 1) + childrenAt + (next < 0 ? TERMINAL_REF : places[next])
        u16[leafPlace] = bump
        if (next === count - 1 && next >= 0) {
          const more = repetitions(type, count, places[next])
          for (let i = 1; i <= more; i++) u16[leafPlace + i] = bump
        }
        liveCount++
        if ((from.u32[leafNode + 2] & LARGE_VALUE) === 0) {
          valueBytes += leafWord >>> 16
        } else {
          valueBytes += from.u32[descriptorAt(from.u32, leafNode)]
          chain = chainInFront(to, toBase, bump, chain)
        }
        const length = childDepth + restLength + (next < 0 ? 0 : 1)
        if (length > longest) longest = length
        bump += taken
      }
      if (next < 0) throw corruptNode(fromId, terminal, 'a terminal that is no leaf')
      for (let i = count - 1; i >= next; i--) {
        const more = i === count - 1 ? repetitions(type, count, places[i]) : 0
        pending[top] = refs[i]
        pending[top + 1] = (childrenAt + places[i]) | (more << REPETITIONS_SHIFT)
        pending[top + 2] = childDepth + 1
        pending[top + 3] = position
        top += STRIDE
      }
      continue
    }
    bump += units
  }
  u32[(toBase + BUMP_UNITS) >>> 2] = bump
  if (isOrdered) u32[(toBase + ORDERED_UNITS) >>> 2] = bump
  const at = toBase + entryByte
  u16[(at + ENTRY_CROSSING_HEAD) >>> 1] = chain
  u16[(at + ENTRY_LIVE_COUNT) >>> 1] = liveCount
  u16[(at + ENTRY_MAX_KEY) >>> 1] = longest
  to.f64[(at + ENTRY_VALUE_BYTES) >>> 3] = valueBytes
}

/** Above this many units `set` is faster than the loop, in spite of the view it needs. */
const LOOP_UNITS = 64

function copyUnits(
  from: Uint32Array,
  fromWord: number,
  to: Uint32Array,
  toWord: number,
  units: number,
): void {
  if (units > LOOP_UNITS) {
    to.set(from.subarray(fromWord, fromWord + units * 2), toWord)
    return
  }
  for (const end = fromWord + units * 2; fromWord < end; fromWord += 2, toWord += 2) {
    to[toWord] = from[fromWord]
    to[toWord + 1] = from[fromWord + 1]
  }
}

/** Copies a leaf or inner node, word 0 excepted, the path of a crossing before its own path. */
function copyBehindPrefix(
  above: FrameViews,
  crossing: number,
  added: number,
  from: FrameViews,
  node: number,
  word: number,
  to: FrameViews,
  copy: number,
): void {
  const type = word & 7
  const isLeaf = type === LEAF
  const body = isLeaf ? LEAF_HEADER_BYTES : bodyBytes(type)
  const length = isLeaf ? (word >>> 3) & 0x1fff : word >>> 16
  for (let i = 1; i < body >>> 2; i++) to.u32[copy + i] = from.u32[node + i]
  const path = copy * 4 + body
  const prefix = crossing * 4 + CROSSING_BYTES
  const own = node * 4 + body
  to.u8.set(above.u8.subarray(prefix, prefix + added), path)
  to.u8.set(from.u8.subarray(own, own + length), path + added)
  if (!isLeaf) return
  let end = added + length
  for (; (end & 3) !== 0; end++) to.u8[path + end] = 0
  const value = own + ((length + 3) & ~3)
  to.u8.set(from.u8.subarray(value, value + (word >>> 16)), path + end)
}
