import { describe, expect, test } from 'vitest'

import { SimDisk } from '../../src/index.js'
import type { SimCall } from '../../src/index.js'
import { filled, freshProcess, runs } from './possible-disks.js'

describe('a killed process', () => {
  test('has its outstanding and later calls fail with HOLT_CLOSED', async () => {
    const { io } = await freshProcess()
    const file = await io.open('/d/f', { access: 'readwrite', create: true })
    const outstanding = io.write(file, 0, filled(1, 10))
    io.kill()
    await expect(outstanding).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
    await expect(io.read(file, 0, new Uint8Array(1))).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
    await expect(io.open('/d/f', { access: 'read' })).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
    expect(() => {
      io.readSync(file, 0, new Uint8Array(1))
    }).toThrow(expect.objectContaining({ code: 'HOLT_CLOSED' }))
  })

  test('leaves an outstanding write done, not done, or done up to a sector', async () => {
    const found = new Set<string>()
    for (let seed = 1; seed < 200; seed++) {
      const { disk, io } = await freshProcess({}, seed)
      const file = await io.open('/d/f', { access: 'readwrite', create: true })
      await io.write(file, 0, new Uint8Array(1024))
      const write = io.write(file, 0, filled(1, 1024))
      io.kill()
      await write.catch(() => undefined)
      found.add(runs(disk.contents('/d/f')))
    }
    expect([...found].sort()).toEqual(['0x1024', '1x1024', '1x512 0x512'])
  })

  test('gives its locks up and is known to be gone', async () => {
    const { disk, io } = await freshProcess()
    const other = disk.start()
    expect(await io.lock('/d/lock')).not.toBe('held')
    expect(await other.lock('/d/lock')).toBe('held')
    const identity = io.processIdentity()
    expect(other.isProcessGone(identity)).toBe(false)
    io.kill()
    expect(other.isProcessGone(identity)).toBe(true)
    expect(await other.lock('/d/lock')).not.toBe('held')
  })

  test('of an earlier boot is known to be gone after a power loss', async () => {
    const { disk, io } = await freshProcess()
    const identity = io.processIdentity()
    const after = disk.crash(3)
    expect(io.isKilled).toBe(true)
    expect(after.start().isProcessGone(identity)).toBe(true)
    expect(after.start().processIdentity().pid).not.toBe(identity.pid)
  })

  test('has no timer called back', async () => {
    const { io } = await freshProcess()
    let calls = 0
    io.setTimer(10, () => calls++)
    io.kill()
    io.advance(100)
    expect(calls).toBe(0)
  })
})

describe('calls', () => {
  test('are numbered from 1 and shown before they have any effect', async () => {
    const disk = new SimDisk()
    const seen: (SimCall & { names: string[] })[] = []
    const io = disk.start({ onCall: (call) => seen.push({ ...call, names: disk.list('/') }) })
    const file = await io.open('/f', { access: 'readwrite', create: true })
    await io.writeManyAndSync(file, [
      { offsetBytes: 0, bytes: filled(1, 10) },
      { offsetBytes: 10, bytes: filled(1, 10) },
    ])
    expect(seen.map(({ number, operation }) => `${String(number)} ${operation}`)).toEqual([
      '1 open',
      '2 write',
      '3 write',
      '4 sync',
    ])
    expect(seen[0]?.names).toEqual([])
    expect(seen[1]?.names).toEqual(['f'])
  })

  test('can be cut off by the hook that is told of them', async () => {
    const disk = new SimDisk()
    const io = disk.start({
      onCall: ({ operation }) => {
        if (operation === 'sync') io.kill()
      },
    })
    const file = await io.open('/f', { access: 'readwrite', create: true })
    await io.write(file, 0, filled(1, 10))
    await expect(io.sync(file)).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
  })

  test('that are outstanding together are carried out in another order with another seed', async () => {
    const orders = new Set<string>()
    for (let seed = 1; seed <= 10; seed++) {
      const { io } = await freshProcess({ reorder: true }, seed)
      const file = await io.open('/d/f', { access: 'readwrite', create: true })
      const order: number[] = []
      await Promise.all([0, 1, 2].map((i) => io.write(file, i, filled(i, 1)).then(() => order.push(i))))
      orders.add(order.join(''))
    }
    expect(orders.size).toBeGreaterThan(2)
  })

  test('are the same with the same seed', async () => {
    const trace = async (seed: number): Promise<string> => {
      const seen: string[] = []
      const disk = new SimDisk({ seed })
      const io = disk.start({ reorder: true, onCall: ({ operation, path }) => seen.push(operation + path) })
      const names = ['/a', '/b', '/c', '/d', '/e']
      await Promise.all(
        names.map(async (path) => io.sync(await io.open(path, { access: 'readwrite', create: true }))),
      )
      return seen.join(' ')
    }
    expect(await trace(5)).toBe(await trace(5))
    expect(await trace(5)).not.toBe(await trace(6))
  })
})

describe('faults by rule', () => {
  test('meet the n-th matching call, as often as they say', async () => {
    const { io } = await freshProcess()
    const log = await io.open('/d/log', { access: 'readwrite', create: true })
    const data = await io.open('/d/data', { access: 'readwrite', create: true })
    io.faults.add({ operation: 'write', path: 'log', nth: 2, times: 2, errno: 'EIO' })
    await io.write(log, 0, filled(1, 1))
    await io.write(data, 0, filled(1, 1))
    await expect(io.write(log, 1, filled(2, 1))).rejects.toMatchObject({ code: 'HOLT_IO', errno: 'EIO' })
    await expect(io.write(log, 1, filled(2, 1))).rejects.toMatchObject({ code: 'HOLT_IO', path: '/d/log' })
    await io.write(log, 1, filled(3, 1))
    expect((await io.stat(log)).sizeBytes).toBe(2)
    expect(io.faults.injected).toBe(2)
  })

  test('that interrupt a call or cut a transfer short are hidden by the exact contract', async () => {
    const { disk, io } = await freshProcess()
    const file = await io.open('/d/f', { access: 'readwrite', create: true })
    io.faults.add({ operation: 'write', errno: 'EINTR' })
    io.faults.add({ operation: 'write', shortBytes: 3, nth: 2 })
    io.faults.add({ operation: 'sync', errno: 'EINTR' })
    const before = io.callCount
    await io.write(file, 0, filled(1, 10))
    expect(io.callCount - before).toBe(3)
    await io.sync(file)
    expect(runs(disk.contents('/d/f'))).toBe('1x10')
  })

  test('with bytes and an errno write that much and fail', async () => {
    const { disk, io } = await freshProcess()
    const file = await io.open('/d/f', { access: 'readwrite', create: true })
    io.faults.add({ operation: 'write', shortBytes: 3, errno: 'EIO' })
    await expect(io.write(file, 0, filled(1, 10))).rejects.toMatchObject({ errno: 'EIO' })
    expect(runs(disk.contents('/d/f'))).toBe('1x3')
  })

  test('can be late: done, and reported as failed', async () => {
    const { disk, io } = await freshProcess()
    io.faults.add({ operation: 'mkdir', errno: 'EIO', late: true })
    await expect(io.mkdir('/d/x')).rejects.toMatchObject({ code: 'HOLT_IO' })
    expect(disk.list('/d')).toEqual(['x/'])
  })
})

describe('a full disk', () => {
  test('takes what fits of a write and reports HOLT_NO_SPACE until space returns', async () => {
    const { disk, io } = await freshProcess()
    disk.capacityBytes = 8192
    const file = await io.open('/d/f', { access: 'readwrite', create: true })
    await expect(io.write(file, 0, filled(1, 10_000))).rejects.toMatchObject({ code: 'HOLT_NO_SPACE' })
    expect((await io.stat(file)).sizeBytes).toBe(8192)
    await io.write(file, 0, filled(2, 8192))
    await expect(io.allocate(file, 8192, 1)).rejects.toMatchObject({ code: 'HOLT_NO_SPACE' })
    expect((await io.stat(file)).sizeBytes).toBe(8192)
    disk.capacityBytes = 12_288
    await io.write(file, 8192, filled(3, 4096))
  })

  test('has space again when a file is removed and closed', async () => {
    const { disk, io } = await freshProcess()
    disk.capacityBytes = 4096
    const file = await io.open('/d/f', { access: 'readwrite', create: true })
    await io.write(file, 0, filled(1, 4096))
    await io.remove('/d/f')
    const other = await io.open('/d/g', { access: 'readwrite', create: true })
    await expect(io.write(other, 0, filled(1, 1))).rejects.toMatchObject({ code: 'HOLT_NO_SPACE' })
    await io.close(file)
    await io.write(other, 0, filled(1, 1))
  })
})

describe('the virtual clock', () => {
  test('moves only when told to, and calls timers back in their order', async () => {
    const { io } = await freshProcess()
    const called: number[] = []
    const begun = io.nowMs()
    io.setTimer(20, () => called.push(20))
    io.setTimer(10, () => {
      called.push(10)
      io.setTimer(5, () => called.push(15))
    })
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(io.nowMs()).toBe(begun)
    io.advance(19)
    expect(called).toEqual([10, 15])
    io.advance(1)
    expect(called).toEqual([10, 15, 20])
    expect(io.nowMs()).toBe(begun + 20)
  })

  test('starts a scheduled sync when its time comes', async () => {
    const { disk, io } = await freshProcess()
    const file = await io.open('/d/f', { access: 'readwrite', create: true })
    await io.syncDir('/d')
    await io.write(file, 0, filled(1, 1))
    const scheduled = io.syncAfter(file, 1000)
    io.advance(1000)
    await scheduled.done
    expect(runs(disk.crashImage({ seed: 1, keepSectors: 0 }).contents('/d/f'))).toBe('1x1')
  })

  test('moves by itself with autoAdvance, once nothing is outstanding', async () => {
    const { io } = await freshProcess({ autoAdvance: true })
    const begun = io.nowMs()
    await new Promise<void>((resolve) => {
      io.setTimer(3_600_000, resolve)
    })
    expect(io.nowMs() - begun).toBe(3_600_000)
  })
})
