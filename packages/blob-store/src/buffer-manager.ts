import {
  FRAME_BYTES,
  FrameAbsent,
  MAX_BLOB_ID,
  PAGE_BYTES,
  Slab,
  blobId,
  usedPages,
} from '@holt/blob-buf-pool'
import type { BlobId, Slot } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import type { BlobStore } from './blob-store.js'
import { BlobIdSet } from './blob-id-set.js'
import { FrameChanges } from './frame-changes.js'
import { FreshMemory } from './fresh-memory.js'
import { CHUNK_BYTES, type PageRun, type PartialFrame, PartialFrames } from './partial-frames.js'
import type { SharedFrames } from './shared-frames.js'
import { CLEAN, DIRTY, FLUSHING, FREE, LOADING, SUPERSEDED, SlotTable } from './slot-table.js'

export interface BufferManagerOptions {
  /** Where absent frames come from. */
  readonly store: Pick<BlobStore, 'read' | 'readSync' | 'readRange' | 'readRangeSync' | 'supports'>
  /** Frames that the cache should hold at most. It grows beyond only when one operation cannot do with them. */
  readonly capacityFrames: number
  /** Frames that it may grow to in the extreme; address space only. Default twice the capacity and 16 384 more. */
  readonly maxFrames?: number
  /** Blobs that exist already, so that their ids are not handed out. */
  readonly blobsInUse?: Iterable<BlobId>
  readonly addressOf?: ((bytes: Uint8Array) => number) | undefined
  /** Called with new memory for frames before any of it is touched. */
  readonly prepareMemory?: ((bytes: Uint8Array) => unknown) | undefined
  /** Has memory that was never touched made present by another thread; see {@link FreshMemory}. */
  readonly populateMemory?: ((bytes: Uint8Array) => Promise<void>) | undefined
}

/** Frame and slot of everything that was dirty, and the blobs freed, at one instant: what an epoch writes. */
export interface Cut {
  readonly frames: readonly { readonly id: BlobId; readonly slot: Slot }[]
  readonly deletes: readonly BlobId[]
}

export interface CacheStats {
  readonly capacityFrames: number
  readonly residentFrames: number
  readonly dirtyFrames: number
  readonly flushingFrames: number
  /** Frames that were read whole, or whose last missing pages were. */
  readonly loads: number
  /** Reads of whole frames, failed ones not counted, and their bytes. */
  readonly wholeReads: number
  readonly wholeReadBytes: number
  /** Reads of a few pages of a frame, and their bytes. */
  readonly pageReads: number
  readonly pageReadBytes: number
  /** Frames of which only some pages are in memory. They count as resident here. */
  readonly partialFrames: number
  readonly evictions: number
  /** Frames copied because they were changed while being written out. */
  readonly copiesOnWrite: number
  /** Frames by which the cache had to grow beyond its capacity so far. */
  readonly overshootFrames: number
}

/**
 * The cache of frames: page table, dirty tracking, eviction, and the cut that a checkpoint starts from.
 *
 * One thread owns it. A frame that is being written out is immutable: who changes it gets a copy in another slot, and
 * the page table is swapped. So a cut copies nothing and stops nobody.
 *
 * A lookup that misses a frame reads only the pages on its way, see {@link readPages}: a descent sees few of them. Reads
 * of whole frames are for changes, for walks, and for frames whose pages are asked for again and again.
 *
 * Eviction is second chance over clean, unpinned slots. Lookups, loads and changes give a frame its second chance, walks
 * do not: what a walk loads replaces what it loaded before. `writable`, `allocate` and `free` never evict and never fail
 * for lack of slots: the slab grows for them. Operations call {@link reserve} first, so that growing stays the
 * exception.
 */
export class BufferManager {
  readonly slab: Slab
  readonly slots: SlotTable
  readonly pageTable: Int32Array
  readonly residency: Int32Array
  /** Blob id of the tree's root frame, for other threads. */
  readonly root = new Int32Array(new SharedArrayBuffer(4))
  /** The clock bits: who looks a key up sets that of each frame it passes. */
  readonly recency: Int32Array
  /** Whether {@link fault} may read from the store, blocking. When false it throws {@link FrameAbsent}. */
  mayBlock = true

  readonly #store: BufferManagerOptions['store']
  readonly #inUse = new BlobIdSet()
  /** Given up since the last cut. */
  readonly #freed = new BlobIdSet()
  /** Given up, and still named by a durable image: not to be loaded, and not to be handed out again. */
  readonly #leaving = new BlobIdSet()
  readonly #absent = new FrameAbsent(blobId(0))
  /** Reads under way; promises cannot live in shared memory, so every thread keeps its own. */
  readonly #loading = new Map<BlobId, Promise<void>>()
  /** Runs of pages under way, by id and first chunk. */
  readonly #loadingPages = new Map<number, Promise<void>>()
  readonly #partials: PartialFrames
  /** Blobs that walks loaded, oldest first: at most {@link #scanLimit}. */
  readonly #scanned: BlobId[] = []
  readonly #scanLimit: number
  readonly #capacity: number
  /** Since frames are shared: keeps readers out of those that are being changed. */
  #changes: FrameChanges | undefined
  readonly #fresh: FreshMemory
  #hand = 0
  #dirty = 0
  /** Frames among the dirty ones that nobody is going to change soon; some may have been given up since. */
  #writtenOnce = 0
  #absentFrames = 0
  #loads = 0
  #wholeReads = 0
  #wholeReadBytes = 0
  #pageReads = 0
  #pageReadBytes = 0
  #evictions = 0
  #copies = 0
  #overshoot = 0

  constructor(options: BufferManagerOptions) {
    const capacity = options.capacityFrames
    if (!Number.isSafeInteger(capacity) || capacity < 1) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `capacityFrames is ${String(capacity)}; at least 1 is wanted`,
      )
    }
    this.#store = options.store
    this.#capacity = capacity
    const maxFrames = Math.min(options.maxFrames ?? 2 * capacity + 16_384, MAX_BLOB_ID)
    this.slab = Slab.create({
      frameBytes: FRAME_BYTES,
      frameCount: Math.min(capacity, 64),
      maxFrameCount: maxFrames,
      segmentFrameCount: Math.min(2_048, 2 ** Math.ceil(Math.log2(Math.min(capacity + 1, maxFrames) + 1))),
      addressOf: options.addressOf,
      prepare: options.prepareMemory,
    })
    this.#fresh = new FreshMemory(this.slab, options.populateMemory)
    this.slots = SlotTable.create(maxFrames + 1)
    this.pageTable = new Int32Array(new SharedArrayBuffer((MAX_BLOB_ID + 1) * 4))
    this.residency = new Int32Array(new SharedArrayBuffer(4))
    this.recency = this.slots.clock
    this.#partials = new PartialFrames(this.slab, this.slots.pins, Math.max(2, capacity >>> 3))
    this.#scanLimit = Math.max(2, capacity >>> 3)
    for (const id of options.blobsInUse ?? []) {
      this.#inUse.add(id)
      this.#absentFrames += 1
    }
  }

  // ---- what the index asks -------------------------------------------------------------------------------------

  /**
   * Makes an absent frame resident, blocking, and returns its slot. Throws `FrameAbsent` unless {@link mayBlock}.
   * `forWalk`: for a walk over many frames, which will hardly come back to it.
   */
  fault(id: BlobId, forWalk = false): Slot {
    const present = this.pageTable[id]
    if (present > 0) return present as Slot
    this.#checkAbsent(id, 0, 0)
    const slot = this.#partials.take(id)?.slot ?? this.#takeSlot(forWalk)
    try {
      this.#store.readSync(id, this.slab.bytes(slot))
    } catch (error) {
      this.#release(slot)
      throw error
    }
    this.#countWhole(slot)
    this.#install(id, slot, forWalk)
    return slot
  }

  /**
   * The slot in which bytes [fromBytes, toBytes) of the frame are good, for one descent; they are read, blocking, if they
   * are not in memory. The frame stays absent for everybody else, and the slot its own until the next call of any method
   * for another id. Throws `FrameAbsent` unless {@link mayBlock}, `HOLT_CORRUPT` for bytes that fail their checks or that
   * the frame does not use.
   *
   * Once a frame's pages were asked for often enough it is read whole.
   */
  readPages(id: BlobId, fromBytes: number, toBytes: number): Slot {
    for (;;) {
      const present = this.pageTable[id]
      if (present > 0) return present as Slot
      const partial = this.#partials.get(id)
      const run = wantedOf(partial, fromBytes, toBytes)
      if (partial !== undefined && run === undefined) {
        partial.recent = true
        return partial.slot
      }
      if (run === undefined || this.#isBetterWhole(partial)) return this.fault(id)
      this.#checkAbsent(id, fromBytes, toBytes)
      if (partial !== undefined) {
        const into = partial.bytes.subarray(run.offsetBytes, run.offsetBytes + run.lengthBytes)
        this.#store.readRangeSync(id, run.offsetBytes, into, partial.header)
        this.#added(partial, run)
      } else {
        const slot = this.#takePartialSlot()
        try {
          this.#store.readRangeSync(id, 0, this.slab.bytes(slot).subarray(0, CHUNK_BYTES))
        } catch (error) {
          this.#release(slot)
          throw error
        }
        this.#begin(id, slot)
      }
    }
  }

  /** Whether a frame is to be read whole though only pages of it are wanted. */
  #isBetterWhole(partial: PartialFrame | undefined): boolean {
    if (!this.#store.supports.rangedReads) return true
    return partial?.isWorthWhole(this.residentFrames < this.#capacity) ?? false
  }

  /** Throws unless an absent frame may be read here and now. */
  #checkAbsent(id: BlobId, fromBytes: number, toBytes: number): void {
    if (!this.#inUse.has(id) || this.#leaving.has(id))
      throw new HoltError(
        'HOLT_CORRUPT',
        `blob ${String(id)} is named by a frame, but the store has none such`,
      )
    if (!this.mayBlock) {
      this.#absent.id = id
      this.#absent.fromBytes = fromBytes
      this.#absent.toBytes = toBytes
      throw this.#absent
    }
    if (!this.#store.supports.syncReads) {
      throw new HoltError(
        'HOLT_UNSUPPORTED',
        `blob ${String(id)} is not in memory and this store cannot read without waiting; use the asynchronous call`,
      )
    }
  }

  writable(id: BlobId): Slot {
    const { states } = this.slots
    const slot = this.pageTable[id] as Slot
    this.slots.clock[slot] = 1
    for (;;) {
      const state = Atomics.load(states, slot)
      if (state === DIRTY) {
        if (this.#changes !== undefined) this.#changes.begin(slot)
        return slot
      }
      if (state === CLEAN) {
        if (this.slots.move(slot, CLEAN, DIRTY)) {
          this.#dirty += 1
          this.#changes?.begin(slot)
          return slot
        }
      } else if (state === FLUSHING) {
        const copy = this.#growSlot()
        this.#fresh.keepAhead()
        const frame = this.slab.bytes(slot)
        this.slab.bytes(copy).set(frame.subarray(0, usedPages(frame) * PAGE_BYTES))
        // The committer may have finished with it meanwhile: then it can be changed where it is.
        if (!this.slots.move(slot, FLUSHING, SUPERSEDED)) {
          this.#release(copy)
          continue
        }
        this.#copies += 1
        Atomics.store(this.slots.pins, copy, this.slots.pins[slot])
        this.#changes?.begin(copy)
        this.#name(id, copy, DIRTY)
        Atomics.add(this.slots.versions, slot, 1)
        this.#moved()
        return copy
      } else {
        throw new HoltError(
          'HOLT_INTERNAL',
          `blob ${String(id)} is to be changed, but slot ${String(slot)} is in state ${String(state)}`,
        )
      }
    }
  }

  /** `isWrittenOnce`: who asks fills it now, and no copy of it will be wanted while it is written out; only a hint. */
  allocate(isWrittenOnce = false): BlobId {
    const slot = this.#growSlot()
    this.#fresh.keepAhead()
    let id: BlobId
    try {
      id = this.#inUse.addLowest()
    } catch (error) {
      this.#release(slot)
      throw error
    }
    const frame = this.slab.bytes(slot)
    this.#changes?.begin(slot)
    frame.fill(0, 0, PAGE_BYTES)
    this.#name(id, slot, DIRTY)
    if (isWrittenOnce) this.#writtenOnce += 1
    return id
  }

  free(id: BlobId): void {
    const slot = this.pageTable[id]
    this.#freed.add(id)
    this.#leaving.add(id)
    if (slot <= 0) {
      this.#absentFrames -= 1
      const partial = this.#partials.take(id)
      if (partial !== undefined) this.#release(partial.slot)
      // Another word: a load that is under way finds it changed and drops what it has read.
      Atomics.store(this.pageTable, id, this.#moved() | 0x8000_0000)
      return
    }
    this.#unname(id, slot as Slot)
    // A frame that is being written out keeps its slot until the committer is done with it.
    if (this.slots.move(slot, FLUSHING, SUPERSEDED)) return
    if (this.slots.states[slot] === DIRTY) this.#dirty -= 1
    this.#release(slot as Slot)
  }

  /** The tree begins in this frame from now on. */
  rootMoved(id: BlobId): void {
    Atomics.store(this.root, 0, id)
  }

  /** For a cache without a durable image: the ids of what was freed are given to others. */
  forgetFreed(): void {
    for (const id of this.#freed.list()) {
      this.#leaving.delete(id)
      this.#inUse.delete(id)
    }
    this.#freed.clear()
  }

  // ---- other threads -------------------------------------------------------------------------------------------

  /** What a thread needs to read along, see `SharedFramesReader`. From now on changes are made visible whole. */
  share(): SharedFrames {
    this.#changes ??= new FrameChanges(this.slots)
    return {
      slab: this.slab.share(),
      slots: this.slots.buffer,
      pageTable: this.pageTable.buffer as SharedArrayBuffer,
      root: this.root.buffer,
    }
  }

  /** The operation that asked for frames to change is over: other threads may read them again. */
  endChange(): void {
    this.#changes?.end()
  }

  // ---- loading and room ----------------------------------------------------------------------------------------

  /** Every blob that was allocated, or found, and not freed, ascending: what a tree must account for. */
  liveBlobs(): BlobId[] {
    return this.#inUse.list().filter((id) => !this.#leaving.has(id))
  }

  isResident(id: BlobId): boolean {
    return this.pageTable[id] > 0
  }

  /**
   * Loads a frame without blocking and pins it: it stays until {@link unpin}. Loading what is resident only pins.
   * `forWalk` as for {@link fault}. Of a blob that was given up it loads nothing. Rejects as `BlobStore.read` does.
   */
  async load(id: BlobId, forWalk = false): Promise<void> {
    while (this.pageTable[id] <= 0) {
      if (this.#leaving.has(id)) return
      const underWay = this.#loading.get(id)
      if (underWay !== undefined) {
        await underWay
        continue
      }
      const slot = this.#takeSlot(forWalk)
      const word = this.pageTable[id]
      const reading = this.#store.read(id, this.slab.bytes(slot)).then(
        () => {
          this.#countWhole(slot)
          // A blocking read may have been faster, or the blob may be gone: then this copy is dropped.
          if (this.pageTable[id] === word) this.#install(id, slot, forWalk)
          else this.#release(slot)
        },
        (error: unknown) => {
          this.#release(slot)
          throw error
        },
      )
      this.#loading.set(id, reading)
      try {
        await reading
      } finally {
        this.#loading.delete(id)
      }
    }
    Atomics.add(this.slots.pins, this.pageTable[id], 1)
  }

  /**
   * Reads what {@link readPages} would, without blocking, and pins it: frame or pages stay until {@link unpin}. `toBytes`
   * 0 stands for the whole frame. Of a blob that was given up it reads nothing. Rejects as `BlobStore.readRange` does.
   */
  async loadPages(id: BlobId, fromBytes: number, toBytes: number): Promise<void> {
    while (this.pageTable[id] <= 0) {
      if (this.#leaving.has(id)) return
      const partial = this.#partials.get(id)
      const run = toBytes === 0 ? undefined : wantedOf(partial, fromBytes, toBytes)
      if (partial !== undefined && toBytes !== 0 && run === undefined) {
        partial.recent = true
        Atomics.add(this.slots.pins, partial.slot, 1)
        return
      }
      if (run === undefined || this.#isBetterWhole(partial)) {
        await this.load(id)
        return
      }
      const key = id * MAX_CHUNKS + run.offsetBytes / CHUNK_BYTES
      const underWay = this.#loadingPages.get(key)
      if (underWay !== undefined) {
        await underWay
        continue
      }
      const reading = this.#readRun(id, run, partial)
      this.#loadingPages.set(key, reading)
      try {
        await reading
      } finally {
        this.#loadingPages.delete(key)
      }
    }
    Atomics.add(this.slots.pins, this.pageTable[id], 1)
  }

  /** Into memory of its own first: a slot may go to another frame while the read is under way. */
  async #readRun(id: BlobId, run: PageRun, partial: PartialFrame | undefined): Promise<void> {
    const word = this.pageTable[id]
    const bytes = new Uint8Array(run.lengthBytes)
    try {
      await this.#store.readRange(id, run.offsetBytes, bytes, partial?.header.slice())
    } catch (error) {
      // Whose blob was given up, or written anew, meanwhile looks again; the same fault again is one.
      if (this.pageTable[id] === word && this.#partials.get(id) === partial) throw error
      return
    }
    // The frame was loaded whole, or dropped, meanwhile: the caller looks again.
    if (this.pageTable[id] !== word || this.#partials.get(id) !== partial) return
    if (partial !== undefined) {
      partial.bytes.set(bytes, run.offsetBytes)
      this.#added(partial, run)
    } else {
      const slot = this.#takePartialSlot()
      this.slab.bytes(slot).set(bytes)
      this.#begin(id, slot)
    }
  }

  /** As {@link load}, blocking. Throws as {@link fault} does. */
  pin(id: BlobId): void {
    Atomics.add(this.slots.pins, this.fault(id), 1)
  }

  /** Takes back one pin of `load`, `loadPages` or `pin`. */
  unpin(id: BlobId): void {
    const word = this.pageTable[id]
    const slot = word > 0 ? word : (this.#partials.get(id)?.slot ?? 0)
    if (slot > 0 && this.slots.pins[slot] > 0) Atomics.sub(this.slots.pins, slot, 1)
  }

  /**
   * Sees to it that `frames` slots can be had without exceeding the capacity, by evicting. False when too many frames
   * are dirty, being written out or pinned: wait for a checkpoint, then ask again.
   */
  reserve(frames: number): boolean {
    while (this.residentFrames + frames > this.#capacity) if (!this.#makeRoom(false)) return false
    return true
  }

  /** Frames in use that are not in memory. While there is none, nothing can be missed. */
  get absentFrames(): number {
    return this.#absentFrames
  }

  get residentFrames(): number {
    return this.slab.frameCount - this.slab.freeCount
  }

  get capacityFrames(): number {
    return this.#capacity
  }

  // ---- checkpoints ---------------------------------------------------------------------------------------------

  /**
   * Before a cut: has memory made present for the copies that writers will make of what it freezes, half of the cache at
   * most. Frames that are written once are not counted, so a bulk load does not take its memory twice. A huge page takes
   * the system up to some milliseconds, and the writes of one turn of the event loop can ask for a dozen. `undefined` where
   * there is nothing to do.
   */
  touchAhead(): Promise<void> | undefined {
    const changing = Math.max(0, this.#dirty - this.#writtenOnce)
    return this.#fresh.ahead(Math.min(changing, Math.max(4, this.#capacity >>> 1)))
  }

  /** Everything dirty becomes *flushing*; pending deletes are taken along. */
  cut(): Cut {
    const frames: { id: BlobId; slot: Slot }[] = []
    const last = this.slab.frameCount
    for (let slot = 1; slot <= last; slot++) {
      if (this.slots.move(slot, DIRTY, FLUSHING)) {
        frames.push({ id: blobId(this.slots.blobIds[slot]), slot: slot as Slot })
      }
    }
    this.#dirty = 0
    this.#writtenOnce = 0
    const deletes = this.#freed.list()
    this.#freed.clear()
    return { frames, deletes }
  }

  get hasDirt(): boolean {
    return this.#freed.count > 0 || this.#dirty > 0
  }

  /** The first slot from this one on whose frame is changed and not yet being written; 0 when there is none. */
  nextDirty(from: number): number {
    const { states } = this.slots
    const end = this.slab.frameCount
    for (let slot = from; slot <= end; slot++) if (states[slot] === DIRTY) return slot
    return 0
  }

  get dirtyFrames(): number {
    return this.#dirty
  }

  /**
   * The cut is durable, but for the removal of `deletesLeft`, which belongs to the next one. `retireFrames` has already run,
   * on whatever thread committed it.
   */
  retired(cut: Cut, deletesLeft: readonly BlobId[] = []): void {
    for (const id of cut.deletes) {
      this.#leaving.delete(id)
      this.#inUse.delete(id)
    }
    for (const id of deletesLeft) {
      this.#freed.add(id)
      this.#leaving.add(id)
      this.#inUse.add(id)
    }
  }

  /** The cut did not become durable: all of it belongs to the next one. */
  restore(cut: Cut): void {
    for (const { slot } of cut.frames) {
      if (this.slots.move(slot, FLUSHING, DIRTY)) this.#dirty += 1
      else if (this.slots.move(slot, SUPERSEDED, FREE)) this.slab.release(slot)
    }
    for (const id of cut.deletes) this.#freed.add(id)
  }

  /** Whether a blob is held, or freed by a change that is not durable yet. */
  isInUse(id: BlobId): boolean {
    return this.#inUse.has(id)
  }

  stats(): CacheStats {
    return {
      capacityFrames: this.#capacity,
      residentFrames: this.residentFrames,
      dirtyFrames: this.dirtyFrames,
      flushingFrames: this.#count(FLUSHING) + this.#count(SUPERSEDED),
      loads: this.#loads,
      wholeReads: this.#wholeReads,
      wholeReadBytes: this.#wholeReadBytes,
      pageReads: this.#pageReads,
      pageReadBytes: this.#pageReadBytes,
      partialFrames: this.#partials.count,
      evictions: this.#evictions,
      copiesOnWrite: this.#copies,
      overshootFrames: this.#overshoot,
    }
  }

  // ---- slots ---------------------------------------------------------------------------------------------------

  #count(state: number): number {
    let count = 0
    const { states } = this.slots
    const last = this.slab.frameCount
    for (let slot = 1; slot <= last; slot++) if (states[slot] === state) count += 1
    return count
  }

  /** A slot for a load: within the capacity if anything can be evicted. */
  #takeSlot(forWalk = false): Slot {
    while (this.residentFrames >= this.#capacity) if (!this.#makeRoom(forWalk)) break
    return this.#growSlot()
  }

  /** Takes one frame out of the cache. Partial ones first, while there are more than may stand in the way of others. */
  #makeRoom(forWalk: boolean): boolean {
    if (this.#partials.areTooMany && this.#dropPartial()) return true
    return (forWalk && this.#evictScanned()) || this.#evictOne() || this.#dropPartial()
  }

  /** A slot for a partial frame: where the cache is full that of another one, if there are many. */
  #takePartialSlot(): Slot {
    if (this.residentFrames >= this.#capacity && this.#partials.areMany) this.#dropPartial()
    return this.#takeSlot()
  }

  #dropPartial(): boolean {
    const partial = this.#partials.takeOldest()
    if (partial === undefined) return false
    this.#release(partial.slot)
    return true
  }

  #begin(id: BlobId, slot: Slot): void {
    const partial = this.#partials.begin(id, slot)
    this.#countPages(CHUNK_BYTES)
    if (partial.isWhole) this.#complete(partial)
  }

  #added(partial: PartialFrame, run: PageRun): void {
    partial.add(run)
    this.#countPages(run.lengthBytes)
    if (partial.isWhole) this.#complete(partial)
  }

  #complete({ id, slot }: PartialFrame): void {
    this.#partials.take(id)
    this.#install(id, slot, false)
  }

  #countPages(bytes: number): void {
    this.#pageReads += 1
    this.#pageReadBytes += bytes
  }

  #countWhole(slot: Slot): void {
    this.#wholeReads += 1
    this.#wholeReadBytes += usedPages(this.slab.bytes(slot)) * PAGE_BYTES
  }

  /** A slot without evicting anything. */
  #growSlot(): Slot {
    let slot = this.slab.lease()
    if (slot === 0) {
      if (this.slab.grow(64) === 0) {
        throw new HoltError(
          'HOLT_OUT_OF_MEMORY',
          `the cache has grown to its last slot (${String(this.slab.frameCount)} frames)`,
        )
      }
      slot = this.slab.lease()
    }
    this.#fresh.used(slot)
    this.#overshoot = Math.max(this.#overshoot, this.residentFrames - this.#capacity)
    Atomics.store(this.slots.states, slot, LOADING)
    Atomics.store(this.slots.pins, slot, 0)
    Atomics.add(this.slots.versions, slot, 1)
    return slot
  }

  #install(id: BlobId, slot: Slot, forWalk: boolean): void {
    this.#loads += 1
    this.#absentFrames -= 1
    const partial = this.#partials.take(id)
    if (partial !== undefined) {
      Atomics.store(this.slots.pins, slot, this.slots.pins[partial.slot])
      this.#release(partial.slot)
    }
    this.#name(id, slot, CLEAN)
    if (!forWalk) return
    this.slots.clock[slot] = 0
    if (this.#scanned.push(id) > this.#scanLimit) this.#scanned.shift()
  }

  #name(id: BlobId, slot: Slot, state: typeof CLEAN | typeof DIRTY): void {
    if (state === DIRTY) this.#dirty += 1
    this.slots.blobIds[slot] = id
    this.slots.clock[slot] = 1
    Atomics.store(this.slots.states, slot, state)
    Atomics.store(this.pageTable, id, slot)
  }

  /** The word of an absent blob is a counter with the sign bit set: another one each time the blob leaves memory. */
  #unname(id: BlobId, slot: Slot): void {
    Atomics.store(this.pageTable, id, this.#moved() | 0x8000_0000)
    Atomics.add(this.slots.versions, slot, 1)
  }

  #moved(): number {
    return Atomics.add(this.residency, 0, 1)
  }

  #release(slot: Slot): void {
    Atomics.store(this.slots.states, slot, FREE)
    this.slots.blobIds[slot] = 0
    this.slab.release(slot)
  }

  /** What a walk loaded first of all that it has loaded, once that is many frames, and if nobody else has used it since. */
  #evictScanned(): boolean {
    const { clock, pins, states } = this.slots
    while (this.#scanned.length >= this.#scanLimit) {
      const id = this.#scanned.shift() ?? blobId(0)
      const slot = this.pageTable[id]
      if (slot <= 0 || states[slot] !== CLEAN || pins[slot] !== 0 || clock[slot] !== 0) continue
      this.#evict(slot as Slot)
      return true
    }
    return false
  }

  #evict(slot: Slot): void {
    this.#unname(blobId(this.slots.blobIds[slot]), slot)
    this.#release(slot)
    this.#evictions += 1
    this.#absentFrames += 1
  }

  /** Second chance: the hand clears clock bits until it meets a clean, unpinned slot without one. */
  #evictOne(): boolean {
    const { clock, pins, states } = this.slots
    const last = this.slab.frameCount
    for (let steps = 2 * last; steps > 0; steps--) {
      this.#hand = this.#hand >= last ? 1 : this.#hand + 1
      const slot = this.#hand as Slot
      if (states[slot] !== CLEAN || pins[slot] !== 0) continue
      if (clock[slot] === 1) {
        clock[slot] = 0
        continue
      }
      this.#evict(slot)
      return true
    }
    return false
  }
}

/** Chunks of a frame at most. */
const MAX_CHUNKS = FRAME_BYTES / CHUNK_BYTES
const FIRST_CHUNK: PageRun = { offsetBytes: 0, lengthBytes: CHUNK_BYTES }

/** What is to be read next for these bytes: the first chunk before any other. */
function wantedOf(
  partial: PartialFrame | undefined,
  fromBytes: number,
  toBytes: number,
): PageRun | undefined {
  return partial === undefined ? FIRST_CHUNK : partial.missing(fromBytes, toBytes)
}

/**
 * Ends a cut that became durable: its frames are clean, superseded slots are free. Runs on the thread that committed,
 * so that room appears even while the owner thread is blocked.
 */
export function retireFrames(slots: SlotTable, slab: Slab, frames: Cut['frames']): void {
  for (const { slot } of frames) {
    if (slots.move(slot, FLUSHING, CLEAN)) continue
    if (slots.move(slot, SUPERSEDED, FREE)) slab.release(slot)
  }
}
