import { describe, expect, test } from 'vitest'

import { filled, freshProcess, runs } from './possible-disks.js'

const PATH = '/d/f'

describe('an image of a disk', () => {
  test.each(['killImage', 'crashImage'] as const)(
    'is not changed by what the disk does later, nor the disk by it (%s)',
    async (kind) => {
      const { disk, io } = await freshProcess()
      const file = await io.open(PATH, { access: 'readwrite', create: true })
      await io.write(file, 0, filled(1, 8192))
      await io.sync(file)
      await io.syncDir('/d')
      const image = disk[kind](1)
      const usedBytes = image.usedBytes

      await io.write(file, 4096, filled(2, 8192))
      await io.truncate(file, 10_000)
      expect(runs(image.contents(PATH))).toBe('1x8192')
      expect(image.usedBytes).toBe(usedBytes)

      const other = image.start()
      const theirs = await other.open(PATH, { access: 'readwrite' })
      await other.truncate(theirs, 512)
      await other.write(theirs, 40_960, filled(3, 512))
      expect(runs(image.contents(PATH))).toBe('1x512 0x40448 3x512')
      expect(runs(disk.contents(PATH))).toBe('1x4096 2x5904')
      expect(image.usedBytes).toBe(8192)
      expect(disk.usedBytes).toBe(12_288)
    },
  )

  test('is drawn with what is on its way, of which the disk itself knows nothing yet', async () => {
    const { disk, io } = await freshProcess()
    const file = await io.open(PATH, { access: 'readwrite', create: true })
    await io.write(file, 0, filled(1, 1024))
    await io.sync(file)
    await io.syncDir('/d')
    const write = io.write(file, 0, filled(2, 1024))
    const found = new Set<string>()
    for (let seed = 1; seed < 100; seed++) found.add(runs(disk.crashImage(seed).contents(PATH)))
    expect([...found].sort()).toEqual(['1x1024', '1x512 2x512', '2x1024', '2x512 1x512'])
    expect(runs(disk.contents(PATH))).toBe('1x1024')
    await write
  })
})
