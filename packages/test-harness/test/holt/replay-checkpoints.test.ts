import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HoltError } from '@holt/errors'
import { type Db, open, type OpenOptions } from 'holt'
import { describe, expect, test } from 'vitest'

import { SimDisk, type SimIo } from '../../src/index.js'

const PATH = '/home/db'
const CACHE_FRAMES = 16
/** Every so manieth call is looked at; all of them with `HOLT_FAULT_STRIDE=1`. */
const STRIDE = Number(process.env['HOLT_FAULT_STRIDE'] ?? 37)

/** Frames so small that a few hundred keys fill more of them than the cache has. */
const SMALL: OpenOptions = {
  usableFrameBytes: 16_384,
  segmentBytes: 262_144,
  backgroundCompaction: false,
}

/** A cache that holds all changes, and checkpoints that never start: everything is in the journal. */
function openLarge(io: SimIo): Promise<Db> {
  return open(PATH, {
    ...SMALL,
    io,
    cacheBytes: 512 * 2 ** 19,
    syncIntervalMs: 2 ** 30,
    checkpoint: { thread: false, intervalMs: 2 ** 30, dirtyFrames: 2 ** 20, journalBytes: 2 ** 40 },
  })
}

function openSmall(io: SimIo): Promise<Db> {
  return open(PATH, { ...SMALL, io, cacheBytes: CACHE_FRAMES * 2 ** 19, checkpoint: { thread: false } })
}

const value = (i: number): string => `${String(i)} `.repeat(200)

/** The write with this number, as a change of a map: mostly puts of new keys, now and then a delete or a deleted subtree. */
function applyTo(state: Map<string, string>, i: number): void {
  if (i % 97 === 96) {
    for (const key of state.keys()) if (key.startsWith(`dir-${String(i % 7)}/`)) state.delete(key)
  } else if (i % 10 === 9) state.delete(keyOf(i - 5))
  else state.set(keyOf(i), value(i))
}

function keyOf(i: number): string {
  return `dir-${String(i % 7)}/key-${String((i * 7919) % 10_007)}`
}

async function write(db: Db, from: number, to: number): Promise<void> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  for (let i = from; i < to; i++) {
    if (i % 97 === 96) await tree.deletePrefix(`dir-${String(i % 7)}/`)
    else if (i % 10 === 9) await tree.delete(keyOf(i - 5))
    else await tree.put(keyOf(i), value(i))
  }
}

async function shown(db: Db): Promise<Map<string, string>> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  const entries = tree.scan().toArray()
  return new Map(entries.map(({ key, value: text }) => [key, text]))
}

/** After how many writes a state is as it was found; undefined if it never was. */
function writesIn(found: ReadonlyMap<string, string>, least: number, most: number): number | undefined {
  const state = new Map<string, string>()
  for (let i = 0; i <= most; i++) {
    if (i >= least && state.size === found.size && [...state].every(([key, text]) => found.get(key) === text))
      return i
    applyTo(state, i)
  }
  return undefined
}

function stateAfter(writes: number): Map<string, string> {
  const state = new Map<string, string>()
  for (let i = 0; i < writes; i++) applyTo(state, i)
  return state
}

interface Left {
  readonly disk: SimDisk
  readonly synced: number
  readonly written: number
}

/** A store with a small image and a long journal behind it, of which the end is not synced; its process is gone. */
async function longJournal(seed: number, written: number): Promise<Left> {
  const disk = new SimDisk({ seed })
  const io = disk.start()
  const db = await openLarge(io)
  await write(db, 0, 20)
  await db.checkpoint()
  const synced = Math.floor(written / 3)
  await write(db, 20, synced)
  await db.sync()
  await write(db, synced, written)
  return { disk: disk.killImage(seed), synced, written }
}

async function opensAs(image: SimDisk, writes: number, what: string): Promise<void> {
  const db = await openSmall(image.start())
  expect(writesIn(await shown(db), writes, writes), what).toBe(writes)
  expect((await db.verify()).problems, what).toEqual([])
  await db.close()
}

describe('a journal that changes more frames than the cache has', () => {
  test('is replayed with checkpoints half-way, within the cache, and nothing is replayed twice', async () => {
    const { disk, written } = await longJournal(1, 4_500)
    const expected = stateAfter(written)
    const db = await openSmall(disk.start())
    const { recovery, cache } = db.stats()
    expect(recovery?.checkpoints).toBeGreaterThan(10)
    // A record may want some frames more than are there; not the 200 that all of them change.
    expect(cache.capacityFrames).toBe(CACHE_FRAMES)
    expect(cache.overshootFrames).toBeLessThanOrEqual(4)
    expect(db.stats().store.blobs).toBeGreaterThan(100)
    expect(await shown(db)).toEqual(expected)
    expect((await db.verify()).problems).toEqual([])

    // Without a close: the next one begins where the last of them was.
    const next = await openSmall(disk.killImage(1).start())
    expect(next.stats().recovery?.replayedRecords).toBeLessThan((recovery?.replayedRecords ?? 0) / 4)
    expect(await shown(next)).toEqual(expected)
    await write(next, written, written + 50)
    expect(await shown(next)).toEqual(stateAfter(written + 50))
    await next.close()

    await write(db, written, written + 50)
    expect(await shown(db)).toEqual(stateAfter(written + 50))
    await db.close()
    await opensAs(disk, written + 50, 'after the close')
  })

  test('and not one more while it fits: then an opening changes nothing', async () => {
    const { disk } = await longJournal(2, 60)
    const changes: string[] = []
    const db = await openSmall(
      disk.start({
        onCall: ({ operation, path }) => {
          if (/write|sync|allocate|truncate|rename/i.test(operation)) changes.push(`${operation} ${path}`)
        },
      }),
    )
    expect(db.stats().recovery?.checkpoints).toBe(0)
    expect(db.stats().recovery?.replayedRecords).toBeGreaterThan(30)
    expect(changes.filter((change) => !change.includes('lock'))).toEqual([])
    await db.close()
  })

  test('hands out no version twice', async () => {
    const { disk, written } = await longJournal(3, 2_000)
    const db = await openSmall(disk.start())
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    const highest = Math.max(
      ...tree
        .scan()
        .toArray()
        .map(({ version }) => version),
    )
    await write(db, written, written + 1)
    await tree.put('last', 'x')
    expect(tree.getRecord('last')?.version).toBeGreaterThan(highest)
    await db.close()
  })

  test('a crash at any call of the replay leaves a store that opens with the same, again and again', async () => {
    const { disk, synced, written } = await longJournal(4, 600)
    const images: { readonly disk: SimDisk; readonly isPowerLoss: boolean; readonly what: string }[] = []
    let calls = 0
    const io = disk.start({
      reorder: true,
      onCall: ({ number, operation, path }) => {
        if (operation === 'read' || operation === 'stat' || operation === 'list') return
        if (calls++ % STRIDE > 0) return
        const what = `${operation} ${path}, call ${String(number)}`
        images.push({ disk: disk.killImage(number), isPowerLoss: false, what: `kill at ${what}` })
        for (let crash = 0; crash < 2; crash++) {
          const after = disk.crashImage(number * 10 + crash)
          images.push({ disk: after, isPowerLoss: true, what: `power loss ${String(crash)} at ${what}` })
        }
      },
    })
    const db = await openSmall(io)
    expect(db.stats().recovery?.checkpoints).toBeGreaterThan(1)
    expect(images.length).toBeGreaterThan(STRIDE > 1 ? 10 : 100)
    let lost = 0
    for (const { disk: image, isPowerLoss, what } of images) {
      const again = await openSmall(image.start())
      const found = writesIn(await shown(again), synced, written)
      expect(found, what).toBeDefined()
      if (found === undefined) return
      if (!isPowerLoss) expect(found, what).toBe(written)
      else if (found < written) lost++
      expect((await again.verify()).problems, what).toEqual([])
      // What was found once is found again: by whoever comes next, and after a second crash.
      await opensAs(image.killImage(1), found, `${what}, opened again`)
      await again.close()
    }
    // The end of the journal was not synced: some power losses took of it what they could.
    expect(lost).toBeGreaterThan(0)
    await db.close()
  })

  test('a call of the replay that fails loses nothing: the opening fails and says so, or goes on', async () => {
    const { disk, written } = await longJournal(5, 450)
    let calls = 0
    const sound = await openSmall(disk.killImage(0).start({ onCall: () => calls++ }))
    expect(sound.stats().recovery?.checkpoints).toBeGreaterThan(0)
    const outcomes = new Set<string>()
    for (const fault of [{ errno: 'EIO' }, { errno: 'EIO', late: true }, { errno: 'ENOSPC' }]) {
      for (let nth = 1; nth <= calls; nth += STRIDE) {
        const what = `${JSON.stringify(fault)} at call ${String(nth)}`
        const image = disk.killImage(nth)
        const io = image.start({ faults: [{ ...fault, operation: 'any', nth }] })
        const opened = await openSmall(io).catch((error: unknown) => error)
        if (opened instanceof Error) {
          expect(opened, what).toBeInstanceOf(HoltError)
          outcomes.add('failed')
        } else {
          const db = opened as Db
          expect(writesIn(await shown(db), written, written), what).toBe(written)
          outcomes.add('went on')
        }
        await opensAs(image.killImage(nth), written, `${what}, opened again`)
      }
    }
    expect([...outcomes].sort()).toEqual(['failed', 'went on'])
  })

  test('on a full disk goes on in a cache that grows, and nothing is lost', async () => {
    const { disk, written } = await longJournal(6, 1_500)
    const io = disk.start({
      faults: [{ operation: ['allocate', 'write'], path: 'blobs.dat', times: Infinity, errno: 'ENOSPC' }],
    })
    const db = await openSmall(io)
    expect(db.stats().recovery?.checkpoints).toBe(0)
    expect(db.stats().cache.overshootFrames).toBeGreaterThan(CACHE_FRAMES)
    expect(writesIn(await shown(db), written, written)).toBe(written)
    await opensAs(disk.killImage(1), written, 'with room again')
  })

  test('with the I/O worker as a thread, on a real disk', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'holt-replay-'))
    try {
      const db = await open(join(directory, 'live'), {
        ...SMALL,
        cacheBytes: 512 * 2 ** 19,
        checkpoint: { intervalMs: 2 ** 30, dirtyFrames: 2 ** 20, journalBytes: 2 ** 40 },
      })
      await write(db, 0, 1_500)
      await db.sync()
      // As a kill would leave it.
      const killed = join(directory, 'killed')
      cpSync(join(directory, 'live'), killed, { recursive: true, filter: (path) => !path.includes('lock') })
      await db.close()

      const again = await open(killed, { ...SMALL, cacheBytes: CACHE_FRAMES * 2 ** 19 })
      expect(again.stats().recovery?.checkpoints).toBeGreaterThan(2)
      expect(again.stats().cache.overshootFrames).toBeLessThanOrEqual(4)
      expect(await shown(again)).toEqual(stateAfter(1_500))
      await write(again, 1_500, 1_600)
      expect((await again.verify()).problems).toEqual([])
      await again.close()
      const last = await open(killed, { ...SMALL, cacheBytes: CACHE_FRAMES * 2 ** 19 })
      expect(await shown(last)).toEqual(stateAfter(1_600))
      await last.close()
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})
