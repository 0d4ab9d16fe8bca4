import { PAGE_BYTES } from '@holt/blob-buf-pool'
import { corruptNode } from './corruption.js'
import {
  BUMP_UNITS,
  CROSSING,
  DEAD_UNITS,
  FILTER_ENTRY,
  DESCRIPTOR_BYTES,
  ENTRY_HIGH_WATER,
  ENTRY_LIVE_COUNT,
  ENTRY_ROOT,
  ENTRY_VALUE_BYTES,
  FIRST_REF,
  FREE_UNITS,
  LARGE_VALUE,
  LEAF,
  MAX_ENTRIES,
  NODE16,
  NODE256,
  NODE4,
  NODE48,
  UNIT_BYTES,
} from './layout.js'
import { NodeChildren } from './node-children.js'
import { FrameReader, type ReadableTree } from './readable-tree.js'

export interface StatisticsTree extends ReadableTree {
  /** Bytes of each frame that may be in use. Default all of a frame. */
  readonly usableBytes?: number
}

export interface TreeStatistics {
  /** Frames with nodes. */
  readonly frames: number
  /** Values that lie in frames of their own, and those frames. */
  readonly largeValues: number
  readonly valueFrames: number
  readonly entries: number
  readonly keys: number
  /** Bytes of the values, without keys and nodes. */
  readonly valueBytes: number
  /** Bytes of nodes and leaves. */
  readonly liveBytes: number
  /** Bytes on the free lists. */
  readonly freeBytes: number
  /** Bytes lost until a frame is compacted. */
  readonly deadBytes: number
  /** Frames that have a filter of their keys. */
  readonly filteredFrames: number
  /** Part of the usable bytes of a frame, page 0 excepted, that nodes and leaves take: 0 to 1. */
  readonly fill: {
    readonly min: number
    readonly average: number
    readonly max: number
    /** Frames by tenths of fill: up to 0.1, up to 0.2, …, up to 1. */
    readonly histogram: readonly number[]
  }
  /** Frames less than half full, the root's excepted, and such of which at most a twentieth is left. */
  readonly underFullFrames: number
  readonly overFullFrames: number
  /** Frames from the root's to the deepest one, both counted, and to each on average. */
  readonly depthFrames: number
  readonly averageDepthFrames: number
  readonly nodesByType: {
    readonly leaf: number
    readonly node4: number
    readonly node16: number
    readonly node48: number
    readonly node256: number
    readonly crossing: number
  }
}

const UNDER_FULL = 0.5
const OVER_FULL = 0.95

/**
 * Counts what a tree is made of, by a walk of every frame and node. Throws `HOLT_CORRUPT` on bytes that cannot be a
 * tree, and what the source's `fault` throws.
 */
export function treeStatistics(tree: StatisticsTree): TreeStatistics {
  const reader = new FrameReader(tree.source)
  const usableUnits = ((tree.usableBytes ?? reader.frameBytes) - PAGE_BYTES) / UNIT_BYTES
  const children = new NodeChildren(reader)
  const nodeCounts = [0, 0, 0, 0, 0, 0, 0, 0]
  const depths = new Map<number, number>([[tree.rootId, 1]])
  const queue: number[] = [tree.rootId]
  const pending: number[] = []
  let entries = 0
  let keys = 0
  let valueBytes = 0
  let liveUnits = 0
  let freeUnits = 0
  let deadUnits = 0
  let filteredFrames = 0
  let fillMin = 1
  let fillMax = 0
  let depthFrames = 0
  let depthSum = 0
  const histogram = new Array<number>(10).fill(0)
  let underFullFrames = 0
  let overFullFrames = 0
  let largeValues = 0
  let valueFrames = 0

  for (const blob of queue) {
    reader.enter(blob)
    const depth = depths.get(blob) ?? 1
    depthFrames = Math.max(depthFrames, depth)
    depthSum += depth
    const { base, u16, u32, f64 } = reader
    const free = u32[(base + FREE_UNITS) >>> 2]
    const dead = u32[(base + DEAD_UNITS) >>> 2]
    const live = u32[(base + BUMP_UNITS) >>> 2] - FIRST_REF - free - dead
    if (u16[(base + FILTER_ENTRY) >>> 1] !== 0) filteredFrames++
    freeUnits += free
    deadUnits += dead
    liveUnits += live
    fillMin = Math.min(fillMin, live / usableUnits)
    fillMax = Math.max(fillMax, live / usableUnits)
    histogram[Math.min(9, Math.max(0, Math.ceil((live / usableUnits) * 10) - 1))]++
    if (live < usableUnits * UNDER_FULL && blob !== tree.rootId) underFullFrames++
    if (live > usableUnits * OVER_FULL) overFullFrames++

    const highWater = Math.min(u16[(base + ENTRY_HIGH_WATER) >>> 1], MAX_ENTRIES)
    for (let number = 0; number < highWater; number++) {
      const entry = reader.entryOffset(number)
      const root = u16[(entry + ENTRY_ROOT) >>> 1]
      if (root === 0) continue
      entries++
      keys += u16[(entry + ENTRY_LIVE_COUNT) >>> 1]
      valueBytes += f64[(entry + ENTRY_VALUE_BYTES) >>> 3]
      pending.push(root)
    }
    let visited = 0
    for (let ref = pending.pop(); ref !== undefined; ref = pending.pop()) {
      if (++visited > reader.frameBytes / UNIT_BYTES)
        throw corruptNode(blob, ref, 'nodes lead around in circles')
      const node = reader.nodeOffset(ref)
      const word = u32[node >>> 2]
      const type = word & 7
      nodeCounts[type]++
      if (type === LEAF) {
        if ((u32[(node >>> 2) + 2] & LARGE_VALUE) !== 0) {
          largeValues++
          valueFrames += ((word >>> 16) - DESCRIPTOR_BYTES) / 4
        }
        continue
      }
      if (type === CROSSING) {
        const child = u32[(node >>> 2) + 1]
        if (!depths.has(child)) {
          depths.set(child, depth + 1)
          queue.push(child)
        }
        continue
      }
      children.pushAll(ref, pending)
    }
  }

  return {
    frames: queue.length,
    largeValues,
    valueFrames,
    entries,
    keys,
    valueBytes,
    liveBytes: liveUnits * UNIT_BYTES,
    freeBytes: freeUnits * UNIT_BYTES,
    deadBytes: deadUnits * UNIT_BYTES,
    filteredFrames,
    fill: { min: fillMin, average: liveUnits / usableUnits / queue.length, max: fillMax, histogram },
    underFullFrames,
    overFullFrames,
    depthFrames,
    averageDepthFrames: depthSum / queue.length,
    nodesByType: {
      leaf: nodeCounts[LEAF],
      node4: nodeCounts[NODE4],
      node16: nodeCounts[NODE16],
      node48: nodeCounts[NODE48],
      node256: nodeCounts[NODE256],
      crossing: nodeCounts[CROSSING],
    },
  }
}
