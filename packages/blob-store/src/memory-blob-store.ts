import { type BlobId, MAX_BLOB_ID, PAGE_BYTES, usedPages } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import type { BlobRead, BlobStore, BlobStoreStats, BlobStoreSupport, BlobWrite } from './blob-store.js'
import { sealFrame } from './frame-envelope.js'
import { OneAtATime } from './one-at-a-time.js'
import { assertBlobId, assertFrameBytes, assertNote, assertRange, lastOfEach } from './store-arguments.js'

/** What the last completed flush made. Never changed, only replaced. */
interface Image {
  readonly frames: ReadonlyMap<BlobId, Uint8Array>
  readonly note: Uint8Array | undefined
}

/**
 * Keeps frames in ordinary memory, under the same contract as a store on disk: staged until flushed, and
 * {@link reopen} shows what a crash would leave.
 */
export class MemoryBlobStore implements BlobStore {
  readonly supports: BlobStoreSupport = { syncReads: true, rangedReads: true, atomicFlush: true }
  readonly #queue = new OneAtATime()
  /** Of each frame the pages in use. */
  readonly #staged = new Map<BlobId, Uint8Array | 'deleted'>()
  #image: Image = { frames: new Map(), note: undefined }
  #closed = false

  /** Another store with the state of this one's last completed flush; both go their own ways from there. */
  reopen(): MemoryBlobStore {
    const store = new MemoryBlobStore()
    store.#image = this.#image
    return store
  }

  // ---- reading -------------------------------------------------------------------------------------------------

  #frameOf(id: BlobId): Uint8Array {
    this.#assertOpen()
    const staged = this.#staged.get(id)
    const frame = staged === 'deleted' ? undefined : (staged ?? this.#image.frames.get(id))
    if (frame === undefined) throw new HoltError('HOLT_NOT_FOUND', `no blob ${String(id)} in memory`)
    return frame
  }

  readSync(id: BlobId, into: Uint8Array): void {
    assertFrameBytes(into)
    into.set(this.#frameOf(id))
  }

  async read(id: BlobId, into: Uint8Array): Promise<void> {
    this.readSync(id, into)
  }

  async readMany(reads: readonly BlobRead[]): Promise<void> {
    for (const { into } of reads) assertFrameBytes(into)
    const results = await Promise.allSettled(reads.map(({ id, into }) => this.read(id, into)))
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  readRangeSync(id: BlobId, offsetBytes: number, into: Uint8Array, header?: Uint8Array): void {
    assertRange(offsetBytes, into)
    const frame = this.#frameOf(id)
    if (header !== undefined && Buffer.compare(header, frame.subarray(0, PAGE_BYTES)) !== 0) {
      throw new HoltError('HOLT_BUSY', `blob ${String(id)} was written anew since its first page was read`)
    }
    const stored = frame.subarray(offsetBytes, offsetBytes + into.byteLength)
    into.set(stored)
    into.fill(0, stored.length)
  }

  async readRange(id: BlobId, offsetBytes: number, into: Uint8Array, header?: Uint8Array): Promise<void> {
    this.readRangeSync(id, offsetBytes, into, header)
  }

  has(id: BlobId): boolean {
    this.#assertOpen()
    const staged = this.#staged.get(id)
    return staged === undefined ? this.#image.frames.has(id) : staged !== 'deleted'
  }

  list(): BlobId[] {
    this.#assertOpen()
    const ids = [...this.#image.frames.keys(), ...this.#staged.keys()].filter((id) => this.has(id))
    return [...new Set(ids)].sort((a, b) => a - b)
  }

  note(): Uint8Array | undefined {
    return this.#image.note?.slice()
  }

  get needsFlush(): boolean {
    return this.#staged.size > 0
  }

  stats(): BlobStoreStats {
    return { blobs: this.list().length, files: [] }
  }

  // ---- writing -------------------------------------------------------------------------------------------------

  write(id: BlobId, frame: Uint8Array): Promise<void> {
    return this.writeMany([{ id, frame }])
  }

  async writeMany(writes: readonly BlobWrite[]): Promise<void> {
    const frames = lastOfEach(writes, MAX_BLOB_ID + 1)
    await this.#mutate(() => {
      for (const [id, frame] of frames) {
        sealFrame(frame, id)
        this.#staged.set(id, Uint8Array.from(frame.subarray(0, usedPages(frame) * PAGE_BYTES)))
      }
    })
  }

  async delete(id: BlobId): Promise<void> {
    assertBlobId(id, MAX_BLOB_ID + 1)
    await this.#mutate(() => {
      if (this.#image.frames.has(id)) this.#staged.set(id, 'deleted')
      else this.#staged.delete(id)
    })
  }

  async flush(note: Uint8Array): Promise<void> {
    assertNote(note)
    const kept = new Uint8Array(note)
    await this.#mutate(() => {
      const frames = new Map(this.#image.frames)
      for (const [id, staged] of this.#staged) {
        if (staged === 'deleted') frames.delete(id)
        else frames.set(id, staged)
      }
      this.#image = { frames, note: kept }
      this.#staged.clear()
    })
  }

  async #mutate(work: () => void): Promise<void> {
    await this.#queue.run(() => {
      this.#assertOpen()
      work()
      return Promise.resolve()
    })
  }

  async close(): Promise<void> {
    if (this.#closed) return
    await this.#queue.run(() => {
      this.#closed = true
      this.#staged.clear()
      return Promise.resolve()
    })
  }

  #assertOpen(): void {
    if (this.#closed) throw new HoltError('HOLT_CLOSED', 'the blob store in memory was closed')
  }
}
