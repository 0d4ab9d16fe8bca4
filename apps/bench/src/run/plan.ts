import type { WorkloadName } from '../workloads/workload.js'

/** How much is measured. */
export interface Plan {
  readonly workload: WorkloadName
  /** Where the workload of real paths looks for files. */
  readonly root: string
  readonly keyCount: number
  readonly rounds: number
  readonly turnMs: number
  readonly stallMs: number
  /** Only these operations; the rest that is measured besides operations is left out then. */
  readonly only?: readonly string[]
  readonly stores: readonly string[]
  /** Parent of the temporary directories. */
  readonly directory?: string
  /** Engines with a cache of their own get so much, which all keys fit into. */
  readonly cacheBytes: number
}

const LEAST_CACHE_BYTES = 256 * 2 ** 20
/** Of cache a key takes, with room for a tree that is not full. */
const CACHE_BYTES_PER_KEY = 512

export function cacheBytesFor(keyCount: number): number {
  return Math.max(LEAST_CACHE_BYTES, keyCount * CACHE_BYTES_PER_KEY)
}
