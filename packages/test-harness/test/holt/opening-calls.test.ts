import { isHoltError } from '@holt/errors'
import { type Db, open } from 'holt'
import { expect, test } from 'vitest'

import { SimDisk } from '../../src/index.js'
import type { SimIo } from '../../src/index.js'
import { gatedIo } from './gated-io.js'

const PATH = '/home/db'

function openDb(io: SimIo): Promise<Db> {
  return open(PATH, { io, usableFrameBytes: 16_384, segmentBytes: 65_536, checkpoint: { thread: false } })
}

async function closedStore(): Promise<SimDisk> {
  const disk = new SimDisk({ seed: 31 })
  const db = await openDb(disk.start())
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  for (let i = 0; i < 400; i++) await tree.put(`key-${String(i)}`, `value ${String(i)}`)
  await db.close()
  return disk
}

test('an opening that only reads syncs nothing, and changes no file but its lock', async () => {
  const disk = await closedStore()
  const calls: string[] = []
  const io = disk.start({
    onCall: ({ operation, path }) => calls.push(`${operation} ${path.slice(PATH.length + 1)}`),
  })
  const db = await openDb(io)
  expect((await db.tree('t', { valueEncoding: 'utf8' })).get('key-7')).toBe('value 7')
  expect(
    calls.filter((call) => /^(sync|syncDir|writeDsync|allocate|map|rename|truncate)\b/.test(call)),
  ).toEqual([])
  expect(calls.filter((call) => call.startsWith('write') && !call.startsWith('write lock.own.'))).toEqual([])
  // Each file is opened once, the data file and the manifest; there is no journal to look at.
  const opened = calls.filter((call) => call.startsWith('open ') && !call.includes('lock'))
  expect(opened.sort()).toEqual(['open blobs.dat', 'open manifest'])
  await db.close()
})

test('the lock file is stable before the first change', async () => {
  const disk = await closedStore()
  const calls: string[] = []
  const db = await openDb(
    disk.start({
      onCall: ({ operation, path }) => calls.push(`${operation} ${path.slice(PATH.length + 1)}`),
    }),
  )
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  calls.length = 0
  await tree.put('new', 'x')
  const changes = calls.filter((call) =>
    /^(sync|write|writeDsync|syncDir|allocate|rename|remove|link)\b/.test(call),
  )
  expect(changes[0]).toBe('sync lock')
  expect(changes.length).toBeGreaterThan(3)
  await db.close()
})

for (const locks of [true, false]) {
  test(`a power loss beside an opening that only reads leaves no lock that keeps others out, flock: ${String(locks)}`, async () => {
    const disk = await closedStore()
    const db = await openDb(disk.start({ locks }))
    for (let i = 0; i < 30; i++) {
      const again = await openDb(disk.crashImage(i).start({ locks }))
      const tree = await again.tree('t', { valueEncoding: 'utf8' })
      expect(tree.get('key-399'), `power loss ${String(i)}`).toBe('value 399')
      await tree.put('new', 'x')
      await again.close()
    }
    await db.close()
  })
}

test('of two openings that meet the lock of a process that is gone one gets it, whichever call the other comes between', async () => {
  const closed = await closedStore()
  await openDb(closed.start({ locks: false }))
  const stale = closed.killImage(1)
  const orUndefined = (error: unknown): undefined => {
    if (!isHoltError(error, 'HOLT_LOCKED')) throw error
  }
  let winners = 0
  for (let at = 1; ; at++) {
    const disk = stale.killImage(at)
    const other = disk.start({ locks: false })
    let second: Promise<Db | undefined> | undefined
    const gated = gatedIo(disk.start({ locks: false }), async (call) => {
      if (call !== at) return
      second = openDb(other).catch(orUndefined)
      await second
    })
    const first = await openDb(gated).catch(orUndefined)
    if (second === undefined) break
    const opened = [first, await second].filter((db) => db !== undefined)
    expect(opened, `call ${String(at)}`).toHaveLength(1)
    if (opened[0] !== first) winners++
    for (const db of opened) await db.close()
  }
  expect(winners).toBeGreaterThan(5)
})
