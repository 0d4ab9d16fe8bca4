import type { ArtIndex } from '@holt/art-index'
import { HoltError } from '@holt/errors'
import type { JournalContract, RecordType, ReplayedRecord } from '@holt/journal'
import { copyWords } from './copy-words.js'
import { decodePackedBatch, PACKED_BATCH_RECORD } from './packed-batch.js'
import { isSnapshotRecord } from './snapshot-record.js'

/**
 * What a write came to once its conditions were resolved: the only thing the journal keeps, so that replay is exact.
 *
 * ```
 * put            type 16   key length u32 | key, padded with zeros to a multiple of 4 | value
 * delete         type 17   key
 * batch          type 18   count u32, then each: kind u8 | key length u16 | key, then by kind
 *                            0 put            value length u32 | value
 *                            1 delete
 *                            2 delete prefix  the key is the prefix
 *                            3 move prefix    the key is the old prefix; length u16 | new prefix
 * delete prefix  type 19   prefix
 * move prefix    type 20   prefix length u16 | prefix | new prefix
 * packed         type 24   see packed-batch.ts
 * bulk load      type 25   prefix: keys below it came by the image, not by the log; replay has nothing to do
 * 26, 27         see snapshot-record.ts: no effect on keys
 * ```
 *
 * A move puts all keys below one prefix below another, with values and versions, in place of what is there.
 *
 * Keys carry the four bytes of their tree's id. Little-endian.
 */
export type Effect =
  | { readonly kind: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly key: Uint8Array }
  /** `key` is the prefix. */
  | { readonly kind: 'deletePrefix'; readonly key: Uint8Array }
  /** `key` is the old prefix, `to` the new one. */
  | { readonly kind: 'movePrefix'; readonly key: Uint8Array; readonly to: Uint8Array }

export const PUT_RECORD = 16
export const DELETE_RECORD = 17
export const BATCH_RECORD = 18
export const DELETE_PREFIX_RECORD = 19
export const MOVE_PREFIX_RECORD = 20

export const BULK_LOAD_RECORD = 25

/** In a batch, by their number. */
const KINDS = ['put', 'delete', 'deletePrefix', 'movePrefix'] as const

const BATCH_HEAD_BYTES = 4

/** Bytes of the body of the record that {@link appendEffects} writes. */
export function effectsBytes(effects: readonly Effect[]): number {
  const only = effects.at(0)
  if (effects.length === 1 && only !== undefined) {
    if (only.kind === 'put') return putBytes(only.key.length, only.value.length)
    return only.kind === 'movePrefix' ? 2 + only.key.length + only.to.length : only.key.length
  }
  let bytes = BATCH_HEAD_BYTES
  for (const effect of effects) {
    bytes += 3 + effect.key.length
    if (effect.kind === 'put') bytes += 4 + effect.value.length
    else if (effect.kind === 'movePrefix') bytes += 2 + effect.to.length
  }
  return bytes
}

/** Appends one record with all effects. The journal must have room for {@link effectsBytes}. */
export function appendEffects(journal: JournalContract, seq: number, effects: readonly Effect[]): void {
  const only = effects.at(0)
  if (only === undefined) return
  if (effects.length > 1) appendBatch(journal, seq, effects)
  else if (only.kind === 'put') appendPutEffect(journal, seq, only.key, only.value)
  else if (only.kind === 'movePrefix') appendMovePrefix(journal, seq, only.key, only.to)
  else appendKey(journal, only.kind === 'deletePrefix' ? DELETE_PREFIX_RECORD : DELETE_RECORD, seq, only.key)
}

export function putBytes(keyLength: number, valueLength: number): number {
  return PUT_HEAD_BYTES + ((keyLength + 3) & ~3) + valueLength
}

/**
 * Appends the put that the index has just done: its key lies in the index's scratch buffer, and the value, when its leaf
 * holds it, is taken from there; else it is `source[offset … + length)`.
 */
export function appendPut(
  journal: JournalContract,
  seq: number,
  index: ArtIndex,
  keyLength: number,
  source: Uint8Array,
  sourceOffset: number,
  sourceLength: number,
): void {
  const { keyWords, putWords } = index
  if (putWords !== undefined) {
    journal.append(PUT_RECORD, seq, keyLength, keyWords, 0, keyLength, putWords, index.putAt, sourceLength)
    return
  }
  journal.reserve(PUT_RECORD, seq, putBytes(keyLength, sourceLength))
  const { bodyWords, bodyOffset } = journal
  const start = bodyOffset >>> 2
  bodyWords[start] = keyLength
  copyWords(keyWords, 0, keyLength, bodyWords, start + 1)
  const valueAt = start + 1 + ((keyLength + 3) >>> 2)
  setBytes(journal.body, valueAt * 4, source, sourceOffset, sourceLength)
  journal.leave()
}

/** Appends the delete of the key that lies in the index's scratch buffer. */
export function appendDelete(
  journal: JournalContract,
  seq: number,
  index: ArtIndex,
  keyLength: number,
): void {
  journal.reserve(DELETE_RECORD, seq, keyLength)
  copyWords(index.keyWords, 0, keyLength, journal.bodyWords, journal.bodyOffset >>> 2)
  journal.leave()
}

/** Appends the record that says of a prefix that a bulk load filled it. */
export function appendBulkLoad(journal: JournalContract, seq: number, prefix: Uint8Array): void {
  appendKey(journal, BULK_LOAD_RECORD, seq, prefix)
}

function appendPutEffect(journal: JournalContract, seq: number, key: Uint8Array, value: Uint8Array): void {
  journal.reserve(PUT_RECORD, seq, putBytes(key.length, value.length))
  const { body, bodyOffset } = journal
  const keyAt = putUint32(body, bodyOffset, key.length)
  body.set(key, keyAt)
  const valueAt = keyAt + ((key.length + 3) & ~3)
  body.fill(0, keyAt + key.length, valueAt)
  body.set(value, valueAt)
  journal.leave()
}

function appendKey(journal: JournalContract, type: RecordType, seq: number, key: Uint8Array): void {
  journal.reserve(type, seq, key.length)
  journal.body.set(key, journal.bodyOffset)
  journal.leave()
}

function appendMovePrefix(journal: JournalContract, seq: number, from: Uint8Array, to: Uint8Array): void {
  journal.reserve(MOVE_PREFIX_RECORD, seq, 2 + from.length + to.length)
  const { body, bodyOffset } = journal
  putKey(body, putKey(body, bodyOffset, from), to, false)
  journal.leave()
}

function appendBatch(journal: JournalContract, seq: number, effects: readonly Effect[]): void {
  journal.reserve(BATCH_RECORD, seq, effectsBytes(effects))
  const { body } = journal
  let at = putUint32(body, journal.bodyOffset, effects.length)
  for (const effect of effects) {
    body[at] = KINDS.indexOf(effect.kind)
    at = putKey(body, at + 1, effect.key)
    if (effect.kind === 'put') {
      at = putUint32(body, at, effect.value.length)
      body.set(effect.value, at)
      at += effect.value.length
    } else if (effect.kind === 'movePrefix') {
      at = putKey(body, at, effect.to)
    }
  }
  journal.leave()
}

const PUT_HEAD_BYTES = 4

function setBytes(to: Uint8Array, at: number, from: Uint8Array, offset: number, length: number): void {
  to.set(offset === 0 && length === from.length ? from : from.subarray(offset, offset + length), at)
}

/** Writes the length, unless it follows from the record's, and the key; returns where it ends. */
function putKey(bytes: Uint8Array, at: number, key: Uint8Array, withLength = true): number {
  let start = at
  if (withLength) {
    bytes[start++] = key.length
    bytes[start++] = key.length >>> 8
  }
  bytes.set(key, start)
  return start + key.length
}

function putUint32(bytes: Uint8Array, at: number, value: number): number {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
  bytes[at + 2] = value >>> 16
  bytes[at + 3] = value >>> 24
  return at + 4
}

/** The effects of a record, as copies. Throws `HOLT_CORRUPT` when the body is none of ours although its checksum holds. */
export function decodeEffects(record: ReplayedRecord): Effect[] {
  if (record.type === PACKED_BATCH_RECORD) return decodePackedBatch(record)
  if (record.type === BULK_LOAD_RECORD || isSnapshotRecord(record)) return []
  const { body } = record
  if (record.type === PUT_RECORD) {
    const valueAt = putValueAt(record)
    const key = body.slice(PUT_HEAD_BYTES, PUT_HEAD_BYTES + putKeyLength(body))
    return [{ kind: 'put', key, value: body.slice(valueAt) }]
  }
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  let at = 0
  const take = (length: number): Uint8Array => {
    if (at + length > body.length)
      throw malformed(record, `it ends ${String(at + length - body.length)} bytes early`)
    at += length
    return new Uint8Array(body.subarray(at - length, at))
  }
  const number = (bytes: 1 | 2 | 4): number => {
    if (at + bytes > body.length) throw malformed(record, 'it ends inside a length')
    at += bytes
    if (bytes === 1) return view.getUint8(at - 1)
    return bytes === 2 ? view.getUint16(at - 2, true) : view.getUint32(at - 4, true)
  }
  const effects: Effect[] = []
  if (record.type === DELETE_RECORD) {
    effects.push({ kind: 'delete', key: take(body.length) })
  } else if (record.type === BATCH_RECORD) {
    for (let count = number(4); count > 0; count--) {
      const number1 = number(1)
      const kind = KINDS.at(number1)
      if (kind === undefined) throw malformed(record, `it holds an effect of kind ${String(number1)}`)
      if (kind === 'put') effects.push({ kind, key: take(number(2)), value: take(number(4)) })
      else if (kind === 'movePrefix') effects.push({ kind, key: take(number(2)), to: take(number(2)) })
      else effects.push({ kind, key: take(number(2)) })
    }
  } else if (record.type === DELETE_PREFIX_RECORD) {
    effects.push({ kind: 'deletePrefix', key: take(body.length) })
  } else if (record.type === MOVE_PREFIX_RECORD) {
    effects.push({ kind: 'movePrefix', key: take(number(2)), to: take(body.length - at) })
  } else {
    throw malformed(record, `its type ${String(record.type)} is unknown`)
  }
  if (at !== body.length) throw malformed(record, `${String(body.length - at)} bytes are left over`)
  return effects
}

/**
 * Applies a put's record straight from its body. Throws `HOLT_CORRUPT` as {@link decodeEffects} does, and what the index
 * throws; then nothing has changed.
 */
export function applyPutRecord(index: ArtIndex, record: ReplayedRecord): void {
  const valueAt = putValueAt(record)
  const { body, seq } = record
  const keyLength = putKeyLength(body)
  const { key } = index
  if (keyLength > key.length) throw malformed(record, `its key has ${String(keyLength)} bytes`)
  for (let i = 0; i < keyLength; i++) key[i] = body[PUT_HEAD_BYTES + i]
  index.put(keyLength, body, valueAt, body.length - valueAt, seq)
}

/** Where the value begins in the body of a put's record. Throws `HOLT_CORRUPT` if the body cannot be one. */
function putValueAt(record: ReplayedRecord): number {
  const { body } = record
  if (body.length < PUT_HEAD_BYTES) throw malformed(record, 'it ends inside a length')
  const keyLength = putKeyLength(body)
  const keyEnd = PUT_HEAD_BYTES + keyLength
  const valueAt = keyEnd + (-keyLength & 3)
  if (valueAt > body.length) throw malformed(record, `it ends ${String(valueAt - body.length)} bytes early`)
  for (let at = keyEnd; at < valueAt; at++)
    if (body[at] !== 0) throw malformed(record, 'its padding is not zero')
  return valueAt
}

function putKeyLength(body: Uint8Array): number {
  return (body[0] | (body[1] << 8) | (body[2] << 16) | (body[3] << 24)) >>> 0
}

function malformed(record: ReplayedRecord, what: string): HoltError {
  return new HoltError(
    'HOLT_CORRUPT',
    `journal record with seq ${String(record.seq)} at position ${String(record.position)}: ${what}`,
  )
}
