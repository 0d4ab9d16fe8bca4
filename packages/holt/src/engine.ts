import {
  type ArtIndex,
  type BulkLoad,
  isPrefixEmpty,
  maxInlineValueBytes,
  valueFrameCount,
} from '@holt/art-index'
import { type BlobId, FrameAbsent } from '@holt/blob-buf-pool'
import type { BlobStore, BufferManager } from '@holt/blob-store'
import type { Checkpointer } from '@holt/checkpointer'
import { HoltError, isHoltError } from '@holt/errors'
import type { JournalContract } from '@holt/journal'
import type { Io } from '@holt/uring-native'
import { AsyncReads } from './async-reads.js'
import { wordsOfSegment } from './copy-words.js'
import type { Durability } from './durability.js'
import { applyEffect } from './apply-effect.js'
import { BackgroundCompaction } from './background-compaction.js'
import { CommittedTree } from './committed-tree.js'
import {
  appendBulkLoad,
  appendDelete,
  appendEffects,
  appendPut,
  type Effect,
  effectsBytes,
  putBytes,
} from './effect.js'
import { ChangeFeeds } from './change-feed.js'
import { batchTooLarge, LIMITS, MAX_UNLINKED_FRAMES, SEQ_WINDOW } from './limits.js'
import {
  keysOf,
  type Operation,
  operationBytes,
  type Resolution,
  resolveOperations,
  unlinks,
} from './operation.js'
import { OpenViews } from './open-views.js'
import { PackedBatch } from './packed-batch.js'
import { appendSnapshotChange, type SnapshotChange, snapshotRecordBytes } from './snapshot-record.js'
import type { Snapshots } from './snapshots.js'
import { Reclaimer } from './reclaimer.js'
import { ScanPages } from './scan-page.js'
import { VisitWalks } from './visit.js'
import type { ViewEngine } from './view-engine.js'
import { RESOLVED, TurnGuard } from './turn-guard.js'

export interface EngineParts {
  readonly io: Io
  readonly frames: BufferManager
  readonly index: ArtIndex
  /** Those of this index. */
  readonly snapshots: Snapshots
  readonly store: BlobStore
  /** Absent in `'memory'` mode. */
  readonly journal: JournalContract | undefined
  /** Absent in a database that lives in memory only. */
  readonly checkpointer: Checkpointer | undefined
  readonly durability: Durability
  /** Highest seq that was ever handed out, as far as the files tell, and the first one that may be now, less one. */
  readonly seq: number
  /** Highest seq that the files hold. */
  readonly lastSeq: number
  /** Makes the store ready for changes: run once, before the first. */
  readonly start: (seqFloor: number) => Promise<void>
  /** Whether frames that deletes leave half empty are merged without being asked. */
  readonly backgroundCompaction: boolean
  /** Told of each view that nobody closed before it was lost, by its version. */
  readonly onViewLost?: (version: number) => void
  /** Nothing is ever written: see `open-read-only.ts`. Default false. */
  readonly readOnly?: boolean
}

/** How a batch ended: its commit seq, or the first operation whose condition did not hold. */
export type BatchOutcome =
  | { readonly committed: true; readonly version: number; readonly found: readonly boolean[] }
  | { readonly committed: false; readonly failed: Extract<Resolution, { kind: 'failed' }> }

/** What a step gave, or the blob that it missed. */
export type ReshapeOutcome<T> =
  { readonly result: T; readonly missing: undefined } | { readonly missing: BlobId }

/** A tree, as the one that knows how its keys look. */
export interface KeyEncoder<K> {
  /** Encodes a key into the index's scratch buffer, behind the tree's id; the length of both. Throws for a bad one. */
  encodeIntoScratch(key: K): number
}

/** A write that could not be applied at once. */
interface WaitingWrite {
  readonly operations: readonly Operation[]
  /** Instead of operations: what is to be run while no write is applied. Never rejects. */
  readonly piece?: () => Promise<void>
  /** Instead of operations too. */
  readonly snapshot?: SnapshotChange | undefined
  readonly bytes: number
  readonly durability: Durability
  /** Frames loaded for it, pinned until it is applied. */
  readonly pinned: BlobId[]
  readonly resolve: (outcome: BatchOutcome | PromiseLike<BatchOutcome>) => void
  readonly reject: (error: unknown) => void
}

const WANTS_SLOTS = -1
const WANTS_STABLE_SEQ = -2
const WANTS_RECLAIM = -3

/** Slots that one write should find free: copies of frames under a flush along its path, and the frames of a split. */
const SLOTS_PER_WRITE = 4
/** While views are open: the copies for them beside. */
const SLOTS_PER_WRITE_UNDER_VIEWS = 8
/** A step of compaction takes the slots of so many writes. */
const OPERATIONS_PER_RESHAPE = 3

/**
 * Joins the index, the cache, the journal and the checkpointer: the place where a write becomes one.
 *
 * A write that finds its frames in memory, slots and journal space free is applied at once, in one synchronous piece:
 * seq, change, journal record. Any other joins one first-in, first-out queue, and so does every write behind it; it is
 * invisible until applied, and its conditions are judged then. So writes apply in call order.
 */
export class Engine {
  readonly index: ArtIndex
  readonly frames: BufferManager
  readonly io: Io
  readonly store: BlobStore
  readonly journal: JournalContract | undefined
  readonly checkpointer: Checkpointer | undefined
  readonly durability: Durability
  readonly readOnly: boolean
  readonly pages: ScanPages = new ScanPages(this)
  readonly visits: VisitWalks
  readonly asyncReads: AsyncReads
  readonly feeds = new ChangeFeeds()

  readonly #start: (seqFloor: number) => Promise<void>
  readonly #turns: TurnGuard
  readonly #committed: CommittedTree
  readonly reclaimer: Reclaimer
  readonly compaction: BackgroundCompaction
  readonly views: OpenViews
  readonly snapshots: Snapshots
  #slotsPerWrite = SLOTS_PER_WRITE
  /** A larger value lies in frames of its own. */
  readonly #maxInlineBytes: number
  readonly #waiting: WaitingWrite[] = []
  #waitingBytes = 0
  #sparePacked: PackedBatch | undefined
  #draining = Promise.resolve()
  #isDraining = false
  #seq: number
  readonly #lastSeqFound: number
  #seqFloor: number
  /** Seqs below it may be handed out, as far as was seen. */
  #seqLimit = 0
  /** The store is ready for changes and nobody has closed it: writes need not ask further. */
  #writable = false
  #started = false
  #closed = false
  /** Who holds writes back: see {@link holdWrites}. */
  #holders = 0
  #releaseWaiters: (() => void)[] = []
  /** What the write that was refused last wants: bytes of journal space, or one of the `WANTS_` constants. */
  #wanted = 0
  /** Set when the tree may be ahead of the journal: nothing may be written any more. */
  #broken: HoltError | undefined

  constructor(parts: EngineParts) {
    this.io = parts.io
    this.frames = parts.frames
    this.index = parts.index
    this.store = parts.store
    this.journal = parts.journal
    this.checkpointer = parts.checkpointer
    this.durability = parts.durability
    this.readOnly = parts.readOnly ?? false
    this.#start = parts.start
    this.#seq = parts.seq
    this.#lastSeqFound = parts.lastSeq
    this.#seqFloor = parts.seq
    this.#turns = new TurnGuard(parts.io)
    this.#committed = new CommittedTree(parts.index)
    this.visits = new VisitWalks(parts.index)
    this.reclaimer = new Reclaimer(parts.index, parts.frames, parts.checkpointer, () => {
      parts.checkpointer?.changed(parts.journal?.appendedBytes ?? 0)
    })
    this.compaction = new BackgroundCompaction(this, parts.backgroundCompaction)
    this.snapshots = parts.snapshots
    this.views = new OpenViews(this, parts.index, this.#viewsChanged, parts.onViewLost ?? (() => undefined))
    this.asyncReads = new AsyncReads(this)
    this.#viewsChanged()
    this.#maxInlineBytes = maxInlineValueBytes(parts.index.usableBytes)
  }

  /** The newest commit seq handed out. */
  get seq(): number {
    return this.#seq
  }
  /** The newest commit seq that there is: without a write of this opening's, one that was found. */
  get lastVersion(): number {
    return this.#seq === this.#seqFloor ? this.#lastSeqFound : this.#seq
  }
  get seqFloor(): number {
    return this.#seqFloor
  }
  get waitingWrites(): number {
    return this.#waiting.length
  }
  get waitingBytes(): number {
    return this.#waitingBytes
  }
  get closed(): boolean {
    return this.#closed
  }

  // ---- reading -------------------------------------------------------------------------------------------------

  /** Throws `HOLT_CLOSED` once the database was closed. */
  assertOpen(): void {
    if (this.#closed) throw new HoltError('HOLT_CLOSED', 'the database was closed')
  }

  /** Why nothing can be written; `undefined` where it can. */
  #refusal(): HoltError | undefined {
    if (this.#closed) return new HoltError('HOLT_CLOSED', 'the database was closed')
    return this.readOnly ? openedForReading() : this.#broken
  }

  /** Throws `HOLT_CLOSED`, or `HOLT_READ_ONLY` where nothing is ever written. */
  assertNotReadOnly(): void {
    this.assertOpen()
    if (this.readOnly) throw openedForReading()
  }

  /**
   * Until {@link releaseWrites} no write is applied: it joins the queue, so that whoever looks at the tree sees it
   * unchanged. Each call needs one release.
   */
  holdWrites(): void {
    this.#holders++
    this.#writable = false
  }

  releaseWrites(): void {
    if (--this.#holders > 0) return
    this.#becomeWritable()
    if (this.#waiting.length > 0) this.#drain()
    for (const resume of this.#releaseWaiters.splice(0)) resume()
  }

  #becomeWritable(): void {
    this.#writable = this.#started && !this.#closed && this.#broken === undefined && this.#holders === 0
  }

  /** While it holds, nothing is applied. */
  async #released(): Promise<void> {
    while (this.#holders > 0) await new Promise<void>((resume) => this.#releaseWaiters.push(resume))
  }

  /** A view of all trees as they are now, with all writes that were applied. Throws `HOLT_CLOSED`. */
  takeView(): ViewEngine {
    this.assertOpen()
    return this.views.take(this.#seq, this.lastVersion)
  }

  /** A view of what a snapshot shows. Throws `HOLT_CLOSED`, `HOLT_NOT_FOUND`. */
  openSnapshot(name: string): ViewEngine {
    this.assertOpen()
    return this.views.at(this.snapshots.viewOf(name).place)
  }

  readonly #viewsChanged = (): void => {
    this.#slotsPerWrite = this.index.openViews === 0 ? SLOTS_PER_WRITE : SLOTS_PER_WRITE_UNDER_VIEWS
    // What a view alone has seen is to be given back.
    if (this.#started && !this.#closed) this.reclaimer.wake()
  }

  // ---- writing -------------------------------------------------------------------------------------------------

  /**
   * Puts the key that lies in the index's scratch buffer. Resolves when acknowledged. Key and value sizes were checked.
   */
  put(
    keyLength: number,
    source: Uint8Array,
    offset: number,
    length: number,
    durability: Durability,
  ): Promise<void> {
    const { index, journal } = this
    if (
      this.#writable &&
      this.#waiting.length === 0 &&
      this.#hasSlots(1, this.#valueFrames(length)) &&
      this.#hasRoom(putBytes(keyLength, length))
    ) {
      const seq = this.#seq + 1
      if (this.#tryPut(keyLength, source, offset, length, seq)) {
        this.#seq = seq
        if (journal !== undefined) appendPut(journal, seq, index, keyLength, source, offset, length)
        return this.#acknowledge(durability)
      }
    }
    const key = index.key.slice(0, keyLength)
    // Not `slice`: that of a Buffer copies nothing, and the caller may use its bytes again.
    const value = new Uint8Array(source.subarray(offset, offset + length))
    return this.#enqueue([{ kind: 'put', key, value }], durability).then(() => undefined)
  }

  /** Deletes the key in the index's scratch buffer. Resolves, when acknowledged, to whether it was there. */
  delete(keyLength: number, durability: Durability): Promise<boolean> {
    const { index, journal } = this
    if (this.#writable && this.#waiting.length === 0 && this.#hasSlots(1, 0) && this.#hasRoom(keyLength)) {
      const deleted = this.#tryDelete(keyLength)
      if (deleted === false) return Promise.resolve(false)
      if (deleted === true) {
        const seq = ++this.#seq
        if (journal !== undefined) appendDelete(journal, seq, index, keyLength)
        return this.#acknowledgedWith(true, durability)
      }
    }
    const key = index.key.slice(0, keyLength)
    return this.#enqueue([{ kind: 'delete', key }], durability).then(
      (outcome) => outcome.committed && outcome.found[0],
    )
  }

  /** Applies all operations or none. Resolves when acknowledged. */
  write(operations: readonly Operation[], durability: Durability): Promise<BatchOutcome> {
    if (this.#writable && this.#waiting.length === 0) {
      try {
        const outcome = this.#tryBatch(operations)
        if (outcome !== undefined) return this.#acknowledged(outcome, durability)
      } catch (error) {
        if (!(error instanceof FrameAbsent)) return Promise.reject(asError(error))
      }
    }
    return this.#enqueue(operations, durability)
  }

  /** Takes or drops a snapshot, in the place of a write. Resolves when acknowledged; rejects as `Snapshots.check` throws. */
  changeSnapshot(change: SnapshotChange, durability: Durability): Promise<BatchOutcome> {
    if (this.#canApply()) {
      try {
        const outcome = this.#trySnapshot(change)
        if (outcome !== undefined) return this.#acknowledged(outcome, durability)
      } catch (error) {
        return Promise.reject(asError(error))
      }
    }
    return this.#enqueue([], durability, change)
  }

  /**
   * As {@link write}, for a batch that depends on nothing. Takes the batch over: its memory serves the next one.
   *
   * With all frames in memory nothing can be missed half-way, so it is applied in one go, without looking first.
   */
  writePacked(batch: PackedBatch, durability: Durability): Promise<BatchOutcome> {
    let written: Promise<BatchOutcome> | undefined
    try {
      const outcome = this.#tryPacked(batch)
      if (outcome !== undefined) written = this.#acknowledged(outcome, durability)
    } catch (error) {
      written = Promise.reject(asError(error))
    }
    written ??= this.write(batch.operations(), durability)
    this.#givePackedBatch(batch)
    return written
  }

  /**
   * Renames a key, if that can be done at once; `undefined`, having changed nothing, where the long way is wanted.
   * `encode` puts one of the two keys into the index's scratch buffer and returns its length.
   */
  renameNow<K>(
    encode: KeyEncoder<K>,
    from: K,
    to: K,
    force: boolean,
    durability: Durability,
  ): Promise<BatchOutcome> | undefined {
    if (!this.#canApply() || this.frames.absentFrames > 0) return undefined
    const { index } = this
    const fromLength = encode.encodeIntoScratch(from)
    if (!index.find(fromLength)) {
      encode.encodeIntoScratch(to)
      return Promise.resolve({ committed: false, failed: { kind: 'failed', index: 0, reason: 'not-found' } })
    }
    if (index.foundLarge) return undefined
    const { foundBytes, foundOffset, foundLength } = index
    const foundWords = wordsOfSegment(this.frames.slab, foundBytes)
    if (foundWords === undefined) return undefined
    const batch = this.takePackedBatch()
    try {
      batch.addDeleteOf(index.keyWords, fromLength)
      const toLength = encode.encodeIntoScratch(to)
      // A value in a frame begins on a word.
      batch.addPutOfWords(index.keyWords, toLength, foundWords, foundOffset >>> 2, foundLength)
      if (index.find(toLength)) {
        // The same leaf: the two keys are one.
        if (index.foundOffset === foundOffset && index.foundBytes === foundBytes) return undefined
        if (!force)
          return Promise.resolve({ committed: false, failed: { kind: 'failed', index: 0, reason: 'exists' } })
      }
      const outcome = this.#tryPacked(batch)
      return outcome === undefined ? undefined : this.#acknowledged(outcome, durability)
    } finally {
      this.#givePackedBatch(batch)
    }
  }

  #canApply(): boolean {
    return this.#writable && this.#waiting.length === 0
  }

  #givePackedBatch(batch: PackedBatch): void {
    batch.clear()
    this.#sparePacked = batch
  }

  /** An empty batch. */
  takePackedBatch(): PackedBatch {
    const batch = this.#sparePacked ?? new PackedBatch()
    this.#sparePacked = undefined
    return batch
  }

  /**
   * Runs `step`, which changes the shape of the tree and not its contents, as a write is run: in one synchronous piece,
   * with slots at hand, no frame read in between. It is run again after a frame that it misses was loaded; so a step that
   * throws `FrameAbsent` must have changed nothing. Nothing goes into the journal. Returns what the step returned.
   */
  async reshape<T>(step: () => T): Promise<T> {
    const { frames, checkpointer } = this
    const pinned: BlobId[] = []
    try {
      for (;;) {
        // Whoever holds writes back looks at frames that this would change.
        while (this.#holders > 0) await this.#released()
        const refusal = this.#refusal()
        if (refusal !== undefined) throw refusal
        if (!this.#started) {
          await this.#begin()
          continue
        }
        if (!this.#hasSlots(OPERATIONS_PER_RESHAPE, 0)) {
          await keepingProcessAlive(checkpointer?.whenRoom())
          continue
        }
        const outcome = this.#tryReshape(step)
        if (outcome.missing === undefined) return outcome.result
        const { missing } = outcome
        await frames.load(missing)
        pinned.push(missing)
      }
    } finally {
      for (const id of pinned) frames.unpin(id)
    }
  }

  /**
   * As {@link reshape}, if that can be done here and now. `'not-now'` when writes are held back or slots are wanting; the
   * blob that the step missed. Nothing has changed in either case. Throws what the step throws.
   */
  reshapeNow<T>(step: () => T): ReshapeOutcome<T> | 'not-now' {
    if (!this.#writable || !this.#hasSlots(OPERATIONS_PER_RESHAPE, 0)) return 'not-now'
    return this.#tryReshape(step)
  }

  #tryReshape<T>(step: () => T): ReshapeOutcome<T> {
    const { frames, checkpointer, journal } = this
    frames.mayBlock = false
    try {
      const result = step()
      checkpointer?.changed(journal === undefined ? 0 : journal.appendedBytes)
      return { result, missing: undefined }
    } catch (error) {
      if (!(error instanceof FrameAbsent)) throw this.#breaks(error)
      return { missing: error.id }
    } finally {
      frames.mayBlock = true
    }
  }

  /**
   * Runs `piece` in the place of a write: behind all writes called before it, and none is applied until it has ended. It
   * must not wait for a write. Rejects as `piece` does.
   */
  #exclusively<T>(piece: () => Promise<T>): Promise<T> {
    const refusal = this.#refusal()
    if (refusal !== undefined) return Promise.reject(refusal)
    return new Promise((resolve, reject) => {
      this.#waiting.push({
        operations: [],
        piece: () => piece().then(resolve, reject),
        bytes: 0,
        durability: this.durability,
        pinned: [],
        resolve: () => undefined,
        reject,
      })
      this.#drain()
    })
  }

  // ---- bulk loads ----------------------------------------------------------------------------------------------

  /**
   * Begins to build the keys below `prefix`, all of one new version, aside from the tree; `undefined` when there are keys
   * below it. `check` is called before anything happens and may throw. Whoever gets a load ends it by {@link commitLoad} or
   * {@link abandonLoad}.
   */
  async beginLoad(prefix: Uint8Array, check: () => void): Promise<BulkLoad | undefined> {
    return await this.#exclusively(async () => {
      const { index, journal } = this
      const isEmpty = await this.reshape(() => {
        check()
        return isPrefixEmpty(index, prefix)
      })
      if (!isEmpty) return undefined
      while (journal !== undefined && this.#seq + 1 >= journal.durableSeq + SEQ_WINDOW) await journal.sync()
      this.#seq += 1
      return index.bulkLoad(prefix, this.#seq)
    })
  }

  /** Whether a load may add a value of so many bytes now, or has to wait for {@link whenRoomToLoad}. */
  hasRoomToLoad(valueBytes: number): boolean {
    return this.#holders === 0 && this.#hasSlots(1, this.#valueFrames(valueBytes))
  }

  async whenRoomToLoad(): Promise<void> {
    if (this.#holders > 0) await this.#released()
    else await keepingProcessAlive(this.checkpointer?.whenRoom())
  }

  /** A load has made frames, which the next checkpoint takes along. */
  loadChanged(): void {
    this.checkpointer?.changed(this.journal?.appendedBytes ?? 0)
  }

  /**
   * Hangs what was built into the tree and makes it part of a durable image. The journal has none of its keys, so no write is
   * applied between the two: replay never meets one that has seen keys which the image lacks. It says only that there was a
   * load, for followers, who learn of it once it is durable. Rejects `HOLT_EXISTS` when there are keys below the prefix by
   * now, and the checkpoint's error; the tree has none of the load then.
   */
  async commitLoad(load: BulkLoad, prefix: Uint8Array, check: () => void): Promise<void> {
    const { checkpointer, journal } = this
    // Most of it, while writes go on; the one below has little left.
    await checkpointer?.checkpoint()
    await this.#exclusively(async () => {
      const isIn = await this.#hangIn(load, prefix, check)
      if (!isIn)
        throw new HoltError(
          'HOLT_EXISTS',
          'keys were put into the tree while it was being loaded; nothing was loaded',
        )
      try {
        await checkpointer?.checkpoint({ force: true })
      } catch (error) {
        await this.#undoLoad(prefix)
        journal?.releaseFollowers()
        throw error
      }
      journal?.releaseFollowers()
    })
  }

  /** Whether the load is in the tree now, and its record in the journal, from which followers are held back. */
  async #hangIn(load: BulkLoad, prefix: Uint8Array, check: () => void): Promise<boolean> {
    const { journal } = this
    for (;;) {
      // In one piece, so that no image has the one without the other.
      const isIn = await this.reshape(() => {
        check()
        if (!this.#hasRoom(prefix.length)) return undefined
        if (!load.finish()) return false
        if (journal === undefined) return true
        journal.holdFollowers()
        this.#seq += 1
        appendBulkLoad(journal, this.#seq, prefix)
        return true
      })
      if (isIn !== undefined) return isIn
      if (this.#wanted === WANTS_STABLE_SEQ) await journal?.sync()
      else await journal?.whenRoom(this.#wanted)
    }
  }

  /**
   * A checkpoint that failed may be found durable nevertheless. So what it might have brought is deleted by a record of the
   * journal, which finds nothing to delete where it did not.
   */
  async #undoLoad(prefix: Uint8Array): Promise<void> {
    const write: WaitingWrite = {
      operations: [{ kind: 'deletePrefix', key: prefix }],
      bytes: 0,
      durability: this.durability,
      pinned: [],
      resolve: () => undefined,
      reject: () => undefined,
    }
    try {
      await this.#whenApplied(write)
    } catch (error) {
      throw this.#poisons(error)
    } finally {
      for (const id of write.pinned) this.frames.unpin(id)
    }
  }

  abandonLoad(load: BulkLoad): void {
    load.abandon()
    this.reclaimer.wake()
    this.loadChanged()
  }

  /** Whether replay brought back what the image lacks. */
  #hasNews(): boolean {
    return this.checkpointer?.hasNews ?? this.frames.hasDirt
  }

  /** All writes called before it are applied and survive a power loss. */
  async sync(): Promise<void> {
    this.assertNotReadOnly()
    await this.#drained()
    if (!this.#started) {
      // What replay brought back may still be in the system's cache only; getting ready for writes makes it stable.
      if (!this.#hasNews()) return
      await this.#begin()
    }
    if (this.journal !== undefined) await this.journal.sync()
    else await this.checkpointer?.checkpoint()
  }

  /** All writes called before it are part of a durable image. */
  async checkpoint(): Promise<void> {
    this.assertNotReadOnly()
    await this.#drained()
    if (this.checkpointer === undefined) return
    if (!this.#started) {
      if (!this.#hasNews()) return
      await this.#begin()
    }
    // Even with nothing dirty: what an epoch under way has taken along is not durable before it has come back.
    await this.checkpointer.checkpoint()
  }

  /** As {@link checkpoint}, and makes the store ready for changes even if there is nothing to write. */
  async checkpointForVacuum(): Promise<void> {
    this.assertNotReadOnly()
    await this.#drained()
    if (this.checkpointer === undefined) return
    if (!this.#started) await this.#begin()
    await this.checkpointer.checkpoint()
  }

  /**
   * Refuses further calls, applies what waits, writes a last checkpoint, and ends the journal: its files are removed, since
   * that checkpoint holds all of it, and the next first write makes new ones.
   */
  async close(): Promise<void> {
    this.assertOpen()
    this.#closed = true
    this.#writable = false
    this.views.closeAll()
    await this.feeds.close()
    // Who holds writes back sees that it is closed and lets go; what waited is applied then.
    while (this.#isDraining || this.#waiting.length > 0) {
      await this.#released()
      await this.#draining
    }
    await this.compaction.stop()
    await this.reclaimer.stop()
    if (this.#started) this.reclaimer.freeSingles()
    let failure: unknown
    const attempt = async (step: () => Promise<void> | undefined): Promise<void> => {
      try {
        await step()
      } catch (error) {
        failure ??= error
      }
    }
    let isAllInImage = false
    if (this.#started && this.#broken === undefined) {
      await attempt(async () => {
        await this.journal?.seal()
        // Also when nothing has changed: the note then says that no record is needed any more.
        await this.checkpointer?.checkpoint({ force: this.journal !== undefined })
        isAllInImage = true
      })
    }
    await attempt(() => this.checkpointer?.close())
    await attempt(() => this.journal?.close({ discard: isAllInImage }))
    await attempt(() => this.store.close())
    if (failure !== undefined) throw asError(failure)
  }

  // ---- applying at once ----------------------------------------------------------------------------------------

  /** Frames that a value of this length takes beside its leaf. */
  #valueFrames(valueBytes: number): number {
    return valueBytes <= this.#maxInlineBytes ? 0 : valueFrameCount(this.index.usableBytes, valueBytes)
  }

  /**
   * Whether slots are free for so many operations and frames of values; if not, {@link #wanted} says so. May evict: so
   * it comes before the frames of the operation are looked for. Never asks for so many that no frame could stay: beyond
   * that the cache grows.
   */
  #hasSlots(operations: number, valueFrames: number): boolean {
    const { frames, checkpointer } = this
    const { capacityFrames } = frames
    const forPaths = Math.min(operations * this.#slotsPerWrite, capacityFrames >>> 2)
    if (frames.reserve(forPaths + Math.min(valueFrames, capacityFrames >>> 1))) return true
    // Where a checkpoint cannot help, because the write's own frames fill the cache, the cache grows instead.
    if (checkpointer === undefined || !(frames.hasDirt || checkpointer.running)) return true
    this.#wanted = WANTS_SLOTS
    return false
  }

  /** Whether the journal takes a record of that size now; if not, {@link #wanted} says what is wanting. */
  #hasRoom(journalBytes: number): boolean {
    const { journal } = this
    if (journal === undefined) return true
    if (!journal.hasRoom(journalBytes)) {
      this.#wanted = journalBytes
      return false
    }
    // The durable seq only grows, so it is asked for when the end of what was seen is reached.
    if (this.#seq + 1 >= this.#seqLimit) this.#seqLimit = journal.durableSeq + SEQ_WINDOW
    if (this.#seq + 1 >= this.#seqLimit) {
      this.#wanted = WANTS_STABLE_SEQ
      return false
    }
    return true
  }

  /** False when a frame is not in memory; nothing has changed then. */
  #tryPut(keyLength: number, source: Uint8Array, offset: number, length: number, seq: number): boolean {
    const { frames, index } = this
    frames.mayBlock = false
    try {
      index.put(keyLength, source, offset, length, seq)
      return true
    } catch (error) {
      if (error instanceof FrameAbsent) return false
      throw this.#breaks(error)
    } finally {
      frames.mayBlock = true
    }
  }

  #tryDelete(keyLength: number): boolean | undefined {
    const { frames, index } = this
    frames.mayBlock = false
    try {
      return index.delete(keyLength)
    } catch (error) {
      if (error instanceof FrameAbsent) return undefined
      throw this.#breaks(error)
    } finally {
      frames.mayBlock = true
    }
  }

  /**
   * Resolves and applies a batch. `undefined` when slots or journal space are wanting. Throws {@link FrameAbsent} when
   * a frame is. Either way nothing has changed.
   */
  #tryBatch(operations: readonly Operation[]): BatchOutcome | undefined {
    const { frames, journal } = this
    const subtrees = operations.reduce((count, operation) => count + (unlinks(operation) ? 1 : 0), 0)
    let valueFrames = 0
    for (const operation of operations) {
      if (!('value' in operation)) continue
      this.#checkValue(operation.value)
      valueFrames += this.#valueFrames(operation.value.length)
    }
    // One that moves a subtree changes two paths, and may want a frame for the nodes and one for their path.
    if (!this.#hasSlots(operations.length + subtrees, valueFrames)) return undefined
    if (subtrees > 0 && this.index.unlinked.size > MAX_UNLINKED_FRAMES) {
      this.#wanted = WANTS_RECLAIM
      return undefined
    }
    this.#committed.begin()
    frames.mayBlock = false
    try {
      for (const operation of operations)
        for (const key of keysOf(operation)) this.index.touch(this.#setKey(key))
      const resolution = resolveOperations(operations, this.#committed, this.index.maxKeyBytes)
      if (resolution.kind === 'failed') return { committed: false, failed: resolution }
      const { effects, found, formerKeys } = resolution
      for (const key of formerKeys) this.index.touch(this.#setKey(key.subarray(0, this.index.maxKeyBytes)))
      if (effects.length === 0) return { committed: true, version: this.#seq, found }
      const bytes = effectsBytes(effects)
      const limit = Math.min(LIMITS.maxBatchBytes, journal?.maxBodyBytes ?? LIMITS.maxBatchBytes)
      if (bytes > limit) throw tooLarge(effects, bytes, limit)
      if (!this.#hasRoom(bytes)) return undefined
      const seq = this.#seq + 1
      // From here on nothing may fail: all frames are in memory, the journal has room.
      try {
        for (const effect of effects) applyEffect(this.index, effect, seq)
      } catch (error) {
        // Part of the batch may be in the tree.
        throw this.#poisons(error)
      }
      this.#seq = seq
      if (journal !== undefined) appendEffects(journal, seq, effects)
      if (this.index.unlinked.size > 0) this.reclaimer.wake()
      return { committed: true, version: seq, found }
    } finally {
      frames.mayBlock = true
    }
  }

  /** Applies a batch that depends on nothing; `undefined`, having changed nothing, where the long way is wanted. */
  #tryPacked(batch: PackedBatch): BatchOutcome | undefined {
    const { frames, index, journal } = this
    const bytes = batch.lengthBytes
    if (!this.#canApply() || batch.count === 0) return undefined
    if (batch.longestKeyBytes > index.maxKeyBytes || batch.longestValueBytes > index.maxInlineValueBytes)
      return undefined
    if (bytes > LIMITS.maxBatchBytes || !this.#hasSlots(batch.count, 0)) return undefined
    if (frames.absentFrames > 0 || !this.#hasRoom(bytes)) return undefined
    const seq = this.#seq + 1
    frames.mayBlock = false
    try {
      batch.apply(index, seq)
    } catch (error) {
      throw this.#poisons(error)
    } finally {
      frames.mayBlock = true
    }
    this.#seq = seq
    if (journal !== undefined) batch.append(journal, seq)
    return { committed: true, version: seq, found: [] }
  }

  /** `undefined`, having changed nothing, when the journal has no room. */
  #trySnapshot(change: SnapshotChange): BatchOutcome | undefined {
    const { snapshots, journal } = this
    snapshots.check(change)
    if (!this.#hasRoom(snapshotRecordBytes(change))) return undefined
    const seq = ++this.#seq
    snapshots.apply(change, seq)
    if (journal !== undefined) appendSnapshotChange(journal, seq, change)
    this.checkpointer?.noteChanged()
    this.#viewsChanged()
    return { committed: true, version: seq, found: [] }
  }

  #setKey(key: Uint8Array): number {
    this.index.key.set(key)
    return key.length
  }

  /** Larger values than these frames take can only be meant where frames are tiny: the facade checks the usual limit. */
  #checkValue(value: Uint8Array): void {
    const { maxValueBytes } = this.index
    if (value.length <= maxValueBytes) return
    throw new HoltError(
      'HOLT_VALUE_TOO_LARGE',
      `a value has ${String(value.length)} bytes; at most ${String(maxValueBytes)} are allowed`,
    )
  }

  /**
   * The index promises that what it throws has changed nothing. Only an invariant that does not hold may mean a tree
   * that is ahead of the journal: then nothing is written any more, as it might be written wrong.
   */
  #breaks(error: unknown): Error {
    return isHoltError(error) && error.code !== 'HOLT_INTERNAL' ? error : this.#poisons(error)
  }

  #poisons(error: unknown): Error {
    this.#broken ??= new HoltError(
      'HOLT_POISONED',
      'a write failed half-way inside the index; open the store again',
      { cause: error },
    )
    this.#writable = false
    return asError(error)
  }

  #acknowledge(durability: Durability): Promise<void> {
    const { journal } = this
    this.checkpointer?.changed(journal === undefined ? 0 : journal.appendedBytes)
    this.compaction.wake()
    if (journal === undefined || durability === 'memory') return this.#turns.settled()
    return durability === 'os' && journal.immediate ? this.#turns.settled() : journal.acknowledge(durability)
  }

  #acknowledged(outcome: BatchOutcome, durability: Durability): Promise<BatchOutcome> {
    return outcome.committed ? this.#acknowledgedWith(outcome, durability) : Promise.resolve(outcome)
  }

  #acknowledgedWith<T>(result: T, durability: Durability): Promise<T> {
    const acknowledged = this.#acknowledge(durability)
    // Acknowledged already: one promise, and one turn of the queue of microtasks less.
    return acknowledged === RESOLVED ? Promise.resolve(result) : acknowledged.then(() => result)
  }

  // ---- the queue -----------------------------------------------------------------------------------------------

  #enqueue(
    operations: readonly Operation[],
    durability: Durability,
    snapshot?: SnapshotChange,
  ): Promise<BatchOutcome> {
    const refusal = this.#refusal()
    if (refusal !== undefined) return Promise.reject(refusal)
    let bytes = 0
    for (const operation of operations) bytes += operationBytes(operation)
    if (this.#waiting.length > 0 && this.#waitingBytes + bytes > LIMITS.maxQueuedBytes) {
      return Promise.reject(
        new HoltError(
          'HOLT_QUEUE_FULL',
          `${String(this.#waitingBytes)} bytes of writes wait already; await some of them before the next`,
        ),
      )
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ operations, snapshot, bytes, durability, pinned: [], resolve, reject })
      this.#waitingBytes += bytes
      this.#drain()
    })
  }

  #drain(): void {
    if (this.#isDraining || this.#holders > 0) return
    this.#isDraining = true
    this.#draining = this.#drainQueue()
  }

  /** Resolves when all writes that wait now are applied or refused. */
  async #drained(): Promise<void> {
    // A write of nothing behind them: what comes later does not hold this up.
    if (this.#waiting.length > 0) await this.#enqueue([], this.durability)
  }

  async #drainQueue(): Promise<void> {
    for (let write = this.#waiting.at(0); write !== undefined; write = this.#waiting.at(0)) {
      try {
        const { piece, snapshot } = write
        const isMarker = write.operations.length === 0 && snapshot === undefined
        if (!this.#started && (!isMarker || piece !== undefined)) await this.#begin()
        if (piece !== undefined) await piece()
        const outcome = await this.#whenApplied(write)
        write.resolve(isMarker ? outcome : this.#acknowledged(outcome, write.durability))
      } catch (error) {
        write.reject(asError(error))
      }
      for (const id of write.pinned) this.frames.unpin(id)
      this.#waiting.shift()
      this.#waitingBytes -= write.bytes
    }
    // In the same breath as the last look at the queue: who comes behind it starts anew.
    this.#isDraining = false
  }

  /** The first write of this opening makes the files ready: an open that only reads changes nothing. */
  async #begin(): Promise<void> {
    await this.#start(this.#seqFloor)
    this.#started = true
    this.#becomeWritable()
    if (!this.#closed && this.#broken === undefined) this.reclaimer.wake()
  }

  async #whenApplied(write: WaitingWrite): Promise<BatchOutcome> {
    const { journal, checkpointer } = this
    for (;;) {
      while (this.#holders > 0) await this.#released()
      if (this.#broken !== undefined) throw this.#broken
      try {
        const outcome =
          write.snapshot === undefined ? this.#tryBatch(write.operations) : this.#trySnapshot(write.snapshot)
        if (outcome !== undefined) return outcome
      } catch (error) {
        if (!(error instanceof FrameAbsent)) throw error
        await this.#loadAhead(write, error.id)
        continue
      }
      // Nothing was changed: wait for what is wanting, then try again.
      if (this.#wanted === WANTS_SLOTS) await keepingProcessAlive(checkpointer?.whenRoom())
      else if (this.#wanted === WANTS_STABLE_SEQ) await journal?.sync()
      else if (this.#wanted === WANTS_RECLAIM) await this.reclaimer.whenAtMost(MAX_UNLINKED_FRAMES)
      else await journal?.whenRoom(this.#wanted)
    }
  }

  /**
  /**
   * Loads, many at once, the frame that is missed, which may be one of a value, and those that this write and those
   * behind it are known to miss; pins those of this one.
   */
  async #loadAhead(write: WaitingWrite, missed: BlobId): Promise<void> {
    const own = this.#missing(write).add(missed)
    const loads = [...own].map(async (id) => {
      await this.frames.load(id)
      write.pinned.push(id)
    })
    for (const next of this.#waiting.slice(1, LOOK_AHEAD_WRITES)) {
      for (const id of this.#missing(next)) {
        if (own.has(id)) continue
        own.add(id)
        // A failure is the next write's to report, when its turn comes.
        loads.push(this.frames.load(id).then(() => { this.frames.unpin(id) }, () => undefined)) // prettier-ignore
      }
    }
    const settled = await Promise.allSettled(loads)
    for (const result of settled) if (result.status === 'rejected') throw asError(result.reason)
  }

  #missing(write: WaitingWrite): Set<BlobId> {
    const missing = new Set<BlobId>()
    this.frames.mayBlock = false
    try {
      for (const operation of write.operations) {
        for (const key of keysOf(operation)) {
          try {
            this.index.touch(this.#setKey(key))
          } catch (error) {
            if (!(error instanceof FrameAbsent)) throw error
            missing.add(error.id)
          }
        }
      }
    } finally {
      this.frames.mayBlock = true
    }
    return missing
  }
}

const LOOK_AHEAD_WRITES = 17

/** Why effects do not fit a record: a single value has an error of its own, and small segments are the reason then. */
function tooLarge(effects: readonly Effect[], bytes: number, limit: number): HoltError {
  if (effects.length > 1) return batchTooLarge(bytes, limit)
  return new HoltError(
    'HOLT_VALUE_TOO_LARGE',
    `key and value take ${String(bytes)} bytes in the journal, and a record of this database has room for ${String(limit)}; open it with larger segmentBytes`,
  )
}

function openedForReading(): HoltError {
  return new HoltError('HOLT_READ_ONLY', 'the database was opened for reading (readOnly)')
}

function asError(error: unknown): Error {
  return error instanceof Error
    ? error
    : new HoltError('HOLT_INTERNAL', 'something that is no error was thrown', { cause: error })
}

/** A checkpoint that failed waits for its timer, which keeps no process alive; a pending write does. */
export async function keepingProcessAlive(wait: Promise<void> | undefined): Promise<void> {
  const alive = setInterval(() => undefined, 2 ** 30)
  try {
    await wait
  } finally {
    clearInterval(alive)
  }
}
