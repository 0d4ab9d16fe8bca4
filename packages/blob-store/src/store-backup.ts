import { dirname, join } from 'node:path'
import { type BlobId, FRAME_BYTES, PAGE_BYTES } from '@holt/blob-buf-pool'
import { HoltError, isHoltError } from '@holt/errors'
import type { Io, IoFile } from '@holt/uring-native'
import type { BackupState } from './blob-store.js'
import { DATA_NAME } from './data-file.js'
import { DiskSlots } from './disk-slots.js'
import { frameBuffers } from './frame-buffers.js'
import type { ManifestImage } from './manifest-format.js'
import { MANIFEST_NAME, MANIFEST_TEMPORARY_NAME, ManifestLog } from './manifest-log.js'
import type { Mapping } from './mapping-table.js'

export interface StoreBackupParts {
  readonly io: Io
  /** Where the copy goes: absent, or empty. */
  readonly directory: string
  /** What is copied. Its disk slots must stay as they are until the copy has ended: see {@link StoreBackup.holds}. */
  readonly image: ManifestImage
  /** Reads a frame of the image from its place, and checks every byte of it. */
  readonly read: (id: BlobId, into: Uint8Array) => Promise<void>
  /** This thread has nothing else to do while frames are written. */
  readonly mayBlock: boolean
}

/**
 * A copy of one image of a file store, as a store of its own: its frames one behind the other in `blobs.dat`, and a
 * manifest with a store id of its own.
 *
 * ```
 *   begin    the directory, and blobs.dat in it, which nobody else may have made
 *   copy     some frames, checked against the image's checksums as they are read; synced. As often as there are some
 *   finish   names synced up to the root; then the manifest, by a rename: from here on it is a store
 *   abandon  whatever was made goes away again, the manifest first. A directory that was made stays, empty
 * ```
 *
 * So a directory with `blobs.dat` and without `manifest` is a copy that did not come to its end, and opens as no store.
 */
export class StoreBackup {
  readonly #parts: StoreBackupParts
  readonly #held = new DiskSlots()
  /** Ascending by disk slot, so that both files are gone through from start to end. */
  readonly #places: readonly (readonly [BlobId, Mapping])[]
  readonly #bytes: number
  #buffers: readonly Uint8Array[] = []
  #data: IoFile | undefined
  /** The data file was made here, so what the directory holds is ours. */
  #isOurs = false
  #manifest: ManifestLog | undefined
  #copied = 0
  #copiedBytes = 0

  constructor(parts: StoreBackupParts) {
    this.#parts = parts
    this.#places = [...parts.image.mappings].sort(([, a], [, b]) => a.diskSlot - b.diskSlot)
    let bytes = 0
    for (const [, { diskSlot, pages }] of this.#places) {
      this.#held.take(diskSlot)
      bytes += pages * PAGE_BYTES
    }
    this.#bytes = bytes
  }

  get directory(): string {
    return this.#parts.directory
  }

  get state(): BackupState {
    return {
      frames: this.#places.length,
      bytes: this.#bytes,
      copiedFrames: this.#copied,
      copiedBytes: this.#copiedBytes,
      note: this.#parts.image.note,
    }
  }

  /** Whether the slot is one of the image's: it is not to be written, punched or cut off before the copy has ended. */
  holds(diskSlot: number): boolean {
    return this.#held.isTaken(diskSlot)
  }

  /** Rejects `HOLT_EXISTS` when the directory holds anything. */
  async begin(): Promise<void> {
    const { io, directory } = this.#parts
    const names = await listOrMake(io, directory)
    if (names.length > 0) throw inTheWay(directory, names[0])
    try {
      this.#data = await io.open(join(directory, DATA_NAME), {
        access: 'readwrite',
        create: true,
        exclusive: true,
      })
    } catch (error) {
      throw isHoltError(error, 'HOLT_EXISTS') ? inTheWay(directory, DATA_NAME) : error
    }
    this.#isOurs = true
    // Of the pages that frames do not use nothing is written, and so they take no room.
    await io.truncate(this.#data, this.#places.length * FRAME_BYTES)
  }

  /** Copies the next frames. Rejects `HOLT_CORRUPT`, naming the place, for one that fails its checks. */
  async copy(maxFrames: number): Promise<void> {
    const { io, read, mayBlock } = this.#parts
    const next = this.#places.slice(this.#copied, this.#copied + maxFrames)
    if (next.length === 0) return
    if (this.#buffers.length < next.length) this.#buffers = frameBuffers(next.length)
    const buffers = this.#buffers
    const outcomes = await Promise.allSettled(next.map(([id], i) => read(id, buffers[i])))
    // Not before all have come back: the buffers are used again.
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
    const data = this.#dataFile()
    const transfers = next.map(([, { pages }], i) => ({
      offsetBytes: (this.#copied + i) * FRAME_BYTES,
      bytes: buffers[i].subarray(0, pages * PAGE_BYTES),
    }))
    if (mayBlock) io.writeManySync(data, transfers)
    else await io.writeMany(data, transfers)
    // Piece by piece, lest whoever waits behind the last one waits for all of it.
    await io.sync(data)
    this.#copied += next.length
    for (const { bytes } of transfers) this.#copiedBytes += bytes.length
  }

  /** Makes it a store whose note is `note`. All frames were copied. */
  async finish(note: Uint8Array): Promise<void> {
    const { io, directory } = this.#parts
    if (this.#copied < this.#places.length)
      throw new HoltError('HOLT_INTERNAL', 'a backup is to end before all of its frames were copied')
    const data = this.#dataFile()
    this.#data = undefined
    await io.close(data)
    await io.syncDir(directory)
    await syncAncestors(io, directory)
    const mappings = this.#places.map(([id, place], diskSlot) => [id, { ...place, diskSlot }] as const)
    this.#manifest = ManifestLog.fresh(io, directory)
    await this.#manifest.replace({ mappings, note })
    await this.#manifest.close().catch(() => undefined)
  }

  /** What cannot be removed stays, without a manifest, or with one and then whole. */
  async abandon(): Promise<void> {
    const { io, directory } = this.#parts
    const data = this.#data
    this.#data = undefined
    await this.#manifest?.close().catch(() => undefined)
    if (data !== undefined) await io.close(data).catch(() => undefined)
    if (!this.#isOurs) return
    for (const name of [MANIFEST_NAME, MANIFEST_TEMPORARY_NAME, DATA_NAME]) {
      try {
        await io.remove(join(directory, name))
      } catch (error) {
        if (!isHoltError(error, 'HOLT_NOT_FOUND')) return
      }
    }
  }

  #dataFile(): IoFile {
    if (this.#data === undefined) throw new HoltError('HOLT_INTERNAL', 'a backup is used after its end')
    return this.#data
  }
}

async function listOrMake(io: Io, directory: string): Promise<readonly string[]> {
  try {
    return await io.list(directory)
  } catch (error) {
    if (!isHoltError(error, 'HOLT_NOT_FOUND')) throw error
    await io.mkdir(directory)
    return []
  }
}

function inTheWay(directory: string, name: string): HoltError {
  return new HoltError(
    'HOLT_EXISTS',
    `${directory} is not empty, it holds '${name}': a backup goes into a directory of its own`,
    { path: directory },
  )
}

/** Makes the way to a directory stable, whose name may be as young as what it holds. */
export async function syncAncestors(io: Io, directory: string): Promise<void> {
  for (let path = directory; dirname(path) !== path; path = dirname(path)) {
    try {
      await io.syncDir(dirname(path))
    } catch (error) {
      // A directory that may be passed but not opened is not one that was just made.
      if (!(isHoltError(error) && (error.errno === 'EACCES' || error.errno === 'EPERM'))) throw error
    }
  }
}
