import { join } from 'node:path'
import { blobId, type BlobId, FRAME_BYTES, usedPages } from '@holt/blob-buf-pool'
import { HoltError, isHoltError } from '@holt/errors'
import type { Io, IoFile } from '@holt/uring-native'
import type {
  BackupRequest,
  BackupState,
  BlobRead,
  BlobStore,
  BlobStoreStats,
  BlobStoreSupport,
  BlobStoreWorker,
  BlobWrite,
  VacuumStep,
} from './blob-store.js'
import { DATA_NAME, FrameReader, FrameWriter } from './data-file.js'
import { DiskSlots } from './disk-slots.js'
import { sealFrame } from './frame-envelope.js'
import type { ManifestImage } from './manifest-format.js'
import { MANIFEST_NAME, MANIFEST_TEMPORARY_NAME, ManifestLog } from './manifest-log.js'
import { readManifest, startsAsManifest, type ManifestState } from './manifest-reader.js'
import { type Mapping, MappingTable } from './mapping-table.js'
import { OneAtATime } from './one-at-a-time.js'
import { StoreBackup, syncAncestors } from './store-backup.js'
import { vacuumStep } from './vacuum.js'
import { type MappingProblem, verifyMapping } from './verify-mapping.js'
import { assertBlobId, assertFrameBytes, assertNote, assertRange, lastOfEach } from './store-arguments.js'

export interface FileBlobStoreOptions {
  readonly io: Io
  readonly directory: string
  /** Make the store if the directory is absent or holds none. Default false. */
  readonly createIfMissing?: boolean
  /** Bypass the page cache when writing: frames must then lie at multiples of 4 KiB in memory. Default false. */
  readonly direct?: boolean
  /** This thread has nothing else to do while frames are written: it may block. Default false. */
  readonly mayBlock?: boolean
  /** The mapping of another instance over the same directory, on another thread: what either flushes both show. */
  readonly mapping?: SharedArrayBuffer
  /** Ids below this can be stored. Default 2^24. Not with `mapping`. */
  readonly maxBlobs?: number
  /** Names in the directory that belong to others of the same database, such as its lock and its journal. */
  readonly isOwnName?: (name: string) => boolean
  /** What the directory holds, where the caller has just listed it. */
  readonly names?: readonly string[]
  /**
   * Changes no byte, also while another process writes the store: shows the image that was the newest at opening. Whoever
   * writes may use that image's places again meanwhile; a read that finds so rejects `HOLT_BUSY`, and the caller opens the
   * store anew. Default false.
   */
  readonly readOnly?: boolean
}

/** What goes to the thread that is to write: see {@link BlobStoreWorker}. */
export interface FileBlobStoreWorkerData {
  readonly directory: string
  readonly mapping: SharedArrayBuffer
  readonly direct: boolean
}

type Staged = Mapping | 'deleted'

const FIRST_BLOB = blobId(1)
const NO_BACKUP: BackupState = { frames: 0, bytes: 0, copiedFrames: 0, copiedBytes: 0, note: undefined }

/**
 * Keeps frames in two files of a directory. `blobs.dat` holds them, disk slot n at n × 512 KiB; `manifest` says which
 * blob lies in which slot.
 *
 * Frames are never overwritten in place: each write goes to a free disk slot (shadow paging). A flush syncs the data,
 * then commits one record of the manifest, and only then are the slots of the former images free. So a crash at any
 * moment leaves an old manifest with all it names, or the new one with all it names.
 *
 * Mutations run one behind the other; reads run beside them and check every byte against the manifest's checksum of
 * the frame's first page, which vouches for the rest.
 *
 * Several instances may read one directory through one shared mapping; the first that writes is the only one that may.
 *
 * A *read-only* instance needs nothing of whoever writes. It keeps the mapping of the manifest that it found, so what it
 * hands out is of that image or fails its checks. A failure is judged by the manifest, which always changes before a place
 * is used again: if it is the same still, the bytes are damaged, and else it is `HOLT_BUSY`.
 */
export class FileBlobStore implements BlobStore {
  readonly supports: BlobStoreSupport = { syncReads: true, rangedReads: true, atomicFlush: true }
  readonly #io: Io
  readonly #directory: string
  readonly #dataPath: string
  readonly #direct: boolean
  readonly #mayBlock: boolean
  /** Of a read-only instance: the manifest that it found. */
  readonly #shown: ManifestState | undefined
  readonly #mapping: MappingTable
  readonly #queue = new OneAtATime()
  readonly #slots = new DiskSlots()
  readonly #staged = new Map<BlobId, Staged>()
  /** Disk slots of failed attempts, out of use until a flush has succeeded. */
  #quarantine: number[] = []
  #backup: StoreBackup | undefined
  /** Disk slots that nothing names any more, but which a backup has still to copy. */
  #heldForBackup: number[] = []
  #log: ManifestLog
  #note: Uint8Array | undefined
  #foundBytes = 0
  #punchFrom = FIRST_BLOB
  #reader: FrameReader | undefined
  #closeReader: (() => Promise<void>) | undefined
  #opening: Promise<FrameReader> | undefined
  #writer: FrameWriter | undefined
  #poison: { readonly cause: unknown } | undefined
  #closed = false

  private constructor(
    options: FileBlobStoreOptions,
    mapping: MappingTable,
    found: ManifestState | undefined,
  ) {
    this.#io = options.io
    this.#directory = options.directory
    this.#dataPath = join(options.directory, DATA_NAME)
    this.#direct = options.direct ?? false
    this.#mayBlock = options.mayBlock ?? false
    this.#mapping = mapping
    this.#shown = options.readOnly === true ? found : undefined
    this.#log =
      found === undefined
        ? ManifestLog.fresh(options.io, options.directory)
        : ManifestLog.found(options.io, options.directory, found)
    this.#note = found?.note
  }

  /**
   * Opens the store of a directory, or makes one. Reads the manifest; writes nothing, except that an absent directory
   * is made.
   *
   * Throws `HOLT_NOT_FOUND` when the directory is absent and not to be made, `HOLT_NOT_A_STORE` when there is no store
   * in it and it holds something else or none is to be made, `HOLT_VERSION` for a store of another format, and
   * `HOLT_CORRUPT`, with file and offset, for one that is damaged.
   */
  static async open(options: FileBlobStoreOptions): Promise<FileBlobStore> {
    const mapping =
      options.mapping === undefined
        ? MappingTable.create(options.maxBlobs)
        : MappingTable.attach(options.mapping)
    if (options.readOnly === true && (options.createIfMissing ?? false))
      throw new HoltError('HOLT_INVALID_ARGUMENT', 'a store that is only read cannot be made')
    const { manifest, data } = await findStore(options)
    const store = new FileBlobStore(options, mapping, manifest)
    try {
      await store.#openFound(manifest, data)
    } catch (error) {
      await store.close()
      throw error
    }
    return store
  }

  /** Takes over what was found, and checks that all frames can be in the data file. */
  async #openFound(manifest: ManifestState | undefined, data: FoundData | undefined): Promise<void> {
    if (data !== undefined) this.#closeReader = () => this.#io.close(data.file)
    const mappings = manifest?.mappings ?? new Map<BlobId, Mapping>()
    let slots = 0
    for (const [id, place] of mappings) {
      if (id >= this.#mapping.capacity) {
        throw new HoltError(
          'HOLT_INVALID_ARGUMENT',
          `${this.#directory} holds blob ${String(id)}; maxBlobs is ${String(this.#mapping.capacity)}`,
        )
      }
      slots = Math.max(slots, place.diskSlot + 1)
    }
    for (const [id, place] of mappings) {
      this.#mapping.set(id, place)
      this.#slots.take(place.diskSlot)
    }
    if (mappings.size === 0) {
      await this.#closeReader?.()
      this.#closeReader = undefined
      return
    }
    if (data === undefined) {
      throw new HoltError(
        'HOLT_CORRUPT',
        `${this.#dataPath} is missing; the manifest names ${String(mappings.size)} blobs in it`,
      )
    }
    this.#reader = new FrameReader(this.#io, data.file, (id) => this.#locate(id))
    const { sizeBytes } = data
    this.#foundBytes = sizeBytes
    if (sizeBytes < slots * FRAME_BYTES) {
      throw new HoltError(
        'HOLT_CORRUPT',
        `${this.#dataPath} at ${String(sizeBytes)}: the file ends here; the manifest names frames up to ${String(slots * FRAME_BYTES)}`,
      )
    }
  }

  /** 16 bytes that were drawn when the store was made and never change. */
  get storeId(): Uint8Array {
    return this.#log.storeId.slice()
  }

  // ---- reading -------------------------------------------------------------------------------------------------

  async read(id: BlobId, into: Uint8Array): Promise<void> {
    assertFrameBytes(into)
    const reader = await this.#readerOf(id)
    try {
      await reader.read(id, into)
    } catch (error) {
      throw this.#judged(error)
    }
  }

  async readMany(reads: readonly BlobRead[]): Promise<void> {
    for (const { into } of reads) assertFrameBytes(into)
    this.#assertOpen()
    const results = await Promise.allSettled(reads.map(({ id, into }) => this.read(id, into)))
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  async readRange(id: BlobId, offsetBytes: number, into: Uint8Array, header?: Uint8Array): Promise<void> {
    assertRange(offsetBytes, into)
    const reader = await this.#readerOf(id)
    try {
      await reader.readRange(id, offsetBytes, into, header)
    } catch (error) {
      throw this.#judged(error)
    }
  }

  /** Throws `HOLT_BUSY` when another instance made the data file and this one has not read anything else since. */
  readSync(id: BlobId, into: Uint8Array): void {
    assertFrameBytes(into)
    const reader = this.#openedReader(id)
    try {
      reader.readSync(id, into)
    } catch (error) {
      throw this.#judged(error)
    }
  }

  /** Throws `HOLT_BUSY` as {@link readSync} does, too. */
  readRangeSync(id: BlobId, offsetBytes: number, into: Uint8Array, header?: Uint8Array): void {
    assertRange(offsetBytes, into)
    const reader = this.#openedReader(id)
    try {
      reader.readRangeSync(id, offsetBytes, into, header)
    } catch (error) {
      throw this.#judged(error)
    }
  }

  /** What it means that a read failed: of a store that is only read, and written by another, its place may be another's. */
  #judged(error: unknown): unknown {
    if (this.#shown === undefined || !isHoltError(error, 'HOLT_CORRUPT') || this.isCurrent()) return error
    return new HoltError(
      'HOLT_BUSY',
      `${this.#directory} was written since it was opened for reading, and a frame of then is no more: open it again`,
      { cause: error },
    )
  }

  /**
   * Of a read-only instance: whether the image that it shows is the newest still, so that no place of it can have been
   * used again. Blocks. A manifest that cannot be read now counts as another one.
   */
  isCurrent(): boolean {
    const shown = this.#shown
    if (shown === undefined) return true
    try {
      const now = readManifest(this.#io.readWholeSync(this.#log.path), this.#log.path)
      return now.recordNumber === shown.recordNumber && now.seed === shown.seed
    } catch (error) {
      if (isHoltError(error, 'HOLT_CORRUPT') || isHoltError(error, 'HOLT_NOT_FOUND')) return false
      throw error
    }
  }

  #openedReader(id: BlobId): FrameReader {
    this.#assertThere(id)
    if (this.#reader !== undefined) return this.#reader
    throw new HoltError(
      'HOLT_BUSY',
      `${this.#dataPath} was made by another instance since: await settle() or read() first`,
    )
  }

  #locate(id: BlobId): Mapping | undefined {
    const staged = this.#staged.get(id)
    if (staged === 'deleted') return undefined
    return staged ?? this.#mapping.get(id)
  }

  #assertThere(id: BlobId): void {
    this.#assertOpen()
    if (this.#locate(id) === undefined) {
      throw new HoltError('HOLT_NOT_FOUND', `no blob ${String(id)} in ${this.#dataPath}`)
    }
  }

  async #readerOf(id: BlobId): Promise<FrameReader> {
    this.#assertThere(id)
    return this.#reader ?? (await this.#openReader())
  }

  async #openReader(): Promise<FrameReader> {
    this.#opening ??= this.#io.open(this.#dataPath, { access: 'read' }).then((file) => {
      this.#closeReader = () => this.#io.close(file)
      return (this.#reader = new FrameReader(this.#io, file, (id) => this.#locate(id)))
    })
    try {
      return await this.#opening
    } finally {
      this.#opening = undefined
    }
  }

  has(id: BlobId): boolean {
    this.#assertOpen()
    return this.#locate(id) !== undefined
  }

  list(): BlobId[] {
    this.#assertOpen()
    const ids = this.#mapping.ids().filter((id) => !this.#staged.has(id))
    for (const [id, staged] of this.#staged) if (staged !== 'deleted') ids.push(id)
    return ids.sort((a, b) => a - b)
  }

  note(): Uint8Array | undefined {
    return this.#note?.slice()
  }

  get needsFlush(): boolean {
    return this.#staged.size > 0
  }

  stats(): BlobStoreStats {
    this.#assertOpen()
    let blobs = this.#mapping.count
    for (const [id, staged] of this.#staged) {
      const flushed = this.#mapping.get(id) !== undefined
      if (staged === 'deleted') blobs -= flushed ? 1 : 0
      else blobs += flushed ? 0 : 1
    }
    // Another instance that writes knows better.
    const { data, manifest } = this.#mapping.writtenByAnother
      ? this.#mapping.fileBytes
      : { data: this.#writer?.sizeBytes ?? this.#foundBytes, manifest: this.#log.sizeBytes }
    return {
      blobs,
      files: [
        { name: DATA_NAME, sizeBytes: data },
        { name: MANIFEST_NAME, sizeBytes: manifest },
      ],
    }
  }

  /** Whether each blob has a disk slot of its own, as of the last flush. */
  verifyMapping(): MappingProblem[] {
    this.#assertOpen()
    return verifyMapping(this.#mapping)
  }

  // ---- writing -------------------------------------------------------------------------------------------------

  write(id: BlobId, frame: Uint8Array): Promise<void> {
    return this.writeMany([{ id, frame }])
  }

  async writeMany(writes: readonly BlobWrite[]): Promise<void> {
    const frames = lastOfEach(writes, this.#mapping.capacity)
    if (frames.size === 0) return
    await this.#mutate((writer) => this.#stageFrames(writer, frames))
  }

  async #stageFrames(writer: FrameWriter, frames: ReadonlyMap<BlobId, Uint8Array>): Promise<void> {
    const taken: { readonly id: BlobId; readonly diskSlot: number; readonly frame: Uint8Array }[] = []
    const staged: (readonly [BlobId, Mapping])[] = []
    try {
      let reach = 0
      for (const [id, frame] of frames) {
        const diskSlot = this.#slots.takeLowest()
        taken.push({ id, diskSlot, frame })
        reach = Math.max(reach, diskSlot + 1)
      }
      await writer.reach(reach)
      for (const { id, diskSlot, frame } of taken) {
        staged.push([id, { diskSlot, pages: usedPages(frame), headerCrc: sealFrame(frame, id) }])
      }
      await writer.write(taken)
    } catch (error) {
      for (const { diskSlot } of taken) this.#slots.release(diskSlot)
      throw error
    }
    for (const [id, place] of staged) this.#stage(id, place)
  }

  async delete(id: BlobId): Promise<void> {
    assertBlobId(id, this.#mapping.capacity)
    this.#assertOpen()
    if (this.#locate(id) === undefined && !this.#queue.isBusy) return
    await this.#mutate(() => {
      if (this.#mapping.get(id) === undefined) this.#unstage(id)
      else this.#stage(id, 'deleted')
      return Promise.resolve()
    })
  }

  #stage(id: BlobId, staged: Staged): void {
    this.#unstage(id)
    this.#staged.set(id, staged)
  }

  /** A disk slot that was staged and never flushed is nobody's any more. */
  #unstage(id: BlobId): void {
    const before = this.#staged.get(id)
    if (before !== undefined && before !== 'deleted') this.#slots.release(before.diskSlot)
    this.#staged.delete(id)
  }

  async flush(note: Uint8Array): Promise<void> {
    assertNote(note)
    const kept = new Uint8Array(note)
    await this.#mutate((writer) => this.#commit(writer, kept))
  }

  async #commit(writer: FrameWriter, note: Uint8Array): Promise<void> {
    const mappings: (readonly [BlobId, Mapping])[] = []
    const removals: BlobId[] = []
    for (const [id, staged] of this.#staged) {
      if (staged === 'deleted') removals.push(id)
      else mappings.push([id, staged])
    }
    if (mappings.length > 0) {
      try {
        await writer.sync()
      } catch (error) {
        this.#dropStaged('quarantine')
        throw error
      }
    }
    try {
      await this.#log.commit({ mappings, removals, note }, () => this.#imageWith(note))
    } catch (error) {
      this.#dropStaged(this.#log.standing === 'settled' ? 'free' : 'quarantine')
      throw error
    }
    this.#publish(note)
  }

  /**
   * One step of giving room back to the system; see {@link BlobStore.vacuum}. Changes nothing that is stored, nor the
   * note. Rejects `HOLT_BUSY` while anything is staged: that is not to be committed by the way.
   */
  async vacuum(maxFrames: number): Promise<VacuumStep> {
    let step: VacuumStep | undefined
    await this.#mutate(async (writer) => {
      if (this.#staged.size > 0)
        throw new HoltError('HOLT_BUSY', 'frames are staged: flush before the store is vacuumed')
      const note = this.#note
      // Before the first flush there is nothing to move.
      if (note !== undefined) step = await this.#vacuum(writer, note, maxFrames)
    })
    return step ?? { movedFrames: 0, freedBytes: 0, isDone: true }
  }

  async #vacuum(writer: FrameWriter, note: Uint8Array, maxFrames: number): Promise<VacuumStep> {
    const reader = this.#reader ?? (await this.#openReader())
    // A commit frees the slots of failed attempts.
    if (this.#quarantine.length > 0) await this.#commit(writer, note)
    const step = await vacuumStep(
      {
        mapping: this.#mapping,
        slots: this.#slots,
        writer,
        read: (id, into) => reader.read(id, into),
        stage: (id, place) => {
          this.#stage(id, place)
        },
        commit: () => this.#commit(writer, note),
        punchFrom: this.#punchFrom,
        punchedTo: (next) => {
          this.#punchFrom = next ?? FIRST_BLOB
        },
      },
      maxFrames,
    )
    if (!step.isDone) return step
    const before = this.#log.sizeBytes
    await this.#log.replace(this.#completedImage())
    return { ...step, freedBytes: step.freedBytes + Math.max(0, before - this.#log.sizeBytes) }
  }

  /** See {@link BlobStore.backup}. Between two requests flushes and vacuums go on; only the image's slots are held. */
  async backup(request: BackupRequest): Promise<BackupState> {
    if (request.kind === 'begin') return await this.#beginBackup(request.directory)
    return await this.#queue.run(async () => {
      const backup = this.#backup?.directory === request.directory ? this.#backup : undefined
      if (request.kind === 'abandon') {
        if (backup !== undefined) await this.#endBackup('abandon')
        return NO_BACKUP
      }
      this.#assertOpen()
      if (backup === undefined)
        throw new HoltError('HOLT_INTERNAL', `no backup to ${request.directory} is under way`)
      try {
        if (request.kind === 'copy') await backup.copy(request.maxFrames)
        else await backup.finish(request.note)
      } catch (error) {
        await this.#endBackup('abandon')
        throw error
      }
      if (request.kind === 'finish') await this.#endBackup('keep')
      return { ...backup.state, note: undefined }
    })
  }

  async #beginBackup(directory: string): Promise<BackupState> {
    let state = NO_BACKUP
    await this.#mutate(async () => {
      if (this.#backup !== undefined)
        throw new HoltError('HOLT_BUSY', `a backup to ${this.#backup.directory} is under way; one at a time`)
      const backup = await this.#planBackup(directory)
      this.#backup = backup
      try {
        await backup.begin()
      } catch (error) {
        await this.#endBackup('abandon')
        throw error
      }
      state = backup.state
    })
    return state
  }

  async #planBackup(directory: string): Promise<StoreBackup> {
    if (this.#reader === undefined) await this.#openReader()
    const image = this.#completedImage()
    const places = new Map(image.mappings)
    // Not where the blobs are by then, but where they were.
    const reader = this.#reader?.at((id) => places.get(id))
    return new StoreBackup({
      io: this.#io,
      directory,
      image,
      read: (id, into) => {
        if (reader === undefined) throw new HoltError('HOLT_INTERNAL', 'the data file is not open')
        return reader.read(id, into)
      },
      mayBlock: this.#mayBlock,
    })
  }

  /** Its slots may be used again. */
  async #endBackup(fate: 'keep' | 'abandon'): Promise<void> {
    const backup = this.#backup
    this.#backup = undefined
    for (const diskSlot of this.#heldForBackup.splice(0)) this.#slots.release(diskSlot)
    if (fate === 'abandon') await backup?.abandon()
  }

  /** The state that this flush makes. */
  #imageWith(note: Uint8Array): ManifestImage {
    const mappings: (readonly [BlobId, Mapping])[] = []
    for (const id of this.list()) {
      const place = this.#locate(id)
      if (place !== undefined) mappings.push([id, place])
    }
    return { mappings, note }
  }

  /** The state of the last completed flush. */
  #completedImage(): ManifestImage {
    const mappings: (readonly [BlobId, Mapping])[] = []
    for (const id of this.#mapping.ids()) {
      const place = this.#mapping.get(id)
      if (place !== undefined) mappings.push([id, place])
    }
    return { mappings, note: this.#note }
  }

  #publish(note: Uint8Array): void {
    for (const [id, staged] of this.#staged) {
      const before = this.#mapping.get(id)
      if (staged === 'deleted') this.#mapping.remove(id)
      else this.#mapping.set(id, staged)
      if (before !== undefined) this.#giveBack(before.diskSlot)
    }
    this.#staged.clear()
    for (const diskSlot of this.#quarantine) this.#slots.release(diskSlot)
    this.#quarantine = []
    this.#note = note
  }

  /** A slot of the former image. */
  #giveBack(diskSlot: number): void {
    if (this.#backup?.holds(diskSlot) === true) this.#heldForBackup.push(diskSlot)
    else this.#slots.release(diskSlot)
  }

  /** Forgets what was staged. A slot that a record of unknown fate names, or whose sync failed, is kept out of use. */
  #dropStaged(fate: 'free' | 'quarantine'): void {
    for (const staged of this.#staged.values()) {
      if (staged === 'deleted') continue
      if (fate === 'free') this.#slots.release(staged.diskSlot)
      else this.#quarantine.push(staged.diskSlot)
    }
    this.#staged.clear()
  }

  /**
   * Brings the files into a state in which they may be changed: made and named durably if there are none yet, else
   * made sure of. The first mutation does it too; calling it again does nothing. An owner that hands the writing to
   * another thread calls it first, so that this instance has the data file open.
   */
  async settle(): Promise<void> {
    await this.#queue.run(async () => {
      this.#assertOpen()
      this.#assertNotReadOnly()
      await this.#prepare()
    })
  }

  async #mutate(work: (writer: FrameWriter) => Promise<void>): Promise<void> {
    await this.#queue.run(async () => {
      this.#assertOpen()
      this.#assertNotReadOnly()
      if (!this.#mapping.claimWriter()) throw this.#notTheWriter()
      const writer = await this.#prepare()
      try {
        await work(writer)
      } finally {
        this.#mapping.setFileBytes(writer.sizeBytes, this.#log.sizeBytes)
      }
    })
  }

  #assertNotReadOnly(): void {
    if (this.#shown !== undefined)
      throw new HoltError('HOLT_READ_ONLY', `the store in ${this.#directory} was opened for reading`)
  }

  #notTheWriter(): HoltError {
    return new HoltError('HOLT_LOCKED', `another instance writes ${this.#directory}; this one only reads`)
  }

  async #prepare(): Promise<FrameWriter> {
    if (this.#mapping.writtenByAnother) throw this.#notTheWriter()
    if (this.#poison !== undefined) {
      throw new HoltError(
        'HOLT_POISONED',
        `${this.#log.path}: a commit of unknown fate could not be settled; open the store again`,
        { cause: this.#poison.cause },
      )
    }
    switch (this.#log.standing) {
      case 'absent':
        await this.#makeManifest()
        break
      case 'found':
        await this.#log.rewriteLast()
        break
      case 'undecided':
        await this.#settleUndecided()
        break
      case 'settled':
        break
    }
    return this.#writer ?? (await this.#openWriter())
  }

  /**
   * The way to the directory first, since its name may be as young as the store; then the manifest; the data file last,
   * so that one without a manifest is always a damaged store and never a young one.
   */
  async #makeManifest(): Promise<void> {
    await syncAncestors(this.#io, this.#directory)
    await this.#log.replace(this.#completedImage())
  }

  async #settleUndecided(): Promise<void> {
    try {
      await this.#log.replace(this.#completedImage())
    } catch (error) {
      if (!ManifestLog.mayTryAgain(error)) this.#poison = { cause: error }
      throw error
    }
  }

  async #openWriter(): Promise<FrameWriter> {
    const writer = await FrameWriter.open(this.#io, this.#dataPath, this.#direct, this.#mayBlock)
    try {
      // The name of the data file, and of a manifest that was found, whose writer may have been killed behind its rename.
      await this.#io.syncDir(this.#directory)
      if (this.#reader === undefined) await this.#openReader()
    } catch (error) {
      await writer.close().catch(() => undefined)
      throw error
    }
    this.#writer = writer
    return writer
  }

  // ---- the rest ------------------------------------------------------------------------------------------------

  get worker(): BlobStoreWorker {
    const data: FileBlobStoreWorkerData = {
      directory: this.#directory,
      mapping: this.#mapping.buffer,
      direct: this.#direct,
    }
    return { moduleUrl: WORKER_MODULE.href, data }
  }

  /** Waits for mutations in progress; what is staged and not flushed is gone. Closing twice does nothing. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#opening?.catch(() => undefined)
    await this.#queue.run(async () => {
      if (this.#backup !== undefined) await this.#endBackup('abandon')
      const closing: (() => Promise<void>)[] = [() => this.#log.close()]
      if (this.#closeReader !== undefined) closing.push(this.#closeReader)
      const writer = this.#writer
      if (writer !== undefined) closing.push(() => writer.close())
      this.#reader = undefined
      this.#writer = undefined
      this.#staged.clear()
      const results = await Promise.allSettled(closing.map((close) => close()))
      for (const result of results) if (result.status === 'rejected') throw result.reason
    })
  }

  #assertOpen(): void {
    if (this.#closed) throw new HoltError('HOLT_CLOSED', `the blob store in ${this.#directory} was closed`)
  }
}

/** What the worker loads. Threads cannot load the sources, so there the built module is named. */
const WORKER_MODULE = new URL(
  import.meta.url.endsWith('.ts') ? '../dist/file-blob-store-worker.js' : './file-blob-store-worker.js',
  import.meta.url,
)

interface FoundData {
  readonly file: IoFile
  readonly sizeBytes: number
}

interface FoundStore {
  readonly manifest?: ManifestState
  readonly data?: FoundData | undefined
}

/** Manifest and data file of the directory; nothing when a store is to be made there. */
async function findStore(options: FileBlobStoreOptions): Promise<FoundStore> {
  const { io, directory } = options
  const create = options.createIfMissing ?? false
  let names: readonly string[]
  try {
    names = options.names ?? (await io.list(directory))
  } catch (error) {
    if (!isHoltError(error, 'HOLT_NOT_FOUND') || !create) throw error
    await io.mkdir(directory)
    return {}
  }
  const path = join(directory, MANIFEST_NAME)
  if (names.includes(MANIFEST_NAME)) return readStore(io, directory, names.includes(DATA_NAME))
  if (names.includes(DATA_NAME)) {
    throw new HoltError('HOLT_CORRUPT', `${path} is missing, but ${DATA_NAME} is there`)
  }
  const isOwn = options.isOwnName ?? (() => false)
  const foreign = names.find((name) => name !== MANIFEST_TEMPORARY_NAME && !isOwn(name))
  if (foreign !== undefined) {
    throw new HoltError(
      'HOLT_NOT_A_STORE',
      `${directory} holds no store, but other files, such as ${foreign}`,
    )
  }
  if (!create) throw new HoltError('HOLT_NOT_A_STORE', `${directory} holds no store, and none is to be made`)
  return {}
}

/** Both files at once: each waits for the other's calls no longer than for its own. */
async function readStore(io: Io, directory: string, hasData: boolean): Promise<FoundStore> {
  const path = join(directory, MANIFEST_NAME)
  const [read, opened] = await Promise.allSettled([
    readWhole(io, path),
    hasData ? openSized(io, join(directory, DATA_NAME)) : undefined,
  ])
  const data = opened.status === 'fulfilled' ? opened.value : undefined
  try {
    if (read.status === 'rejected') throw read.reason
    const bytes = read.value
    if (!hasData && !startsAsManifest(bytes)) {
      throw new HoltError('HOLT_NOT_A_STORE', `${path} is not one of ours, and there is no ${DATA_NAME}`)
    }
    const manifest = readManifest(bytes, path)
    // What cannot be opened is not missed where nothing lies in it.
    if (
      opened.status === 'rejected' &&
      manifest.mappings.size > 0 &&
      !isHoltError(opened.reason, 'HOLT_NOT_FOUND')
    )
      throw opened.reason
    return { manifest, data }
  } catch (error) {
    if (data !== undefined) await io.close(data.file).catch(() => undefined)
    throw error
  }
}

async function openSized(io: Io, path: string): Promise<FoundData> {
  const file = await io.open(path, { access: 'read' })
  try {
    return { file, sizeBytes: (await io.stat(file)).sizeBytes }
  } catch (error) {
    await io.close(file).catch(() => undefined)
    throw error
  }
}

async function readWhole(io: Io, path: string): Promise<Uint8Array> {
  const { file, sizeBytes } = await openSized(io, path)
  try {
    const bytes = new Uint8Array(sizeBytes)
    if (bytes.length > 0) await io.read(file, 0, bytes)
    return bytes
  } finally {
    await io.close(file)
  }
}
