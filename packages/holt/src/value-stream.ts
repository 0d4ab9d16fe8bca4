import { type BlobId, FrameAbsent } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import type { ArtIndex } from '@holt/art-index'
import type { BufferManager } from '@holt/blob-store'

/** What a stream needs of an engine. */
export interface StreamEngine {
  readonly index: ArtIndex
  readonly frames: BufferManager
  /** Throws `HOLT_CLOSED` once the database was closed. */
  assertOpen(): void
}

/**
 * The value of a key (with its tree's id), part by part. Between two steps nothing is pinned: each finds the key again
 * and compares versions, so that all parts are of one value or the walk ends with `HOLT_BUSY`.
 */
export async function* streamValue(
  engine: StreamEngine,
  key: Uint8Array,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { index } = engine
  let version: number | undefined
  let length = 0
  let at = 0
  const nextPart = (): Uint8Array => {
    index.key.set(key)
    const isThere = index.find(key.length)
    if (version === undefined) {
      if (!isThere) throw new HoltError('HOLT_NOT_FOUND', 'there is no value at the key to be read')
      version = index.foundVersion
      length = index.foundLength
    } else if (!isThere || index.foundVersion !== version) {
      throw new HoltError(
        'HOLT_BUSY',
        `the value was overwritten, deleted or moved while it was read (${String(at)} of ${String(length)} bytes); begin again`,
      )
    }
    const partBytes = index.foundPartBytes
    const part = new Uint8Array(Math.min(partBytes - (at % partBytes), length - at))
    index.readFound(part, 0, at, part.length)
    return part
  }
  do {
    engine.assertOpen()
    const part = await withFramesLoaded(engine, nextPart)
    at += part.length
    if (part.length > 0) yield part
  } while (at < length)
}

/** Runs a read, loading without blocking what it misses. What was loaded stays until the read is done. */
async function withFramesLoaded<T>(engine: StreamEngine, read: () => T): Promise<T> {
  const { frames } = engine
  const pinned: BlobId[] = []
  try {
    for (;;) {
      let missing: BlobId
      frames.mayBlock = false
      try {
        return read()
      } catch (error) {
        if (!(error instanceof FrameAbsent)) throw error
        missing = error.id
      } finally {
        frames.mayBlock = true
      }
      await frames.load(missing)
      pinned.push(missing)
      engine.assertOpen()
    }
  } finally {
    for (const id of pinned) frames.unpin(id)
  }
}
