import { setTimeout } from 'node:timers/promises'
import { getHeapStatistics } from 'node:v8'

const COLLECTIONS = 5
const PAUSE_MS = 100

/**
 * What this process holds in memory, in bytes: of the heap of JavaScript what is alive, and all else as the system
 * counts it. A plain reading of the resident set would count what the collector gives back meanwhile of the benchmark's own
 * keys as memory that an engine saved.
 */
export async function residentBytes(): Promise<number> {
  for (let round = 0; round < COLLECTIONS; round++) {
    globalThis.gc?.()
    await setTimeout(PAUSE_MS)
  }
  const { total_physical_size: heapBytes, used_heap_size: aliveBytes } = getHeapStatistics()
  return process.memoryUsage.rss() - heapBytes + aliveBytes
}
