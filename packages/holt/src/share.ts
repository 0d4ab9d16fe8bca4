import { randomUUID } from 'node:crypto'
import { BroadcastChannel, threadId } from 'node:worker_threads'
import { HoltError } from '@holt/errors'
import type { Engine } from './engine.js'
import {
  CLOSED,
  type OwnerReply,
  type ReaderRequest,
  REPLIES,
  type SharedDb,
  STATE_BYTES,
} from './share-messages.js'

/**
 * The owner's side of reading threads: tells them where the frames are, and loads those that they miss. Keeps nothing
 * alive, and holds nothing for a reader but the pin of a frame for one turn, so a reader may end at any moment.
 */
export class ShareDesk {
  readonly #shared: SharedDb
  readonly #engine: Engine
  readonly #state: Int32Array
  readonly #channel: BroadcastChannel

  constructor(engine: Engine) {
    if (process.arch !== 'x64') {
      throw new HoltError(
        'HOLT_UNSUPPORTED',
        `reading from several threads is tested on x64 only; this is ${process.arch}`,
      )
    }
    this.#engine = engine
    const state = new SharedArrayBuffer(STATE_BYTES)
    this.#state = new Int32Array(state)
    const channelName = `holt-${randomUUID()}`
    this.#channel = new BroadcastChannel(channelName)
    this.#channel.onmessage = (event) => {
      const request = (event as { readonly data: ReaderRequest | OwnerReply }).data
      if (request.to === 'owner') void this.#answer(request)
    }
    this.#channel.unref()
    this.#shared = {
      kind: 'holt-shared-db',
      ownerThreadId: threadId,
      channelName,
      state,
      frames: engine.frames.share(),
      rootId: engine.index.rootId,
    }
  }

  /** With the slab as it is now. */
  shared(): SharedDb {
    return { ...this.#shared, frames: this.#engine.frames.share() }
  }

  /** Readers get `HOLT_CLOSED` from now on. */
  close(): void {
    Atomics.store(this.#state, CLOSED, 1)
    this.#wakeReaders()
    this.#channel.close()
  }

  async #answer({ reader, ticket, id }: ReaderRequest): Promise<void> {
    const { frames } = this.#engine
    let failure: unknown
    if (id !== undefined) {
      try {
        await frames.load(id)
        // Time to look at it, in a cache that turns over fast.
        setImmediate(() => {
          frames.unpin(id)
        })
      } catch (error) {
        failure = error instanceof HoltError ? { code: error.code, message: error.message } : String(error)
      }
    }
    if (Atomics.load(this.#state, CLOSED) !== 0) return
    const reply: OwnerReply = { to: 'reader', reader, ticket, slab: frames.share().slab, failure }
    this.#channel.postMessage(reply)
    this.#wakeReaders()
  }

  #wakeReaders(): void {
    Atomics.add(this.#state, REPLIES, 1)
    Atomics.notify(this.#state, REPLIES)
  }
}
