import { HoltError, isHoltError } from '@holt/errors'
import type { Io, IoFile } from '@holt/uring-native'
import {
  isRecordBodyValid,
  readRecordHeader,
  RECORD_FILLER,
  RECORD_HEADER_BYTES,
  type RecordHeader,
} from './record.js'

/** The first piece is small: a log that was closed has little behind its checkpoint. */
const FIRST_WINDOW_BYTES = 64 * 2 ** 10
const WINDOW_BYTES = 2 ** 20
const PAGE_BYTES = 4096

/** Reads a segment from some offset on, in large pieces, through a window that holds whatever is asked for. */
export class SegmentReader {
  readonly #io: Io
  readonly #file: IoFile
  readonly #path: string
  #limitBytes: number
  #nextWindowBytes = FIRST_WINDOW_BYTES
  /** The window's buffer. Replaced by {@link load}. */
  bytes: Uint8Array
  view: DataView
  /** The offset in the segment of the buffer's first byte. */
  windowStart = 0
  #windowEnd = 0

  private constructor(io: Io, file: IoFile, path: string, limitBytes: number) {
    this.#io = io
    this.#file = file
    this.#path = path
    this.#limitBytes = limitBytes
    this.bytes = new Uint8Array(0)
    this.view = new DataView(this.bytes.buffer)
  }

  /** Nothing at or behind `limitBytes` is read. Throws `HOLT_NOT_FOUND`, `HOLT_IO`. */
  static async open(io: Io, path: string, limitBytes: number): Promise<SegmentReader> {
    return new SegmentReader(io, await io.open(path, { access: 'read' }), path, limitBytes)
  }

  /** Whether the window holds that range. */
  has(offsetBytes: number, lengthBytes: number): boolean {
    return offsetBytes >= this.windowStart && offsetBytes + lengthBytes <= this.#windowEnd
  }

  /** Moves the window so that it begins at `offsetBytes` and holds `lengthBytes`, which lie before the limit. */
  async load(offsetBytes: number, lengthBytes: number): Promise<void> {
    const wanted = Math.max(lengthBytes, this.#nextWindowBytes)
    this.#nextWindowBytes = Math.min(WINDOW_BYTES, this.#nextWindowBytes * 4)
    const length = Math.min(wanted, this.#limitBytes - offsetBytes)
    if (length < lengthBytes) {
      throw new HoltError(
        'HOLT_INTERNAL',
        `${this.#path}: a read past the limit at ${String(this.#limitBytes)}`,
      )
    }
    if (this.bytes.length < length) {
      this.bytes = new Uint8Array(length)
      this.view = new DataView(this.bytes.buffer)
    }
    this.windowStart = offsetBytes
    this.#windowEnd = offsetBytes
    try {
      await this.#io.read(this.#file, offsetBytes, this.bytes.subarray(0, length))
    } catch (error) {
      if (!isHoltError(error, 'HOLT_SHORT_TRANSFER')) throw error
      throw new HoltError(
        'HOLT_CORRUPT',
        `${this.#path}: the file ends within the ${String(length)} bytes at offset ${String(offsetBytes)}, which belong to its segment`,
        { cause: error },
      )
    }
    this.#windowEnd = offsetBytes + length
  }

  /** As {@link load}, for one that will not be read on from there: a piece of a page, or what is asked for. */
  async loadAbout(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.#nextWindowBytes = PAGE_BYTES
    await this.load(offsetBytes, lengthBytes)
  }

  /** More of the segment may be read than before. */
  extendTo(limitBytes: number): void {
    this.#limitBytes = limitBytes
  }

  /** Decodes the record header at `at`, which the window holds; false if there is no valid one. */
  readHeader(at: number, headerSalt: number, into: RecordHeader): boolean {
    const { bytes, view, windowStart } = this
    return readRecordHeader(bytes, view, at - windowStart, at, this.#limitBytes, headerSalt, into)
  }

  /** Whether the body of the record at `at`, all of which the window holds, is what was written. A filler's always is. */
  isBodyValid(at: number, bodySalt: number, { type, totalBytes }: RecordHeader): boolean {
    if (type === RECORD_FILLER) return true
    return isRecordBodyValid(this.bytes, this.view, at - this.windowStart, at, bodySalt, totalBytes)
  }

  /** The body of the record at `at`, all of which the window holds: valid until the window moves. */
  bodyOf(at: number, { bodyBytes }: RecordHeader): Uint8Array {
    const bodyAt = at - this.windowStart + RECORD_HEADER_BYTES
    return this.bytes.subarray(bodyAt, bodyAt + bodyBytes)
  }

  async close(): Promise<void> {
    await this.#io.close(this.#file)
  }
}
