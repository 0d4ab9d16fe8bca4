import { expect, test } from 'vitest'
import { lsn, lsnOffset, lsnSegment, type JournalEvent } from '../src/index.js'
import {
  append,
  appendWhenRoom,
  openJournal,
  readAll,
  SEGMENT_BYTES,
  segmentPath,
  startJournal,
} from './fixtures.js'
import { MemoryIo, settle } from './memory-io.js'

for (const mappable of [true, false]) {
  const mode = mappable ? 'mapped' : 'written'

  test(`${mode}: a sealed journal that is discarded leaves no file, and the next one begins at the place it told`, async () => {
    const io = new MemoryIo({ mappable })
    const first = await startJournal(io)
    for (let i = 1; i <= 30; i++) await appendWhenRoom(first, i, 'x'.repeat(1000))
    await first.seal()
    const place = first.position
    expect(lsnOffset(place)).toBe(0)
    await first.close({ discard: true })
    expect(io.names()).toEqual([])
    expect(io.inUse).toBe(0)

    const second = await openJournal(io)
    const report = await second.replay(place, () => undefined)
    expect(report).toMatchObject({ records: 0, tail: 'clean', end: place })
    await second.start(report.highestSeq)
    expect(lsnSegment(second.position)).toBe(lsnSegment(place))
    append(second, 31, 'on')
    await second.close()
    expect((await readAll(io, place)).texts).toEqual(['on'])
  })
}

test('the place told lies behind a segment that was prepared ahead', async () => {
  const io = new MemoryIo({ mappable: true })
  const journal = await startJournal(io)
  for (let i = 1; i <= 7; i++) append(journal, i, 'x'.repeat(1000))
  await settle()
  const numbers = () => io.names().filter((name) => /\d/.test(name))
  expect(numbers()).toHaveLength(2)
  await journal.seal()
  expect(journal.position).toBe(lsn(3, 0))
  expect(journal.stats().segments).toBe(2)
  // Nothing of what a killed process leaves is read, however many of the files are removed.
  const place = journal.position
  for (const left of [numbers(), numbers().slice(0, 1), numbers().slice(1)]) {
    const image = io.killed()
    for (const name of image.names()) if (!left.includes(name)) await image.remove(`/store/${name}`)
    const again = await openJournal(image)
    expect(await again.replay(place, () => undefined)).toMatchObject({ records: 0, tail: 'clean' })
    await again.start(100)
    expect(lsnSegment(again.position)).toBe(3)
    append(again, 101, 'new')
    await again.close()
    expect((await readAll(image, place)).texts).toEqual(['new'])
    expect(image.names().filter((name) => /\d/.test(name))).toEqual(['journal-000000000003.wal'])
  }
  await journal.close({ discard: true })
  expect(io.names()).toEqual([])
})

test('a journal that was sealed takes no record more, and one that is not discarded is whole', async () => {
  const io = new MemoryIo()
  const journal = await startJournal(io)
  append(journal, 1, 'one')
  await journal.seal()
  expect(journal.hasRoom(1)).toBe(false)
  await expect(journal.whenRoom(1)).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
  expect(() => {
    append(journal, 2, 'two')
  }).toThrow(expect.objectContaining({ code: 'HOLT_CLOSED' }))
  await journal.close()
  expect(await readAll(io)).toMatchObject({ texts: ['one'], report: { tail: 'clean' } })
})

test('discarding without a seal keeps the log', async () => {
  const io = new MemoryIo()
  const journal = await startJournal(io)
  append(journal, 1, 'one')
  await journal.close({ discard: true })
  expect((await readAll(io)).texts).toEqual(['one'])
})

test('a journal that was never started is sealed and discarded by doing nothing', async () => {
  const io = new MemoryIo()
  const first = await startJournal(io)
  append(first, 1, 'one')
  await first.close()
  const before = io.names()
  const second = await openJournal(io)
  const { end } = await second.replay(undefined, () => undefined)
  await second.seal()
  expect(second.position).toBe(end)
  await second.close({ discard: true })
  expect(io.names()).toEqual(before)
})

test('a removal that fails is reported, and what is left is removed by the next start', async () => {
  const io = new MemoryIo()
  const events: JournalEvent[] = []
  const first = await startJournal(io, { onEvent: (event) => events.push(event) })
  for (let i = 1; i <= 30; i++) await appendWhenRoom(first, i, 'x'.repeat(1000))
  await first.seal()
  io.failOn('remove', 'journal-', 'HOLT_IO')
  await first.close({ discard: true })
  expect(events.map(({ kind }) => kind)).toContain('recycle-failed')
  expect(io.names().length).toBeGreaterThan(0)
  const second = await openJournal(io)
  await second.replay(first.position, () => undefined)
  await second.start(100)
  expect(io.names().filter((name) => /\d/.test(name))).toHaveLength(1)
  await second.close()
})

test('a journal whose last sync fails is not discarded', async () => {
  const io = new MemoryIo({ mappable: true })
  const journal = await startJournal(io)
  append(journal, 1, 'one')
  await journal.seal()
  io.failOn('sync', 'journal-0', 'HOLT_IO')
  await expect(journal.close({ discard: true })).rejects.toMatchObject({ code: 'HOLT_POISONED' })
  expect(io.names()).toEqual(['journal-000000000001.wal'])
  expect(io.inUse).toBe(0)
})

test('an opening without a spare begins with a small segment and goes on with whole ones', async () => {
  const io = new MemoryIo({ mappable: true })
  const small = 2 * SEGMENT_BYTES
  const large = 4 * SEGMENT_BYTES
  const journal = await startJournal(io, { segmentBytes: large, firstSegmentBytes: small })
  expect(journal.stats().sizeBytes).toBe(small)
  const texts: string[] = []
  for (let i = 1; i <= 40; i++) {
    texts.push(String(i).padEnd(1000, '.'))
    await appendWhenRoom(journal, i, String(i).padEnd(1000, '.'))
  }
  // A record that only a whole segment has room for.
  texts.push('y'.repeat(large - SEGMENT_BYTES))
  await appendWhenRoom(journal, 41, texts[40])
  await journal.close()
  expect((await readAll(io)).texts).toEqual(texts)
  const sizes = io.names().map((name) => io.bytesOf(`/store/${name}`).length)
  expect(sizes[0]).toBe(small)
  expect(sizes.slice(1).every((size) => size === large)).toBe(true)
  expect(sizes.length).toBeGreaterThan(2)
})

test('a spare is used for the first segment, whole', async () => {
  const io = new MemoryIo()
  const options = { segmentBytes: 4 * SEGMENT_BYTES, firstSegmentBytes: SEGMENT_BYTES }
  const first = await startJournal(io, { ...options, firstSegmentBytes: options.segmentBytes })
  for (let i = 1; i <= 90; i++) await appendWhenRoom(first, i, 'x'.repeat(1000))
  await first.sync()
  const from = first.position
  first.recycle(from)
  await settle()
  await first.close()
  expect(io.names()).toContain('journal-spare.wal')
  const second = await openJournal(io, options)
  await second.replay(from, () => undefined)
  io.calls.length = 0
  await second.start(100)
  expect(io.calls.filter((call) => call.startsWith('allocate'))).toEqual([])
  expect(io.bytesOf(segmentPath(lsnSegment(second.position)))).toHaveLength(options.segmentBytes)
  await second.close()
})
