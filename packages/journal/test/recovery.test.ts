import { expect, test } from 'vitest'
import { lsn, lsnOffset, lsnSegment, type JournalEvent, type Lsn } from '../src/index.js'
import { append, appendWhenRoom, openJournal, readAll, segmentPath, startJournal } from './fixtures.js'
import { FIRST_RECORD_OFFSET } from '../src/segment-header.js'
import { MemoryIo, settle } from './memory-io.js'

async function fill(io: MemoryIo, count: number, options = {}): Promise<void> {
  const journal = await startJournal(io, options)
  for (let i = 1; i <= count; i++) await appendWhenRoom(journal, i, `${String(i)} `.padEnd(1000, '.'))
  await journal.close()
}

test('opening and replaying change nothing', async () => {
  const io = new MemoryIo()
  await fill(io, 20)
  io.calls.length = 0
  await readAll(io)
  const changing = /^(write|writeDsync|sync|syncDir|rename|remove|allocate)\b/
  expect(io.calls.filter((call) => changing.test(call))).toEqual([])
  expect(io.calls.some((call) => call.startsWith('read '))).toBe(true)
})

test('a start rewrites the unmarked tail in place and syncs it before it changes anything else', async () => {
  const io = new MemoryIo({ mappable: true })
  const first = await startJournal(io)
  append(first, 1, 'marked')
  await first.sync()
  const markedEnd = lsnOffset(first.position)
  append(first, 2, 'carries the mark')
  append(first, 3, 'unmarked')
  const end = lsnOffset(first.position)
  const dead = io.killed()
  await first.close()

  const second = await openJournal(dead)
  const report = await second.replay(undefined, () => undefined)
  expect(report).toMatchObject({ tail: 'torn', records: 3 })
  dead.calls.length = 0
  const before = dead.bytesOf(segmentPath(1)).slice()
  await second.start(100, () => {
    dead.calls.push('before the first change')
    return Promise.resolve()
  })
  const changes = dead.calls.filter((call) =>
    /^(before|write|sync|syncDir|rename|remove|allocate)\b/.test(call),
  )
  const tail = `${String(markedEnd)}+${String(end - markedEnd)}`
  const segment = 'journal-000000000001.wal'
  expect(changes.slice(0, 3)).toEqual([
    'before the first change',
    `write ${segment} ${tail}`,
    `sync ${segment}`,
  ])
  // The found segment is never written to again.
  expect(changes.slice(3).some((call) => call.includes(segment))).toBe(false)
  expect(dead.bytesOf(segmentPath(1))).toEqual(before)
  expect(lsnSegment(second.position)).toBe(2)
  await second.close()
})

test('what a replay has handed out is made stable up to a record while it goes on, each byte once', async () => {
  const io = new MemoryIo({ mappable: true })
  const first = await startJournal(io)
  for (let seq = 1; seq <= 40; seq++) await appendWhenRoom(first, seq, `${String(seq)} `.padEnd(1000, '.'))
  const dead = io.killed()
  await first.close()

  const second = await openJournal(dead)
  const marked = second.firstUncertain ?? lsn(0, 0)
  let reached: Lsn = marked
  let steps = 0
  await second.replay(undefined, async ({ position }) => {
    dead.calls.length = 0
    await second.settleReplayed(position)
    const changes = dead.calls.filter((call) => /^(write|sync)/.test(call))
    for (let i = 0; i < changes.length; i += 2, steps++) {
      const [, number, from, length] = /^write journal-(\d+)\.wal (\d+)\+(\d+)$/.exec(changes[i]) ?? []
      expect(changes[i + 1]).toBe(`sync journal-${number}.wal`)
      // It goes on where the one before has ended, or in the segment behind it.
      const begin = lsn(Number(number), Number(from))
      expect(begin === reached || begin === lsn(lsnSegment(reached) + 1, FIRST_RECORD_OFFSET)).toBe(true)
      reached = lsn(Number(number), Number(from) + Number(length))
    }
    if (position > marked && lsnOffset(position) > FIRST_RECORD_OFFSET) expect(reached).toBe(position)
  })
  expect(steps).toBeGreaterThan(5)
  expect(steps).toBeLessThan(40)
  await second.close()
})

test('records that were in memory only are stable after a start', async () => {
  const io = new MemoryIo({ mappable: true })
  const first = await startJournal(io)
  append(first, 1, 'survives the kill')
  const dead = io.killed()
  await first.close()
  // The kernel holds the bytes as clean pages: stable content is what was synced.
  const second = await startJournal(dead)
  append(second, 2, 'next')
  await second.sync()
  expect((await readAll(dead.powerLoss())).texts).toEqual(['survives the kill', 'next'])
  await second.close()
})

test('the fresh segment names where a torn log ends, so that what lies behind is never read again', async () => {
  const io = new MemoryIo({ mappable: true })
  const first = await startJournal(io)
  append(first, 1, 'kept')
  const tornAt = lsnOffset(first.position)
  append(first, 2, 'torn')
  append(first, 3, 'behind')
  const dead = io.killed()
  await first.close()
  const bytes = dead.bytesOf(segmentPath(1))
  const original = bytes.at(tornAt + 28)
  bytes[tornAt + 28] ^= 1
  const second = await openJournal(dead)
  expect(await second.replay(undefined, () => undefined)).toMatchObject({ records: 1, recordsBehindEnd: 1 })
  await second.start(10)
  append(second, 11, 'new')
  await second.close()
  // Even if the torn record becomes valid again (the medium returns other bytes): it is no part of the log any more.
  if (original === undefined) throw new Error('no such byte')
  bytes[tornAt + 28] = original
  expect((await readAll(dead)).texts).toEqual(['kept', 'new'])
})

test('the seq floor survives, also without any record', async () => {
  const io = new MemoryIo()
  const first = await openJournal(io)
  await first.replay(undefined, () => undefined)
  await first.start(5000)
  expect(first.durableSeq).toBe(5000)
  const dead = io.powerLoss()
  await first.close()
  expect((await readAll(dead)).report).toMatchObject({ highestSeq: 5000, records: 0 })
  const second = await startJournal(dead)
  // A lower floor does not lower it.
  expect(second.durableSeq).toBe(5000)
  await second.close()
})

test('the seq floor survives segment switches and recycling', async () => {
  const io = new MemoryIo({ mappable: true })
  const first = await openJournal(io)
  await first.replay(undefined, () => undefined)
  await first.start(2 ** 40)
  for (let i = 1; i <= 40; i++) {
    await appendWhenRoom(first, 2 ** 40 + i, 'x'.repeat(1000))
    await first.sync()
    first.recycle(first.position)
  }
  const from = first.position
  await settle()
  const dead = io.powerLoss()
  await first.close()
  expect((await readAll(dead, from)).report.highestSeq).toBeGreaterThan(2 ** 40)
})

test('a killed store can be reopened over and over without losing or repeating records', async () => {
  let io = new MemoryIo({ mappable: true })
  for (let round = 1; round <= 12; round++) {
    const journal = await startJournal(io)
    if (round % 3 !== 0) append(journal, round, String(round))
    const dead = io.killed()
    await journal.close()
    io = dead
  }
  expect((await readAll(io)).texts).toEqual(['1', '2', '4', '5', '7', '8', '10', '11'])
})

test('a start that was interrupted at any call is repeated without loss', async () => {
  const io = new MemoryIo({ mappable: true })
  const first = await startJournal(io)
  for (let i = 1; i <= 14; i++) await appendWhenRoom(first, i, `${String(i)} `.padEnd(1000, '.'))
  await settle()
  const dead = io.killed()
  await first.close()
  const expected = (await readAll(dead)).texts
  expect(expected).toHaveLength(14)
  for (const operation of ['write', 'sync', 'rename', 'syncDir', 'remove', 'open', 'close', 'list']) {
    for (let nth = 1; nth < 40; nth++) {
      const disk = dead.killed()
      const journal = await openJournal(disk)
      await journal.replay(undefined, () => undefined)
      disk.failOn(operation, 'journal-', 'HOLT_IO', nth, 1000)
      const outcome = await journal.start(100).then(
        () => 'started',
        () => 'failed',
      )
      for (const after of [disk.powerLoss(), disk.killed()]) {
        expect((await readAll(after)).texts).toEqual(expected)
        const again = await startJournal(after)
        append(again, 101, 'more')
        await again.close()
        expect((await readAll(after)).texts).toEqual([...expected, 'more'])
      }
      await journal.close().catch(() => undefined)
      if (outcome === 'started') break
    }
  }
})

test('recycling removes what is covered, keeps one spare and the segment that holds the position', async () => {
  const io = new MemoryIo()
  await fill(io, 30)
  const journal = await startJournal(io)
  const segments = () => io.names().filter((name) => /\d/.test(name))
  const before = segments()
  expect(before.length).toBeGreaterThan(4)
  const middle = (await readAll(io)).entries.at(20)?.position
  if (middle === undefined) throw new Error('expected 30 records')
  journal.recycle(middle)
  await settle()
  expect(segments()).toEqual(before.slice(lsnSegment(middle) - 1))
  expect(io.names()).toContain('journal-spare.wal')
  expect((await readAll(io, middle)).entries).toHaveLength(10)
  await expect(readAll(io)).rejects.toMatchObject({ code: 'HOLT_CORRUPT' })
  await journal.close()
})

test('stale records in a recycled segment are never read', async () => {
  const io = new MemoryIo({ mappable: true })
  const journal = await startJournal(io)
  for (let i = 1; i <= 60; i++) {
    // The same sizes throughout, so that stale records lie exactly where new ones would follow.
    await appendWhenRoom(journal, i, `${String(i)} `.padEnd(1000, '.'))
    await journal.sync()
    journal.recycle(journal.position)
    await settle()
    const { report } = await readAll(io.killed(), journal.position)
    expect(report).toMatchObject({ records: 0, recordsBehindEnd: 0 })
  }
  // No file was made beyond those in use and the spare.
  expect(io.calls.filter((call) => call.startsWith('allocate')).length).toBeLessThanOrEqual(3)
  await journal.close()
})

test('a recycling that fails is reported, poisons nothing and is made up for later', async () => {
  const io = new MemoryIo()
  await fill(io, 30)
  const events: JournalEvent[] = []
  const journal = await startJournal(io, { onEvent: (event) => events.push(event) })
  io.failOn('rename', 'journal-0', 'HOLT_IO')
  io.failOn('remove', 'journal-0', 'HOLT_IO')
  journal.recycle(journal.position)
  await settle()
  expect(events.some(({ kind }) => kind === 'recycle-failed')).toBe(true)
  await appendWhenRoom(journal, 31, 'goes on')
  await journal.sync()
  journal.recycle(journal.position)
  journal.recycle(journal.position)
  await settle()
  expect(io.names().filter((name) => /\d/.test(name)).length).toBeLessThanOrEqual(2)
  await journal.close()
})

test('G11: a segment file is whole and stable, and its name too, before its first record', async () => {
  const io = new MemoryIo({ mappable: true })
  const journal = await startJournal(io)
  for (let i = 0; i < 40; i++) {
    await appendWhenRoom(journal, i, 'x'.repeat(1000))
    // A power loss now keeps the file of every position that was handed out.
    const after = io.powerLoss()
    expect(after.names()).toContain(`journal-${String(lsnSegment(journal.position)).padStart(12, '0')}.wal`)
    await readAll(after)
  }
  await journal.close()
})

test('a segment is written to its end before it takes records, so that none of them wants space', async () => {
  const io = new MemoryIo()
  const journal = await startJournal(io)
  const written = io.calls
    .map((call) => /^write journal-creating\.wal (\d+)\+(\d+)$/.exec(call))
    .flatMap((match) => (match === null ? [] : [[Number(match[1]), Number(match[2])]]))
  let end = 0
  for (const [at, length] of written) {
    expect(at).toBe(end)
    end += length
  }
  expect(end).toBe(io.bytesOf(segmentPath(1)).length)
  expect(io.calls.indexOf('rename journal-creating.wal journal-spare.wal')).toBeGreaterThan(
    io.calls.lastIndexOf(`write journal-creating.wal 0+${String(end)}`),
  )
  await journal.close()
})

test('a start makes no segment before the tail that it found is stable', async () => {
  const io = new MemoryIo()
  const first = await startJournal(io)
  append(first, 1, 'unmarked')
  await first.acknowledge('os')
  const dead = io.killed()
  await first.close()
  const second = await openJournal(dead)
  await second.replay(undefined, () => undefined)
  dead.hold('sync', 'journal-000000000001')
  dead.calls.length = 0
  const started = second.start(10)
  for (let turn = 0; turn < 10; turn++) await settle()
  expect(dead.calls).toContain('sync journal-000000000001.wal')
  expect(dead.calls.filter((call) => /^(allocate|rename|remove|syncDir)/.test(call))).toEqual([])
  dead.release('sync')
  await started
  await second.close()
})

test('a start changes nothing before what has to come first is done, nor when that fails', async () => {
  const changing = /^(write|writeDsync|sync|syncDir|rename|remove|allocate)\b/
  const io = new MemoryIo()
  await fill(io, 3)
  const journal = await openJournal(io)
  await journal.replay(undefined, () => undefined)
  io.calls.length = 0
  await expect(journal.start(10, () => Promise.reject(new Error('not yet')))).rejects.toThrow('not yet')
  let goOn = (): void => undefined
  const started = journal.start(10, () => new Promise<void>((resolve) => (goOn = resolve)))
  await settle()
  expect(io.calls.filter((call) => changing.test(call))).toEqual([])
  goOn()
  await started
  expect(io.calls.some((call) => changing.test(call))).toBe(true)
  await journal.close()
})

test('segments of another size than the new one are read and, once covered, removed', async () => {
  const io = new MemoryIo()
  await fill(io, 20)
  const journal = await startJournal(io, { segmentBytes: 64 * 1024 })
  append(journal, 21, 'y'.repeat(20_000))
  await journal.sync()
  const start = journal.position
  expect((await readAll(io.killed())).entries).toHaveLength(21)
  journal.recycle(start)
  await settle()
  await journal.close()
  expect(io.names()).toEqual([`journal-${String(lsnSegment(start)).padStart(12, '0')}.wal`])
})

test('a spare whose name is not stable yet, since its maker was killed, is headed only after it is', async () => {
  // Otherwise a power loss brings the old name back, over the new header.
  const io = new MemoryIo()
  await fill(io, 30)
  const journal = await startJournal(io)
  // The directory is never synced after the renaming that makes the spare.
  io.failOn('syncDir', '', 'HOLT_IO', 1, 1000)
  const from = journal.position
  journal.recycle(from)
  await settle()
  expect(io.names()).toContain('journal-spare.wal')
  const second = await openJournal(io)
  await second.replay(from, () => undefined)
  io.calls.length = 0
  await expect(second.start(100)).rejects.toMatchObject({ code: 'HOLT_IO' })
  expect(io.calls.filter((call) => call.startsWith('write journal-spare'))).toEqual([])
  await second.close()
  await journal.close()
})

test('an interrupted start never breaks the chain to the log, also with two unused segments behind its end', async () => {
  const io = new MemoryIo({ mappable: true })
  const journal = await startJournal(io)
  const inFirst = 7
  for (let i = 1; i <= inFirst; i++) append(journal, i, 'x'.repeat(1000))
  await journal.sync()
  await settle()
  // From here on nothing of the log becomes stable, but further segments are made: 3 when 2 is half full.
  io.hold('sync', 'journal-0')
  for (let i = 8; i < 14; i++) append(journal, i, 'y'.repeat(1000))
  await settle()
  const disk = io.powerLoss()
  io.release('sync')
  await journal.close()
  expect(disk.names()).toEqual([1, 2, 3].map((n) => segmentPath(n).slice('/store/'.length)))
  const second = await openJournal(disk)
  expect(await second.replay(undefined, () => undefined)).toMatchObject({ records: inFirst, tail: 'torn' })
  disk.failOn('write', 'journal-spare', 'HOLT_IO')
  await expect(second.start(200)).rejects.toMatchObject({ code: 'HOLT_IO' })
  expect((await readAll(disk.killed())).entries).toHaveLength(inFirst)
  await second.start(200)
  append(second, 201, 'on')
  await second.close()
  expect((await readAll(disk)).entries).toHaveLength(inFirst + 1)
})
