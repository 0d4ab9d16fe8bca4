import { HoltError } from '@holt/errors'
import type { Mapping } from '@holt/uring-native'
import { lsn, type JournalDurability, type Lsn } from './contract.js'
import type { JournalEventListener } from './events.js'
import type { Fault } from './fault.js'
import type { Log } from './log.js'
import { ignoreRejection, RESOLVED } from './promises.js'
import {
  RECORD_ALIGNMENT_BYTES,
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
import { SealedRecords } from './sealed-records.js'
import { FIRST_RECORD_OFFSET } from './segment-header.js'
import type { SegmentSupply } from './segment-supply.js'
import { halfFull, type LiveSegment } from './segments.js'
import type { Stability, TrackedSegment } from './stability.js'

/** How far ahead of the end the mapping is kept populated, and how often that is looked after. */
const POPULATE_AHEAD_BYTES = 8 * 2 ** 20
const POPULATE_STEP_BYTES = 2 ** 20
/** A record is so much longer than its body at most. */
const MOST_OVERHEAD_BYTES = RECORD_MIN_BYTES + RECORD_ALIGNMENT_BYTES - 1

/**
 * The log whose segments are mapped shared: an append is a copy into the mapping, which belongs to the operating system
 * at once, so that it survives the death of the process. Syncs follow behind ({@link Stability}).
 *
 * Where the addon has made the mapping it writes most records ({@link SealedRecords}); all others are put together in place.
 */
export class MappedLog implements Log {
  readonly mode = 'mapped'
  readonly groups = 0
  memory: RecordMemory
  bodyOffset = 0
  records = 0
  segmentSwitches = 0
  plainBodyBytes = -1

  readonly #fault: Fault
  readonly #stability: Stability
  readonly #supply: SegmentSupply
  readonly #onEvent: JournalEventListener
  readonly #sealed: SealedRecords | undefined
  #segment: LiveSegment
  #mapping: Mapping
  #mapped: RecordMemory
  #tracked: TrackedSegment
  /** End of the last record. At least {@link RECORD_MIN_BYTES} are left behind it, for a filler or the closing mark. */
  #offset = FIRST_RECORD_OFFSET
  /** In the segments before this one, less what is before the first record of this one. */
  #appendedBefore = -FIRST_RECORD_OFFSET
  #isStaged = false
  #reservedBytes = 0
  #reservedSeq = 0
  #prepareAt = 0
  #populateAt = 0
  /** The nearest offset at which something has to be looked after. */
  #lookAt = 0

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
    this.#mapped = recordMemory(this.#mapping.bytes)
    this.memory = this.#mapped
    this.#sealed = SealedRecords.into(this.#mapping.bytes, segment.headerSalt, segment.bodySalt)
    this.#tracked = stability.begin(segment)
    this.#beginSegment()
    fault.onPoisoned(() => {
      this.plainBodyBytes = -1
    })
  }

  get position(): Lsn {
    return lsn(this.#segment.number, this.#offset)
  }

  get appendedBytes(): number {
    return this.#appendedBefore + this.#offset
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
    const { markSegment, markOffset } = this.#stability
    const sealed = this.#sealed
    this.#reservedBytes = total
    this.#reservedSeq = seq
    if (sealed?.stage(at, total, type, bodyBytes, seq, markSegment, markOffset) === true) {
      this.#isStaged = true
      this.memory = sealed.memory
      this.bodyOffset = sealed.bodyOffset
    } else {
      const mapped = this.#mapped
      const { headerSalt } = this.#segment
      writeRecordHeader(mapped, at, at, headerSalt, type, bodyBytes, seq, markSegment, markOffset)
      this.#isStaged = false
      this.memory = mapped
      this.bodyOffset = at + RECORD_HEADER_BYTES
    }
  }

  leave(): void {
    const at = this.#offset
    if (this.#isStaged) this.#sealed?.seal()
    else sealRecordBody(this.#mapped, at, at, this.#segment.bodySalt, this.#reservedBytes)
    this.#complete(this.#reservedBytes, this.#reservedSeq)
    this.records++
  }

  append(
    type: number,
    seq: number,
    bodyBytes: number,
    first: number,
    a: Uint32Array,
    aAt: number,
    aBytes: number,
    b: Uint32Array,
    bAt: number,
    bBytes: number,
  ): boolean {
    const sealed = this.#sealed
    const total = recordBytes(bodyBytes)
    if (sealed === undefined || !this.#fits(total)) return false
    const { markSegment, markOffset } = this.#stability
    const at = this.#offset
    // prettier-ignore
    if (!sealed.write(at, total, type, bodyBytes, seq, markSegment, markOffset, first, a, aAt, aBytes, b, bAt, bBytes)) return false
    this.#complete(total, seq)
    this.records++
    return true
  }

  cancel(): void {
    const { markSegment, markOffset } = this.#stability
    const at = this.#offset
    const seq = this.#reservedSeq
    const { headerSalt } = this.#segment
    writeFillerHeader(this.#mapped, at, at, headerSalt, this.#reservedBytes, seq, markSegment, markOffset)
    this.#complete(this.#reservedBytes, seq)
  }

  acknowledge(durability: JournalDurability): Promise<void> {
    if (durability === 'disk') return this.sync()
    return this.#fault.error === undefined ? RESOLVED : Promise.reject(this.#fault.error)
  }

  sync(): Promise<void> {
    return this.#stability.sync()
  }

  end(): void {
    this.plainBodyBytes = -1
    this.#sealed?.letGo()
  }

  #fits(totalBytes: number): boolean {
    return this.#offset + totalBytes + RECORD_MIN_BYTES <= this.#segment.sizeBytes
  }

  #complete(totalBytes: number, seq: number): void {
    const stability = this.#stability
    const end = this.#offset + totalBytes
    this.#offset = end
    this.plainBodyBytes -= totalBytes
    this.#tracked.writtenBytes = end
    if (seq > stability.lastSeq) {
      stability.lastSeq = seq
      stability.writtenSeq = seq
    }
    if (!stability.armed) stability.arm()
    if (end >= this.#lookAt) this.#lookAround()
  }

  /** {@link #segment} is to be appended to from its beginning. */
  #beginSegment(): void {
    const { sizeBytes } = this.#segment
    this.#offset = FIRST_RECORD_OFFSET
    this.plainBodyBytes = sizeBytes - FIRST_RECORD_OFFSET - RECORD_MIN_BYTES - MOST_OVERHEAD_BYTES
    this.#prepareAt = halfFull(this.#segment)
    this.#populateAt = 0
    this.#lookAround()
  }

  #lookAround(): void {
    if (this.#offset >= this.#populateAt) this.#populate()
    if (this.#offset >= this.#prepareAt) {
      this.#prepareAt = Number.POSITIVE_INFINITY
      ignoreRejection(this.#supply.prepare())
    }
    this.#lookAt = Math.min(this.#populateAt, this.#prepareAt)
  }

  #populate(): void {
    const from = Math.max(this.#offset, this.#populateAt - POPULATE_STEP_BYTES)
    const ahead = Math.min(this.#segment.sizeBytes, this.#offset + POPULATE_AHEAD_BYTES)
    this.#populateAt = this.#offset + POPULATE_STEP_BYTES
    if (ahead > from) this.#mapping.populate(from, ahead - from)
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
      this.#mapped,
      at,
      at,
      headerSalt,
      sizeBytes - at,
      stability.lastSeq,
      stability.markSegment,
      stability.markOffset,
    )
    this.#appendedBefore += sizeBytes - FIRST_RECORD_OFFSET
    this.#tracked.writtenBytes = sizeBytes
    // What was filled is synced without waiting for the interval, so that the unstable part stays about a segment.
    ignoreRejection(stability.sync())
    this.#segment = next
    this.#mapping = mappingOf(next)
    this.#mapped = recordMemory(this.#mapping.bytes)
    this.#sealed?.goOn(this.#mapping.bytes, next.headerSalt, next.bodySalt)
    this.#tracked = stability.begin(next)
    this.#beginSegment()
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
