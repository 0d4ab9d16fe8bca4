import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Db, isHoltError, open, type OpenOptions, type Tree } from '../src/index.js'

const OPTIONS: OpenOptions = {
  io: 'fs',
  durability: 'os',
  cacheBytes: 16 * 524_288,
  usableFrameBytes: 16_384,
}
const keyOf = (i: number): string => `dir-${String(i % 37)}/file-${String(i * 7919)}`
const valueOf = (i: number): string => `value ${String(i)} ${'x'.repeat(i % 90)}`
const COUNT = 6_000

let directory: string
let opened: Db[]

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'holt-async-'))
  opened = []
})
afterEach(async () => {
  for (const db of opened) await db.close().catch(() => undefined)
  await rm(directory, { recursive: true, force: true })
})

async function openTree(options: OpenOptions = OPTIONS): Promise<{ db: Db; tree: Tree<string, string> }> {
  const db = await open(join(directory, 'db'), options)
  opened.push(db)
  return { db, tree: await db.tree('t', { valueEncoding: 'utf8' }) }
}

/** A closed database with far more frames than its cache, opened again. */
async function cold(count = COUNT): Promise<{ db: Db; tree: Tree<string, string> }> {
  const { db, tree } = await openTree()
  for (let i = 0; i < count; i++) await tree.put(keyOf(i), valueOf(i))
  await db.close()
  return await openTree()
}

describe('reads by promise', () => {
  it('of a cold database find what is there, read pages only, and share what they read', async () => {
    const { db, tree } = await cold()
    const before = db.stats().cache
    expect(before.residentFrames).toBeLessThan(10)
    const keys = Array.from({ length: 200 }, (_, i) => i * 29)
    const got = await Promise.all(keys.map((i) => tree.getAsync(keyOf(i))))
    expect(got).toEqual(keys.map(valueOf))
    const { pageReads, partialFrames, residentFrames, overshootFrames } = db.stats().cache
    expect(pageReads).toBeGreaterThan(before.pageReads)
    expect(residentFrames).toBeLessThanOrEqual(16 + overshootFrames)
    expect(partialFrames).toBeLessThanOrEqual(16)

    const single = db.stats().cache
    const same = await Promise.all(Array.from({ length: 20 }, () => tree.getRecordAsync(keyOf(5_999))))
    expect(new Set(same.map((record) => record?.value))).toEqual(new Set([valueOf(5_999)]))
    expect(db.stats().cache.pageReads - single.pageReads).toBeLessThan(20)
    expect(await tree.hasAsync('dir-1/file-none')).toBe(false)
    expect(await tree.getAsync('nothing like it')).toBeUndefined()
  })

  it(
    'agree with reads that wait, while writes go on and frames come and go',
    { timeout: 60_000 },
    async () => {
      const { tree } = await cold()
      // Of each key all values it was given, oldest first, and how many of them were acknowledged.
      const given = Array.from({ length: COUNT }, (_, i) => [valueOf(i)])
      const acknowledged = new Array<number>(COUNT).fill(1)
      let seed = 1
      const below = (n: number): number => (seed = (seed * 48_271) % 2_147_483_647) % n
      const reader = async (): Promise<void> => {
        for (let i = 0; i < 150; i++) {
          const which = below(COUNT)
          const least = acknowledged[which] - 1
          const found = await tree.getAsync(keyOf(which))
          expect(given[which].indexOf(found ?? '')).toBeGreaterThanOrEqual(least)
        }
      }
      const writer = async (): Promise<void> => {
        for (let i = 0; i < 300; i++) {
          const which = below(COUNT)
          const value = `new ${String(i)}`
          const count = given[which].push(value)
          await tree.put(keyOf(which), value)
          acknowledged[which] = count
        }
      }
      await Promise.all([writer(), ...Array.from({ length: 8 }, reader)])
      for (let i = 0; i < COUNT; i++) expect(tree.get(keyOf(i))).toBe(given[i].at(-1))
    },
  )

  it('walk as scan and list do, with tokens that serve either', { timeout: 60_000 }, async () => {
    const { db, tree } = await cold()
    const entries: unknown[] = []
    for await (const entry of tree.scanAsync()) entries.push(entry)
    expect(db.stats().cache.overshootFrames).toBe(0)
    expect(entries).toEqual([...tree.scan()])
    const some = { prefix: 'dir-3', reverse: true, limit: 500 }
    const reversed: unknown[] = []
    for await (const entry of tree.scanAsync(some)) reversed.push(entry)
    expect(reversed).toEqual([...tree.scan(some)])
    const query = { delimiter: '/', limit: 10 }
    let after: string | undefined
    const pages: unknown[] = []
    for (let page = 0; ; page++) {
      const options = after === undefined ? query : { ...query, after }
      const listing = await tree.listAsync(options)
      expect(listing).toEqual(tree.list(options))
      pages.push(...listing.entries)
      after = (page % 2 === 0 ? listing : tree.list(options)).next
      if (after === undefined) break
    }
    expect(pages).toHaveLength(37)
  })

  it('of keys that are not there mostly end at the filter of a frame, as lookups that wait do', async () => {
    // Frames of more pages than one read of a few brings.
    const options = { ...OPTIONS, usableFrameBytes: 131_072 }
    const { db, tree } = await openTree(options)
    for (let i = 0; i < COUNT; i++) await tree.put(keyOf(i), valueOf(i))
    await db.compact()
    await db.close()
    const { db: again, tree: same } = await openTree(options)
    const before = again.stats().lookups.filtered
    expect(before).toBeLessThan(5)
    const absent = Array.from({ length: 400 }, (_, i) => `${keyOf(i * 13)}-`)
    const got = await Promise.all(absent.map((key) => same.getAsync(key)))
    expect(got.every((value) => value === undefined)).toBe(true)
    const byPromise = again.stats().lookups.filtered - before
    expect(byPromise).toBeGreaterThan(100)
    await again.close()
    const { db: third, tree: last } = await openTree(options)
    for (const key of absent) expect(last.get(key)).toBeUndefined()
    expect(third.stats().lookups.filtered).toBeGreaterThan(100)
    for (let i = 0; i < COUNT; i += 7) expect(last.get(keyOf(i))).toBe(valueOf(i))
  })

  it('let the event loop turn while they walk', async () => {
    const { tree } = await cold()
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    let count = 0
    for await (const _ of tree.scanAsync()) count++
    clearInterval(timer)
    expect(count).toBe(COUNT)
    expect(turns).toBeGreaterThan(5)
  })

  it('bring what prefetch names into memory', async () => {
    const { db, tree } = await cold()
    const keys = [3, 4_000].map(keyOf)
    await tree.prefetch(keys)
    const { pageReads, wholeReads } = db.stats().cache
    for (const key of keys) expect(tree.has(key)).toBe(true)
    expect(db.stats().cache).toMatchObject({ pageReads, wholeReads })
  })

  it('refuse what the others refuse, by rejection', async () => {
    const { db, tree } = await cold(100)
    await expect(tree.getAsync('\ud800')).rejects.toMatchObject({ code: 'HOLT_INVALID_KEY' })
    await expect(tree.listAsync({ after: 'x' })).rejects.toMatchObject({ code: 'HOLT_INVALID_TOKEN' })
    expect(() => tree.scanAsync({ limit: -1 })).toThrow()
    const walk = tree.scanAsync()
    await walk.next()
    await db.close()
    await expect(tree.getAsync('a')).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
    await expect(walk.next()).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
    await expect(tree.prefetch(['a'])).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
  })

  it(
    'of a damaged file give right data or HOLT_CORRUPT with file, blob and page',
    { timeout: 120_000 },
    async () => {
      const { db, tree: before } = await cold(300)
      expect(before.get(keyOf(7))).toBe(valueOf(7))
      await db.close()
      const file = join(directory, 'db', 'blobs.dat')
      const bytes = await readFile(file)
      const outcomes = { right: 0, corrupt: 0 }
      for (let at = 5; at < bytes.length; at += at < 40_000 ? 611 : 65_537) {
        bytes[at] ^= 0x20
        await writeFile(file, bytes)
        bytes[at] ^= 0x20
        try {
          const { db: damaged, tree } = await openTree()
          for (const i of [7, 150, 299]) {
            expect(await tree.getAsync(keyOf(i))).toBe(valueOf(i))
            expect(tree.get(keyOf(i))).toBe(valueOf(i))
          }
          outcomes.right++
          await damaged.close()
        } catch (error) {
          if (!isHoltError(error)) throw error
          expect(error.code).toBe('HOLT_CORRUPT')
          expect(error.message).toMatch(/blobs\.dat.*blob \d+.*page \d+/)
          outcomes.corrupt++
          for (const each of opened) await each.close().catch(() => undefined)
        }
      }
      expect(outcomes.right).toBeGreaterThan(0)
      expect(outcomes.corrupt).toBeGreaterThan(0)
    },
  )
})
