import type { JournalContract, Lsn, ReplayedRecord } from '@holt/journal'
import { describe, expect, it } from 'vitest'
import type { ArtIndex } from '@holt/art-index'
import {
  appendDelete,
  appendEffects,
  appendPut,
  applyPutRecord,
  decodeEffects,
  type Effect,
  effectsBytes,
} from '../src/effect.js'

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)

/** Takes one record at a time and hands it back as replay would. */
class OneRecord {
  body = new Uint8Array(0)
  bodyWords = new Uint32Array(0)
  readonly bodyOffset = 8
  bodyEnd = 0
  record: ReplayedRecord | undefined
  #type = 0
  #seq = 0
  #bytes = 0
  reserve(type: number, seq: number, bodyBytes: number): void {
    // Up to the end of the body's last word whatever was there before is the writer's to overwrite, with zeros.
    this.bodyEnd = this.bodyOffset + bodyBytes
    this.body = new Uint8Array(((this.bodyEnd + 3) & ~3) + 4).fill(0xee)
    this.body.fill(0, this.bodyEnd, this.body.length - 4)
    this.bodyWords = new Uint32Array(this.body.buffer)
    this.#type = type
    this.#seq = seq
    this.#bytes = bodyBytes
  }
  /** Of a word and two pieces, the first padded. */
  append(type: number, seq: number, first: number, ...pieces: (Uint32Array | number)[]): void {
    const [a, aAt, aBytes, b, bAt, bBytes] = pieces as [
      Uint32Array,
      number,
      number,
      Uint32Array,
      number,
      number,
    ]
    const valueAt = 4 + Math.ceil(aBytes / 4) * 4
    const body = new Uint8Array(valueAt + bBytes)
    new DataView(body.buffer).setUint32(0, first, true)
    body.set(new Uint8Array(a.buffer, aAt * 4, aBytes), 4)
    body.set(new Uint8Array(b.buffer, bAt * 4, bBytes), valueAt)
    this.record = { type, seq, position: 0 as Lsn, body }
  }
  leave(): void {
    const body = this.body.slice(this.bodyOffset, this.bodyOffset + this.#bytes)
    const behind = this.body.subarray(this.bodyEnd)
    expect(behind.subarray(-4)).toEqual(bytes(0xee, 0xee, 0xee, 0xee))
    expect(behind.subarray(0, -4).every((byte) => byte === 0)).toBe(true)
    this.record = { type: this.#type, seq: this.#seq, position: 0 as Lsn, body }
  }
}

function roundTrip(effects: readonly Effect[]): {
  readonly record: ReplayedRecord
  readonly effects: Effect[]
} {
  const journal = new OneRecord()
  appendEffects(journal as unknown as JournalContract, 42, effects)
  if (journal.record === undefined) throw new Error('no record was written')
  expect(journal.record.body).toHaveLength(effectsBytes(effects))
  return { record: journal.record, effects: decodeEffects(journal.record) }
}

describe('the effects of a journal record', () => {
  it.each<[string, Effect[]]>([
    ['a put', [{ kind: 'put', key: bytes(0, 0, 0, 1, 97), value: bytes(1, 2, 3) }]],
    ['a put of empty key and value', [{ kind: 'put', key: bytes(0, 0, 0, 1), value: bytes() }]],
    [
      'a put of the longest key',
      [{ kind: 'put', key: new Uint8Array(4_100).fill(7), value: new Uint8Array(65_024).fill(8) }],
    ],
    ['a delete', [{ kind: 'delete', key: bytes(0, 0, 0, 1, 255) }]],
    ['a deletePrefix', [{ kind: 'deletePrefix', key: bytes(0, 0, 0, 1, 47) }]],
    ['a movePrefix', [{ kind: 'movePrefix', key: bytes(0, 0, 0, 1, 47), to: bytes(0, 0, 0, 1, 255, 0) }]],
    [
      'a batch of subtrees',
      [
        { kind: 'deletePrefix', key: bytes(0, 0, 0, 1) },
        { kind: 'movePrefix', key: new Uint8Array(4_100).fill(1), to: new Uint8Array(300).fill(2) },
        { kind: 'put', key: bytes(0, 0, 0, 2, 47), value: bytes(1) },
      ],
    ],
    [
      'a batch',
      [
        { kind: 'put', key: bytes(0, 0, 0, 1), value: bytes() },
        { kind: 'delete', key: new Uint8Array(300).fill(9) },
        { kind: 'put', key: bytes(0, 0, 0, 2, 47), value: new Uint8Array(70_000).fill(3) },
      ],
    ],
  ])('%s comes back as it was', (_what, effects) => {
    const result = roundTrip(effects)
    expect(result.effects).toEqual(effects)
    expect(result.record.seq).toBe(42)
  })

  it('a body that does not add up is corruption, at every length and with every kind', () => {
    const { record } = roundTrip([
      { kind: 'put', key: bytes(1, 2), value: bytes(3) },
      { kind: 'delete', key: bytes(4) },
      { kind: 'deletePrefix', key: bytes(5) },
      { kind: 'movePrefix', key: bytes(6), to: bytes(7, 8) },
    ])
    for (let length = 0; length < record.body.length; length++) {
      const cut = { ...record, body: record.body.slice(0, length) }
      expect(() => decodeEffects(cut), `${String(length)} bytes`).toThrow(
        expect.objectContaining({ code: 'HOLT_CORRUPT' }),
      )
    }
    const longer = { ...record, body: Uint8Array.from([...record.body, 0]) }
    expect(() => decodeEffects(longer)).toThrow(expect.objectContaining({ code: 'HOLT_CORRUPT' }))
    const kind = record.body.slice()
    kind[4] = 4
    expect(() => decodeEffects({ ...record, body: kind })).toThrow(/kind 4/)
    expect(() => decodeEffects({ ...record, type: 99 })).toThrow(/type 99/)
  })

  it.each([0, 1, 2, 3, 4, 5, 60, 63, 64, 511, 512, 513, 900])(
    'a put of %i bytes, and a delete, straight from the index, are those of the key in its scratch buffer',
    (valueLength) => {
      const keyWords = new Uint32Array(32).fill(0xdddddddd)
      const key = new Uint8Array(keyWords.buffer)
      const leaf = new Uint32Array(20_000).fill(0xcccccccc)
      const source = new Uint8Array(valueLength + 7).map((_, i) => i * 3)
      const value = source.subarray(5, 5 + valueLength)
      new Uint8Array(leaf.buffer).set(value, 8)
      for (let keyLength = 4; keyLength < 50; keyLength++) {
        key.fill(0xdd)
        for (let i = 0; i < keyLength; i++) key[i] = i + 1
        const wanted = key.slice(0, keyLength)
        for (const putWords of [leaf, undefined]) {
          const index = { key, keyWords, putWords, putAt: 2 } as unknown as ArtIndex
          const journal = new OneRecord()
          appendPut(journal as unknown as JournalContract, 42, index, keyLength, source, 5, valueLength)
          if (journal.record === undefined) throw new Error('no record was written')
          expect(decodeEffects(journal.record)).toEqual([{ kind: 'put', key: wanted, value: value.slice() }])
          appendDelete(journal as unknown as JournalContract, 43, index, keyLength)
          expect(decodeEffects(journal.record)).toEqual([{ kind: 'delete', key: wanted }])
        }
      }
    },
  )

  it.each([0, 1, 2, 3, 4, 5, 60, 300])(
    "a put's record of a key of %i bytes is applied as it is decoded, and a damaged one changes nothing",
    (keyLength) => {
      const put: Effect = {
        kind: 'put',
        key: Uint8Array.from({ length: keyLength }, (_, i) => i + 1),
        value: bytes(5, 6, 7),
      }
      const { record } = roundTrip([put])
      const applied: Effect[] = []
      const index = {
        key: new Uint8Array(4_100).fill(0xdd),
        put(length: number, value: Uint8Array, offset: number, valueLength: number, seq: number) {
          expect(seq).toBe(42)
          const key = this.key.slice(0, length)
          applied.push({ kind: 'put', key, value: value.slice(offset, offset + valueLength) })
        },
      }
      applyPutRecord(index as unknown as ArtIndex, record)
      expect(applied).toEqual([put])
      const damaged = [
        ...Array.from({ length: 4 + ((keyLength + 3) & ~3) }, (_, length) => record.body.slice(0, length)),
        // The longest length there is.
        Uint8Array.from([0xff, 0xff, 0xff, 0xff, ...record.body.subarray(4)]),
        // One more than the scratch buffer holds, all of it there.
        Uint8Array.from([0x05, 0x10, 0, 0, ...new Uint8Array(4_108)]),
      ]
      for (const body of damaged) {
        expect(() => {
          applyPutRecord(index as unknown as ArtIndex, { ...record, body })
        }).toThrow(expect.objectContaining({ code: 'HOLT_CORRUPT' }))
      }
      expect(applied).toHaveLength(1)
    },
  )

  it('a put whose padding is not zero is corruption', () => {
    const { record } = roundTrip([{ kind: 'put', key: bytes(0, 0, 0, 1, 97), value: bytes(1) }])
    record.body[11] = 1
    expect(() => decodeEffects(record)).toThrow(/padding/)
  })
})
