import { blobId, FRAME_BYTES } from '@holt/blob-buf-pool'
import { expect, test } from 'vitest'

import { SimDisk } from '../../src/index.js'
import { openStore } from './store-history.js'

test('a flush that replaces the manifest is there when it has resolved, whatever names a power loss takes', async () => {
  const disk = new SimDisk({ seed: 1 })
  let renames = 0
  const io = disk.start({
    onCall: ({ operation }) => {
      if (operation === 'rename') renames++
    },
  })
  const store = await openStore(io)
  const frame = new Uint8Array(FRAME_BYTES)
  let replaced = 0
  // Notes so long that the log is full after a few: then comes a snapshot in its place.
  for (let flush = 1; flush <= 60; flush++) {
    const before = renames
    await store.write(blobId(1 + (flush % 3)), frame)
    await store.flush(new Uint8Array(60_000).fill(flush))
    if (renames > before) replaced++
    const after = disk.crashImage({ seed: flush, keepSectors: 0, keepNames: 0 })
    const found = await openStore(after.start())
    expect(found.note()?.at(0), `flush ${String(flush)}`).toBe(flush)
    await found.close()
  }
  expect(replaced).toBeGreaterThan(3)
  await store.close()
})

test('what is built on a manifest whose writer was killed before its name was stable is there after a power loss', async () => {
  const disk = new SimDisk({ seed: 2 })
  const images: SimDisk[] = []
  let wasRenamed = false
  const io = disk.start({
    onCall: ({ number, operation }) => {
      if (wasRenamed) images.push(disk.killImage(number))
      wasRenamed = operation === 'rename'
    },
  })
  const store = await openStore(io)
  for (let flush = 1; flush <= 40; flush++) {
    await store.write(blobId(1), new Uint8Array(FRAME_BYTES))
    await store.flush(new Uint8Array(60_000).fill(flush))
  }
  await store.close()
  expect(images.length).toBeGreaterThan(3)
  for (const image of images) {
    const second = await openStore(image.start())
    await second.write(blobId(2), new Uint8Array(FRAME_BYTES))
    await second.flush(Uint8Array.of(200))
    const after = image.crashImage({ seed: 3, keepSectors: 0, keepNames: 0 })
    const found = await openStore(after.start())
    expect(found.note()).toEqual(Uint8Array.of(200))
    expect(found.has(blobId(2))).toBe(true)
    await found.close()
  }
})
