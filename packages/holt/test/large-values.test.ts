import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type Db,
  json,
  type KeyEntry,
  LIMITS,
  open,
  openMemory,
  type OpenOptions,
  type Tree,
} from '../src/index.js'

const code = (name: string): unknown => expect.objectContaining({ name: 'HoltError', code: name })

const MIB = 2 ** 20
/** Largest value that lies in its leaf. */
const INLINE = 65_024
const SIZES = [0, 1, INLINE - 1, INLINE, INLINE + 1, MIB, LIMITS.maxValueBytes]
const SMALL_CACHE = 16 * 524_288

let directory: string
let path: string
let opened: Db[]

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'holt-large-'))
  path = join(directory, 'db')
  opened = []
})
afterEach(async () => {
  for (const db of opened) await db.close().catch(() => undefined)
  await rm(directory, { recursive: true, force: true })
})

async function openAt(options?: OpenOptions, at = path): Promise<Db> {
  const db = await open(at, options)
  opened.push(db)
  return db
}

/** Bytes of which no two stretches are alike: a part in the wrong place shows. */
function valueOf(length: number, seed = length): Buffer {
  const bytes = Buffer.alloc(length)
  let state = seed | 1
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
    bytes[i] = state >>> 24
  }
  return bytes
}

function expectBytes(found: Uint8Array | undefined, expected: Uint8Array): void {
  expect(found?.length).toBe(expected.length)
  expect(Buffer.compare(found ?? new Uint8Array(), expected)).toBe(0)
}

async function streamed(tree: Tree<string, Uint8Array>, key: string): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of tree.getStream(key)) parts.push(part)
  return Buffer.concat(parts)
}

describe.each(['os', 'disk', 'memory'] as const)('values of every size, durability %s', (durability) => {
  it('are there at once, and again after close and open', { timeout: 120_000 }, async () => {
    const options: OpenOptions = { durability, cacheBytes: SMALL_CACHE }
    const db = await openAt(options)
    const tree = await db.tree('t')
    for (const size of SIZES) {
      await tree.put(String(size), valueOf(size))
      expectBytes(tree.get(String(size)), valueOf(size))
    }
    await expect(tree.put('x', new Uint8Array(LIMITS.maxValueBytes + 1))).rejects.toEqual(
      code('HOLT_VALUE_TOO_LARGE'),
    )
    expect(tree.has('x')).toBe(false)
    await db.close()

    const again = await openAt(options)
    const reopened = await again.tree('t')
    for (const size of SIZES) {
      expectBytes(reopened.get(String(size)), valueOf(size))
      expectBytes(await streamed(reopened, String(size)), valueOf(size))
    }
    expect(await again.verify()).toMatchObject({ problems: [], largeValues: 3, valueFrames: 1 + 3 + 33 })
    expect(again.treeStatistics()).toMatchObject({ largeValues: 3, valueFrames: 37 })
    expect(again.treeStatistics().valueBytes).toBeGreaterThanOrEqual(
      SIZES.reduce((sum, size) => sum + size, 0),
    )
  })

  it('are replayed from the journal', { timeout: 120_000 }, async () => {
    if (durability === 'memory') return
    const db = await openAt({
      durability,
      checkpoint: { intervalMs: 2 ** 30, journalBytes: 2 ** 40, dirtyFrames: 10_000 },
    })
    const tree = await db.tree('t')
    for (const size of SIZES) await tree.put(String(size), valueOf(size))
    await db.atomic((tx) => {
      tx.in(tree)
        .put('a', valueOf(9 * MIB))
        .put('b', valueOf(10 * MIB))
        .delete(String(MIB))
    })
    await tree.rename(String(LIMITS.maxValueBytes), 'moved')
    // As after a kill: the files as they are now. The lock is the running process's.
    const copy = join(directory, 'copy')
    await cp(path, copy, {
      recursive: true,
      filter: (name) => !/\/(lock|journal-creating|journal-spare)[^/]*$/.test(name),
    })
    const again = await openAt({ durability, cacheBytes: SMALL_CACHE }, copy)
    expect(again.stats().recovery?.replayedRecords).toBeGreaterThanOrEqual(SIZES.length + 2)
    const replayed = await again.tree('t')
    for (const size of SIZES.slice(0, -2)) expectBytes(replayed.get(String(size)), valueOf(size))
    expectBytes(replayed.get('moved'), valueOf(LIMITS.maxValueBytes))
    expectBytes(replayed.get('a'), valueOf(9 * MIB))
    expectBytes(replayed.get('b'), valueOf(10 * MIB))
    expect([...replayed.keys()]).toHaveLength(SIZES.length + 1)
    expect(await again.verify()).toMatchObject({ problems: [], largeValues: 4 })
  })
})

describe('in a cache of 16 frames', () => {
  it('many large values come, change and go', { timeout: 120_000 }, async () => {
    const db = await openAt({ cacheBytes: SMALL_CACHE })
    const tree = await db.tree('t')
    const sizes = new Map<string, number>()
    for (let i = 0; i < 90; i++) {
      const key = `k${String(i % 40)}`
      const size = [100, INLINE + 1, 400_000, MIB, 3 * MIB][(i * 7) % 5] ?? 0
      await tree.put(key, valueOf(size, i))
      sizes.set(key, i)
      if (i % 9 === 0) {
        await tree.delete(`k${String((i + 3) % 40)}`)
        sizes.delete(`k${String((i + 3) % 40)}`)
      }
    }
    const expected = (i: number): Buffer =>
      valueOf([100, INLINE + 1, 400_000, MIB, 3 * MIB][(i * 7) % 5] ?? 0, i)
    for (const [key, i] of sizes) expectBytes(tree.get(key), expected(i))
    for (const { key, value } of tree.scan()) expectBytes(value, expected(sizes.get(key) ?? -1))
    expect([...tree.keys()].sort()).toEqual([...sizes.keys()].sort())
    const { cache, checkpoint } = db.stats()
    expect(cache.evictions).toBeGreaterThan(0)
    expect(checkpoint?.lastError).toBeUndefined()
    // A value of 3 MiB takes 7 frames: writing never needs much more than the cache has.
    expect(cache.overshootFrames).toBeLessThanOrEqual(16)
    expect((await db.verify()).problems).toEqual([])
    await db.close()
    const again = await openAt({ cacheBytes: SMALL_CACHE })
    const reopened = await again.tree('t')
    for (const [key, i] of sizes) expectBytes(reopened.get(key), expected(i))
  })

  it('a value that takes twice as many is moved, alone and in a batch', { timeout: 60_000 }, async () => {
    const db = await openAt({ cacheBytes: SMALL_CACHE })
    const tree = await db.tree('t')
    await tree.put('from', valueOf(LIMITS.maxValueBytes))
    await db.checkpoint()
    for (let i = 0; i < 20; i++) await tree.put(`other${String(i)}`, valueOf(INLINE + 1, i))
    await db.checkpoint()
    const version = await tree.rename('from', 'to')
    expect(tree.has('from')).toBe(false)
    expectBytes(tree.get('to'), valueOf(LIMITS.maxValueBytes))
    expect(tree.getRecord('to')?.version).toBe(version)
    await db.checkpoint()
    const outcome = await db.atomic((tx) => {
      tx.in(tree).rename('to', 'there').rename('other3', 'other30').put('more', valueOf(MIB))
    })
    expect(outcome.committed).toBe(true)
    expectBytes(tree.get('there'), valueOf(LIMITS.maxValueBytes))
    expectBytes(tree.get('other30'), valueOf(INLINE + 1, 3))
    // 16 MiB twice do not fit a batch; nothing has happened then.
    await tree.put('second', valueOf(LIMITS.maxValueBytes, 2))
    await expect(
      db.atomic((tx) => void tx.in(tree).rename('there', 'x').rename('second', 'y')),
    ).rejects.toEqual(code('HOLT_BATCH_TOO_LARGE'))
    expect([tree.has('there'), tree.has('second'), tree.has('x'), tree.has('y')]).toEqual([
      true,
      true,
      false,
      false,
    ])
    expect((await db.verify()).problems).toEqual([])
  })
})

describe('a large value', () => {
  it('comes in every encoding, and from every kind of read', async () => {
    await using db = await openMemory()
    const text = 'grüße '.repeat(50_000)
    const texts = await db.tree('texts', { valueEncoding: 'utf8' })
    await texts.put('k', text)
    expect(texts.get('k')).toBe(text)
    expect([...texts.values()]).toEqual([text])
    const objects = await db.tree('objects', { valueEncoding: json<{ text: string }>() })
    await objects.put('k', { text })
    expect(objects.get('k')).toEqual({ text })
    const buffers = await db.tree('buffers', { valueEncoding: 'buffer' })
    await buffers.put('k', Buffer.from(text))
    expect(Buffer.isBuffer(buffers.get('k'))).toBe(true)
    expect(buffers.get('k')?.toString()).toBe(text)
    const views = await db.tree('views')
    await views.put('k', valueOf(MIB))
    await views.put('l', valueOf(10))
    const record = views.getRecord('k')
    expectBytes(record?.value, valueOf(MIB))
    const [first, second] = [...views.scan()] as (KeyEntry<string, Uint8Array> | undefined)[]
    expectBytes(first?.value, valueOf(MIB))
    expect(first?.version).toBe(record?.version)
    expectBytes(second?.value, valueOf(10))
    const listed = views.list({ limit: 1 }).entries.at(0)
    expectBytes(listed?.value, valueOf(MIB))
    expect(listed?.version).toBe(record?.version)
    // What one gets is one's own.
    views.get('k')?.fill(0)
    expectBytes(views.get('k'), valueOf(MIB))
  })

  it('that is not UTF-8 is an encoding error, not another text', async () => {
    await using db = await openMemory()
    const raw = { name: 'raw', encode: (value: Uint8Array) => value }
    const views = await db.tree('t', {
      valueEncoding: { ...raw, format: 'view', decode: (data: Uint8Array) => data },
    })
    await views.put('k', new Uint8Array(100_000).fill(0xff))
    const texts = await db.tree('t', {
      valueEncoding: { ...raw, format: 'utf8', decode: (data: string) => data as unknown as Uint8Array },
    })
    expect(() => texts.get('k')).toThrow(code('HOLT_ENCODING'))
  })

  it('takes conditions like any other', async () => {
    await using db = await openMemory()
    const tree = await db.tree('t')
    const version = await tree.putIfAbsent('k', valueOf(MIB))
    expect(version).toBeDefined()
    expect(await tree.putIfAbsent('k', valueOf(5))).toBeUndefined()
    if (version === undefined) return
    expect(await tree.compareAndPut('k', valueOf(2 * MIB), version)).toBeDefined()
    expect(await tree.compareAndPut('k', valueOf(3), version)).toBeUndefined()
    expectBytes(tree.get('k'), valueOf(2 * MIB))
    expect(await tree.delete('k')).toBe(true)
    expect(db.treeStatistics()).toMatchObject({ largeValues: 0, valueFrames: 0 })
  })

  it('is read in ranges: of a large one only the frames that hold them', async () => {
    const db = await openAt({ cacheBytes: SMALL_CACHE })
    const tree = await db.tree('t')
    const value = valueOf(5 * MIB)
    await tree.put('large', value)
    await tree.put('small', valueOf(100))
    await db.close()
    const again = await openAt({ cacheBytes: SMALL_CACHE })
    const reopened = await again.tree('t')
    const before = again.stats().cache.loads
    expectBytes(reopened.readRange('large', 3 * MIB, 1_000), value.subarray(3 * MIB, 3 * MIB + 1_000))
    // The frame of nodes is loaded already by the look for the tree.
    expect(again.stats().cache.loads - before).toBeLessThanOrEqual(2)
    for (const [from, length] of [
      [0, 10],
      [MIB - 5, 600_000],
      [5 * MIB - 3, 100],
      [5 * MIB, 5],
      [2 ** 40, 5],
      [0, 0],
    ] as const)
      expectBytes(reopened.readRange('large', from, length), value.subarray(from, from + length))
    expectBytes(reopened.readRange('small', 90, 100), valueOf(100).subarray(90))
    expect(reopened.readRange('absent', 0, 1)).toBeUndefined()
    for (const wrong of [-1, 0.5, Number.NaN, '1'])
      for (const range of [
        [wrong, 1],
        [1, wrong],
      ])
        expect(() => reopened.readRange('large', range[0] as number, range[1] as number)).toThrow(
          code('HOLT_INVALID_ARGUMENT'),
        )
  })

  it('is streamed in parts without a blocking read, and the cache need not hold all of it', async () => {
    const db = await openAt({ cacheBytes: SMALL_CACHE })
    const tree = await db.tree('t')
    await tree.put('k', valueOf(LIMITS.maxValueBytes))
    await db.close()
    const again = await openAt({ cacheBytes: SMALL_CACHE })
    const reopened = await again.tree('t')
    const parts: Uint8Array[] = []
    for await (const part of reopened.getStream('k')) {
      expect(part.length).toBeLessThanOrEqual(524_288)
      parts.push(part)
    }
    expect(parts).toHaveLength(33)
    expectBytes(Buffer.concat(parts), valueOf(LIMITS.maxValueBytes))
    expect(again.stats().cache.overshootFrames).toBe(0)
  })

  it('comes by promise too, in a cache that does not hold it, and a walk leaves out what is gone by then', async () => {
    const db = await openAt({ cacheBytes: SMALL_CACHE })
    const tree = await db.tree('t')
    await tree.put('a', valueOf(LIMITS.maxValueBytes))
    await tree.put('b', valueOf(9))
    await tree.put('c', valueOf(MIB))
    await db.close()
    const again = await openAt({ cacheBytes: SMALL_CACHE })
    const reopened = await again.tree('t')
    expectBytes(await reopened.getAsync('a'), valueOf(LIMITS.maxValueBytes))
    const record = await reopened.getRecordAsync('c')
    expectBytes(record?.value, valueOf(MIB))
    expect(await reopened.hasAsync('a')).toBe(true)
    const found: [string, number][] = []
    for await (const { key, value, version } of reopened.scanAsync()) {
      found.push([key, value.length])
      if (key === 'c') expect(version).toBe(record?.version)
    }
    expect(found).toEqual([
      ['a', LIMITS.maxValueBytes],
      ['b', 9],
      ['c', MIB],
    ])
    const { entries, next } = await reopened.listAsync({ limit: 2 })
    expect(entries.map(({ value }) => value.length)).toEqual([LIMITS.maxValueBytes, 9])
    const rest = await reopened.listAsync({ limit: 2, ...(next !== undefined && { after: next }) })
    expectBytes(rest.entries.at(0)?.value, valueOf(MIB))
    // Overwritten while it is read: whichever it is, it is one of them whole.
    const reading = reopened.getAsync('a')
    await reopened.put('a', valueOf(3 * MIB, 7))
    const value = await reading
    expectBytes(value, value?.length === 3 * MIB ? valueOf(3 * MIB, 7) : valueOf(LIMITS.maxValueBytes))
  })

  it('that changes while it is streamed is HOLT_BUSY, one that is not there HOLT_NOT_FOUND', async () => {
    const db = await openAt()
    const tree = await db.tree('t')
    await expect(tree.getStream('k').next()).rejects.toEqual(code('HOLT_NOT_FOUND'))
    await tree.put('empty', new Uint8Array(0))
    expect(await tree.getStream('empty').next()).toMatchObject({ done: true })
    for (const change of [
      () => tree.put('k', valueOf(2 * MIB, 2)),
      () => tree.delete('k'),
      () => tree.rename('k', 'other', { force: true }),
    ]) {
      await tree.put('k', valueOf(2 * MIB))
      const stream = tree.getStream('k')
      expect((await stream.next()).done).toBe(false)
      await change()
      await expect(stream.next()).rejects.toEqual(code('HOLT_BUSY'))
      expect(await stream.next()).toMatchObject({ done: true })
    }
    await tree.put('k', valueOf(2 * MIB))
    const stream = tree.getStream('k')
    await stream.next()
    await tree.put('beside', valueOf(MIB))
    expect((await stream.next()).done).toBe(false)
    await db.close()
    await expect(stream.next()).rejects.toEqual(code('HOLT_CLOSED'))
  })

  it('with a flipped byte is HOLT_CORRUPT with file, frame and page, and verify says so', async () => {
    const db = await openAt()
    const tree = await db.tree('t')
    const value = valueOf(2 * MIB)
    await tree.put('k', value)
    await tree.put('other', valueOf(MIB, 5))
    await db.close()
    const file = join(path, 'blobs.dat')
    const bytes = await readFile(file)
    const at = bytes.indexOf(value.subarray(MIB, MIB + 64))
    expect(at).toBeGreaterThan(0)
    bytes[at + 10] = (bytes[at + 10] ?? 0) ^ 0x10
    await writeFile(file, bytes)
    const page = String(Math.floor(((at + 10) % 524_288) / 4_096))

    const again = await openAt()
    const reopened = await again.tree('t')
    const message = new RegExp(`blobs\\.dat.*blob \\d+, page ${page}:`)
    expect(() => reopened.get('k')).toThrow(code('HOLT_CORRUPT'))
    expect(() => reopened.get('k')).toThrow(message)
    await expect(streamed(reopened, 'k')).rejects.toThrow(message)
    expect(() => [...reopened.scan()]).toThrow(code('HOLT_CORRUPT'))
    expectBytes(reopened.readRange('k', 0, 1_000), value.subarray(0, 1_000))
    expectBytes(reopened.get('other'), valueOf(MIB, 5))
    const { problems } = await again.verify()
    expect(problems.map(({ what }) => what).join()).toMatch(message)
    // It can be replaced and deleted without being read.
    await reopened.put('k', valueOf(MIB, 9))
    expectBytes(reopened.get('k'), valueOf(MIB, 9))
    expect((await again.verify()).problems).toEqual([])
  })

  it('that no journal segment of this database can hold is refused, saying why', async () => {
    const db = await openAt({ segmentBytes: 65_536 })
    const tree = await db.tree('t')
    await tree.put('k', valueOf(30_000))
    const refused = {
      code: 'HOLT_VALUE_TOO_LARGE',
      message: expect.stringContaining('segmentBytes') as unknown,
    }
    await expect(tree.put('k', valueOf(70_000))).rejects.toMatchObject(refused)
    await expect(tree.putIfAbsent('l', valueOf(70_000))).rejects.toMatchObject(refused)
    await expect(
      db.atomic((tx) => void tx.in(tree).put('l', valueOf(40_000)).put('m', valueOf(40_000))),
    ).rejects.toEqual(code('HOLT_BATCH_TOO_LARGE'))
    expectBytes(tree.get('k'), valueOf(30_000))
    expect([...tree.keys()]).toEqual(['k'])
    await tree.put('k', valueOf(100))
    expectBytes(tree.get('k'), valueOf(100))
  })
})
