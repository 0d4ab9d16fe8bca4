import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Reads a store, written from docs/FORMAT.md alone: nothing of holt is imported here, so that the page is complete as
 * long as this reads what holt writes.
 */
export interface ParsedStore {
  /** By the tree's name, its keys in byte order. Keys and values as latin1 text: one character a byte. */
  readonly trees: ReadonlyMap<string, readonly ParsedEntry[]>
  /** The same of each snapshot, in the order in which they were taken. */
  readonly snapshots: ReadonlyMap<string, ReadonlyMap<string, readonly ParsedEntry[]>>
  /** How often each kind of thing was met, to see that a store has all of them. */
  readonly met: ReadonlyMap<string, number>
}

export interface ParsedEntry {
  readonly key: string
  readonly value: string
  readonly version: number
}

interface Kept {
  readonly value: string
  readonly version: number
}

/** The entry that is being read, and the bytes of the path to it. */
interface EntryPlace {
  readonly entry: number
  readonly depth: number
}

interface Place {
  readonly slot: number
  readonly pages: number
  readonly crc: number
}

const FRAME = 524_288
const PAGE = 4_096
const SECTOR = 512

// ---- CRC-32C -------------------------------------------------------------------------------------------------------

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f6_3b78 : 0)
  return crc >>> 0
})

export function crc32c(bytes: Uint8Array, start = 0): number {
  let crc = ~start
  for (const byte of bytes) crc = (crc >>> 8) ^ (CRC_TABLE[(crc ^ byte) & 0xff] ?? 0)
  return ~crc >>> 0
}

// ---- the store -----------------------------------------------------------------------------------------------------

export function parseStore(directory: string): ParsedStore {
  return new Parser(directory).run()
}

class Parser {
  readonly #directory: string
  readonly #met = new Map<string, number>()
  readonly #places = new Map<number, Place>()
  #keys = new Map<string, Kept>()
  readonly #snapshots = new Map<string, ReadonlyMap<string, Kept>>()
  #data: Buffer = Buffer.alloc(0)
  #storeId = ''
  #note: Buffer | undefined

  constructor(directory: string) {
    this.#directory = directory
  }

  run(): ParsedStore {
    this.#readManifest(this.#file('manifest'))
    if (this.#places.size > 0) this.#data = this.#file('blobs.dat')
    const note = this.#note
    let position: number | undefined
    if (note !== undefined) {
      check(note.readUInt16LE(0) === 4, 'note version')
      this.#readNote(note)
      this.#readEntry(note.readUInt32LE(4), 0, '')
      position = note.readDoubleLE(24)
    }
    this.#readJournal(position)
    const snapshots = [...this.#snapshots].map(([name, keys]) => [name, this.#trees(keys)] as const)
    return { trees: this.#trees(this.#keys), snapshots: new Map(snapshots), met: this.#met }
  }

  /** Frames that the tree let go of, and snapshots. */
  #readNote(note: Buffer): void {
    const epoch = note.readDoubleLE(32)
    check(epoch >= 1, 'epoch')
    let at = 48
    for (let left = note.readUInt32LE(40); left > 0; left--) {
      const birth = note.readDoubleLE(at)
      check(birth >= -1 && birth <= note.readDoubleLE(at + 8), 'birth of a group')
      check(note.readDoubleLE(at + 8) <= epoch, 'death of a group')
      const frames = note.readUInt32LE(at + 16) + note.readUInt32LE(at + 20)
      at += 24
      for (let i = 0; i < frames; i++, at += 4) {
        this.#meet('frame that was let go of')
        check(this.#places.has(note.readUInt32LE(at)), 'a frame that was let go of is in the store')
      }
    }
    for (let left = note.readUInt32LE(44); left > 0; left--) {
      this.#meet('snapshot in the note')
      const nameEnd = at + 32 + note.readUInt32LE(at + 4)
      check(note.readDoubleLE(at + 8) < epoch, 'epoch of a snapshot')
      check(note.readDoubleLE(at + 16) <= note.readDoubleLE(8), 'seq of a snapshot')
      check(note.readDoubleLE(at + 24) > Date.UTC(2020), 'time of a snapshot')
      this.#keys = new Map()
      this.#readEntry(note.readUInt32LE(at), 0, '')
      this.#snapshots.set(note.toString('utf8', at + 32, nameEnd), this.#keys)
      at = nameEnd
    }
    this.#keys = new Map()
    check(at === note.length, 'length of the note')
  }

  #file(name: string): Buffer {
    return readFileSync(join(this.#directory, name))
  }

  #meet(what: string): void {
    this.#met.set(what, (this.#met.get(what) ?? 0) + 1)
  }

  // ---- manifest ----------------------------------------------------------------------------------------------------

  #readManifest(file: Buffer): void {
    check(file.readUInt32LE(0) === 0x4d54_4c48, 'magic of the manifest')
    check(file.readUInt16LE(4) === 1, 'version of the manifest')
    const seed = file.readUInt32LE(508)
    check(crc32c(file.subarray(0, 508)) === seed, 'checksum of the header')
    this.#storeId = file.toString('hex', 8, 24)
    check(file.readUInt32LE(32) === FRAME, 'bytes of a frame')
    const bodyBytes = file.readUInt32LE(36)
    const bodyEnd = SECTOR + Math.ceil(bodyBytes / SECTOR) * SECTOR
    check(crc32c(file.subarray(SECTOR, bodyEnd)) === file.readUInt32LE(40), 'checksum of the body')
    check(file.length >= file.readDoubleLE(48), 'announced size')
    const count = file.readUInt32LE(SECTOR)
    const noteBytes = file.readUInt32LE(SECTOR + 4)
    let at = this.#readMappings(file, SECTOR + 8, count)
    if (noteBytes !== 0xffff_ffff) this.#note = file.subarray(at, at + noteBytes)

    at = bodyEnd
    for (let number = file.readDoubleLE(24) + 1; at < file.length; number++) {
      const sectors = Math.ceil(file.readUInt32LE(at + 16) / 488)
      // Of a record whose first sector was lost, the second copy begins behind a length that only it knows.
      const payload =
        this.#readRecord(file, at, seed, number, 0) ??
        this.#readRecord(file, at + sectors * SECTOR, seed, number, 1)
      if (payload === undefined) break
      this.#meet('manifest record')
      const mappings = payload.readUInt32LE(8)
      const removals = payload.readUInt32LE(12)
      let next = this.#readMappings(payload, 24, mappings)
      for (let i = 0; i < removals; i++, next += 4) this.#places.delete(payload.readUInt32LE(next))
      this.#note = payload.subarray(next, next + payload.readUInt32LE(16))
      at += 2 * Math.ceil(payload.length / 488) * SECTOR
    }
  }

  #readMappings(bytes: Buffer, from: number, count: number): number {
    let at = from
    for (let i = 0; i < count; i++, at += 12) {
      const place = bytes.readUInt32LE(at + 4)
      this.#places.set(bytes.readUInt32LE(at), {
        slot: place & 0x1ff_ffff,
        pages: (place >>> 25) + 1,
        crc: bytes.readUInt32LE(at + 8),
      })
    }
    return at
  }

  #readRecord(file: Buffer, from: number, seed: number, number: number, copy: number): Buffer | undefined {
    const pieces: Buffer[] = []
    let payloadBytes = 1
    for (let index = 0; index * 488 < payloadBytes; index++) {
      const sector = file.subarray(from + index * SECTOR, from + (index + 1) * SECTOR)
      if (sector.length < SECTOR || crc32c(sector.subarray(4), seed) !== sector.readUInt32LE(0))
        return undefined
      if (sector.readDoubleLE(8) !== number || sector.readUInt16LE(20) !== index) return undefined
      if (sector.readUInt16LE(22) !== copy) return undefined
      payloadBytes = sector.readUInt32LE(16)
      pieces.push(sector.subarray(24))
    }
    const payload = Buffer.concat(pieces).subarray(0, payloadBytes)
    return crc32c(payload, seed) === file.readUInt32LE(from + 4) ? payload : undefined
  }

  // ---- frames ------------------------------------------------------------------------------------------------------

  #frame(blob: number): Buffer {
    const place = this.#places.get(blob)
    if (place === undefined) throw new Error(`blob ${String(blob)} is nowhere`)
    const frame = this.#data.subarray(place.slot * FRAME, place.slot * FRAME + place.pages * PAGE)
    check(crc32c(frame.subarray(0, PAGE)) === place.crc, `page 0 of blob ${String(blob)}`)
    check(frame.readUInt32LE(0) === 0x4654_4c48, 'magic of a frame')
    check(frame.readUInt16LE(4) === 1 && frame.readUInt16LE(6) === 1, 'version and kind of a frame')
    check(frame.readUInt32LE(8) === blob, 'blob id of a frame')
    const units = frame.readUInt32LE(640)
    check((units === 0 ? 128 : Math.ceil((units * 8) / PAGE)) === place.pages, 'pages stored')
    for (let page = 1; page < place.pages; page++) {
      const crc = crc32c(frame.subarray(page * PAGE, (page + 1) * PAGE))
      check(crc === frame.readUInt32LE(128 + 4 * page), `page ${String(page)} of blob ${String(blob)}`)
    }
    return frame
  }

  #readEntry(blob: number, entry: number, path: string): void {
    const frame = this.#frame(blob)
    this.#meet('entry')
    if (entry > 0) this.#meet('entry above 0')
    const root = frame.readUInt16LE(672 + 16 * entry)
    if (root !== 0) this.#readNode(frame, root, path, { entry, depth: path.length })
  }

  #readNode(frame: Buffer, ref: number, path: string, from: EntryPlace): void {
    const node = ref * 8
    const word = frame.readUInt32LE(node)
    const type = word & 7
    const count = (word >>> 3) & 0x3ff
    const prefixLength = word >>> 16
    if (type === 1) {
      this.#readLeaf(frame, node, path, from)
      return
    }
    const prefixAt = [0, 0, 20, 56, 360, 520, 12, 0][type]
    if (prefixAt === 0) throw new Error(`a node of type ${String(type)}`)
    const below = path + frame.toString('latin1', node + prefixAt, node + prefixAt + prefixLength)
    this.#meet(['', '', 'node4', 'node16', 'node48', 'node256', 'crossing'][type])
    if (prefixLength > 0) this.#meet(type === 6 ? 'prefix of a crossing' : 'prefix of a node')
    if (type === 6) {
      check(frame.readUInt16LE(658) === 0, 'a filter in a frame that has crossings')
      this.#readEntry(frame.readUInt32LE(node + 4), count, below)
      return
    }
    const terminal = frame.readUInt16LE(node + 4)
    if (terminal !== 0) {
      this.#meet('terminal')
      this.#readNode(frame, terminal, below, from)
    }
    const child = (byte: number, at: number): void => {
      const childRef = frame.readUInt16LE(node + at)
      if (childRef !== 0) this.#readNode(frame, childRef, below + String.fromCharCode(byte), from)
    }
    if (type === 2 || type === 3) {
      const refs = type === 2 ? 12 : 24
      for (let i = 0; i < count; i++) child(frame.readUInt8(node + 8 + i), refs + 2 * i)
    } else {
      for (let byte = 0; byte < 256; byte++) {
        const position = frame.readUInt8(node + 8 + byte)
        if (type === 5) child(byte, 8 + 2 * byte)
        else if (position !== 0) child(byte, 264 + 2 * (position - 1))
      }
    }
  }

  #readLeaf(frame: Buffer, node: number, path: string, from: EntryPlace): void {
    this.#meet('leaf')
    const word = frame.readUInt32LE(node)
    const restLength = (word >>> 3) & 0x1fff
    const valueLength = word >>> 16
    const high = frame.readUInt32LE(node + 8)
    const version = (high & 0x1f_ffff) * 2 ** 32 + frame.readUInt32LE(node + 4)
    const key = path + frame.toString('latin1', node + 12, node + 12 + restLength)
    if (frame.readUInt16LE(658) !== 0) {
      this.#meet('filter')
      check(isInFilter(frame, from.entry, key.slice(from.depth)), 'a key that the filter of its frame lacks')
    }
    const at = node + 12 + Math.ceil(restLength / 4) * 4
    const stored = frame.subarray(at, at + valueLength)
    const value = (high & (1 << 21)) === 0 ? stored.toString('latin1') : this.#largeValue(stored)
    check(!this.#keys.has(key), 'a key that is there twice')
    this.#keys.set(key, { value, version })
  }

  #largeValue(descriptor: Buffer): string {
    this.#meet('large value')
    let value = ''
    for (let at = 8, part = 0; at < descriptor.length; at += 4, part++) {
      const frame = this.#frame(descriptor.readUInt32LE(at))
      check(frame.readUInt32LE(648) === part, 'part of a large value')
      value += frame.toString('latin1', PAGE, PAGE + frame.readUInt32LE(644))
    }
    check(value.length === descriptor.readUInt32LE(0), 'length of a large value')
    return value
  }

  // ---- journal -----------------------------------------------------------------------------------------------------

  #readJournal(position: number | undefined): void {
    const segments = new Map<number, Buffer>()
    for (const name of readdirSync(this.#directory)) {
      const digits = /^journal-(\d{12})\.wal$/.exec(name)?.[1]
      if (digits === undefined) continue
      const file = this.#file(name)
      const header = [0, PAGE].map((at) => file.subarray(at, at + 128)).find((copy) => isHeader(copy))
      if (header === undefined) throw new Error(`${name} has no valid header`)
      check(header.readUInt32LE(8) === 2, 'version of the journal')
      check(header.readUInt32LE(32) === Number(digits), 'number of a segment')
      check(header.toString('hex', 16, 32) === this.#storeId, 'store id of a segment')
      segments.set(Number(digits), file)
    }
    const chain: { readonly number: number; readonly file: Buffer; readonly limit: number }[] = []
    let number = Math.max(0, ...segments.keys())
    let limit = segments.get(number)?.readUInt32LE(36) ?? 0
    for (let file = segments.get(number); file !== undefined; file = segments.get(number)) {
      chain.unshift({ number, file, limit })
      number = file.readUInt32LE(56)
      limit = file.readUInt32LE(60)
    }
    const fromSegment = Math.floor((position ?? 0) / 2 ** 28)
    const fromOffset = Math.max((position ?? 0) % 2 ** 28, 8_192)
    for (const segment of chain) {
      if (segment.number < fromSegment) continue
      this.#meet('segment')
      const start = segment.number === fromSegment ? fromOffset : 8_192
      if (this.#readRecords(segment.file, start, segment.limit) < segment.limit) break
    }
  }

  /** Returns where the first record begins that is not valid. */
  #readRecords(file: Buffer, start: number, limit: number): number {
    const headerSalt = file.readUInt32LE(40)
    const bodySalt = file.readUInt32LE(44)
    let at = start
    while (at + 32 <= limit && file.readUInt16LE(at) === 0x5248) {
      if (crc32c(file.subarray(at, at + 24), (headerSalt ^ at) >>> 0) !== file.readUInt32LE(at + 24)) break
      const type = file.readUInt8(at + 2)
      const length = file.readUInt32LE(at + 4)
      const total = Math.ceil((length + 32) / 8) * 8
      if (at + total > limit) break
      if (type !== 0) {
        const crc = crc32c(file.subarray(at + 28, at + total - 4), (bodySalt ^ at) >>> 0)
        if (crc !== file.readUInt32LE(at + total - 4)) break
        this.#apply(type, file.subarray(at + 28, at + 28 + length), file.readDoubleLE(at + 8))
      }
      at += total
    }
    return at
  }

  #apply(type: number, body: Buffer, version: number): void {
    this.#meet(`record ${String(type)}`)
    if (type === 1) return
    if (type === 16) {
      const keyEnd = 4 + body.readUInt32LE(0)
      const valueAt = (keyEnd + 3) & ~3
      check(!body.subarray(keyEnd, valueAt).some((byte) => byte !== 0), 'padding of a key')
      this.#keys.set(body.toString('latin1', 4, keyEnd), { value: body.toString('latin1', valueAt), version })
    } else if (type === 17) {
      this.#keys.delete(body.toString('latin1'))
    } else if (type === 18) {
      this.#applyBatch(body, version)
    } else if (type === 19) {
      this.#deletePrefix(body.toString('latin1'))
    } else if (type === 20) {
      const end = 2 + body.readUInt16LE(0)
      this.#movePrefix(body.toString('latin1', 2, end), body.toString('latin1', end))
    } else if (type === 24) {
      this.#applyPacked(body, version)
    } else if (type === 26) {
      check(body.readDoubleLE(0) > Date.UTC(2020), 'time of a snapshot')
      this.#snapshots.set(body.toString('utf8', 8), new Map(this.#keys))
    } else if (type === 27) {
      check(this.#snapshots.delete(body.toString('utf8')), 'a snapshot that is dropped')
    } else if (type !== 25) throw new Error(`a record of type ${String(type)}`)
  }

  #applyBatch(body: Buffer, version: number): void {
    let at = 4
    for (let left = body.readUInt32LE(0); left > 0; left--) {
      const kind = body.readUInt8(at)
      const keyEnd = at + 3 + body.readUInt16LE(at + 1)
      const key = body.toString('latin1', at + 3, keyEnd)
      this.#meet(`kind ${String(kind)} of a batch`)
      at = keyEnd
      if (kind === 0) {
        at = keyEnd + 4 + body.readUInt32LE(keyEnd)
        this.#keys.set(key, { value: body.toString('latin1', keyEnd + 4, at), version })
      } else if (kind === 1) this.#keys.delete(key)
      else if (kind === 2) this.#deletePrefix(key)
      else {
        at = keyEnd + 2 + body.readUInt16LE(keyEnd)
        this.#movePrefix(key, body.toString('latin1', keyEnd + 2, at))
      }
    }
    check(at === body.length, 'end of a batch')
  }

  #applyPacked(body: Buffer, version: number): void {
    const padded = (length: number): number => Math.ceil(length / 4) * 4
    let at = 4
    for (let left = body.readUInt32LE(0); left > 0; left--) {
      const isPut = body.readUInt8(at) === 0
      const keyLength = body.readUInt16LE(at + 2)
      const valueLength = isPut ? body.readUInt32LE(at + 4) : 0
      const keyAt = at + (isPut ? 8 : 4)
      const valueAt = keyAt + padded(keyLength)
      const key = body.toString('latin1', keyAt, keyAt + keyLength)
      if (isPut)
        this.#keys.set(key, { value: body.toString('latin1', valueAt, valueAt + valueLength), version })
      else this.#keys.delete(key)
      at = valueAt + padded(valueLength)
    }
    check(at === body.length, 'end of a packed batch')
  }

  #deletePrefix(prefix: string): void {
    for (const key of [...this.#keys.keys()]) if (key.startsWith(prefix)) this.#keys.delete(key)
  }

  #movePrefix(from: string, to: string): void {
    this.#deletePrefix(to)
    for (const [key, kept] of [...this.#keys]) {
      if (!key.startsWith(from)) continue
      this.#keys.delete(key)
      this.#keys.set(to + key.slice(from.length), kept)
    }
  }

  // ---- trees -------------------------------------------------------------------------------------------------------

  #trees(keys: ReadonlyMap<string, Kept>): Map<string, ParsedEntry[]> {
    const names = new Map<string, string>()
    const entries: [string, ParsedEntry][] = []
    for (const [key, { value, version }] of keys) {
      const tree = key.slice(0, 4)
      if (tree !== '\0\0\0\0') entries.push([tree, { key: key.slice(4), value, version }])
      else if (key.length > 4) {
        const { id } = JSON.parse(Buffer.from(value, 'latin1').toString()) as { id: number }
        const bytes = Buffer.alloc(4)
        bytes.writeUInt32BE(id)
        names.set(bytes.toString('latin1'), Buffer.from(key.slice(4), 'latin1').toString())
      }
    }
    const trees = new Map<string, ParsedEntry[]>()
    for (const name of names.values()) trees.set(name, [])
    for (const [tree, entry] of entries) trees.get(names.get(tree) ?? '')?.push(entry)
    for (const list of trees.values()) list.sort((a, b) => (a.key < b.key ? -1 : 1))
    return trees
  }
}

function isInFilter(frame: Buffer, entry: number, rest: string): boolean {
  const first = frame.readUInt16LE(658)
  const bits = (206 - first) * 128
  let h = Math.imul(0x811c_9dc5 ^ entry, 0x0100_0193)
  for (const byte of Buffer.from(rest, 'latin1')) h = Math.imul(h ^ byte, 0x0100_0193)
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35)
  h ^= h >>> 16
  const numbers = [h >>> 16, h & 0xffff, Math.imul(h ^ (h >>> 15), 0x2c1b_3c6d) >>> 16]
  return numbers.every((number) => {
    const bit = Math.floor((number * bits) / 65_536)
    return ((frame.readUInt8(672 + 16 * first + (bit >>> 3)) >>> (bit & 7)) & 1) === 1
  })
}

function isHeader(copy: Buffer): boolean {
  return (
    copy.length === 128 &&
    copy.toString('latin1', 0, 8) === 'HOLTWAL\0' &&
    crc32c(copy.subarray(0, 124)) === copy.readUInt32LE(124)
  )
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`not as the page says: ${what}`)
}
