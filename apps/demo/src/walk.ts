import { type Dirent, lstatSync, readdirSync } from 'node:fs'
import { resolve } from 'node:path'

import { FileList } from './file-list.js'
import { turn } from './turn.js'

export interface WalkResult {
  readonly files: FileList
  readonly directoryCount: number
  /** Entries that vanished meanwhile or that we may not read. */
  readonly unreadableCount: number
  readonly elapsedMs: number
}

export interface WalkOptions {
  readonly signal?: AbortSignal
  /** Called now and then with the number of files found so far. */
  readonly onProgress?: (fileCount: number) => void
}

const SLASH = Buffer.from('/')
/** How long the event loop may wait for us. */
const SLICE_MS = 30
/** What is somebody else's business: gone meanwhile, not ours to read, a loop or a name the system itself cannot take. */
const TOLERATED = new Set(['ENOENT', 'EACCES', 'EPERM', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'EIO', 'EINVAL'])

/**
 * Finds all that is not a directory below `root`, each with its `lstat`. Symbolic links are entries, never followed; other
 * mounted file systems are not entered. The order is that of the file system.
 *
 * Throws what `lstat` throws if `root` itself cannot be read, and the signal's reason when aborted.
 */
export async function walk(root: string, options: WalkOptions = {}): Promise<WalkResult> {
  const startedMs = performance.now()
  const rootPath = Buffer.from(resolve(root))
  const rootStat = lstatSync(rootPath)
  if (!rootStat.isDirectory()) throw new Error(`${root} is not a directory`)

  const files = new FileList()
  const waiting: Buffer[] = [rootPath]
  let directoryCount = 0
  let unreadableCount = 0
  let sliceEndMs = startedMs + SLICE_MS

  for (let directory = waiting.pop(); directory !== undefined; directory = waiting.pop()) {
    directoryCount++
    const entries = tolerate(() => readdirSync(directory, { withFileTypes: true, encoding: 'buffer' }))
    if (entries === undefined) {
      unreadableCount++
      continue
    }
    for (const entry of entries as unknown as readonly Dirent<Buffer>[]) {
      const path = join(directory, entry.name)
      const stat = tolerate(() => lstatSync(path))
      if (stat === undefined) unreadableCount++
      else if (!stat.isDirectory()) files.add(withoutLeadingSlash(path), stat)
      else if (stat.dev === rootStat.dev) waiting.push(path)
    }
    if (performance.now() >= sliceEndMs) {
      options.onProgress?.(files.count)
      await turn()
      options.signal?.throwIfAborted()
      sliceEndMs = performance.now() + SLICE_MS
    }
  }
  return { files, directoryCount, unreadableCount, elapsedMs: performance.now() - startedMs }
}

function join(directory: Buffer, name: Buffer): Buffer {
  const isRoot = directory.byteLength === 1
  return isRoot ? Buffer.concat([directory, name]) : Buffer.concat([directory, SLASH, name])
}

function withoutLeadingSlash(path: Buffer): Buffer {
  return path[0] === SLASH[0] ? path.subarray(1) : path
}

function tolerate<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch (error) {
    if (error instanceof Error && 'code' in error && TOLERATED.has(String(error.code))) return undefined
    throw error
  }
}
