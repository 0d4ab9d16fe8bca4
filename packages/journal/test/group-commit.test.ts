import { expect, test } from 'vitest'
import { lsn, lsnSegment, type JournalEvent } from '../src/index.js'
import { append, appendWhenRoom, MODES, readAll, segmentPath, startJournal, TYPE } from './fixtures.js'
import { MemoryIo, settle } from './memory-io.js'

function countOf(io: MemoryIo, operation: string): number {
  return io.calls.filter((call) => call.startsWith(`${operation} journal-0`)).length
}

for (const [name, durability, operation] of [
  ["'disk'", 'disk', 'writeDsync'],
  ["'os', written", 'os', 'write'],
] as const) {
  test(`${name}: appends of one turn share one write and one promise`, async () => {
    const io = new MemoryIo()
    const journal = await startJournal(io, { durability })
    io.calls.length = 0
    const promises = [1, 2, 3].map((seq) => {
      append(journal, seq, `r${String(seq)}`)
      return journal.acknowledge(durability === 'disk' ? 'disk' : 'os')
    })
    expect(new Set(promises).size).toBe(1)
    expect(countOf(io, operation)).toBe(0)
    await promises[0]
    expect(countOf(io, operation)).toBe(1)
    await journal.close()
  })

  test(`${name}: what is appended while a write is under way is the next group`, async () => {
    const io = new MemoryIo()
    const journal = await startJournal(io, { durability })
    io.calls.length = 0
    io.hold(operation)
    append(journal, 1, 'first')
    const first = journal.acknowledge('os')
    await settle()
    const later = [2, 3, 4].map((seq) => {
      append(journal, seq, 'later')
      return journal.acknowledge('os')
    })
    await settle()
    expect(countOf(io, operation)).toBe(1)
    expect(new Set([first, ...later]).size).toBe(2)
    let isLaterDone = false
    void later[0]?.then(() => {
      isLaterDone = true
    })
    await settle()
    expect(isLaterDone).toBe(false)
    io.release(operation)
    await Promise.all([first, ...later])
    expect(countOf(io, operation)).toBe(2)
    expect(journal.stats().groups).toBe(2)
    await journal.close()
  })

  test(`${name}: bytes behind a group inside its last sector are zero, also in a recycled segment`, async () => {
    const io = new MemoryIo()
    const journal = await startJournal(io, { durability })
    for (let i = 0; i < 20; i++) {
      await appendWhenRoom(journal, i, new Uint8Array(1000).fill(0xee))
      await journal.sync()
      journal.recycle(journal.position)
      await settle()
    }
    const position = append(journal, 20, 'x')
    await journal.sync()
    const segment = Math.floor(position / 2 ** 28)
    expect(segment).toBeGreaterThan(2)
    const end = position % 2 ** 28
    const bytes = io.bytesOf(segmentPath(segment))
    expect(bytes.slice(end, Math.ceil(end / 512) * 512).every((byte) => byte === 0)).toBe(true)
    await journal.close()
  })

  test(`${name}: appends are held back when 8 MiB wait, and go on when they are written`, async () => {
    const io = new MemoryIo()
    const journal = await startJournal(io, {
      durability,
      segmentBytes: 12 * 2 ** 20,
      firstSegmentBytes: 12 * 2 ** 20,
    })
    io.hold(operation)
    const body = 2 ** 20 - 1024
    let count = 0
    while (journal.hasRoom(body)) {
      journal.reserve(TYPE, ++count, body)
      journal.leave()
    }
    expect(count).toBe(8)
    const room = journal.whenRoom(body)
    await settle()
    io.release(operation)
    await room
    expect(journal.hasRoom(body)).toBe(true)
    await journal.close()
    expect((await readAll(io)).report.records).toBe(8)
  })
}

test("mapped 'os': acknowledgements at 'os' are one promise, resolved at once, without a call", async () => {
  const io = new MemoryIo({ mappable: true })
  const journal = await startJournal(io)
  io.calls.length = 0
  append(journal, 1, 'a')
  const first = journal.acknowledge('os')
  append(journal, 2, 'b')
  expect(journal.acknowledge('os')).toBe(first)
  await first
  expect(io.calls).toEqual([])
  expect((await readAll(io.killed())).texts).toEqual(['a', 'b'])
  await journal.close()
})

for (const mode of MODES.filter(({ durability }) => durability === 'os')) {
  test(`${mode.name}: raised writes share one sync in flight and one that follows`, async () => {
    const io = new MemoryIo({ mappable: mode.mappable })
    const journal = await startJournal(io)
    const syncsBefore = io.syncs
    io.hold('sync')
    append(journal, 1, 'a')
    const first = journal.acknowledge('disk')
    await settle()
    append(journal, 2, 'b')
    const second = journal.acknowledge('disk')
    append(journal, 3, 'c')
    const third = journal.acknowledge('disk')
    await settle()
    expect(io.calls.filter((call) => call.startsWith('sync journal-0'))).toHaveLength(1)
    io.release('sync')
    await Promise.all([first, second, third])
    expect(io.syncs - syncsBefore).toBe(2)
    expect(journal.stablePosition).toBe(journal.position)
    expect(journal.stats().unstableBytes).toBe(0)
    await journal.close()
  })

  test(`${mode.name}: a sync starts by itself an interval after the first unsynced byte, and the mark follows`, async () => {
    const io = new MemoryIo({ mappable: mode.mappable })
    const events: JournalEvent[] = []
    const journal = await startJournal(io, { syncIntervalMs: 1000, onEvent: (event) => events.push(event) })
    const start = journal.stablePosition
    const first = append(journal, 1, 'at 0 ms')
    await settle()
    await io.advance(400)
    const early = append(journal, 2, 'at 400 ms')
    await settle()
    await io.advance(400)
    append(journal, 3, 'at 800 ms')
    await settle()
    await io.advance(199)
    expect(journal.stablePosition).toBe(start)
    await io.advance(1)
    // What surely was there when the sync started: all that was appended in the first half of the interval.
    expect(journal.stablePosition).toBe(early)
    expect(early).toBeGreaterThan(first)
    expect(events).toEqual([{ kind: 'sync', durationMs: 0, stablePosition: early }])
    await io.advance(1000)
    expect(journal.stablePosition).toBe(journal.position)
    const { syncs } = io
    await io.advance(10_000)
    expect(io.syncs).toBe(syncs)
    expect(journal.durableSeq).toBe(3)
    await journal.close()
  })
}

test("written 'os': a seq is durable by a sync of what was written, not of what only waits to be", async () => {
  const io = new MemoryIo()
  const journal = await startJournal(io, { syncIntervalMs: 1000 })
  io.hold('write')
  append(journal, 1, 'one')
  await settle()
  append(journal, 2, 'two')
  // The first is written, the second is not.
  io.release('write')
  io.hold('write')
  await settle()
  await io.advance(1000)
  expect(journal.durableSeq).toBe(1)
  io.release('write')
  await journal.sync()
  expect(journal.durableSeq).toBe(2)
  await journal.close()
})

test("written 'os': nor by a sync that was asked for, of what is appended before it begins", async () => {
  const io = new MemoryIo()
  const journal = await startJournal(io)
  io.hold('write')
  append(journal, 1, 'one')
  const synced = journal.sync()
  await settle()
  io.release('write')
  io.hold('write')
  append(journal, 2, 'two')
  await synced
  expect(journal.durableSeq).toBe(1)
  io.release('write')
  await journal.sync()
  expect(journal.durableSeq).toBe(2)
  await journal.close()
})

for (const mode of MODES.filter(({ durability }) => durability === 'os')) {
  const syncsOf = (io: MemoryIo): number =>
    io.calls.filter((call) => call.startsWith('sync journal-000000000001')).length

  // Of two syncs that overlap only one may learn of an error, and the other would acknowledge what is lost.
  test(`${mode.name}: a sync that is asked for waits for one that has begun by itself`, async () => {
    const io = new MemoryIo({ mappable: mode.mappable })
    const journal = await startJournal(io)
    append(journal, 1, 'a')
    await settle()
    io.hold('sync', 'journal-0')
    await io.advance(1000)
    expect(syncsOf(io)).toBe(1)
    append(journal, 2, 'b')
    const synced = journal.sync()
    await settle()
    expect(syncsOf(io)).toBe(1)
    io.release('sync')
    await synced
    expect(syncsOf(io)).toBe(2)
    await journal.close()
  })

  test(`${mode.name}: a segment that is full is synced without waiting for the interval`, async () => {
    const io = new MemoryIo({ mappable: mode.mappable })
    const journal = await startJournal(io)
    for (let i = 1; lsnSegment(journal.position) === 1; i++) {
      await appendWhenRoom(journal, i, 'x'.repeat(1000))
      await settle()
    }
    await settle()
    expect(lsnSegment(journal.stablePosition)).toBe(2)
    await journal.close()
  })
}

test('the stable mark never passes the end of a segment that was not synced', async () => {
  const io = new MemoryIo({ mappable: true })
  const journal = await startJournal(io)
  io.hold('sync')
  for (let i = 0; i < 6; i++) append(journal, i, 'x'.repeat(1000))
  await settle()
  // The next segment cannot be had while syncs hang: release those that make it, keep those of the log.
  io.release('sync')
  await settle()
  io.failOn('sync', 'journal-000000000001', 'HOLT_IO')
  for (let i = 6; i < 9; i++) append(journal, i, 'y'.repeat(1000))
  expect(Math.floor(journal.position / 2 ** 28)).toBe(2)
  await settle()
  expect(journal.stablePosition).toBeLessThanOrEqual(lsn(1, 16 * 1024))
  await expect(journal.close()).rejects.toMatchObject({ code: 'HOLT_POISONED' })
})

test('mapped: the bytes ahead are kept populated', async () => {
  const io = new MemoryIo({ mappable: true })
  const MiB = 2 ** 20
  const journal = await startJournal(io, { segmentBytes: 16 * MiB, firstSegmentBytes: 16 * MiB })
  const populated = () => io.calls.filter((call) => call.startsWith('populate'))
  expect(populated()).toHaveLength(1)
  let covered = 0
  for (let i = 0; i < 12; i++) {
    append(journal, i, new Uint8Array(MiB - 32))
    for (const call of populated()) {
      const [from = Number.NaN, length = Number.NaN] = (call.split(' ').at(2) ?? '').split('+').map(Number)
      if (from <= covered || covered === 0) covered = Math.max(covered, from + length)
    }
    const offset = journal.position % 2 ** 28
    expect(covered).toBeGreaterThanOrEqual(Math.min(16 * MiB, offset + 7 * MiB))
  }
  await journal.close()
})
