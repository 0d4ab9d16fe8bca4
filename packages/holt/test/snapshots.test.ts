import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Db, type DbView, LIMITS, open, openMemory, type Tree } from '../src/index.js'

const OPTIONS = {
  usableFrameBytes: 12_288,
  cacheBytes: 16 * 524_288,
  backgroundCompaction: false,
  checkpoint: { thread: false, intervalMs: 1_000_000 },
} as const
const KEYS = 400
const UTF8 = { valueEncoding: 'utf8' } as const

const code = (expected: string): Error => expect.objectContaining({ code: expected }) as Error
const keyOf = (i: number): string => `dir-${String(i % 7)}/file-${String(i).padStart(4, '0')}`
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function fill(tree: Tree<string, string>, value: string, keys = KEYS): Promise<void> {
  for (let i = 0; i < keys; i++) await tree.put(keyOf(i), `${value} ${String(i)}`.padEnd(60, '.'))
}

type Content = readonly { readonly key: string; readonly value: string }[]

function contentOf(db: Db | DbView, name = 't'): Promise<Content> | Content {
  const list = (reader: { scan(): Iterable<{ key: string; value: string; version: number }> }): Content =>
    [...reader.scan()].map(({ key, value, version }) => ({ key, value, version }))
  return 'snapshot' in db ? db.tree(name, UTF8).then(list) : list(db.tree(name, UTF8))
}

async function snapshotContent(db: Db, name: string): Promise<Content> {
  using view = db.openSnapshot(name)
  return await contentOf(view)
}

/** Lets the background give back what nothing sees. */
async function givenBack(db: Db): Promise<void> {
  while (db.stats().reclaim.unlinkedFrames > 0) await turn()
}

/** A database whose frames are all the tree's. */
async function holdsNothing(db: Db): Promise<void> {
  await givenBack(db)
  await db.checkpoint()
  const { problems, blobIds, unlinkedBlobIds } = await db.verify()
  expect([problems, unlinkedBlobIds]).toEqual([[], []])
  expect(db.stats().views.heldFrames).toBe(0)
  expect(db.stats().store.blobs).toBe(blobIds.length)
}

/** What a killed process leaves. */
function copyStore(from: string, to: string): string {
  mkdirSync(to)
  for (const name of readdirSync(from))
    if (!name.startsWith('lock')) copyFileSync(join(from, name), join(to, name))
  return to
}

describe('a snapshot of a database in memory', () => {
  let db: Db
  let tree: Tree<string, string>
  beforeEach(async () => {
    db = await openMemory({ usableFrameBytes: 12_288 })
    tree = await db.tree('t', UTF8)
    await fill(tree, 'old')
  })
  afterEach(() => db.close())

  it('shows all trees as they were when it was taken, as often as it is opened, until it is dropped', async () => {
    const before = await contentOf(db)
    const versionBefore = db.version
    const taken = await db.snapshot('first')
    expect(taken).toMatchObject({ name: 'first', version: db.version })
    expect(taken.version).toBeGreaterThan(versionBefore)
    expect(Math.abs(taken.takenAt.getTime() - Date.now())).toBeLessThan(60_000)
    expect(db.snapshots()).toEqual([taken])
    await fill(tree, 'new')
    await tree.put('large', 'L'.repeat(20_000))
    await tree.deletePrefix('dir-3/')
    const second = await db.snapshot('second')
    const between = await contentOf(db)
    await tree.renamePrefix('dir-4/', 'moved/')
    await tree.delete('large')
    await db.dropTree('t')

    expect(db.snapshots()).toEqual([taken, second])
    using one = db.openSnapshot('first')
    expect(one.version).toBe(taken.version)
    expect(await contentOf(one)).toEqual(before)
    using two = db.openSnapshot('second')
    expect(await contentOf(two)).toEqual(between)
    expect(two.tree('t', { ...UTF8, prefix: 'dir-4/' }).count().keys).toBe(57)
    using again = db.openSnapshot('first')
    one.close()
    expect(await contentOf(again)).toEqual(before)
    expect((await db.verify()).problems).toEqual([])

    await db.dropSnapshot('first')
    expect(() => db.openSnapshot('first')).toThrow(code('HOLT_NOT_FOUND'))
    expect(db.snapshots()).toEqual([second])
    // The view was there before.
    await givenBack(db)
    expect(await contentOf(again)).toEqual(before)
    again.close()
    two.close()
    await db.dropSnapshot('second')
    await givenBack(db)
    expect(db.stats().views).toMatchObject({ open: 0, heldFrames: 0 })
    const { problems, unlinkedBlobIds } = await db.verify()
    expect([problems, unlinkedBlobIds]).toEqual([[], []])
  })

  it('has a name of its own: bad input changes nothing', async () => {
    await db.snapshot('s')
    const { version } = db
    await expect(db.snapshot('s')).rejects.toThrow(code('HOLT_EXISTS'))
    await expect(db.dropSnapshot('other')).rejects.toThrow(code('HOLT_NOT_FOUND'))
    expect(() => db.openSnapshot('other')).toThrow(code('HOLT_NOT_FOUND'))
    const longest = 'ü'.repeat(LIMITS.maxSnapshotNameBytes / 2)
    for (const bad of ['', 7, undefined, `${longest}x`]) {
      await expect(db.snapshot(bad as string)).rejects.toThrow(code('HOLT_INVALID_ARGUMENT'))
      await expect(db.dropSnapshot(bad as string)).rejects.toThrow(code('HOLT_INVALID_ARGUMENT'))
      expect(() => db.openSnapshot(bad as string)).toThrow(code('HOLT_INVALID_ARGUMENT'))
    }
    await expect(db.snapshot('\ud800')).rejects.toThrow(code('HOLT_INVALID_KEY'))
    await expect(db.snapshot('x', { durability: 'disk' })).rejects.toThrow(code('HOLT_INVALID_ARGUMENT'))
    await expect(db.dropSnapshot('s', { force: true } as object)).rejects.toThrow(
      code('HOLT_INVALID_ARGUMENT'),
    )
    expect([db.version, db.snapshots().length]).toEqual([version, 1])
    await db.snapshot(longest)
    expect(db.snapshots().map(({ name }) => name)).toEqual(['s', longest])
    // A name is free at once.
    void db.dropSnapshot('s')
    await tree.put('a', 'between')
    await db.snapshot('s')
    expect((await snapshotContent(db, 's')).some(({ key }) => key === 'a')).toBe(true)
  })

  it('comes in the order of the calls, also where writes wait', async () => {
    let taken: Promise<unknown> | undefined
    let failed: Promise<unknown> | undefined
    tree.visit(keyOf(1), () => {
      void tree.put('a', 'before')
      taken = db.snapshot('s')
      failed = expect(db.snapshot('s')).rejects.toThrow(code('HOLT_EXISTS'))
      void tree.put('a', 'behind')
      expect(db.snapshots()).toEqual([])
    })
    await Promise.all([taken, failed])
    using view = db.openSnapshot('s')
    expect(view.tree('t', UTF8).get('a')).toBe('before')
    await tree.put('b', '')
    expect(tree.get('a')).toBe('behind')
  })

  it('fails with HOLT_CLOSED once the database was closed', async () => {
    await db.snapshot('s')
    const view = db.openSnapshot('s')
    await db.close()
    await expect(db.snapshot('t')).rejects.toThrow(code('HOLT_CLOSED'))
    await expect(db.dropSnapshot('s')).rejects.toThrow(code('HOLT_CLOSED'))
    expect(() => db.snapshots()).toThrow(code('HOLT_CLOSED'))
    expect(() => db.openSnapshot('s')).toThrow(code('HOLT_CLOSED'))
    expect(() => view.tree('t', UTF8)).toThrow(code('HOLT_CLOSED'))
  })
})

describe('a snapshot of a database on disk', () => {
  let directory: string
  let path: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'holt-snapshots-'))
    path = join(directory, 'db')
  })
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true })
  })

  it.each([
    ['os', 'in the image, by a close', 'close'],
    ['disk', 'in the image, by a close', 'close'],
    ['memory', 'in the image, by a close', 'close'],
    ['os', 'in the image, by a checkpoint before a kill', 'checkpoint'],
    ['disk', 'in the image, by a checkpoint before a kill', 'checkpoint'],
    ['memory', 'in the image, by a checkpoint before a kill', 'checkpoint'],
    ['os', 'in the journal, before a kill', 'kill'],
    ['disk', 'in the journal, before a kill', 'kill'],
  ] as const)('of durability %s is there again when it was %s', async (durability, _how, how) => {
    const options = { ...OPTIONS, durability }
    let db = await open(path, options)
    let tree = await db.tree('t', UTF8)
    await fill(tree, 'old')
    await tree.put('large', 'L'.repeat(20_000))
    await db.checkpoint()
    // Writes before it, between it and the image's end, and behind.
    await fill(tree, 'mid', 100)
    const first = await db.snapshot('first')
    const atFirst = await contentOf(db)
    await fill(tree, 'new', 200)
    await tree.put('large', 'M'.repeat(30_000))
    await tree.deletePrefix('dir-2/')
    await db.snapshot('gone')
    const second = await db.snapshot('second')
    const atSecond = await contentOf(db)
    if (how === 'checkpoint') await db.checkpoint()
    if (how !== 'checkpoint') await tree.renamePrefix('dir-5/', 'moved/')
    if (how !== 'checkpoint') await fill(tree, 'newest', 50)
    if (how !== 'checkpoint') await db.dropSnapshot('gone')
    let at = path
    if (how === 'close') await db.close()
    else {
      at = copyStore(path, join(directory, 'dead'))
      await db.close()
    }

    for (let life = 0; life < 3; life++) {
      db = await open(at, options)
      if (life === 0 && how === 'checkpoint') await db.dropSnapshot('gone')
      expect(db.snapshots()).toEqual([first, second])
      expect(await snapshotContent(db, 'first')).toEqual(atFirst)
      expect(await snapshotContent(db, 'second')).toEqual(atSecond)
      tree = await db.tree('t', UTF8)
      await fill(tree, `life ${String(life)}`, 150)
      await tree.put('large', `${String(life)} `.repeat(9_000))
      if (life === 1) await db.compact()
      if (life === 1) await db.vacuum()
      await givenBack(db)
      expect(await snapshotContent(db, 'first')).toEqual(atFirst)
      expect(await snapshotContent(db, 'second')).toEqual(atSecond)
      expect((await db.verify()).problems).toEqual([])
      await db.close()
    }

    db = await open(at, options)
    await db.dropSnapshot('first')
    await givenBack(db)
    expect(await snapshotContent(db, 'second')).toEqual(atSecond)
    await db.close()
    db = await open(at, options)
    expect(await snapshotContent(db, 'second')).toEqual(atSecond)
    await db.dropSnapshot('second')
    await holdsNothing(db)
    await db.close()
  })

  it.each([
    ['newest first', [3, 2, 1, 0]],
    ['oldest first', [0, 1, 2, 3]],
    ['from the middle', [1, 3, 0, 2]],
  ])(
    'may be one of several that see the same frames, dropped in any order over openings: %s',
    async (_order, order) => {
      let db = await open(path, OPTIONS)
      const tree = await db.tree('t', UTF8)
      const contents: Content[] = []
      await fill(tree, 'old')
      await tree.put('large', 'L'.repeat(20_000))
      for (let number = 0; number < 4; number++) {
        if (number > 1) await fill(tree, `part ${String(number)}`, 40)
        await db.snapshot(String(number))
        contents.push(await contentOf(db))
      }
      await fill(tree, 'new')
      await tree.put('large', 'M'.repeat(30_000))
      await tree.deletePrefix('dir-4/')
      for (const [i, number] of order.entries()) {
        await db.close()
        db = await open(path, OPTIONS)
        await db.dropSnapshot(String(number))
        await givenBack(db)
        for (const left of order.slice(i + 1))
          expect(await snapshotContent(db, String(left))).toEqual(contents[left])
        expect((await db.verify()).problems).toEqual([])
      }
      await holdsNothing(db)
      await db.close()
    },
  )

  it('dropped in the journal is gone after a kill, and what it held comes back', async () => {
    const db = await open(path, OPTIONS)
    const tree = await db.tree('t', UTF8)
    await fill(tree, 'old')
    await db.snapshot('in the image')
    await fill(tree, 'new')
    await db.checkpoint()
    await db.snapshot('never in an image')
    await fill(tree, 'newest', 100)
    await db.dropSnapshot('in the image')
    await db.dropSnapshot('never in an image')
    await tree.put('a', 'b')
    const content = await contentOf(db)
    const dead = copyStore(path, join(directory, 'dead'))
    await db.close()

    const again = await open(dead, OPTIONS)
    expect(again.snapshots()).toEqual([])
    expect(await contentOf(again)).toEqual(content)
    await (await again.tree('t', UTF8)).put('x', 'y')
    await holdsNothing(again)
    await again.close()
  })

  it('costs no frame once all are dropped, against a database that never had any', async () => {
    const play = async (at: string, snapshots: boolean): Promise<number> => {
      let db = await open(at, OPTIONS)
      for (let round = 0; round < 6; round++) {
        const tree = await db.tree('t', UTF8)
        await fill(tree, `round ${String(round)}`)
        await tree.put('large', `${String(round)} `.repeat(9_000))
        if (snapshots) await db.snapshot(`round ${String(round)}`)
        if (round === 2) await tree.deletePrefix('dir-1/')
        if (round === 3) await tree.renamePrefix('dir-2/', 'dir-9/')
        if (round === 1) await db.checkpoint()
        if (snapshots && round === 4) await db.dropSnapshot('round 1')
        if (round % 2 === 0) {
          await db.close()
          db = await open(at, OPTIONS)
        }
      }
      for (const { name } of db.snapshots()) await db.dropSnapshot(name)
      await holdsNothing(db)
      const { blobs } = db.stats().store
      await db.close()
      return blobs
    }
    const without = await play(join(directory, 'without'), false)
    expect(without).toBeGreaterThan(10)
    expect(await play(join(directory, 'with'), true)).toBe(without)
  })

  it('is taken and dropped without a write beside it: sync, checkpoint, timer and backup see to it', async () => {
    let db = await open(path, OPTIONS)
    await fill(await db.tree('t', UTF8), 'old')
    await db.close()
    db = await open(path, OPTIONS)
    const content = await contentOf(db)
    await db.snapshot('s')
    const { checkpoint } = db.stats()
    await db.checkpoint()
    expect(db.stats().checkpoint?.succeeded).toBe((checkpoint?.succeeded ?? 0) + 1)
    await db.checkpoint()
    expect(db.stats().checkpoint?.succeeded).toBe((checkpoint?.succeeded ?? 0) + 1)
    await db.snapshot('only in the journal')
    await db.sync()
    const dead = copyStore(path, join(directory, 'dead'))
    await db.dropSnapshot('s')
    await db.backup(join(directory, 'copy'))
    await db.close()

    const copy = await open(join(directory, 'copy'), OPTIONS)
    expect(copy.snapshots().map(({ name }) => name)).toEqual(['only in the journal'])
    expect(await snapshotContent(copy, 'only in the journal')).toEqual(content)
    await copy.dropSnapshot('only in the journal')
    await holdsNothing(copy)
    await copy.close()

    // Replayed only: an image is to be made of it all the same.
    const again = await open(dead, OPTIONS)
    await again.checkpoint()
    expect(again.stats().checkpoint?.succeeded).toBe(1)
    expect(again.snapshots()).toHaveLength(2)
    await again.close()
    const timed = await open(dead, { ...OPTIONS, checkpoint: { thread: false, intervalMs: 10 } })
    await timed.dropSnapshot('s')
    while (timed.stats().checkpoint?.succeeded === 0) await turn()
    await timed.close()
  })

  it('called for before a close that does not wait for it is taken', async () => {
    let db = await open(path, OPTIONS)
    const tree = await db.tree('t', UTF8)
    await tree.put('a', '1')
    await db.close()
    db = await open(path, OPTIONS)
    // The first write of an opening makes the files ready first.
    const taken = db.snapshot('s')
    await db.close()
    await taken
    db = await open(path, OPTIONS)
    expect((await snapshotContent(db, 's')).length).toBe(1)
    await db.close()
  })

  it('is in a backup with what it shows, and in a database that is opened for reading', async () => {
    const db = await open(path, OPTIONS)
    const tree = await db.tree('t', UTF8)
    await fill(tree, 'old')
    const taken = await db.snapshot('s')
    const content = await contentOf(db)
    await fill(tree, 'new')
    await db.backup(join(directory, 'copy'))
    await db.snapshot('in the journal')
    const later = await contentOf(db)
    await fill(tree, 'newest')

    const reader = await open(path, { ...OPTIONS, readOnly: true })
    expect(reader.snapshots().map(({ name }) => name)).toEqual(['s', 'in the journal'])
    expect(await snapshotContent(reader, 's')).toEqual(content)
    expect(await snapshotContent(reader, 'in the journal')).toEqual(later)
    await expect(reader.snapshot('x')).rejects.toThrow(code('HOLT_READ_ONLY'))
    await expect(reader.dropSnapshot('s')).rejects.toThrow(code('HOLT_READ_ONLY'))
    expect((await reader.verify()).problems).toEqual([])
    await reader.close()
    await db.close()

    const copy = await open(join(directory, 'copy'), OPTIONS)
    expect(copy.snapshots()).toEqual([taken])
    expect(await snapshotContent(copy, 's')).toEqual(content)
    await copy.dropSnapshot('s')
    await holdsNothing(copy)
    await copy.close()
  })

  it('is no change that a feed tells, and a feed goes on behind it at its version', async () => {
    const db = await open(path, { ...OPTIONS, durability: 'disk' })
    const tree = await db.tree('t', UTF8)
    await tree.put('a', '1')
    const { version } = await db.snapshot('s')
    await tree.put('b', '2')
    await db.dropSnapshot('s')
    await tree.put('c', '3')
    const told = []
    for await (const { changes } of tree.changes(0)) {
      told.push(...changes.map((change) => ('key' in change ? change.key : change.kind)))
      if (told.at(-1) === 'c') break
    }
    expect(told).toEqual(['createTree', 'a', 'b', 'c'])
    const feed = db.changes(version)
    const next = await feed.next()
    expect(next.value?.changes).toMatchObject([{ kind: 'put', tree: 't' }])
    expect(next.value?.version).toBe(version + 1)
    await feed.return()
    await db.close()
  })

  it('taken while keys are loaded does not show them, nor lose what it shows to them', async () => {
    let db = await open(path, OPTIONS)
    const other = await db.tree('t', UTF8)
    await fill(other, 'old', 50)
    const loaded = await db.tree('loaded', UTF8)
    const entries = async function* (): AsyncGenerator<readonly [string, string]> {
      for (let i = 0; i < 500; i++) {
        if (i === 250) await db.snapshot('during')
        yield [keyOf(i), 'loaded'.repeat(20)]
      }
    }
    await loaded.bulkLoad(entries())
    await db.snapshot('behind')
    await loaded.deletePrefix('dir-1/')
    await db.close()
    db = await open(path, OPTIONS)
    expect(await snapshotContent(db, 'during')).toHaveLength(50)
    {
      using during = db.openSnapshot('during')
      using behind = db.openSnapshot('behind')
      expect(during.tree('loaded', UTF8).count().keys).toBe(0)
      expect(behind.tree('loaded', UTF8).count().keys).toBe(500)
    }
    expect((await db.verify()).problems).toEqual([])
    await db.dropSnapshot('during')
    await db.dropSnapshot('behind')
    await holdsNothing(db)
    await db.close()
  })
})
