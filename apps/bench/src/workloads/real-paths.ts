import { isUtf8 } from 'node:buffer'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

import type { WorkloadKeys } from './workload.js'

/** How many entries a directory has that is listed: about eight, as in the other workloads. */
const LEAST_ENTRIES = 6
const MOST_ENTRIES = 10
/** What every engine takes as a key. */
const MOST_KEY_BYTES = 1_024

/** The files below a directory of this machine, breadth first, without following links; names that are no UTF-8 are left out. */
export function realPaths(root: string, keyCount: number, absentCount: number): WorkloadKeys {
  const keys: string[] = []
  const directories: string[] = []
  let waiting: readonly string[] = ['']
  while (waiting.length > 0 && keys.length < keyCount) {
    const next: string[] = []
    for (const directory of waiting) {
      let entryCount = 0
      for (const { name, isDirectory } of entriesOf(join(root, directory))) {
        const path = directory + name
        entryCount++
        if (isDirectory) next.push(`${path}/`)
        else if (keys.length < keyCount && Buffer.byteLength(path) <= MOST_KEY_BYTES) keys.push(path)
      }
      if (entryCount >= LEAST_ENTRIES && entryCount <= MOST_ENTRIES) directories.push(directory)
      if (keys.length >= keyCount) break
    }
    waiting = next
  }
  if (keys.length === 0) throw new Error(`there are no files below ${root}`)
  const absent = keys.slice(0, absentCount).map((key) => `${key}.absent`)
  const taken = new Set(keys)
  return {
    keys,
    absent: absent.filter((key) => !taken.has(key)),
    directories,
  }
}

function entriesOf(directory: string): { readonly name: string; readonly isDirectory: boolean }[] {
  try {
    return readdirSync(directory, { withFileTypes: true, encoding: 'buffer' })
      .filter((entry) => isUtf8(entry.name) && (entry.isDirectory() || entry.isFile()))
      .map((entry) => ({ name: entry.name.toString(), isDirectory: entry.isDirectory() }))
      .sort((left, right) => (left.name < right.name ? -1 : 1))
  } catch (error) {
    // Not ours to read, or gone meanwhile.
    if (error instanceof Error && 'code' in error && /^(?:EACCES|EPERM|ENOENT)$/.test(String(error.code)))
      return []
    throw error
  }
}
