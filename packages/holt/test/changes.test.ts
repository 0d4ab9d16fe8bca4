import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type ChangeFeed,
  type Commit,
  type Db,
  json,
  open,
  openMemory,
  type OpenOptions,
} from '../src/index.js'

const code = (name: string): unknown => expect.objectContaining({ name: 'HoltError', code: name })
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

let directory: string
let opened: Db[]

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'holt-changes-'))
  opened = []
})
afterEach(async () => {
  for (const db of opened) await db.close().catch(() => undefined)
  await rm(directory, { recursive: true, force: true })
})

async function openDb(options: OpenOptions = {}): Promise<Db> {
  const db = await open(join(directory, 'db'), {
    durability: 'disk',
    segmentBytes: 65_536,
    checkpoint: { thread: false },
    ...options,
  })
  opened.push(db)
  return db
}

/** The next `count` commits. */
async function take<K, V>(feed: ChangeFeed<K, V>, count: number): Promise<Commit<K, V>[]> {
  const commits: Commit<K, V>[] = []
  while (commits.length < count) {
    const { done, value } = await feed.next()
    if (done === true) throw new Error(`the feed ended after ${String(commits.length)} commits`)
    commits.push(value)
  }
  return commits
}

/** As lines: `kind tree key value`. */
function lines(commits: readonly Commit[]): string[][] {
  return commits.map(({ changes }) =>
    changes.map((change) => {
      switch (change.kind) {
        case 'put':
          return `put ${change.tree} ${text(change.key)}=${text(change.value)}`
        case 'delete':
          return `delete ${change.tree} ${text(change.key)}`
        case 'deletePrefix':
          return `deletePrefix ${change.tree} ${text(change.prefix)}`
        case 'renamePrefix':
          return `renamePrefix ${change.tree} ${text(change.from)} ${text(change.to)}`
        case 'createTree':
          return `createTree ${change.tree} ${change.keyEncoding} ${change.valueEncoding}`
        default:
          return `${change.kind} ${change.tree}`
      }
    }),
  )
}

describe.each(['os', 'disk'] as const)('db.changes, durability %s', (durability) => {
  it('tells every kind of change, batches whole, in commit order, with the versions of the keys', async () => {
    const db = await openDb({ durability })
    const feed = db.changes()
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    const other = await db.tree('other', { valueEncoding: json<number>(), keyEncoding: 'buffer' })
    await tree.put('a/1', 'one')
    const version = tree.getRecord('a/1')?.version
    await tree.delete('absent')
    await tree.put('a/2', 'v'.repeat(20_000))
    await tree.putIfAbsent('a/3', 'three')
    await tree.rename('a/3', 'a/4')
    await tree.delete('a/2')
    await db.atomic((tx) => {
      tx.in(tree).put('b', 'x').delete('a/4')
      tx.in(other).put(Buffer.from('k'), 7)
    })
    await db.atomic((tx) => tx.in(tree).putIfAbsent('b', 'not'))
    await tree.renamePrefix('a/', 'c/')
    await tree.deletePrefix('c/')
    await tree.deletePrefix('nothing/')
    await db.dropTree('other')
    await tree.put('end', '')
    await db.sync()
    const commits = await take(feed, 12)
    expect(lines(commits)).toEqual([
      ['createTree t utf8 utf8'],
      ['createTree other buffer json'],
      ['put t a/1=one'],
      [`put t a/2=${'v'.repeat(20_000)}`],
      ['put t a/3=three'],
      ['delete t a/3', 'put t a/4=three'],
      ['delete t a/2'],
      ['put t b=x', 'delete t a/4', 'put other k=7'],
      ['renamePrefix t a/ c/'],
      ['deletePrefix t c/'],
      ['dropTree other'],
      ['put t end='],
    ])
    expect(commits[2].version).toBe(version)
    const versions = commits.map((commit) => commit.version)
    expect(versions).toEqual([...versions].sort((a, b) => a - b))
    expect(feed.version).toBe(commits[11].version)
    expect(tree.getRecord('end')?.version).toBe(feed.version)
    await feed.return()
  })

  it('goes on where another one stopped, within one opening and over a close', async () => {
    const options = { durability, retainJournalBytes: 2 ** 20 }
    let db = await openDb(options)
    let tree = await db.tree('t', { valueEncoding: 'utf8' })
    const told: string[] = []
    let seen = 0
    for (let life = 0; life < 3; life++) {
      for (let i = 0; i < 40; i++) await tree.put(`${String(life)}/${String(i)}`, 'x')
      await db.sync()
      for (const count of [7, 20]) {
        const feed = tree.changes(seen)
        // The very first commit makes the tree.
        for (const { version, changes } of await take(feed, count)) {
          seen = version
          told.push(...changes.map((change) => ('key' in change ? change.key : change.kind)))
        }
        expect(feed.version).toBe(seen)
        await feed.return()
      }
      await db.close()
      db = await openDb(options)
      tree = await db.tree('t', { valueEncoding: 'utf8' })
    }
    const rest = tree.changes(seen)
    for (const { changes } of await take(rest, 121 - 81))
      told.push(...changes.map((change) => ('key' in change ? change.key : change.kind)))
    const all = [0, 1, 2].flatMap((life) =>
      Array.from({ length: 40 }, (_, i) => `${String(life)}/${String(i)}`),
    )
    expect(told).toEqual(['createTree', ...all])
    await rest.return()
  })
})

describe('db.changes', () => {
  it('of one tree: decoded, without the others, and at its end behind the drop', async () => {
    const db = await openDb()
    const tree = await db.tree('t', { valueEncoding: json<{ size: number }>() })
    const other = await db.tree('o', { valueEncoding: 'utf8' })
    const feed = tree.changes()
    await tree.put('é/1', { size: 4 })
    await other.put('x', 'y')
    await db.atomic((tx) => {
      tx.in(other).put('x', 'z')
      tx.in(tree).put('é/2', { size: 5 })
    })
    await tree.renamePrefix('é/', 'ü/')
    await db.dropTree('t')
    const again = await db.tree('t', { valueEncoding: 'utf8' })
    await again.put('not', 'told')
    const commits: unknown[] = []
    for await (const { changes } of feed) commits.push(changes)
    expect(commits).toEqual([
      [{ kind: 'put', tree: 't', key: 'é/1', value: { size: 4 } }],
      [{ kind: 'put', tree: 't', key: 'é/2', value: { size: 5 } }],
      [{ kind: 'renamePrefix', tree: 't', from: 'é/', to: 'ü/' }],
      [{ kind: 'dropTree', tree: 't' }],
    ])
    expect(await feed.next()).toEqual({ done: true, value: undefined })
    expect(() => tree.changes()).toThrow(code('HOLT_TREE_DROPPED'))
  })

  it('of trees by name; its version goes on past what is not told', async () => {
    const db = await openDb()
    const feed = db.changes(undefined, { trees: ['wanted'] })
    const wanted = await db.tree('wanted', { valueEncoding: 'utf8' })
    const other = await db.tree('other', { valueEncoding: 'utf8' })
    await wanted.put('a', '1')
    for (let i = 0; i < 20; i++) await other.put(`k${String(i)}`, 'x')
    expect(lines(await take(feed, 2))).toEqual([['createTree wanted utf8 utf8'], ['put wanted a=1']])
    const before = feed.version
    const step = feed.next()
    while (feed.version < before + 20) await new Promise((resolve) => setImmediate(resolve))
    expect(feed.version).toBe(other.getRecord('k19')?.version)
    await wanted.put('b', '2')
    expect(await step).toMatchObject({ done: false })
    await feed.return()
  })

  it('knows the names of trees that were dropped in a life before', async () => {
    const options = { retainJournalBytes: 2 ** 20 }
    const db = await openDb(options)
    for (const name of ['one', 'empty', 'three']) {
      const tree = await db.tree(name, { valueEncoding: 'utf8' })
      await tree.put('k', name)
      if (name === 'empty') await tree.delete('k')
    }
    await db.checkpoint()
    await db.dropTree('empty')
    await db.dropTree('one')
    await db.close()
    const again = await openDb(options)
    const all = [
      ['createTree one utf8 utf8'],
      ['put one k=one'],
      ['createTree empty utf8 utf8'],
      ['put empty k=empty'],
      ['delete empty k'],
      ['createTree three utf8 utf8'],
      ['put three k=three'],
      ['dropTree empty'],
      ['dropTree one'],
    ]
    const feed = again.changes(0)
    expect(lines(await take(feed, 9))).toEqual(all)
    await feed.return()
    // From the middle on nobody has told it which name the ids have.
    const [, , { version }] = await take(again.changes(0), 3)
    expect(lines(await take(again.changes(version), 6))).toEqual(all.slice(3))
  })

  it('tells of a bulk load once it is durable, and not what it brought', async () => {
    const db = await openDb()
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    const other = await db.tree('o', { valueEncoding: 'utf8' })
    const feed = db.changes()
    await other.put('before', '')
    function* entries(): Generator<[string, string]> {
      for (let i = 0; i < 500; i++) yield [String(i).padStart(5, '0'), 'x']
    }
    await tree.bulkLoad(entries(), { sorted: true })
    await other.put('behind', '')
    const commits = await take(feed, 3)
    expect(lines(commits)).toEqual([['put o before='], ['bulkLoad t'], ['put o behind=']])
    expect(tree.getRecord('00001')?.version).toBeLessThan(commits[1].version)
    // Into a tree that is not empty it is batches.
    await tree.bulkLoad([
      ['a', '1'],
      ['b', '2'],
    ])
    expect(lines(await take(feed, 1))).toEqual([['put t a=1', 'put t b=2']])
    await feed.return()
  })

  it('is told nothing before it is stable', async () => {
    const db = await openDb({ durability: 'os', syncIntervalMs: 3_600_000 })
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await db.sync()
    const feed = db.changes()
    await tree.put('a', '1')
    let told = false
    const step = feed.next().then((result) => {
      told = true
      return result
    })
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(told).toBe(false)
    await db.sync()
    expect((await step).value?.changes).toMatchObject([{ kind: 'put', tree: 't' }])
    await feed.return()
  })

  it('follows the sync interval in os mode', async () => {
    const db = await openDb({ durability: 'os', syncIntervalMs: 20 })
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    const feed = tree.changes()
    await tree.put('a', '1')
    expect((await take(feed, 1))[0].changes).toEqual([{ kind: 'put', tree: 't', key: 'a', value: '1' }])
    await feed.return()
  })

  it('ends when the database is closed, when it is returned, and by a signal', async () => {
    const db = await openDb()
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    const controller = new AbortController()
    const closed = db.changes()
    const returned = db.changes()
    const aborted = tree.changes(undefined, { signal: controller.signal })
    const idle = tree.changes(undefined, { signal: controller.signal })
    const steps = [returned.next(), returned.next()]
    expect(await returned.return()).toEqual({ done: true, value: undefined })
    for (const step of steps) expect(await step).toEqual({ done: true, value: undefined })
    const waiting = expect(aborted.next()).rejects.toThrow('enough')
    controller.abort(new Error('enough'))
    await waiting
    expect(await aborted.next()).toEqual({ done: true, value: undefined })
    await expect(idle.next()).rejects.toThrow('enough')
    expect(() => tree.changes(undefined, { signal: controller.signal })).toThrow('enough')
    const step = closed.next()
    await db.close()
    expect(await step).toEqual({ done: true, value: undefined })
    expect(await closed.next()).toEqual({ done: true, value: undefined })
    expect(() => db.changes()).toThrow(code('HOLT_CLOSED'))
    expect(() => tree.changes()).toThrow(code('HOLT_CLOSED'))
  })

  it('a loop may close the database it follows', async () => {
    const db = await openDb()
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    const feed = tree.changes()
    for (let i = 0; i < 5; i++) await tree.put(String(i), 'x')
    const keys: unknown[] = []
    for await (const { changes } of feed) {
      keys.push(...changes.map((change) => 'key' in change && change.key))
      if (keys.length === 3) await db.close()
    }
    expect(keys).toEqual(['0', '1', '2'])
  })

  it('refuses what cannot be, and changes nothing', async () => {
    const db = await openDb()
    const tree = await db.tree('t')
    await tree.put('a', new Uint8Array(1))
    const newest = tree.getRecord('a')?.version ?? 0
    for (const version of [-1, 1.5, Number.NaN, newest + 1, '3' as unknown as number])
      expect(() => db.changes(version)).toThrow(code('HOLT_INVALID_ARGUMENT'))
    expect(() => db.changes(0, { tree: 't' } as never)).toThrow(code('HOLT_INVALID_ARGUMENT'))
    expect(() => db.changes(0, { trees: 't' } as never)).toThrow(code('HOLT_INVALID_ARGUMENT'))
    expect(() => tree.changes(0, { trees: ['t'] } as never)).toThrow(code('HOLT_INVALID_ARGUMENT'))
    const memory = await openMemory()
    expect(() => memory.changes()).toThrow(code('HOLT_UNSUPPORTED'))
    await memory.close()
    for (const options of [
      { retainJournalBytes: -1 },
      { retainJournalMs: 0.5 },
      { durability: 'memory', retainJournalMs: 5 },
    ] as const)
      await expect(open(join(directory, 'no'), options)).rejects.toThrow(code('HOLT_INVALID_ARGUMENT'))
  })

  it('without retention what a checkpoint has covered expires, and the error says from where on it goes', async () => {
    const db = await openDb()
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    for (let i = 0; i < 400; i++) await tree.put(`k${String(i)}`, 'v'.repeat(600))
    await db.checkpoint()
    await tree.put('last', 'x')
    const error: unknown = await db
      .changes(0)
      .next()
      .catch((caught: unknown) => caught)
    expect(error).toEqual(code('HOLT_POSITION_EXPIRED'))
    const { oldestVersion } = error as { oldestVersion: number }
    expect(oldestVersion).toBeGreaterThan(100)
    const newest = tree.getRecord('last')?.version ?? 0
    const commits = await take(tree.changes(oldestVersion), newest - oldestVersion)
    expect(commits.map(({ version }) => version)).toEqual(
      Array.from({ length: newest - oldestVersion }, (_, i) => oldestVersion + 1 + i),
    )
    await expect(db.changes(oldestVersion - 1).next()).rejects.toThrow(code('HOLT_POSITION_EXPIRED'))
    await db.close()
    expect((await readdir(join(directory, 'db'))).filter((name) => name.startsWith('journal'))).toEqual([])
  })

  it.each([true, false])(
    'over a close without retention nothing was missed by who had seen all (written: %s)',
    async (writes) => {
      const first = await openDb()
      const before = await first.tree('t', { valueEncoding: 'utf8' })
      for (const key of ['a', 'b']) await before.put(key, 'x')
      const { version: newest } = first
      await first.close()
      const db = await openDb()
      expect(db.version).toBe(newest)
      const tree = await db.tree('t', { valueEncoding: 'utf8' })
      if (writes) await tree.put('c', 'x')
      await expect(db.changes(newest - 1).next()).rejects.toMatchObject({
        code: 'HOLT_POSITION_EXPIRED',
        oldestVersion: newest,
      })
      const feed = tree.changes(newest)
      if (!writes) await tree.put('c', 'x')
      expect((await take(feed, 1))[0].changes).toMatchObject([{ key: 'c' }])
    },
  )

  it('a life without a journal in between expires what was before it', async () => {
    const options = { retainJournalBytes: 2 ** 20 }
    const first = await openDb(options)
    const tree = await first.tree('t', { valueEncoding: 'utf8' })
    await tree.put('a', 'x')
    const [, { version }] = await take(first.changes(0), 2)
    await first.close()
    // One that only reads changes nothing.
    await (await openDb({ durability: 'memory' })).close()
    const second = await openDb(options)
    expect(lines(await take(second.changes(0), 2))).toHaveLength(2)
    await second.close()
    const unseen = await openDb({ durability: 'memory' })
    await (await unseen.tree('t', { valueEncoding: 'utf8' })).put('b', 'unseen')
    await unseen.close()
    const third = await openDb(options)
    await (await third.tree('t', { valueEncoding: 'utf8' })).put('c', 'x')
    for (const from of [0, version])
      await expect(third.changes(from).next()).rejects.toThrow(code('HOLT_POSITION_EXPIRED'))
  })
})
