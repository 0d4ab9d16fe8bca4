import type { FileList } from './file-list.js'
import type { FileTree } from './store.js'
import { turn } from './turn.js'

export interface IndexOptions {
  /** The first file to write; those before it are in the store already. */
  readonly fromIndex?: number
  /** How many puts may be under way before they are awaited. */
  readonly windowPuts?: number
  readonly signal?: AbortSignal
  /** Called when all files below this count are acknowledged; awaited if it returns a promise. */
  readonly onAcknowledged?: (fileCount: number) => Promise<void> | void
}

const DEFAULT_WINDOW_PUTS = 512
/** How long the event loop may wait for us. */
const SLICE_MS = 20

/**
 * Writes a list of files into the tree, one put each, a bounded number of them under way.
 * Returns how long it took, in milliseconds.
 */
export async function indexFiles(
  tree: FileTree,
  files: FileList,
  options: IndexOptions = {},
): Promise<number> {
  const startedMs = performance.now()
  let sliceEndMs = startedMs + SLICE_MS
  const windowPuts = options.windowPuts ?? DEFAULT_WINDOW_PUTS
  let index = options.fromIndex ?? 0
  while (index < files.count) {
    const windowEnd = Math.min(index + windowPuts, files.count)
    const puts: Promise<void>[] = []
    for (; index < windowEnd; index++) puts.push(tree.put(files.path(index), files.record(index)))
    await Promise.all(puts)
    await options.onAcknowledged?.(windowEnd)
    if (performance.now() >= sliceEndMs) {
      await turn()
      options.signal?.throwIfAborted()
      sliceEndMs = performance.now() + SLICE_MS
    }
  }
  return performance.now() - startedMs
}
