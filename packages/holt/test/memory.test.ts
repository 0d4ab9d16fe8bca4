import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Db, json, openMemory, type Tree, type Version } from '../src/index.js'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)

describe('a tree', () => {
  let db: Db
  let tree: Tree<string, string>

  beforeEach(async () => {
    db = await openMemory()
    tree = await db.tree('t', { valueEncoding: 'utf8' })
  })
  afterEach(async () => {
    await db.close()
  })

  it('gives back what was put, and undefined for what was not', async () => {
    await tree.put('a/b', 'one')
    expect(tree.get('a/b')).toBe('one')
    expect(tree.get('a')).toBeUndefined()
    expect(tree.has('a/b')).toBe(true)
    expect(tree.has('a/b/')).toBe(false)
  })

  it('holds the empty key, the empty value, and keys that differ by trailing NULs', async () => {
    await tree.put('', '')
    await tree.put('a', '1')
    await tree.put('a\0', '2')
    await tree.put('a\0\0', '3')
    expect([...tree.scan()].map((entry) => [entry.key, entry.value])).toEqual([
      ['', ''],
      ['a', '1'],
      ['a\0', '2'],
      ['a\0\0', '3'],
    ])
  })

  it('shows a put at once, before its promise resolves', async () => {
    await tree.put('started', '')
    const promise = tree.put('k', 'v')
    expect(tree.get('k')).toBe('v')
    await promise
  })

  it('gives every write a version above all before', async () => {
    await tree.put('k', 'v')
    const first = tree.getRecord('k')
    await tree.put('k', 'v')
    const second = tree.getRecord('k')
    expect(second?.version).toBeGreaterThan(first?.version ?? Infinity)
    expect(second?.value).toBe('v')
  })

  it('tells from a delete whether the key was there', async () => {
    await tree.put('k', 'v')
    expect(await tree.delete('k')).toBe(true)
    expect(await tree.delete('k')).toBe(false)
    expect(tree.has('k')).toBe(false)
  })

  it('puts if absent only once', async () => {
    const version = await tree.putIfAbsent('k', 'first')
    expect(version).toBe(tree.getRecord('k')?.version)
    expect(await tree.putIfAbsent('k', 'second')).toBeUndefined()
    expect(tree.get('k')).toBe('first')
  })

  it('compares the version before a conditional put, and refuses a stale one', async () => {
    await tree.put('k', 'a')
    const { version } = tree.getRecord('k') ?? { version: -1 as Version }
    const next = await tree.compareAndPut('k', 'b', version)
    expect(next).toBeGreaterThan(version)
    expect(await tree.compareAndPut('k', 'c', version)).toBeUndefined()
    expect(await tree.compareAndPut('absent', 'c', version)).toBeUndefined()
    expect(tree.get('k')).toBe('b')
  })

  it('renames with a new version, refuses an absent source and a destination that is there', async () => {
    await tree.put('a', '1')
    await tree.put('b', '2')
    const before = tree.getRecord('a')?.version ?? Infinity
    await expect(tree.rename('a', 'b')).rejects.toMatchObject({ code: 'HOLT_EXISTS' })
    await expect(tree.rename('x', 'y')).rejects.toMatchObject({ code: 'HOLT_NOT_FOUND' })
    await expect(tree.rename('x', 'x')).rejects.toMatchObject({ code: 'HOLT_NOT_FOUND' })
    expect([tree.get('a'), tree.get('b')]).toEqual(['1', '2'])
    expect(await tree.rename('a', 'b', { force: true })).toBeGreaterThan(before)
    expect([tree.get('a'), tree.get('b')]).toEqual([undefined, '1'])
    await tree.rename('b', 'b')
    expect(tree.get('b')).toBe('1')
  })

  it('applies writes of one thread in call order', async () => {
    const promises: Promise<unknown>[] = []
    for (let i = 0; i < 50; i++)
      promises.push(tree.put('k', String(i)), tree.delete('gone'), tree.putIfAbsent('k', 'no'))
    await Promise.all(promises)
    expect(tree.get('k')).toBe('49')
  })

  it('scans bounds, prefix, reverse and limit in byte order', async () => {
    for (const key of ['a', 'b/1', 'b/2', 'b/3', 'c', 'é', '\u{10000}']) await tree.put(key, key)
    const keys = (range: Parameters<typeof tree.keys>[0]): string[] => [...tree.keys(range)]
    expect(keys({})).toEqual(['a', 'b/1', 'b/2', 'b/3', 'c', 'é', '\u{10000}'])
    expect(keys({ prefix: 'b/' })).toEqual(['b/1', 'b/2', 'b/3'])
    expect(keys({ gt: 'b/1', lte: 'c' })).toEqual(['b/2', 'b/3', 'c'])
    expect(keys({ gte: 'b/1', lt: 'b/3' })).toEqual(['b/1', 'b/2'])
    expect(keys({ prefix: 'b/', reverse: true })).toEqual(['b/3', 'b/2', 'b/1'])
    expect(keys({ limit: 2 })).toEqual(['a', 'b/1'])
    expect(keys({ limit: 0 })).toEqual([])
    expect(keys({ prefix: 'b/', gt: 'b/2' })).toEqual(['b/3'])
    expect([...tree.values({ prefix: 'b/', limit: 1 })]).toEqual(['b/1'])
  })

  it('rolls keys up by a delimiter', async () => {
    for (const key of ['a/1', 'a/2', 'a/b/1', 'b', 'c/1']) await tree.put(key, key)
    const entries = [...tree.scan({ delimiter: '/' })]
    expect(entries.map((entry) => (entry.kind === 'prefix' ? entry.prefix : entry.key))).toEqual([
      'a/',
      'b',
      'c/',
    ])
    const inside = [...tree.scan({ prefix: 'a/', delimiter: '/' })]
    expect(inside.map((entry) => (entry.kind === 'prefix' ? entry.prefix : entry.key))).toEqual([
      'a/1',
      'a/2',
      'a/b/',
    ])
  })

  it.each([1, 2, 3, 7])(
    'pages through keys and common prefixes exactly once, %i at a time',
    async (limit) => {
      for (const key of ['a/1', 'a/2', 'b', 'c/1', 'c/2', 'd', 'e/x']) await tree.put(key, key)
      for (const reverse of [false, true]) {
        const whole = tree.list({ delimiter: '/', reverse }).entries
        const paged: unknown[] = []
        let after: string | undefined
        do {
          const page = tree.list({
            delimiter: '/',
            reverse,
            limit,
            ...(after === undefined ? {} : { after }),
          })
          expect(page.entries.length).toBeLessThanOrEqual(limit)
          paged.push(...page.entries)
          after = page.next
        } while (after !== undefined)
        expect(paged).toEqual(whole)
        expect(whole).toHaveLength(5)
      }
    },
  )

  it('refuses a token of another query, and one that is damaged', async () => {
    for (const key of ['a/1', 'a/2', 'b/1']) await tree.put(key, key)
    const { next = '' } = tree.list({ prefix: 'a/', limit: 1 })
    expect(tree.list({ prefix: 'a/', limit: 5, after: next }).entries).toHaveLength(1)
    expect(() => tree.list({ prefix: 'b/', limit: 1, after: next })).toThrow(
      expect.objectContaining({ code: 'HOLT_INVALID_TOKEN' }),
    )
    const flipped = (next.startsWith('A') ? 'B' : 'A') + next.slice(1)
    expect(() => tree.list({ prefix: 'a/', limit: 1, after: flipped })).toThrow(
      expect.objectContaining({ code: 'HOLT_INVALID_TOKEN' }),
    )
    expect(() => tree.list({ prefix: 'a/', limit: 1, after: '' })).toThrow(
      expect.objectContaining({ code: 'HOLT_INVALID_TOKEN' }),
    )
  })

  it('goes on with a scan after changes: what was there throughout comes exactly once', async () => {
    for (let i = 0; i < 100; i++) await tree.put(`k${String(i).padStart(3, '0')}`, 'v')
    const seen: string[] = []
    for (const { key } of tree.scan()) {
      seen.push(key)
      await tree.delete(key)
      await tree.put(`a${key}`, 'behind the walk')
    }
    expect(seen).toHaveLength(100)
    expect([...tree.keys({ prefix: 'k' })]).toEqual([])
  })

  it('gives a value of its own: changing it changes nothing', async () => {
    const views = await db.tree('views')
    const value = text('abc')
    await views.put('k', value)
    value[0] = 0
    const first = views.get('k')
    expect(first).toEqual(text('abc'))
    first?.fill(0)
    expect(views.get('k')).toEqual(text('abc'))
  })
})

describe('encodings', () => {
  it('gives json values their type, and keeps the encodings of a tree', async () => {
    await using db = await openMemory()
    const objects = await db.tree('objects', { valueEncoding: json<{ size: number }>() })
    await objects.put('k', { size: 4096 })
    const size: number | undefined = objects.get('k')?.size
    expect(size).toBe(4096)
    await expect(db.tree('objects', { valueEncoding: 'utf8' })).rejects.toMatchObject({
      code: 'HOLT_ENCODING',
    })
    await expect(db.tree('objects', { keyEncoding: 'view', valueEncoding: 'json' })).rejects.toMatchObject({
      code: 'HOLT_ENCODING',
    })
    const again = await db.tree('objects', { valueEncoding: 'json' })
    expect(again.get('k')).toEqual({ size: 4096 })
  })

  it('takes an encoding of abstract-level shape', async () => {
    await using db = await openMemory()
    const numbers = await db.tree('numbers', {
      valueEncoding: {
        name: 'u8',
        format: 'view' as const,
        encode: (value: number) => Uint8Array.of(value),
        decode: (bytes: Uint8Array) => bytes.at(0) ?? -1,
      },
    })
    await numbers.put('k', 7)
    expect(numbers.get('k')).toBe(7)
  })

  it('gives keys as views and buffers', async () => {
    await using db = await openMemory()
    const views = await db.tree('v', { keyEncoding: 'view' })
    const buffers = await db.tree('b', { keyEncoding: 'buffer', valueEncoding: 'buffer' })
    const key = Uint8Array.of(0, 255, 0x2f, 0)
    await views.put(key, Uint8Array.of(1))
    await buffers.put(Buffer.from(key), Buffer.from('x'))
    expect([...views.keys()]).toEqual([key])
    const entry = [...buffers.scan()].at(0)
    expect(Buffer.isBuffer(entry?.key)).toBe(true)
    expect(entry?.key).toEqual(Buffer.from(key))
    expect(Buffer.isBuffer(entry?.value)).toBe(true)
  })
})

describe('an atomic batch', () => {
  it('applies all operations over several trees in one version, each seeing those before it', async () => {
    await using db = await openMemory()
    const a = await db.tree('a', { valueEncoding: 'utf8' })
    const b = await db.tree('b', { valueEncoding: 'utf8' })
    await a.put('old', 'x')
    const result = await db.atomic((tx) => {
      tx.in(a).put('k', '1').rename('k', 'k2').delete('old')
      tx.in(b).putIfAbsent('k', '2')
    })
    expect(result.committed).toBe(true)
    expect([a.get('k'), a.get('k2'), a.get('old'), b.get('k')]).toEqual([undefined, '1', undefined, '2'])
    expect(result).toMatchObject({ version: a.getRecord('k2')?.version })
    expect(b.getRecord('k')?.version).toBe(a.getRecord('k2')?.version)
  })

  it('changes nothing when a condition fails, and names the operation', async () => {
    await using db = await openMemory()
    const a = await db.tree('a', { valueEncoding: 'utf8' })
    await a.put('there', 'x')
    const result = await db.atomic((tx) => {
      tx.in(a).put('k', '1').putIfAbsent('there', '2').delete('k')
    })
    expect(result).toEqual({
      committed: false,
      failed: { index: 1, operation: 'putIfAbsent', reason: 'exists', key: 'there' },
    })
    expect([a.get('k'), a.get('there')]).toEqual([undefined, 'x'])
  })

  it('refuses an asynchronous callback, a batch used later, a tree of another database', async () => {
    await using db = await openMemory()
    await using other = await openMemory()
    const a = await db.tree('a', { valueEncoding: 'utf8' })
    const foreign = await other.tree('a', { valueEncoding: 'utf8' })
    let late: (() => void) | undefined
    // eslint-disable-next-line @typescript-eslint/no-misused-promises -- the misuse is what is tested
    const asynchronous = db.atomic(async (tx) => {
      tx.in(a).put('k', '1')
      await Promise.resolve()
    })
    await expect(asynchronous).rejects.toMatchObject({ code: 'HOLT_INVALID_ARGUMENT' })
    await db.atomic((tx) => {
      late = () => tx.in(a).put('k', '1')
    })
    expect(late).toThrow(expect.objectContaining({ code: 'HOLT_CLOSED' }))
    await expect(db.atomic((tx) => void tx.in(foreign).put('k', '1'))).rejects.toMatchObject({
      code: 'HOLT_INVALID_ARGUMENT',
    })
    expect(a.has('k')).toBe(false)
  })

  it('commits an empty batch', async () => {
    await using db = await openMemory()
    expect(await db.atomic(() => undefined)).toMatchObject({ committed: true })
  })
})
