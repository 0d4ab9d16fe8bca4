import type { FileList } from './file-list.js'
import type { FileTree } from './store.js'

export interface Verification {
  /** Files of the range whose entry is absent or holds other bytes. */
  readonly wrongCount: number
  /** The first of them, for the report. */
  readonly firstWrong: string | undefined
}

/** Compares the entries of the files `[fromIndex, toIndex)` with what the walk saw, byte for byte. */
export function verifyFiles(
  tree: FileTree,
  files: FileList,
  fromIndex: number,
  toIndex: number,
): Verification {
  let wrongCount = 0
  let firstWrong: string | undefined
  for (let index = fromIndex; index < toIndex; index++) {
    const stored = tree.get(files.path(index))
    if (stored !== undefined && files.record(index).equals(stored)) continue
    wrongCount++
    firstWrong ??= files.path(index).toString()
  }
  return { wrongCount, firstWrong }
}

/** How many entries the tree has, by reading all of them. */
export function countEntries(tree: FileTree): number {
  let count = 0
  for (const _key of tree.keys()) count++
  return count
}
