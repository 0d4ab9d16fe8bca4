import type { CacheStats, BlobStoreStats } from '@holt/blob-store'
import type { CheckpointStats } from '@holt/checkpointer'
import type { JournalStats } from '@holt/journal'
import type { IoCounters, IoKind } from '@holt/uring-native'
import type { BackgroundCompactionStats } from './background-compaction.js'
import type { Durability } from './durability.js'
import type { ReclaimStats } from './reclaimer.js'
import type { ViewStats } from './open-views.js'
import type { RecoveryStats } from './recovery.js'

/** How a database stands. Cheap: reads counters, visits no frame. */
export interface DbStats {
  readonly durability: Durability
  readonly io: {
    readonly kind: IoKind
    /** Why it is not io_uring, in one line; `undefined` when it is, or was not wanted. */
    readonly fallbackReason: string | undefined
    readonly counters: IoCounters
  }
  readonly writes: {
    readonly seq: number
    readonly waiting: number
    readonly waitingBytes: number
  }
  readonly cache: CacheStats
  readonly lookups: {
    /** Keys that were not there, by the filter of a frame that was read page by page: no node of it was read for them. */
    readonly filtered: number
  }
  readonly store: BlobStoreStats
  /** Giving back the frames that whole subtrees have left. */
  readonly reclaim: ReclaimStats
  /** Merging, unasked, what deletes have left half empty. */
  readonly compaction: BackgroundCompactionStats
  readonly views: ViewStats
  /** Absent without a journal. */
  readonly journal: JournalStats | undefined
  /** Absent in a database that lives in memory only. */
  readonly checkpoint: CheckpointStats | undefined
  readonly recovery: RecoveryStats | undefined
}
