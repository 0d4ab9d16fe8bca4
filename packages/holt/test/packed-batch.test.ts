import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ArtIndex } from '@holt/art-index'
import { HoltError } from '@holt/errors'
import type { JournalContract, Lsn, ReplayedRecord } from '@holt/journal'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Db, open, openMemory, type Tree } from '../src/index.js'
import { keyCodec } from '../src/key-encoding.js'
import { decodePackedBatch, PackedBatch } from '../src/packed-batch.js'

const utf8 = keyCodec('utf8')
const bytes = (length: number, byte = 0xff): Uint8Array => new Uint8Array(length).fill(byte)

/** The record that the batch appends, as replay would hand it out. */
function recordOf(batch: PackedBatch): ReplayedRecord {
  const target = bytes(batch.lengthBytes + 16, 0xee)
  let type = 0
  batch.append(
    {
      body: target,
      bodyWords: new Uint32Array(target.buffer, 0, target.length >>> 2),
      bodyOffset: 8,
      reserve: (recordType: number) => (type = recordType),
      leave: () => undefined,
    } as unknown as JournalContract,
    42,
  )
  expect(target.subarray(-8)).toEqual(bytes(8, 0xee))
  const body = target.slice(8, 8 + batch.lengthBytes)
  return { type, seq: 42, position: 0 as Lsn, body }
}

describe('a packed batch', () => {
  it('gives back its operations, from memory and from its journal record, at every length of key and value', () => {
    const batch = new PackedBatch()
    const expected: object[] = []
    for (let round = 0; round < 2; round++) {
      for (let length = 0; length < 70; length++) {
        const key = 'k'.repeat(length)
        const stored = Uint8Array.from([0, 0, 1, 2, ...Buffer.from(key)])
        const value = bytes(69 - length)
        batch.addPut(0x102, utf8, key, value)
        expected.push({ kind: 'put', key: stored, value })
        batch.addDelete(0x102, utf8, key)
        expected.push({ kind: 'delete', key: stored })
      }
      batch.addPut(0x102, utf8, 'large', bytes(200_000, round))
      expected.push({
        kind: 'put',
        key: Uint8Array.from([0, 0, 1, 2, ...Buffer.from('large')]),
        value: bytes(200_000, round),
      })
    }
    expect(batch.count).toBe(expected.length)
    expect(batch.longestKeyBytes).toBe(4 + 69)
    expect(batch.longestValueBytes).toBe(200_000)
    expect(batch.operations()).toEqual(expected)
    expect(decodePackedBatch(recordOf(batch))).toEqual(expected)
  })

  it('has nothing left of the batch before when its memory serves again', () => {
    const batch = new PackedBatch()
    for (let i = 0; i < 100; i++) batch.addPut(7, utf8, `key ${String(i)}`, bytes(61))
    batch.clear()
    for (const key of ['a', 'ab', 'abc']) batch.addPut(7, utf8, key, bytes(key.length))
    expect(decodePackedBatch(recordOf(batch))).toHaveLength(3)
    expect(batch.longestValueBytes).toBe(3)
  })

  it('adds nothing for a key that is none', () => {
    const batch = new PackedBatch()
    batch.addPut(7, utf8, 'a', bytes(1))
    const { lengthBytes } = batch
    for (const key of [1, '\ud800', 'x'.repeat(4_097)]) {
      expect(() => {
        batch.addPut(7, utf8, key, bytes(1))
      }).toThrow(HoltError)
    }
    expect([batch.count, batch.lengthBytes]).toEqual([1, lengthBytes])
  })

  it('whose record does not add up is corruption, at every length and with every kind', () => {
    const batch = new PackedBatch()
    batch.addPut(7, utf8, 'key', bytes(5))
    batch.addDelete(7, utf8, 'other')
    const record = recordOf(batch)
    const corrupt = expect.objectContaining({ code: 'HOLT_CORRUPT' }) as unknown
    for (let length = 0; length < record.body.length; length++) {
      const cut = { ...record, body: record.body.slice(0, length) }
      expect(() => decodePackedBatch(cut), `${String(length)} bytes`).toThrow(corrupt)
    }
    const longer = Uint8Array.from([...record.body, 0, 0, 0, 0])
    expect(() => decodePackedBatch({ ...record, body: longer })).toThrow(corrupt)
    const kind = record.body.slice()
    kind[4] = 2
    expect(() => decodePackedBatch({ ...record, body: kind })).toThrow(/kind 2/)
    const padding = record.body.slice()
    padding[12 + 7] = 1
    expect(() => decodePackedBatch({ ...record, body: padding })).toThrow(/padding/)
  })
})

describe('atomic', () => {
  let db: Db
  let tree: Tree<string, string>
  beforeEach(async () => {
    db = await openMemory()
    tree = await db.tree('t', { valueEncoding: 'utf8' })
    await tree.put('there', 'before')
  })
  afterEach(async () => {
    vi.restoreAllMocks()
    await db.close().catch(() => undefined)
  })

  it('applies puts and deletes of one key in their order', async () => {
    await db.atomic((tx) => {
      const batch = tx.in(tree)
      batch
        .put('a', '1')
        .delete('a')
        .put('a', '2')
        .put('b', '1')
        .delete('b')
        .delete('there')
        .delete('nowhere')
    })
    expect([...tree.scan()].map((entry) => entry.key)).toEqual(['a'])
    expect(tree.get('a')).toBe('2')
  })

  it('lets a condition see the operations before it, and those behind it see its own', async () => {
    const refused = await db.atomic((tx) => {
      tx.in(tree).put('a', '1').delete('there').putIfAbsent('there', 'again').putIfAbsent('a', '2')
    })
    expect(refused).toMatchObject({
      committed: false,
      failed: { index: 3, operation: 'putIfAbsent', key: 'a', reason: 'exists' },
    })
    expect([...tree.values()]).toEqual(['before'])
    const taken = await db.atomic((tx) => {
      tx.in(tree).put('a', '1').rename('a', 'b').put('a', '2').delete('there')
    })
    expect(taken.committed).toBe(true)
    expect([...tree.scan()].map((entry) => [entry.key, tree.get(entry.key)])).toEqual([
      ['a', '2'],
      ['b', '1'],
    ])
  })

  it('takes values as they are when they are handed over', async () => {
    const raw = await db.tree('raw')
    const value = bytes(100, 1)
    await db.atomic((tx) => {
      for (let i = 0; i < 3; i++) {
        value.fill(i)
        tx.in(raw).put(String(i), value)
        if (i === 1) tx.in(raw).putIfAbsent('condition', value)
      }
      value.fill(9)
    })
    expect([...raw.values()].map((copy) => copy[99])).toEqual([0, 1, 2, 1])
  })

  it('inside the callback of another one is a batch of its own', async () => {
    let inner: Promise<unknown> | undefined
    await db.atomic((tx) => {
      tx.in(tree).put('outer', '1')
      inner = db.atomic((own) => void own.in(tree).put('inner', '1'))
      tx.in(tree).put('outer 2', '2')
    })
    await inner
    expect([...tree.keys()]).toEqual(['inner', 'outer', 'outer 2', 'there'])
  })

  it.each(['HOLT_OUT_OF_MEMORY', 'HOLT_CORRUPT'] as const)(
    'G8: that fails half-way with %s leaves nothing that could be written on',
    async (code) => {
      const put = ArtIndex.prototype.put
      let calls = 0
      vi.spyOn(ArtIndex.prototype, 'put').mockImplementation(function (this: ArtIndex, ...args) {
        if (++calls === 3) throw new HoltError(code, 'as planned')
        return put.apply(this, args)
      })
      const batch = db.atomic((tx) => {
        for (let i = 0; i < 5; i++) tx.in(tree).put(`k${String(i)}`, '')
      })
      await expect(batch).rejects.toMatchObject({ code })
      await expect(tree.put('k', 'v')).rejects.toMatchObject({ code: 'HOLT_POISONED' })
    },
  )

  it('renames to the same key without a change, over another key only by force', async () => {
    const record = tree.getRecord('there')
    await tree.rename('there', 'there')
    await tree.rename('there', 'there', { force: true })
    expect(tree.getRecord('there')).toEqual(record)
    await tree.put('other', 'value')
    await expect(tree.rename('there', 'other')).rejects.toMatchObject({ code: 'HOLT_EXISTS' })
    await expect(tree.rename('nowhere', 'other')).rejects.toMatchObject({ code: 'HOLT_NOT_FOUND' })
    await expect(tree.rename('nowhere', '\ud800')).rejects.toMatchObject({ code: 'HOLT_INVALID_KEY' })
    expect(tree.getRecord('there')).toEqual(record)
    const version = await tree.rename('there', 'other', { force: true })
    expect(tree.getRecord('other')).toEqual({ value: 'before', version })
    expect([...tree.keys()]).toEqual(['other'])
  })
})

describe('a batch over more frames than the cache holds', () => {
  it('is applied whole, and is there again', { timeout: 120_000 }, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'holt-packed-'))
    const key = (i: number): string => `directory/${String((i * 7_919) % 12_000).padStart(6, '0')}`
    try {
      let db = await open(directory, { cacheBytes: 16 * 2 ** 19 })
      let tree = await db.tree('t')
      for (let round = 0; round < 2; round++) {
        for (let at = 0; at < 12_000; at += 400) {
          await db.atomic((tx) => {
            for (let i = at; i < at + 400; i++) tx.in(tree).put(key(i), bytes(1_000, (i + round) & 0xff))
          })
        }
      }
      await db.atomic((tx) => {
        for (let i = 0; i < 4_000; i++) tx.in(tree).delete(key(i))
      })
      for (let lives = 0; lives < 2; lives++) {
        for (let i = 0; i < 12_000; i++) {
          const value = tree.get(key(i))
          if (i < 4_000) expect(value).toBeUndefined()
          else if (value?.length !== 1_000 || value[999] !== ((i + 1) & 0xff)) expect.fail(key(i))
        }
        await db.close()
        db = await open(directory, { cacheBytes: 16 * 2 ** 19 })
        tree = await db.tree('t')
      }
      await db.close()
      // Now there is room for all frames, and hardly one is in memory.
      db = await open(directory, { cacheBytes: 128 * 2 ** 19 })
      tree = await db.tree('t')
      await tree.put('writable', bytes(0))
      await db.atomic((tx) => {
        for (let i = 0; i < 12_000; i += 50)
          tx.in(tree)
            .put(key(i), bytes(5))
            .delete(key(i + 1))
      })
      expect([...tree.keys()].length).toBe(1 + 8_000 + 80 - 160)
      await db.close()
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })
})
