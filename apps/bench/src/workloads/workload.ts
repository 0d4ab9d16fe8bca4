import { fileSystemKeys } from './file-system.js'
import { objectStoreKeys } from './object-store.js'
import { randomKeys } from './random-keys.js'
import { realPaths } from './real-paths.js'

/** What the stores are filled with and asked for. All of it is the same at each run. */
export interface Workload {
  readonly name: WorkloadName
  /** No two alike, in no particular order. */
  readonly keys: readonly string[]
  /** Keys that are not there and look like those that are. */
  readonly absent: readonly string[]
  /** Prefixes with about eight entries directly below; empty where keys have no directories. */
  readonly directories: readonly string[]
}

export const WORKLOAD_NAMES = ['objstore', 'fs', 'kv', 'paths'] as const
export type WorkloadName = (typeof WORKLOAD_NAMES)[number]

export interface WorkloadRequest {
  readonly name: WorkloadName
  readonly keyCount: number
  /** Where `paths` looks for files. */
  readonly root: string
}

/** Names that are asked for in vain, and names for what comes and goes. */
const ABSENT_KEYS = 65_536

/** Makes a workload. `paths` may come with fewer keys than were asked for: there are as many as the machine has. */
export function makeWorkload(request: WorkloadRequest): Workload {
  const { keys, absent, directories } = workloadKeys(request)
  return { name: request.name, keys: keys.map(inOnePiece), absent: absent.map(inOnePiece), directories }
}

function workloadKeys({ name, keyCount, root }: WorkloadRequest): WorkloadKeys {
  const absentCount = Math.min(ABSENT_KEYS, keyCount)
  switch (name) {
    case 'objstore':
      return objectStoreKeys(keyCount, absentCount)
    case 'fs':
      return fileSystemKeys(keyCount, absentCount)
    case 'kv':
      return randomKeys(keyCount, absentCount)
    case 'paths':
      return realPaths(root, keyCount, absentCount)
  }
}

/**
 * The same text as a string whose characters lie together, as a key has them that was read or received. One that was
 * joined from pieces is a tree of them until somebody reads it, and the first engine to do so would be timed putting it
 * together: of half a million keys in random order that takes longer than to store them.
 */
function inOnePiece(key: string): string {
  return Buffer.from(key).toString()
}

export type WorkloadKeys = Omit<Workload, 'name'>
