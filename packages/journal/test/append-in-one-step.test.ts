import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openIo } from '@holt/uring-native'
import { expect, test } from 'vitest'
import { Journal, lsnOffset } from '../src/index.js'
import { FIRST_RECORD_OFFSET } from '../src/segment-header.js'
import { MODES, readAll, seeded, startJournal, STORE_ID, TYPE } from './fixtures.js'
import { MemoryIo } from './memory-io.js'

interface Parts {
  readonly first: number
  readonly a: Uint32Array
  readonly aAt: number
  readonly aBytes: number
  readonly b: Uint32Array
  readonly bAt: number
  readonly bBytes: number
}

/** Sizes of every remainder, of nothing, and beyond what is copied word by word. */
function* someParts(count: number): Generator<Parts> {
  const random = seeded(99)
  const below = (limit: number): number => Math.floor(random() * limit)
  // More memory than a journal keeps in mind.
  const memories = Array.from({ length: 11 }, (_, i) => {
    const words = new Uint32Array(i % 2 === 0 ? new ArrayBuffer(8_192) : new SharedArrayBuffer(8_192))
    for (let word = 0; word < words.length; word++) words[word] = below(2 ** 32)
    return words
  })
  for (let i = 0; i < count; i++) {
    const [aBytes, bBytes] = [below(i % 7 === 0 ? 2_000 : 60), below(i % 5 === 0 ? 3_000 : 90)]
    yield {
      first: below(2 ** 32),
      a: memories[i % 3 === 0 ? below(11) : 0],
      aAt: below((8_192 - aBytes) / 4),
      aBytes: i % 13 === 0 ? 0 : aBytes,
      b: memories[i % 4 === 0 ? below(11) : 1],
      bAt: below((8_192 - bBytes) / 4),
      bBytes: i % 11 === 0 ? 0 : bBytes,
    }
  }
}

function bodyOf({ first, a, aAt, aBytes, b, bAt, bBytes }: Parts): Buffer {
  const padded = (aBytes + 3) & ~3
  const body = Buffer.alloc(4 + padded + bBytes)
  body.writeUInt32LE(first)
  body.set(new Uint8Array(a.buffer, aAt * 4, aBytes), 4)
  body.set(new Uint8Array(b.buffer, bAt * 4, bBytes), 4 + padded)
  return body
}

function appendAtOnce(journal: Journal, seq: number, parts: Parts): void {
  const { first, a, aAt, aBytes, b, bAt, bBytes } = parts
  journal.append(TYPE, seq, first, a, aAt, aBytes, b, bAt, bBytes)
}

function appendByReserving(journal: Journal, seq: number, parts: Parts): void {
  const body = bodyOf(parts)
  journal.reserve(TYPE, seq, body.length)
  journal.body.set(body, journal.bodyOffset)
  journal.leave()
}

function appendByTurns(journal: Journal, seq: number, parts: Parts): void {
  if (seq % 2 === 0) appendAtOnce(journal, seq, parts)
  else appendByReserving(journal, seq, parts)
}

for (const mode of MODES) {
  test(`${mode.name}: a record that is appended in one step is as one that was reserved`, async () => {
    const io = new MemoryIo({ mappable: mode.mappable })
    const journal = await startJournal(io, { durability: mode.durability })
    const expected: string[] = []
    for (const parts of someParts(300)) {
      const body = bodyOf(parts)
      if (!journal.hasRoom(body.length)) await journal.whenRoom(body.length)
      const before = journal.appendedBytes
      appendAtOnce(journal, expected.length + 1, parts)
      expected.push(body.toString('latin1'))
      expect(journal.appendedBytes).toBeGreaterThan(before)
    }
    expect(journal.stats()).toMatchObject({ records: 300 })
    expect(journal.stats().segmentSwitches).toBeGreaterThan(3)
    await journal.close()
    expect((await readAll(io)).texts).toEqual(expected)
  })

  test(`${mode.name}: an append in one step is refused as a reservation is, and changes nothing`, async () => {
    const io = new MemoryIo({ mappable: mode.mappable })
    const journal = await startJournal(io, { durability: mode.durability })
    const { position } = journal
    const words = new Uint32Array(16_384)
    const append = (type: number, seq: number, aBytes: number): (() => void) => {
      return () => {
        journal.append(type, seq, 0, words, 0, aBytes, words, 0, 8)
      }
    }
    expect(append(15, 1, 8)).toThrow(/record type 15/)
    expect(append(TYPE, 1.5, 8)).toThrow(/seq 1.5/)
    expect(append(TYPE, 1, 16_384)).toThrow(/has room for/)
    journal.reserve(TYPE, 1, 4)
    expect(append(TYPE, 2, 8)).toThrow(/left or cancelled/)
    journal.cancel()
    expect(journal.position).toBe(position + 40)
    await journal.close()
    expect(append(TYPE, 2, 8)).toThrow(/closed/)
  })
}

test('both ways write the same bytes to a real segment, and so do they by turns', async () => {
  const io = openIo({ prefer: 'auto' })
  const directory = await mkdtemp(join(tmpdir(), 'holt-journal-'))
  try {
    const files = []
    for (const append of [appendByReserving, appendAtOnce, appendByTurns]) {
      const path = await mkdtemp(join(directory, 'log-'))
      const journal = await Journal.open({
        io,
        directory: path,
        storeId: STORE_ID,
        segmentBytes: 2 ** 20,
        firstSegmentBytes: 2 ** 20,
        syncIntervalMs: 2 ** 30,
        durability: 'os',
        random: seeded(5),
      })
      await journal.replay(undefined, () => undefined)
      await journal.start(0)
      let seq = 0
      for (const parts of someParts(300)) append(journal, ++seq, parts)
      const { position } = journal
      await journal.sync()
      files.push(
        readFileSync(join(path, 'journal-000000000001.wal')).subarray(
          FIRST_RECORD_OFFSET,
          // Without what a close appends.
          lsnOffset(position),
        ),
      )
      await journal.close()
    }
    expect(files[0].length).toBeGreaterThan(30_000)
    for (const file of files) expect(file.equals(files[0])).toBe(true)
  } finally {
    await io.dispose()
    await rm(directory, { recursive: true })
  }
})

test('a segment that was let go of is mapped no more', async () => {
  const io = openIo({ prefer: 'auto' })
  const directory = await mkdtemp(join(tmpdir(), 'holt-journal-'))
  const mapped = (): string[] =>
    readFileSync('/proc/self/maps', 'latin1')
      .split('\n')
      .filter((line) => line.includes(directory))
  try {
    const journal = await Journal.open({
      io,
      directory,
      storeId: STORE_ID,
      segmentBytes: 64 * 1024,
      durability: 'os',
    })
    await journal.replay(undefined, () => undefined)
    await journal.start(0)
    for (let seq = 1; seq <= 100; seq++) {
      if (!journal.hasRoom(2_008)) await journal.whenRoom(2_008)
      journal.append(TYPE, seq, 0, new Uint32Array(500), 0, 2_000, new Uint32Array(1), 0, 4)
    }
    await journal.sync()
    expect(journal.stats().segmentSwitches).toBeGreaterThan(2)
    await journal.close()
    expect(mapped()).toEqual([])
  } finally {
    await io.dispose()
    await rm(directory, { recursive: true })
  }
})
