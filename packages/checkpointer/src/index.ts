export { BoundedQueue } from './bounded-queue.js'
export { Checkpointer, FAILURE_PATIENCE_MS, STALL_MS } from './checkpointer.js'
export type {
  CheckpointerOptions,
  CheckpointEvent,
  CheckpointStats,
  CheckpointTriggers,
} from './checkpointer.js'
export type { Epoch, EpochReport, EpochWorker } from './epoch.js'
export { EpochPipeline } from './epoch-pipeline.js'
export type { EpochPipelineOptions, EpochUnderWay } from './epoch-pipeline.js'
export { DEFAULT_QUEUE_CAPACITY, EpochCommitter, GATHER_MS, MAX_GROUP_EPOCHS } from './epoch-committer.js'
export type { EpochCommitterOptions } from './epoch-committer.js'
export { ThreadEpochWorker } from './thread-worker.js'
export type { ThreadWorkerOptions } from './thread-worker.js'
