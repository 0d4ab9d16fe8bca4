import { type Db, open } from 'holt'
import { expect, test } from 'vitest'

import { SimDisk } from '../../src/index.js'
import type { SimIo } from '../../src/index.js'

const PATH = '/home/db'
const key = (i: number): string => `dir-${String(i % 7)}/key-${String(i)}`

function openDb(io: SimIo): Promise<Db> {
  return open(PATH, { io, usableFrameBytes: 16_384, segmentBytes: 262_144, checkpoint: { thread: false } })
}

async function listed(db: Db): Promise<string[]> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  return [...tree.scan()].map(({ key, value, version }) => `${key}=${value}@${String(version)}`)
}

test('db.vacuum: a crash at any call of the Io loses nothing that was durable, and verify finds nothing', async () => {
  const images: { readonly disk: SimDisk; readonly what: string }[] = []
  const disk = new SimDisk({ seed: 11 })
  let armed = false
  const io = disk.start({
    reorder: true,
    onCall: ({ number, operation, path }) => {
      if (!armed || operation === 'read' || operation === 'stat') return
      const what = `${operation} ${path}, call ${String(number)}`
      images.push({ disk: disk.killImage(number), what: `kill at ${what}` })
      for (let crash = 0; crash < 2; crash++)
        images.push({ disk: disk.crashImage(number * 2 + crash), what: `power loss at ${what}` })
    },
  })
  const db = await openDb(io)
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  for (let i = 0; i < 1_200; i++) await tree.put(key(i), 'v'.repeat(80))
  await db.checkpoint()
  for (let i = 0; i < 1_200; i++) if (i % 7 !== 3) await tree.delete(key(i))
  // The journal holds all of it durably; nothing is written while the vacuum runs.
  await db.sync()
  const expected = await listed(db)
  armed = true
  const { movedFrames, freedBytes } = await db.vacuum()
  armed = false
  expect(movedFrames).toBeGreaterThan(1)
  expect(freedBytes).toBeGreaterThan(0)
  expect(await listed(db)).toEqual(expected)
  await db.close()
  expect(images.length).toBeGreaterThan(30)
  for (const { disk: image, what } of images) {
    const again = await openDb(image.start())
    expect(await listed(again), what).toEqual(expected)
    expect((await again.verify()).problems, what).toEqual([])
    await again.close()
  }
})
