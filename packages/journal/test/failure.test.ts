import { expect, test } from 'vitest'
import type { JournalEvent } from '../src/index.js'
import { append, appendWhenRoom, MODES, openJournal, readAll, startJournal } from './fixtures.js'
import { MemoryIo, settle } from './memory-io.js'

const POISONED = expect.objectContaining({ code: 'HOLT_POISONED' }) as unknown

for (const mode of MODES) {
  const { durability } = mode
  const failing = durability === 'disk' ? 'writeDsync' : 'sync'
  const make = () => new MemoryIo({ mappable: mode.mappable })

  test(`${mode.name}: a failed ${failing} poisons: everything later fails with the cause, nothing is retried`, async () => {
    const io = make()
    const events: JournalEvent[] = []
    const journal = await startJournal(io, { durability, onEvent: (event) => events.push(event) })
    append(journal, 1, 'stable')
    await journal.sync()
    io.failOn(failing, 'journal-0', 'HOLT_IO')
    append(journal, 2, 'lost')
    const acknowledged = journal.acknowledge('disk')
    await expect(acknowledged).rejects.toMatchObject({ code: 'HOLT_POISONED', cause: { code: 'HOLT_IO' } })
    const callsBefore = io.calls.length
    expect(journal.hasRoom(1)).toBe(false)
    await expect(journal.whenRoom(1)).rejects.toEqual(POISONED)
    await expect(journal.acknowledge('os')).rejects.toEqual(POISONED)
    await expect(journal.acknowledge('disk')).rejects.toEqual(POISONED)
    await expect(journal.sync()).rejects.toEqual(POISONED)
    expect(() => {
      append(journal, 3, 'x')
    }).toThrow(POISONED)
    expect(io.calls.length).toBe(callsBefore)
    expect(events.filter(({ kind }) => kind === 'poisoned')).toMatchObject([{ cause: { code: 'HOLT_IO' } }])
    await expect(journal.close()).rejects.toMatchObject({ code: 'HOLT_POISONED', cause: { code: 'HOLT_IO' } })
    expect(io.inUse).toBe(0)
    expect((await readAll(io.powerLoss())).texts).toEqual(['stable'])
  })

  test(`${mode.name}: no space for a further segment is not poison, and a later attempt succeeds`, async () => {
    const io = make()
    const journal = await startJournal(io, { durability })
    io.failOn('allocate', 'creating', 'HOLT_NO_SPACE', 1, 3)
    let seq = 0
    const room = async () => {
      while (journal.hasRoom(1000)) append(journal, ++seq, 'r'.repeat(1000))
      await settle()
    }
    await room()
    const before = journal.position
    await expect(journal.whenRoom(1000)).rejects.toMatchObject({ code: 'HOLT_NO_SPACE' })
    expect(journal.position).toBe(before)
    expect(io.names()).toEqual(['journal-000000000001.wal'])
    // Reservations that still fit go on.
    expect(journal.hasRoom(1)).toBe(true)
    append(journal, ++seq, 'fits')
    await expect(journal.whenRoom(1000)).rejects.toMatchObject({ code: 'HOLT_NO_SPACE' })
    await journal.whenRoom(1000)
    append(journal, ++seq, 'after')
    await journal.close()
    const { texts } = await readAll(io)
    expect(texts.slice(-2)).toEqual(['fits', 'after'])
    expect(texts).toHaveLength(seq)
  })

  test(`${mode.name}: closing while a sync is scheduled and a segment is being made leaves nothing open`, async () => {
    const io = make()
    const journal = await startJournal(io, { durability })
    for (let i = 0; i < 5; i++) append(journal, i, 'z'.repeat(1000))
    const [first, second] = [journal.close(), journal.close()]
    expect(second).toBe(first)
    await first
    expect(io.inUse).toBe(0)
    expect((await readAll(io)).report).toMatchObject({ records: 5, tail: 'clean' })
  })

  test(`G7, ${mode.name}: what was not acknowledged is drained and stable after close`, async () => {
    const io = make()
    const journal = await startJournal(io, { durability })
    append(journal, 1, 'never awaited')
    await journal.close()
    const { texts, report } = await readAll(io.powerLoss())
    expect(texts).toEqual(['never awaited'])
    // The closing mark as well.
    expect(report.tail).toBe('clean')
  })
}

test('a failed scheduled sync poisons although nobody waits for it', async () => {
  const io = new MemoryIo({ mappable: true })
  const journal = await startJournal(io)
  append(journal, 1, 'a')
  io.failOn('sync', 'journal-0', 'HOLT_IO')
  await io.advance(1000)
  await expect(journal.acknowledge('os')).rejects.toEqual(POISONED)
  await expect(journal.close()).rejects.toEqual(POISONED)
})

test("a failed write in the written 'os' mode poisons and fails its whole group", async () => {
  const io = new MemoryIo()
  const journal = await startJournal(io)
  io.failOn('write', 'journal-0', 'HOLT_NO_SPACE')
  append(journal, 1, 'a')
  const first = journal.acknowledge('os')
  append(journal, 2, 'b')
  await expect(first).rejects.toMatchObject({ code: 'HOLT_POISONED', cause: { code: 'HOLT_NO_SPACE' } })
  await expect(journal.whenRoom(1)).rejects.toEqual(POISONED)
  await expect(journal.close()).rejects.toEqual(POISONED)
  expect(io.inUse).toBe(0)
})

test('a start without space can be repeated', async () => {
  const io = new MemoryIo()
  const journal = await openJournal(io)
  await journal.replay(undefined, () => undefined)
  io.failOn('allocate', 'creating', 'HOLT_NO_SPACE')
  await expect(journal.start(0)).rejects.toMatchObject({ code: 'HOLT_NO_SPACE' })
  expect(io.names()).toEqual([])
  await journal.start(0)
  await appendWhenRoom(journal, 1, 'a')
  await journal.close()
  expect((await readAll(io)).texts).toEqual(['a'])
})

test('a full disk does not stop a reopened store that left an unused or spare segment', async () => {
  const io = new MemoryIo({ mappable: true })
  const journal = await startJournal(io)
  for (let i = 0; i < 5; i++) append(journal, i, 'x'.repeat(1000))
  await settle()
  const dead = io.killed()
  await journal.close()
  expect(dead.names()).toContain('journal-000000000002.wal')
  dead.failOn('allocate', '', 'HOLT_NO_SPACE', 1, 1000)
  const again = await startJournal(dead)
  append(again, 6, 'six')
  await again.close()
  expect((await readAll(dead)).texts).toHaveLength(6)
})
