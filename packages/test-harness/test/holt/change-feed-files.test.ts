import { type Commit, type Db, open, type OpenOptions } from 'holt'
import { describe, expect, test } from 'vitest'

import { SimDisk } from '../../src/index.js'
import type { SimIo, SimProcessOptions } from '../../src/index.js'

const PATH = '/home/db'
const ALL = 2 ** 40

async function openDb(
  disk: SimDisk,
  options: OpenOptions = {},
  process: SimProcessOptions = {},
): Promise<{ readonly io: SimIo; readonly db: Db }> {
  const io = disk.start({ autoAdvance: true, ...process })
  const db = await open(PATH, {
    io,
    durability: 'disk',
    segmentBytes: 65_536,
    retainJournalBytes: ALL,
    // The clock of these tests goes far.
    checkpoint: { thread: false, intervalMs: 2 ** 31 - 1 },
    ...options,
  })
  return { io, db }
}

async function fill(db: Db, from: number, count: number): Promise<void> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  for (let i = from; i < from + count; i++) await tree.put(`k${String(i)}`, `${String(i)} `.padEnd(1000, '.'))
}

/** Commits behind a version, up to the newest one, or the error. */
async function read(db: Db, from: number): Promise<{ readonly commits: Commit[]; readonly error: unknown }> {
  const commits: Commit[] = []
  const feed = db.changes(from)
  try {
    while (feed.version < db.version) {
      const { done, value } = await feed.next()
      if (done === true) break
      commits.push(value)
    }
    return { commits, error: undefined }
  } catch (error) {
    return { commits, error }
  } finally {
    await feed.return()
  }
}

async function segments(disk: SimDisk): Promise<string[]> {
  const io = disk.start()
  const names = (await io.list(PATH)).filter((name) => /^journal-\d+\.wal$/.test(name)).sort()
  await io.dispose()
  return names
}

async function sizeOf(disk: SimDisk, name: string): Promise<number> {
  const io = disk.start()
  const file = await io.open(`${PATH}/${name}`, { access: 'read' })
  const { sizeBytes } = await io.stat(file)
  await io.dispose()
  return sizeBytes
}

/** Three lives of several segments each, all of which are retained; the checkpoints have covered them. */
async function retained(
  durability: 'os' | 'disk' = 'disk',
  puts = 150,
): Promise<{ disk: SimDisk; commits: Commit[] }> {
  const disk = new SimDisk({ seed: 3 })
  for (let life = 0; life < 3; life++) {
    const { db } = await openDb(disk, { durability })
    await fill(db, life * puts, puts)
    await db.close()
  }
  const { db } = await openDb(disk)
  const { commits, error } = await read(db, 0)
  expect(error).toBeUndefined()
  expect(commits).toHaveLength(1 + 3 * puts)
  await db.close()
  return { disk, commits }
}

describe('retained segments', () => {
  test.each(['os', 'disk'] as const)(
    '%s: stay over closes, are not replayed, and nothing else stays',
    async (durability) => {
      const { disk } = await retained(durability)
      const names = await segments(disk)
      expect(names.length).toBeGreaterThan(8)
      const all = (await disk.start().list(PATH)).filter((name) => name.startsWith('journal'))
      expect(all.sort()).toEqual(names)
      const { io, db } = await openDb(disk, {}, {})
      expect(db.stats().recovery).toMatchObject({ replayedRecords: 0, tail: 'clean' })
      // However many there are: an opening looks at the last one only.
      expect(io.counters.reads).toBeLessThan(8)
      await db.close()
      expect(await segments(disk)).toEqual(names)
    },
  )

  test('go by bytes, the oldest first, and a feed that wants them is told', async () => {
    const disk = new SimDisk({ seed: 4 })
    const bound = 4 * 65_536
    let oldest = 0
    for (let life = 0; life < 4; life++) {
      const { db } = await openDb(disk, { retainJournalBytes: bound })
      await fill(db, life * 400, 200)
      await db.checkpoint()
      await fill(db, life * 400 + 200, 200)
      await db.checkpoint()
      const tree = await db.tree('t', { valueEncoding: 'utf8' })
      await tree.put('one more', 'x')
      const { error } = await read(db, 0)
      expect(error).toMatchObject({ code: 'HOLT_POSITION_EXPIRED' })
      const { oldestVersion } = error as { oldestVersion: number }
      expect(oldestVersion).toBeGreaterThan(oldest)
      oldest = oldestVersion
      const { commits } = await read(db, oldest)
      // About the bound's worth of commits of 1 000 bytes, and those of the segment in use.
      expect(commits.length).toBeGreaterThan(100)
      expect(commits.length).toBeLessThan(320)
      expect((await read(db, oldest - 1)).error).toMatchObject({
        code: 'HOLT_POSITION_EXPIRED',
        oldestVersion: oldest,
      })
      await db.close()
      let bytes = 0
      const names = await segments(disk)
      for (const name of names.slice(0, -1)) bytes += await sizeOf(disk, name)
      expect(bytes).toBeLessThanOrEqual(bound)
      expect(bytes).toBeGreaterThan(bound - 2 * 65_536)
    }
    // Without the option they go with the first checkpoint.
    const { db } = await openDb(disk, { retainJournalBytes: 0 })
    await fill(db, 5_000, 1)
    await db.checkpoint()
    expect((await read(db, oldest)).error).toMatchObject({ code: 'HOLT_POSITION_EXPIRED' })
    await db.close()
    expect(await segments(disk)).toEqual([])
  })

  test('go by age, also over a close', async () => {
    const disk = new SimDisk({ seed: 5 })
    const options = { retainJournalBytes: 0, retainJournalMs: 3_600_000 }
    const first = await openDb(disk, options)
    await fill(first.db, 0, 150)
    await first.db.checkpoint()
    expect((await read(first.db, 0)).commits).toHaveLength(151)
    first.io.advance(500_000)
    await fill(first.db, 150, 150)
    const { version } = first.db
    await first.db.close()
    // A simulated process begins 1 000 s later than the one before it.
    for (let i = 0; i < 3; i++) await disk.start().dispose()
    const second = await openDb(disk, options)
    await fill(second.db, 300, 5)
    await second.db.checkpoint()
    const { error } = await read(second.db, 0)
    expect(error).toMatchObject({ code: 'HOLT_POSITION_EXPIRED' })
    const { oldestVersion } = error as { oldestVersion: number }
    expect(oldestVersion).toBeGreaterThan(60)
    expect(oldestVersion).toBeLessThan(200)
    expect((await read(second.db, oldestVersion)).error).toBeUndefined()
    second.io.advance(3_500_000)
    await fill(second.db, 400, 1)
    await second.db.checkpoint()
    expect((await read(second.db, oldestVersion)).error).toMatchObject({ code: 'HOLT_POSITION_EXPIRED' })
    expect((await read(second.db, version)).commits).toHaveLength(6)
    await second.db.close()
  })

  test('a feed that lags is kept what it needs, up to four segments; then it expires, and never sees other bytes', async () => {
    const disk = new SimDisk({ seed: 6 })
    const { db } = await openDb(disk, { retainJournalBytes: 0 })
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await fill(db, 0, 1)
    const feed = tree.changes(0)
    const slow = tree.changes(0)
    for (const lagging of [feed, slow]) {
      await lagging.next()
      expect((await lagging.next()).value?.changes).toMatchObject([{ kind: 'put', key: 'k0' }])
    }
    let next = 1
    for (let round = 0; round < 6; round++) {
      await fill(db, 1 + round * 100, 100)
      await db.checkpoint()
      for (; next <= (round + 1) * 100; next++)
        expect((await feed.next()).value?.changes).toMatchObject([{ key: `k${String(next)}` }])
    }
    // Files have been used again several times by now, and hold old records behind the new ones.
    let told = 0
    const lagging = (async () => {
      for await (const { changes } of slow) {
        told++
        expect(changes).toMatchObject([
          { key: `k${String(told)}`, value: `${String(told)} `.padEnd(1000, '.') },
        ])
      }
    })()
    await expect(lagging).rejects.toMatchObject({ code: 'HOLT_POSITION_EXPIRED' })
    expect(told).toBeLessThan(200)
    await feed.return()
    await db.close()
  })

  test('a read that fails is an error at any place, and a new feed goes on where that one stopped', async () => {
    const { disk, commits } = await retained('disk', 40)
    let errors = 0
    for (const operation of ['open', 'read', 'stat'] as const) {
      for (let nth = 1; ; nth++) {
        const { io, db } = await openDb(disk)
        io.faults.add({ operation, path: /journal-\d/, nth, errno: 'EIO' })
        const told: Commit[] = []
        let failed = false
        while (told.length < commits.length) {
          const { commits: more, error } = await read(db, told.at(-1)?.version ?? 0)
          told.push(...more)
          if (error === undefined) break
          expect(error).toMatchObject({ code: 'HOLT_IO' })
          failed = true
          errors++
        }
        expect(told).toEqual(commits)
        await db.close()
        if (!failed) break
      }
    }
    expect(errors).toBeGreaterThan(10)
  })

  test('a damaged record is reported with its file; the database opens, and changes behind it are told', async () => {
    const { disk, commits } = await retained()
    const names = await segments(disk)
    for (const damage of ['record', 'header', 'truncated', 'missing'] as const) {
      const image = disk.killImage(1)
      const name = names[4]
      const path = `${PATH}/${name}`
      if (damage === 'record') image.rot({ path, offsetBytes: 20_000, bit: 3 })
      else if (damage === 'header') {
        image.overwrite(path, 32, new Uint8Array(4).fill(9))
        image.overwrite(path, 4096 + 32, new Uint8Array(4).fill(9))
      } else if (damage === 'truncated') image.resize(path, 20_000)
      else await image.start().remove(path)
      const { db } = await openDb(image)
      const tree = await db.tree('t', { valueEncoding: 'utf8' })
      expect(tree.count().keys).toBe(450)
      const { commits: told, error } = await read(db, 0)
      if (damage === 'missing') expect(error).toMatchObject({ code: 'HOLT_POSITION_EXPIRED' })
      else {
        expect(error, damage).toMatchObject({ code: 'HOLT_CORRUPT' })
        expect(String(error)).toContain(name)
      }
      expect(told).toEqual(commits.slice(0, told.length))
      // Writing goes on, checkpoints too, and the rest of the history is as it was.
      await tree.put('new', 'x')
      await db.checkpoint()
      const from = commits[commits.length - 100].version
      const rest = await read(db, from)
      expect(rest.error).toBeUndefined()
      expect(rest.commits.slice(0, -1)).toEqual(commits.slice(-99))
      await db.close()
      const again = await openDb(image)
      expect((await read(again.db, from)).commits).toEqual(rest.commits)
      expect((await again.db.verify()).problems).toEqual([])
      await again.db.close()
    }
  })
})

describe('a bulk load', () => {
  const entries = Array.from({ length: 400 }, (_, i): [string, string] => [
    String(i).padStart(4, '0'),
    'x'.repeat(50),
  ])

  /** Loads, and takes an image of a power loss at each call that changes a file, with what a feed has told by then. */
  async function load(fails: boolean): Promise<{
    readonly images: readonly { readonly disk: SimDisk; readonly told: readonly string[] }[]
    readonly told: readonly string[]
  }> {
    const disk = new SimDisk({ seed: 8 })
    const told: string[] = []
    const images: { disk: SimDisk; told: string[] }[] = []
    let isOn = false
    const { io, db } = await openDb(
      disk,
      {},
      {
        onCall: ({ number, operation }) => {
          if (!isOn || operation === 'read') return
          images.push({ disk: disk.crashImage({ seed: number, keepSectors: 0 }), told: [...told] })
        },
      },
    )
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    const feed = tree.changes()
    const following = (async () => {
      for await (const { changes } of feed) told.push(...changes.map(({ kind }) => kind))
    })()
    await db.checkpoint()
    isOn = true
    // There is little to load, so the checkpoint before the last step has nothing to do.
    if (fails) io.faults.add({ operation: 'sync', path: 'blobs.dat', nth: 1, errno: 'EIO' })
    const loaded = tree.bulkLoad(entries, { sorted: true })
    if (fails) await expect(loaded).rejects.toMatchObject({ code: 'HOLT_IO' })
    else await loaded
    await db.sync()
    isOn = false
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
    images.push({ disk: disk.crashImage(1), told: [...told] })
    await db.close()
    await following
    return { images, told }
  }

  test('is told once no power loss can take it back', async () => {
    const { images, told } = await load(false)
    expect(told).toEqual(['bulkLoad'])
    expect(images.length).toBeGreaterThan(5)
    const outcomes = new Set<string>()
    for (const { disk, told: toldThen } of images) {
      const { db } = await openDb(disk)
      const { keys } = (await db.tree('t', { valueEncoding: 'utf8' })).count()
      if (toldThen.length > 0) expect(keys).toBe(400)
      outcomes.add(`${String(toldThen.length)} ${String(keys)}`)
      await db.close()
    }
    expect([...outcomes]).toEqual(expect.arrayContaining(['0 0', '1 400']))
  })

  test('that fails in its last step is told together with what took it back', async () => {
    const { images, told } = await load(true)
    expect(told).toEqual(['bulkLoad', 'deletePrefix'])
    for (const { disk, told: toldThen } of images) {
      // Not before the record that deletes is on the medium.
      if (toldThen.length === 0) continue
      const { db } = await openDb(disk)
      expect((await db.tree('t', { valueEncoding: 'utf8' })).count().keys).toBe(0)
      await db.close()
    }
  })
})
