import { HoltError } from '@holt/errors'
import { blobId, type BlobId, FRAME_BYTES, MAX_BLOB_ID } from '@holt/blob-buf-pool'
import { crc32c } from '@holt/uring-native/crc32c'
import { DiskSlots, MAX_DISK_SLOTS } from './disk-slots.js'
import {
  BODY_FIXED_BYTES,
  HEADER,
  MANIFEST_MAGIC,
  MANIFEST_VERSION,
  MAPPING_BYTES,
  MAPPING_SLOT_BITS,
  NO_NOTE,
  RECORD_FIXED_BYTES,
  SECTOR,
  SECTOR_BYTES,
  SECTOR_HEADER_BYTES,
  SECTOR_PAYLOAD_BYTES,
  sectorsOfPayload,
  STORE_ID_BYTES,
  viewOf,
  wholeSectors,
} from './manifest-format.js'
import type { Mapping } from './mapping-table.js'

/** What a manifest says, and where its log goes on. */
export interface ManifestState {
  readonly storeId: Uint8Array
  readonly mappings: ReadonlyMap<BlobId, Mapping>
  readonly note: Uint8Array | undefined
  readonly recordNumber: number
  /** What the checksums of records start from. */
  readonly seed: number
  readonly logStartBytes: number
  /** Where the next record goes. */
  readonly endBytes: number
  readonly announcedBytes: number
  /** Both copies of the last record as they should be; `undefined` when the snapshot stands alone. */
  readonly lastRecord: { readonly offsetBytes: number; readonly bytes: Uint8Array } | undefined
}

/**
 * Reads a manifest, given all its bytes.
 *
 * What a crash may leave. The file gets its name by `rename` after its header, its snapshot and its announced length
 * were synced, so those are never torn. A record is appended when everything before it has been synced, both copies in
 * one write, and nothing else is written before that has been synced. So of all records only the one behind the last
 * synced one may be incomplete, and it is made of whole sectors: each is the new one, or what was there before. What
 * was there before is zeros, or sectors of earlier attempts that a crash cut short, which were records of that same
 * number or (where the attempt was longer than what was written over it) of lower ones. The file is lengthened, and
 * that is synced, before a record announces the new length; the record that does lies wholly within the old length.
 *
 * Therefore exactly this is accepted:
 *
 * - the header, the snapshot and every record up to the last one valid; a record is valid if either copy is;
 * - behind it, up to the announced size, sectors of zeros, and valid sectors of records whose number is at most one
 *   higher: those of one higher belong where the next record starts;
 * - a file longer than announced, if no valid record sector lies there;
 * - never a file shorter than announced, and never a sector that is neither zeros nor valid: no crash makes one.
 *
 * Everything else is `HOLT_CORRUPT` with the offset. In particular a damaged record is not taken for the end of the
 * log: its sectors fail their checksums, or a later record follows. What cannot be told from an unfinished record is
 * one alone: both copies of the very last record turned into zeros, with the length of the file unchanged.
 *
 * Throws `HOLT_CORRUPT`, or `HOLT_VERSION` for an intact header of another format.
 */
export function readManifest(bytes: Uint8Array, path: string): ManifestState {
  return new ManifestReader(bytes, path).read()
}

/** Whether a file's first bytes are those of a manifest, damaged or not. */
export function startsAsManifest(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && viewOf(bytes).getUint32(HEADER.magic, true) === MANIFEST_MAGIC
}

const ZEROS = Buffer.alloc(16_384)

interface FoundRecord {
  readonly payload: Uint8Array
  readonly recordCrc: number
  readonly sectors: number
}

class ManifestReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #path: string
  readonly #mappings = new Map<BlobId, Mapping>()
  /** From this sector on the file holds zeros only. */
  #zeroFrom = 0
  #note: Uint8Array | undefined
  #announced = 0
  #seed = 0

  constructor(bytes: Uint8Array, path: string) {
    this.#bytes = bytes
    this.#view = viewOf(bytes)
    this.#path = path
  }

  read(): ManifestState {
    const logStart = this.#readHeader()
    this.#zeroFrom = this.#findZeros()
    this.#readBody()
    const snapshotNumber = this.#view.getFloat64(HEADER.recordNumber, true)
    let number = snapshotNumber
    let end = logStart
    let last: FoundRecord | undefined
    for (;;) {
      const record = this.#findRecord(end, number + 1)
      if (record === undefined) break
      this.#apply(record.payload, end)
      number++
      end += 2 * record.sectors * SECTOR_BYTES
      last = record
    }
    this.#checkTail(end, number)
    this.#checkMappings()
    return {
      storeId: new Uint8Array(this.#bytes.subarray(HEADER.storeId, HEADER.storeId + STORE_ID_BYTES)),
      mappings: this.#mappings,
      note: this.#note,
      recordNumber: number,
      seed: this.#seed,
      logStartBytes: logStart,
      endBytes: end,
      announcedBytes: this.#announced,
      lastRecord: last === undefined ? undefined : this.#bothCopies(last, end, number),
    }
  }

  #findZeros(): number {
    let used = this.#bytes.length - (this.#bytes.length % SECTOR_BYTES)
    // Most of a file is what was allocated ahead: large pieces first.
    while (used >= ZEROS.length && this.#isZero(used - ZEROS.length, ZEROS.length)) used -= ZEROS.length
    while (used > 0 && this.#isZero(used - SECTOR_BYTES, SECTOR_BYTES)) used -= SECTOR_BYTES
    return used
  }

  #isZero(offset: number, lengthBytes: number): boolean {
    return ZEROS.compare(this.#bytes, offset, offset + lengthBytes, 0, lengthBytes) === 0
  }

  #corrupt(offset: number, what: string): HoltError {
    return new HoltError('HOLT_CORRUPT', `${this.#path} at ${String(offset)}: ${what}`)
  }

  // ---- header and snapshot -------------------------------------------------------------------------------------

  #readHeader(): number {
    const view = this.#view
    if (this.#bytes.length < SECTOR_BYTES) {
      throw this.#corrupt(0, `${String(this.#bytes.length)} bytes, less than a header`)
    }
    if (view.getUint32(HEADER.magic, true) !== MANIFEST_MAGIC) throw this.#corrupt(0, 'no manifest magic')
    this.#seed = crc32c(this.#bytes, 0, HEADER.crc, 0)
    if (view.getUint32(HEADER.crc, true) !== this.#seed)
      throw this.#corrupt(0, 'the header fails its checksum')
    const version = view.getUint16(HEADER.version, true)
    if (version !== MANIFEST_VERSION) {
      throw new HoltError(
        'HOLT_VERSION',
        `${this.#path}: manifest format ${String(version)}; this release reads ${String(MANIFEST_VERSION)}`,
      )
    }
    const frameBytes = view.getUint32(HEADER.frameBytes, true)
    if (frameBytes !== FRAME_BYTES) {
      throw new HoltError(
        'HOLT_VERSION',
        `${this.#path}: frames of ${String(frameBytes)} bytes; this release reads ${String(FRAME_BYTES)}`,
      )
    }
    this.#announce(view.getFloat64(HEADER.announcedSize, true), 0)
    const logStart = SECTOR_BYTES + wholeSectors(view.getUint32(HEADER.bodyBytes, true))
    if (logStart > this.#announced) throw this.#corrupt(0, 'the snapshot is longer than the file')
    return logStart
  }

  #announce(sizeBytes: number, offset: number): void {
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes % SECTOR_BYTES !== 0 || sizeBytes < this.#announced) {
      throw this.#corrupt(offset, `an impossible file size, ${String(sizeBytes)}`)
    }
    if (sizeBytes > this.#bytes.length) {
      throw this.#corrupt(
        this.#bytes.length,
        `the file ends here, but ${String(sizeBytes)} bytes were written: it was cut short`,
      )
    }
    this.#announced = sizeBytes
  }

  #readBody(): void {
    const view = this.#view
    const bodyBytes = view.getUint32(HEADER.bodyBytes, true)
    if (
      crc32c(this.#bytes, SECTOR_BYTES, wholeSectors(bodyBytes), 0) !== view.getUint32(HEADER.bodyCrc, true)
    ) {
      throw this.#corrupt(SECTOR_BYTES, 'the snapshot fails its checksum')
    }
    if (bodyBytes < BODY_FIXED_BYTES) throw this.#corrupt(SECTOR_BYTES, 'the snapshot is too short')
    const count = view.getUint32(SECTOR_BYTES, true)
    const noteBytes = view.getUint32(SECTOR_BYTES + 4, true)
    const hasNote = noteBytes !== NO_NOTE
    const noteAt = SECTOR_BYTES + BODY_FIXED_BYTES + count * MAPPING_BYTES
    if (BODY_FIXED_BYTES + count * MAPPING_BYTES + (hasNote ? noteBytes : 0) !== bodyBytes) {
      throw this.#corrupt(SECTOR_BYTES, 'the lengths in the snapshot do not add up')
    }
    this.#readMappings(view, SECTOR_BYTES + BODY_FIXED_BYTES, count, SECTOR_BYTES)
    if (hasNote) this.#note = new Uint8Array(this.#bytes.subarray(noteAt, noteAt + noteBytes))
  }

  #readMappings(view: DataView, from: number, count: number, place: number): void {
    for (let i = 0, at = from; i < count; i++, at += MAPPING_BYTES) {
      const id = view.getUint32(at, true)
      const slotAndPages = view.getUint32(at + 4, true)
      const diskSlot = slotAndPages & (2 ** MAPPING_SLOT_BITS - 1)
      if (id < 1 || id > MAX_BLOB_ID || diskSlot >= MAX_DISK_SLOTS) {
        throw this.#corrupt(place, `blob ${String(id)} in disk slot ${String(diskSlot)} is out of range`)
      }
      this.#mappings.set(blobId(id), {
        diskSlot,
        pages: (slotAndPages >>> MAPPING_SLOT_BITS) + 1,
        headerCrc: view.getUint32(at + 8, true),
      })
    }
  }

  #checkMappings(): void {
    const slots = new DiskSlots()
    for (const [id, { diskSlot }] of this.#mappings) {
      if (slots.take(diskSlot)) continue
      throw this.#corrupt(0, `blob ${String(id)} lies in disk slot ${String(diskSlot)}, and so does another`)
    }
  }

  // ---- records -------------------------------------------------------------------------------------------------

  #sectorIsValid(offset: number): boolean {
    return (
      this.#view.getUint32(offset, true) === crc32c(this.#bytes, offset + 4, SECTOR_BYTES - 4, this.#seed)
    )
  }

  #numberOf(offset: number): number {
    return this.#view.getFloat64(offset + SECTOR.recordNumber, true)
  }

  /** Where the record starts that a (valid) sector is part of. */
  #startOf(offset: number): number {
    const sectors = sectorsOfPayload(this.#view.getUint32(offset + SECTOR.payloadBytes, true))
    const index = this.#view.getUint16(offset + SECTOR.index, true)
    const copy = this.#view.getUint16(offset + SECTOR.copy, true)
    return offset - (copy * sectors + index) * SECTOR_BYTES
  }

  /** The record of this number that starts at `start`, if either copy is valid. */
  #findRecord(start: number, number: number): FoundRecord | undefined {
    const usual = this.#readCopy(start, start, number, 0)
    if (usual !== undefined) return usual
    // Any surviving sector tells how long the record is, and so where its second copy lies. Sectors of attempts that
    // were cut short may be among them.
    const tried = new Set<string>()
    const found = new Map<number, FoundRecord>()
    for (let at = start; at < Math.min(this.#announced, this.#zeroFrom); at += SECTOR_BYTES) {
      if (this.#isZero(at, SECTOR_BYTES) || this.#numberOf(at) !== number || !this.#sectorIsValid(at))
        continue
      if (this.#startOf(at) !== start) continue
      const sectors = sectorsOfPayload(this.#view.getUint32(at + SECTOR.payloadBytes, true))
      const recordCrc = this.#view.getUint32(at + SECTOR.recordCrc, true)
      const candidate = `${String(sectors)} ${String(recordCrc)}`
      if (tried.has(candidate)) continue
      tried.add(candidate)
      for (const copy of [0, 1] as const) {
        const record = this.#readCopy(start + copy * sectors * SECTOR_BYTES, start, number, copy)
        if (record !== undefined) found.set(record.recordCrc, record)
      }
    }
    if (found.size > 1) throw this.#corrupt(start, `two different records of number ${String(number)}`)
    return [...found.values()].at(0)
  }

  /** The copy whose first sector is at `offset`, if it is whole. */
  #readCopy(offset: number, start: number, number: number, copy: 0 | 1): FoundRecord | undefined {
    if (offset + SECTOR_BYTES > Math.min(this.#announced, this.#zeroFrom)) return undefined
    const view = this.#view
    const payloadBytes = view.getUint32(offset + SECTOR.payloadBytes, true)
    const recordCrc = view.getUint32(offset + SECTOR.recordCrc, true)
    const sectors = sectorsOfPayload(payloadBytes)
    if (payloadBytes < RECORD_FIXED_BYTES || start + 2 * sectors * SECTOR_BYTES > this.#announced)
      return undefined
    const payload = new Uint8Array(payloadBytes)
    for (let index = 0; index < sectors; index++) {
      const at = offset + index * SECTOR_BYTES
      if (
        this.#numberOf(at) !== number ||
        view.getUint32(at + SECTOR.payloadBytes, true) !== payloadBytes ||
        view.getUint32(at + SECTOR.recordCrc, true) !== recordCrc ||
        view.getUint16(at + SECTOR.index, true) !== index ||
        view.getUint16(at + SECTOR.copy, true) !== copy ||
        !this.#sectorIsValid(at)
      ) {
        return undefined
      }
      const from = index * SECTOR_PAYLOAD_BYTES
      const length = Math.min(SECTOR_PAYLOAD_BYTES, payloadBytes - from)
      payload.set(this.#bytes.subarray(at + SECTOR_HEADER_BYTES, at + SECTOR_HEADER_BYTES + length), from)
    }
    if (crc32c(payload, 0, payloadBytes, this.#seed) !== recordCrc) return undefined
    return { payload, recordCrc, sectors }
  }

  #apply(payload: Uint8Array, offset: number): void {
    const view = viewOf(payload)
    const mappings = view.getUint32(8, true)
    const removals = view.getUint32(12, true)
    const noteBytes = view.getUint32(16, true)
    const removalsAt = RECORD_FIXED_BYTES + mappings * MAPPING_BYTES
    const noteAt = removalsAt + removals * 4
    if (noteAt + noteBytes !== payload.length)
      throw this.#corrupt(offset, 'the lengths in a record do not add up')
    this.#announce(view.getFloat64(0, true), offset)
    this.#readMappings(view, RECORD_FIXED_BYTES, mappings, offset)
    for (let i = 0; i < removals; i++) this.#mappings.delete(blobId(view.getUint32(removalsAt + i * 4, true)))
    this.#note = payload.slice(noteAt)
  }

  #checkTail(end: number, number: number): void {
    for (let at = end; at < this.#zeroFrom; at += SECTOR_BYTES) {
      if (this.#isZero(at, SECTOR_BYTES)) continue
      if (!this.#sectorIsValid(at)) {
        if (at >= this.#announced) continue
        throw this.#corrupt(at, `a damaged sector behind record ${String(number)}`)
      }
      const found = this.#numberOf(at)
      if (
        at >= this.#announced ||
        found > number + 1 ||
        (found === number + 1 && this.#startOf(at) !== end)
      ) {
        throw this.#corrupt(
          end,
          `record ${String(number + 1)} is missing or damaged, but part of record ${String(found)} follows at ${String(at)}`,
        )
      }
    }
  }

  /** A valid copy lies between `end` and the record's start; the other one may be damaged and is made from it. */
  #bothCopies(record: FoundRecord, end: number, number: number): ManifestState['lastRecord'] {
    const half = record.sectors * SECTOR_BYTES
    const offsetBytes = end - 2 * half
    const bytes = new Uint8Array(2 * half)
    const whole = this.#readCopy(offsetBytes, offsetBytes, number, 0) === undefined ? 1 : 0
    for (const copy of [0, 1]) {
      bytes.set(
        this.#bytes.subarray(offsetBytes + whole * half, offsetBytes + (whole + 1) * half),
        copy * half,
      )
      const view = viewOf(bytes)
      for (let at = copy * half; at < (copy + 1) * half; at += SECTOR_BYTES) {
        view.setUint16(at + SECTOR.copy, copy, true)
        view.setUint32(at + SECTOR.crc, crc32c(bytes, at + 4, SECTOR_BYTES - 4, this.#seed), true)
      }
    }
    return { offsetBytes, bytes }
  }
}
