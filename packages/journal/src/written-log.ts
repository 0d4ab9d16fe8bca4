import type { Io } from '@holt/uring-native'
import { lsn, type JournalDurability, type Lsn } from './contract.js'
import type { JournalEventListener } from './events.js'
import type { Fault } from './fault.js'
import type { Log } from './log.js'
import { deferred, ignoreRejection, RESOLVED, type Deferred } from './promises.js'
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

/** Capacity of a buffer of the ring. A record that is larger gets a buffer of its own. */
const BUFFER_BYTES = 2 ** 20
/** Buffers kept for the next groups. */
const SPARE_BUFFERS_MAX = 4
/** Appends wait when more than this would be queued. */
const WAITING_BYTES_MAX = 8 * 2 ** 20
const SECTOR_BYTES = 512

/** Records that are written by one call: a contiguous range of one segment, gathered in one buffer. */
interface Group {
  readonly segment: LiveSegment
  readonly tracked: TrackedSegment
  readonly memory: RecordMemory
  /** Where the buffer's first byte belongs in the segment. */
  readonly fileOffset: number
  usedBytes: number
  lastSeq: number
  /** Its last record is the filler that closes the segment. */
  closesSegment: boolean
  /** Only where several are under way at once. */
  isWritten: boolean
  /** Made when somebody wants to know. */
  done: Deferred | undefined
}

/**
 * The log that is written by calls, one after the other. What is appended in one turn, or while a write is under way,
 * is one group with one promise. In a `'disk'` database a group's write makes its own range stable, and since all
 * before it was written in the same way the log is stable up to its end; in an `'os'` database it belongs to the
 * operating system then, and {@link Stability} syncs behind.
 *
 * With `writesAtOnce` above 1, which is for `'os'` only, that many writes are under way together and may arrive in any
 * order: they touch no byte in common. What is written counts up to the first gap, and so do promises and syncs.
 */
export class WrittenLog implements Log {
  readonly mode = 'written'
  readonly plainBodyBytes = -1
  memory: RecordMemory = recordMemory(new Uint8Array(0))
  bodyOffset = 0
  records = 0
  appendedBytes = 0
  groups = 0
  segmentSwitches = 0

  readonly #io: Io
  readonly #durability: JournalDurability
  readonly #fault: Fault
  readonly #stability: Stability
  readonly #supply: SegmentSupply
  readonly #onEvent: JournalEventListener
  #segment: LiveSegment
  #tracked: TrackedSegment
  /** End of the last record. At least {@link RECORD_MIN_BYTES} are left behind it, for a filler or the closing mark. */
  #offset = FIRST_RECORD_OFFSET
  #reservedAt = 0
  #reservedBytes = 0
  #reservedSeq = 0
  #prepareAt: number

  /** The group that takes appends. */
  #open: Group | undefined
  /** Groups that take none any more, oldest first; the first may be under way. */
  readonly #sealed: Group[] = []
  #waitingBytes = 0
  #isPumping = false
  readonly #spareBuffers: RecordMemory[] = []
  #roomWaiters: Deferred | undefined
  readonly #writesAtOnce: number
  /** Of {@link #sealed}, those whose write was begun. */
  #begunGroups = 0
  #underWay = 0

  constructor(
    io: Io,
    durability: JournalDurability,
    segment: LiveSegment,
    fault: Fault,
    stability: Stability,
    supply: SegmentSupply,
    onEvent: JournalEventListener,
    writesAtOnce = 1,
  ) {
    this.#io = io
    this.#writesAtOnce = writesAtOnce
    this.#durability = durability
    this.#fault = fault
    this.#stability = stability
    this.#supply = supply
    this.#onEvent = onEvent
    this.#segment = segment
    this.#tracked = stability.begin(segment)
    this.#prepareAt = halfFull(segment)
    fault.onPoisoned((error) => {
      for (const group of this.#sealed) group.done?.reject(error)
      this.#open?.done?.reject(error)
      this.#roomWaiters?.reject(error)
    })
  }

  get position(): Lsn {
    return lsn(this.#segment.number, this.#offset)
  }

  hasRoom(totalBytes: number): boolean {
    if (this.#fault.error !== undefined || !this.#hasQueueRoom(totalBytes)) return false
    return this.#fits(totalBytes) || this.#supply.next !== undefined
  }

  async makeRoom(totalBytes: number): Promise<void> {
    if (!this.#hasQueueRoom(totalBytes)) {
      this.#roomWaiters ??= deferred()
      await this.#roomWaiters.promise
    } else await this.#supply.prepare()
  }

  reserve(type: number, seq: number, bodyBytes: number): void {
    const total = recordBytes(bodyBytes)
    // The closing mark goes where room was kept for it.
    if (!this.#fits(total) && type !== RECORD_CLOSING_MARK) this.#switchSegment()
    let group = this.#open
    if (group === undefined || !hasBufferRoom(group, total)) group = this.#nextGroup(total)
    const at = group.usedBytes
    const stability = this.#stability
    this.#reservedAt = at
    this.#reservedBytes = total
    this.#reservedSeq = seq
    this.bodyOffset = at + RECORD_HEADER_BYTES
    writeRecordHeader(
      this.memory,
      at,
      this.#offset,
      this.#segment.headerSalt,
      type,
      bodyBytes,
      seq,
      stability.markSegment,
      stability.markOffset,
    )
  }

  leave(): void {
    const { bodySalt } = this.#segment
    sealRecordBody(this.memory, this.#reservedAt, this.#offset, bodySalt, this.#reservedBytes)
    this.records++
    this.#complete(this.#reservedBytes, this.#reservedSeq)
  }

  append(): boolean {
    return false
  }

  cancel(): void {
    this.#writeFiller(this.#reservedAt, this.#reservedBytes, this.#reservedSeq)
    this.#complete(this.#reservedBytes, this.#reservedSeq)
  }

  acknowledge(durability: JournalDurability): Promise<void> {
    if (durability === 'disk') return this.sync()
    return this.#written()
  }

  sync(): Promise<void> {
    return this.#durability === 'disk' ? this.#written() : this.#writeAndSync()
  }

  end(): void {
    // Nothing is mapped.
  }

  async #writeAndSync(): Promise<void> {
    await this.#written()
    await this.#stability.sync()
  }

  /** The promise of the last group that is not written yet. */
  #written(): Promise<void> {
    if (this.#fault.error !== undefined) return Promise.reject(this.#fault.error)
    const group = this.#open ?? this.#sealed.at(-1)
    if (group === undefined) return RESOLVED
    group.done ??= deferred()
    return group.done.promise
  }

  #fits(totalBytes: number): boolean {
    return this.#offset + totalBytes + RECORD_MIN_BYTES <= this.#segment.sizeBytes
  }

  #hasQueueRoom(totalBytes: number): boolean {
    return this.#waitingBytes === 0 || this.#waitingBytes + totalBytes <= WAITING_BYTES_MAX
  }

  #complete(totalBytes: number, seq: number): void {
    const group = this.#open
    if (group === undefined) return
    group.usedBytes += totalBytes
    if (seq > group.lastSeq) group.lastSeq = seq
    if (seq > this.#stability.lastSeq) this.#stability.lastSeq = seq
    this.#offset += totalBytes
    this.#waitingBytes += totalBytes
    this.appendedBytes += totalBytes
    this.#reservedBytes = 0
    this.#startPump()
    if (this.#offset >= this.#prepareAt) {
      this.#prepareAt = Number.POSITIVE_INFINITY
      ignoreRejection(this.#supply.prepare())
    }
  }

  #writeFiller(at: number, totalBytes: number, seq: number): void {
    const { markSegment, markOffset } = this.#stability
    const { headerSalt } = this.#segment
    writeFillerHeader(this.memory, at, this.#offset, headerSalt, totalBytes, seq, markSegment, markOffset)
  }

  /** Ends the segment. The next one must be ready. */
  roll(): void {
    this.#switchSegment()
  }

  #switchSegment(): void {
    const next = this.#supply.take()
    const { sizeBytes } = this.#segment
    const group = this.#open ?? this.#nextGroup(0)
    // Of the filler only its header is written: what its body holds does not matter.
    const at = group.usedBytes
    this.memory.words[(at + RECORD_HEADER_BYTES) >>> 2] = 0
    this.#writeFiller(at, sizeBytes - this.#offset, this.#stability.lastSeq)
    group.usedBytes += RECORD_MIN_BYTES
    group.closesSegment = true
    this.#waitingBytes += RECORD_MIN_BYTES
    this.appendedBytes += sizeBytes - this.#offset
    this.#seal()
    this.#segment = next
    this.#offset = FIRST_RECORD_OFFSET
    this.#tracked = this.#stability.begin(next)
    this.#prepareAt = halfFull(next)
    this.segmentSwitches++
    this.#startPump()
    this.#onEvent({ kind: 'segment-switch', segment: next.number })
  }

  /** Opens a group at the end of the log, in a buffer that has room for such a record. */
  #nextGroup(totalBytes: number): Group {
    this.#seal()
    const neededBytes = totalBytes + RECORD_MIN_BYTES + SECTOR_BYTES
    const memory =
      neededBytes > BUFFER_BYTES
        ? newBuffer(neededBytes)
        : (this.#spareBuffers.pop() ?? newBuffer(BUFFER_BYTES))
    const group: Group = {
      segment: this.#segment,
      tracked: this.#tracked,
      memory,
      fileOffset: this.#offset,
      usedBytes: 0,
      lastSeq: 0,
      closesSegment: false,
      isWritten: false,
      done: undefined,
    }
    this.#open = group
    this.memory = memory
    return group
  }

  #seal(): void {
    const group = this.#open
    if (group === undefined) return
    this.#open = undefined
    this.#sealed.push(group)
  }

  /** An idle log begins to write at the end of this turn, so that what is appended until then shares one write. */
  #startPump(): void {
    if (this.#isPumping) return
    this.#isPumping = true
    queueMicrotask(() => {
      if (this.#writesAtOnce === 1) {
        ignoreRejection(this.#pump())
      } else {
        this.#isPumping = false
        this.#beginWrites()
      }
    })
  }

  /** Begins writes until so many are under way as may be. */
  #beginWrites(): void {
    while (this.#underWay < this.#writesAtOnce && this.#fault.error === undefined) {
      if (this.#begunGroups === this.#sealed.length) this.#seal()
      const group = this.#sealed.at(this.#begunGroups)
      if (group === undefined) return
      this.#begunGroups++
      this.#underWay++
      ignoreRejection(this.#writeBeside(group))
    }
  }

  /** Writes a group beside others. Nothing but its own bytes: the rest of its last sector is the next one's. */
  async #writeBeside(group: Group): Promise<void> {
    const { segment, fileOffset, usedBytes, memory } = group
    try {
      await this.#io.write(segment.file, fileOffset, memory.bytes.subarray(0, usedBytes))
    } catch (error) {
      this.#fault.poison(error)
      return
    }
    if (this.#fault.error !== undefined) return
    this.#underWay--
    group.isWritten = true
    for (let first = this.#sealed.at(0); first?.isWritten === true; first = this.#sealed.at(0)) {
      this.#sealed.shift()
      this.#begunGroups--
      this.#takeWritten(first)
      this.#settle(first)
    }
    this.#beginWrites()
  }

  async #pump(): Promise<void> {
    for (;;) {
      if (this.#fault.error !== undefined) return
      if (this.#sealed.length === 0) this.#seal()
      const group = this.#sealed.at(0)
      if (group === undefined) break
      try {
        await this.#write(group)
      } catch (error) {
        this.#fault.poison(error)
        return
      }
      this.#sealed.shift()
      this.#settle(group)
    }
    this.#isPumping = false
  }

  /** Writes a group, with zeros up to the end of its last sector. */
  async #write(group: Group): Promise<void> {
    const endBytes = group.fileOffset + group.usedBytes
    const sectorEndBytes = Math.ceil(endBytes / SECTOR_BYTES) * SECTOR_BYTES
    const lengthBytes = Math.min(sectorEndBytes, group.segment.sizeBytes) - group.fileOffset
    const { bytes } = group.memory
    bytes.fill(0, group.usedBytes, lengthBytes)
    const range = bytes.subarray(0, lengthBytes)
    if (this.#durability === 'disk') {
      const startedMs = this.#io.nowMs()
      await this.#io.writeDsync(group.segment.file, group.fileOffset, range)
      this.#takeStable(group, startedMs)
    } else {
      await this.#io.write(group.segment.file, group.fileOffset, range)
      this.#takeWritten(group)
    }
  }

  #takeWritten(group: Group): void {
    const stability = this.#stability
    group.tracked.writtenBytes = writtenEndOf(group)
    if (group.lastSeq > stability.writtenSeq) stability.writtenSeq = group.lastSeq
    if (group.closesSegment) ignoreRejection(stability.sync())
    else if (!stability.armed) stability.arm()
  }

  #takeStable(group: Group, startedMs: number): void {
    this.#stability.syncs++
    this.#stability.writtenStably(group.tracked, writtenEndOf(group), group.lastSeq)
    this.#onEvent({
      kind: 'sync',
      durationMs: this.#io.nowMs() - startedMs,
      stablePosition: this.#stability.stablePosition,
    })
  }

  #settle(group: Group): void {
    this.groups++
    this.#waitingBytes -= group.usedBytes
    if (group.memory.bytes.length === BUFFER_BYTES && this.#spareBuffers.length < SPARE_BUFFERS_MAX) {
      this.#spareBuffers.push(group.memory)
    }
    group.done?.resolve()
    const waiters = this.#roomWaiters
    this.#roomWaiters = undefined
    waiters?.resolve()
  }
}

/** Whether the group's buffer has room for such a record, a closing filler and the last sector's zeros. */
function hasBufferRoom(group: Group, totalBytes: number): boolean {
  return group.usedBytes + totalBytes + RECORD_MIN_BYTES + SECTOR_BYTES <= group.memory.bytes.length
}

function newBuffer(lengthBytes: number): RecordMemory {
  return recordMemory(new Uint8Array(new SharedArrayBuffer((lengthBytes + 7) & -8)))
}

function writtenEndOf(group: Group): number {
  return group.closesSegment ? group.segment.sizeBytes : group.fileOffset + group.usedBytes
}
