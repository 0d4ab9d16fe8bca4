import { blobId, FRAME_BYTES, usedPages } from '@holt/blob-buf-pool'
import type { FileBlobStore } from '@holt/blob-store'
import { isHoltError } from '@holt/errors'
import { describe, expect, test } from 'vitest'

import { SimDisk } from '../../src/index.js'
import type { SimIo, SimOperation } from '../../src/index.js'
import { lookAt, openStore } from './store-history.js'

const BLOBS = 24

/** A store whose blobs lie at the end of its data file, with holes before them. */
async function scattered(io: SimIo): Promise<FileBlobStore> {
  const store = await openStore(io)
  const frame = (id: number): Uint8Array => new Uint8Array(FRAME_BYTES).fill(id)
  for (let id = 1; id <= BLOBS; id++) {
    await store.write(blobId(id), frame(id))
    if (id % 5 === 0) await store.flush(Uint8Array.of(id))
  }
  for (let id = 1; id <= BLOBS; id++) if (id % 3 !== 0) await store.delete(blobId(id))
  await store.flush(Uint8Array.of(200))
  return store
}

/** Vacuums to the end; the sums. */
async function vacuum(store: FileBlobStore): Promise<{ moved: number; freed: number; steps: number }> {
  const sums = { moved: 0, freed: 0, steps: 0 }
  for (;;) {
    const { movedFrames, freedBytes, isDone } = await store.vacuum(3)
    sums.moved += movedFrames
    sums.freed += freedBytes
    sums.steps++
    if (isDone) return sums
  }
}

async function sizesOf(io: SimIo): Promise<{ data: number; manifest: number }> {
  const size = async (path: string): Promise<number> => {
    const file = await io.open(path, { access: 'read' })
    const { sizeBytes } = await io.stat(file)
    await io.close(file)
    return sizeBytes
  }
  return { data: await size('/s/blobs.dat'), manifest: await size('/s/manifest') }
}

test('leaves a data file without a hole, tells what it freed, and changes nothing that is stored', async () => {
  const io = new SimDisk({ seed: 1 }).start()
  const store = await scattered(io)
  const state = await lookAt(store)
  const before = await sizesOf(io)
  const { moved, freed, steps } = await vacuum(store)
  const after = await sizesOf(io)
  expect(after.data).toBe(8 * FRAME_BYTES)
  expect(freed).toBe(before.data + before.manifest - after.data - after.manifest)
  expect(moved).toBeGreaterThan(3)
  expect(steps).toBeGreaterThan(1)
  expect(await lookAt(store)).toBe(state)
  expect(store.verifyMapping()).toEqual([])
  expect(store.stats().files.map(({ sizeBytes }) => sizeBytes)).toEqual([after.data, after.manifest])
  // There is nothing left to do, and the store goes on.
  expect(await vacuum(store)).toEqual({ moved: 0, freed: 0, steps: 1 })
  await store.write(blobId(99), new Uint8Array(FRAME_BYTES).fill(99))
  await store.flush(Uint8Array.of(201))
  expect(await lookAt(store)).toBe(state.replace('note 200', 'note 201') + ' 99=99')
  await store.close()
})

/** Frames of which only the first pages are in use, as their unit count says. */
async function halfFull(io: SimIo, count: number): Promise<FileBlobStore> {
  const store = await openStore(io)
  for (let id = 1; id <= count; id++) {
    const frame = new Uint8Array(FRAME_BYTES).fill(id, 4096, (1 + (id % 5)) * 4096)
    new DataView(frame.buffer).setUint32(640, ((1 + (id % 5)) * 4096) / 8, true)
    await store.write(blobId(id), frame)
  }
  await store.flush(Uint8Array.of(200))
  return store
}

function whole(id: number): Uint8Array {
  const frame = new Uint8Array(FRAME_BYTES).fill(id, 4096)
  new DataView(frame.buffer).setUint32(640, FRAME_BYTES / 8, true)
  return frame
}

/** The pages in use of every blob; what lies behind them is not stored. */
async function usedBytesOf(store: FileBlobStore): Promise<string> {
  const seen: string[] = []
  for (const id of store.list()) {
    const frame = new Uint8Array(FRAME_BYTES)
    await store.read(id, frame)
    const used = usedPages(frame) * 4096
    seen.push(`${String(id)}=${[...new Set(frame.subarray(4096, used))].join()} of ${String(used)}`)
  }
  return seen.join(' ')
}

test('gives back what lies behind the pages in use of each slot, in steps, and a crash at any call of it loses nothing', async () => {
  const images: { readonly disk: SimDisk; readonly what: string }[] = []
  const disk = new SimDisk({ seed: 4 })
  let armed = false
  const io = disk.start({
    reorder: true,
    onCall: ({ number, operation }) => {
      if (!armed || operation !== 'punchHole') return
      images.push({ disk: disk.killImage(number), what: `kill, call ${String(number)}` })
      images.push({ disk: disk.crashImage(number), what: `power loss, call ${String(number)}` })
    },
  })
  const store = await halfFull(io, 60)
  const state = await usedBytesOf(store)
  armed = true
  const { moved, freed, steps } = await vacuum(store)
  armed = false
  expect(moved).toBe(0)
  // 3 frames a step, 16 holes for each.
  expect(steps).toBe(2)
  const file = await io.open('/s/blobs.dat', { access: 'read' })
  const { sizeBytes, allocatedBytes } = await io.stat(file)
  expect(sizeBytes).toBe(60 * FRAME_BYTES)
  expect(allocatedBytes).toBe(60 * 3 * 4096)
  expect(freed).toBeGreaterThanOrEqual(sizeBytes - allocatedBytes)
  expect(await usedBytesOf(store)).toBe(state)
  expect(images).toHaveLength(120)
  for (const { disk: image, what } of images) {
    const again = await openStore(image.start())
    expect(await usedBytesOf(again), what).toBe(state)
    await again.close()
  }
  // A frame that grows in its place, and one in the place of another.
  await store.write(blobId(7), whole(7))
  await store.flush(Uint8Array.of(201))
  await store.write(blobId(8), whole(8))
  await store.flush(Uint8Array.of(202))
  await store.close()
  const again = await openStore(disk.crashImage(99).start())
  expect(await usedBytesOf(again)).toContain('7=7 of 524288 8=8 of 524288')
  await again.close()
})

test('a hole that fails is reported, and nothing is lost', async () => {
  const io = new SimDisk({ seed: 4 }).start()
  const store = await halfFull(io, 20)
  const state = await usedBytesOf(store)
  io.faults.add({ operation: 'punchHole', nth: 5, errno: 'EIO' })
  await expect(vacuum(store)).rejects.toMatchObject({ code: 'HOLT_IO' })
  expect(await usedBytesOf(store)).toBe(state)
  await vacuum(store)
  expect(await usedBytesOf(store)).toBe(state)
  await store.close()
})

test('does nothing to a store that was never flushed, and refuses one with something staged', async () => {
  const store = await openStore(new SimDisk({ seed: 1 }).start())
  expect(await store.vacuum(4)).toEqual({ movedFrames: 0, freedBytes: 0, isDone: true })
  await store.write(blobId(1), new Uint8Array(FRAME_BYTES))
  await expect(store.vacuum(4)).rejects.toEqual(expect.objectContaining({ code: 'HOLT_BUSY' }))
  await store.close()
  await expect(store.vacuum(4)).rejects.toEqual(expect.objectContaining({ code: 'HOLT_CLOSED' }))
})

for (const [seed, reorder] of [
  [1, false],
  [2, true],
] as const) {
  test(`a crash at any call of its Io changes nothing that is stored (seed ${String(seed)})`, async () => {
    const images: { readonly disk: SimDisk; readonly what: string }[] = []
    const disk = new SimDisk({ seed })
    let armed = false
    const io = disk.start({
      reorder,
      onCall: ({ number, operation, path }) => {
        if (!armed || operation === 'read' || operation === 'stat') return
        const what = `${operation} ${path}, call ${String(number)}`
        images.push({ disk: disk.killImage(number), what: `kill at ${what}` })
        for (let crash = 0; crash < 4; crash++)
          images.push({ disk: disk.crashImage(number * 10 + crash), what: `power loss at ${what}` })
      },
    })
    const store = await scattered(io)
    const state = await lookAt(store)
    armed = true
    await vacuum(store)
    // Rewritten at once, into the places that have just become free.
    images.push({ disk: disk.crashImage(7), what: 'power loss at the end' })
    await store.close()
    expect(images.length).toBeGreaterThan(50)
    for (const { disk: image, what } of images) {
      const again = await openStore(image.start())
      expect(await lookAt(again), what).toBe(state)
      expect(again.verifyMapping(), what).toEqual([])
      await vacuum(again)
      expect(await lookAt(again), `${what}, then vacuumed`).toBe(state)
      await again.close()
    }
  })
}

describe('when a call fails', () => {
  const operations: SimOperation[] = [
    'read',
    'write',
    'sync',
    'truncate',
    'open',
    'allocate',
    'rename',
    'syncDir',
  ]
  for (const operation of operations) {
    test(`at any ${operation}, nothing is lost, and what comes later makes up for it`, async () => {
      for (const late of [false, true]) {
        let met = 0
        while (await runWithFault(operation, met + 1, late)) met++
        expect(met).toBeGreaterThan(0)
      }
    })
  }
})

/** Returns whether the fault was met. */
async function runWithFault(operation: SimOperation, nth: number, late: boolean): Promise<boolean> {
  const what = `${late ? 'late ' : ''}EIO at ${operation} ${String(nth)}`
  const disk = new SimDisk({ seed: nth })
  const first = disk.start()
  const made = await scattered(first)
  const state = await lookAt(made)
  await made.close()
  const io = disk.start({ faults: [{ operation, nth, errno: 'EIO', late }] })
  const store = await openStore(io).catch((error: unknown) => error)
  if (store instanceof Error) return true
  const opened = store as FileBlobStore
  const outcome = { poisoned: false }
  try {
    await vacuum(opened)
  } catch (error) {
    expect(isHoltError(error), `${what}: ${String(error)}`).toBe(true)
    // A commit of unknown fate whose settling failed too.
    await vacuum(opened).catch((again: unknown) => {
      outcome.poisoned = isHoltError(again, 'HOLT_POISONED')
      expect(outcome.poisoned, `${what}: ${String(again)}`).toBe(true)
    })
  }
  // The fault may be met by this very look.
  expect(await lookAt(opened).catch(() => lookAt(opened)), what).toBe(state)
  if (!outcome.poisoned) expect((await sizesOf(disk.killImage(1).start())).data, what).toBe(8 * FRAME_BYTES)
  for (const image of [disk.killImage(1), disk.crashImage(2), disk.crashImage({ seed: 4, keepSectors: 0 })])
    expect(await lookAt(await openStore(image.start())), what).toBe(state)
  return io.faults.injected > 0
}
