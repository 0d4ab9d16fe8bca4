import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Db, LIMITS, open, openMemory, type Tree } from '../src/index.js'

const code = (name: string): unknown => expect.objectContaining({ name: 'HoltError', code: name })

describe('bad input is refused and changes nothing', () => {
  let db: Db
  let tree: Tree<string, Uint8Array>
  let before: number
  const value = new Uint8Array([1])

  beforeAll(async () => {
    db = await openMemory()
    tree = await db.tree('t')
    await tree.put('k', value)
    before = db.stats().writes.seq
  })
  afterAll(async () => {
    expect([...tree.keys()]).toEqual(['k'])
    expect(db.stats().writes.seq).toBe(before)
    await db.close()
  })

  const keys: readonly [string, unknown, string][] = [
    ['a number', 7, 'HOLT_INVALID_KEY'],
    ['null', null, 'HOLT_INVALID_KEY'],
    ['undefined', undefined, 'HOLT_INVALID_KEY'],
    ['bytes where a string is wanted', new Uint8Array(2), 'HOLT_INVALID_KEY'],
    ['a lone high surrogate', 'a\ud800', 'HOLT_INVALID_KEY'],
    ['a lone low surrogate', '\udc00a', 'HOLT_INVALID_KEY'],
    ['one byte too many', 'x'.repeat(LIMITS.maxKeyBytes + 1), 'HOLT_KEY_TOO_LONG'],
    ['too many bytes in fewer characters', 'é'.repeat(LIMITS.maxKeyBytes / 2 + 1), 'HOLT_KEY_TOO_LONG'],
  ]
  it.each(keys)('a key that is %s', async (_what, key, expected) => {
    const wrong = key as string
    expect(() => tree.get(wrong)).toThrow(code(expected))
    expect(() => tree.has(wrong)).toThrow(code(expected))
    expect(() => tree.getRecord(wrong)).toThrow(code(expected))
    await expect(tree.put(wrong, value)).rejects.toEqual(code(expected))
    await expect(tree.delete(wrong)).rejects.toEqual(code(expected))
    await expect(tree.putIfAbsent(wrong, value)).rejects.toEqual(code(expected))
    await expect(tree.rename(wrong, 'x')).rejects.toEqual(code(expected))
    await expect(tree.rename('k', wrong)).rejects.toEqual(code(expected))
    await expect(db.atomic((tx) => void tx.in(tree).put('x', value).put(wrong, value))).rejects.toEqual(
      code(expected),
    )
    if (key !== undefined) expect(() => tree.scan({ prefix: wrong })).toThrow(code(expected))
  })

  it('keys and values at their limits are taken', async () => {
    await using other = await openMemory()
    const wide = await other.tree('wide')
    const longest = 'x'.repeat(LIMITS.maxKeyBytes)
    await wide.put(longest, new Uint8Array(LIMITS.maxValueBytes).fill(7))
    await wide.put('é'.repeat(LIMITS.maxKeyBytes / 2), new Uint8Array(0))
    const found = wide.get(longest) ?? new Uint8Array(0)
    expect(Buffer.compare(found, new Uint8Array(LIMITS.maxValueBytes).fill(7))).toBe(0)
    expect([...wide.keys()]).toHaveLength(2)
  })

  it.each([
    ['a string where bytes are wanted', 'text', 'HOLT_INVALID_ARGUMENT'],
    ['null', null, 'HOLT_INVALID_ARGUMENT'],
    ['one byte too many', new Uint8Array(LIMITS.maxValueBytes + 1), 'HOLT_VALUE_TOO_LARGE'],
  ])('a value that is %s', async (_what, wrong, expected) => {
    await expect(tree.put('new', wrong as Uint8Array)).rejects.toEqual(code(expected))
    await expect(tree.putIfAbsent('new', wrong as Uint8Array)).rejects.toEqual(code(expected))
  })

  it('a value that has no JSON form, or is an ill-formed string', async () => {
    await using other = await openMemory()
    const values = await other.tree('json', { valueEncoding: 'json' })
    const texts = await other.tree('text', { valueEncoding: 'utf8' })
    const circular: Record<string, unknown> = {}
    circular['self'] = circular
    await expect(values.put('k', undefined)).rejects.toEqual(code('HOLT_ENCODING'))
    await expect(values.put('k', circular)).rejects.toEqual(code('HOLT_ENCODING'))
    await expect(texts.put('k', 'a\ud800')).rejects.toEqual(code('HOLT_ENCODING'))
    expect([...values.keys(), ...texts.keys()]).toEqual([])
  })

  it.each([
    [{ limit: -1 }],
    [{ limit: 1.5 }],
    [{ limit: '3' }],
    [{ reverse: 'yes' }],
    [{ start: 'a' }],
    [{ delimiter: '' }],
    [{ after: 'x' }],
  ])('range options %j', (range) => {
    expect(() => tree.scan(range as object)).toThrow(code('HOLT_INVALID_ARGUMENT'))
  })

  it('write options that are none', async () => {
    await expect(tree.put('x', value, { sync: true } as object)).rejects.toEqual(
      code('HOLT_INVALID_ARGUMENT'),
    )
    await expect(tree.put('x', value, { durability: 'disk' })).rejects.toEqual(code('HOLT_INVALID_ARGUMENT'))
    await expect(tree.rename('k', 'x', { force: 1 } as object)).rejects.toEqual(code('HOLT_INVALID_ARGUMENT'))
    await expect(tree.compareAndPut('k', value, '1' as never)).rejects.toEqual(code('HOLT_INVALID_ARGUMENT'))
  })

  it('tree names and options that are none', async () => {
    await expect(db.tree('')).rejects.toEqual(code('HOLT_INVALID_ARGUMENT'))
    await expect(db.tree(7 as never)).rejects.toEqual(code('HOLT_INVALID_ARGUMENT'))
    await expect(db.tree('x'.repeat(LIMITS.maxTreeNameBytes + 1))).rejects.toEqual(
      code('HOLT_INVALID_ARGUMENT'),
    )
    await expect(db.tree('x', { encoding: 'utf8' } as object)).rejects.toEqual(code('HOLT_INVALID_ARGUMENT'))
    await expect(db.tree('x', { keyEncoding: 'hex' as never })).rejects.toEqual(code('HOLT_INVALID_ARGUMENT'))
    await expect(db.tree('x', { valueEncoding: 'toString' as never })).rejects.toEqual(
      code('HOLT_INVALID_ARGUMENT'),
    )
    await expect(db.tree('x', { valueEncoding: { name: 'x' } as never })).rejects.toEqual(
      code('HOLT_INVALID_ARGUMENT'),
    )
  })

  it('a batch of too many operations', async () => {
    const tooMany = db.atomic((tx) => {
      for (let i = 0; i <= LIMITS.maxBatchOperations; i++) tx.in(tree).put(`k${String(i)}`, value)
    })
    await expect(tooMany).rejects.toEqual(code('HOLT_BATCH_TOO_LARGE'))
  })

  it('a batch of too many bytes', async () => {
    const large = new Uint8Array(LIMITS.maxValueBytes)
    const tooLarge = db.atomic((tx) => {
      for (let i = 0; i <= LIMITS.maxBatchBytes / LIMITS.maxValueBytes; i++)
        tx.in(tree).put(`k${String(i)}`, large)
    })
    await expect(tooLarge).rejects.toEqual(code('HOLT_BATCH_TOO_LARGE'))
  })

  it('options of open that are none', async () => {
    const wrong: unknown[] = [
      null,
      7,
      { cache: 1 },
      { durability: 'full' },
      { cacheBytes: 1_000 },
      { cacheBytes: '256MiB' },
      { io: 'mmap' },
      { io: {} },
      { createIfMissing: 1 },
      { syncIntervalMs: 0 },
      { segmentBytes: 100_000 },
      { segmentBytes: 1_024 },
      { checkpoint: 5 },
      { checkpoint: { every: 5 } },
      { usableFrameBytes: 100 },
    ]
    for (const options of wrong) {
      await expect(open('/nonexistent/holt', options as object), JSON.stringify(options)).rejects.toEqual(
        code('HOLT_INVALID_ARGUMENT'),
      )
    }
    await expect(open('')).rejects.toEqual(code('HOLT_INVALID_ARGUMENT'))
    await expect(open('a\0b')).rejects.toEqual(code('HOLT_INVALID_ARGUMENT'))
    await expect(open(undefined as never)).rejects.toEqual(code('HOLT_INVALID_ARGUMENT'))
  })

  it('use after close', async () => {
    const other = await openMemory()
    const closed = await other.tree('t', { valueEncoding: 'utf8' })
    await closed.put('k', 'v')
    const iterator = closed.scan()
    await other.close()
    await other.close()
    expect(() => closed.get('k')).toThrow(code('HOLT_CLOSED'))
    expect(() => closed.has('k')).toThrow(code('HOLT_CLOSED'))
    expect(() => closed.scan()).toThrow(code('HOLT_CLOSED'))
    expect(() => closed.list()).toThrow(code('HOLT_CLOSED'))
    expect(() => iterator.next()).toThrow(code('HOLT_CLOSED'))
    expect(iterator.next()).toEqual({ done: true, value: undefined })
    await expect(closed.put('k', 'v')).rejects.toEqual(code('HOLT_CLOSED'))
    await expect(closed.delete('k')).rejects.toEqual(code('HOLT_CLOSED'))
    await expect(closed.rename('k', 'l')).rejects.toEqual(code('HOLT_CLOSED'))
    await expect(other.atomic(() => undefined)).rejects.toEqual(code('HOLT_CLOSED'))
    await expect(other.tree('x')).rejects.toEqual(code('HOLT_CLOSED'))
    await expect(other.sync()).rejects.toEqual(code('HOLT_CLOSED'))
    await expect(other.checkpoint()).rejects.toEqual(code('HOLT_CLOSED'))
  })
})
