import { type Db, open } from 'holt'
import { expect, test } from 'vitest'

import { SimDisk } from '../../src/index.js'
import type { SimIo } from '../../src/index.js'

const PATH = '/home/db'

function openDb(io: SimIo, durability: 'os' | 'disk'): Promise<Db> {
  return open(PATH, {
    io,
    durability,
    usableFrameBytes: 16_384,
    segmentBytes: 65_536,
    checkpoint: { thread: false },
  })
}

async function listed(db: Db): Promise<Map<string, string>> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  return new Map([...tree.scan()].map(({ key, value, version }) => [key, `${value}@${String(version)}`]))
}

async function versionOf(db: Db, key: string): Promise<number> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  return tree.getRecord(key)?.version ?? 0
}

interface Image {
  readonly disk: SimDisk
  readonly what: string
}

/**
 * A life that writes and closes, then one that begins to write and closes: an image at every call that changes a file. The
 * journal's files go away at each close and are made anew at each first write.
 */
async function imagesOf(
  durability: 'os' | 'disk',
  seed: number,
): Promise<{ readonly images: Image[]; readonly first: Map<string, string>; readonly names: string[] }> {
  const images: Image[] = []
  const disk = new SimDisk({ seed })
  let what = ''
  const start = (): SimIo =>
    disk.start({
      reorder: true,
      onCall: ({ number, operation, path }) => {
        if (what === '' || operation === 'read' || operation === 'stat' || operation === 'list') return
        const at = `${operation} ${path} (call ${String(number)}) of ${what}`
        images.push({ disk: disk.killImage(number), what: `kill at ${at}` })
        for (let i = 0; i < 1; i++)
          images.push({ disk: disk.crashImage(number * 3 + i), what: `power loss at ${at}` })
      },
    })
  const db = await openDb(start(), durability)
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  // Several segments, and a checkpoint in their midst, so that there are closed ones, a spare and one prepared ahead.
  for (let i = 0; i < 900; i++)
    await tree.put(`key-${String(i % 400)}`, `value ${String(i)} `.padEnd(300, '.'))
  await db.checkpoint()
  for (let i = 0; i < 250; i++) await tree.put(`late-${String(i)}`, 'v'.repeat(400))
  await db.sync()
  const first = await listed(db)
  what = 'the first close'
  await db.close()
  what = 'the second opening'
  const io = start()
  const again = await openDb(io, durability)
  expect(await listed(again)).toEqual(first)
  what = 'the first write of the second opening'
  const second = await again.tree('t', { valueEncoding: 'utf8' })
  await second.put('again', 'x')
  what = 'the second close'
  await again.close()
  what = ''
  const names = await disk.start().list(PATH)
  return { images, first, names }
}

for (const durability of ['os', 'disk'] as const) {
  test(`'${durability}': a close leaves no journal, a crash at any call of it, or of the next first write, loses nothing`, async () => {
    const { images, first, names } = await imagesOf(durability, 21)
    expect(names.filter((name) => name.startsWith('journal'))).toEqual([])
    const newest = Math.max(...[...first.values()].map((text) => Number(text.split('@')[1])))
    expect(images.length).toBeGreaterThan(60)
    for (const [i, { disk, what }] of images.entries()) {
      // Each image goes on to live and is closed, crashed and opened once more.
      const db = await openDb(disk.start(), durability)
      const found = await listed(db)
      const again = found.get('again')
      found.delete('again')
      expect(found, what).toEqual(first)
      const tree = await db.tree('t', { valueEncoding: 'utf8' })
      await tree.put('after', 'crash', { durability: 'disk' })
      // No version is handed out twice.
      const version = await versionOf(db, 'after')
      expect(version, what).toBeGreaterThan(newest)
      if (again !== undefined) expect(version, what).toBeGreaterThan(Number(again.split('@')[1]))
      expect((await db.verify()).problems, what).toEqual([])
      const after = disk.crashImage(i)
      const third = await openDb(after.start(), durability)
      expect((await listed(third)).get('after'), what).toBe(`crash@${String(version)}`)
      expect((await listed(third)).size, what).toBe(first.size + (again === undefined ? 1 : 2))
      await third.close()
      await db.close()
    }
  }, 120_000)
}

test('a closed store whose journal is gone opens with all it had, and versions go on', async () => {
  const disk = new SimDisk({ seed: 5 })
  let newest = 0
  for (let life = 1; life <= 4; life++) {
    const io = disk.start()
    const db = await openDb(io, 'os')
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    expect(tree.count().keys, `life ${String(life)}`).toBe(life - 1)
    expect(db.stats().recovery).toMatchObject({ replayedRecords: 0, tail: 'clean' })
    await tree.put(`key ${String(life)}`, 'value')
    const version = await versionOf(db, `key ${String(life)}`)
    expect(version).toBeGreaterThan(newest)
    newest = version
    await db.close()
    expect((await disk.start().list(PATH)).filter((name) => name.startsWith('journal'))).toEqual([])
  }
})

test('an opening that only reads leaves what it found, and makes no journal', async () => {
  const disk = new SimDisk({ seed: 6 })
  const first = await openDb(disk.start(), 'os')
  const tree = await first.tree('t', { valueEncoding: 'utf8' })
  await tree.put('key', 'value')
  await first.sync()
  const killed = disk.killImage(1)
  await first.close()
  for (const image of [killed, disk]) {
    const calls: string[] = []
    const io = image.start({
      onCall: ({ operation, path }) => {
        if (!path.includes('/lock')) calls.push(`${operation} ${path}`)
      },
    })
    const db = await openDb(io, 'os')
    expect((await db.tree('t', { valueEncoding: 'utf8' })).get('key')).toBe('value')
    await db.close()
    const changing = /^(write|writeDsync|sync|syncDir|rename|remove|allocate|truncate|map)\b/
    expect(calls.filter((call) => changing.test(call))).toEqual([])
  }
})

test('B39: a close whose last checkpoint fails at any of its calls keeps the journal, and the next opening has everything', async () => {
  let failures = 0
  for (const operation of ['write', 'sync', 'rename', 'remove'] as const) {
    for (let nth = 1; nth <= 6; nth++) {
      const disk = new SimDisk({ seed: nth })
      const io = disk.start()
      const db = await openDb(io, 'os')
      const tree = await db.tree('t', { valueEncoding: 'utf8' })
      for (let i = 0; i < 300; i++) await tree.put(`key-${String(i)}`, `value ${String(i)}`)
      const expected = await listed(db)
      io.faults.add({ operation, errno: 'EIO', nth })
      const error: unknown = await db.close().catch((caught: unknown) => caught)
      if (error !== undefined) failures++
      for (const image of [disk.killImage(nth), disk]) {
        const again = await openDb(image.start(), 'os')
        const what = `${operation} ${String(nth)}`
        expect(await listed(again), what).toEqual(expected)
        const version = await versionOf(again, 'key-299')
        const reopened = await again.tree('t', { valueEncoding: 'utf8' })
        await reopened.put('after', 'x')
        expect(await versionOf(again, 'after'), what).toBeGreaterThan(version)
        await again.close()
      }
    }
  }
  expect(failures).toBeGreaterThan(3)
})
