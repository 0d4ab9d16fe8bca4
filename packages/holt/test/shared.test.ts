import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { attach, type Db, type DbView, open, openMemory, type SharedDb } from '../src/index.js'

type Answer =
  { readonly value: unknown } | { readonly error: { readonly code?: string; readonly message: string } }

/** A thread that reads along. It imports the built package: threads cannot load TypeScript. */
class Reader {
  readonly #worker: Worker
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  readonly ended: Promise<number>
  #calls = 0

  constructor(shared: SharedDb) {
    this.#worker = new Worker(new URL('./fixtures/shared-reader.mjs', import.meta.url), {
      execArgv: [],
      workerData: { shared },
    })
    this.#worker.on('message', ([id, answer]: [number, Answer]) => this.#waiting.get(id)?.(answer))
    this.ended = new Promise((resolve, reject) => {
      this.#worker.once('exit', resolve)
      this.#worker.once('error', reject)
    })
  }

  async call(name: string, ...args: readonly unknown[]): Promise<unknown> {
    const id = this.#calls++
    const answered = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve))
    this.#worker.postMessage([id, name, ...args])
    const answer = await answered
    if ('error' in answer) throw Object.assign(new Error(answer.error.message), { code: answer.error.code })
    return answer.value
  }

  async terminate(): Promise<void> {
    await this.#worker.terminate()
  }
}

describe('a database that another thread reads along', () => {
  let directory: string
  let db: Db
  const readers: Reader[] = []

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'holt-shared-'))
    db = await open(join(directory, 'store'), { cacheBytes: 16 * 2 ** 19 })
  })
  afterEach(async () => {
    for (const reader of readers.splice(0)) await reader.terminate()
    await db.close().catch(() => undefined)
    rmSync(directory, { recursive: true })
  })

  const readerOf = (owner: Db): Reader => {
    const reader = new Reader(owner.share())
    readers.push(reader)
    return reader
  }

  it('shows it what the owner sees, by every read', async () => {
    const encoding = { valueEncoding: 'json' } as const
    const tree = await db.tree('t', encoding)
    for (let i = 0; i < 300; i++) await tree.put(`dir-${String(i % 5)}/file-${String(i)}`, { i })
    const entries = [...tree.scan()]
    const keys = entries.map(({ key }) => key)
    expect(await readerOf(db).call('everything', 't', encoding)).toEqual({
      entries: entries.map(({ key, value, version }) => [key, value, version]),
      got: entries.map(({ value }) => value),
      first: keys[0],
      last: keys.at(-1),
      count: tree.count({ prefix: 'dir-1/' }),
      isEmpty: [false, true],
      directories: ['dir-0/', 'dir-1/', 'dir-2/', 'dir-3/', 'dir-4/'],
      longest: 'dir-1/file-1',
      pages: keys,
      has: [true, false],
      record: tree.getRecord('dir-1/file-1'),
      absent: undefined,
    })
  })

  it('shows it writes as soon as they are applied, trees made later among them', async () => {
    const reader = readerOf(db)
    await expect(reader.call('get', 'later', 'a')).rejects.toMatchObject({ code: 'HOLT_NOT_FOUND' })
    const tree = await db.tree('later', { valueEncoding: 'utf8' })
    const encoding = { valueEncoding: 'utf8' }
    for (let i = 0; i < 20; i++) {
      await tree.put('a', String(i))
      expect(await reader.call('get', 'later', 'a', encoding)).toBe(String(i))
    }
    await tree.delete('a')
    expect(await reader.call('get', 'later', 'a', encoding)).toBeUndefined()
    await expect(reader.call('get', 'later', 'a')).rejects.toMatchObject({ code: 'HOLT_ENCODING' })
  })

  it('loads for it what is not in memory, large values among it', async () => {
    const tree = await db.tree('t')
    const large = new Uint8Array(3_000_000).map((_, at) => (at * 7) & 255)
    await tree.put('large', large)
    const many = await db.tree('many', { valueEncoding: 'utf8' })
    for (let batch = 0; batch < 30; batch++) {
      await db.atomic((tx) => {
        for (let i = 0; i < 300; i++)
          tx.in(many).put(`k/${String(batch * 300 + i).padStart(6, '0')}`, `${String(i)} `.repeat(150))
      })
    }
    await db.checkpoint()
    await db.close()
    db = await open(join(directory, 'store'), { cacheBytes: 16 * 2 ** 19 })
    const reader = readerOf(db)
    expect(await reader.call('bytes', 't', 'large')).toEqual([large.length, true])
    expect(db.stats().cache.evictions).toBe(0)
    for (let i = 0; i < 9_000; i += 500) {
      const key = `k/${String(i).padStart(6, '0')}`
      expect(await reader.call('get', 'many', key, { valueEncoding: 'utf8' })).toBe(
        `${String(i % 300)} `.repeat(150),
      )
    }
    expect(db.stats().cache.wholeReads).toBeGreaterThan(10)
  })

  it.each([
    [0, 'while the owner writes'],
    [1, 'while the owner writes under a view, and the root moves'],
    [3, 'while the owner writes under several views'],
  ])(
    'never shows a value half, an older one after a newer, or keys out of order: %i, %s',
    async (views) => {
      const held: DbView[] = []
      const tree = await db.tree('t', { valueEncoding: 'utf8' })
      await tree.put('counter', '0')
      const watchers = [readerOf(db), readerOf(db)]
      const until = 400
      const reads = watchers.map((reader) => reader.call('watch', 't', until))
      for (let round = 1; round <= until; round++) {
        for (let i = 0; i < 40; i++) {
          const key = `many/${String((round * 37 + i * 11) % 900).padStart(4, '0')}`
          if ((round + i) % 5 === 0) await tree.delete(key)
          else await tree.put(key, `${key} ${String(round).repeat(1 + (i % 40))}`)
        }
        await tree.put('counter', String(round))
        if (views > 0) held.push(db.view())
        if (held.length > views) held.shift()?.close()
        if (round % 100 === 0) await db.checkpoint()
        await new Promise((resolve) => setImmediate(resolve))
      }
      for (const count of await Promise.all(reads)) expect(count).toBeGreaterThan(2)
    },
    60_000,
  )

  it.each([true, false])(
    'shows it nothing of a bulk load (sorted: %s), and at once all of it',
    async (sorted) => {
      const tree = await db.tree('t', { valueEncoding: 'utf8' })
      const other = await db.tree('other', { valueEncoding: 'utf8' })
      await other.put('key', 'value')
      const keys = 60_000
      const reader = readerOf(db)
      // The thread has started.
      expect(await reader.call('get', 'other', 'key', { valueEncoding: 'utf8' })).toBe('value')
      const watching = reader.call('watchLoad', 't', 'other', keys)
      const entries = Array.from({ length: keys }, (_, i): [string, string] => {
        const at = sorted ? i : (i * 7_919) % keys
        return [`key/${String(at).padStart(6, '0')}`, `value of ${String(at)}`]
      })
      await tree.bulkLoad(entries, { sorted })
      const { before, after } = (await watching) as { before: number; after: number }
      // It saw the tree empty while frames were built and evicted, and then every key with its value.
      expect(before).toBeGreaterThan(1)
      expect(after).toBe(keys)
      expect((await db.verify()).problems).toEqual([])
    },
    60_000,
  )

  it('ends for it with HOLT_CLOSED when the owner closes, and for it alone when it closes or dies', async () => {
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await tree.put('a', '1')
    const [closing, dying, staying] = [readerOf(db), readerOf(db), readerOf(db)]
    const read = (reader: Reader): Promise<unknown> => reader.call('get', 't', 'a', { valueEncoding: 'utf8' })
    expect(await closing.call('close')).toBe('closed')
    // Nothing keeps that thread alive any more.
    expect(await closing.ended).toBe(0)
    expect(await read(dying)).toBe('1')
    await dying.terminate()
    await tree.put('a', '2')
    expect(await read(staying)).toBe('2')
    await db.close()
    await expect(read(staying)).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
  })

  it('may live in memory only', async () => {
    const memory = await openMemory()
    const tree = await memory.tree('t', { valueEncoding: 'utf8' })
    await tree.put('a', '1')
    expect(await readerOf(memory).call('get', 't', 'a', { valueEncoding: 'utf8' })).toBe('1')
    await memory.close()
  })

  it('is not attached by its own thread, nor by something else than it shared', () => {
    const refused = expect.objectContaining({ code: 'HOLT_INVALID_ARGUMENT' }) as Error
    expect(() => attach(db.share())).toThrow(refused)
    for (const given of [undefined, null, {}, 'holt-shared-db'])
      expect(() => attach(given as SharedDb)).toThrow(refused)
  })
})
