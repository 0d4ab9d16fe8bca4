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
