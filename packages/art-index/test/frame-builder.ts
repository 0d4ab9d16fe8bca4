import { type BlobId, ENVELOPE_BYTES, PAGE_BYTES, type SlabSegment } from '@holt/blob-buf-pool'
import * as layout from '../src/layout.js'
import type { ArrayFrameSource } from './array-frame-source.js'
import type { Random } from './random.js'
import { bytesOf, type SortedMap } from './sorted-map.js'

interface Item {
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly version: number
}

interface Entry {
  root: number
  live: number
  valueBytes: number
  maxKeyBytes: number
  readonly start: number
  readonly crossings: number[]
}

/** A frame under construction: nodes one behind the other. */
class Frame {
  readonly id: BlobId
  readonly views: SlabSegment
  readonly base: number
  readonly entries: Entry[] = []
  bump = layout.FIRST_REF

  constructor(source: ArrayFrameSource) {
    this.id = source.allocate()
    const slot = source.writable(this.id)
    this.views = source.slab.segmentOf(slot)
    this.base = source.slab.offsetOf(slot)
    this.views.u8.fill(0, this.base + ENVELOPE_BYTES, this.base + PAGE_BYTES)
  }

  /** Zeroed room; returns its ref. */
  take(bytes: number): number {
    const ref = this.bump
    this.bump += (bytes + 7) >>> 3
    this.views.u8.fill(0, this.at(ref), this.at(this.bump))
    return ref
  }

  at(ref: number): number {
    return this.base + ref * layout.UNIT_BYTES
  }

  finish(): void {
    const { u16, u32, f64 } = this.views
    u32[(this.base + layout.BUMP_UNITS) >>> 2] = this.bump
    f64[(this.base + layout.BIRTH) >>> 3] = 1
    u16[(this.base + layout.ENTRY_COUNT) >>> 1] = this.entries.length
    u16[(this.base + layout.ENTRY_HIGH_WATER) >>> 1] = this.entries.length
    this.entries.forEach((entry, number) => {
      const at = this.base + layout.ENTRY_TABLE + number * layout.ENTRY_BYTES
      u16[(at + layout.ENTRY_ROOT) >>> 1] = entry.root
      u16[(at + layout.ENTRY_CROSSING_HEAD) >>> 1] = entry.crossings[0] ?? 0
      u16[(at + layout.ENTRY_LIVE_COUNT) >>> 1] = entry.live
      u16[(at + layout.ENTRY_MAX_KEY) >>> 1] = entry.maxKeyBytes
      f64[(at + layout.ENTRY_VALUE_BYTES) >>> 3] = entry.valueBytes
      entry.crossings.forEach((ref, i) => {
        u16[(this.at(ref) + 8) >>> 1] = entry.crossings[i + 1] ?? 0
        u16[(this.at(ref) + 10) >>> 1] = entry.crossings[i - 1] ?? 0
      })
    })
  }
}

/**
 * Lays a tree out from nothing but the layout's words, so that what reads frames can be tested without what writes
 * them. `random` decides which subtrees get frames of their own, alone behind a crossing with a path or several
 * siblings in one frame.
 */
export function buildTree(source: ArrayFrameSource, map: SortedMap, random: Random): BlobId {
  const items = map.keys.map((key): Item => {
    const value = map.get(key)
    return { key: bytesOf(key), value: bytesOf(value?.value ?? ''), version: value?.version ?? 0 }
  })
  const builder = new Builder(source, random)
  const root = new Frame(source)
  builder.entry(root, items, 0)
  root.finish()
  return root.id
}

class Builder {
  readonly #source: ArrayFrameSource
  readonly #random: Random

  constructor(source: ArrayFrameSource, random: Random) {
    this.#source = source
    this.#random = random
  }

  /** Adds an entry that holds `items`, whose path is `start` bytes; returns its number. */
  entry(frame: Frame, items: readonly Item[], start: number): number {
    const maxKeyBytes = items.reduce((longest, { key }) => Math.max(longest, key.length - start), 0)
    const entry: Entry = { root: 0, live: 0, valueBytes: 0, maxKeyBytes, start, crossings: [] }
    frame.entries.push(entry)
    if (items.length > 0) entry.root = this.#subtree(frame, entry, items, start)
    return frame.entries.indexOf(entry)
  }

  #subtree(frame: Frame, entry: Entry, items: readonly Item[], depth: number): number {
    const first = items[0]
    if (items.length === 1) return this.#leaf(frame, entry, first, depth)
    const prefixEnd = commonEnd(items, depth)
    const terminal = first.key.length === prefixEnd ? this.#leaf(frame, entry, first, prefixEnd) : 0
    const groups = new Map<number, Item[]>()
    for (const item of terminal === 0 ? items : items.slice(1)) {
      const byte = item.key[prefixEnd]
      const group = groups.get(byte)
      if (group) group.push(item)
      else groups.set(byte, [item])
    }
    const refs = this.#children(frame, entry, [...groups.values()], prefixEnd + 1)
    return this.#inner(frame, [...groups.keys()], refs, terminal, first.key.subarray(depth, prefixEnd))
  }

  #children(frame: Frame, entry: Entry, groups: readonly Item[][], depth: number): number[] {
    const random = this.#random
    let shared: Frame | undefined
    const refs = groups.map((items) => {
      const choice = random.below(100)
      if (choice < 60 || (choice < 85 && items.length < 2)) return this.#subtree(frame, entry, items, depth)
      if (choice < 85) {
        const child = new Frame(this.#source)
        // A crossing may carry the whole path to where the keys part, or none of it.
        const end = random.chance(80) ? commonEnd(items, depth) : depth
        const prefix = items[0].key.subarray(depth, end)
        const number = this.entry(child, items, end)
        child.finish()
        return this.#crossing(frame, entry, child.id, number, prefix)
      }
      shared ??= new Frame(this.#source)
      const number = this.entry(shared, items, depth)
      return this.#crossing(frame, entry, shared.id, number, new Uint8Array(0))
    })
    shared?.finish()
    return refs
  }

  #leaf(frame: Frame, entry: Entry, item: Item, depth: number): number {
    const { u8, u32 } = frame.views
    const rest = item.key.subarray(depth)
    const ref = frame.take(layout.leafUnits(rest.length, item.value.length) * layout.UNIT_BYTES)
    const at = frame.at(ref)
    u32[at >>> 2] = layout.LEAF | (rest.length << 3) | (item.value.length << 16)
    u32[(at >>> 2) + 1] = item.version >>> 0
    u32[(at >>> 2) + 2] = Math.floor(item.version / 2 ** 32)
    u8.set(rest, at + layout.LEAF_HEADER_BYTES)
    u8.set(item.value, at + ((layout.LEAF_HEADER_BYTES + rest.length + 3) & ~3))
    entry.live++
    entry.valueBytes += item.value.length
    return ref
  }

  #crossing(frame: Frame, entry: Entry, child: BlobId, number: number, prefix: Uint8Array): number {
    const { u8, u32 } = frame.views
    const ref = frame.take(layout.CROSSING_BYTES + prefix.length)
    const at = frame.at(ref)
    u32[at >>> 2] = layout.CROSSING | (number << 3) | (prefix.length << 16)
    u32[(at >>> 2) + 1] = child
    u8.set(prefix, at + layout.CROSSING_BYTES)
    entry.crossings.push(ref)
    return ref
  }

  #inner(frame: Frame, keys: number[], refs: number[], terminal: number, prefix: Uint8Array): number {
    const { u8, u16, u32 } = frame.views
    const count = keys.length
    const [type, header] = innerType(count)
    const ref = frame.take(header + prefix.length)
    const at = frame.at(ref)
    u32[at >>> 2] = type | (count << 3) | (prefix.length << 16)
    u16[(at >>> 1) + 2] = terminal
    u8.set(prefix, at + header)
    const places = type === layout.NODE4 ? 4 : 16
    for (let i = 0; i < (count > 16 ? count : places); i++) {
      const from = Math.min(i, count - 1)
      const key = keys[from]
      const child = refs[from]
      if (type === layout.NODE256) u16[((at + 8) >>> 1) + key] = child
      else if (type === layout.NODE48) {
        u8[at + 8 + key] = i + 1
        u16[((at + 264) >>> 1) + i] = child
      } else {
        u8[at + 8 + i] = key
        u16[((at + 8 + places) >>> 1) + i] = child
      }
    }
    return ref
  }
}

function innerType(count: number): [type: number, headerBytes: number] {
  if (count <= 4) return [layout.NODE4, layout.NODE4_BYTES]
  if (count <= 16) return [layout.NODE16, layout.NODE16_BYTES]
  if (count <= 48) return [layout.NODE48, layout.NODE48_BYTES]
  return [layout.NODE256, layout.NODE256_BYTES]
}

/** Where the keys of sorted items, equal up to `depth`, part: the first and the last of them tell. */
function commonEnd(items: readonly Item[], depth: number): number {
  const first = items[0]?.key ?? new Uint8Array(0)
  const last = items.at(-1)?.key ?? first
  let end = depth
  while (end < first.length && end < last.length && first[end] === last[end]) end++
  return end
}
