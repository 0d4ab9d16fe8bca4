import type { IoFile } from '@holt/uring-native'
import { describe, expect, test } from 'vitest'

import type { FaultRule, SimDisk, SimIo, SimProcessOptions } from '../../src/index.js'
import { afterPowerLosses, filled, freshProcess, runs } from './possible-disks.js'

/** `/d/f` with bytes that are stable, name and all. */
async function stableFile(
  sizeBytes: number,
  byte = 0,
  options: SimProcessOptions = {},
): Promise<{ disk: SimDisk; io: SimIo; file: IoFile }> {
  const { disk, io } = await freshProcess(options)
  const file = await io.open('/d/f', { access: 'readwrite', create: true })
  await io.write(file, 0, filled(byte, sizeBytes))
  await io.sync(file)
  await io.syncDir('/d')
  return { disk, io, file }
}

async function bytesRead(io: SimIo, file: IoFile, lengthBytes: number): Promise<string> {
  const into = new Uint8Array(lengthBytes)
  await io.read(file, 0, into)
  return runs(into)
}

const bytesOf = (disk: SimDisk): string => runs(disk.contents('/d/f'))

describe('bit rot', () => {
  test('changes one bit of synced bytes, seen by readers and by every power loss', async () => {
    const { disk, io, file } = await stableFile(1024)
    disk.rot({ path: '/d/f', offsetBytes: 600, bit: 7 })
    expect(await bytesRead(io, file, 1024)).toBe('0x600 128x1 0x423')
    expect(afterPowerLosses(disk, bytesOf, 20)).toEqual(['0x600 128x1 0x423'])
  })

  test('is not healed by a sync that has nothing to write', async () => {
    const { disk, io, file } = await stableFile(1024)
    disk.rot({ path: '/d/f', offsetBytes: 600, bit: 0 })
    await io.sync(file)
    expect(afterPowerLosses(disk, bytesOf, 20)).toEqual(['0x600 1x1 0x423'])
  })

  test('below unsynced bytes is hidden by the cache, shown by a power loss and healed by a sync', async () => {
    const { disk, io, file } = await stableFile(512)
    await io.write(file, 0, filled(4, 512))
    disk.rot({ path: '/d/f', offsetBytes: 0, bit: 0 })
    expect(await bytesRead(io, file, 512)).toBe('4x512')
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['1x1 0x511', '4x512'])
    await io.sync(file)
    expect(afterPowerLosses(disk, bytesOf, 20)).toEqual(['4x512'])
  })

  test('shows in a mapping, and is no store into it', async () => {
    const { disk, io, file } = await stableFile(4096)
    const mapping = await io.map(file, 4096)
    disk.rot({ path: '/d/f', offsetBytes: 100, bit: 1 })
    expect(runs(mapping?.bytes)).toBe('0x100 2x1 0x3995')
    expect(afterPowerLosses(disk, bytesOf, 50)).toEqual(['0x100 2x1 0x3995'])
    // A store into another sector makes the page dirty, and brings the right bit back no more than a sync does.
    mapping?.bytes.set([7], 1000)
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['0x100 2x1 0x3995', '0x100 2x1 0x899 7x1 0x3095'])
    await io.sync(file)
    expect(afterPowerLosses(disk, bytesOf, 50)).toEqual(['0x100 2x1 0x899 7x1 0x3095'])
  })

  test('of an image leaves the disk it was taken of alone', async () => {
    const { disk } = await stableFile(512)
    const image = disk.crashImage(1)
    image.rot({ path: '/d/f', offsetBytes: 0, bit: 0 })
    expect([bytesOf(disk), bytesOf(image)]).toEqual(['0x512', '1x1 0x511'])
  })

  test('can happen at any call of the engine', async () => {
    const { disk, io, file } = await stableFile(512, 0, {
      onCall: ({ operation }) => {
        if (operation === 'read') disk.rot({ path: '/d/f', offsetBytes: 511, bit: 0 })
      },
    })
    expect(await bytesRead(io, file, 512)).toBe('0x511 1x1')
  })

  test('drawn from a seed is the same with the same seed, and keeps to the files that are meant', async () => {
    const rotten = async (seed: number): Promise<unknown> => {
      const { disk, io } = await stableFile(100_000)
      const other = await io.open('/d/other', { access: 'readwrite', create: true })
      await io.write(other, 0, filled(0, 1_000_000))
      await io.sync(other)
      const bits = disk.rot({ seed, path: '/f', bits: 3 })
      expect(runs(disk.contents('/d/other'))).toBe('0x1000000')
      const found = disk.contents('/d/f') ?? new Uint8Array(0)
      for (const { path, offsetBytes, bit } of bits) {
        expect([path, found[offsetBytes]]).toEqual(['/d/f', 1 << bit])
      }
      expect(found.filter((byte) => byte !== 0).length).toBe(3)
      return bits
    }
    expect(await rotten(5)).toEqual(await rotten(5))
    expect(await rotten(5)).not.toEqual(await rotten(6))
  })

  test('of a place that holds no synced byte is a RangeError', async () => {
    const { disk, io, file } = await stableFile(512)
    await io.write(file, 512, filled(1, 512))
    for (const place of [{ offsetBytes: 512 }, { offsetBytes: -1 }, { bit: 8 }, { path: '/d/none' }]) {
      expect(() => disk.rot({ path: '/d/f', offsetBytes: 0, bit: 0, ...place })).toThrow(RangeError)
    }
    expect(() => disk.rot({ seed: 1, path: 'none' })).toThrow(RangeError)
  })
})

describe('a lost call', () => {
  test('that is a write reports success and writes nothing', async () => {
    const { io, file } = await stableFile(1024)
    io.faults.add({ operation: 'write', nth: 3, lost: true })
    for (let i = 0; i < 4; i++) await io.write(file, i * 10, filled(i + 1, 10))
    expect(await bytesRead(io, file, 40)).toBe('1x10 2x10 0x10 4x10')
    expect(io.faults.counts).toEqual({ interrupted: 0, short: 0, failed: 0, lost: 1, misdirected: 0 })
  })

  test('that is a writeDsync leaves the former bytes on the medium', async () => {
    const { disk, io, file } = await stableFile(512)
    io.faults.add({ operation: 'writeDsync', lost: true })
    await io.writeDsync(file, 0, filled(1, 512))
    expect(afterPowerLosses(disk, bytesOf, 20)).toEqual(['0x512'])
  })

  test('that is a sync makes nothing stable, and the next one does', async () => {
    const { disk, io, file } = await stableFile(512)
    await io.write(file, 0, filled(1, 512))
    io.faults.add({ operation: 'sync', lost: true })
    await io.sync(file)
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['0x512', '1x512'])
    await io.sync(file)
    expect(afterPowerLosses(disk, bytesOf, 20)).toEqual(['1x512'])
  })

  test('that is a directory sync makes no name stable', async () => {
    const { disk, io } = await freshProcess()
    await io.open('/d/f', { access: 'readwrite', create: true })
    io.faults.add({ operation: 'syncDir', lost: true })
    await io.syncDir('/d')
    expect(afterPowerLosses(disk, (after) => after.list('/d').join())).toEqual(['', 'f'])
  })
})

describe('a misdirected write', () => {
  test('puts its bytes at another offset of the file, and reports success', async () => {
    const { io, file } = await stableFile(2048)
    io.faults.add({ operation: 'write', misdirected: { offsetBytes: 1024 } })
    await io.write(file, 0, filled(1, 512))
    expect(await bytesRead(io, file, 2048)).toBe('0x1024 1x512 0x512')
    expect(io.faults.counts.misdirected).toBe(1)
  })

  test('puts its bytes into another file, where one write after it goes right again', async () => {
    const { disk, io, file } = await stableFile(512)
    await io.open('/d/other', { access: 'readwrite', create: true })
    io.faults.add({ operation: 'write', misdirected: { path: '/d/other', offsetBytes: 10 } })
    await io.write(file, 0, filled(1, 5))
    await io.write(file, 5, filled(2, 5))
    expect(await bytesRead(io, file, 10)).toBe('0x5 2x5')
    expect(runs(disk.contents('/d/other'))).toBe('0x10 1x5')
  })

  test('with writeDsync is stable where it went', async () => {
    const { disk, io, file } = await stableFile(1024)
    io.faults.add({ operation: 'writeDsync', misdirected: { offsetBytes: 512 } })
    await io.writeDsync(file, 0, filled(1, 512))
    expect(afterPowerLosses(disk, bytesOf, 20)).toEqual(['0x512 1x512'])
  })

  test('without a place goes where the seed says, never where it should', async () => {
    const places = new Set<string>()
    for (let seed = 1; seed <= 60; seed++) {
      const { io } = await freshProcess({}, seed)
      const file = await io.open('/d/f', { access: 'readwrite', create: true })
      await io.write(file, 0, filled(0, 1536))
      io.faults.add({ operation: 'write', misdirected: {} })
      await io.write(file, 512, filled(1, 512))
      places.add(await bytesRead(io, file, (await io.stat(file)).sizeBytes))
    }
    expect([...places].sort()).toEqual(['0x1024 1x512', '0x1536 1x512', '1x512 0x1024'])
  })

  test('into a file that is not there is lost', async () => {
    const { disk, io, file } = await stableFile(512)
    io.faults.add({ operation: 'write', misdirected: { path: '/d/none' } })
    await io.write(file, 0, filled(1, 512))
    expect([disk.list('/d'), bytesOf(disk)]).toEqual([['f'], '0x512'])
  })
})

describe('a rule', () => {
  test('of a lie about a call that has none, or with another consequence, is HOLT_INVALID_ARGUMENT', async () => {
    const { io } = await freshProcess()
    const bad: FaultRule[] = [
      { operation: 'any', lost: true },
      { operation: 'read', lost: true },
      { operation: ['write', 'rename'], lost: true },
      { operation: 'sync', misdirected: {} },
      { operation: 'write', lost: true, errno: 'EIO' },
      { operation: 'write', lost: true, misdirected: {} },
      { operation: 'write', misdirected: {}, shortBytes: 1 },
    ]
    for (const rule of bad) {
      expect(() => io.faults.add(rule), JSON.stringify(rule)).toThrow(
        expect.objectContaining({ code: 'HOLT_INVALID_ARGUMENT' }),
      )
    }
  })

  test('that interrupts, shortens or fails is counted as what it did', async () => {
    const { io, file } = await stableFile(512)
    io.faults.add({ operation: 'write', errno: 'EINTR', times: 2 })
    io.faults.add({ operation: 'write', shortBytes: 3, nth: 3 })
    io.faults.add({ operation: 'sync', errno: 'EIO' })
    await io.write(file, 0, filled(1, 10))
    await expect(io.sync(file)).rejects.toMatchObject({ errno: 'EIO' })
    expect(io.faults.counts).toEqual({ interrupted: 2, short: 1, failed: 1, lost: 0, misdirected: 0 })
    expect(await bytesRead(io, file, 10)).toBe('1x10')
  })
})
