import { describe, expect, test } from 'vitest'

import {
  type CrashHistory,
  type CrashStep,
  runCrashCourse,
  runCrashSeed,
  shortHistories,
} from '../../src/index.js'

describe('a crash at any call to the disk', () => {
  test.each([1, 2, 3, 4, 5, 6])(
    'leaves every acknowledged write, and no half of a batch (seed %i)',
    async (seed) => {
      const { images, calls } = await runCrashSeed(seed)
      expect(images.length).toBeGreaterThan(calls / 3)
    },
    120_000,
  )

  test('while frames that deletes have left half empty are merged', async () => {
    const put = (from: number, to: number): CrashStep[] =>
      Array.from({ length: to - from }, (_, i) => ({ do: 'put', key: from + i, sizeBytes: 900 }))
    const steps: CrashStep[] = [
      ...put(0, 48),
      { do: 'checkpoint' },
      { do: 'batch', puts: [1], deletes: Array.from({ length: 40 }, (_, i) => i + 4) },
      { do: 'rest' },
      { do: 'put', key: 2, sizeBytes: 900 },
      { do: 'deletePrefix', directory: 1 },
      { do: 'rest' },
    ]
    const { merges } = await runCrashSeed(3, { durability: 'disk', mappings: true, reorder: false, steps })
    expect(merges).toBeGreaterThan(0)
  }, 120_000)

  test('while snapshots are taken and dropped, in images and in the journal', async () => {
    const together = (from: number, sizeBytes: number): CrashStep => ({
      do: 'together',
      keys: Array.from({ length: 14 }, (_, i) => (from + 3 * i) % 48),
      sizeBytes,
    })
    const steps: CrashStep[] = [
      together(0, 900),
      together(1, 900),
      { do: 'checkpoint' },
      { do: 'snapshot', number: 0 },
      together(0, 700),
      { do: 'put', key: 3, sizeBytes: 9_000 },
      { do: 'checkpoint' },
      { do: 'snapshot', number: 1 },
      { do: 'deletePrefix', directory: 1 },
      { do: 'put', key: 3, sizeBytes: 8_000 },
      { do: 'dropSnapshot', number: 0 },
      together(1, 500),
      { do: 'reopen' },
      { do: 'snapshot', number: 0 },
      { do: 'renamePrefix', from: 2, to: 1 },
      { do: 'rest' },
      { do: 'dropSnapshot', number: 1 },
      together(12, 400),
      { do: 'checkpoint' },
      { do: 'dropSnapshot', number: 0 },
      { do: 'rest' },
    ]
    for (const durability of ['os', 'disk'] as const)
      await runCrashSeed(11, { durability, mappings: true, reorder: true, steps })
  }, 120_000)

  test('of the shortest histories', async () => {
    let images = 0
    for (const history of shortHistories(1)) images += (await runCrashSeed(7, history)).images.length
    expect(images).toBeGreaterThan(500)
  }, 120_000)
})

test('a seed gives the same images each time, and others than the next seed', async () => {
  const history: CrashHistory = {
    durability: 'os',
    mappings: true,
    reorder: true,
    steps: [
      { do: 'put', key: 1, sizeBytes: 5_000 },
      { do: 'checkpoint' },
      { do: 'batch', puts: [2, 3], deletes: [1] },
    ],
  }
  const first = await runCrashCourse(history, { seed: 1 })
  expect(await runCrashCourse(history, { seed: 1 })).toEqual(first)
  expect((await runCrashCourse(history, { seed: 1, look: false })).trace).toBe(first.trace)
  expect((await runCrashCourse(history, { seed: 2 })).images).not.toEqual(first.images)
  const more = await runCrashCourse(history, { seed: 1, powerLossesPerCall: 8 })
  expect(more.images.length).toBeGreaterThan(first.images.length)
})

test('a disk that does nothing when told to sync is found out', async () => {
  const history: CrashHistory = {
    durability: 'disk',
    mappings: true,
    reorder: false,
    steps: [
      { do: 'put', key: 1, sizeBytes: 50 },
      { do: 'checkpoint' },
      { do: 'put', key: 2, sizeBytes: 50 },
      { do: 'put', key: 3, sizeBytes: 50 },
    ],
  }
  await runCrashCourse(history, { seed: 1 })
  await expect(runCrashCourse(history, { seed: 1, lyingSyncs: true })).rejects.toThrow(/power lost at/)
})
