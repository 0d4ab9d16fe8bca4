import { join } from 'node:path'
import { FRAME_BYTES } from '@holt/blob-buf-pool'
import { HoltError, isHoltError } from '@holt/errors'
import type { Io, IoFile } from '@holt/uring-native'
import {
  encodeRecord,
  encodeSnapshot,
  type ManifestChange,
  type ManifestImage,
  payloadBytesOf,
  SECTOR_BYTES,
  sectorsOfPayload,
  STORE_ID_BYTES,
} from './manifest-format.js'
import type { ManifestState } from './manifest-reader.js'

export const MANIFEST_NAME = 'manifest'
/** A snapshot in the making; means nothing until it is renamed. */
export const MANIFEST_TEMPORARY_NAME = 'manifest.tmp'

/**
 * The room for records that there always is behind the end of the log. A record that announces a longer file fits in
 * it, so it lies wholly within the length known before; a record that does not fit becomes a snapshot.
 */
export const LOG_ROOM_BYTES = 65_536
/** Records take this much space, or {@link LOG_PER_SNAPSHOT} times the snapshot, before a new snapshot is made. */
export const LOG_LIMIT_BYTES = 2 ** 20
const LOG_PER_SNAPSHOT = 4

/**
 * How the manifest on disk stands.
 *
 * - `absent`: there is none yet.
 * - `found`: it was read; what was read may be in the page cache only.
 * - `settled`: what it says is on the medium, and a record may follow.
 * - `undecided`: a record, a rename or their sync failed. Whether it counts cannot be told, so a fresh snapshot of the
 *   last completed state has to replace it before anything else may happen.
 */
export type ManifestStanding = 'absent' | 'found' | 'settled' | 'undecided'

/** Writes the manifest: appends records, replaces the file by a snapshot. Calls must not overlap. */
export class ManifestLog {
  readonly path: string
  readonly #io: Io
  readonly #directory: string
  readonly storeId: Uint8Array
  #standing: ManifestStanding
  #file: IoFile | undefined
  #number: number
  #seed: number
  #startBytes: number
  #endBytes: number
  #announcedBytes: number
  #lastRecord: ManifestState['lastRecord']

  private constructor(io: Io, directory: string, storeId: Uint8Array, found: ManifestState | undefined) {
    this.path = join(directory, MANIFEST_NAME)
    this.#io = io
    this.#directory = directory
    this.storeId = storeId
    this.#standing = found === undefined ? 'absent' : 'found'
    this.#number = found?.recordNumber ?? 0
    this.#seed = found?.seed ?? 0
    this.#startBytes = found?.logStartBytes ?? 0
    this.#endBytes = found?.endBytes ?? 0
    this.#announcedBytes = found?.announcedBytes ?? 0
    this.#lastRecord = found?.lastRecord
  }

  static fresh(io: Io, directory: string): ManifestLog {
    const storeId = new Uint8Array(STORE_ID_BYTES)
    io.fillRandom(storeId)
    return new ManifestLog(io, directory, storeId, undefined)
  }

  static found(io: Io, directory: string, state: ManifestState): ManifestLog {
    return new ManifestLog(io, directory, state.storeId, state)
  }

  get standing(): ManifestStanding {
    return this.#standing
  }
  get sizeBytes(): number {
    return this.#announcedBytes
  }

  /**
   * Makes sure that what was found is on the medium: the last record is written again in place, byte for byte, and
   * synced. A sync alone would prove nothing: after a failed one the kernel takes pages for clean that never reached the
   * disk. Its name is the caller's to make stable, together with that of the data file.
   */
  async rewriteLast(): Promise<void> {
    this.#standing = 'undecided'
    this.#file ??= await this.#io.open(this.path, { access: 'readwrite' })
    if (this.#lastRecord !== undefined) {
      await this.#io.write(this.#file, this.#lastRecord.offsetBytes, this.#lastRecord.bytes)
    }
    await this.#io.sync(this.#file)
    this.#lastRecord = undefined
    this.#standing = 'settled'
  }

  /**
   * Commits one change; `imageAfter` is everything with that change, asked for when a snapshot is to be made. After a
   * failure {@link standing} tells whether the change may have become durable (`undecided`) or has not (`settled`).
   */
  async commit(change: ManifestChange, imageAfter: () => ManifestImage): Promise<void> {
    if (this.#standing !== 'settled' || this.#file === undefined) {
      throw new HoltError('HOLT_INTERNAL', `a commit to a manifest that is ${this.#standing}`)
    }
    const recordBytes = 2 * sectorsOfPayload(payloadBytesOf(change)) * SECTOR_BYTES
    const end = this.#endBytes + recordBytes
    const limit = Math.max(LOG_LIMIT_BYTES, LOG_PER_SNAPSHOT * this.#startBytes)
    if (end > this.#announcedBytes || end - this.#startBytes > limit) {
      await this.replace(imageAfter())
      return
    }
    const announced = await this.#lengthen(this.#file, end)
    const record = encodeRecord(change, this.#number + 1, announced, this.#seed)
    this.#standing = 'undecided'
    this.#number++
    await this.#io.writeManyAndSync(this.#file, [{ offsetBytes: this.#endBytes, bytes: record }])
    this.#endBytes = end
    this.#announcedBytes = announced
    this.#standing = 'settled'
  }

  /** Has the file long enough to leave room behind `end`, and returns the length that may be announced. */
  async #lengthen(file: IoFile, end: number): Promise<number> {
    if (this.#announcedBytes - end >= LOG_ROOM_BYTES) return this.#announcedBytes
    const { sizeBytes } = await this.#io.stat(file)
    // What a crash left behind the announced size need not be zeros.
    if (sizeBytes > this.#announcedBytes) await this.#io.truncate(file, this.#announcedBytes)
    await this.#io.allocate(file, this.#announcedBytes, LOG_ROOM_BYTES)
    await this.#io.sync(file)
    return this.#announcedBytes + LOG_ROOM_BYTES
  }

  /**
   * Replaces the manifest by a snapshot of `image`, which is a commit by itself. After a failure {@link standing} is
   * what it was if nothing can have happened, else `undecided`.
   */
  async replace(image: ManifestImage): Promise<void> {
    const number = this.#number + 1
    const { bytes, announcedBytes, seed } = encodeSnapshot(image, {
      storeId: this.storeId,
      recordNumber: number,
      frameBytes: FRAME_BYTES,
      roomBytes: LOG_ROOM_BYTES,
    })
    const temporary = join(this.#directory, MANIFEST_TEMPORARY_NAME)
    const file = await this.#io.open(temporary, { access: 'readwrite', create: true, truncate: true })
    try {
      await this.#io.allocate(file, 0, announcedBytes)
      await this.#io.write(file, 0, bytes)
      await this.#io.sync(file)
    } catch (error) {
      await this.#discard(file, temporary)
      throw error
    }
    this.#standing = 'undecided'
    this.#number = number
    try {
      await this.#io.rename(temporary, this.path)
    } catch (error) {
      await this.#io.close(file).catch(() => undefined)
      throw error
    }
    const before = this.#file
    this.#file = file
    this.#seed = seed
    this.#startBytes = bytes.length
    this.#endBytes = bytes.length
    this.#announcedBytes = announcedBytes
    this.#lastRecord = undefined
    if (before !== undefined) await this.#io.close(before).catch(() => undefined)
    await this.#io.syncDir(this.#directory)
    this.#standing = 'settled'
  }

  /** A temporary file that came to nothing. What fails here is overwritten by the next attempt. */
  async #discard(file: IoFile, path: string): Promise<void> {
    await this.#io.close(file).catch(() => undefined)
    await this.#io.remove(path).catch(() => undefined)
  }

  /** Whether a failed attempt to settle may be repeated: nothing was replaced, there was only no room to try. */
  static mayTryAgain(error: unknown): boolean {
    return isHoltError(error, 'HOLT_NO_SPACE')
  }

  async close(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    if (file !== undefined) await this.#io.close(file)
  }
}
