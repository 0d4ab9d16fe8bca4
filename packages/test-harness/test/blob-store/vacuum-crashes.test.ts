import { blobId, FRAME_BYTES } from '@holt/blob-buf-pool'
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
