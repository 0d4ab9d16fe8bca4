import { type Db, open } from 'holt'
import { expect, test } from 'vitest'

import { SimDisk } from '../../src/index.js'
import type { SimIo } from '../../src/index.js'

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
