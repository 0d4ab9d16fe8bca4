import { FileBlobStore, MemoryBlobStore } from '@holt/blob-store'
import { MAX_GROUP_EPOCHS } from '@holt/checkpointer'
import { describe, expect, test } from 'vitest'

import { FaultyBlobStore, SeededRandom, SimDisk, type SimIo } from '../../src/index.js'
import { EpochLife, shownBy } from './epoch-life.js'

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** How many epochs may be under way, and how many are joined. */
const SHAPES = [
  [1, 1],
  [4, 1],
  [4, 2],
  [4, MAX_GROUP_EPOCHS],
] as const

describe.each(SHAPES)('epochs, %i under way and %i committed as one', (depth, groupEpochs) => {
  test('B15, B42: whatever calls of the store fail, the image is that of a cut, and nothing is lost in the end', async () => {
    let failed = 0
    let joined = 0
    for (let seed = 1; seed <= 15; seed++) {
      const random = new SeededRandom(seed)
      const inner = new MemoryBlobStore()
      const store = new FaultyBlobStore(inner, { seed })
      const life = new EpochLife({ seed, store, depth, groupEpochs })
      for (const operation of ['write', 'delete', 'flush'] as const)
        store.add({ operation, action: 'fail', probability: 0.15, times: Infinity })
      store.add({ operation: 'any', action: 'delay', probability: 0.5, times: Infinity })
      for (let step = 0; step < 60; step++) {
        life.step()
        if (random.chance(0.5)) await nextTurn()
        if (random.chance(0.2)) {
          await life.settled()
          // A removal that failed leaves what was written before it staged, for the next flush.
          if (store.needsFlush) continue
          const { cut, marks } = await shownBy(inner)
          expect([seed, step, cut, marks]).toEqual([seed, step, life.committed, life.cuts[life.committed]])
        }
      }
      await life.settled()
      store.clear()
      life.cut()
      await life.end()
      const { cut, marks } = await shownBy(inner)
      expect([seed, cut, marks]).toEqual([seed, life.cuts.length - 1, life.cuts.at(-1)])
      expect(life.hasDirt).toBe(false)
      failed += life.reports.filter(({ error }) => error !== undefined).length
      joined += life.reports.length - store.counts.flushes
    }
    expect(failed).toBeGreaterThan(15)
    if (groupEpochs > 1) expect(joined).toBeGreaterThan(15)
  })

  test('a crash at any call of the disk leaves the image of a cut, and none before the last that was reported', async () => {
    for (let seed = 1; seed <= 2; seed++) {
      const images: { readonly disk: SimDisk; readonly committed: number; readonly what: string }[] = []
      const disk = new SimDisk({ seed })
      const lives: EpochLife[] = []
      const io = disk.start({
        reorder: true,
        onCall: ({ number, operation, path }) => {
          if (lives.length === 0 || operation === 'read' || operation === 'stat') return
          const { committed } = lives[0]
          const what = `${operation} ${path}, call ${String(number)} of seed ${String(seed)}`
          images.push({ disk: disk.killImage(number), committed, what: `kill at ${what}` })
          for (let crash = 0; crash < 2; crash++)
            images.push({
              disk: disk.crashImage(number * 10 + crash),
              committed,
              what: `power loss at ${what}`,
            })
        },
      })
      const store = await openStore(io)
      const life = new EpochLife({ seed, store, depth, groupEpochs, io })
      lives.push(life)
      for (let step = 0; step < 12; step++) {
        life.step()
        await nextTurn()
      }
      await life.end()
      expect(images.length).toBeGreaterThan(20)
      for (const { disk: image, committed, what } of images) {
        const found = await openStore(image.start())
        const { cut, marks } = await shownBy(found)
        expect([what, marks]).toEqual([what, life.cuts[cut]])
        expect(cut, what).toBeGreaterThanOrEqual(committed)
        await found.close()
      }
    }
  })
})

function openStore(io: SimIo): Promise<FileBlobStore> {
  return FileBlobStore.open({ io, directory: '/s', createIfMissing: true })
}
