/** A power loss that takes every name whose directory was not synced, and keeps all bytes. */
import { expect, test } from 'vitest'

import { SeededRandom, SimDisk } from '../../src/index.js'
import { LogHistory, openLog } from './log-history.js'

const NO_NAMES = { keepSectors: 1, keepNames: 0 }

/** A log with so many records that its process leaves when it is killed, a segment that was begun ahead among its files. */
async function killedLog(
  records: number,
): Promise<{ readonly disk: SimDisk; readonly texts: readonly string[] }> {
  const disk = new SimDisk({ seed: records })
  const random = new SeededRandom(records)
  const { journal } = await openLog(disk.start({ autoAdvance: true }), 'os', random)
  await journal.start(0)
  const history = new LogHistory(random, 'first')
  await history.append(journal, records)
  await journal.sync()
  // Until the segment that was begun ahead is there.
  for (let turn = 0; turn < 60; turn++) await new Promise((resolve) => setImmediate(resolve))
  disk.kill()
  return { disk, texts: history.texts }
}

interface Started {
  /** What a power loss leaves at each call of a start. */
  readonly lossImages: readonly SimDisk[]
  /** What a kill leaves, when a segment had just become the spare. */
  readonly killImages: readonly SimDisk[]
}

async function startOn(disk: SimDisk, seqFloor: number, texts: readonly string[]): Promise<Started> {
  const lossImages: SimDisk[] = []
  const killImages: SimDisk[] = []
  let isSpareNew = false
  const io = disk.start({
    autoAdvance: true,
    onCall: ({ number, operation, path }) => {
      lossImages.push(disk.crashImage({ seed: number, ...NO_NAMES }))
      if (isSpareNew) killImages.push(disk.killImage(number))
      isSpareNew = operation === 'rename' && /journal-\d/.test(path)
    },
  })
  const { journal, found } = await openLog(io, 'os', new SeededRandom(seqFloor))
  expect(found).toEqual(texts)
  await journal.start(seqFloor)
  disk.kill()
  return { lossImages, killImages }
}

test('a segment that was prepared and not used becomes the spare under a stable name, before it is headed anew', async () => {
  let spares = 0
  for (let records = 2; records <= 24; records++) {
    const { disk, texts } = await killedLog(records)
    const second = await startOn(disk, 1_000_000, texts)
    // Also when the process that renamed it was killed before its name was stable, and the next one finds a spare.
    const third = await Promise.all(second.killImages.map((image) => startOn(image, 2_000_000, texts)))
    spares += third.length
    for (const image of [second, ...third].flatMap(({ lossImages }) => lossImages))
      await startOn(image, 3_000_000, texts)
  }
  expect(spares).toBeGreaterThan(4)
})
