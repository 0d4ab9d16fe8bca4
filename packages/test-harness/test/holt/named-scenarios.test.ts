/**
 * Courses of events that stores have lost data to, each by its name. The campaign meets them by chance; here they happen
 * for certain.
 */
import { type Db, open, type OpenOptions, type Tree } from 'holt'
import { Journal } from '@holt/journal'
import { describe, expect, test, vi } from 'vitest'

import { SimDisk } from '../../src/index.js'
import type { SimCall, SimIo } from '../../src/index.js'

const PATH = '/home/db'
const JOURNAL = /\.wal$/
/** Nothing that was not synced is left. */
const NOTHING_KEPT = { keepSectors: 0, keepNames: 0 }
const ALL_SEEDS = Array.from({ length: 24 }, (_, i) => i + 1)

type TextTree = Tree<string, string>

interface Life {
  readonly db: Db
  readonly tree: TextTree
}

async function begin(io: SimIo, options: OpenOptions = {}): Promise<Life> {
  const db = await open(PATH, {
    io,
    usableFrameBytes: 16_384,
    segmentBytes: 65_536,
    // Only when they are asked for.
    checkpoint: { thread: false, intervalMs: 2 ** 31 - 1 },
    backgroundCompaction: false,
    ...options,
  })
  return { db, tree: await db.tree('t', { valueEncoding: 'utf8' }) }
}

const contents = ({ tree }: Life): Record<string, string> =>
  Object.fromEntries(
    tree
      .scan()
      .toArray()
      .map(({ key, value }) => [key, value]),
  )

const durable = { durability: 'disk' } as const

/** Opens the disk, looks, and says what is there; the store must be sound. */
async function found(disk: SimDisk): Promise<Record<string, string>> {
  const life = await begin(disk.start())
  const there = contents(life)
  expect((await life.db.verify()).problems).toEqual([])
  disk.kill()
  return there
}

const refused = (code: string): unknown => expect.objectContaining({ code })

describe('the journal', () => {
  test('a failed sync that would succeed when repeated is not repeated: the database is poisoned, reads go on', async () => {
    const disk = new SimDisk({ seed: 3 })
    const io = disk.start()
    const life = await begin(io)
    await life.tree.put('before', 'synced', durable)
    await life.tree.put('a', '1')
    // Linux takes the pages for clean after the failure: the second sync would report success.
    io.faults.add({ operation: 'sync', path: JOURNAL, errno: 'EIO' })
    await expect(life.db.sync()).rejects.toEqual(refused('HOLT_POISONED'))
    await expect(life.db.sync()).rejects.toEqual(refused('HOLT_POISONED'))
    await expect(life.tree.put('b', '2')).rejects.toEqual(refused('HOLT_POISONED'))
    expect(contents(life)).toEqual({ before: 'synced', a: '1' })
    expect(await found(disk.crash({ seed: 4, ...NOTHING_KEPT }))).toEqual({ before: 'synced' })
  })

  test('a failed sync, an opening, then a power loss: what the next life built on is there', async () => {
    const disk = new SimDisk({ seed: 5 })
    const io = disk.start()
    const life = await begin(io)
    await life.tree.put('before', 'synced', durable)
    await life.tree.put('a', '1')
    io.faults.add({ operation: 'sync', path: JOURNAL, errno: 'EIO' })
    await expect(life.db.sync()).rejects.toEqual(refused('HOLT_POISONED'))
    disk.kill()
    // The page cache has it, and calls it clean.
    const second = await begin(disk.start())
    expect(contents(second)).toEqual({ before: 'synced', a: '1' })
    await second.tree.put('b', '2', durable)
    expect(await found(disk.crash({ seed: 6, ...NOTHING_KEPT }))).toEqual({
      before: 'synced',
      a: '1',
      b: '2',
    })
  })

  test('a kill, an opening, then a power loss', async () => {
    for (const isRead of [false, true]) {
      const disk = new SimDisk({ seed: 7 })
      const life = await begin(disk.start())
      await life.tree.put('before', 'synced', durable)
      for (let i = 0; i < 20; i++) await life.tree.put(`k${String(i)}`, 'v'.repeat(100))
      const all = contents(life)
      disk.kill()
      const second = await begin(disk.start())
      expect(contents(second)).toEqual(all)
      if (isRead) {
        // Who only read has promised nothing.
        expect(await found(disk.crash({ seed: 8, ...NOTHING_KEPT }))).toEqual({ before: 'synced' })
        continue
      }
      await second.tree.put('later', '1', durable)
      expect(await found(disk.crash({ seed: 8, ...NOTHING_KEPT }))).toEqual({ ...all, later: '1' })
    }
  })

  test('a kill, an opening, a sync and no write, then a power loss: what was found is there', async () => {
    const disk = new SimDisk({ seed: 9 })
    const life = await begin(disk.start())
    await life.tree.put('before', 'synced', durable)
    await life.tree.put('a', '1')
    const all = contents(life)
    disk.kill()
    const second = await begin(disk.start())
    await second.db.sync()
    expect(await found(disk.crash({ seed: 10, ...NOTHING_KEPT }))).toEqual(all)
  })

  test('a sync covers writes that still wait for their turn, as the first of an opening do', async () => {
    const disk = new SimDisk({ seed: 11 })
    const life = await begin(disk.start())
    await life.tree.put('before', 'synced', durable)
    await life.db.close()
    const second = await begin(disk.start())
    const waiting = [second.tree.put('a', '1'), second.tree.put('b', '2')]
    await second.db.sync()
    expect(await found(disk.crash({ seed: 12, ...NOTHING_KEPT }))).toEqual({
      before: 'synced',
      a: '1',
      b: '2',
    })
    await Promise.allSettled(waiting)
  })

  test('G3: a tail that is lost, new appends, then a power loss: the tail does not come back, nor do its versions', async () => {
    for (const seed of ALL_SEEDS) {
      const disk = new SimDisk({ seed })
      const life = await begin(disk.start())
      await life.tree.put('a', '1', durable)
      for (let i = 0; i < 30; i++) await life.tree.put(`lost${String(i)}`, 'x'.repeat(300))
      const newest = Number(life.tree.getRecord('lost29')?.version)
      const after = disk.crash({ seed, ...NOTHING_KEPT })
      const second = await begin(after.start())
      expect(contents(second)).toEqual({ a: '1' })
      // Shorter than what stood there, so that old bytes lie behind them.
      await second.tree.put('b', '2', durable)
      expect(Number(second.tree.getRecord('b')?.version)).toBeGreaterThan(newest)
      expect(await found(after.crash(seed))).toEqual({ a: '1', b: '2' })
    }
  })

  test('none, a write, then a power loss: its version is not handed out again', async () => {
    const disk = new SimDisk({ seed: 13 })
    const life = await begin(disk.start(), { durability: 'memory' })
    await life.tree.put('a', '1')
    const lost = Number(life.tree.getRecord('a')?.version)
    const after = disk.crash({ seed: 14, ...NOTHING_KEPT })
    const second = await begin(after.start(), { durability: 'memory' })
    expect(contents(second)).toEqual({})
    await second.tree.put('b', '2')
    expect(Number(second.tree.getRecord('b')?.version)).toBeGreaterThan(lost)
    await second.db.close()
  })

  test('a first write that is lost, then a start that is killed anywhere: its version is not handed out again', async () => {
    const disk = new SimDisk({ seed: 16 })
    const life = await begin(disk.start())
    await life.tree.put('a', '1', durable)
    disk.kill()
    const second = await begin(disk.start())
    await second.tree.put('b', '2')
    const lost = Number(second.tree.getRecord('b')?.version)
    // The header of the segment is stable, and says alone what the second life may have handed out.
    const after = disk.crash({ seed: 17, ...NOTHING_KEPT })
    const images: SimDisk[] = []
    const third = await begin(
      after.start({
        onCall: ({ number }: SimCall) => {
          images.push(after.killImage(number), after.crashImage(number))
        },
      }),
    )
    expect(contents(third)).toEqual({ a: '1' })
    await third.tree.put('c', '3')
    expect(images.length).toBeGreaterThan(20)
    for (const image of images) {
      const fourth = await begin(image.start())
      await fourth.tree.put('d', '4')
      expect(Number(fourth.tree.getRecord('d')?.version)).toBeGreaterThan(lost)
      image.kill()
    }
  })

  test('versions too far above the highest durable one: the next write waits for a sync', async () => {
    const disk = new SimDisk({ seed: 15 })
    const life = await begin(disk.start())
    await life.tree.put('a', '1')
    await life.db.close()
    const second = await begin(disk.start())
    // Sixteen million writes without a sync in between, to all appearances.
    let isSynced = false
    const durable = vi
      .spyOn(Journal.prototype, 'durableSeq', 'get')
      .mockImplementation(() => (isSynced ? 2 ** 50 : 0))
    const sync = vi.spyOn(Journal.prototype, 'sync').mockImplementation(() => {
      isSynced = true
      return Promise.resolve()
    })
    try {
      await second.tree.put('c', '3')
      expect(isSynced).toBe(true)
    } finally {
      durable.mockRestore()
      sync.mockRestore()
    }
    await second.db.close()
    expect(await found(disk)).toEqual({ a: '1', c: '3' })
  })

  test('a torn end before a segment that was begun: what lies behind it is dead, now and later', async () => {
    let behind = 0
    for (const seed of ALL_SEEDS) {
      const disk = new SimDisk({ seed })
      const life = await begin(disk.start({ mappings: seed % 2 === 0 }))
      await life.tree.put('k000', 'synced', durable)
      const keys = Array.from({ length: 120 }, (_, i) => `k${String(i + 1).padStart(3, '0')}`)
      for (const key of keys) await life.tree.put(key, key.repeat(300))
      const after = disk.crash({ seed, keepSectors: 0.5 })
      const second = await begin(after.start())
      const there = Object.keys(contents(second))
      // A prefix of what was written.
      expect(there).toEqual(['k000', ...keys].slice(0, there.length))
      expect(there.length).toBeGreaterThan(0)
      behind += second.db.stats().recovery?.recordsBehindEnd ?? 0
      await second.tree.put('z', 'new', durable)
      expect(Object.keys(await found(after.crash(seed)))).toEqual([...there, 'z'])
    }
    expect(behind).toBeGreaterThan(0)
  })

  test('segments that were recycled hold old records, and values that hold records: neither is taken for one', async () => {
    for (const seed of ALL_SEEDS.slice(0, 8)) {
      const disk = new SimDisk({ seed })
      const life = await begin(disk.start({ mappings: seed % 2 === 0 }))
      for (let round = 0; round < 5; round++) {
        for (let i = 0; i < 40; i++)
          await life.tree.put(`old/${String(i)}`, `${String(round)} `.repeat(1_000))
        await life.db.checkpoint()
      }
      expect(life.db.stats().journal?.segmentSwitches).toBeGreaterThan(2)
      for (let i = 0; i < 40; i++) await life.tree.delete(`old/${String(i)}`)
      await life.tree.put('a', '1', durable)
      // A whole record, header, salts' checksums and all, as it lies in a segment, in the value of another.
      const name = disk.list(PATH).find((file) => /journal-\d+\.wal/.test(file))
      const segment = disk.contents(`${PATH}/${String(name)}`)
      if (segment === undefined) throw new Error('there is no segment')
      const bytes = await life.db.tree('raw')
      const record = segment.slice(8_192, 8_192 + 4_000)
      for (let pad = 0; pad < 8; pad++) await bytes.put(`pad ${'.'.repeat(pad)}`, record)
      await life.tree.put('b', '2')
      expect(await found(disk.killImage(seed))).toEqual({ a: '1', b: '2' })
      for (const again of ALL_SEEDS.slice(0, 6)) {
        const there = await found(disk.crashImage(again))
        expect([{ a: '1' }, { a: '1', b: '2' }]).toContainEqual(there)
      }
      disk.kill()
    }
  })

  test("a write raised to 'disk' over mapped bytes: those before it are there, also those of the segment before", async () => {
    let switches = 0
    for (let fill = 0; fill < 40; fill++) {
      const disk = new SimDisk({ seed: fill + 1 })
      const life = await begin(disk.start())
      await life.tree.put('first', '1')
      // The raised write is the last of its segment, or the first of the next.
      const before = 28 + (fill >> 3)
      for (let i = 0; i < before; i++)
        await life.tree.put(`k${String(i)}`, 'v'.repeat(1_800 + (fill & 7) * 13))
      await life.tree.put('raised', '2', durable)
      const all = contents(life)
      switches += life.db.stats().journal?.segmentSwitches ?? 0
      expect(await found(disk.crash({ seed: fill, ...NOTHING_KEPT }))).toEqual(all)
    }
    expect(switches).toBeGreaterThan(5)
    expect(switches).toBeLessThan(40)
  })
})

describe('a checkpoint', () => {
  const filled = async (life: Life, mark: string): Promise<void> => {
    for (let i = 0; i < 60; i++) await life.tree.put(`k${String(i)}`, `${mark} `.repeat(200))
  }

  test('half a record of the manifest, and then more: nothing of it is taken for a record', async () => {
    let images = 0
    for (const seed of ALL_SEEDS) {
      const disk = new SimDisk({ seed })
      let taken: SimDisk | undefined
      let isArmed = false
      const io = disk.start({
        onCall: ({ operation, path }: SimCall) => {
          if (!isArmed || operation !== 'sync' || !path.includes('manifest')) return
          // Written, not synced: some of its sectors are there. The file may have been lengthened first.
          taken = disk.crashImage({ seed, keepSectors: 0.5 })
        },
      })
      const life = await begin(io)
      await filled(life, 'one')
      await life.db.checkpoint()
      await filled(life, 'two')
      await life.db.sync()
      const all = contents(life)
      isArmed = true
      await life.db.checkpoint()
      if (taken === undefined) throw new Error('the manifest was not synced')
      images++
      const second = await begin(taken.start())
      expect(contents(second)).toEqual(all)
      await second.tree.put('more', '1', durable)
      await second.db.checkpoint()
      await second.tree.put('and more', '2', durable)
      expect(await found(taken.crash(seed))).toEqual({ ...all, more: '1', 'and more': '2' })
    }
    expect(images).toBe(ALL_SEEDS.length)
  })

  test('G5: a flip in the last record of the manifest: the other copy serves; in both copies it is said', async () => {
    const disk = new SimDisk({ seed: 9 })
    const life = await begin(disk.start())
    await filled(life, 'one')
    await life.db.checkpoint()
    await filled(life, 'two')
    await life.db.checkpoint()
    const all = contents(life)
    const path = `${PATH}/manifest`
    const manifest = disk.contents(path)
    if (manifest === undefined) throw new Error('there is no manifest')
    let end = manifest.length
    while (manifest.subarray(end - 512, end).every((byte) => byte === 0)) end -= 512
    const sectors = new DataView(manifest.buffer).getUint16(end - 512 + 20, true) + 1
    const copyBytes = sectors * 512
    for (let at = 0; at < copyBytes; at += 37) {
      for (const copies of [[0], [1], [0, 1]]) {
        const damaged = disk.killImage(at)
        for (const copy of copies) {
          const offsetBytes = end - (2 - copy) * copyBytes + at
          const byte = Uint8Array.of((manifest[offsetBytes] ?? 0) ^ (1 << (at % 8)))
          damaged.overwrite(path, offsetBytes, byte)
        }
        if (copies.length === 1) expect(await found(damaged)).toEqual(all)
        else await expect(found(damaged)).rejects.toEqual(refused('HOLT_CORRUPT'))
      }
    }
    disk.kill()
  })

  test('that fails while another is asked for: the next one holds all of both', async () => {
    const disk = new SimDisk({ seed: 11 })
    const io = disk.start()
    const life = await begin(io)
    await filled(life, 'one')
    await life.db.checkpoint()
    await filled(life, 'two')
    io.faults.add({ operation: 'sync', path: 'blobs.dat', errno: 'EIO' })
    const failing = life.db.checkpoint()
    await life.tree.put('between', '1')
    const behind = life.db.checkpoint()
    await expect(failing).rejects.toEqual(refused('HOLT_IO'))
    await Promise.allSettled([behind])
    await life.tree.put('after', '2')
    await life.db.checkpoint()
    const all = contents(life)
    expect(all).toMatchObject({ between: '1', after: '2' })
    expect((await life.db.verify()).problems).toEqual([])
    expect(await found(disk.crash({ seed: 12, ...NOTHING_KEPT }))).toEqual(all)
  })

  test('a crash between the frames that are written and those that are given up: no frame belongs to nobody', async () => {
    const images: SimDisk[] = []
    const disk = new SimDisk({ seed: 13 })
    let isArmed = false
    const io = disk.start({
      onCall: ({ number, operation }: SimCall) => {
        if (!isArmed || operation === 'read' || operation === 'stat') return
        images.push(disk.killImage(number), disk.crashImage(number))
      },
    })
    const life = await begin(io)
    for (let i = 0; i < 300; i++) await life.tree.put(`gone/${String(i)}`, 'x'.repeat(500))
    await life.tree.put('stays', '1')
    await life.db.checkpoint()
    await life.tree.deletePrefix('gone/')
    await life.db.sync()
    isArmed = true
    await life.db.checkpoint()
    isArmed = false
    expect(images.length).toBeGreaterThan(8)
    // `found` fails for a frame that nothing names, and for one that is named and not there.
    for (const image of images) expect(await found(image)).toEqual({ stays: '1' })
    disk.kill()
  })

  test('a synchronous read while every slot is changed or being written: it waits for nothing', async () => {
    const disk = new SimDisk({ seed: 15 })
    const io = disk.start({ autoAdvance: true })
    const life = await begin(io, { cacheBytes: 16 * 2 ** 19 })
    const keys = Array.from({ length: 1_500 }, (_, i) => `k${String(i).padStart(5, '0')}`)
    for (const key of keys) await life.tree.put(key, key.repeat(40))
    await life.db.checkpoint()
    expect(life.db.stats().cache).toMatchObject({ capacityFrames: 16, dirtyFrames: 0 })
    // No frame can become clean from now on.
    io.faults.add({ operation: 'write', path: 'blobs.dat', errno: 'EIO', times: Infinity })
    const waiting = keys.slice(0, 900).map((key) => life.tree.put(key, `new ${key}`))
    const settled = Promise.allSettled(waiting)
    const failing = life.db.checkpoint().catch((error: unknown) => error)
    const { absent } = readAll(life, keys, 900)
    expect(absent, 'reads of frames that were not in memory').toBeGreaterThan(0)
    expect(await failing).toEqual(refused('HOLT_IO'))
    readAll(life, keys, 900)
    // Writers that found no room learn of the cause once it has lasted for 30 s; the others have their answer.
    const codes = (await settled).map((one) =>
      one.status === 'rejected' ? (one.reason as { code: string }).code : 'done',
    )
    expect(new Set(codes)).toEqual(new Set(['done', 'HOLT_CHECKPOINT_FAILED']))
    const { dirtyFrames, capacityFrames } = life.db.stats().cache
    expect(dirtyFrames, 'no room but what is kept for reads').toBeGreaterThan(capacityFrames / 2)
    const { changed } = readAll(life, keys, 900)
    expect(changed).toBe(codes.filter((code) => code === 'done').length)
    disk.kill()
  })
})

/** Reads every key at once: the first `rewritten` have their old value or the new one, the others the old. */
function readAll(
  life: Life,
  keys: readonly string[],
  rewritten: number,
): { readonly absent: number; readonly changed: number } {
  const before = life.db.stats().cache
  let changed = 0
  for (const [i, key] of keys.entries()) {
    const value = life.tree.get(key)
    if (value === key.repeat(40)) continue
    expect([i < rewritten, value]).toEqual([true, `new ${key}`])
    changed++
  }
  const after = life.db.stats().cache
  return { absent: after.wholeReads + after.pageReads - before.wholeReads - before.pageReads, changed }
}
