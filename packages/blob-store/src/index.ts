export { MAX_NOTE_BYTES } from './blob-store.js'
export type {
  BackupRequest,
  BackupState,
  BlobRead,
  BlobStore,
  BlobStoreStats,
  BlobStoreSupport,
  BlobStoreWorker,
  BlobWrite,
  VacuumStep,
} from './blob-store.js'
export { BufferManager, retireFrames } from './buffer-manager.js'
export type { BufferManagerOptions, CacheStats, Cut } from './buffer-manager.js'
export { ReadConflict, SegmentAbsent, SharedFramesReader } from './shared-frames.js'
export type { SharedFrames } from './shared-frames.js'
export { CLEAN, FLUSHING, SlotTable } from './slot-table.js'
export type { SlotState } from './slot-table.js'
export { FileBlobStore } from './file-blob-store.js'
export type { FileBlobStoreOptions, FileBlobStoreWorkerData } from './file-blob-store.js'
export { checkFrame, sealFrame } from './frame-envelope.js'
export { MemoryBlobStore } from './memory-blob-store.js'
