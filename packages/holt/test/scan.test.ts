import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Db, type Entry, openMemory, type Tree, type ValueEncoding } from '../src/index.js'

/** A walk reads pages of 8, 16, 32, 64, 128, 128 … entries: so many keys are several of them. */
const MANY = 300
const name = (i: number): string => `k${String(i).padStart(4, '0')}`

describe('a walk that is paused', () => {
  let db: Db
  let tree: Tree<string, string>

  beforeEach(async () => {
    db = await openMemory()
    tree = await db.tree('t', { valueEncoding: 'utf8' })
    for (let i = 0; i < MANY; i++) await tree.put(name(i), 'old')
  })
  afterEach(async () => {
    await db.close()
  })

  it('gives what is changed meanwhile as it is at its step, although it reads ahead', async () => {
    const walk = tree.scan()
    walk.next()
    await tree.put(name(1), 'new')
    await tree.delete(name(2))
    await tree.put(`${name(3)}+`, 'added')
    const entries = [walk.next(), walk.next(), walk.next()].map(({ value }: { value: unknown }) => value)
    expect(entries).toMatchObject([
      { key: name(1), value: 'new' },
      { key: name(3), value: 'old' },
      { key: `${name(3)}+`, value: 'added' },
    ])
  })

  it('finds a key that was put behind the last one before the walk noticed its end', async () => {
    const walk = tree.keys({ gte: name(MANY - 1) })
    expect(walk.next().value).toBe(name(MANY - 1))
    await tree.put('z', '')
    expect(walk.next().value).toBe('z')
    expect(walk.next().done).toBe(true)
    await tree.put('zz', '')
    expect(walk.next().done).toBe(true)
  })

  it('gives a group of keys once, whichever of them come and go', async () => {
    for (const key of ['d/1', 'd/2', 'd/3', 'e/1', 'e/2']) await tree.put(key, '')
    for (const reverse of [false, true]) {
      const walk = tree.keys({ gte: 'd', lt: 'k', delimiter: '/', reverse })
      const first: unknown = walk.next().value
      await tree.delete('d/1')
      await tree.put('d/9', '')
      await tree.delete('e/1')
      const second: unknown = walk.next().value
      expect([first, second]).toEqual(reverse ? ['e/', 'd/'] : ['d/', 'e/'])
      expect(walk.next().done).toBe(true)
      await tree.put('d/1', '')
      await tree.put('e/1', '')
    }
  })

  it.each([false, true])('gives at each step the next key of that moment (reverse: %s)', async (reverse) => {
    let state = 12_345
    const random = (below: number): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      return (state >>> 8) % below
    }
    for (let round = 0; round < 8; round++) {
      const model = new Set([...tree.keys()])
      let last: string | undefined
      let steps = 0
      for (const key of tree.keys({ reverse })) {
        const rest = [...model].filter((k) => last === undefined || (reverse ? k < last : k > last))
        const expected = rest.sort()[reverse ? rest.length - 1 : 0]
        expect(key).toBe(expected)
        last = key
        steps++
        if (random(4) === 0) {
          const other = `${name(random(MANY))}${['', '+', '+/x', 'é'][random(4)]}`
          if (random(2) === 0) {
            await tree.put(other, '')
            model.add(other)
          } else {
            await tree.delete(other)
            model.delete(other)
          }
        }
      }
      const rest = [...model].filter((k) => last === undefined || (reverse ? k < last : k > last))
      expect(rest).toEqual([])
      expect(steps).toBeGreaterThan(MANY / 2)
    }
  })

  it('is not disturbed by others that begin and end meanwhile, nor by one that was left early', () => {
    const slow = tree.keys()
    const keys: unknown[] = []
    for (let i = 0; i < MANY; i++) {
      keys.push(slow.next().value)
      for (const key of tree.keys({ reverse: true })) if (key < name(MANY - 20)) break
      expect(tree.list({ limit: 70 }).entries.length).toBe(70)
    }
    expect(keys).toEqual(Array.from({ length: MANY }, (_, i) => name(i)))
    expect(slow.next().done).toBe(true)
  })
})

describe('a walk taken whole', () => {
  let db: Db
  let tree: Tree<string, string>

  beforeEach(async () => {
    db = await openMemory()
    tree = await db.tree('t', { valueEncoding: 'utf8' })
    for (let i = 0; i < MANY; i++) await tree.put(name(i), `v${String(i)}`)
    for (const key of ['d/1', 'd/2', 'e']) await tree.put(key, 'x')
  })
  afterEach(async () => {
    await db.close()
  })

  it('is what its steps would give, from where it stands, and it is over then', () => {
    const ranges = [
      {},
      { reverse: true },
      { limit: 130 },
      { limit: 0 },
      { prefix: 'k01' },
      { delimiter: '/' },
    ]
    for (const range of ranges) {
      for (const walks of [() => tree.scan(range), () => tree.keys(range)]) {
        const all = [...walks()]
        expect(walks().toArray(), JSON.stringify(range)).toEqual(all)
        const walk = walks()
        for (let i = 0; i < 9; i++) walk.next()
        expect(walk.toArray(), JSON.stringify(range)).toEqual(all.slice(9))
        expect(walk.next().done).toBe(true)
        expect(walk.toArray()).toEqual([])
      }
    }
    expect(tree.values({ prefix: 'k02' }).toArray()).toEqual([...tree.values({ prefix: 'k02' })])
  })

  it('has what was changed after its last step', async () => {
    const walk = tree.keys({ gte: name(0) })
    walk.next()
    await tree.delete(name(1))
    expect(walk.toArray()).toEqual(Array.from({ length: MANY - 2 }, (_, i) => name(i + 2)))
  })

  it('throws when the database is closed', async () => {
    const walk = tree.scan()
    await db.close()
    expect(() => walk.toArray()).toThrow(/closed/)
    expect(walk.toArray()).toEqual([])
  })
})

describe('keys of a page', () => {
  it('come back as they were, whatever bytes stand beside each other', async () => {
    const db = await openMemory()
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    const keys = [
      '',
      '\0',
      'a',
      'ab',
      'abc',
      'abcd',
      'é',
      'éa',
      '\ufffd',
      '😀',
      'z'.repeat(4_096),
      '~',
      '\x7f',
    ]
    for (let i = 0; i < 200; i++) keys.push(`plain/${String(i)}`)
    for (const key of keys) await tree.put(key, key)
    const sorted = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    expect([...tree.keys()]).toEqual(sorted)
    expect([...tree.values()]).toEqual(sorted)
    expect([...tree.keys({ reverse: true })]).toEqual([...sorted].reverse())
    expect(tree.list({ limit: 500 }).entries.map((entry) => entry.key)).toEqual(sorted)
    for (const limit of [1, 7, 64, 65, 100]) {
      const found: string[] = []
      let after: string | undefined
      do {
        const page = tree.list({ limit, ...(after !== undefined && { after }) })
        expect(page.entries.length).toBeLessThanOrEqual(limit)
        for (const entry of page.entries) found.push(entry.key)
        after = page.next
      } while (after !== undefined)
      expect(found).toEqual(sorted)
    }
    await db.close()
  })

  it('of bytes that are not UTF-8 come back as they were', async () => {
    const db = await openMemory()
    const tree = await db.tree('t', { keyEncoding: 'view' })
    const keys = [[0x61], [0x62], [0x62, 0xff, 0x62], [0xff]].map((bytes) => new Uint8Array(bytes))
    for (const key of keys) await tree.put(key, key)
    expect([...tree.keys()]).toEqual(keys)
    expect([...tree.values()]).toEqual(keys)
    expect(tree.list().entries.map((entry) => entry.key)).toEqual(keys)
    await db.close()
  })
})

describe("a caller's own decoder", () => {
  let db: Db
  beforeEach(async () => {
    db = await openMemory()
  })
  afterEach(async () => {
    await db.close()
  })

  const encoding = (decode: (text: string) => string): ValueEncoding<string> => ({
    name: 'own',
    format: 'utf8',
    encode: (value) => value,
    decode,
  })

  it('that fails ends a scan at its entry, once, and a list as a whole', async () => {
    const tree = await db.tree('t', {
      valueEncoding: encoding((text) => {
        if (text === 'bad') throw new Error('not this one')
        return text
      }),
    })
    for (let i = 0; i < 20; i++) await tree.put(name(i), i === 5 ? 'bad' : 'good')
    const walk = tree.scan()
    for (let i = 0; i < 5; i++) expect(walk.next().value).toMatchObject({ key: name(i) })
    expect(() => walk.next()).toThrow(/own/)
    expect(walk.next().done).toBe(true)
    expect(() => tree.list()).toThrow(/own/)
    expect(tree.list({ limit: 5 }).entries.length).toBe(5)
    expect(() => tree.scan().toArray()).toThrow(/own/)
    expect(tree.scan({ limit: 5 }).toArray().length).toBe(5)
    expect([...tree.keys()].length).toBe(20)
  })

  it('may read and write the tree that is walked', async () => {
    const tree: Tree<string, string> = await db.tree('t', {
      valueEncoding: encoding((text) => {
        if (text !== 'plain') return text
        const inner = tree.list({ limit: 3 }).entries.length
        return `${text} beside ${String(inner)}`
      }),
    })
    for (let i = 0; i < 100; i++) await tree.put(name(i), i === 30 ? 'plain' : 'x')
    const entries: Entry<string, string>[] = [...tree.scan()]
    expect(entries.map((entry) => (entry.kind === 'key' ? entry.key : ''))).toEqual(
      Array.from({ length: 100 }, (_, i) => name(i)),
    )
    expect(entries[30]).toMatchObject({ value: 'plain beside 3' })
    expect(tree.list().entries).toEqual(entries)
  })

  it('may not ask the walk that runs it for more', async () => {
    let walk: IterableIterator<unknown> | undefined
    const tree = await db.tree('t', {
      valueEncoding: encoding((text) => {
        walk?.next()
        return text
      }),
    })
    for (let i = 0; i < 10; i++) await tree.put(name(i), 'x')
    walk = tree.scan()
    expect(() => walk?.next()).toThrow(/decoder/)
    walk = undefined
    expect([...tree.scan()].length).toBe(10)
  })
})

describe('values of many lengths', () => {
  const LENGTHS = [0, 1, 2, 3, 4, 5, 16, 59, 60, 61, 64, 127, 128, 129, 1_000, 1_024, 1_025, 9_000, 20_000]
  const valueOf = (i: number): Uint8Array =>
    Uint8Array.from({ length: LENGTHS[(i * 7) % LENGTHS.length] ?? 0 }, (_, at) => i * 31 + at * 7 + 1)

  it.each(['view', 'buffer'] as const)(
    'are copies of their own in every kind of walk (encoding %s)',
    async (valueEncoding) => {
      const db = await openMemory()
      const tree = (await db.tree('t', { valueEncoding })) as unknown as Tree<string, Uint8Array>
      for (let i = 0; i < 2 * MANY; i++) await tree.put(name(i), valueOf(i))
      const listed = tree.list({ limit: 2 * MANY }).entries
      const scanned = [...tree.scan()]
      const values = [...tree.values({ limit: 2 * MANY })]
      const backward = [...tree.values({ reverse: true })].reverse()
      // Whatever the tree does now must not show in what was given out, nor one copy in another.
      for (let i = 0; i < 2 * MANY; i++)
        await tree.put(name(i), new Uint8Array(LENGTHS[(i * 7) % LENGTHS.length] ?? 0))
      for (let i = 0; i < 2 * MANY; i++) {
        const wanted = valueOf(i)
        for (const value of [listed[i]?.value, scanned[i]?.value, values[i], backward[i]]) {
          expect(value.constructor.name).toBe(valueEncoding === 'view' ? 'Uint8Array' : 'Buffer')
          expect(Buffer.compare(value, wanted)).toBe(0)
        }
      }
      await db.close()
    },
  )
})
