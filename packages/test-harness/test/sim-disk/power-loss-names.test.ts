import { describe, expect, test } from 'vitest'

import type { SimDisk, SimIo } from '../../src/index.js'
import { afterPowerLosses, filled, freshProcess, runs } from './possible-disks.js'

async function stableFile(io: SimIo, path: string, byte: number): Promise<void> {
  const file = await io.open(path, { access: 'readwrite', create: true })
  await io.write(file, 0, filled(byte, 1))
  await io.sync(file)
  await io.close(file)
}

/** Names of `/d` with the first byte of each file. */
const namesOf = (disk: SimDisk): string =>
  disk
    .list('/d')
    .map((name) => (name.endsWith('/') ? name : `${name}:${runs(disk.contents(`/d/${name}`))}`))
    .join(' ')

describe('names after a power loss', () => {
  test('a created file may be gone, synced or not, until its directory is synced', async () => {
    const { disk, io } = await freshProcess()
    await stableFile(io, '/d/a', 1)
    expect(afterPowerLosses(disk, namesOf)).toEqual(['', 'a:1x1'])
    await io.syncDir('/d')
    expect(afterPowerLosses(disk, namesOf)).toEqual(['a:1x1'])
  })

  test('names are lost independently of each other', async () => {
    const { disk, io } = await freshProcess()
    await stableFile(io, '/d/a', 1)
    await stableFile(io, '/d/b', 2)
    expect(afterPowerLosses(disk, namesOf)).toEqual(['', 'a:1x1', 'a:1x1 b:2x1', 'b:2x1'])
  })

  test('a rename over a file leaves the old or the new one, never none', async () => {
    const { disk, io } = await freshProcess()
    await stableFile(io, '/d/a', 1)
    await stableFile(io, '/d/b', 2)
    await io.syncDir('/d')
    await io.rename('/d/a', '/d/b')
    expect(afterPowerLosses(disk, namesOf)).toEqual(['a:1x1 b:2x1', 'b:1x1'])
    await io.syncDir('/d')
    expect(afterPowerLosses(disk, namesOf)).toEqual(['b:1x1'])
  })

  test('of one name a later operation is not found without the earlier ones', async () => {
    const { disk, io } = await freshProcess()
    await stableFile(io, '/d/a', 1)
    await io.rename('/d/a', '/d/b')
    await io.rename('/d/b', '/d/c')
    expect(afterPowerLosses(disk, namesOf)).toEqual(['', 'a:1x1', 'b:1x1', 'c:1x1'])
  })

  test('a removed file may come back with its bytes', async () => {
    const { disk, io } = await freshProcess()
    await stableFile(io, '/d/a', 1)
    await io.syncDir('/d')
    await io.remove('/d/a')
    expect(afterPowerLosses(disk, namesOf)).toEqual(['', 'a:1x1'])
  })

  test('a linked name may be lost, and the first one stays', async () => {
    const { disk, io } = await freshProcess()
    await stableFile(io, '/d/a', 1)
    await io.syncDir('/d')
    await io.link('/d/a', '/d/b')
    expect(afterPowerLosses(disk, namesOf)).toEqual(['a:1x1', 'a:1x1 b:1x1'])
  })

  test('a directory that is lost takes its files along', async () => {
    const { disk, io } = await freshProcess()
    await io.mkdir('/d/inner')
    await stableFile(io, '/d/inner/a', 1)
    await io.syncDir('/d/inner')
    const look = (after: SimDisk): string => `${namesOf(after)} ${after.list('/d/inner').join(' ')}`
    expect(afterPowerLosses(disk, look)).toEqual([' ', 'inner/ a'])
  })

  test('a sync of one directory brings a rename from another with what it rests on', async () => {
    const { disk, io } = await freshProcess()
    await io.mkdir('/d/inner')
    await io.syncDir('/d')
    await stableFile(io, '/d/a', 1)
    await io.rename('/d/a', '/d/inner/a')
    await io.syncDir('/d/inner')
    const look = (after: SimDisk): string => `${namesOf(after)} ${after.list('/d/inner').join(' ')}`
    expect(afterPowerLosses(disk, look)).toEqual(['inner/ a'])
  })

  test('a killed process leaves every name', async () => {
    const { disk, io } = await freshProcess()
    await stableFile(io, '/d/a', 1)
    await io.rename('/d/a', '/d/b')
    io.kill()
    expect(namesOf(disk)).toBe('b:1x1')
    expect(afterPowerLosses(disk, namesOf)).toEqual(['', 'a:1x1', 'b:1x1'])
  })
})
