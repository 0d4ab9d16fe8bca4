import { type BlobId, FRAME_BYTES, PAGE_BYTES, usedPages } from '@holt/blob-buf-pool'
import { HoltError, isHoltError } from '@holt/errors'
import type { Io, IoFile, Transfer } from '@holt/uring-native'
import { crc32c } from '@holt/uring-native/crc32c'
import { checkHeaderPage, checkPages } from './frame-envelope.js'
import type { Mapping } from './mapping-table.js'

export const DATA_NAME = 'blobs.dat'

/** Disk slots by which the data file is lengthened: few while it is small, more later. */
const SMALL_STEP = 8
const LARGE_STEP = 64
const LARGE_FROM = 128

/** Where a frame is now; asked again when what was read does not fit. */
export type Locate = (id: BlobId) => Mapping | undefined

/**
 * Reads frames of a data file and checks every byte that it hands out.
 *
 * The thread that writes may give a disk slot to another frame while it is being read here. The frame read then fails
 * its checks, and the blob has moved: it is read again from where it is now. A failure is reported when it has not.
 */
export class FrameReader {
  readonly #io: Io
  readonly #file: IoFile
  readonly #locate: Locate

  constructor(io: Io, file: IoFile, locate: Locate) {
    this.#io = io
    this.#file = file
    this.#locate = locate
  }

  /** A reader of the same file that finds blobs elsewhere. */
  at(locate: Locate): FrameReader {
    return new FrameReader(this.#io, this.#file, locate)
  }

  async read(id: BlobId, into: Uint8Array): Promise<void> {
    let place = this.#placeOf(id)
    for (;;) {
      try {
        await this.#io.read(this.#file, place.diskSlot * FRAME_BYTES, stored(into, place))
        this.#check(id, into, place)
        return
      } catch (error) {
        place = this.#movedFrom(id, place, error)
      }
    }
  }

  readSync(id: BlobId, into: Uint8Array): void {
    let place = this.#placeOf(id)
    for (;;) {
      try {
        this.#io.readSync(this.#file, place.diskSlot * FRAME_BYTES, stored(into, place))
        this.#check(id, into, place)
        return
      } catch (error) {
        place = this.#movedFrom(id, place, error)
      }
    }
  }

  /** The pages that the manifest names must be those that the frame says it uses. */
  #check(id: BlobId, frame: Uint8Array, place: Mapping): void {
    checkHeaderPage(frame, id, place.headerCrc, this.#where(place))
    if (usedPages(frame) !== place.pages) {
      throw new HoltError(
        'HOLT_CORRUPT',
        `${this.#where(place)}, blob ${String(id)}: ${String(usedPages(frame))} pages in use; the manifest names ${String(place.pages)}`,
      )
    }
    checkPages(frame, frame.subarray(PAGE_BYTES, place.pages * PAGE_BYTES), 1, id, this.#where(place))
  }

  /**
   * Whole pages. Page 0 is read along, since it holds the checksums of the others, unless the caller has it already as
   * `header`. Pages not in use become zeros.
   */
  async readRange(id: BlobId, offsetBytes: number, into: Uint8Array, header?: Uint8Array): Promise<void> {
    let place = this.#placeOf(id)
    for (;;) {
      this.#checkCurrent(id, header, place)
      const range = rangeOf(place, offsetBytes, into, header)
      try {
        await this.#io.readMany(this.#file, range.transfers)
        this.#checkRange(id, range, place)
        return
      } catch (error) {
        place = this.#movedFrom(id, place, error)
      }
    }
  }

  readRangeSync(id: BlobId, offsetBytes: number, into: Uint8Array, header?: Uint8Array): void {
    let place = this.#placeOf(id)
    for (;;) {
      this.#checkCurrent(id, header, place)
      const range = rangeOf(place, offsetBytes, into, header)
      try {
        for (const { offsetBytes: at, bytes } of range.transfers) this.#io.readSync(this.#file, at, bytes)
        this.#checkRange(id, range, place)
        return
      } catch (error) {
        place = this.#movedFrom(id, place, error)
      }
    }
  }

  #checkRange(id: BlobId, range: PageRange, place: Mapping): void {
    const where = this.#where(place)
    // A header that was handed in was compared with the manifest's checksum already.
    if (!range.isKnownHeader) checkHeaderPage(range.header, id, place.headerCrc, where)
    checkPages(range.header, range.pages, range.firstPage, id, where)
  }

  /** The pages a caller has and those it wants now must be of one image. */
  #checkCurrent(id: BlobId, header: Uint8Array | undefined, place: Mapping): void {
    if (header === undefined || crc32c(header, 0, PAGE_BYTES, 0) === place.headerCrc) return
    throw new HoltError('HOLT_BUSY', `blob ${String(id)} was written anew since its first page was read`)
  }

  #placeOf(id: BlobId): Mapping {
    const place = this.#locate(id)
    if (place === undefined)
      throw new HoltError('HOLT_NOT_FOUND', `no blob ${String(id)} in ${this.#file.path}`)
    return place
  }

  /** Where the blob is now, if it has moved; otherwise throws what went wrong. */
  #movedFrom(id: BlobId, before: Mapping, error: unknown): Mapping {
    if (isHoltError(error, 'HOLT_CLOSED')) throw error
    const now = this.#placeOf(id)
    if (now.diskSlot !== before.diskSlot || now.headerCrc !== before.headerCrc) return now
    if (isHoltError(error, 'HOLT_SHORT_TRANSFER')) {
      throw new HoltError(
        'HOLT_CORRUPT',
        `${this.#where(before)}, blob ${String(id)}: the file ends before the frame does`,
        { cause: error },
      )
    }
    throw error
  }

  #where({ diskSlot }: Mapping): string {
    return `${this.#file.path} at ${String(diskSlot * FRAME_BYTES)}`
  }
}

/** The part of a frame that is stored there. */
function stored(into: Uint8Array, { pages }: Mapping): Uint8Array {
  return into.subarray(0, pages * PAGE_BYTES)
}

interface PageRange {
  readonly transfers: readonly Transfer[]
  readonly header: Uint8Array
  readonly isKnownHeader: boolean
  /** Number of the first of `pages`, which are not page 0. */
  readonly firstPage: number
  readonly pages: Uint8Array
}

/** What to read where for the pages of `into`, and what of it to check against which page 0. */
function rangeOf(place: Mapping, offsetBytes: number, into: Uint8Array, known?: Uint8Array): PageRange {
  const start = place.diskSlot * FRAME_BYTES
  const storedBytes = Math.min(into.length, Math.max(0, place.pages * PAGE_BYTES - offsetBytes))
  const there = into.subarray(0, storedBytes)
  into.fill(0, storedBytes)
  const transfers: Transfer[] = []
  if (storedBytes > 0) transfers.push({ offsetBytes: start + offsetBytes, bytes: there })
  // A range from page 0 on brings page 0 itself.
  if (offsetBytes === 0) {
    const header = into.subarray(0, PAGE_BYTES)
    return { transfers, header, isKnownHeader: false, firstPage: 1, pages: there.subarray(PAGE_BYTES) }
  }
  const header = known ?? new Uint8Array(PAGE_BYTES)
  if (known === undefined) transfers.unshift({ offsetBytes: start, bytes: header })
  const isKnownHeader = known !== undefined
  return { transfers, header, isKnownHeader, firstPage: offsetBytes / PAGE_BYTES, pages: there }
}

/** The data file as the writing thread sees it. */
export class FrameWriter {
  readonly #io: Io
  readonly #file: IoFile
  readonly #mayBlock: boolean
  #slots: number
  /** The file was to be cut off, and that failed. */
  #mayBeLonger = false

  private constructor(io: Io, file: IoFile, mayBlock: boolean, slots: number) {
    this.#io = io
    this.#file = file
    this.#mayBlock = mayBlock
    this.#slots = slots
  }

  /** `mayBlock`: frames are written by the calls that block, which cost a thread of its own half as much. */
  static async open(io: Io, path: string, direct: boolean, mayBlock: boolean): Promise<FrameWriter> {
    const file = await io.open(path, { access: 'readwrite', create: true, direct })
    try {
      return new FrameWriter(io, file, mayBlock, Math.floor((await io.stat(file)).sizeBytes / FRAME_BYTES))
    } catch (error) {
      await io.close(file).catch(() => undefined)
      throw error
    }
  }

  get sizeBytes(): number {
    return this.#slots * FRAME_BYTES
  }

  /** Has room for slots below `slots`. Takes a step more than asked for where there is space. */
  async reach(slots: number): Promise<void> {
    if (slots <= this.#slots) return
    const step = slots < LARGE_FROM ? SMALL_STEP : LARGE_STEP
    const wanted = Math.ceil(slots / step) * step
    try {
      await this.#allocateTo(wanted)
    } catch (error) {
      if (!isHoltError(error, 'HOLT_NO_SPACE') || wanted === slots) throw error
      await this.#allocateTo(slots)
    }
  }

  async #allocateTo(slots: number): Promise<void> {
    await this.#io.allocate(this.#file, this.sizeBytes, slots * FRAME_BYTES - this.sizeBytes)
    this.#slots = slots
  }

  /** Ends the file behind `slots` slots, if it is longer. */
  async cutOff(slots: number): Promise<void> {
    if (slots >= this.#slots && !this.#mayBeLonger) return
    // Whatever becomes of the call, nothing is taken for room from now on that may be gone.
    this.#slots = Math.min(slots, this.#slots)
    this.#mayBeLonger = true
    await this.#io.truncate(this.#file, this.sizeBytes)
    this.#mayBeLonger = false
  }

  /** Gives back what the slots hold behind their pages in use. Returns the bytes that brought; none where it cannot be done. */
  async punchTails(places: readonly Mapping[]): Promise<number> {
    const tails = places.filter(({ pages }) => pages * PAGE_BYTES < FRAME_BYTES)
    if (tails.length === 0) return 0
    const { allocatedBytes: before } = await this.#io.stat(this.#file)
    for (const { diskSlot, pages } of tails) {
      const storedBytes = pages * PAGE_BYTES
      const from = diskSlot * FRAME_BYTES + storedBytes
      if (!(await this.#io.punchHole(this.#file, from, FRAME_BYTES - storedBytes))) return 0
    }
    return Math.max(0, before - (await this.#io.stat(this.#file)).allocatedBytes)
  }

  /** Writes the pages in use of each frame; what else the disk slot holds stays as it is. */
  async write(frames: readonly { readonly diskSlot: number; readonly frame: Uint8Array }[]): Promise<void> {
    const transfers = frames.map(({ diskSlot, frame }) => ({
      offsetBytes: diskSlot * FRAME_BYTES,
      bytes: frame.subarray(0, usedPages(frame) * PAGE_BYTES),
    }))
    if (this.#mayBlock) this.#io.writeManySync(this.#file, transfers)
    else await this.#io.writeMany(this.#file, transfers)
  }

  async sync(): Promise<void> {
    await this.#io.sync(this.#file)
  }

  async close(): Promise<void> {
    await this.#io.close(this.#file)
  }
}
