import { HoltError } from '@holt/errors'
import type { Io } from '@holt/uring-native'
import type { BlobStore } from './blob-store.js'
import { FileBlobStore, type FileBlobStoreWorkerData } from './file-blob-store.js'

/**
 * Opens the writing instance of a store, on a thread of its own: what a {@link FileBlobStore} names as its `worker`.
 * The instance that it came from has judged the directory already; from the first mutation on it only reads.
 */
export async function openBlobStore(data: unknown, io: Io): Promise<BlobStore> {
  if (!isWorkerData(data)) {
    throw new HoltError('HOLT_INVALID_ARGUMENT', 'this is not what a FileBlobStore hands to its worker')
  }
  const { directory, mapping, direct } = data
  return FileBlobStore.open({
    io,
    directory,
    mapping,
    direct,
    mayBlock: true,
    createIfMissing: true,
    isOwnName: () => true,
  })
}

function isWorkerData(data: unknown): data is FileBlobStoreWorkerData {
  return (
    typeof data === 'object' &&
    data !== null &&
    'directory' in data &&
    typeof data.directory === 'string' &&
    'mapping' in data &&
    data.mapping instanceof SharedArrayBuffer &&
    'direct' in data &&
    typeof data.direct === 'boolean'
  )
}
