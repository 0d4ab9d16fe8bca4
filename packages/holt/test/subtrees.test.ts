import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Db, open, openMemory, type Tree } from '../src/index.js'

/** Small frames: a few hundred keys already spread over many. */
const USABLE_BYTES = 4_096 + 8_192

async function put(tree: Tree<string, string>, prefix: string, count: number): Promise<void> {
  const writes: Promise<void>[] = []
  for (let i = 0; i < count; i++)
    writes.push(tree.put(`${prefix}${String(i).padStart(6, '0')}`, 'v'.repeat(60)))
  await Promise.all(writes)
}

async function sound(db: Db): Promise<void> {
  expect((await db.verify()).problems).toEqual([])
}

/** Lets the background give back what was unlinked. */
async function givenBack(db: Db): Promise<void> {
  while (db.stats().reclaim.unlinkedFrames > 0) await new Promise((resolve) => setImmediate(resolve))
}

describe('deletePrefix', () => {
  it('deletes what begins with the prefix, at once, and gives the frames back behind it', async () => {
    await using db = await openMemory({ usableFrameBytes: USABLE_BYTES })
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await put(tree, 'a/', 50)
    await put(tree, 'b/', 2_000)
    await put(tree, 'c/', 50)
    const frames = db.treeStatistics().frames
    expect(await tree.deletePrefix('b/')).toBe(true)
    expect([...tree.keys()].length).toBe(100)
    expect([...tree.keys({ prefix: 'b' })]).toEqual([])
    await sound(db)
    expect((await db.verify()).unlinkedBlobIds.length).toBeGreaterThan(frames / 2)
    await givenBack(db)
    expect((await db.verify()).unlinkedBlobIds).toEqual([])
    await sound(db)
    expect(db.stats().reclaim.freedFrames).toBeGreaterThan(frames / 2)
    expect(await tree.deletePrefix('b/')).toBe(false)
    expect(await tree.deletePrefix('')).toBe(true)
    expect([...tree.keys()]).toEqual([])
  })

  it('of another tree leaves this one alone', async () => {
    await using db = await openMemory({ usableFrameBytes: USABLE_BYTES })
    const one = await db.tree('one', { valueEncoding: 'utf8' })
    const two = await db.tree('two', { valueEncoding: 'utf8' })
    await put(one, '', 500)
    await put(two, '', 500)
    expect(await one.deletePrefix('')).toBe(true)
    expect([...one.keys()].length).toBe(0)
    expect([...two.keys()].length).toBe(500)
    expect((await db.tree('one', { valueEncoding: 'utf8' })).get('x')).toBeUndefined()
  })

  it('in a batch stands in order with the other operations', async () => {
    await using db = await openMemory({ usableFrameBytes: USABLE_BYTES })
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await put(tree, 'd/', 300)
    const first = await db.atomic((tx) => {
      tx.in(tree)
        .put('d/early', 'gone')
        .deletePrefix('d/')
        .putIfAbsent('d/000000', 'new')
        .put('d/late', 'stays')
    })
    expect(first.committed).toBe(true)
    expect([...tree.scan()].map(({ key, value }) => [key, value])).toEqual([
      ['d/000000', 'new'],
      ['d/late', 'stays'],
    ])
    const second = await db.atomic((tx) => {
      tx.in(tree).deletePrefix('d/').rename('d/late', 'e')
    })
    expect(second).toMatchObject({ committed: false, failed: { index: 1, reason: 'not-found' } })
    expect([...tree.keys()]).toEqual(['d/000000', 'd/late'])
    await sound(db)
  })

  it('after db.close() is HOLT_CLOSED, with a key that is none HOLT_INVALID_KEY', async () => {
    const db = await openMemory()
    const tree = await db.tree('t')
    await expect(tree.deletePrefix(7 as unknown as string)).rejects.toMatchObject({
      code: 'HOLT_INVALID_KEY',
    })
    await db.close()
    await expect(tree.deletePrefix('a')).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
  })
})

describe('dropTree', () => {
  it('G15: frees the name at once, and fences what held the tree', async () => {
    await using db = await openMemory({ usableFrameBytes: USABLE_BYTES })
    const old = await db.tree('t', { valueEncoding: 'utf8' })
    await put(old, 'k', 1_000)
    const walk = old.keys()
    walk.next()
    await db.dropTree('t')
    const dropped = expect.objectContaining({ code: 'HOLT_TREE_DROPPED' }) as Error
    expect(() => old.get('k000000')).toThrow(dropped)
    expect(() => walk.next()).toThrow(dropped)
    expect(() => old.list()).toThrow(dropped)
    await expect(old.put('a', 'b')).rejects.toThrow(dropped)
    await expect(old.deletePrefix('a')).rejects.toThrow(dropped)
    await expect(db.atomic((tx) => tx.in(old).put('a', 'b'))).rejects.toThrow(dropped)
    // Another encoding: it is another tree.
    const fresh = await db.tree('t', { valueEncoding: 'json' })
    expect([...fresh.keys()]).toEqual([])
    await fresh.put('a', 1)
    expect(fresh.get('a')).toBe(1)
    await givenBack(db)
    await sound(db)
  })

  it('of a name that is not there, twice at once or with a wrong name', async () => {
    await using db = await openMemory()
    await expect(db.dropTree('no')).rejects.toMatchObject({ code: 'HOLT_NOT_FOUND' })
    await expect(db.dropTree('')).rejects.toMatchObject({ code: 'HOLT_INVALID_ARGUMENT' })
    await db.tree('t')
    const both = await Promise.allSettled([db.dropTree('t'), db.dropTree('t')])
    expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  })

  it('a drop and an opening at once give a new, empty tree', async () => {
    await using db = await openMemory()
    const old = await db.tree('t', { valueEncoding: 'utf8' })
    await old.put('a', 'b')
    const [, fresh] = await Promise.all([db.dropTree('t'), db.tree('t', { valueEncoding: 'utf8' })])
    expect(fresh.get('a')).toBeUndefined()
    await fresh.put('c', 'd')
    expect([...fresh.keys()]).toEqual(['c'])
  })
})

describe('on disk', () => {
  let directory = ''
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'holt-subtrees-'))
  })
  afterEach(async () => {
    await rm(directory, { recursive: true, force: true })
  })
  const reopen = (): Promise<Db> =>
    open(join(directory, 'db'), {
      usableFrameBytes: USABLE_BYTES,
      cacheBytes: 16 * 524_288,
      checkpoint: { thread: false },
    })

  it('unlinked frames are given back after a reopening, none is lost', async () => {
    let db = await reopen()
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await put(tree, 'big/', 6_000)
    await put(tree, 'small/', 30)
    await db.checkpoint()
    expect(await tree.deletePrefix('big/')).toBe(true)
    // The background has had no turn to come far.
    await db.close()
    db = await reopen()
    const unlinked = db.stats().reclaim.unlinkedFrames
    expect(unlinked).toBeGreaterThan(0)
    await sound(db)
    // An open that only reads changes nothing: the first write wakes the background.
    const again = await db.tree('t', { valueEncoding: 'utf8' })
    expect([...again.keys()].length).toBe(30)
    expect(db.stats().reclaim.unlinkedFrames).toBe(unlinked)
    await again.put('x', 'y')
    await givenBack(db)
    await sound(db)
    expect((await db.verify()).unlinkedBlobIds).toEqual([])
    await db.checkpoint()
    expect(db.stats().store.blobs).toBe((await db.verify()).blobIds.length)
    await db.close()
  })

  it('a cache that cannot hold the tree deletes it nevertheless', async () => {
    let db = await reopen()
    let tree = await db.tree('t', { valueEncoding: 'utf8' })
    await put(tree, 'big/', 6_000)
    await db.close()
    db = await reopen()
    tree = await db.tree('t', { valueEncoding: 'utf8' })
    const loadsBefore = db.stats().cache.loads
    expect(await tree.deletePrefix('big/')).toBe(true)
    // It is in the depth, not in the number of frames.
    expect(db.stats().cache.loads - loadsBefore).toBeLessThan(8)
    expect([...tree.keys()]).toEqual([])
    await givenBack(db)
    await sound(db)
    await db.close()
  })
})

describe('renamePrefix', () => {
  it('moves what begins with the prefix, with values and versions, at any length of it', async () => {
    await using db = await openMemory({ usableFrameBytes: USABLE_BYTES })
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await put(tree, 'photos/2024/', 1_500)
    await put(tree, 'photos/2025/', 20)
    const before = [...tree.scan({ prefix: 'photos/2024/' })]
    // In the middle of a name.
    await tree.renamePrefix('photos/20', 'old/19')
    expect([...tree.keys({ prefix: 'photos' })]).toEqual([])
    const moved = [...tree.scan({ prefix: 'old/1924/' })]
    expect(moved).toEqual(before.map((entry) => ({ ...entry, key: `old/19${entry.key.slice(9)}` })))
    expect([...tree.keys({ prefix: 'old/1925/' })].length).toBe(20)
    await sound(db)
    await tree.put('old/1924/zzz', 'new')
    await tree.renamePrefix('old/1924/', 'a')
    expect(tree.get('azzz')).toBe('new')
    expect([...tree.keys()].length).toBe(1_521)
    await sound(db)
  })

  it('refuses what it must, and changes nothing by it', async () => {
    await using db = await openMemory({ usableFrameBytes: USABLE_BYTES })
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await put(tree, 'a/', 300)
    await put(tree, 'b/', 300)
    const before = [...tree.scan()]
    await expect(tree.renamePrefix('a/', 'b/')).rejects.toMatchObject({ code: 'HOLT_EXISTS' })
    await expect(tree.renamePrefix('c/', 'd/')).rejects.toMatchObject({ code: 'HOLT_NOT_FOUND' })
    await expect(tree.renamePrefix('a/', 'a/x')).rejects.toMatchObject({ code: 'HOLT_INVALID_ARGUMENT' })
    await expect(tree.renamePrefix('a/x', 'a/')).rejects.toMatchObject({ code: 'HOLT_INVALID_ARGUMENT' })
    await expect(tree.renamePrefix('a/', 'a/')).rejects.toMatchObject({ code: 'HOLT_INVALID_ARGUMENT' })
    await expect(tree.renamePrefix('', 'z')).rejects.toMatchObject({ code: 'HOLT_INVALID_ARGUMENT' })
    // The longest key of these frames has 256 - 4 bytes.
    await expect(tree.renamePrefix('a/', 'x'.repeat(250))).rejects.toMatchObject({
      code: 'HOLT_KEY_TOO_LONG',
    })
    expect([...tree.scan()]).toEqual(before)
    await tree.renamePrefix('a/', 'x'.repeat(246))
    await sound(db)
    await tree.renamePrefix('x', 'b', { force: true })
    expect([...tree.keys()].length).toBe(300)
    expect([...tree.keys()].every((key) => key.startsWith(`b${'x'.repeat(245)}`))).toBe(true)
    await sound(db)
  })

  it('in a batch sees what came before it, and is seen by what comes behind', async () => {
    await using db = await openMemory({ usableFrameBytes: USABLE_BYTES })
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await put(tree, 'd/', 400)
    const record = tree.getRecord('d/000007')
    if (record === undefined) throw new Error('it was put')
    const done = await db.atomic((tx) => {
      tx.in(tree)
        .put('d/new', '1')
        .delete('d/000001')
        .renamePrefix('d/', 'e/')
        .putIfAbsent('d/000000', 'here again')
        .compareAndPut('e/000007', 'swapped', record.version)
        .rename('e/new', 'f')
        .renamePrefix('e/0003', 'g/')
        .delete('g/99')
        .deletePrefix('e/0002')
    })
    expect(done.committed).toBe(true)
    expect(tree.get('d/000000')).toBe('here again')
    expect(tree.get('e/000007')).toBe('swapped')
    expect(tree.get('f')).toBe('1')
    expect(tree.has('e/000001')).toBe(false)
    expect([...tree.keys({ prefix: 'e/' })].length).toBe(199)
    expect([...tree.keys({ prefix: 'g/' })].length).toBe(99)
    await sound(db)

    const before = [...tree.scan()]
    const failing = (
      collect: (batch: ReturnType<Parameters<Parameters<Db['atomic']>[0]>[0]['in']>) => void,
    ): ReturnType<Db['atomic']> => db.atomic((tx) => { collect(tx.in(tree)) }) // prettier-ignore
    expect(await failing((batch) => batch.deletePrefix('e/').renamePrefix('e/', 'h/'))).toMatchObject({
      failed: { index: 1, reason: 'not-found' },
    })
    expect(await failing((batch) => batch.put('h/1', '').renamePrefix('e/', 'h/'))).toMatchObject({
      failed: { index: 1, reason: 'exists' },
    })
    expect(
      await failing((batch) =>
        batch.renamePrefix('e/', 'h/').renamePrefix('h/0000', 'i/').putIfAbsent('i/07', ''),
      ),
    ).toMatchObject({ failed: { index: 2, reason: 'exists' } })
    // Everything below was deleted one by one.
    expect(
      await failing((batch) => {
        for (const key of tree.keys({ prefix: 'g/' })) batch.delete(key)
        batch.renamePrefix('g/', 'h/')
      }),
    ).toMatchObject({ failed: { index: 99, reason: 'not-found' } })
    expect([...tree.scan()]).toEqual(before)
  })

  it('with frames on disk: a batch on a moved subtree, replay, and a cache that holds none of it', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'holt-subtrees-'))
    const reopen = (): Promise<Db> =>
      open(join(directory, 'db'), {
        usableFrameBytes: USABLE_BYTES,
        cacheBytes: 16 * 524_288,
        checkpoint: { thread: false },
      })
    try {
      let db = await reopen()
      let tree = await db.tree('t', { valueEncoding: 'utf8' })
      await put(tree, 'big/', 6_000)
      await db.close()
      db = await reopen()
      tree = await db.tree('t', { valueEncoding: 'utf8' })
      const loadsBefore = db.stats().cache.loads
      await tree.renamePrefix('big/', 'large/')
      expect(db.stats().cache.loads - loadsBefore).toBeLessThan(8)
      // Its frames are known below the old name only while the batch is being prepared.
      await db.atomic((tx) => {
        tx.in(tree).renamePrefix('large/', 'huge/').put('huge/003333x', 'new').delete('huge/005000')
      })
      expect(tree.get('huge/003333x')).toBe('new')
      expect([...tree.keys()].length).toBe(6_000)
      await sound(db)
      await db.close()
      db = await reopen()
      tree = await db.tree('t', { valueEncoding: 'utf8' })
      expect([...tree.keys({ prefix: 'huge/' })].length).toBe(6_000)
      await sound(db)
      await db.close()
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
})
