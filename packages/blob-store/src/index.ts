export { MAX_NOTE_BYTES } from './blob-store.js'
export type { BlobRead, BlobStore, BlobStoreStats, BlobStoreSupport, BlobStoreWorker, BlobWrite } from './blob-store.js'
