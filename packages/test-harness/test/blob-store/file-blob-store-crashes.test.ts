import { isHoltError } from '@holt/errors'
import { describe, expect, test } from 'vitest'

import { SimDisk } from '../../src/index.js'
import type { SimOperation } from '../../src/index.js'
import { lookAt, openStore, StoreHistory } from './store-history.js'

const ROUNDS = 6

interface Image {
  readonly disk: SimDisk
  readonly possible: readonly string[]
  readonly what: string
}

/** Runs a history and takes images of the disk at every call of its Io. */
async function imagesOf(seed: number, reorder: boolean): Promise<Image[]> {
  const images: Image[] = []
  const history = new StoreHistory(seed)
  const disk = new SimDisk({ seed })
  const io = disk.start({
    reorder,
    onCall: ({ number, operation, path }) => {
      if (operation === 'read' || operation === 'stat') return
      const { possible } = history
      const what = `${operation} ${path}, call ${String(number)} of seed ${String(seed)}`
      images.push({ disk: disk.killImage(number), possible, what: `kill at ${what}` })
      for (let crash = 0; crash < 3; crash++) {
        const after = disk.crashImage(number * 10 + crash)
        images.push({ disk: after, possible, what: `power loss ${String(crash)} at ${what}` })
      }
    },
  })
  const store = await openStore(io)
  for (let round = 0; round < ROUNDS; round++) await history.round(store)
  images.push({ disk: disk.crashImage(1), possible: history.possible, what: 'power loss at the end' })
  await store.close()
  return images
}

describe('FileBlobStore after a crash at any call of its Io', () => {
  for (const [seed, reorder] of [
    [1, false],
    [2, true],
    [3, true],
  ] as const) {
    test(`shows the last completed flush or the one in progress (seed ${String(seed)})`, async () => {
      const images = await imagesOf(seed, reorder)
      expect(images.length).toBeGreaterThan(100)
      const seen = new Set<number>()
      for (const { disk, possible, what } of images) {
        const store = await openStore(disk.start())
        const found = await lookAt(store)
        expect(possible, what).toContain(found)
        seen.add(possible.indexOf(found))
        await store.close()
      }
      // Both were seen: the images do differ.
      expect([...seen].sort()).toEqual([0, 1])
    })
  }

  test('goes on from what it shows: later flushes are kept over a power loss, and nothing else returns', async () => {
    for (const { disk, possible, what } of (await imagesOf(4, true)).filter((_, i) => i % 7 === 0)) {
      const io = disk.start({ reorder: true })
      const store = await openStore(io)
      const found = await lookAt(store)
      expect(possible, what).toContain(found)
      const history = new StoreHistory(99)
      await store.flush(Uint8Array.of(200))
      for (const id of store.list()) await store.delete(id)
      for (let round = 0; round < 3; round++) await history.round(store)
      expect(await lookAt(store), what).toBe(history.completed)
      for (let seed = 0; seed < 3; seed++) {
        const again = await openStore(disk.crashImage(seed).start())
        expect(await lookAt(again), `${what}, then power loss ${String(seed)}`).toBe(history.completed)
      }
    }
  })
})

describe('FileBlobStore when a call of its Io fails', () => {
  const operations: SimOperation[] = ['write', 'sync', 'open', 'allocate', 'truncate', 'rename', 'syncDir']

  for (const operation of operations) {
    for (const errno of ['EIO', 'ENOSPC']) {
      test(`with ${errno} at any ${operation}, loses no completed flush and shows no mixture`, async () => {
        for (const late of [false, true]) {
          let met = 0
          while (await runWithFault(operation, errno, met + 1, late)) met++
          expect(met > 0 || operation === 'allocate' || operation === 'truncate').toBe(true)
        }
      })
    }
  }
})

/** Returns whether the fault was met. */
async function runWithFault(
  operation: SimOperation,
  errno: string,
  nth: number,
  late: boolean,
): Promise<boolean> {
  const what = `${late ? 'late ' : ''}${errno} at ${operation} ${String(nth)}`
  const disk = new SimDisk({ seed: nth })
  const io = disk.start({ reorder: nth % 2 === 0, faults: [{ operation, nth, errno, late }] })
  const history = new StoreHistory(nth)
  let store = await openStore(io).catch((error: unknown) => error)
  if (store instanceof Error) {
    expect(isHoltError(store), `${what}: ${String(store)}`).toBe(true)
    store = await openStore(io)
  }
  const opened = store as Awaited<ReturnType<typeof openStore>>
  for (let round = 0; round < ROUNDS; round++) {
    try {
      await history.round(opened)
    } catch (error) {
      expect(isHoltError(error), `${what}: ${String(error)}`).toBe(true)
      if (isHoltError(error, 'HOLT_POISONED')) break
      // Staged frames are dropped: reads show the last completed flush.
      const shown = await lookAt(opened)
      if (history.flushing) expect(shown, `${what}, after the failed flush`).toBe(history.completed)
    }
  }
  const images = [
    disk.killImage(1),
    disk.crashImage(2),
    disk.crashImage(3),
    disk.crashImage({ seed: 4, keepSectors: 0 }),
  ]
  for (const [i, image] of images.entries()) {
    const again = await openStore(image.start())
    expect(history.possible, `${what}, image ${String(i)}`).toContain(await lookAt(again))
  }
  return io.faults.injected > 0
}
