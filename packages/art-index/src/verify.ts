import { type BlobId, MAX_BLOB_ID } from '@holt/blob-buf-pool'
import { isHoltError } from '@holt/errors'
import { forEachBelow } from './free-unlinked.js'
import {
  BUMP_UNITS,
  ENTRY_COUNT,
  FIRST_REF,
  MAX_INDEX_KEY_BYTES,
  UNIT_BYTES,
  VALUE_DATA_BYTES,
  VALUE_PART,
} from './layout.js'
import { FrameReader, type ReadableTree } from './readable-tree.js'
import type { UnlinkedFrames } from './unlinked-frames.js'
import { bytesPerFrame } from './value-frames.js'
import { type FoundCrossing, type FoundLargeValue, type FrameFacts, FrameVerifier } from './verify-frame.js'

/** One thing that is wrong, and where. */
export interface TreeProblem {
  readonly blobId: BlobId
  /** The node, in 8-byte units from the start of the frame; 0: the frame's header. */
  readonly ref: number
  readonly what: string
}

export interface VerifyReport {
  /** Empty for a sound tree. At most {@link MAX_PROBLEMS}. */
  readonly problems: readonly TreeProblem[]
  /** Problems found beyond those listed. */
  readonly problemsLeftOut: number
  /** Every frame that the tree reaches, parents before children: whatever else a store holds does not belong to it. */
  readonly blobIds: readonly BlobId[]
  /**
   * Every frame that the tree has let go of and not given back yet, or that a bulk load has built for it. With
   * {@link blobIds} all that a store may hold.
   */
  readonly unlinkedBlobIds: readonly BlobId[]
  readonly entries: number
  readonly nodes: number
  readonly crossings: number
  readonly keys: number
  readonly valueBytes: number
  readonly longestKeyBytes: number
  /** Values that lie in frames of their own, and those frames. */
  readonly largeValues: number
  readonly valueFrames: number
}

export interface VerifiableTree extends ReadableTree {
  /** Bytes of each frame that may be in use. Default all of a frame. */
  readonly usableBytes?: number
  /** What the tree has let go of. Default nothing. */
  readonly unlinked?: Pick<UnlinkedFrames, 'roots' | 'singles'>
  /** No frame was born later. Default: whenever they were. */
  readonly epoch?: number
  /** Roots of what bulk loads under way have built. Default none. */
  readonly building?: Iterable<BlobId>
}

export const MAX_PROBLEMS = 1_000

interface Parent {
  readonly blob: BlobId
  /** The inner node whose children the crossings are; 0 where a crossing is itself an entry's root. */
  readonly node: number
  readonly hasPrefix: boolean
  /** Start of each entry: bytes of the path to it. Undefined: nothing leads there. */
  readonly depths: (number | undefined)[]
}

/**
 * Looks at every byte that makes up a tree, and checks each rule of the layout: every node is whole, of a known type,
 * ordered, neither too full nor too empty, lies in no other and in no free block; every frame has one parent frame,
 * its entries are children of one node there and each has one crossing; counts, sums, chains, free lists and the bound
 * of the longest key agree with what is there; every large value's frames exist, are named once, and hold the bytes
 * that its length says.
 *
 * Reports what it finds instead of throwing it; damaged bytes lead neither out of the frame nor around in circles. Uses
 * one frame at a time. Throws only what the source's `fault` throws, unless that is `HOLT_CORRUPT`.
 */
export function verifyTree(tree: VerifiableTree): VerifyReport {
  const steps = verifySteps(tree)
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}

/**
 * As {@link verifyTree}, frame by frame: yields the id of each before it looks at it, so that whoever drives it can load
 * the frame, or pause. The tree must not change until it has returned.
 */
export function* verifySteps(tree: VerifiableTree): Generator<BlobId, VerifyReport, undefined> {
  const reader = new FrameReader(tree.source)
  const problems: TreeProblem[] = []
  let problemsLeftOut = 0
  const report = (blobId: BlobId, ref: number, what: string): void => {
    if (problems.length < MAX_PROBLEMS) problems.push({ blobId, ref, what })
    else problemsLeftOut++
  }
  const verifier = new FrameVerifier(
    reader,
    tree.usableBytes ?? reader.frameBytes,
    tree.epoch ?? Number.MAX_SAFE_INTEGER,
    report,
  )
  const parents = new Map<BlobId, Parent>()
  const facts = new Map<BlobId, FrameFacts>()
  const queue: BlobId[] = [tree.rootId]
  parents.set(tree.rootId, { blob: tree.rootId, node: 0, hasPrefix: false, depths: [0] })

  const meet = (blob: BlobId, crossing: FoundCrossing): void => {
    const { ref, child, childEntry, parentNode, depth, hasPrefix } = crossing
    if (child < 1 || child > MAX_BLOB_ID) {
      report(blob, ref, `a crossing to blob ${String(child)}, which cannot exist`)
      return
    }
    const known = parents.get(child)
    if (known === undefined) {
      const depths: (number | undefined)[] = []
      depths[childEntry] = depth
      parents.set(child, { blob, node: parentNode, hasPrefix, depths })
      queue.push(child)
      return
    }
    const name = `blob ${String(child)}`
    if (child === tree.rootId) report(blob, ref, `a crossing to ${name}, which is the root`)
    else if (known.blob !== blob || known.node !== parentNode) {
      const other = `blob ${String(known.blob)}, ref ${String(known.node)}`
      report(blob, ref, `a crossing to ${name}, which is a child of ${other} already`)
    } else if (known.depths[childEntry] !== undefined)
      report(blob, ref, `a second crossing to entry ${String(childEntry)} of ${name}`)
    else if (hasPrefix || known.hasPrefix)
      report(blob, ref, `several crossings to ${name}, and one has a prefix`)
    else known.depths[childEntry] = depth
  }

  const values: LargeValue[] = []
  let entries = 0
  let nodes = 0
  let crossings = 0
  let keys = 0
  let valueBytes = 0
  for (const blob of queue) {
    const parent = parents.get(blob)
    if (parent === undefined) continue
    yield blob
    try {
      reader.enter(blob)
    } catch (error) {
      if (!isHoltError(error, 'HOLT_CORRUPT')) throw error
      report(blob, 0, `the frame, a child of blob ${String(parent.blob)}, cannot be read: ${error.message}`)
      continue
    }
    const isRoot = blob === tree.rootId
    const found = verifier.verify(blob, isRoot, parent.depths)
    facts.set(blob, found)
    const used = found.entries.filter((entry) => entry !== undefined).length
    if (parent.hasPrefix && used > 1)
      report(
        blob,
        0,
        `${String(used)} entries, though the crossing in blob ${String(parent.blob)} has a prefix`,
      )
    nodes += found.nodes
    for (const entry of found.entries) {
      if (entry === undefined) continue
      entries++
      keys += entry.keys
      valueBytes += entry.valueBytes
      crossings += entry.crossings.length
      for (const crossing of entry.crossings) meet(blob, crossing)
      for (const value of entry.largeValues) values.push({ blob, value })
    }
  }
  const valueBlobs = yield* verifyValues(reader, values, parents, report)

  const longestKeyBytes = verifyLongestKeys(queue, facts, report)
  if (longestKeyBytes > MAX_INDEX_KEY_BYTES)
    report(
      tree.rootId,
      0,
      `a key of ${String(longestKeyBytes)} bytes, at most ${String(MAX_INDEX_KEY_BYTES)} are allowed`,
    )
  const blobIds = [...queue.filter((blob) => facts.has(blob)), ...valueBlobs]
  const unlinkedBlobIds = verifyUnlinked(
    reader,
    [...(tree.unlinked?.roots() ?? []), ...(tree.building ?? [])],
    [...(tree.unlinked?.singles() ?? [])],
    new Set(blobIds),
    report,
  )
  return {
    problems,
    problemsLeftOut,
    blobIds,
    unlinkedBlobIds,
    entries,
    nodes,
    crossings,
    keys,
    valueBytes,
    longestKeyBytes,
    largeValues: values.length,
    valueFrames: valueBlobs.length,
  }
}

interface LargeValue {
  readonly blob: BlobId
  readonly value: FoundLargeValue
}

/** Looks at every frame of every large value, yielding its id before; returns those that could be read. */
function* verifyValues(
  reader: FrameReader,
  values: readonly LargeValue[],
  parents: ReadonlyMap<BlobId, Parent>,
  report: (blob: BlobId, ref: number, what: string) => void,
): Generator<BlobId, BlobId[], undefined> {
  const named = new Map<BlobId, LargeValue>()
  const readable: BlobId[] = []
  for (const large of values) {
    const { blob, value } = large
    const { ref, lengthBytes, frames } = value
    const perFrame = bytesPerFrame(lengthBytes, frames.length)
    for (const [part, id] of frames.entries()) {
      const name = `part ${String(part)} of a value lies in blob ${String(id)}, which`
      if (id < 1 || id > MAX_BLOB_ID) {
        report(blob, ref, `${name} cannot exist`)
        continue
      }
      const other = named.get(id)
      if (parents.has(id)) report(blob, ref, `${name} is a frame of nodes`)
      else if (other !== undefined)
        report(blob, ref, `${name} blob ${String(other.blob)}, ref ${String(other.value.ref)} names too`)
      if (parents.has(id) || other !== undefined) continue
      named.set(id, large)
      yield id
      try {
        reader.enter(id)
      } catch (error) {
        if (!isHoltError(error, 'HOLT_CORRUPT')) throw error
        report(blob, ref, `${name} cannot be read: ${error.message}`)
        continue
      }
      readable.push(id)
      const { base, u32 } = reader
      const dataBytes = Math.min(perFrame, lengthBytes - part * perFrame)
      const foundBytes = u32[(base + VALUE_DATA_BYTES) >>> 2]
      const foundPart = u32[(base + VALUE_PART) >>> 2]
      const endUnits = FIRST_REF + Math.ceil(dataBytes / UNIT_BYTES)
      if (u32[(base + ENTRY_COUNT) >>> 2] !== 0) report(blob, ref, `${name} is not a value frame`)
      else if (foundPart !== part) report(blob, ref, `${name} says it is part ${String(foundPart)}`)
      else if (foundBytes !== dataBytes)
        report(blob, ref, `${name} holds ${String(foundBytes)} bytes, ${String(dataBytes)} were expected`)
      else if (u32[(base + BUMP_UNITS) >>> 2] !== endUnits)
        report(blob, ref, `${name} does not have its end at unit ${String(endUnits)}`)
    }
  }
  return readable
}

/**
 * Unlinked subtrees share no frame with the tree, and none is named twice but by the crossings of one frame. What is unlinked
 * alone belongs to neither.
 */
function verifyUnlinked(
  reader: FrameReader,
  roots: Iterable<BlobId>,
  singles: Iterable<BlobId>,
  reached: ReadonlySet<BlobId>,
  report: (blob: BlobId, ref: number, what: string) => void,
): BlobId[] {
  const parentOf = new Map<BlobId, BlobId | undefined>()
  for (const root of roots) parentOf.set(root, undefined)
  for (const [blob, parent] of parentOf) {
    if (reached.has(blob)) report(blob, 0, 'unlinked, though the tree reaches it')
    try {
      reader.enter(blob)
      // A value frame leads nowhere.
      forEachBelow(reader, (child) => {
        if (!parentOf.has(child)) parentOf.set(child, blob)
        else if (parentOf.get(child) !== blob) report(child, 0, 'unlinked in more than one place')
      })
    } catch (error) {
      if (!isHoltError(error, 'HOLT_CORRUPT')) throw error
      const above = parent === undefined ? '' : `, a child of blob ${String(parent)},`
      report(blob, 0, `the unlinked frame${above} cannot be read: ${error.message}`)
    }
  }
  for (const blob of singles) {
    if (reached.has(blob)) report(blob, 0, 'unlinked alone, though the tree reaches it')
    if (parentOf.has(blob)) report(blob, 0, 'unlinked in more than one place')
    parentOf.set(blob, undefined)
  }
  return [...parentOf.keys()]
}

/** Children come behind their parents in `queue`: so backwards each frame's lengths are known before its parent asks. */
function verifyLongestKeys(
  queue: readonly BlobId[],
  facts: ReadonlyMap<BlobId, FrameFacts>,
  report: (blob: BlobId, ref: number, what: string) => void,
): number {
  const longest = new Map<BlobId, number[]>()
  let ofRoot = 0
  for (let i = queue.length - 1; i >= 0; i--) {
    const blob = queue[i]
    const found = facts.get(blob)
    if (found === undefined) continue
    const lengths: number[] = []
    found.entries.forEach((entry, number) => {
      if (entry === undefined) return
      let length = entry.longestKeyBytes
      for (const crossing of entry.crossings) {
        const below = longest.get(crossing.child)?.[crossing.childEntry] ?? 0
        length = Math.max(length, crossing.depth - entry.depth + below)
      }
      if (length > entry.maxKeyBytes) {
        const bound = String(entry.maxKeyBytes)
        report(
          blob,
          0,
          `entry ${String(number)} has a key of ${String(length)} bytes below it, its bound says ${bound}`,
        )
      }
      lengths[number] = length
    })
    longest.set(blob, lengths)
    if (i === 0) ofRoot = lengths[0] ?? 0
  }
  return ofRoot
}
