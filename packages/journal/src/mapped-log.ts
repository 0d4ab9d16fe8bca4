import { HoltError } from '@holt/errors'
import type { Mapping } from '@holt/uring-native'
import { lsn, type JournalDurability, type Lsn } from './contract.js'
import type { JournalEventListener } from './events.js'
import type { Fault } from './fault.js'
import type { Log } from './log.js'
import { ignoreRejection, RESOLVED } from './promises.js'
import {
  RECORD_CLOSING_MARK,
  RECORD_HEADER_BYTES,
  RECORD_MIN_BYTES,
  recordBytes,
  recordMemory,
  type RecordMemory,
  sealRecordBody,
  writeFillerHeader,
  writeRecordHeader,
} from './record.js'
import { FIRST_RECORD_OFFSET } from './segment-header.js'
import type { SegmentSupply } from './segment-supply.js'
import { halfFull, type LiveSegment } from './segments.js'
import type { Stability, TrackedSegment } from './stability.js'

/** How far ahead of the end the mapping is kept populated, and how often that is looked after. */
const POPULATE_AHEAD_BYTES = 8 * 2 ** 20
const POPULATE_STEP_BYTES = 2 ** 20

/**
 * The log whose segments are mapped shared: an append is a copy into the mapping, which belongs to the operating system
 * at once, so that it survives the death of the process. Syncs follow behind ({@link Stability}).
 */
export class MappedLog implements Log {
  readonly mode = 'mapped'
  readonly groups = 0
  memory: RecordMemory
  bodyOffset = 0
  records = 0
  appendedBytes = 0
  segmentSwitches = 0

  readonly #fault: Fault
  readonly #stability: Stability
  readonly #supply: SegmentSupply
  readonly #onEvent: JournalEventListener
  #segment: LiveSegment
  #mapping: Mapping
  #tracked: TrackedSegment
  /** End of the last record. At least {@link RECORD_MIN_BYTES} are left behind it, for a filler or the closing mark. */
  #offset = FIRST_RECORD_OFFSET
  #reservedBytes = 0
  #reservedSeq = 0
  #prepareAt: number
  #populateAt = 0

  constructor(
    segment: LiveSegment,
    fault: Fault,
    stability: Stability,
    supply: SegmentSupply,
    onEvent: JournalEventListener,
  ) {
    this.#fault = fault
    this.#stability = stability
    this.#supply = supply
    this.#onEvent = onEvent
    this.#segment = segment
    this.#mapping = mappingOf(segment)
    this.memory = recordMemory(this.#mapping.bytes)
    this.#tracked = stability.begin(segment)
    this.#prepareAt = halfFull(segment)
    this.#populate()
  }

  get position(): Lsn {
    return lsn(this.#segment.number, this.#offset)
  }

  hasRoom(totalBytes: number): boolean {
    if (this.#fault.error !== undefined) return false
    return this.#fits(totalBytes) || this.#supply.next !== undefined
  }

  async makeRoom(): Promise<void> {
    await this.#supply.prepare()
  }

  reserve(type: number, seq: number, bodyBytes: number): void {
    const total = recordBytes(bodyBytes)
    // The closing mark goes where room was kept for it.
    if (!this.#fits(total) && type !== RECORD_CLOSING_MARK) this.#switchSegment()
    const at = this.#offset
    const stability = this.#stability
    this.#reservedBytes = total
    this.#reservedSeq = seq
    this.bodyOffset = at + RECORD_HEADER_BYTES
    writeRecordHeader(
      this.memory,
      at,
      at,
      this.#segment.headerSalt,
      type,
      bodyBytes,
      seq,
      stability.markSegment,
      stability.markOffset,
    )
  }

  leave(): void {
    const at = this.#offset
    sealRecordBody(this.memory, at, at, this.#segment.bodySalt, this.#reservedBytes)
    this.records++
    this.#complete()
  }

  cancel(): void {
    const { markSegment, markOffset } = this.#stability
    const at = this.#offset
    const seq = this.#reservedSeq
    const { headerSalt } = this.#segment
    writeFillerHeader(this.memory, at, at, headerSalt, this.#reservedBytes, seq, markSegment, markOffset)
    this.#complete()
  }

  acknowledge(durability: JournalDurability): Promise<void> {
    if (durability === 'disk') return this.sync()
    return this.#fault.error === undefined ? RESOLVED : Promise.reject(this.#fault.error)
  }

  sync(): Promise<void> {
    return this.#stability.sync()
  }

  #fits(totalBytes: number): boolean {
    return this.#offset + totalBytes + RECORD_MIN_BYTES <= this.#segment.sizeBytes
  }

  #complete(): void {
    const stability = this.#stability
    const end = this.#offset + this.#reservedBytes
    this.#offset = end
    this.appendedBytes += this.#reservedBytes
    this.#reservedBytes = 0
    this.#tracked.writtenBytes = end
    if (this.#reservedSeq > stability.lastSeq) {
      stability.lastSeq = this.#reservedSeq
      stability.writtenSeq = this.#reservedSeq
    }
    if (!stability.armed) stability.arm()
    if (end >= this.#populateAt) this.#populate()
    if (end >= this.#prepareAt) this.#prepareNext()
  }

  #populate(): void {
    const from = Math.max(this.#offset, this.#populateAt - POPULATE_STEP_BYTES)
    const ahead = Math.min(this.#segment.sizeBytes, this.#offset + POPULATE_AHEAD_BYTES)
    this.#populateAt = this.#offset + POPULATE_STEP_BYTES
    if (ahead > from) this.#mapping.populate(from, ahead - from)
  }

  #prepareNext(): void {
    this.#prepareAt = Number.POSITIVE_INFINITY
    ignoreRejection(this.#supply.prepare())
  }

  roll(): void {
    this.#switchSegment()
  }

  #switchSegment(): void {
    const next = this.#supply.take()
    const stability = this.#stability
    const at = this.#offset
    const { headerSalt, sizeBytes } = this.#segment
    writeFillerHeader(
      this.memory,
      at,
      at,
      headerSalt,
      sizeBytes - at,
      stability.lastSeq,
      stability.markSegment,
      stability.markOffset,
    )
    this.appendedBytes += sizeBytes - at
    this.#tracked.writtenBytes = sizeBytes
    // What was filled is synced without waiting for the interval, so that the unstable part stays about a segment.
    ignoreRejection(stability.sync())
    this.#segment = next
    this.#mapping = mappingOf(next)
    this.memory = recordMemory(this.#mapping.bytes)
    this.#offset = FIRST_RECORD_OFFSET
    this.#tracked = stability.begin(next)
    this.#prepareAt = halfFull(next)
    this.#populateAt = 0
    this.#populate()
    this.segmentSwitches++
    this.#onEvent({ kind: 'segment-switch', segment: next.number })
  }
}

function mappingOf(segment: LiveSegment): Mapping {
  if (segment.mapping === undefined) {
    throw new HoltError('HOLT_INTERNAL', `${segment.path} is not mapped, unlike the segment before it`)
  }
  return segment.mapping
}
