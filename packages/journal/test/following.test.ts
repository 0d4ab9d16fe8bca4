import { expect, test } from 'vitest'
import { lsn, lsnSegment, type Follower } from '../src/index.js'
import { append, appendWhenRoom, MODES, openJournal, SEGMENT_BYTES, startJournal } from './fixtures.js'
import { MemoryIo, settle } from './memory-io.js'

/** Seqs of the next records, as far as they are told without a further sync. */
async function told(follower: Follower): Promise<number[]> {
  const seqs: number[] = []
  let isWaiting = false
  const reading = (async () => {
    for (let record = await follower.next(); record !== undefined; record = await follower.next()) {
      seqs.push(record.seq)
      isWaiting = false
    }
  })()
  reading.catch(() => undefined)
  while (!isWaiting) {
    isWaiting = true
    for (let turn = 0; turn < 5; turn++) await settle()
  }
  await follower.close()
  await reading
  return seqs
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i)

for (const { name, durability, mappable } of MODES) {
  test(`${name}: a follower is told what is stable, over switches, and not a record more`, async () => {
    const io = new MemoryIo({ mappable })
    const journal = await startJournal(io, { durability })
    for (let i = 1; i <= 30; i++) await appendWhenRoom(journal, i, 'x'.repeat(1000))
    await journal.sync()
    if (durability === 'os') io.hold('sync', 'journal-0')
    for (let i = 31; i <= 33; i++) append(journal, i, 'unstable')
    await journal.acknowledge('os')
    const stable = durability === 'os' ? 30 : 33
    expect(await told(journal.follow(0, 33))).toEqual(range(1, stable))
    expect(await told(journal.follow(17, 33))).toEqual(range(18, stable))
    io.release('sync')
    await journal.sync()
    expect(await told(journal.follow(29, 33))).toEqual(range(30, 33))
    expect(await told(journal.follow(undefined, 33))).toEqual([])
    await journal.close()
    expect(io.inUse).toBe(0)
  })

  test(`${name}: segments that are retained stay over a close, and nothing else does`, async () => {
    const io = new MemoryIo({ mappable })
    const options = { durability, retainBytes: 2 ** 30 }
    const numbers = (): string[] => io.names()
    const first = await startJournal(io, options)
    // More than half of the first segment: the next one is there already.
    for (let i = 1; i <= 7; i++) append(first, i, 'x'.repeat(1000))
    await first.acknowledge('os')
    for (let turn = 0; turn < 10; turn++) await settle()
    expect(numbers()).toHaveLength(2)
    await first.seal()
    const place = first.position
    expect(lsnSegment(place)).toBe(1)
    await first.sync()
    first.recycle(place)
    await first.close({ discard: true })
    expect(numbers()).toEqual(['journal-000000000001.wal'])

    const second = await openJournal(io, { ...options, imagePosition: place })
    expect(await second.replay(place, () => undefined)).toMatchObject({ records: 0, tail: 'clean' })
    await second.start(1000, undefined, 7)
    for (let i = 1001; i <= 1030; i++) await appendWhenRoom(second, i, 'x'.repeat(1000))
    await second.sync()
    second.recycle(second.position)
    for (let turn = 0; turn < 10; turn++) await settle()
    expect(await told(second.follow(0, 1030))).toEqual([...range(1, 7), ...range(1001, 1030)])
    // The last seq of the life before is a position, although the floor is higher.
    expect(await told(second.follow(7, 1030))).toEqual(range(1001, 1030))
    await second.close()
    expect(io.inUse).toBe(0)
  })
}

test('a poisoned journal tells what is stable, then why there is no more', async () => {
  const io = new MemoryIo({ mappable: true })
  const journal = await startJournal(io)
  append(journal, 1, 'stable')
  await journal.sync()
  append(journal, 2, 'lost')
  io.failOn('sync', 'journal-0', 'HOLT_IO')
  await expect(journal.sync()).rejects.toMatchObject({ code: 'HOLT_POISONED' })
  const follower = journal.follow(0, 2)
  expect((await follower.next())?.seq).toBe(1)
  await expect(follower.next()).rejects.toMatchObject({ code: 'HOLT_POISONED' })
  await journal.close().catch(() => undefined)
})

test('what followers are held back from they are told when they are released', async () => {
  const io = new MemoryIo()
  const journal = await startJournal(io)
  append(journal, 1, 'before')
  journal.holdFollowers()
  append(journal, 2, 'held')
  await journal.sync()
  expect(await told(journal.follow(0, 2))).toEqual([1])
  const follower = journal.follow(1, 2)
  const next = follower.next()
  journal.releaseFollowers()
  expect((await next)?.seq).toBe(2)
  await journal.close()
  expect(await follower.next()).toBeUndefined()
  expect(() => journal.follow(0, 2)).toThrow(expect.objectContaining({ code: 'HOLT_CLOSED' }))
})

test('without a segment a position is whole if nothing came behind it', async () => {
  const io = new MemoryIo()
  const journal = await openJournal(io, { imagePosition: lsn(4, 0) })
  await journal.replay(lsn(4, 0), () => undefined)
  await expect(journal.follow(9, 10).next()).rejects.toMatchObject({
    code: 'HOLT_POSITION_EXPIRED',
    oldestVersion: 10,
  })
  const follower = journal.follow(10, 10)
  const next = follower.next()
  await journal.start(1000, undefined, 10)
  append(journal, 1001, 'first')
  await journal.sync()
  expect((await next)?.seq).toBe(1001)
  await expect(journal.follow(9, 1001).next()).rejects.toMatchObject({ oldestVersion: 10 })
  await journal.close()
  expect(io.names().every((name) => io.bytesOf(`/store/${name}`).length === SEGMENT_BYTES)).toBe(true)
})
