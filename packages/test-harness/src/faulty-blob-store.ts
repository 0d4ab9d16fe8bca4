import { FRAME_BYTES, MAX_BLOB_ID, PAGE_BYTES, usedPages } from '@holt/blob-buf-pool'
import type { BlobId } from '@holt/blob-buf-pool'
import type { BlobRead, BlobStore, BlobStoreStats, BlobStoreSupport, BlobWrite } from '@holt/blob-store'
import { HoltError, isHoltError } from '@holt/errors'
import type { HoltErrorCode } from '@holt/errors'

import { SeededRandom } from './seeded-random.js'

/** What rules can meet. A `writeMany` is one write a frame, a `readMany` one read a frame. */
export type BlobOperation = 'read' | 'write' | 'delete' | 'flush'

/**
 * What happens to a call that a rule meets:
 * - `fail`: it does nothing and rejects.
 * - `fail-late`: it is done, and rejects all the same. Not for `flush`, whose contract has no such outcome.
 * - `delay`: it waits for so many turns of the event loop first.
 * - `block`: it waits until {@link FaultyBlobStore.release}.
 * - `shorten`: a read stops half-way with `HOLT_SHORT_TRANSFER`.
 * - `tear`: a write stores the first half of what the new frame uses over the rest of the old one, and succeeds.
 */
export type BlobFaultAction = 'fail' | 'fail-late' | 'delay' | 'block' | 'shorten' | 'tear'

export interface BlobFaultRule {
  readonly operation: BlobOperation | 'any'
  readonly action: BlobFaultAction
  readonly id?: BlobId
  /** The first matching call it meets, from 1. Default 1. */
  readonly nth?: number
  /** How many from there on. Default 1; `Infinity` for good. */
  readonly times?: number
  /** Of those, each is met only with this probability, by the seed. */
  readonly probability?: number
  /** Of the error. Default `HOLT_IO`; `HOLT_NO_SPACE` is a full disk. */
  readonly code?: HoltErrorCode
  /** Default `EIO`, or `ENOSPC` for `HOLT_NO_SPACE`. */
  readonly errno?: string
  /** Of `delay`. Default 3. */
  readonly turns?: number
}

export interface BlobCallCounts {
  readonly reads: number
  readonly writes: number
  readonly deletes: number
  readonly flushes: number
  /** Faults that happened. */
  readonly faults: number
}

/**
 * A store around any other that fails by rule. Without rules it behaves as the one within. It keeps the contract when
 * it fails: a `writeMany` that fails stages nothing, and after a failed `flush` what was staged is dropped, for which
 * it keeps the former images of staged frames.
 */
export class FaultyBlobStore implements BlobStore {
  readonly supports: BlobStoreSupport
  readonly #inner: BlobStore
  readonly #random: SeededRandom
  #rules: { readonly rule: BlobFaultRule; matched: number }[] = []
  #blocked: (() => void)[] = []
  /** What each staged blob was at the last flush; null: it was not there. */
  readonly #former = new Map<BlobId, Uint8Array | null>()
  readonly #counts = { reads: 0, writes: 0, deletes: 0, flushes: 0, faults: 0 }

  constructor(inner: BlobStore, options: { readonly seed?: number } = {}) {
    this.#inner = inner
    this.supports = inner.supports
    this.#random = new SeededRandom(options.seed ?? 1)
  }

  /** Adds a rule and returns what takes it away. */
  add(rule: BlobFaultRule): () => void {
    const entry = { rule, matched: 0 }
    this.#rules.push(entry)
    return () => {
      this.#rules = this.#rules.filter((other) => other !== entry)
    }
  }

  clear(): void {
    this.#rules = []
  }

  get counts(): BlobCallCounts {
    return { ...this.#counts }
  }
  /** Calls that wait for {@link release}. */
  get blockedCalls(): number {
    return this.#blocked.length
  }

  /** Lets blocked calls go on. */
  release(): void {
    for (const resume of this.#blocked.splice(0)) resume()
  }

  // ---- reading -------------------------------------------------------------------------------------------------

  async read(id: BlobId, into: Uint8Array): Promise<void> {
    this.#counts.reads++
    const fault = await this.#meet('read', id)
    if (fault?.action === 'shorten') throw await this.#shortened(id, into, () => this.#inner.read(id, into))
    await this.#inner.read(id, into)
    if (fault?.action === 'fail-late') throw errorOf(fault, 'read', id)
  }

  async readMany(reads: readonly BlobRead[]): Promise<void> {
    const errors: unknown[] = []
    await Promise.all(
      reads.map(({ id, into }) => this.read(id, into).catch((error: unknown) => errors.push(error))),
    )
    if (errors.length > 0) throw errors[0]
  }

  async readRange(id: BlobId, offsetBytes: number, into: Uint8Array, header?: Uint8Array): Promise<void> {
    this.#counts.reads++
    const fault = await this.#meet('read', id)
    const read = (): Promise<void> => this.#inner.readRange(id, offsetBytes, into, header)
    if (fault?.action === 'shorten') throw await this.#shortened(id, into, read)
    await read()
    if (fault?.action === 'fail-late') throw errorOf(fault, 'read', id)
  }

  /** Cannot wait: `delay` and `block` do not apply. */
  readSync(id: BlobId, into: Uint8Array): void {
    this.#readSync(id, into, () => {
      this.#inner.readSync(id, into)
    })
  }

  /** As {@link readSync}. */
  readRangeSync(id: BlobId, offsetBytes: number, into: Uint8Array, header?: Uint8Array): void {
    this.#readSync(id, into, () => {
      this.#inner.readRangeSync(id, offsetBytes, into, header)
    })
  }

  #readSync(id: BlobId, into: Uint8Array, read: () => void): void {
    this.#counts.reads++
    const fault = this.#decide('read', id)
    if (fault?.action === 'fail') throw errorOf(fault, 'read', id)
    read()
    if (fault?.action === 'shorten') {
      into.fill(0, into.length / 2)
      throw shortTransfer(id)
    }
    if (fault?.action === 'fail-late') throw errorOf(fault, 'read', id)
  }

  async #shortened(id: BlobId, into: Uint8Array, read: () => Promise<void>): Promise<HoltError> {
    await read()
    into.fill(0, into.length / 2)
    return shortTransfer(id)
  }

  // ---- writing -------------------------------------------------------------------------------------------------

  async write(id: BlobId, frame: Uint8Array): Promise<void> {
    await this.writeMany([{ id, frame }])
  }

  async writeMany(writes: readonly BlobWrite[]): Promise<void> {
    const torn = new Set<number>()
    let late: BlobFaultRule | undefined
    for (const [index, { id }] of writes.entries()) {
      this.#counts.writes++
      const fault = await this.#meet('write', id)
      if (fault?.action === 'tear') torn.add(index)
      if (fault?.action === 'fail-late') late ??= fault
    }
    for (const { id } of writes) await this.#remember(id)
    if (torn.size === 0) {
      await this.#inner.writeMany(writes)
    } else {
      const parts = await Promise.all(
        writes.map(async (write, index) => (torn.has(index) ? this.#torn(write) : write)),
      )
      await this.#inner.writeMany(parts)
    }
    if (late) throw errorOf(late, 'write', writes[0]?.id)
  }

  async #torn({ id, frame }: BlobWrite): Promise<BlobWrite> {
    const mixed = new Uint8Array(frame.length)
    if (this.#inner.has(id)) await this.#inner.read(id, mixed)
    mixed.set(frame.subarray(0, (usedPages(frame) * PAGE_BYTES) / 2))
    return { id, frame: mixed }
  }

  async delete(id: BlobId): Promise<void> {
    this.#counts.deletes++
    const fault = await this.#meet('delete', id)
    await this.#remember(id)
    await this.#inner.delete(id)
    if (fault?.action === 'fail-late') throw errorOf(fault, 'delete', id)
  }

  async #remember(id: BlobId): Promise<void> {
    if (this.#former.has(id) || !isBlobId(id)) return
    if (!this.#inner.has(id)) {
      this.#former.set(id, null)
      return
    }
    const frame = new Uint8Array(FRAME_BYTES)
    try {
      await this.#inner.read(id, frame)
      this.#former.set(id, frame)
    } catch (error) {
      // What is damaged cannot be put back as it was; after a failed flush it is absent.
      if (!isHoltError(error, 'HOLT_CORRUPT')) throw error
      this.#former.set(id, null)
    }
  }

  async flush(note: Uint8Array): Promise<void> {
    this.#counts.flushes++
    const kept = Uint8Array.from(note)
    try {
      await this.#meet('flush', undefined)
    } catch (error) {
      for (const [id, frame] of this.#former) {
        if (frame === null) await this.#inner.delete(id)
        else await this.#inner.write(id, frame)
      }
      this.#former.clear()
      throw error
    }
    this.#former.clear()
    await this.#inner.flush(kept)
  }

  /** By what was staged here: what a failed flush dropped counts no more. */
  get needsFlush(): boolean {
    return this.#former.size > 0 && this.#inner.needsFlush
  }

  // ---- as they are ---------------------------------------------------------------------------------------------

  has(id: BlobId): boolean {
    return this.#inner.has(id)
  }
  list(): BlobId[] {
    return this.#inner.list()
  }
  note(): Uint8Array | undefined {
    return this.#inner.note()
  }
  stats(): BlobStoreStats {
    return this.#inner.stats()
  }
  close(): Promise<void> {
    return this.#inner.close()
  }

  // ---- rules ---------------------------------------------------------------------------------------------------

  /** Counts the call, waits if it is to wait, rejects if it is to fail; else says what the caller has to do. */
  async #meet(operation: BlobOperation, id: BlobId | undefined): Promise<BlobFaultRule | undefined> {
    const fault = this.#decide(operation, id)
    if (fault?.action === 'block') {
      await new Promise<void>((resolve) => {
        this.#blocked.push(resolve)
      })
    }
    if (fault?.action === 'delay') {
      for (let turn = 0; turn < (fault.turns ?? 3); turn++)
        await new Promise((resolve) => setImmediate(resolve))
    }
    if (fault?.action === 'fail') throw errorOf(fault, operation, id)
    return fault
  }

  #decide(operation: BlobOperation, id: BlobId | undefined): BlobFaultRule | undefined {
    let met: BlobFaultRule | undefined
    for (const entry of this.#rules) {
      const { rule } = entry
      if (rule.operation !== 'any' && rule.operation !== operation) continue
      if (rule.id !== undefined && rule.id !== id) continue
      entry.matched++
      const first = rule.nth ?? 1
      if (met || entry.matched < first || entry.matched >= first + (rule.times ?? 1)) continue
      if (rule.probability !== undefined && !this.#random.chance(rule.probability)) continue
      met = rule
    }
    if (met) this.#counts.faults++
    return met
  }
}

function errorOf(rule: BlobFaultRule, operation: BlobOperation, id: BlobId | undefined): HoltError {
  const code = rule.code ?? 'HOLT_IO'
  const errno = rule.errno ?? (code === 'HOLT_NO_SPACE' ? 'ENOSPC' : 'EIO')
  const what = id === undefined ? operation : `${operation} of blob ${String(id)}`
  return new HoltError(code, `the ${what} failed as a rule wants it, with ${errno}`, { errno })
}

/** Others are the inner store's to refuse. */
function isBlobId(id: number): boolean {
  return Number.isInteger(id) && id >= 1 && id <= MAX_BLOB_ID
}

function shortTransfer(id: BlobId): HoltError {
  return new HoltError(
    'HOLT_SHORT_TRANSFER',
    `the read of blob ${String(id)} stopped half-way, as a rule wants it`,
  )
}
