import { expect, test } from 'vitest'
import { lsn, lsnOffset, lsnSegment, MAX_SEGMENT_NUMBER } from '../src/index.js'
import {
  append,
  appendWhenRoom,
  MODES,
  openJournal,
  readAll,
  SEGMENT_BYTES,
  seeded,
  segmentPath,
  startJournal,
  TYPE,
} from './fixtures.js'
import { MemoryIo, settle } from './memory-io.js'

test('positions are exact up to the highest segment number', () => {
  const position = lsn(MAX_SEGMENT_NUMBER, 2 ** 27)
  expect(Number.isSafeInteger(position)).toBe(true)
  expect([lsnSegment(position), lsnOffset(position)]).toEqual([MAX_SEGMENT_NUMBER, 2 ** 27])
})

for (const mode of MODES) {
  const options = { durability: mode.durability }
  const make = () => new MemoryIo({ mappable: mode.mappable })

  test(`${mode.name}: what was appended is replayed in order with type, seq and position`, async () => {
    const io = make()
    const journal = await startJournal(io, options)
    expect(journal.stats().mode).toBe(mode.mappable ? 'mapped' : 'written')
    expect(journal.immediate).toBe(mode.mappable)
    const positions = []
    for (const [i, text] of ['', 'a', 'seven b', 'eight by', 'x'.repeat(300)].entries()) {
      positions.push(journal.position)
      append(journal, i + 1, text)
    }
    await journal.close()
    const { report, entries } = await readAll(io)
    expect(entries.map(({ seq, text }) => [seq, text])).toEqual([
      [1, ''],
      [2, 'a'],
      [3, 'seven b'],
      [4, 'eight by'],
      [5, 'x'.repeat(300)],
    ])
    expect(entries.map(({ position }) => position)).toEqual(positions)
    expect(report).toMatchObject({ records: 5, highestSeq: 5, tail: 'clean', recordsBehindEnd: 0 })
    expect(io.inUse).toBe(0)
  })

  test(`${mode.name}: records survive many segment switches and reopenings`, async () => {
    let io = make()
    const random = seeded(7)
    const expected: string[] = []
    let seq = 0
    for (let round = 0; round < 4; round++) {
      const journal = await startJournal(io, options)
      for (let i = 0; i < 60; i++) {
        const text = `${String(seq)}:`.padEnd(Math.floor(random() * 1500) + 8, 'abcdefgh')
        await appendWhenRoom(journal, ++seq, text)
        if (random() < 0.1) await journal.acknowledge('disk')
        expected.push(text)
      }
      expect(journal.stats().segmentSwitches).toBeGreaterThan(1)
      await journal.acknowledge('os')
      // Half of the lives end by the death of the process.
      if (round % 2 === 0) {
        const dead = io.killed()
        await journal.close()
        io = dead
      } else await journal.close()
      const { texts, report } = await readAll(io)
      expect(texts).toEqual(expected)
      expect(report.tail).toBe(round % 2 === 0 ? 'torn' : 'clean')
    }
  })

  test(`${mode.name}: replay from a position hands out what follows it and reads nothing before it`, async () => {
    const io = make()
    const journal = await startJournal(io, options)
    const positions = []
    for (let i = 0; i < 40; i++) {
      positions.push(journal.position)
      await appendWhenRoom(journal, i, `${String(i)}${'.'.repeat(900)}`)
    }
    await journal.close()
    // Where a record will really lie is known after the switch only: its position is where the last one ended.
    for (const [i, position] of positions.entries()) {
      const { entries } = await readAll(io, position)
      expect(entries.map(({ seq }) => seq)).toEqual(positions.slice(i).map((_, k) => i + k))
    }
    const middle = positions.at(30)
    if (middle === undefined || lsnSegment(middle) < 2) throw new Error('expected several segments')
    // Damage before the position does not matter.
    io.bytesOf(segmentPath(1)).fill(0xff, 8192)
    expect((await readAll(io, middle)).entries).toHaveLength(10)
  })

  test(`${mode.name}: a cancelled reservation leaves a filler that replay skips`, async () => {
    const io = make()
    const journal = await startJournal(io, options)
    append(journal, 1, 'before')
    journal.reserve(TYPE, 2, 1000)
    journal.body.fill(0x41, journal.bodyOffset, journal.bodyOffset + 500)
    journal.cancel()
    append(journal, 3, 'after')
    await journal.close()
    expect((await readAll(io)).texts).toEqual(['before', 'after'])
  })

  test(`${mode.name}: a body that holds a valid-looking record is not taken for one`, async () => {
    const io = make()
    const journal = await startJournal(io, options)
    append(journal, 1, 'first')
    await journal.acknowledge('os')
    // The bytes of the record before, exactly as they are in the file, lie in the next one's body.
    const copy = io.bytesOf(segmentPath(1)).slice(8192, lsnOffset(journal.position))
    append(journal, 2, Uint8Array.from([...copy, ...copy]))
    await journal.acknowledge('os')
    const dead = io.killed()
    await journal.close()
    // The outer record is torn, so that its body is searched for records.
    const second = 8192 + copy.length
    dead.bytesOf(segmentPath(1))[second] ^= 0xff
    const { report, texts } = await readAll(dead)
    expect(texts).toEqual(['first'])
    expect(report).toMatchObject({ tail: 'torn', recordsBehindEnd: 0 })
  })

  test(`${mode.name}: the largest record fills a segment, and one byte more is refused and changes nothing`, async () => {
    const io = make()
    const journal = await startJournal(io, options)
    const largest = 'L'.repeat(journal.maxBodyBytes)
    append(journal, 1, 'small')
    const before = journal.position
    expect(journal.hasRoom(largest.length + 1)).toBe(false)
    await expect(journal.whenRoom(largest.length + 1)).rejects.toMatchObject({ code: 'HOLT_BATCH_TOO_LARGE' })
    expect(() => {
      journal.reserve(TYPE, 2, largest.length + 1)
    }).toThrow(expect.objectContaining({ code: 'HOLT_BATCH_TOO_LARGE' }))
    expect(journal.position).toBe(before)
    await appendWhenRoom(journal, 2, largest)
    await appendWhenRoom(journal, 3, largest)
    expect(lsnOffset(journal.position)).toBe(SEGMENT_BYTES - 32)
    await journal.close()
    const { texts, report } = await readAll(io)
    expect(texts).toEqual(['small', largest, largest])
    expect(report.tail).toBe('clean')
  })
}

test('a journal before its start refuses appends, and bad arguments change nothing', async () => {
  const io = new MemoryIo({ mappable: true })
  const journal = await openJournal(io)
  expect(journal.isNew).toBe(true)
  await expect(journal.start(0)).rejects.toMatchObject({ code: 'HOLT_INVALID_ARGUMENT' })
  await journal.replay(undefined, () => undefined)
  expect(journal.hasRoom(1)).toBe(false)
  await expect(journal.acknowledge('os')).rejects.toMatchObject({ code: 'HOLT_INTERNAL' })
  await expect(journal.start(-1)).rejects.toMatchObject({ code: 'HOLT_INVALID_ARGUMENT' })
  expect(io.names()).toEqual([])
  await journal.start(0)
  const before = journal.position
  for (const [type, seq, bytes] of [
    [15, 1, 1],
    [256, 1, 1],
    [TYPE, -1, 1],
    [TYPE, 2 ** 53, 1],
    [TYPE, 1, -1],
    [TYPE, 1, 0.5],
    [TYPE, 1, Number.NaN],
  ] as const) {
    expect(() => {
      journal.reserve(type, seq, bytes)
    }).toThrow(expect.objectContaining({ code: 'HOLT_INVALID_ARGUMENT' }))
  }
  expect(journal.position).toBe(before)
  await journal.close()
  await expect(journal.whenRoom(1)).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
  await expect(journal.sync()).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
  expect(io.inUse).toBe(0)
})

test('options out of range are refused', async () => {
  const io = new MemoryIo()
  for (const bad of [
    { segmentBytes: 8192 },
    { segmentBytes: 20_000 },
    { segmentBytes: 2 ** 28 },
    { firstSegmentBytes: 8192 },
    { segmentBytes: 64 * 1024, firstSegmentBytes: 128 * 1024 },
    { storeId: new Uint8Array(15) },
    { syncIntervalMs: -1 },
  ]) {
    await expect(openJournal(io, bad)).rejects.toMatchObject({ code: 'HOLT_INVALID_ARGUMENT' })
  }
})

test('a journal opened for reading replays and refuses to start', async () => {
  const io = new MemoryIo()
  const writer = await startJournal(io)
  append(writer, 1, 'one')
  await writer.close()
  const namesBefore = io.names()
  const reader = await openJournal(io, { readOnly: true })
  expect((await reader.replay(undefined, () => undefined)).records).toBe(1)
  await expect(reader.start(0)).rejects.toMatchObject({ code: 'HOLT_READ_ONLY' })
  await reader.close()
  expect(io.names()).toEqual(namesBefore)
})

test('a visitor that returns a promise is waited for, record by record', async () => {
  const io = new MemoryIo()
  const writer = await startJournal(io)
  for (let i = 0; i < 5; i++) append(writer, i, String(i))
  await writer.close()
  const reader = await openJournal(io)
  const seen: string[] = []
  await reader.replay(undefined, async ({ body }) => {
    const text = Buffer.from(body).toString()
    await settle()
    seen.push(`${text}=${Buffer.from(body).toString()}`)
  })
  expect(seen).toEqual(['0=0', '1=1', '2=2', '3=3', '4=4'])
})
