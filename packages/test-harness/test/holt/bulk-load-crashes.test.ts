import { type Db, open, type Tree } from 'holt'
import { describe, expect, it } from 'vitest'

import { SimDisk } from '../../src/index.js'
import type { FaultRule, SimIo } from '../../src/index.js'

const DIRECTORY = '/home/db'
const KEYS = 1_200
const keyOf = (i: number): string =>
  `d${String(Math.floor(i / 100)).padStart(2, '0')}/f${String(i).padStart(5, '0')}`
const entries = Array.from({ length: KEYS }, (_, i): [string, Uint8Array] => [
  keyOf(i),
  new Uint8Array(i % 97 === 0 ? 3_000 : 20 + (i % 60)).fill(i),
])

function openOn(io: SimIo): Promise<Db> {
  return open(DIRECTORY, {
    io,
    durability: 'disk',
    segmentBytes: 65_536,
    usableFrameBytes: 12_288,
    cacheBytes: 16 * 524_288,
    checkpoint: { thread: false },
  })
}

/** What the tree may hold: nothing, the load, the load with a directory renamed, that with a key deleted. */
const loaded = entries.map(([key]) => key)
const renamed = loaded.map((key) => key.replace('d03/', 'moved/')).sort()
const STATES = [[], loaded, renamed, renamed.filter((key) => key !== keyOf(700))].map((keys) => keys.join())

interface Moment {
  readonly disk: SimDisk
  /** State of the tree that was acknowledged, and keys of the other tree. */
  readonly state: number
  readonly others: number
}

/**
 * Loads while others write, with a fault in the last step's checkpoint if wanted, and keeps the disks that crashes at its
 * calls would leave.
 */
async function loadAndCrash(fault?: FaultRule): Promise<{ moments: Moment[]; error: unknown }> {
  const disk = new SimDisk({ seed: 11 })
  const moments: Moment[] = []
  let isOn = false
  let isLooking = false
  const writes: Promise<unknown>[] = []
  let state = 0
  let others = 0
  let calls = 0
  const io = disk.start({
    autoAdvance: true,
    onCall: () => {
      if (!isOn || isLooking) return
      follow()
      calls++
      moments.push({ disk: disk.crashImage(calls), state, others })
      if (calls % 3 === 0) moments.push({ disk: disk.killImage(calls), state, others })
    },
  })
  const db = await openOn(io)
  const tree = await db.tree('t', { valueEncoding: 'view' })
  const other = await db.tree('other', { valueEncoding: 'view' })
  await db.checkpoint()
  isOn = true
  // Writes that see what was loaded before any call that could make it durable.
  const follow = (): void => {
    if (isLooking || writes.length > 0) return
    isLooking = true
    const isThere = tree.has(keyOf(0))
    isLooking = false
    if (!isThere) return
    if (fault !== undefined) io.faults.add(fault)
    writes.push(tree.renamePrefix('d03/', 'moved/').then(() => (state = 2)))
    writes.push(
      tree.delete(keyOf(700)).then((wasThere) => {
        if (wasThere) state = 3
      }),
    )
  }
  let error: unknown
  function* besideWrites(): Generator<[string, Uint8Array]> {
    for (const [i, entry] of entries.entries()) {
      if (i % 100 === 0) void other.put(String(i), new Uint8Array(8)).then(() => others++)
      yield entry
    }
  }
  await tree.bulkLoad(besideWrites(), { sorted: true }).then(
    () => (state = Math.max(state, 1)),
    (caught: unknown) => (error = caught),
  )
  await Promise.allSettled(writes)
  await db.sync()
  isOn = false
  moments.push({ disk: disk.crashImage(0), state, others })
  disk.kill()
  return { moments, error }
}

async function expectOneOfTheStates({ disk, state, others }: Moment): Promise<number> {
  const io = disk.start({ autoAdvance: true })
  const db = await openOn(io)
  const tree: Tree<string, Uint8Array> = await db.tree('t', { valueEncoding: 'view' })
  const found = STATES.indexOf([...tree.keys()].join())
  expect(found).toBeGreaterThanOrEqual(state)
  const values = new Map(entries)
  for (const { key, value } of tree.scan())
    expect(Buffer.compare(value, values.get(key.replace('moved/', 'd03/')) ?? Buffer.of())).toBe(0)
  expect([...(await db.tree('other')).keys()].length).toBeGreaterThanOrEqual(others)
  // No frame has leaked: what was built in vain waits to be given back.
  expect((await db.verify()).problems).toEqual([])
  await (await db.tree('other')).put('again', new Uint8Array(1))
  while (db.stats().reclaim.unlinkedFrames > 0) await new Promise((resolve) => setImmediate(resolve))
  expect(await db.verify()).toMatchObject({ problems: [], unlinkedBlobIds: [] })
  await db.close()
  return found
}

describe('a bulk load that a crash interrupts', () => {
  it('is there in whole or not at all, at every call of the Io, and leaks no frame', async () => {
    const { moments, error } = await loadAndCrash()
    expect(error).toBeUndefined()
    expect(moments.length).toBeGreaterThan(40)
    const met = new Set<number>()
    for (const moment of moments) met.add(await expectOneOfTheStates(moment))
    expect(met).toContain(0)
    expect(met).toContain(3)
  }, 120_000)

  it.each([
    ['that happened all the same', { operation: 'sync', path: /manifest/, errno: 'EIO', late: true }],
    ['that did not happen', { operation: 'write', path: /blobs/, errno: 'ENOSPC' }],
  ] as const)(
    'is gone for good once its last checkpoint was told of a failure, of one %s',
    async (_name, fault) => {
      const { moments, error } = await loadAndCrash(fault)
      expect(error).toMatchObject({ code: fault.errno === 'EIO' ? 'HOLT_IO' : 'HOLT_NO_SPACE' })
      const met: number[] = []
      for (const moment of moments) met.push(await expectOneOfTheStates(moment))
      expect(met.every((state) => state <= 1)).toBe(true)
      expect(met.at(-1)).toBe(0)
      if (fault.operation === 'sync') expect(met).toContain(1)
    },
    120_000,
  )
})
