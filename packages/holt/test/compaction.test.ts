import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { type Db, open, openMemory } from '../src/index.js'

const directories: string[] = []
afterEach(async () => {
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true, force: true })
})

async function freshPath(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'holt-compaction-'))
  directories.push(directory)
  return join(directory, 'db')
}

const FEW_FRAMES = 16 * 524_288
const VALUE = 'v'.repeat(800)
const keyOf = (i: number): string => `d${String(i % 40)}/f${String((i * 7_919) % 16_000).padStart(6, '0')}`

/** 16,000 keys, of which one in eight is left. */
async function thinned(db: Db): Promise<void> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  const writes: Promise<unknown>[] = []
  for (let i = 0; i < 16_000; i++) writes.push(tree.put(keyOf(i), VALUE))
  await Promise.all(writes)
  const deletes: Promise<unknown>[] = []
  for (let i = 0; i < 16_000; i++) if (i % 8 !== 0) deletes.push(tree.delete(keyOf(i)))
  await Promise.all(deletes)
}

async function checkThinned(db: Db): Promise<void> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  expect([...tree.keys()]).toHaveLength(2_000)
  for (let i = 0; i < 16_000; i += 8) expect(tree.get(keyOf(i))).toBe(VALUE)
  expect((await db.verify()).problems).toEqual([])
}

describe('compact', () => {
  it.each([16, 512])(
    'with a cache of %i frames leaves few and full frames, also after opening again',
    async (frames) => {
      const path = await freshPath()
      const cacheBytes = frames * 524_288
      let db = await open(path)
      await thinned(db)
      await db.close()
      db = await open(path, { cacheBytes })
      const before = db.treeStatistics()
      const result = await db.compact()
      const after = db.treeStatistics()
      expect(result.framesVisited).toBeGreaterThan(0)
      expect(after.frames).toBeLessThan(before.frames)
      expect(after.fill.average).toBeGreaterThan(0.5)
      await checkThinned(db)
      await db.checkpoint()
      await db.close()
      db = await open(path, { cacheBytes })
      expect(db.treeStatistics()).toMatchObject({ frames: after.frames, keys: after.keys })
      await checkThinned(db)
      await db.close()
      expect((await stat(join(path, 'blobs.dat'))).size).toBeGreaterThan(0)
    },
  )

  it('lets writes, reads and checkpoints go on meanwhile', async () => {
    const path = await freshPath()
    let db = await open(path)
    await thinned(db)
    await db.close()
    db = await open(path, { cacheBytes: FEW_FRAMES })
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    let slices = 0
    let finished = false
    const compaction = db.compact({ onProgress: () => slices++ }).then(() => (finished = true))
    let writes = 0
    while (!finished) {
      await tree.put(`during/${String(writes)}`, String(writes))
      if (writes % 3 === 0) await tree.delete(keyOf((writes * 8) % 16_000))
      if (writes % 3 === 0) await tree.put(keyOf((writes * 8) % 16_000), VALUE)
      if (writes++ % 50 === 0) await db.checkpoint()
      await new Promise((resolve) => setImmediate(resolve))
    }
    await compaction
    expect(slices).toBeGreaterThan(0)
    for (let i = 0; i < writes; i++) {
      expect(tree.get(`during/${String(i)}`)).toBe(String(i))
      await tree.delete(`during/${String(i)}`)
    }
    await checkThinned(db)
    await db.close()
  })

  it('ends early when told so, and what was done is sound', async () => {
    const db = await openMemory()
    await thinned(db)
    const controller = new AbortController()
    const reason = new Error('enough')
    const compaction = db.compact({
      signal: controller.signal,
      onProgress: () => {
        controller.abort(reason)
      },
    })
    await expect(compaction).rejects.toBe(reason)
    await checkThinned(db)
    await db.compact()
    await checkThinned(db)
    await db.close()
  })

  it('of a closed database is HOLT_CLOSED, and close during it ends it so', async () => {
    const db = await openMemory()
    await thinned(db)
    const compaction = db.compact()
    const refused = expect(compaction).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
    await db.close()
    await refused
    await expect(db.compact()).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
  })

  it.each([{ fill: 0.4 }, { fill: 2 }, { fill: '1' }, { speed: 1 }])('refuses %j', async (options) => {
    const db = await openMemory()
    await expect(db.compact(options as never)).rejects.toMatchObject({ code: 'HOLT_INVALID_ARGUMENT' })
    await db.close()
  })
})
