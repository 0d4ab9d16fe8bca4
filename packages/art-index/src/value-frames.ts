import { type BlobId, FRAME_SHIFT, MAX_BLOB_ID, PAGE_BYTES } from '@holt/blob-buf-pool'
import { HoltError } from '@holt/errors'
import { corruptNode } from './corruption.js'
import type { FrameSource } from './frame-source.js'
import { frameBase, segmentOf } from './frame-views.js'
import {
  BUMP_UNITS,
  DESCRIPTOR_BYTES,
  descriptorAt,
  ENTRY_COUNT,
  FIRST_REF,
  LARGE_VALUE,
  MAX_VALUE_FRAMES,
  UNIT_BYTES,
  VALUE_DATA_BYTES,
  VALUE_PART,
} from './layout.js'
import { ValueSource } from './leaf.js'
import { valueFrameCount } from './limits.js'
import { nodeAt } from './node-edit.js'

/** Bytes of the descriptor of a large value of this length. */
export function descriptorBytes(usableFrameBytes: number, valueBytes: number): number {
  return DESCRIPTOR_BYTES + 4 * valueFrameCount(usableFrameBytes, valueBytes)
}

/** Bytes of a value that each of its `count` frames but the last holds. */
export function bytesPerFrame(valueBytes: number, count: number): number {
  return (Math.ceil(valueBytes / count) + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1)
}

/** The frames of one large value: written, read, or given up. Nothing in here changes the leaf that names them. */
export class ValueFrames {
  readonly source: FrameSource
  readonly ids = new Int32Array(MAX_VALUE_FRAMES)
  /** 0: there is no large value. */
  count = 0
  lengthBytes = 0
  /** After {@link take}: the leaf's. */
  version = 0
  /** After {@link write}: what the leaf holds instead of the value. Its chain links are yet to be set. */
  readonly descriptor = new ValueSource()
  readonly #words = new Uint32Array((DESCRIPTOR_BYTES >>> 2) + MAX_VALUE_FRAMES)
  readonly #bytes = new Uint8Array(this.#words.buffer)

  constructor(source: FrameSource) {
    this.source = source
  }

  /** Copies what the leaf at `ref` of the resident frame `blob` names; {@link count} is 0 when it is not large. */
  takeFromLeaf(blob: BlobId, ref: number): void {
    const slot = this.source.pageTable[blob]
    const { u32 } = segmentOf(this.source, slot)
    const node = nodeAt(frameBase(this.source, slot), ref)
    if ((u32[node + 2] & LARGE_VALUE) === 0) this.count = 0
    else this.take(u32, node, blob, ref)
  }

  /** Copies what the large leaf with word 0 at `u32[node]` names. Throws `HOLT_CORRUPT` for a descriptor that is none. */
  take(u32: Uint32Array, node: number, blob: number, ref: number): void {
    const storedBytes = u32[node] >>> 16
    const count = (storedBytes - DESCRIPTOR_BYTES) / 4
    const descriptor = descriptorAt(u32, node)
    const lengthBytes = u32[descriptor]
    if (
      !(count >= 1 && count <= MAX_VALUE_FRAMES && Number.isInteger(count)) ||
      descriptor + (storedBytes >>> 2) > u32.length ||
      lengthBytes <= (count - 1) * bytesPerFrame(lengthBytes, count)
    ) {
      throw corruptNode(
        blob,
        ref,
        `a value of ${String(lengthBytes)} bytes with a descriptor of ${String(storedBytes)}`,
      )
    }
    for (let i = 0; i < count; i++) {
      const id = u32[descriptor + 2 + i]
      if (id < 1 || id > MAX_BLOB_ID)
        throw corruptNode(blob, ref, `a value in blob ${String(id)}, which cannot exist`)
      this.ids[i] = id
    }
    this.count = count
    this.lengthBytes = lengthBytes
    this.version = u32[node + 1] + (u32[node + 2] & 0x1f_ffff) * 0x1_0000_0000
  }

  /**
   * Writes a large value to fresh frames and makes {@link descriptor} name them. When there is no room for all of them
   * it gives back those it had got and throws what the source's `allocate` threw.
   */
  write(value: ValueSource, usableFrameBytes: number): void {
    const { source, ids } = this
    const words = this.#words
    const count = valueFrameCount(usableFrameBytes, value.length)
    const perFrame = bytesPerFrame(value.length, count)
    words[0] = value.length
    words[1] = 0
    this.count = 0
    this.lengthBytes = value.length
    for (let part = 0; part < count; part++) {
      const from = part * perFrame
      const dataBytes = Math.min(perFrame, value.length - from)
      let id: BlobId
      try {
        id = source.allocate(true)
      } catch (error) {
        this.free()
        throw error
      }
      ids[part] = id
      words[2 + part] = id
      this.count = part + 1
      const slot = source.pageTable[id]
      const { u8, u32 } = segmentOf(source, slot)
      const base = frameBase(source, slot)
      u32[(base + BUMP_UNITS) >>> 2] = FIRST_REF + ((dataBytes + UNIT_BYTES - 1) >>> 3)
      u32[(base + VALUE_DATA_BYTES) >>> 2] = dataBytes
      u32[(base + VALUE_PART) >>> 2] = part
      const data = base + PAGE_BYTES
      u8.set(value.bytes.subarray(value.offset + from, value.offset + from + dataBytes), data)
      // The last page is stored whole: what the slot held before is not the value's.
      u8.fill(0, data + dataBytes, data + ((dataBytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1)))
    }
    this.descriptor.set(this.#bytes, 0, DESCRIPTOR_BYTES + 4 * count)
  }

  /** Gives the frames up. */
  free(): void {
    for (let i = 0; i < this.count; i++) this.source.free(this.ids[i] as BlobId)
    this.count = 0
  }

  /**
   * Copies bytes `from … from + length` to `target`. Needs one frame at a time. Throws what the source's `fault` throws,
   * `HOLT_CORRUPT` for a frame that is not the one meant, `HOLT_INVALID_ARGUMENT` for bytes outside value or target.
   */
  read(target: Uint8Array, targetOffset: number, from: number, length: number): void {
    checkCopy(this.lengthBytes, target, targetOffset, from, length)
    const { source, ids, count, lengthBytes } = this
    const { pageTable, slab } = source
    const perFrame = bytesPerFrame(lengthBytes, count)
    const end = from + length
    for (let at = from; at < end;) {
      const part = Math.floor(at / perFrame)
      const id = ids[part] as BlobId
      let slot: number = pageTable[id]
      if (!(slot > 0)) slot = source.fault(id)
      const { u8, u32 } = slab.segments[slot >>> slab.segmentShift]
      const base = (slot & slab.segmentMask) << FRAME_SHIFT
      const start = part * perFrame
      const dataBytes = Math.min(perFrame, lengthBytes - start)
      if (
        u32[(base + ENTRY_COUNT) >>> 2] !== 0 ||
        u32[(base + VALUE_DATA_BYTES) >>> 2] !== dataBytes ||
        u32[(base + VALUE_PART) >>> 2] !== part
      ) {
        throw corruptNode(
          id,
          0,
          `part ${String(part)} of a value, with ${String(dataBytes)} bytes, was expected in this frame`,
        )
      }
      const stop = Math.min(end, start + dataBytes)
      const data = base + PAGE_BYTES - start
      target.set(u8.subarray(data + at, data + stop), targetOffset + at - from)
      at = stop
    }
  }
}

/** Throws `HOLT_INVALID_ARGUMENT` unless `from … + length` lies in a value and fits the target at its offset. */
export function checkCopy(
  valueBytes: number,
  target: Uint8Array,
  targetOffset: number,
  from: number,
  length: number,
): void {
  if (from >= 0 && length >= 0 && from + length <= valueBytes && targetOffset >= 0) {
    if (targetOffset + length <= target.length) return
  }
  throw new HoltError(
    'HOLT_INVALID_ARGUMENT',
    `bytes ${String(from)} + ${String(length)} of a value of ${String(valueBytes)} to ${String(targetOffset)} of ${String(target.length)}`,
  )
}
