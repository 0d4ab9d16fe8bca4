import type { BlobId } from './frame.js'

/** Thrown where a frame is not in memory and the caller may not wait for it: load it, then repeat the operation whole. */
export class FrameAbsent extends Error {
  override readonly name = 'FrameAbsent'
  /** Set before each throw: one object serves all throws of a cache, so that a miss costs no stack trace. */
  id: BlobId
  /** Bytes of the frame that are wanted: [fromBytes, toBytes). `toBytes` 0: the whole frame. */
  fromBytes = 0
  toBytes = 0

  constructor(id: BlobId) {
    super('a frame is not in memory')
    this.id = id
  }
}
