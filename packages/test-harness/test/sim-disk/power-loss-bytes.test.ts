import { isHoltError } from '@holt/errors'
import type { IoFile } from '@holt/uring-native'
import { describe, expect, test } from 'vitest'

import type { SimDisk, SimIo } from '../../src/index.js'
import { afterPowerLosses, filled, freshProcess, runs } from './possible-disks.js'

async function stableFile(sizeBytes: number, byte = 0): Promise<{ disk: SimDisk; io: SimIo; file: IoFile }> {
  const { disk, io } = await freshProcess()
  const file = await io.open('/d/f', { access: 'readwrite', create: true })
  await io.write(file, 0, filled(byte, sizeBytes))
  await io.sync(file)
  await io.syncDir('/d')
  return { disk, io, file }
}

const bytesOf = (disk: SimDisk): string => runs(disk.contents('/d/f'))

describe('bytes after a power loss', () => {
  test('a synced write is always there', async () => {
    const { disk } = await stableFile(1024, 7)
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['7x1024'])
  })

  test('of an unsynced write each sector is there or not, on its own', async () => {
    const { disk, io, file } = await stableFile(1024)
    await io.write(file, 0, filled(1, 1024))
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['0x1024', '0x512 1x512', '1x1024', '1x512 0x512'])
  })

  test('a sector is never torn within', async () => {
    const { disk, io, file } = await stableFile(512)
    await io.write(file, 100, filled(1, 300))
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['0x100 1x300 0x112', '0x512'])
  })

  test('of two unsynced writes to a sector either may be found', async () => {
    const { disk, io, file } = await stableFile(512)
    await io.write(file, 0, filled(1, 512))
    await io.write(file, 0, filled(2, 512))
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['0x512', '1x512', '2x512'])
  })

  test('what lay below a synced write is never found again', async () => {
    const { disk, io, file } = await stableFile(512, 1)
    await io.write(file, 0, filled(2, 512))
    await io.write(file, 0, filled(3, 512))
    await io.sync(file)
    await io.write(file, 0, filled(4, 512))
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['3x512', '4x512'])
  })

  test('an unsynced extension may be lost, or found with sectors that were not written', async () => {
    const { disk, io, file } = await stableFile(512, 1)
    await io.write(file, 512, filled(2, 512))
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['1x512', '1x512 0x512', '1x512 2x512'])
  })

  test('an unsynced truncation comes whole or not at all', async () => {
    const { disk, io, file } = await stableFile(1024, 1)
    await io.truncate(file, 512)
    await io.truncate(file, 1024)
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['1x1024', '1x512', '1x512 0x512'])
  })

  test('bytes that a truncation cut off and a write put back are made stable by a sync', async () => {
    const { disk, io, file } = await stableFile(1024, 1)
    await io.truncate(file, 0)
    await io.write(file, 0, filled(1, 1024))
    await io.sync(file)
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['1x1024'])
  })

  test('a sync covers what was written before it was called, and no more', async () => {
    const { disk, io, file } = await stableFile(512)
    await io.write(file, 0, filled(1, 512))
    const sync = io.sync(file)
    io.writeSync(file, 0, filled(2, 512))
    await sync
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['1x512', '2x512'])
  })

  test('writeDsync makes its own range stable and no other', async () => {
    const { disk, io, file } = await stableFile(1024)
    await io.write(file, 0, filled(1, 512))
    await io.writeDsync(file, 512, filled(2, 512))
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['0x512 2x512', '1x512 2x512'])
  })

  test('allocated space that was synced keeps its size', async () => {
    const { disk, io, file } = await stableFile(0)
    await io.allocate(file, 0, 2048)
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['', '0x2048'])
    await io.sync(file)
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['0x2048'])
  })

  test('an outstanding write may be found in part', async () => {
    const { disk, io, file } = await stableFile(1024)
    const write = io.write(file, 0, filled(1, 1024))
    expect(afterPowerLosses(disk, bytesOf)).toContain('1x512 0x512')
    expect(afterPowerLosses(disk, bytesOf)).toContain('1x1024')
    await write
  })

  test('the same seed at the same moment gives the same disk', async () => {
    const { disk, io, file } = await stableFile(100_000)
    await io.write(file, 0, filled(1, 100_000))
    for (let seed = 1; seed < 20; seed++) {
      expect(bytesOf(disk.crashImage(seed))).toBe(bytesOf(disk.crashImage(seed)))
    }
  })
})

describe('bytes stored through a mapping', () => {
  test('are found after a power loss byte by byte, or not', async () => {
    const { disk, io, file } = await stableFile(4096)
    const mapping = await io.map(file, 4096)
    mapping?.bytes.fill(1, 0, 2)
    const outcomes = afterPowerLosses(disk, bytesOf)
    expect(outcomes).toEqual(['0x1 1x1 0x4094', '0x4096', '1x1 0x4095', '1x2 0x4094'])
  })

  test('are stable after a sync', async () => {
    const { disk, io, file } = await stableFile(4096)
    const mapping = await io.map(file, 4096)
    mapping?.bytes.fill(1, 0, 600)
    await io.sync(file)
    mapping?.bytes.fill(2, 512, 513)
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['1x512 2x1 1x87 0x3496', '1x600 0x3496'])
  })

  test('that were overwritten after another call may be what is found', async () => {
    const { disk, io, file } = await stableFile(4096)
    const mapping = await io.map(file, 4096)
    mapping?.bytes.fill(1, 0, 1)
    await io.stat(file)
    mapping?.bytes.fill(2, 0, 1)
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['0x4096', '1x1 0x4095', '2x1 0x4095'])
  })

  test('survive a killed process, whose later stores reach nothing', async () => {
    const { disk, io, file } = await stableFile(4096)
    const mapping = await io.map(file, 4096)
    const bytes = mapping?.bytes ?? new Uint8Array()
    bytes.fill(1, 0, 10)
    io.kill()
    bytes.fill(9, 0, 10)
    expect(bytesOf(disk)).toBe('1x10 0x4086')
  })

  test('survive a killed process, but not surely the power loss after it', async () => {
    const { disk, io, file } = await stableFile(4096)
    const mapping = await io.map(file, 4096)
    mapping?.bytes.fill(1, 0, 1)
    io.kill()
    const again = disk.start()
    expect(runs(disk.contents('/d/f'))).toBe('1x1 0x4095')
    const found = await again.open('/d/f', { access: 'readwrite' })
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['0x4096', '1x1 0x4095'])
    await again.sync(found)
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['1x1 0x4095'])
  })
})

describe('a failed sync', () => {
  const failSync = { operation: 'sync', errno: 'EIO' } as const

  test('is reported once; the next one succeeds and makes nothing stable', async () => {
    const { disk, io, file } = await stableFile(512)
    await io.write(file, 0, filled(1, 512))
    io.faults.add(failSync)
    const error = await io.sync(file).catch((caught: unknown) => caught)
    expect(isHoltError(error, 'HOLT_IO') && error.errno).toBe('EIO')
    await io.sync(file)
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['0x512', '1x512'])
  })

  test('is made good by writing the same bytes again and a sync', async () => {
    const { disk, io, file } = await stableFile(512)
    await io.write(file, 0, filled(1, 512))
    io.faults.add(failSync)
    await io.sync(file).catch(() => undefined)
    await io.write(file, 0, filled(1, 512))
    await io.sync(file)
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['1x512'])
  })

  test('is remembered by the kernel when the process is killed', async () => {
    const { disk, io, file } = await stableFile(512)
    await io.write(file, 0, filled(1, 512))
    io.faults.add(failSync)
    await io.sync(file).catch(() => undefined)
    io.kill()
    const again = disk.start()
    await again.sync(await again.open('/d/f', { access: 'readwrite' }))
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['0x512', '1x512'])
  })

  test('does not harm what is written afterwards', async () => {
    const { disk, io, file } = await stableFile(1024)
    await io.write(file, 0, filled(1, 512))
    io.faults.add(failSync)
    await io.sync(file).catch(() => undefined)
    await io.write(file, 512, filled(2, 512))
    await io.sync(file)
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['0x512 2x512', '1x512 2x512'])
  })

  test('of a mapped file loses stored bytes that are not stored anew', async () => {
    const { disk, io, file } = await stableFile(4096)
    const mapping = await io.map(file, 4096)
    mapping?.bytes.fill(1, 0, 1)
    mapping?.bytes.fill(1, 512, 513)
    io.faults.add(failSync)
    await io.sync(file).catch(() => undefined)
    mapping?.bytes.fill(2, 512, 513)
    await io.sync(file)
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['0x512 2x1 0x3583', '1x1 0x511 2x1 0x3583'])
  })

  test('that is late has made all stable', async () => {
    const { disk, io, file } = await stableFile(512)
    await io.write(file, 0, filled(1, 512))
    io.faults.add({ ...failSync, late: true })
    await expect(io.sync(file)).rejects.toMatchObject({ code: 'HOLT_IO' })
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['1x512'])
  })

  test('of writeDsync leaves the range unsure, also after a later sync', async () => {
    const { disk, io, file } = await stableFile(512)
    io.faults.add({ operation: 'writeDsync', errno: 'EIO' })
    await expect(io.writeDsync(file, 0, filled(1, 512))).rejects.toMatchObject({ code: 'HOLT_IO' })
    await io.sync(file)
    expect(afterPowerLosses(disk, bytesOf)).toEqual(['0x512', '1x512'])
  })
})
