import { HoltError } from '@holt/errors'
import { blobId, type BlobId, FRAME_BYTES, MAX_BLOB_ID } from '@holt/blob-buf-pool'

/** Where a frame lies on disk, how much of it, and the checksum of its first page. */
export interface Mapping {
  /** Below 2^25 - 1. */
  readonly diskSlot: number
  /** Pages that are stored, 1 … 128: see `usedPages`. */
  readonly pages: number
  readonly headerCrc: number
}

/**
 * Which disk slot holds which blob, in shared memory, so that a thread that reads sees the flushes of the thread that
 * writes. One thread writes.
 *
 * An entry is one 64-bit word that is stored and loaded whole: a reader never sees the slot of one image with the
 * checksum of another.
 *
 * ```
 *   0  highest id ever mapped  i32
 *   4  blobs mapped            i32
 *   8  instances               i32   how many stores have attached
 *  12  writer                  i32   the instance that writes; 0: none yet
 *  16  slots of the data file  i32   once something was written
 *  20  sectors of the manifest i32
 *  64  entry of blob 0 …       i64: pages - 1 (7 bits) | disk slot + 1 (25 bits; 0: no such blob)
 *                              | header checksum (lower 32)
 * ```
 *
 * The buffer is address space: memory is taken where entries are used.
 */
export class MappingTable {
  readonly buffer: SharedArrayBuffer
  /** Ids below this can be mapped. */
  readonly capacity: number
  readonly #control: Int32Array
  readonly #entries: BigInt64Array
  /** The same words in halves: the slot of entry i is at 2 i + 1. For walks over all entries. */
  readonly #halves: Int32Array
  readonly #instance: number

  private constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer
    this.#control = new Int32Array(buffer, 0, CONTROL_BYTES / 4)
    this.#entries = new BigInt64Array(buffer, CONTROL_BYTES)
    this.#halves = new Int32Array(buffer, CONTROL_BYTES)
    this.capacity = this.#entries.length
    this.#instance = Atomics.add(this.#control, INSTANCES, 1) + 1
  }

  /** For ids below `capacity`, 2^24 unless told otherwise. */
  static create(capacity = MAX_BLOB_ID + 1): MappingTable {
    if (!Number.isInteger(capacity) || capacity < 2 || capacity > MAX_BLOB_ID + 1) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `a mapping of ${String(capacity)} ids; 2 to ${String(MAX_BLOB_ID + 1)} are possible`,
      )
    }
    return new MappingTable(new SharedArrayBuffer(CONTROL_BYTES + capacity * 8))
  }

  static attach(buffer: SharedArrayBuffer): MappingTable {
    return new MappingTable(buffer)
  }

  /** Blobs mapped. */
  get count(): number {
    return Atomics.load(this.#control, COUNT)
  }

  get(id: BlobId): Mapping | undefined {
    if (id >= this.capacity) return undefined
    const entry = Atomics.load(this.#entries, id)
    if (entry === 0n) return undefined
    const upper = Number(entry >> 32n)
    return {
      diskSlot: (upper & SLOT_MASK) - 1,
      pages: (upper >>> SLOT_BITS) + 1,
      headerCrc: Number(entry & LOW),
    }
  }

  set(id: BlobId, mapping: Mapping): void {
    const upper = (mapping.diskSlot + 1) | ((mapping.pages - 1) << SLOT_BITS)
    const entry = (BigInt(upper) << 32n) | BigInt(mapping.headerCrc)
    if (Atomics.exchange(this.#entries, id, entry) === 0n) Atomics.add(this.#control, COUNT, 1)
    if (id > Atomics.load(this.#control, HIGHEST)) Atomics.store(this.#control, HIGHEST, id)
  }

  remove(id: BlobId): void {
    if (Atomics.exchange(this.#entries, id, 0n) !== 0n) Atomics.sub(this.#control, COUNT, 1)
  }

  /** Every mapped id, ascending. */
  ids(): BlobId[] {
    const highest = Atomics.load(this.#control, HIGHEST)
    const found: BlobId[] = []
    for (let id = 1; id <= highest; id++)
      if (Atomics.load(this.#halves, 2 * id + 1) !== 0) found.push(blobId(id))
    return found
  }

  /** Up to `most` mapped ids, ascending, from this one on; `next` is where it goes on, if there are more. */
  idsFrom(from: BlobId, most: number): { readonly ids: BlobId[]; readonly next: BlobId | undefined } {
    const highest = Atomics.load(this.#control, HIGHEST)
    const ids: BlobId[] = []
    let id: number = from
    for (; id <= highest && ids.length < most; id++)
      if (Atomics.load(this.#halves, 2 * id + 1) !== 0) ids.push(blobId(id))
    return { ids, next: id <= highest ? blobId(id) : undefined }
  }

  /** Sizes of the files as the instance that writes knows them. */
  get fileBytes(): { readonly data: number; readonly manifest: number } {
    const data = Atomics.load(this.#control, DATA_SLOTS) * FRAME_BYTES
    return { data, manifest: Atomics.load(this.#control, MANIFEST_SECTORS) * SECTOR_BYTES }
  }

  setFileBytes(data: number, manifest: number): void {
    Atomics.store(this.#control, DATA_SLOTS, data / FRAME_BYTES)
    Atomics.store(this.#control, MANIFEST_SECTORS, manifest / SECTOR_BYTES)
  }

  /** Makes this instance the one that writes, for good. False when another is already. */
  claimWriter(): boolean {
    const before = Atomics.compareExchange(this.#control, WRITER, 0, this.#instance)
    return before === 0 || before === this.#instance
  }

  /** Whether another instance has written. */
  get writtenByAnother(): boolean {
    const writer = Atomics.load(this.#control, WRITER)
    return writer !== 0 && writer !== this.#instance
  }
}

const CONTROL_BYTES = 64
const HIGHEST = 0
const COUNT = 1
const INSTANCES = 2
const WRITER = 3
const DATA_SLOTS = 4
const MANIFEST_SECTORS = 5
const SECTOR_BYTES = 512
const SLOT_BITS = 25
const SLOT_MASK = 2 ** SLOT_BITS - 1
const LOW = 0xffff_ffffn
