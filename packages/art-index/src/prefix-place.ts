import { LEAF_SPLIT, MATCH, NO_TERMINAL, PATH_ID, PREFIX_SPLIT } from './descent.js'
import { frameBase, segmentOf } from './frame-views.js'
import { nodeAt } from './node-edit.js'
import { TERMINAL } from './node-search.js'
import type { Tree } from './tree.js'

/**
 * Where the keys with a prefix are: all of them below one node, in the last frame of the descent, whose `nodes` then
 * lead to that node. A prefix may end anywhere: above a node, inside its path, or behind it.
 *
 * ```
 *   … above the node …│ path of the node │ below it
 *                     │ cutBytes │rest   │
 *   the prefix ends here ────────┘
 * ```
 */
export interface PrefixPlace {
  /** A leaf, an inner node, or a crossing with a path of its own. Never a terminal: then it is the node that has it. */
  ref: number
  /** Bytes of the keys above the node. */
  depth: number
  /** Bytes of the node's path that belong to the prefix. */
  cutBytes: number
}

/**
 * Finds the place of the first `prefixLength` bytes of the tree's key; false when no key begins with them. What it does
 * to {@link Tree.descent} is part of the answer. Throws as `Descent.run` does.
 */
export function locatePrefix(tree: Tree, prefixLength: number, place: PrefixPlace): boolean {
  const { descent, source, rootId, keyBytes, keyWords } = tree
  const outcome = descent.run(source, rootId, keyBytes, keyWords, prefixLength)
  place.ref = descent.ref
  place.depth = descent.depth
  if (outcome === LEAF_SPLIT || outcome === PREFIX_SPLIT) {
    place.cutBytes = descent.common
    return descent.depth + descent.common === prefixLength
  }
  if (outcome === MATCH) {
    const last = descent.nodeCount - 1
    if (last >= 0 && descent.nodes[last * 2 + 1] === TERMINAL) {
      descent.nodeCount = last
      place.ref = descent.nodes[last * 2]
      behindPath(tree, prefixLength, place)
    } else {
      place.cutBytes = prefixLength - descent.depth
    }
    return true
  }
  if (outcome !== NO_TERMINAL) return false
  behindPath(tree, prefixLength, place)
  return true
}

function behindPath(tree: Tree, prefixLength: number, place: PrefixPlace): void {
  const { descent, source } = tree
  const slot = source.pageTable[descent.at(descent.frames - 1, PATH_ID)]
  const word = segmentOf(source, slot).u32[nodeAt(frameBase(source, slot), place.ref)]
  place.cutBytes = word >>> 16
  place.depth = prefixLength - place.cutBytes
}
