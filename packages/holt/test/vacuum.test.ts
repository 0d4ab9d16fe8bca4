import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Db, open, openMemory, type Tree, type VacuumReport } from '../src/index.js'

const code = (value: string): unknown => expect.objectContaining({ code: value })
const key = (i: number): string => `dir-${String(i % 9)}/key-${String(i)}`

describe.each([true, false])('vacuum, the I/O worker a thread: %s', (thread) => {
  let path: string
  let db: Db
  let tree: Tree<string, Uint8Array>
  // What is merged in the background meanwhile would be moved too.
  const options = { usableFrameBytes: 16_384, checkpoint: { thread }, backgroundCompaction: false }

  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), 'holt-vacuum-'))
    db = await open(path, options)
    tree = await db.tree('t')
    for (let i = 0; i < 3_000; i++) await tree.put(key(i), new Uint8Array(100).fill(i))
    await db.checkpoint()
    for (let i = 0; i < 3_000; i++) if (i % 9 !== 4) await tree.delete(key(i))
    await db.checkpoint()
  })
  afterEach(async () => {
    await db.close()
    await rm(path, { recursive: true, force: true })
  })
  const size = async (name: string): Promise<number> => (await stat(join(path, name))).size

  it('shortens the data file to the frames there are, and keeps every key', async () => {
    const before = (await size('blobs.dat')) + (await size('manifest'))
    const seen: VacuumReport[] = []
    const report = await db.vacuum({ onProgress: (progress) => seen.push(progress) })
    const after = (await size('blobs.dat')) + (await size('manifest'))
    expect(report.freedBytes).toBeGreaterThanOrEqual(before - after)
    expect(report.movedFrames).toBeGreaterThan(0)
    expect(seen.at(-1)).toEqual(report)
    const verified = await db.verify()
    expect(verified.problems).toEqual([])
    expect(await size('blobs.dat')).toBe(verified.blobIds.length * 2 ** 19)
    expect(db.stats().store.files.map(({ sizeBytes }) => sizeBytes)).toEqual([
      await size('blobs.dat'),
      await size('manifest'),
    ])
    await db.close()
    db = await open(path, options)
    const again = await db.tree('t')
    expect(again.count()).toEqual({ keys: 333, valueBytes: 33_300, exact: true })
    for (let i = 4; i < 3_000; i += 9) expect(again.get(key(i))?.[99]).toBe(i & 0xff)
  })

  it('gives back what lies behind the pages in use, where the system can', async () => {
    await db.vacuum()
    const { blocks } = await stat(join(path, 'blobs.dat'))
    const { blobIds } = await db.verify()
    // Frames of this test have 4 pages and their header's.
    const most = db.stats().io.kind === 'uring' ? 6 * 4096 : 2 ** 19
    expect(blocks * 512).toBeLessThanOrEqual(blobIds.length * most)
    expect(await db.vacuum()).toEqual({ movedFrames: 0, freedBytes: 0 })
    for (let i = 0; i < 3_000; i++) await tree.put(key(i), new Uint8Array(100).fill(i))
    await db.checkpoint()
    await db.close()
    db = await open(path, options)
    expect((await db.verify()).problems).toEqual([])
    expect((await db.tree('t')).count().keys).toBe(3_000)
  })

  it('lets reads and writes go on', async () => {
    const vacuuming = db.vacuum()
    for (let i = 0; i < 300; i++) await tree.put(`new-${String(i)}`, new Uint8Array(50))
    await vacuuming
    expect((await db.verify()).problems).toEqual([])
    expect(tree.count({ prefix: 'new-' }).keys).toBe(300)
  })

  it('ends with the reason of its signal, with what a callback throws, and with HOLT_CLOSED', async () => {
    await expect(db.vacuum({ signal: AbortSignal.abort(new Error('mine')) })).rejects.toThrow('mine')
    const fail = (): never => {
      throw new Error('yours')
    }
    await expect(db.vacuum({ onProgress: fail })).rejects.toThrow('yours')
    await expect(db.vacuum({ unknown: 1 } as object)).rejects.toEqual(code('HOLT_INVALID_ARGUMENT'))
    let closing: Promise<void> | undefined
    const vacuuming = db.vacuum({
      onProgress: () => {
        closing ??= db.close()
      },
    })
    await vacuuming.catch((error: unknown) => {
      expect(error).toEqual(code('HOLT_CLOSED'))
    })
    await closing
    await expect(db.vacuum()).rejects.toEqual(code('HOLT_CLOSED'))
  })
})

it('vacuum has nothing to do in memory', async () => {
  const db = await openMemory()
  expect(await db.vacuum()).toEqual({ movedFrames: 0, freedBytes: 0 })
  await db.close()
})
