import type { BlobId } from '@holt/blob-buf-pool'
import type { BlobRead, BlobStore, BlobStoreStats, BlobStoreSupport, BlobWrite } from '@holt/blob-store'

/** A store in memory that notes every call and fails or waits where it is told to. */
export class ScriptedStore implements BlobStore {
  readonly supports: BlobStoreSupport
  readonly calls: string[] = []
  readonly durable = new Map<BlobId, Uint8Array>()
  #staged = new Map<BlobId, Uint8Array | undefined>()
  #note: Uint8Array | undefined
  /** By the name of the call, or by its name and what it is about: what it throws, once. */
  readonly failures = new Map<string, Error>()
  gate: Promise<void> = Promise.resolve()
  #open: () => void = () => undefined

  constructor(options: { readonly atomicFlush?: boolean } = {}) {
    this.supports = { syncReads: true, rangedReads: false, atomicFlush: options.atomicFlush ?? true }
  }

  /** Calls wait until {@link open}. */
  shut(): void {
    this.gate = new Promise((resolve) => {
      this.#open = resolve
    })
  }
  open(): void {
    this.#open()
    this.gate = Promise.resolve()
  }

  async #call(name: string, label = name): Promise<void> {
    this.calls.push(label)
    await this.gate
    for (const key of [name, label]) {
      const failure = this.failures.get(key)
      this.failures.delete(key)
      if (failure !== undefined) throw failure
    }
  }
  readSync(id: BlobId, into: Uint8Array): void {
    into.set(this.durable.get(id) ?? new Uint8Array(into.length))
  }
  read(id: BlobId, into: Uint8Array): Promise<void> {
    this.readSync(id, into)
    return Promise.resolve()
  }
  async readMany(reads: readonly BlobRead[]): Promise<void> {
    for (const { id, into } of reads) await this.read(id, into)
  }
  readRange(): Promise<void> {
    return Promise.reject(new Error('no ranged reads'))
  }
  readRangeSync(): void {
    throw new Error('no ranged reads')
  }
  write(id: BlobId, frame: Uint8Array): Promise<void> {
    return this.writeMany([{ id, frame }])
  }
  async writeMany(writes: readonly BlobWrite[]): Promise<void> {
    await this.#call('writeMany', `writeMany ${writes.map(({ id }) => id).join(',')}`)
    for (const { id, frame } of writes) this.#staged.set(id, frame.slice())
  }
  async delete(id: BlobId): Promise<void> {
    await this.#call('delete', `delete ${String(id)}`)
    this.#staged.set(id, undefined)
  }
  async flush(note: Uint8Array): Promise<void> {
    const staged = this.#staged
    this.#staged = new Map()
    await this.#call('flush', `flush ${String(note[0])}`)
    for (const [id, frame] of staged) {
      if (frame === undefined) this.durable.delete(id)
      else this.durable.set(id, frame)
    }
    this.#note = note
  }
  has(id: BlobId): boolean {
    return this.durable.has(id)
  }
  list(): BlobId[] {
    return [...this.durable.keys()]
  }
  note(): Uint8Array | undefined {
    return this.#note
  }
  get needsFlush(): boolean {
    return this.#staged.size > 0
  }
  stats(): BlobStoreStats {
    return { blobs: this.durable.size, files: [] }
  }
  close(): Promise<void> {
    return Promise.resolve()
  }
}
