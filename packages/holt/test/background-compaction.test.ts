import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { type Db, open, openMemory, type OpenOptions } from '../src/index.js'

const KEYS = 16_000
const VALUE = 'v'.repeat(800)
const keyOf = (i: number): string => `d${String(i % 40)}/f${String((i * 7_919) % KEYS).padStart(6, '0')}`
const isKept = (i: number): boolean => i % 8 === 0
const MIN_USABLE_BYTES = 65_536

const directories: string[] = []
const opened: Db[] = []
afterEach(async () => {
  for (const db of opened.splice(0)) await db.close().catch(() => undefined)
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true, force: true })
})

async function freshPath(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'holt-background-'))
  directories.push(directory)
  return join(directory, 'db')
}

async function opening(path: string, options: OpenOptions = {}): Promise<Db> {
  const db = await open(path, options)
  opened.push(db)
  return db
}

/** A small cache would make random puts slow. */
function withDefaultCache({ cacheBytes: _, ...options }: OpenOptions): OpenOptions {
  return options
}

async function fill(db: Db): Promise<void> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  const writes: Promise<unknown>[] = []
  for (let i = 0; i < KEYS; i++) writes.push(tree.put(keyOf(i), VALUE))
  await Promise.all(writes)
}

/** In the order of the keys, so that a small cache meets each frame once; with a pause now and then, or without one. */
async function thin(db: Db, hasPauses = false): Promise<void> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  const gone = Array.from({ length: KEYS }, (_, i) => i).filter((i) => !isKept(i))
  const deletes: Promise<unknown>[] = []
  for (const key of gone.map(keyOf).sort()) {
    deletes.push(tree.delete(key))
    if (!hasPauses || deletes.length < 500) continue
    await Promise.all(deletes.splice(0))
    await setTimeout(30)
  }
  await Promise.all(deletes)
}

async function checkThinned(db: Db): Promise<void> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  expect([...tree.keys()]).toHaveLength(KEYS / 8)
  for (let i = 0; i < KEYS; i += 8) expect(tree.get(keyOf(i))).toBe(VALUE)
  expect((await db.verify()).problems).toEqual([])
}

async function whenQuiet(db: Db): Promise<void> {
  for (let looks = 0; db.stats().compaction.candidates > 0; looks++) {
    if (looks > 2_000) throw new Error(`there is no end: ${JSON.stringify(db.stats().compaction)}`)
    await setTimeout(10)
  }
}

describe('merging in the background', () => {
  it.each<readonly [string, OpenOptions]>([
    ['where all is in memory', {}],
    ['in a cache of few frames', { cacheBytes: 16 * 524_288 }],
    ['with frames of which little is used', { usableFrameBytes: MIN_USABLE_BYTES }],
  ])('leaves few and full frames behind deletes, %s, unasked', async (_, options) => {
    const path = await freshPath()
    let db = await opening(path, withDefaultCache(options))
    await fill(db)
    const full = db.treeStatistics().frames
    await db.close()
    db = await opening(path, options)
    await thin(db, true)
    await whenQuiet(db)
    const after = db.treeStatistics()
    expect(after.frames).toBeLessThan(full / 3)
    expect(after.fill.average).toBeGreaterThan(0.3)
    const { steps, lastError } = db.stats().compaction
    expect(steps).toBeGreaterThan(0)
    expect(lastError).toBeUndefined()
    await checkThinned(db)
    await db.close()
    db = await opening(path, options)
    expect(db.treeStatistics().frames).toBe(after.frames)
    await checkThinned(db)
  })

  it('happens in a database in memory too', async () => {
    const db = await openMemory()
    opened.push(db)
    await fill(db)
    const full = db.treeStatistics().frames
    await thin(db)
    await whenQuiet(db)
    expect(db.treeStatistics().frames).toBeLessThan(full / 3)
    await checkThinned(db)
  })

  it('is off by option', async () => {
    const db = await opening(await freshPath(), { backgroundCompaction: false })
    await fill(db)
    await thin(db)
    const { frames } = db.treeStatistics()
    await setTimeout(400)
    expect(db.treeStatistics().frames).toBe(frames)
    expect(db.stats().compaction).toMatchObject({ isEnabled: false, steps: 0 })
    expect(db.stats().compaction.candidates).toBeGreaterThan(0)
    await db.compact()
    expect(db.treeStatistics().frames).toBeLessThan(frames)
  })

  it('goes on beside writes that never pause, a slice now and then', async () => {
    const db = await opening(await freshPath())
    await fill(db)
    await thin(db)
    const other = await db.tree('other', { valueEncoding: 'utf8' })
    for (let i = 0; db.stats().compaction.steps === 0; i++) {
      if (i > 100_000) throw new Error('no slice came')
      await other.put(`k${String(i % 100)}`, 'x')
      await setImmediate()
    }
    await checkThinned(db)
  })

  it('gives the event loop its turn between slices', async () => {
    const db = await opening(await freshPath(), { usableFrameBytes: MIN_USABLE_BYTES })
    await fill(db)
    await thin(db)
    let turns = 0
    const before = db.stats().compaction.steps
    while (db.stats().compaction.candidates > 0) {
      await setImmediate()
      turns++
    }
    const { steps } = db.stats().compaction
    expect(steps - before).toBeGreaterThan(16)
    // At most sixteen steps a slice, and a turn behind each.
    expect(turns).toBeGreaterThanOrEqual((steps - before) / 16)
  })

  it('ends when the database is closed in the middle of it', async () => {
    for (const waitMs of [20, 30]) {
      const path = await freshPath()
      let db = await opening(path, { usableFrameBytes: MIN_USABLE_BYTES })
      await fill(db)
      await thin(db)
      await setTimeout(waitMs)
      await db.close()
      db = await opening(path, { usableFrameBytes: MIN_USABLE_BYTES })
      await checkThinned(db)
      await db.close()
    }
  })

  it('waits while writes are held back, and while the tree is being checked', async () => {
    const db = await opening(await freshPath(), { usableFrameBytes: MIN_USABLE_BYTES })
    await fill(db)
    await thin(db)
    // A check holds writes back between its steps: what it finds must be one state of the tree.
    expect((await db.verify()).problems).toEqual([])
    await whenQuiet(db)
    await checkThinned(db)
  })
})

describe('frames in disorder', () => {
  it('are laid out once nobody writes, if they are changed anyway; what they hold stays', async () => {
    const db = await openMemory()
    opened.push(db)
    await fill(db)
    const before = (await db.tree('t', { valueEncoding: 'utf8' })).scan().toArray()
    for (let looks = 0; db.stats().compaction.orderedFrames < 5; looks++) {
      if (looks > 500) throw new Error(JSON.stringify(db.stats().compaction))
      await setTimeout(10)
    }
    expect((await db.tree('t', { valueEncoding: 'utf8' })).scan().toArray()).toEqual(before)
    expect((await db.verify()).problems).toEqual([])
    // Then there is rest.
    await setTimeout(300)
    const { orderedFrames } = db.stats().compaction
    await setTimeout(300)
    expect(db.stats().compaction.orderedFrames).toBe(orderedFrames)
    // A key more is no disorder.
    await (await db.tree('t', { valueEncoding: 'utf8' })).put('d1/one more', VALUE)
    await setTimeout(300)
    expect(db.stats().compaction.orderedFrames).toBe(orderedFrames)
  })

  it('or without a filter: frames that sorted puts left in order get one as well', async () => {
    const db = await openMemory({ usableFrameBytes: 32_768 })
    opened.push(db)
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    for (let i = 0; i < 6_000; i++)
      await tree.put(`d/${String(i).padStart(6, '0')}`, 'a value of some bytes '.repeat(4))
    const { frames } = db.treeStatistics()
    expect(frames).toBeGreaterThan(20)
    for (let looks = 0; db.treeStatistics().filteredFrames < frames * 0.8; looks++) {
      if (looks > 500) throw new Error(JSON.stringify([db.treeStatistics(), db.stats().compaction]))
      await setTimeout(10)
    }
    expect((await db.verify()).problems).toEqual([])
  })

  it('stay as they are where it is switched off', async () => {
    const path = await freshPath()
    const db = await opening(path, { backgroundCompaction: false })
    await fill(db)
    await setTimeout(300)
    expect(db.stats().compaction).toMatchObject({ isEnabled: false, orderedFrames: 0 })
  })
})
