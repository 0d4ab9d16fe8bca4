import { HoltError } from '@holt/errors'
import type { Io } from '@holt/uring-native'
import type { ReadableSegment } from './readable-log.js'
import { emptyRecordHeader, RECORD_HEADER_BYTES, type RecordHeader } from './record.js'
import { SegmentReader } from './segment-reader.js'

/** Files that are kept open for the next lookup. */
const OPEN_READERS_MAX = 8

export interface FoundRecord {
  readonly type: number
  /** Memory of its own. */
  readonly body: Uint8Array
}

/** Reads single records at places that somebody has kept. Lookups of one segment follow each other. */
export class RecordLookup {
  readonly #io: Io
  /** The longest unused first. */
  readonly #readers = new Map<number, Promise<SegmentReader>>()
  readonly #busy = new Map<number, Promise<unknown>>()

  constructor(io: Io) {
    this.#io = io
  }

  /**
   * The record at an offset of a segment that is written up to `limitBytes`.
   *
   * @throws HoltError `HOLT_CORRUPT` naming file and offset if there is no valid one; `HOLT_IO`.
   */
  read(segment: ReadableSegment, at: number, limitBytes: number): Promise<FoundRecord> {
    const before = this.#busy.get(segment.number) ?? Promise.resolve()
    const found = before.then(() => this.#read(segment, at, limitBytes))
    const done = found.then(
      () => undefined,
      () => undefined,
    )
    this.#busy.set(segment.number, done)
    void done.then(() => {
      if (this.#busy.get(segment.number) === done) this.#busy.delete(segment.number)
    })
    return found
  }

  /** Lets go of a segment's file. */
  async forget(number: number): Promise<void> {
    await this.#busy.get(number)
    const reader = this.#readers.get(number)
    this.#readers.delete(number)
    await (await reader?.catch(() => undefined))?.close()
  }

  async close(): Promise<void> {
    await Promise.all([...this.#readers.keys()].map((number) => this.forget(number)))
  }

  async #read(segment: ReadableSegment, at: number, limitBytes: number): Promise<FoundRecord> {
    const reader = await this.#readerOf(segment, limitBytes)
    const record: RecordHeader = emptyRecordHeader()
    if (at + RECORD_HEADER_BYTES <= limitBytes) {
      await reader.loadAbout(at, RECORD_HEADER_BYTES)
      if (reader.readHeader(at, segment.headerSalt, record)) {
        if (!reader.has(at, record.totalBytes)) await reader.loadAbout(at, record.totalBytes)
        if (reader.isBodyValid(at, segment.bodySalt, record))
          return { type: record.type, body: reader.bodyOf(at, record).slice() }
      }
    }
    throw new HoltError('HOLT_CORRUPT', `${segment.path}: there is no valid record at offset ${String(at)}`)
  }

  async #readerOf(segment: ReadableSegment, limitBytes: number): Promise<SegmentReader> {
    const { number, path } = segment
    const opening = this.#readers.get(number) ?? SegmentReader.open(this.#io, path, limitBytes)
    // Behind all others now.
    this.#readers.delete(number)
    this.#readers.set(number, opening)
    for (const oldest of this.#readers.keys()) {
      if (this.#readers.size <= OPEN_READERS_MAX) break
      if (!this.#busy.has(oldest)) await this.forget(oldest)
      else break
    }
    try {
      const reader = await opening
      reader.extendTo(limitBytes)
      return reader
    } catch (error) {
      if (this.#readers.get(number) === opening) this.#readers.delete(number)
      throw error
    }
  }
}
