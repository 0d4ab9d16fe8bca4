import { isHoltError } from '@holt/errors'
import { describe, expect, test } from 'vitest'

import { SeededRandom, SimDisk } from '../../src/index.js'
import { LOG_MODES, LogHistory, openLog } from './log-history.js'
import type { LogMode } from './log-history.js'

interface Image {
  readonly disk: SimDisk
  readonly least: number
  readonly most: number
  readonly what: string
}

/** Appends to a fresh log, and takes images of its disk at every call of the Io and after every record. */
async function imagesOf(
  mode: LogMode,
  seed: number,
): Promise<{ readonly images: Image[]; readonly history: LogHistory }> {
  const images: Image[] = []
  const disk = new SimDisk({ seed })
  const random = new SeededRandom(seed)
  const history = new LogHistory(random, 'first')
  let moment = 0
  const take = (where: string): void => {
    moment++
    const most = history.texts.length
    const { acknowledged, stable } = history
    const what = `at ${where}, moment ${String(moment)} of seed ${String(seed)}`
    images.push({ disk: disk.killImage(moment), least: acknowledged, most, what: `kill ${what}` })
    for (let i = 0; i < 2; i++) {
      const after = disk.crashImage(moment * 7 + i)
      images.push({ disk: after, least: stable, most, what: `power loss ${String(i)} ${what}` })
    }
  }
  const io = disk.start({
    reorder: true,
    autoAdvance: true,
    mappings: mode.mappings,
    onCall: ({ operation, path }) => {
      take(`${operation} ${path}`)
    },
  })
  const { journal } = await openLog(io, mode.durability, random)
  await journal.start(1000)
  await history.append(journal, 60, () => {
    take('a record')
  })
  expect(journal.stats().segmentSwitches).toBeGreaterThan(1)
  await journal.close()
  images.push({ disk: disk.crashImage(1), least: 60, most: 60, what: 'power loss after close' })
  return { images, history }
}

for (const mode of LOG_MODES) {
  describe(`Journal, ${mode.name}, after a crash`, () => {
    for (const seed of [1, 2, 3]) {
      test(`shows a prefix of what was appended, with all that was acknowledged (seed ${String(seed)})`, async () => {
        const { images, history } = await imagesOf(mode, seed)
        for (const { disk, least, most, what } of images) {
          const { journal, found } = await openLog(disk.start(), mode.durability, new SeededRandom(5))
          await journal.close()
          expect(found, what).toEqual(history.texts.slice(0, found.length))
          expect(found.length, what).toBeGreaterThanOrEqual(least)
          expect(found.length, what).toBeLessThanOrEqual(most)
        }
        expect(images.length).toBeGreaterThan(200)
      })
    }

    test('goes on behind what it found, and nothing else comes back after a kill and a power loss', async () => {
      const { images } = await imagesOf(mode, 4)
      for (const [i, { disk, what }] of images.entries()) {
        if (i % 11 !== 0) continue
        const random = new SeededRandom(i)
        const io = disk.start({ autoAdvance: true, mappings: mode.mappings })
        const { journal, found } = await openLog(io, mode.durability, random)
        await journal.start(2_000_000)
        const history = new LogHistory(random, 'second', found)
        await history.append(journal, 15)
        io.kill()
        const again = disk.start({ autoAdvance: true, mappings: mode.mappings })
        const reopened = await openLog(again, mode.durability, random)
        expect(reopened.found, `${what}, reopened after a kill`).toEqual(history.texts)
        await reopened.journal.start(4_000_000)
        const third = new LogHistory(random, 'third', reopened.found)
        await third.append(reopened.journal, 3)
        await reopened.journal.sync()
        for (let seed = 0; seed < 3; seed++) {
          const after = await openLog(disk.crashImage(seed).start(), mode.durability, random)
          expect(after.found, `${what}, then power loss ${String(seed)}`).toEqual(third.texts)
        }
      }
    })

    test('of the first writes after it: recovery itself may be cut off at any call', async () => {
      const { images, history } = await imagesOf(mode, 5)
      const image = images.find(
        ({ what, most, least }) => what.startsWith('power') && most > 30 && least < most,
      )
      if (image === undefined) throw new Error('no image with an unsynced tail')
      const { found } = await openLog(image.disk.start(), mode.durability, new SeededRandom(1))
      expect(found.length).toBeGreaterThanOrEqual(image.least)
      const cuts: SimDisk[] = []
      const io = image.disk.start({
        autoAdvance: true,
        mappings: mode.mappings,
        onCall: ({ number }) => {
          cuts.push(image.disk.crashImage(number), image.disk.killImage(number))
        },
      })
      const opened = await openLog(io, mode.durability, new SeededRandom(2))
      await opened.journal.start(3_000_000)
      expect(cuts.length).toBeGreaterThan(10)
      for (const cut of cuts) {
        const after = await openLog(cut.start(), mode.durability, new SeededRandom(3))
        expect(after.found).toEqual(history.texts.slice(0, found.length))
      }
    })
  })

  describe(`Journal, ${mode.name}, when a call of its Io fails`, () => {
    for (const operation of [
      'write',
      'writeDsync',
      'sync',
      'open',
      'allocate',
      'rename',
      'syncDir',
      'map',
    ] as const) {
      test(`at any ${operation}, is poisoned or goes on, and loses nothing that was acknowledged`, async () => {
        for (const errno of ['EIO', 'ENOSPC']) {
          for (let nth = 1; await runWithFault(mode, operation, errno, nth); nth++);
        }
      })
    }
  })
}

/** Returns whether the fault was met. */
async function runWithFault(
  mode: LogMode,
  operation: 'write' | 'writeDsync' | 'sync' | 'open' | 'allocate' | 'rename' | 'syncDir' | 'map',
  errno: string,
  nth: number,
): Promise<boolean> {
  const what = `${errno} at ${operation} ${String(nth)}`
  const disk = new SimDisk({ seed: nth })
  const random = new SeededRandom(nth)
  const history = new LogHistory(random, 'first')
  // The directory is not what is tested.
  await disk.start().mkdir('/j')
  const io = disk.start({
    autoAdvance: true,
    mappings: mode.mappings,
    faults: [{ operation, nth, errno, path: /wal/ }],
  })
  try {
    const { journal } = await openLog(io, mode.durability, random)
    await journal.start(1000)
    await history.append(journal, 40)
    await journal.close()
  } catch (error) {
    expect(isHoltError(error), `${what}: ${String(error)}`).toBe(true)
  }
  for (const [crash, image, least] of [
    ['kill', disk.killImage(1), history.acknowledged],
    ['power loss', disk.crashImage(2), history.stable],
    ['power loss', disk.crashImage({ seed: 3, keepSectors: 0, keepNames: 0 }), history.stable],
    ['power loss', disk.crashImage({ seed: 4, keepSectors: 0.5 }), history.stable],
  ] as const) {
    const { found } = await openLog(image.start(), mode.durability, random)
    expect(found, `${what}, ${crash}`).toEqual(history.texts.slice(0, found.length))
    expect(found.length, `${what}, ${crash}`).toBeGreaterThanOrEqual(least)
  }
  return io.faults.injected > 0
}
