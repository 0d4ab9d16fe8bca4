import { isHoltError } from '@holt/errors'
import { expect, it } from 'vitest'
import { COMMON_PREFIX, Cursor, type CursorOptions, END, successorOfPrefix } from '../src/index.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { buildTree } from './frame-builder.js'
import { list } from './listing.js'
import { Random } from './random.js'
import { bytesOf, SortedMap } from './sorted-map.js'

function treeOf(keys: readonly string[], random = new Random(1)) {
  const source = new ArrayFrameSource({ frames: 100 })
  const map = new SortedMap()
  for (const [i, key] of keys.entries()) map.put(key, 'v', i + 1)
  return { source, rootId: buildTree(source, map, random), changes: 0 }
}

type TextOptions = Partial<Record<Exclude<keyof CursorOptions, 'reverse'>, string>> & { reverse?: boolean }

function scan(keys: readonly string[], options: TextOptions): string[] {
  const encoded = Object.fromEntries(
    Object.entries(options).map(([name, value]) => [
      name,
      typeof value === 'string' ? bytesOf(value) : value,
    ]),
  ) as CursorOptions
  return list(new Cursor(treeOf(keys), encoded)).map(({ kind, key }) => (kind === 'key' ? key : `[${key}]`))
}

it('an empty tree is at its end at once, in both directions', () => {
  expect(scan([], {})).toEqual([])
  expect(scan([], { reverse: true, prefix: 'a', delimiter: '/' })).toEqual([])
})

it('the empty key comes first, and its bytes are none', () => {
  expect(scan(['', '\0', 'a'], {})).toEqual(['', '\0', 'a'])
  expect(scan(['', '\0', 'a'], { reverse: true })).toEqual(['a', '\0', ''])
})

it('keys that differ by trailing zeros are different keys, in order', () => {
  expect(scan(['a', 'a\0', 'a\0\0', 'a\0b', 'aa'], {})).toEqual(['a', 'a\0', 'a\0\0', 'a\0b', 'aa'])
})

it('a key equal to the prefix is a key, one that ends at the delimiter is rolled up', () => {
  const keys = ['a/', 'a/b', 'a/b/', 'a/c/1', 'a/d']
  expect(scan(keys, { prefix: 'a/', delimiter: '/' })).toEqual(['a/', 'a/b', '[a/b/]', '[a/c/]', 'a/d'])
})

it('a delimiter inside the prefix does not count', () => {
  expect(scan(['a/b/c', 'a/b/d/e'], { prefix: 'a/b', delimiter: '/' })).toEqual(['[a/b/]'])
  expect(scan(['a/b/c', 'a/b/d/e'], { prefix: 'a/b/', delimiter: '/' })).toEqual(['a/b/c', '[a/b/d/]'])
})

it('a delimiter of two bytes that begins in the prefix does not count either', () => {
  expect(scan(['a::b', 'a:b'], { prefix: 'a:', delimiter: '::' })).toEqual(['a::b', 'a:b'])
  expect(scan(['a:::b', 'a::b'], { prefix: 'a:', delimiter: '::' })).toEqual(['[a:::]', 'a::b'])
})

it('a bound inside a group returns the group while a key of it lies inside the bounds', () => {
  const keys = ['a/1', 'a/2', 'b']
  expect(scan(keys, { gt: 'a/1', delimiter: '/' })).toEqual(['[a/]', 'b'])
  expect(scan(keys, { gt: 'a/2', delimiter: '/' })).toEqual(['b'])
  expect(scan(keys, { lt: 'a/2', delimiter: '/' })).toEqual(['[a/]'])
  expect(scan(keys, { lt: 'a/1', delimiter: '/' })).toEqual([])
  expect(scan(keys, { lt: 'a/1', delimiter: '/', reverse: true })).toEqual([])
  expect(scan(keys, { gte: 'a/2', delimiter: '/', reverse: true })).toEqual(['b', '[a/]'])
  expect(scan(keys, { gt: 'a/1', lt: 'a/2', delimiter: '/' })).toEqual([])
})

it('backward, a group comes once, before the keys below it', () => {
  expect(scan(['a', 'a/1', 'a/2', 'b'], { delimiter: '/', reverse: true })).toEqual(['b', '[a/]', 'a'])
})

it('bounds that exclude each other leave nothing', () => {
  expect(scan(['a', 'b'], { gt: 'b', lt: 'a' })).toEqual([])
  expect(scan(['a', 'b'], { gt: 'a', lte: 'a', reverse: true })).toEqual([])
  expect(scan(['a', 'b'], { prefix: 'a', gte: 'b' })).toEqual([])
})

it('a prefix of 0xff only has no successor, and still its keys are listed', () => {
  expect(successorOfPrefix(bytesOf('\xff\xff'))).toBeUndefined()
  expect(successorOfPrefix(bytesOf(''))).toBeUndefined()
  expect(successorOfPrefix(bytesOf('a\xff'))).toEqual(bytesOf('b'))
  expect(scan(['\xfe', '\xff', '\xff\xff', '\xff\xff\xff'], { prefix: '\xff\xff' })).toEqual([
    '\xff\xff',
    '\xff\xff\xff',
  ])
  expect(scan(['a', '\xff\xff1', '\xff\xff2'], { delimiter: '\xff\xff', reverse: true })).toEqual([
    '[\xff\xff]',
    'a',
  ])
})

it('paging behind common prefixes by their successors ends, and repeats nothing', () => {
  const keys = ['a', 'b/1', 'b/2', 'b0', 'c/1', 'd']
  const tree = treeOf(keys)
  const delimiter = bytesOf('/')
  const pages: string[] = []
  let options: CursorOptions = { delimiter }
  for (let page = 0; page < 10; page++) {
    const cursor = new Cursor(tree, options)
    const step = cursor.next()
    if (step === END) break
    const key = cursor.key.slice(0, cursor.keyLength)
    pages.push(Buffer.from(key).toString('latin1'))
    const gte = successorOfPrefix(key)
    options = step === COMMON_PREFIX && gte ? { delimiter, gte } : { delimiter, gt: key }
  }
  expect(pages).toEqual(['a', 'b/', 'b0', 'c/', 'd'])
})

it('rolling up does not load the frames below a group', () => {
  const random = new Random(1)
  // Every subtree of two keys or more goes to a frame of its own, behind a crossing with its whole path.
  random.below = () => 70
  const groups = ['x/', 'yy/', 'zzz/']
  const tree = treeOf(
    groups.flatMap((group) => Array.from({ length: 30 }, (_, i) => group + String(i))),
    random,
  )
  for (const id of tree.source.ids) if (id !== tree.rootId) tree.source.evict(id)
  for (const reverse of [false, true]) {
    const listed = list(new Cursor(tree, { delimiter: bytesOf('/'), reverse }))
    expect(listed.map(({ key }) => key).sort()).toEqual(groups)
    expect(tree.source.faults).toBe(0)
  }
})

it('stays at its end, and begins anew after restart', () => {
  const cursor = new Cursor(treeOf(['a']), {})
  expect(list(cursor)).toHaveLength(1)
  expect(cursor.next()).toBe(END)
  cursor.restart({ prefix: bytesOf('a') })
  expect(list(cursor)).toHaveLength(1)
})

it('does not look at the bytes of its options after it began', () => {
  const prefix = bytesOf('b')
  const cursor = new Cursor(treeOf(['a', 'b1', 'b2', 'c']), { prefix })
  cursor.next()
  prefix[0] = 0x63
  expect(list(cursor).map(({ key }) => key)).toEqual(['b2'])
})

it('refuses an empty delimiter', () => {
  try {
    new Cursor(treeOf([]), { delimiter: new Uint8Array(0) })
    expect.unreachable()
  } catch (error) {
    expect(isHoltError(error, 'HOLT_INVALID_ARGUMENT')).toBe(true)
  }
})

it('gives versions up to 2^53 - 1 back exactly', () => {
  const source = new ArrayFrameSource({ frames: 4 })
  const map = new SortedMap()
  const versions = [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1]
  for (const [i, version] of versions.entries()) map.put(String(i), '', version)
  const cursor = new Cursor({ source, rootId: buildTree(source, map, new Random(3)), changes: 0 })
  expect(list(cursor).map((entry) => (entry.kind === 'key' ? entry.version : -1))).toEqual(versions)
})

it('goes on behind any entry it has given, in either direction', () => {
  const keys = ['a', 'a/1', 'a/2', 'a/3/x', 'b', 'b/1', 'c']
  for (const options of [{}, { delimiter: bytesOf('/') }, { gte: bytesOf('a/1'), lt: bytesOf('c') }]) {
    for (const reverse of [false, true]) {
      const tree = treeOf(keys)
      const cursor = new Cursor(tree, { ...options, reverse })
      const all: { key: Uint8Array; step: ReturnType<Cursor['next']> }[] = []
      for (let step = cursor.next(); step !== END; step = cursor.next())
        all.push({ key: cursor.key.slice(0, cursor.keyLength), step })
      expect(all.length).toBeGreaterThan(2)
      for (const [i, { key, step }] of all.entries()) {
        cursor.resumeBehind(key, step)
        const rest: Uint8Array[] = []
        while (cursor.next() !== END) rest.push(cursor.key.slice(0, cursor.keyLength))
        expect(rest).toEqual(all.slice(i + 1).map((entry) => entry.key))
      }
    }
  }
})

it('keeps bounds and delimiter of its own', () => {
  const lt = bytesOf('c')
  const delimiter = bytesOf('/')
  const cursor = new Cursor(treeOf(['a/1', 'a/2', 'b', 'c']), { lt, delimiter })
  lt.fill(0)
  delimiter.fill(0)
  expect(list(cursor).map(({ key }) => key)).toEqual(['a/', 'b'])
})

it('a prefix that is a Buffer stays as it is: its slice shares memory', () => {
  const prefix = Buffer.from('a/')
  expect(successorOfPrefix(prefix)).toEqual(bytesOf('a0'))
  expect(prefix.toString()).toBe('a/')
  const listed = list(new Cursor(treeOf(['a/1', 'a/2', 'b']), { prefix }))
  expect(listed.map(({ key }) => key)).toEqual(['a/1', 'a/2'])
})
