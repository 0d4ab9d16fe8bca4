import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CHANNELS, type Db, json, open, openMemory, type Tree } from '../src/index.js'

const SMALL_FRAMES = { usableFrameBytes: 12_288 }
const KEYS = 600

const code = (expected: string): Error => expect.objectContaining({ code: expected }) as Error
const keyOf = (i: number): string => `dir-${String(i % 7)}/file-${String(i).padStart(4, '0')}`
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function fill(tree: Tree<string, string>, value: (i: number) => string, keys = KEYS): Promise<void> {
  for (let i = 0; i < keys; i++) await tree.put(keyOf(i), value(i))
}

/** Lets the background give back what no view sees. */
async function givenBack(db: Db): Promise<void> {
  while (db.stats().reclaim.unlinkedFrames > 0) await turn()
}

async function soundWithout(db: Db, held: number): Promise<void> {
  await givenBack(db)
  expect(db.stats().views.heldFrames).toBe(held)
  expect((await db.verify()).problems).toEqual([])
}

describe('a view of a tree', () => {
  let db: Db
  let tree: Tree<string, string>
  beforeEach(async () => {
    db = await openMemory(SMALL_FRAMES)
    tree = await db.tree('t', { valueEncoding: 'utf8' })
    await fill(tree, (i) => `old ${String(i)}`)
    await tree.put('large', 'L'.repeat(20_000))
  })
  afterEach(() => db.close())

  it('leaves frames that are given back many a turn, so that writes without rest do not outrun it', async () => {
    const keys = 6_000
    await fill(tree, (i) => `old ${String(i)}`, keys)
    const view = tree.view()
    await fill(tree, (i) => `new ${String(i)}`, keys)
    const held = db.stats().views.heldFrames
    expect(held).toBeGreaterThan(30)
    view.close()
    let turns = 0
    for (; db.stats().reclaim.unlinkedFrames > 0; turns++) await turn()
    expect(turns).toBeLessThan(held / 4)
    await soundWithout(db, 0)
  })

  it('shows by every read what was there when it was taken, whatever is written later', async () => {
    const before = tree.scan().toArray()
    const record = tree.getRecord(keyOf(5))
    const view = tree.view()
    expect(view.version).toBe(db.version)
    await fill(tree, (i) => `new and longer ${String(i)}`)
    await tree.put('large', 'M'.repeat(30_000))
    await tree.put('another', 'x')
    await tree.deletePrefix('dir-3/')
    await tree.renamePrefix('dir-4/', 'moved/')
    await db.compact()

    expect(view.get(keyOf(5))).toBe('old 5')
    expect(view.getRecord(keyOf(5))).toEqual(record)
    expect(view.has('another')).toBe(false)
    expect(view.has(keyOf(3))).toBe(true)
    expect(view.get('large')).toBe('L'.repeat(20_000))
    expect(Buffer.from(view.readRange('large', 19_000, 5_000) ?? []).toString()).toBe('L'.repeat(1_000))
    const into = new Uint8Array(20)
    expect(view.getInto(keyOf(5), into)).toBe(5)
    expect(Buffer.from(into.subarray(0, 5)).toString()).toBe('old 5')
    expect(view.scan().toArray()).toEqual(before)
    expect([...view.scan({ reverse: true })].reverse()).toEqual(before)
    expect(view.keys().toArray()).toEqual(before.map(({ key }) => key))
    expect(view.values().toArray()).toEqual(before.map(({ value }) => value))
    expect(view.scan({ delimiter: '/' }).toArray()).toHaveLength(8)
    expect(view.list({ limit: 10 }).entries).toEqual(before.slice(0, 10))
    const next = view.list({ limit: 10 }).next ?? ''
    expect(view.list({ after: next, limit: 10 }).entries).toEqual(before.slice(10, 20))
    expect(view.first()).toEqual(before[0])
    expect(view.last()).toEqual(before.at(-1))
    expect(view.count()).toMatchObject({ keys: KEYS + 1, exact: true })
    expect(view.count({ prefix: 'dir-3/' }).keys).toBe(
      before.filter(({ key }) => key.startsWith('dir-3/')).length,
    )
    expect(view.isEmpty({ prefix: 'moved/' })).toBe(true)
    expect(view.longestPrefix(keyOf(3) + '/more')?.key).toBe(keyOf(3))
    let visited = 0
    expect(view.visit(keyOf(5), (value) => void (visited = value.length))).toBe(true)
    expect(visited).toBe(5)
    expect(view.visitRange({}, () => undefined)).toBe(KEYS + 1)
    expect(await view.getAsync(keyOf(6))).toBe('old 6')
    expect(await view.getRecordAsync(keyOf(5))).toEqual(record)
    expect(await view.hasAsync('another')).toBe(false)
    const scanned = []
    for await (const entry of view.scanAsync()) scanned.push(entry)
    expect(scanned).toEqual(before)
    expect((await view.listAsync({ limit: 3 })).entries).toEqual(before.slice(0, 3))
    await view.prefetch([keyOf(1)])
    let streamed = 0
    for await (const part of view.getStream('large')) streamed += part.length
    expect(streamed).toBe(20_000)
    // And the tree itself is another one.
    expect(tree.get(keyOf(5))).toBe('new and longer 5')
    expect(tree.count({ prefix: 'dir-3/' }).keys).toBe(0)
    await soundWithout(db, db.stats().views.heldFrames)
    view.close()
    await soundWithout(db, 0)
  })

  it('has iterators, pages and streams that go on over changes', async () => {
    const before = tree.scan().toArray()
    const view = tree.view()
    const walk = view.scan()
    const found = []
    for (let i = 0; ; i++) {
      const step = walk.next()
      if (step.done === true) break
      found.push(step.value)
      if (i % 40 === 0) await tree.put(keyOf(i), `changed ${String(i)}`)
      if (i === 200) await tree.deletePrefix('dir-')
    }
    expect(found).toEqual(before)
    const stream = view.getStream('large')
    await stream.next()
    await tree.delete('large')
    let bytes = 0
    for await (const part of stream) bytes += part.length
    expect(bytes).toBeGreaterThan(0)
    view.close()
    await soundWithout(db, 0)
  })

  it('may be one of many, closed in any order; what a closed one alone has seen is given back', async () => {
    const views = []
    for (let round = 0; round < 6; round++) {
      views.push(tree.view())
      await fill(tree, (i) => `round ${String(round)} ${String(i)}`)
    }
    expect(db.stats().views).toMatchObject({ open: 6, oldestVersion: views[0].version, lost: 0 })
    for (const [i, view] of views.entries())
      expect(view.get(keyOf(9))).toBe(i === 0 ? 'old 9' : `round ${String(i - 1)} 9`)
    let held = db.stats().views.heldFrames
    for (const i of [2, 0, 5, 3, 1, 4]) {
      views[i].close()
      await givenBack(db)
      expect(db.stats().views.heldFrames).toBeLessThan(held)
      held = db.stats().views.heldFrames
      expect((await db.verify()).problems).toEqual([])
    }
    expect(held).toBe(0)
    expect(db.stats().views).toMatchObject({ open: 0, oldestVersion: undefined })
  })

  it('fails with HOLT_CLOSED once it, or the database, was closed, iterators and streams under way too', async () => {
    const view = tree.view()
    const walk = view.scan()
    walk.next()
    const stream = view.getStream('large')
    await stream.next()
    const scan = view.scanAsync()
    await scan.next()
    const other = tree.view()
    view.close()
    view.close()
    expect(view.closed).toBe(true)
    expect(() => view.get('a')).toThrow(code('HOLT_CLOSED'))
    expect(() => view.list()).toThrow(code('HOLT_CLOSED'))
    expect(() => view.count()).toThrow(code('HOLT_CLOSED'))
    expect(() => view.visitRange({}, () => undefined)).toThrow(code('HOLT_CLOSED'))
    expect(() => walk.next()).toThrow(code('HOLT_CLOSED'))
    await expect(stream.next()).rejects.toThrow(code('HOLT_CLOSED'))
    await expect(scan.next()).rejects.toThrow(code('HOLT_CLOSED'))
    await expect(view.getAsync('a')).rejects.toThrow(code('HOLT_CLOSED'))
    expect(other.get(keyOf(1))).toBe('old 1')
    const closing = db.close()
    expect(() => other.get(keyOf(1))).toThrow(code('HOLT_CLOSED'))
    expect(() => tree.view()).toThrow(code('HOLT_CLOSED'))
    expect(() => db.view()).toThrow(code('HOLT_CLOSED'))
    await closing
  })

  it('closes by its dispose method', () => {
    const view = tree.view()
    view[Symbol.dispose]()
    expect(view.closed).toBe(true)
    const all = db.view()
    all[Symbol.dispose]()
    expect(all.closed).toBe(true)
  })

  it('does not show what waits to be applied', async () => {
    let view: ReturnType<typeof tree.view> | undefined
    tree.visit(keyOf(1), () => {
      void tree.put(keyOf(1), 'waits')
      view = tree.view()
    })
    await tree.put(keyOf(2), 'x')
    expect(tree.get(keyOf(1))).toBe('waits')
    expect(view?.get(keyOf(1))).toBe('old 1')
    view?.close()
  })

  describe('below a prefix', () => {
    it('shows what lies below it, and ranges without a prefix have its', () => {
      const view = tree.view({ prefix: 'dir-2/' })
      expect(view.prefix).toBe('dir-2/')
      const below = tree.scan({ prefix: 'dir-2/' }).toArray()
      expect(view.scan().toArray()).toEqual(below)
      expect(view.count().keys).toBe(below.length)
      expect(view.first()).toEqual(below[0])
      expect(view.list({ limit: 5 }).entries).toEqual(below.slice(0, 5))
      expect(view.scan({ gt: below[3].key }).toArray()).toEqual(below.slice(4))
      expect(view.scan({ prefix: 'dir-2/file-00' }).toArray()).toEqual(
        tree.scan({ prefix: 'dir-2/file-00' }).toArray(),
      )
      expect(view.get(keyOf(9))).toBe('old 9')
      expect(view.longestPrefix(keyOf(9) + 'x')?.key).toBe(keyOf(9))
      view.close()
    })

    it('refuses keys, prefixes and bounds outside with HOLT_OUTSIDE_VIEW', async () => {
      const view = tree.view({ prefix: 'dir-2/' })
      const outside = code('HOLT_OUTSIDE_VIEW')
      for (const key of ['', 'dir-2', 'dir-3/file-0003', 'dir-2'])
        expect(() => view.get(key), key).toThrow(outside)
      expect(() => view.has('x')).toThrow(outside)
      expect(() => view.longestPrefix('dir-')).toThrow(outside)
      expect(() => view.scan({ prefix: 'dir-' })).toThrow(outside)
      expect(() => view.scan({ gte: 'dir-1/' })).toThrow(outside)
      expect(() => view.count({ lt: 'dir-20' })).toThrow(outside)
      expect(() => view.isEmpty({ prefix: '' })).toThrow(outside)
      expect(() => view.visitRange({ prefix: 'd' }, () => undefined)).toThrow(outside)
      expect(() => view.scanAsync({ prefix: 'd' })).toThrow(outside)
      await expect(view.listAsync({ prefix: 'd' })).rejects.toThrow(outside)
      await expect(view.getAsync('x')).rejects.toThrow(outside)
      expect(() => view.getStream('x')).toThrow(outside)
      await expect(view.prefetch(['x'])).rejects.toThrow(outside)
      expect(view.get('dir-2/')).toBeUndefined()
      view.close()
    })

    it('does not give a key that is shorter than the prefix for the longest one', async () => {
      await tree.put('dir', 'short')
      const view = tree.view({ prefix: 'dir-9' })
      expect(tree.longestPrefix('dir-99')?.key).toBe('dir')
      expect(view.longestPrefix('dir-99')).toBeUndefined()
      view.close()
    })

    it('of no bytes is of everything', () => {
      const view = tree.view({ prefix: '' })
      expect(view.count()).toMatchObject({ keys: KEYS + 1 })
      expect(view.has('x')).toBe(false)
      view.close()
    })
  })

  it('with an option that is none is HOLT_INVALID_ARGUMENT, and takes none', () => {
    expect(() => tree.view({ suffix: 'x' } as object)).toThrow(code('HOLT_INVALID_ARGUMENT'))
    expect(() => tree.view({ prefix: '\ud800' })).toThrow(code('HOLT_INVALID_KEY'))
    expect(db.stats().views.open).toBe(0)
  })

  it('that nobody can use any more is closed when the garbage collector finds it, and said so', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    ;(() => {
      const lost = tree.view()
      lost.scan().next()
    })()
    const kept = tree.view().scan()
    kept.next()
    await tree.put(keyOf(1), 'changed')
    for (let i = 0; i < 200 && db.stats().views.lost === 0; i++) {
      collect()
      await turn()
    }
    expect(db.stats().views.lost).toBe(1)
    // An iterator is use.
    expect(db.stats().views.open).toBe(1)
    expect(kept.toArray()).toHaveLength(KEYS)
  })
})

describe('a view of all trees', () => {
  it('shows each as it was at one instant, dropped ones too, and none that is newer', async () => {
    const db = await openMemory(SMALL_FRAMES)
    const names = await db.tree('names', { valueEncoding: json<{ n: number }>() })
    const log = await db.tree('log', { keyEncoding: 'view', valueEncoding: 'utf8' })
    await names.put('a', { n: 1 })
    await log.put(Uint8Array.of(1), 'one')
    const view = db.view()
    await db.atomic((tx) => {
      tx.in(names).put('a', { n: 2 })
      tx.in(log).put(Uint8Array.of(2), 'two')
    })
    await db.dropTree('log')
    await db.tree('later')
    const then = view.tree('names', { valueEncoding: json<{ n: number }>() })
    expect(then.get('a')).toEqual({ n: 1 })
    expect(then.version).toBe(view.version)
    const logThen = view.tree('log', { keyEncoding: 'view', valueEncoding: 'utf8' })
    expect(logThen.values().toArray()).toEqual(['one'])
    expect(() => log.values().toArray()).toThrow(code('HOLT_TREE_DROPPED'))
    expect(() => view.tree('later')).toThrow(code('HOLT_NOT_FOUND'))
    expect(() => view.tree('names')).toThrow(code('HOLT_ENCODING'))
    expect(() => view.tree('names', { size: 1 } as object)).toThrow(code('HOLT_INVALID_ARGUMENT'))
    expect(
      view.tree('log', { keyEncoding: 'view', valueEncoding: 'utf8', prefix: Uint8Array.of(1) }).count().keys,
    ).toBe(1)
    const dropped = names.view()
    await db.dropTree('names')
    expect(dropped.get('a')).toEqual({ n: 2 })
    expect(() => names.view()).toThrow(code('HOLT_TREE_DROPPED'))
    view.close()
    expect(() => logThen.values()).toThrow(code('HOLT_CLOSED'))
    expect(() => view.tree('names')).toThrow(code('HOLT_CLOSED'))
    expect(dropped.get('a')).toEqual({ n: 2 })
    dropped.close()
    await soundWithout(db, 0)
    await db.close()
  })

  it('does not show keys that a bulk load hangs in later, nor lose them to it', async () => {
    const db = await openMemory(SMALL_FRAMES)
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    const before = db.view()
    await tree.bulkLoad(Array.from({ length: 500 }, (_, i) => [keyOf(i), 'loaded'] as const))
    const after = db.view()
    expect(before.tree('t', { valueEncoding: 'utf8' }).count().keys).toBe(0)
    await tree.deletePrefix('')
    expect(after.tree('t', { valueEncoding: 'utf8' }).count().keys).toBe(500)
    before.close()
    await givenBack(db)
    await soundWithout(db, db.stats().views.heldFrames)
    expect(after.tree('t', { valueEncoding: 'utf8' }).count().keys).toBe(500)
    after.close()
    await soundWithout(db, 0)
    await db.close()
  })

  it('taken again and again does not use up the ids of a database in memory', async () => {
    const db = await openMemory(SMALL_FRAMES)
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await fill(tree, () => 'x'.repeat(50))
    let highest = 0
    for (let round = 0; round < 300; round++) {
      const view = db.view()
      await tree.put(keyOf(round), String(round))
      view.close()
      await givenBack(db)
      if (round === 20) highest = Math.max(...(await db.verify()).blobIds)
    }
    expect(Math.max(...(await db.verify()).blobIds)).toBeLessThanOrEqual(highest + 30)
    await db.close()
  })
})

describe('views of a database on disk', () => {
  let directory: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'holt-views-'))
  })
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true })
  })
  const options = {
    ...SMALL_FRAMES,
    cacheBytes: 16 * 524_288,
    checkpoint: { thread: false, intervalMs: 1_000_000 },
  }

  it('see frames that left memory, over checkpoints, and hold nothing over an opening', async () => {
    let db = await open(directory, options)
    let tree = await db.tree('t', { valueEncoding: 'utf8' })
    await fill(tree, (i) => `old ${String(i)}`.padEnd(80, '.'), 3_000)
    await tree.put('large', 'L'.repeat(20_000))
    await db.checkpoint()
    const before = tree.scan().toArray()
    const views = [db.view(), tree.view({ prefix: 'dir-1/' })]
    for (let round = 0; round < 3; round++) {
      await fill(tree, (i) => `round ${String(round)} ${String(i)}`.padEnd(90, '.'), 3_000)
      await tree.put('large', `${String(round)} `.repeat(9_000))
      await tree.renamePrefix(`dir-${String(round)}/`, `moved-${String(round)}/`)
      await db.checkpoint()
      await db.compact()
      await db.vacuum()
      views.push(db.view())
    }
    expect(db.stats().cache.evictions).toBeGreaterThan(0)
    const first = (views[0] as ReturnType<Db['view']>).tree('t', { valueEncoding: 'utf8' })
    expect(first.scan().toArray()).toEqual(before)
    const scanned = []
    for await (const entry of first.scanAsync()) scanned.push(entry)
    expect(scanned).toEqual(before)
    expect(await first.getAsync('large')).toBe('L'.repeat(20_000))
    expect((await db.verify()).problems).toEqual([])
    const held = db.stats().views.heldFrames
    expect(held).toBeGreaterThan(30)
    await db.close()

    db = await open(directory, options)
    tree = await db.tree('t', { valueEncoding: 'utf8' })
    expect(tree.count({ prefix: 'moved-2/' }).keys).toBeGreaterThan(400)
    // Writing is what makes it give back.
    await tree.put('x', 'y')
    await soundWithout(db, 0)
    await db.checkpoint()
    const { unlinkedBlobIds, blobIds } = await db.verify()
    expect(unlinkedBlobIds).toEqual([])
    expect(db.stats().store.blobs).toBe(blobIds.length)
    await db.close()
  })

  it('leave nothing behind when their process dies: what they held is in the image, and is given back', async () => {
    const db = await open(join(directory, 'alive'), options)
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await fill(tree, (i) => `old ${String(i)}`.padEnd(80, '.'), 2_000)
    await tree.put('large', 'L'.repeat(20_000))
    const views = [db.view()]
    await fill(tree, (i) => `new ${String(i)}`.padEnd(90, '.'), 2_000)
    await tree.put('large', 'small')
    await tree.deletePrefix('dir-5/')
    views.push(db.view())
    await tree.put(keyOf(1), 'newest')
    await givenBack(db)
    const held = db.stats().views.heldFrames
    expect(held).toBeGreaterThan(20)
    await db.checkpoint()
    mkdirSync(join(directory, 'dead'))
    for (const name of readdirSync(join(directory, 'alive')))
      if (!name.startsWith('lock'))
        copyFileSync(join(directory, 'alive', name), join(directory, 'dead', name))
    expect(views.map((view) => view.tree('t', { valueEncoding: 'utf8' }).get(keyOf(1))?.slice(0, 5))).toEqual(
      ['old 1', 'new 1'],
    )
    await db.close()

    const again = await open(join(directory, 'dead'), options)
    const found = await again.verify()
    expect(found.problems).toEqual([])
    expect(found.unlinkedBlobIds.length).toBeGreaterThanOrEqual(held)
    await (await again.tree('t', { valueEncoding: 'utf8' })).put('x', 'y')
    await soundWithout(again, 0)
    await again.checkpoint()
    const { blobIds, unlinkedBlobIds } = await again.verify()
    expect(unlinkedBlobIds).toEqual([])
    expect(again.stats().store.blobs).toBe(blobIds.length)
    // And a view of now is not changed by what is written, whatever epoch its frames were made in.
    const view = again.view()
    await fill(await again.tree('t', { valueEncoding: 'utf8' }), () => 'later', 200)
    expect(view.tree('t', { valueEncoding: 'utf8' }).get(keyOf(2))?.slice(0, 5)).toBe('new 2')
    expect((await again.verify()).problems).toEqual([])
    await again.close()
  })

  it('of a database that is opened for reading are views too', async () => {
    const db = await open(directory, options)
    await fill(await db.tree('t', { valueEncoding: 'utf8' }), (i) => `old ${String(i)}`)
    await db.close()
    const reader = await open(directory, { ...options, readOnly: true })
    const view = reader.view()
    expect(view.tree('t', { valueEncoding: 'utf8' }).count().keys).toBe(KEYS)
    view.close()
    await reader.close()
  })

  it('that are lost are told of by the channel, with the path', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const db = await open(directory, options)
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await tree.put('a', '1')
    const heard: unknown[] = []
    const listen = (message: unknown): void => void heard.push(message)
    subscribe(CHANNELS.viewLost, listen)
    try {
      const version = ((): number => tree.view().version)()
      for (let i = 0; i < 200 && heard.length === 0; i++) {
        collect()
        await turn()
      }
      expect(heard).toEqual([{ path: directory, version }])
    } finally {
      unsubscribe(CHANNELS.viewLost, listen)
    }
    await db.close()
  })
})
