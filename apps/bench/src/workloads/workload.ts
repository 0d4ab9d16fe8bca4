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
export function makeWorkload({ name, keyCount, root }: WorkloadRequest): Workload {
  const absentCount = Math.min(ABSENT_KEYS, keyCount)
  switch (name) {
    case 'objstore':
      return { name, ...objectStoreKeys(keyCount, absentCount) }
    case 'fs':
      return { name, ...fileSystemKeys(keyCount, absentCount) }
    case 'kv':
      return { name, ...randomKeys(keyCount, absentCount) }
    case 'paths':
      return { name, ...realPaths(root, keyCount, absentCount) }
  }
}

export type WorkloadKeys = Omit<Workload, 'name'>
