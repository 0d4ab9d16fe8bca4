import { spawnSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

const BLOCK_BYTES = 512

/** All files below a directory. */
export function filesBelow(directory: string): readonly string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name)
    return entry.isDirectory() ? filesBelow(path) : [path]
  })
}

/** What the file system has allocated for everything below a directory. */
export function allocatedBytes(directory: string): number {
  return filesBelow(directory).reduce((sum, path) => sum + statSync(path).blocks * BLOCK_BYTES, 0)
}

/**
 * Takes files out of the system's cache, by posix_fadvise(POSIX_FADV_DONTNEED), which Node does not have: dd asks for it
 * when it copies nothing with `nocache`. Returns why it did not work.
 */
export function evictFiles(directory: string): string | undefined {
  for (const path of filesBelow(directory)) {
    const args = [`of=${path}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0']
    const { status, error, stderr } = spawnSync('dd', args, { encoding: 'utf8' })
    if (error !== undefined) return error.message
    if (status !== 0) return stderr.trim().split('\n')[0]
  }
  return undefined
}
