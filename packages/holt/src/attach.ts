import { BroadcastChannel, receiveMessageOnPort, threadId } from 'node:worker_threads'
import { ArtIndex } from '@holt/art-index'
import { FrameAbsent, type BlobId } from '@holt/blob-buf-pool'
import { SegmentAbsent, SharedFramesReader } from '@holt/blob-store'
import { ERROR_CODES, HoltError, type HoltErrorCode } from '@holt/errors'
import { findTree } from './catalog.js'
import { keyCodec, type KeyEncodingName, type KeyEncodings } from './key-encoding.js'
import type { ReadEngine } from './read-engine.js'
import { ScanPages } from './scan-page.js'
import { CLOSED, type OwnerReply, type ReaderRequest, REPLIES, type SharedDb } from './share-messages.js'
import { SharedTree } from './shared-tree.js'
import { TreeReader } from './tree-reader.js'
import {
  valueCodec,
  type ValueEncoding,
  type ValueEncodingName,
  type ValueEncodings,
} from './value-encoding.js'

let nextReader = threadId * 1_000_000

/** Readers that look for their answer in vain look again after so long, whether they were woken or not. */
const LOOK_AGAIN_MS = 1_000

/** A database of another thread, for reading. Made by {@link attach}; end it with `close`. */
export class SharedReader {
  readonly #frames: SharedFramesReader
  readonly #index: ArtIndex
  readonly #engine: ReadEngine
  readonly #state: Int32Array
  readonly #channel: BroadcastChannel
  readonly #reader = nextReader++
  #ticket = 0
  #closed = false

  /** @internal Use {@link attach}. */
  constructor(shared: SharedDb) {
    this.#frames = new SharedFramesReader(shared.frames)
    const index = ArtIndex.attach(this.#frames, shared.rootId)
    this.#frames.onRoot = (id) => {
      index.followRoot(id)
    }
    this.#index = index
    this.#state = new Int32Array(shared.state)
    this.#channel = new BroadcastChannel(shared.channelName)
    this.#channel.unref()
    this.#engine = new AttachedEngine(this, this.#index)
  }

  /** The database, or this reader, was closed. */
  get closed(): boolean {
    return this.#closed || Atomics.load(this.#state, CLOSED) !== 0
  }

  /**
   * The tree of that name. Throws `HOLT_NOT_FOUND` if there is none, `HOLT_ENCODING` unless the encodings are those it was
   * made with: key encoding and, for a built-in one, value encoding may be left out.
   */
  tree<N extends KeyEncodingName = 'utf8', E extends ValueEncodingName | ValueEncoding<unknown> = 'view'>(
    name: string,
    options: { readonly keyEncoding?: N; readonly valueEncoding?: E } = {},
  ): SharedTree<
    KeyEncodings[N],
    E extends ValueEncodingName ? ValueEncodings[E] : E extends ValueEncoding<infer V> ? V : never
  > {
    const keys = keyCodec((options.keyEncoding ?? 'utf8') as N)
    const values = valueCodec<never>((options.valueEncoding ?? 'view') as ValueEncodingName)
    const record = this.read(() => findTree(this.#index, name))
    if (record === undefined) throw new HoltError('HOLT_NOT_FOUND', `there is no tree '${name}'`)
    if (record.keyEncoding !== keys.name || record.valueEncoding !== values.name) {
      throw new HoltError(
        'HOLT_ENCODING',
        `tree '${name}' was made with key encoding '${record.keyEncoding}' and value encoding '${record.valueEncoding}', not '${keys.name}' and '${values.name}'`,
      )
    }
    return new SharedTree(
      this,
      new TreeReader(this.#engine, name, record.id, keys, values, { name, dropped: false }),
    )
  }

  /** @internal Runs what only reads until it holds; see `SharedFramesReader.read`. Frames that are absent are asked for. */
  read<T>(body: () => T): T {
    for (;;) {
      this.assertOpen()
      try {
        return this.#frames.read(body)
      } catch (error) {
        if (error instanceof FrameAbsent) this.#ask(error.id)
        else if (error instanceof SegmentAbsent) this.#ask(undefined)
        else throw error
      }
    }
  }

  /** Reads nothing more. The database stays open. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#channel.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Waits, blocking, until the owner has answered. */
  #ask(id: BlobId | undefined): void {
    const ticket = ++this.#ticket
    const request: ReaderRequest = { to: 'owner', reader: this.#reader, ticket, id }
    this.#channel.postMessage(request)
    for (;;) {
      const replies = Atomics.load(this.#state, REPLIES)
      for (;;) {
        const received = receiveMessageOnPort(this.#channel as never) as
          { readonly message: OwnerReply | ReaderRequest } | undefined
        if (received === undefined) break
        const { message } = received
        if (message.to !== 'reader' || message.reader !== this.#reader || message.ticket !== ticket) continue
        this.#frames.adopt(message.slab)
        if (message.failure !== undefined) throw failureOf(message.failure)
        return
      }
      this.assertOpen()
      Atomics.wait(this.#state, REPLIES, replies, LOOK_AGAIN_MS)
    }
  }

  /** @internal */
  assertOpen(): void {
    if (this.closed) throw new HoltError('HOLT_CLOSED', 'the database was closed')
  }
}

class AttachedEngine implements ReadEngine {
  readonly index: ArtIndex
  readonly pages: ScanPages
  readonly #reader: SharedReader

  constructor(reader: SharedReader, index: ArtIndex) {
    this.#reader = reader
    this.index = index
    this.pages = new ScanPages(this)
  }

  get closed(): boolean {
    return this.#reader.closed
  }

  assertOpen(): void {
    this.#reader.assertOpen()
  }
}

/**
 * Joins a database of another thread for reading, by what its `db.share()` returned. Reads see every write that was
 * applied before they began; they wait for the owner's thread only where a frame is not in memory.
 *
 * Throws `HOLT_INVALID_ARGUMENT` for anything else, and on the owner's own thread, which reads by its own `Db`.
 */
export function attach(shared: SharedDb): SharedReader {
  const given: unknown = shared
  if (typeof given !== 'object' || given === null || !('kind' in given) || given.kind !== 'holt-shared-db')
    throw new HoltError('HOLT_INVALID_ARGUMENT', 'attach wants what db.share() has returned')
  if (shared.ownerThreadId === threadId)
    throw new HoltError('HOLT_INVALID_ARGUMENT', 'the thread that opened a database reads by its own Db')
  return new SharedReader(shared)
}

function failureOf(failure: unknown): HoltError {
  const { code, message } =
    typeof failure === 'object' && failure !== null
      ? (failure as { readonly code?: unknown; readonly message?: unknown })
      : { code: undefined, message: failure }
  const known = typeof code === 'string' && code in ERROR_CODES
  return new HoltError(known ? (code as HoltErrorCode) : 'HOLT_INTERNAL', String(message))
}
