import type { BlobId, SharedSlab } from '@holt/blob-buf-pool'
import type { SharedFrames } from '@holt/blob-store'

/** What `db.share()` returns: give it to a worker (`workerData`, `postMessage`), which calls `attach` with it. */
export interface SharedDb {
  readonly kind: 'holt-shared-db'
  readonly ownerThreadId: number
  /** Of the channel on which readers ask for frames. */
  readonly channelName: string
  /** See {@link CLOSED} and {@link REPLIES}. */
  readonly state: SharedArrayBuffer
  readonly frames: SharedFrames
  /** Of the moment of sharing; later ones are told by `frames`. */
  readonly rootId: BlobId
}

/** In `state`: 1 once the owner has closed the database. */
export const CLOSED = 0
/** In `state`: how often the owner has answered; readers sleep on it. */
export const REPLIES = 1
export const STATE_BYTES = 8

/** From a reader: have this frame loaded, or (without an id) tell how the slab has grown. */
export interface ReaderRequest {
  readonly to: 'owner'
  readonly reader: number
  readonly ticket: number
  readonly id: BlobId | undefined
}

/** From the owner. */
export interface OwnerReply {
  readonly to: 'reader'
  readonly reader: number
  readonly ticket: number
  /** The slab as it is now. */
  readonly slab: SharedSlab
  /** Why the frame could not be loaded. */
  readonly failure: unknown
}
