import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Db, type Listing, openMemory, type Tree } from '../src/index.js'

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()
const code = (value: string): unknown => expect.objectContaining({ code: value })

let db: Db
let tree: Tree<string, string>
let other: Tree<string, string>

beforeEach(async () => {
  db = await openMemory({ usableFrameBytes: 16_384 })
  other = await db.tree('before', { valueEncoding: 'utf8' })
  tree = await db.tree('t', { valueEncoding: 'utf8' })
  const behind = await db.tree('behind')
  // Neighbours on both sides: nothing of them may ever show.
  await other.put('a', 'of another tree')
  await other.put('', 'of another tree')
  await behind.put('', new Uint8Array(1))
})
afterEach(async () => {
  await db.close()
})

async function fill(...keys: string[]): Promise<void> {
  for (const key of keys) await tree.put(key, `v:${key}`)
}

describe('getInto', () => {
  it('copies a value to the place asked for and returns its length', async () => {
    await fill('k')
    const buffer = new Uint8Array(8).fill(0x2e)
    expect(tree.getInto('k', buffer, 2)).toBe(3)
    expect(text(buffer)).toBe('..v:k...')
    expect(tree.getInto('k', buffer)).toBe(3)
    expect(text(buffer)).toBe('v:k:k...')
  })

  it('copies long values as well as short and empty ones', async () => {
    for (const length of [0, 1, 63, 64, 65, 200, 1_500, 5_000]) {
      const value = 'x'.repeat(length)
      await tree.put('k', value)
      const buffer = new Uint8Array(length)
      expect(tree.getInto('k', buffer)).toBe(length)
      expect(text(buffer)).toBe(value)
    }
  })

  it('returns undefined for a key that is not there and leaves the buffer alone', () => {
    const buffer = new Uint8Array(4).fill(7)
    expect(tree.getInto('absent', buffer)).toBeUndefined()
    expect([...buffer]).toEqual([7, 7, 7, 7])
  })

  it('refuses a buffer that is too small, naming both sizes, and writes nothing', async () => {
    await fill('k')
    const buffer = new Uint8Array(4)
    expect(() => tree.getInto('k', buffer, 2)).toThrow(/the value has 3 bytes; the buffer has room for 2/)
    expect(() => tree.getInto('k', buffer, 2)).toThrow(code('HOLT_BUFFER_TOO_SMALL'))
    expect([...buffer]).toEqual([0, 0, 0, 0])
  })

  it('refuses what is no buffer and an offset outside it', async () => {
    await fill('k')
    for (const call of [
      () => tree.getInto('k', 'text' as never),
      () => tree.getInto('k', new Uint8Array(4), 5),
      () => tree.getInto('k', new Uint8Array(4), -1),
      () => tree.getInto('k', new Uint8Array(4), 0.5),
    ])
      expect(call).toThrow(code('HOLT_INVALID_ARGUMENT'))
  })
})

describe('longestPrefix', () => {
  it('F5.6: gives the longest key that the query begins with, equal counts, with value and version', async () => {
    await fill('/a', '/a/b', '/a/b/c/d')
    expect(tree.longestPrefix('/a/b/c')).toEqual({
      kind: 'key',
      key: '/a/b',
      value: 'v:/a/b',
      version: tree.getRecord('/a/b')?.version,
    })
    expect(tree.longestPrefix('/a/b/c/d')?.key).toBe('/a/b/c/d')
    expect(tree.longestPrefix('/a/b/c/d/e/f')?.key).toBe('/a/b/c/d')
    expect(tree.longestPrefix('/b')).toBeUndefined()
  })

  it('F2.2: the empty key is a prefix of everything, and never that of another tree', async () => {
    expect(tree.longestPrefix('a')).toBeUndefined()
    await fill('')
    expect(tree.longestPrefix('a')?.value).toBe('v:')
    expect(tree.longestPrefix('')?.key).toBe('')
  })
})

describe('count, isEmpty, first and last', () => {
  beforeEach(async () => {
    await fill('a', 'a/1', 'a/2', 'a/3', 'b', 'b/1', 'c')
  })

  it('F5.7: counts the keys of a prefix and the bytes of their values, of this tree only', () => {
    expect(tree.count()).toEqual({ keys: 7, valueBytes: 4 * 5 + 3 * 3, exact: true })
    expect(tree.count({ prefix: 'a' })).toEqual({ keys: 4, valueBytes: 18, exact: true })
    expect(tree.count({ prefix: 'a/' })).toEqual({ keys: 3, valueBytes: 15, exact: true })
    expect(tree.count({ prefix: 'x' })).toEqual({ keys: 0, valueBytes: 0, exact: true })
    expect(other.count().keys).toBe(2)
  })

  it('F5.7: with a limit counts no further, and tells whether there is more', () => {
    expect(tree.count({ prefix: 'a/', limit: 2 })).toEqual({ keys: 2, valueBytes: 10, exact: false })
    expect(tree.count({ prefix: 'a/', limit: 3 })).toEqual({ keys: 3, valueBytes: 15, exact: true })
    expect(tree.count({ prefix: 'a/', limit: 4 })).toEqual({ keys: 3, valueBytes: 15, exact: true })
    expect(tree.count({ prefix: 'a/', limit: 0 })).toEqual({ keys: 0, valueBytes: 0, exact: false })
    expect(tree.count({ prefix: 'x', limit: 0 })).toEqual({ keys: 0, valueBytes: 0, exact: true })
  })

  it('counts within bounds', () => {
    expect(tree.count({ gt: 'a/1', lte: 'b' }).keys).toBe(3)
    expect(tree.count({ prefix: 'a', gte: 'a/2' }).keys).toBe(2)
    expect(tree.count({ gte: 'x' }).keys).toBe(0)
  })

  it('tells whether a prefix or a range is empty', async () => {
    expect(tree.isEmpty()).toBe(false)
    expect(tree.isEmpty({ prefix: 'a/' })).toBe(false)
    expect(tree.isEmpty({ prefix: 'a/4' })).toBe(true)
    expect(tree.isEmpty({ gt: 'c' })).toBe(true)
    expect(tree.isEmpty({ gte: 'c' })).toBe(false)
    for (const key of [...tree.keys()]) await tree.delete(key)
    expect(tree.isEmpty()).toBe(true)
    expect(other.isEmpty()).toBe(false)
  })

  it('gives the first and the last entry of a range', () => {
    expect(tree.first()?.key).toBe('a')
    expect(tree.last()).toEqual({
      kind: 'key',
      key: 'c',
      value: 'v:c',
      version: tree.getRecord('c')?.version,
    })
    expect(tree.first({ prefix: 'a/' })?.key).toBe('a/1')
    expect(tree.last({ prefix: 'a/' })?.key).toBe('a/3')
    expect(tree.first({ gt: 'a/3' })?.key).toBe('b')
    expect(tree.last({ lt: 'b' })?.key).toBe('a/3')
    expect(tree.first({ gt: 'c' })).toBeUndefined()
    expect(tree.last({ prefix: 'x' })).toBeUndefined()
  })

  it('refuse options that mean nothing to them', () => {
    for (const call of [
      () => tree.first({ reverse: true } as object),
      () => tree.last({ limit: 1 } as object),
      () => tree.count({ delimiter: '/' } as object),
      () => tree.isEmpty({ limit: 1 } as object),
      () => tree.isEmpty({ prefx: 'a' } as object),
      () => tree.values({ delimiter: '/' } as object),
      () => tree.visitRange({ after: 'token' } as object, () => true),
      () => tree.count({ limit: -1 }),
    ])
      expect(call).toThrow(code('HOLT_INVALID_ARGUMENT'))
  })
})

describe('walks', () => {
  beforeEach(async () => {
    await fill('', 'a', 'a--1', 'a--2', 'a/1', 'a/2/x', 'a/2/y', 'b', 'b/1', 'c/')
  })
  const entries = (range: object): string[] =>
    [...tree.scan(range as { delimiter: string })].map((entry) =>
      entry.kind === 'prefix' ? `${entry.prefix}*` : entry.key,
    )

  it('F8.3: roll up at a delimiter of one byte, forwards and backwards', () => {
    const expected = ['', 'a', 'a--1', 'a--2', 'a/*', 'b', 'b/*', 'c/*']
    expect(entries({ delimiter: '/' })).toEqual(expected)
    expect(entries({ delimiter: '/', reverse: true })).toEqual(expected.toReversed())
    expect(entries({ prefix: 'a/', delimiter: '/' })).toEqual(['a/1', 'a/2/*'])
    expect(entries({ prefix: 'a/', delimiter: '/', reverse: true })).toEqual(['a/2/*', 'a/1'])
  })

  it('roll up at a delimiter of several bytes, forwards and backwards', () => {
    const expected = ['', 'a', 'a--*', 'a/1', 'a/2/x', 'a/2/y', 'b', 'b/1', 'c/']
    expect(entries({ delimiter: '--' })).toEqual(expected)
    expect(entries({ delimiter: '--', reverse: true })).toEqual(expected.toReversed())
    expect(entries({ delimiter: '/2/' })).toEqual(['', 'a', 'a--1', 'a--2', 'a/1', 'a/2/*', 'b', 'b/1', 'c/'])
  })

  it('take bounds at both ends with prefix, direction, delimiter and limit', () => {
    expect(entries({ gt: 'a', lt: 'b' })).toEqual(['a--1', 'a--2', 'a/1', 'a/2/x', 'a/2/y'])
    expect(entries({ gte: 'a/1', lte: 'b', reverse: true })).toEqual(['b', 'a/2/y', 'a/2/x', 'a/1'])
    expect(entries({ prefix: 'a/', gt: 'a/1', limit: 1 })).toEqual(['a/2/x'])
    expect(entries({ gt: 'a/2/x', lt: 'b/1', delimiter: '/' })).toEqual(['a/*', 'b'])
    expect([...tree.keys({ delimiter: '/', limit: 5 })]).toEqual(['', 'a', 'a--1', 'a--2', 'a/'])
    expect([...tree.values({ prefix: 'b' })]).toEqual(['v:b', 'v:b/1'])
  })
})

describe('pages', () => {
  const pages = (query: object, limit: number): string[][] => {
    const found: string[][] = []
    let after: string | undefined
    do {
      const options = { ...query, limit, ...(after === undefined ? {} : { after }) }
      const page: Listing<string, string> = tree.list(options as unknown as { delimiter: string })
      found.push(page.entries.map((entry) => (entry.kind === 'prefix' ? `${entry.prefix}*` : entry.key)))
      after = page.next
    } while (after !== undefined && found.length < 100)
    return found
  }

  it('G13, F8.5: never repeat a common prefix, wherever a page ends, in both directions', async () => {
    await fill('a', 'a/1', 'a/2', 'a/3', 'b', 'c/1', 'c/2', 'd\u{10ffff}/x', 'd\u{10ffff}/y', 'e')
    const whole = ['a', 'a/*', 'b', 'c/*', 'd\u{10ffff}/*', 'e']
    for (const limit of [1, 2, 3, 4, 5, 6, 7]) {
      expect(pages({ delimiter: '/' }, limit).flat()).toEqual(whole)
      expect(pages({ delimiter: '/', reverse: true }, limit).flat()).toEqual(whole.toReversed())
      // A bound that cuts through a group shows the group once more than the keys beyond it, and no more.
      expect(pages({ delimiter: '/', gt: 'a/1' }, limit).flat()).toEqual(whole.slice(1))
      expect(pages({ delimiter: '/', lt: 'c/2', reverse: true }, limit).flat()).toEqual(
        whole.slice(0, 4).toReversed(),
      )
    }
  })

  it('end where nothing sorts behind a common prefix of bytes 0xff', async () => {
    const bytes = await db.tree('bytes', { keyEncoding: 'view' })
    for (const key of [[0xff], [0xff, 0xff, 1], [0xff, 0xff, 2]])
      await bytes.put(new Uint8Array(key), new Uint8Array(0))
    const query = { delimiter: new Uint8Array([0xff, 0xff]), limit: 1 }
    const first = bytes.list(query)
    expect(first.entries).toHaveLength(1)
    const second = bytes.list({ ...query, after: first.next ?? '' })
    expect(second.entries.map(({ kind }) => kind)).toEqual(['prefix'])
    expect(second.next).toBeUndefined()
  })

  it('refuse a token of another query, of another tree, and one that was tampered with', async () => {
    await fill('a/1', 'a/2', 'b', 'c')
    const query = { prefix: '', delimiter: '/', limit: 1 }
    const token = tree.list(query).next ?? ''
    expect(tree.list({ ...query, after: token }).entries).toHaveLength(1)
    const flipped = Buffer.from(token, 'base64url')
    for (let at = 0; at < flipped.length; at++) {
      flipped[at] ^= 1
      const damaged = flipped.toString('base64url')
      expect(() => tree.list({ ...query, after: damaged })).toThrow(code('HOLT_INVALID_TOKEN'))
      flipped[at] ^= 1
    }
    const refused: object[] = [
      { ...query, prefix: 'a', after: token },
      { ...query, delimiter: '-', after: token },
      { ...query, reverse: true, after: token },
      { ...query, gt: 'a', after: token },
      { limit: 1, prefix: '', after: token },
      { ...query, after: `${token}!` },
      { ...query, after: ` ${token}` },
      { ...query, after: '' },
      { ...query, after: 7 },
    ]
    for (const options of refused)
      expect(() => tree.list(options as typeof query)).toThrow(code('HOLT_INVALID_TOKEN'))
    expect(() => other.list({ ...query, after: token })).toThrow(code('HOLT_INVALID_TOKEN'))
    // The limit is no part of the query: pages may change their size.
    expect(tree.list({ ...query, limit: 3, after: token }).entries).toHaveLength(2)
  })
})

it('every read of a tree that was dropped is refused', async () => {
  await fill('a')
  await db.dropTree('t')
  for (const call of [
    () => tree.getInto('a', new Uint8Array(8)),
    () => tree.visit('a', () => true),
    () => tree.visitRange({}, () => true),
    () => tree.longestPrefix('a'),
    () => tree.count(),
    () => tree.count({ gt: '' }),
    () => tree.isEmpty(),
    () => tree.first(),
    () => tree.last(),
  ])
    expect(call).toThrow(code('HOLT_TREE_DROPPED'))
})
