import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { type Db, open, openMemory } from '../src/index.js'
import { awkwardKey, hex, KEY_KINDS, randomOf } from './awkward-keys.js'

const directories: string[] = []
afterEach(async () => {
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true, force: true })
})

async function freshPath(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'holt-bulk-load-'))
  directories.push(directory)
  return join(directory, 'db')
}

const FEW_FRAMES = 16 * 524_288
const keyOf = (i: number): string => `d${String(i % 40).padStart(2, '0')}/f${String(i).padStart(7, '0')}`
const valueOf = (i: number): string => `value of ${String(i)}`.padEnd(60, '.')

function shuffled(count: number): [string, string][] {
  return Array.from({ length: count }, (_, i) => {
    const j = (i * 7_919) % count
    return [keyOf(j), valueOf(j)]
  })
}

function sorted(count: number): [string, string][] {
  return shuffled(count).sort(([a], [b]) => (a < b ? -1 : 1))
}

const treeOf = (db: Db) => db.tree('t', { valueEncoding: 'utf8' })

async function expectLoaded(db: Db, count: number): Promise<void> {
  const tree = await treeOf(db)
  const entries = sorted(count)
  let i = 0
  for (const entry of tree.scan()) {
    if (entry.key !== entries[i][0] || entry.value !== entries[i][1]) expect(entry).toEqual(entries[i])
    i++
  }
  expect(i).toBe(count)
  expect((await db.verify()).problems).toEqual([])
}

async function* later<T>(entries: Iterable<T>): AsyncGenerator<T> {
  for (const entry of entries) {
    await Promise.resolve()
    yield entry
  }
}

describe('bulkLoad', () => {
  it.each([
    ['sorted', true, sorted],
    ['in any order', false, shuffled],
  ] as const)(
    'of entries %s is there, durable, of one version, and survives',
    async (_name, isSorted, make) => {
      const path = await freshPath()
      let db = await open(path)
      const tree = await treeOf(db)
      const before = db.stats().journal?.appendedBytes
      expect(await tree.bulkLoad(make(30_000), { sorted: isSorted })).toEqual({ keys: 30_000 })
      // Only that there was one: a record of 32 bytes and the prefix, the id of the tree.
      expect(db.stats().journal?.appendedBytes).toBe((before ?? 0) + 40)
      await expectLoaded(db, 30_000)
      const version = tree.getRecord(keyOf(1))?.version
      expect(tree.getRecord(keyOf(29_999))?.version).toBe(version)
      await tree.put('another', 'x')
      expect(tree.getRecord('another')?.version).toBeGreaterThan(version ?? 0)
      await tree.delete('another')
      await db.close()
      db = await open(path)
      await expectLoaded(db, 30_000)
      await db.close()
    },
  )

  it('takes an asynchronous input, and tells how far it is', async () => {
    const db = await openMemory()
    const tree = await treeOf(db)
    const seen: number[] = []
    await tree.bulkLoad(later(shuffled(25_000)), { onProgress: ({ entries }) => seen.push(entries) })
    expect(seen).toEqual([10_000, 20_000])
    await expectLoaded(db, 25_000)
    await db.close()
  })

  it('keeps the last of several values for one key, wherever they stand', async () => {
    const db = await openMemory()
    const tree = await treeOf(db)
    const pad = 'x'.repeat(300)
    const entries = Array.from({ length: 40_000 }, (_, i): [string, string] => [
      `k${String((i * 31) % 997)}`,
      pad + String(i),
    ])
    expect(await tree.bulkLoad(entries)).toEqual({ keys: 997 })
    const last = new Map(entries)
    expect([...tree.scan()].map(({ value }) => value)).toEqual(
      [...last.keys()].sort().map((key) => last.get(key)),
    )
    await db.close()
  })

  it('sorts binary keys by their bytes', async () => {
    const db = await openMemory()
    const tree = await db.tree('t', { keyEncoding: 'buffer' })
    const keys = Array.from({ length: 3_000 }, (_, i) => {
      const length = (i * 7) % 11
      return Buffer.from(Array.from({ length }, (_, at) => [0, 1, 0x2f, 0xfe, 0xff][(i * (at + 3) * 13) % 5]))
    })
    await tree.bulkLoad(keys.map((key): [Buffer, Buffer] => [key, key]))
    const wanted = [...new Map(keys.map((key) => [key.toString('hex'), key])).values()].sort(Buffer.compare)
    expect([...tree.keys()]).toEqual(wanted)
    expect((await db.verify()).problems).toEqual([])
    await db.close()
  })

  for (const kind of KEY_KINDS) {
    it(`makes of keys ${kind.name} what an ordered map makes of them`, async () => {
      for (let seed = 1; seed <= 4; seed++) {
        const random = randomOf(seed)
        const path = await freshPath()
        const db = await open(path, {
          usableFrameBytes: seed % 2 === 0 ? 65_536 : 524_288,
          cacheBytes: FEW_FRAMES,
        })
        const tree = await db.tree('t', { keyEncoding: 'view' })
        const pairs = Array.from({ length: [3, 65, 900, 4_000][seed - 1] }, (): [Uint8Array, Uint8Array] => {
          // As long as the tree allows with frames of this size.
          const key = awkwardKey(kind, random).subarray(0, seed % 2 === 0 ? 1_000 : 4_096)
          const bytes = random(200) === 0 ? 10_000 + random(150_000) : random(90)
          return [key, new Uint8Array(bytes).fill(random(256))]
        })
        const ordered = new Map(
          [...pairs].sort(([a], [b]) => Buffer.compare(a, b)).map(([key]) => [hex(key), key]),
        )
        const last = new Map(pairs.map(([key, value]) => [hex(key), value]))
        const expected = [...ordered].map(([name, key]) => [name, key, last.get(name)] as const)
        for (const sorted of [false, true]) {
          const entries = sorted
            ? expected.map(([, key, value]): [Uint8Array, Uint8Array] => [key, value ?? key])
            : pairs
          expect(await tree.bulkLoad(entries, { sorted })).toEqual({ keys: last.size })
          const found = [...tree.scan()]
          expect(found.map(({ key }) => hex(key))).toEqual([...ordered.keys()])
          for (const [i, { value }] of found.entries())
            expect(Buffer.compare(value, expected[i][2] ?? Buffer.of())).toBe(0)
          expect((await db.verify()).problems).toEqual([])
          if (!sorted) await tree.deletePrefix(new Uint8Array(0))
        }
        await db.close()
      }
    }, 60_000)
  }

  it('takes each value as it is when its entry comes, though the input uses its memory again', async () => {
    const db = await openMemory()
    const tree = await db.tree('t')
    const value = new Uint8Array(40)
    function* entries(): Generator<[string, Uint8Array]> {
      for (let i = 0; i < 2_000; i++) {
        value.fill(i & 255)
        yield [keyOf(i * 40), value]
      }
    }
    for (const sorted of [true, false]) {
      await tree.bulkLoad(entries(), { sorted })
      let i = 0
      for (const entry of tree.scan())
        expect(entry.value.every((byte) => byte === (i & 255)) && ++i).toBeTruthy()
      expect(i).toBe(2_000)
      await tree.deletePrefix('')
    }
    await db.close()
  })

  it('into several trees at once keeps what each was given', async () => {
    const db = await open(await freshPath())
    const loads = Array.from({ length: 5 }, async (_, i) => {
      const tree = await db.tree(`t${String(i)}`, { valueEncoding: 'utf8' })
      const entries = shuffled(3_000 * (i + 1)).map(([key, value]): [string, string] => [
        key,
        value + String(i),
      ])
      await tree.bulkLoad(i % 2 === 0 ? entries : later(entries))
      expect([...tree.scan()].map(({ key, value }) => [key, value])).toEqual(
        sorted(3_000 * (i + 1)).map(([key, value]) => [key, value + String(i)]),
      )
    })
    await Promise.all(loads)
    expect((await db.verify()).problems).toEqual([])
    await db.close()
  })

  it('leaves the last entry alone until it is in, though another load has begun', async () => {
    const db = await open(await freshPath())
    const trees = await Promise.all(['a', 'b', 'c'].map((name) => db.tree(name, { valueEncoding: 'utf8' })))
    const valueOfTree = (i: number): string => String(i).repeat(500)
    // Each of one entry, in the same place of its memory; a load waits for checkpoints before its last entry is used.
    await Promise.all(
      trees.map(async (tree, i) => {
        for (let turn = 0; turn < i * 3; turn++) await new Promise((resolve) => setImmediate(resolve))
        await tree.bulkLoad([['key', valueOfTree(i)]])
      }),
    )
    for (const [i, tree] of trees.entries()) expect(tree.get('key')).toBe(valueOfTree(i))
    await db.close()
  })

  it('takes values that lie in frames of their own, with a cache smaller than the load', async () => {
    const path = await freshPath()
    const db = await open(path, { cacheBytes: FEW_FRAMES })
    const tree = await db.tree('t')
    const entries = Array.from({ length: 60 }, (_, i): [string, Uint8Array] => [
      `k${String(i).padStart(3, '0')}`,
      new Uint8Array(i % 3 === 0 ? 900_000 : 40_000).fill(i),
    ])
    await tree.bulkLoad(entries)
    for (const [key, value] of entries) expect(Buffer.compare(tree.get(key) ?? Buffer.of(), value)).toBe(0)
    expect((await db.verify()).problems).toEqual([])
    expect(db.stats().cache.overshootFrames).toBeLessThan(16)
    await db.close()
  })

  it('of more than the cache holds goes on while checkpoints write', async () => {
    const path = await freshPath()
    const db = await open(path, { cacheBytes: FEW_FRAMES })
    const tree = await treeOf(db)
    const other = await db.tree('other')
    const loading = tree.bulkLoad(sorted(120_000), { sorted: true })
    const puts: Promise<void>[] = []
    for (let i = 0; i < 500; i++) puts.push(other.put(String(i), new Uint8Array(10)))
    await Promise.all(puts)
    // Holds the load back if need be, and sees what it has built so far.
    expect((await db.verify()).problems).toEqual([])
    await loading
    await expectLoaded(db, 120_000)
    expect([...other.keys()]).toHaveLength(500)
    await db.close()
  })

  const aborted = new AbortController()
  const failures: [string, () => Iterable<[string, string]>, object, object][] = [
    [
      'an entry out of order',
      () => [...sorted(20_000), ['a', 'x']],
      { sorted: true },
      { code: 'HOLT_INVALID_ARGUMENT' },
    ],
    [
      'a key that comes twice',
      () => [...sorted(20_000), sorted(20_000)[19_999]],
      { sorted: true },
      { code: 'HOLT_INVALID_ARGUMENT' },
    ],
    [
      'a key that is none',
      () => [...sorted(20_000), [7 as unknown as string, 'x']],
      { sorted: true },
      { code: 'HOLT_INVALID_KEY' },
    ],
    [
      'an entry that is no pair',
      () => [...shuffled(20_000), 'ab' as unknown as [string, string]],
      {},
      { code: 'HOLT_INVALID_ARGUMENT' },
    ],
    [
      'an input that throws',
      () =>
        (function* () {
          yield* sorted(20_000)
          throw new RangeError('input')
        })(),
      { sorted: true },
      { message: 'input' },
    ],
    [
      'a progress that throws',
      () => sorted(20_000),
      {
        sorted: true,
        onProgress: () => {
          throw new RangeError('stop')
        },
      },
      { message: 'stop' },
    ],
    [
      'a signal',
      () =>
        (function* () {
          yield* sorted(20_000)
          aborted.abort(new RangeError('aborted'))
          yield* shuffled(200)
        })(),
      {},
      { message: 'aborted' },
    ],
  ]
  for (const [name, entries, options, error] of failures) {
    it(`leaves nothing behind after ${name}`, async () => {
      const path = await freshPath()
      const db = await open(path)
      const tree = await treeOf(db)
      const { signal } = aborted
      const withSignal = name === 'a signal' ? { ...options, signal } : options
      await expect(tree.bulkLoad(entries(), withSignal)).rejects.toMatchObject(error)
      expect([...tree.keys()]).toEqual([])
      while (db.stats().reclaim.unlinkedFrames > 0) await new Promise((resolve) => setImmediate(resolve))
      expect((await db.verify()).problems).toEqual([])
      expect(db.treeStatistics().frames).toBe(1)
      await tree.bulkLoad(shuffled(1_000))
      await expectLoaded(db, 1_000)
      await db.close()
    })
  }

  it('refuses options and inputs that are none', async () => {
    const db = await openMemory()
    const tree = await treeOf(db)
    const invalid = { code: 'HOLT_INVALID_ARGUMENT' }
    await expect(tree.bulkLoad([], { sort: true } as never)).rejects.toMatchObject(invalid)
    await expect(tree.bulkLoad([], { sorted: 1 } as never)).rejects.toMatchObject(invalid)
    await expect(tree.bulkLoad(7 as never)).rejects.toMatchObject(invalid)
    expect(await tree.bulkLoad([])).toEqual({ keys: 0 })
    await db.close()
    await expect(tree.bulkLoad([])).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
  })

  it('into a tree that is not empty puts in batches', async () => {
    const db = await open(await freshPath())
    const tree = await treeOf(db)
    await tree.put(keyOf(3), 'old')
    expect(await tree.bulkLoad(shuffled(5_000))).toEqual({ keys: 5_000 })
    await expectLoaded(db, 5_000)
    await expect(
      tree.bulkLoad(
        [
          ['b', '1'],
          ['a', '2'],
        ],
        { sorted: true },
      ),
    ).rejects.toMatchObject({ code: 'HOLT_INVALID_ARGUMENT' })
    await db.close()
  })

  it('fails with HOLT_EXISTS when a key was put meanwhile, with HOLT_TREE_DROPPED when the tree went', async () => {
    const db = await open(await freshPath())
    const tree = await treeOf(db)
    async function* entries(then: () => Promise<unknown>): AsyncGenerator<[string, string]> {
      yield* sorted(20_000)
      await then()
    }
    await expect(tree.bulkLoad(entries(() => tree.put('x', 'mine')))).rejects.toMatchObject({
      code: 'HOLT_EXISTS',
    })
    expect([...tree.keys()]).toEqual(['x'])
    await tree.delete('x')
    await expect(tree.bulkLoad(entries(() => db.dropTree('t')))).rejects.toMatchObject({
      code: 'HOLT_TREE_DROPPED',
    })
    expect((await db.verify()).problems).toEqual([])
    await db.close()
  })

  it('that a close interrupts leaves nothing, and its frames come back at the next opening', async () => {
    const path = await freshPath()
    let db = await open(path)
    const tree = await treeOf(db)
    let reached: () => void = () => undefined
    const half = new Promise<void>((resolve) => (reached = resolve))
    async function* entries(): AsyncGenerator<[string, string]> {
      yield* sorted(30_000)
      reached()
      await new Promise((resolve) => setTimeout(resolve, 20))
      for (const [key, value] of sorted(30_000)) yield [`x${key}`, value]
    }
    const loading = expect(tree.bulkLoad(entries(), { sorted: true })).rejects.toMatchObject({
      code: 'HOLT_CLOSED',
    })
    await half
    await db.checkpoint()
    expect((await db.verify()).problems).toEqual([])
    await db.close()
    await loading
    db = await open(path)
    expect((await db.verify()).problems).toEqual([])
    expect(db.stats().reclaim.unlinkedFrames).toBeGreaterThan(0)
    expect([...(await treeOf(db)).keys()]).toEqual([])
    await (await treeOf(db)).put('a', 'b')
    while (db.stats().reclaim.unlinkedFrames > 0) await new Promise((resolve) => setImmediate(resolve))
    expect((await db.verify()).problems).toEqual([])
    expect(db.treeStatistics().frames).toBe(1)
    await db.close()
  })
})
