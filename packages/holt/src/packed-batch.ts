import type { ArtIndex } from '@holt/art-index'
import { HoltError } from '@holt/errors'
import type { JournalContract, ReplayedRecord } from '@holt/journal'
import { copyWords, LARGEST_WORDWISE } from './copy-words.js'
import type { Effect } from './effect.js'
import type { KeyCodec } from './key-encoding.js'
import { LIMITS, TREE_ID_BYTES } from './limits.js'
import type { Operation } from './operation.js'
import { writeTreeId } from './range.js'

/**
 * A batch of puts and deletes that depend on nothing: their effects are the operations themselves, so they are collected
 * in the form in which the journal keeps them, and applied from it. No object, no string and no view by the operation.
 *
 * ```
 * count u32, then each, from a multiple of 4 on:
 *   0  kind u8 (0 put, 1 delete) | 0 u8 | key length u16
 *   4  value length u32, only of a put
 *   8  key (4 for a delete), padded with zeros to a multiple of 4; then, of a put, the value, padded likewise
 * ```
 *
 * Keys carry the four bytes of their tree's id. Little-endian.
 */
export const PACKED_BATCH_RECORD = 24

const HEAD_BYTES = 4
const PUT = 0
const DELETE = 1
/** More than this is not kept for the next batch. */
const LARGEST_SPARE_BYTES = 4 * 2 ** 20
/** Up to this many bytes a loop is faster than a call of `set`, which takes 25 ns for 60 bytes; a loop over bytes 37. */
const LONGEST_LOOP_BYTES = 32

const keyScratch = new Uint32Array((TREE_ID_BYTES + LIMITS.maxKeyBytes) / 4 + 1)
const keyScratchBytes = new Uint8Array(keyScratch.buffer, 0, TREE_ID_BYTES + LIMITS.maxKeyBytes)

export class PackedBatch {
  bytes = new Uint8Array(65_536)
  words = new Uint32Array(this.bytes.buffer)
  count = 0
  lengthBytes = HEAD_BYTES
  /** Of all keys so far, and of all values. */
  longestKeyBytes = 0
  longestValueBytes = 0

  clear(): void {
    this.count = 0
    this.lengthBytes = HEAD_BYTES
    this.longestKeyBytes = 0
    this.longestValueBytes = 0
    if (this.bytes.length > LARGEST_SPARE_BYTES) this.#resize(65_536)
  }

  /** Throws what the key's encoding throws, having added nothing. */
  addPut(treeId: number, codec: KeyCodec<unknown>, key: unknown, value: Uint8Array): void {
    this.addPutOf(keyScratch, encodeKey(treeId, codec, key), value)
  }

  /** Throws as {@link addPut} does. */
  addDelete(treeId: number, codec: KeyCodec<unknown>, key: unknown): void {
    this.addDeleteOf(keyScratch, encodeKey(treeId, codec, key))
  }

  /** As {@link addPut}, of a key that was encoded behind its tree's id: the first `keyLength` bytes of `keyWords`. */
  addPutOf(keyWords: Uint32Array, keyLength: number, value: Uint8Array): void {
    const valueLength = value.length
    const at = this.#add(8, keyLength, valueLength)
    this.words[at >>> 2] = PUT | (keyLength << 16)
    this.words[(at >>> 2) + 1] = valueLength
    this.#copyKey(keyWords, at + 8, keyLength)
    const { bytes, words } = this
    const valueAt = at + 8 + ((keyLength + 3) & ~3)
    words[(valueAt + valueLength) >>> 2] = 0
    if (valueLength <= LONGEST_LOOP_BYTES) {
      let i = 0
      for (let word = valueAt >>> 2; i + 4 <= valueLength; i += 4, word++)
        words[word] = value[i] | (value[i + 1] << 8) | (value[i + 2] << 16) | (value[i + 3] << 24)
      for (; i < valueLength; i++) bytes[valueAt + i] = value[i]
    } else {
      bytes.set(value, valueAt)
    }
    if (valueLength > this.longestValueBytes) this.longestValueBytes = valueLength
  }

  /** As {@link addPutOf}, of a value that begins on a word of other memory. */
  addPutOfWords(
    keyWords: Uint32Array,
    keyLength: number,
    valueWords: Uint32Array,
    valueAt: number,
    valueLength: number,
  ): void {
    const at = this.#add(8, keyLength, valueLength)
    const { words } = this
    words[at >>> 2] = PUT | (keyLength << 16)
    words[(at >>> 2) + 1] = valueLength
    this.#copyKey(keyWords, at + 8, keyLength)
    copyWords(valueWords, valueAt, valueLength, words, (at + 8 + keyLength + 3) >>> 2)
    if (valueLength > this.longestValueBytes) this.longestValueBytes = valueLength
  }

  /** As {@link addDelete}, of a key as {@link addPutOf} takes it. */
  addDeleteOf(keyWords: Uint32Array, keyLength: number): void {
    const at = this.#add(4, keyLength, 0)
    this.words[at >>> 2] = DELETE | (keyLength << 16)
    this.#copyKey(keyWords, at + 4, keyLength)
  }

  /** Room for an operation: returns where it begins. */
  #add(headBytes: number, keyLength: number, valueLength: number): number {
    const at = this.lengthBytes
    const end = at + headBytes + ((keyLength + 3) & ~3) + ((valueLength + 3) & ~3)
    // A word more, so that padding can be zeroed before it is known whether there is any.
    if (end + 4 > this.bytes.length) this.#resize(Math.max(end + 4, 2 * this.bytes.length))
    this.lengthBytes = end
    this.count++
    if (keyLength > this.longestKeyBytes) this.longestKeyBytes = keyLength
    return at
  }

  #resize(lengthBytes: number): void {
    const larger = new Uint8Array((lengthBytes + 3) & ~3)
    larger.set(this.bytes.subarray(0, Math.min(this.lengthBytes, larger.length)))
    this.bytes = larger
    this.words = new Uint32Array(larger.buffer)
  }

  #copyKey(keyWords: Uint32Array, at: number, keyLength: number): void {
    const { words } = this
    const to = at >>> 2
    const last = (keyLength - 1) >> 2
    for (let i = 0; i <= last; i++) words[to + i] = keyWords[i]
    if ((keyLength & 3) !== 0) words[to + last] &= (1 << ((keyLength & 3) << 3)) - 1
  }

  /**
   * Changes the index, operation by operation. Every frame it may touch is in memory, so nothing of it fails that was
   * not wrong in the index before.
   */
  apply(index: ArtIndex, seq: number): void {
    const { bytes, words } = this
    const { keyWords } = index
    const end = this.lengthBytes
    let at = HEAD_BYTES >>> 2
    while (at << 2 < end) {
      const head = words[at++]
      const keyLength = head >>> 16
      const isPut = (head & 0xffff) === PUT
      const valueLength = isPut ? words[at++] : 0
      const keyCount = (keyLength + 3) >>> 2
      for (let i = 0; i < keyCount; i++) keyWords[i] = words[at + i]
      at += keyCount
      if (isPut) {
        index.put(keyLength, bytes, at << 2, valueLength, seq)
        at += (valueLength + 3) >>> 2
      } else {
        index.delete(keyLength)
      }
    }
  }

  /** Appends the batch as one record. The journal must have room for {@link lengthBytes}. */
  append(journal: JournalContract, seq: number): void {
    this.words[0] = this.count
    journal.reserve(PACKED_BATCH_RECORD, seq, this.lengthBytes)
    if (this.lengthBytes <= LARGEST_WORDWISE)
      copyWords(this.words, 0, this.lengthBytes, journal.bodyWords, journal.bodyOffset >>> 2)
    else journal.body.set(this.bytes.subarray(0, this.lengthBytes), journal.bodyOffset)
    journal.leave()
  }

  /** The same as objects with bytes of their own: for a batch that has to wait, or has conditions after all. */
  operations(): Operation[] {
    this.words[0] = this.count
    return readPacked(
      this.bytes.subarray(0, this.lengthBytes),
      (what) => new HoltError('HOLT_INTERNAL', what),
    )
  }
}

/** Encodes a key into the scratch, behind its tree's id, and returns the length of both. */
function encodeKey(treeId: number, codec: KeyCodec<unknown>, key: unknown): number {
  const length = TREE_ID_BYTES + codec.write(key, keyScratchBytes)
  writeTreeId(treeId, keyScratchBytes)
  return length
}

/** What a packed batch may hold. */
type PackedEffect = Extract<Effect, { readonly kind: 'put' | 'delete' }>

/** The effects of a record, as copies. Throws `HOLT_CORRUPT` when the body is none of ours although its checksum holds. */
export function decodePackedBatch(record: ReplayedRecord): Effect[] {
  return readPacked(
    record.body,
    (what) =>
      new HoltError(
        'HOLT_CORRUPT',
        `journal record with seq ${String(record.seq)} at position ${String(record.position)}: ${what}`,
      ),
  )
}

function readPacked(bytes: Uint8Array, malformed: (what: string) => HoltError): PackedEffect[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const effects: PackedEffect[] = []
  let at = 0
  const number = (): number => {
    if (at + 4 > bytes.length) throw malformed('it ends inside the head of an operation')
    at += 4
    return view.getUint32(at - 4, true)
  }
  const take = (length: number): Uint8Array => {
    const end = at + ((length + 3) & ~3)
    if (length > bytes.length || end > bytes.length) throw malformed('it ends inside an operation')
    // A Buffer's slice would be a view.
    const copy = new Uint8Array(bytes.subarray(at, at + length))
    for (let i = at + length; i < end; i++) if (bytes[i] !== 0) throw malformed('its padding is not zero')
    at = end
    return copy
  }
  for (let count = number(); count > 0; count--) {
    const head = number()
    const kind = head & 0xffff
    if (kind === PUT) {
      const valueLength = number()
      effects.push({ kind: 'put', key: take(head >>> 16), value: take(valueLength) })
    } else if (kind === DELETE) {
      effects.push({ kind: 'delete', key: take(head >>> 16) })
    } else {
      throw malformed(`it holds an operation of kind ${String(kind)}`)
    }
  }
  if (at !== bytes.length) throw malformed(`${String(bytes.length - at)} bytes are left over`)
  return effects
}
