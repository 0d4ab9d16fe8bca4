import { blobId, FRAME_BYTES } from '@holt/blob-buf-pool'
import { expect, test } from 'vitest'

import { SimDisk } from '../../src/index.js'
import { openStore } from './store-history.js'

test('a record that announces a longer manifest is never found in a shorter one, whatever a power loss keeps', async () => {
  const disk = new SimDisk({ seed: 1 })
  const images: { readonly disk: SimDisk; readonly flush: number; readonly what: string }[] = []
  let flush = 0
  let lengthened = 0
  const io = disk.start({
    onCall: ({ number, operation, path }) => {
      if (flush === 0 || !path.includes('manifest')) return
      if (operation === 'allocate') lengthened++
      for (let seed = 1; seed <= 24; seed++) {
        const after = disk.crashImage({ seed, keepSectors: 0.5 })
        images.push({
          disk: after,
          flush,
          what: `${operation}, call ${String(number)}, power loss ${String(seed)}`,
        })
      }
    },
  })
  const store = await openStore(io)
  await store.settle()
  for (flush = 1; flush <= 4; flush++) {
    await store.write(blobId(flush), new Uint8Array(FRAME_BYTES))
    // Of so short a record a crash leaves one copy or both more often than not.
    await store.flush(Uint8Array.of(flush))
  }
  await store.close()
  expect(lengthened).toBeGreaterThan(0)
  for (const image of images) {
    const found = await openStore(image.disk.start())
    expect([image.flush - 1, image.flush], image.what).toContain(found.note()?.at(0) ?? 0)
    await found.close()
  }
})
