import { describe, expect, test } from 'vitest'

import type { SimLatency } from '../../src/index.js'
import { afterPowerLosses, filled, freshProcess, runs } from './possible-disks.js'

/** Lets everything run that needs no clock. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** Virtual milliseconds that a number of writes one after the other take, each. */
async function writeTimes(latency: SimLatency, seed: number, count = 5): Promise<number[]> {
  const { io } = await freshProcess({ latency, autoAdvance: true }, seed)
  const file = await io.open('/d/f', { access: 'readwrite', create: true })
  const times: number[] = []
  for (let i = 0; i < count; i++) {
    const begun = io.nowMs()
    await io.write(file, i, filled(1, 1))
    times.push(io.nowMs() - begun)
  }
  return times
}

describe('latency', () => {
  test('has a call complete when its time has passed on the virtual clock, and not before', async () => {
    const { disk, io } = await freshProcess({ latency: { write: 10 } })
    const file = await io.open('/d/f', { access: 'readwrite', create: true })
    let isDone = false
    const write = io.write(file, 0, filled(1, 10)).then(() => {
      isDone = true
    })
    await settled()
    io.advance(9.5)
    await settled()
    expect([isDone, io.outstanding, runs(disk.contents('/d/f'))]).toEqual([false, 1, ''])
    io.advance(0.5)
    await write
    expect([isDone, io.outstanding, runs(disk.contents('/d/f'))]).toEqual([true, 0, '1x10'])
  })

  test('is its own for each kind of call, with one for all that are not named', async () => {
    const { io } = await freshProcess({ latency: { write: 10, sync: 200, other: 1 }, autoAdvance: true })
    const times: number[] = []
    let before = io.nowMs()
    const lap = (): void => {
      times.push(io.nowMs() - before)
      before = io.nowMs()
    }
    const file = await io.open('/d/f', { access: 'readwrite', create: true })
    lap()
    await io.write(file, 0, filled(1, 10))
    lap()
    await io.sync(file)
    lap()
    expect(times).toEqual([1, 10, 200])
  })

  test('from a range is drawn by the seed, within the range', async () => {
    const latency: SimLatency = { write: { leastMs: 2, mostMs: 4 } }
    const times = await writeTimes(latency, 7)
    expect(await writeTimes(latency, 7)).toEqual(times)
    expect(await writeTimes(latency, 8)).not.toEqual(times)
    expect(new Set(times).size).toBe(times.length)
    for (const ms of await writeTimes(latency, 9, 100)) {
      expect(ms).toBeGreaterThanOrEqual(2 - 1e-6)
      expect(ms).toBeLessThan(4)
    }
  })

  test('has a slow call overtaken by quick ones that were made later', async () => {
    const { io } = await freshProcess({ latency: { write: 10, stat: 1 }, autoAdvance: true })
    const file = await io.open('/d/f', { access: 'readwrite', create: true })
    const order: string[] = []
    await Promise.all([
      io.write(file, 0, filled(1, 1)).then(() => order.push('write')),
      io.stat(file).then(() => order.push('stat')),
    ])
    expect(order).toEqual(['stat', 'write'])
  })

  test('of calls that are outstanding together passes once, not once for each', async () => {
    const { io } = await freshProcess({ latency: { write: 10 }, autoAdvance: true })
    const file = await io.open('/d/f', { access: 'readwrite', create: true })
    const begun = io.nowMs()
    const parts = Array.from({ length: 8 }, (_, i) => ({ offsetBytes: i, bytes: filled(i, 1) }))
    await io.writeMany(file, parts)
    expect(io.nowMs() - begun).toBe(10)
  })

  test('comes again for each piece of a transfer that was short or interrupted', async () => {
    const { io } = await freshProcess({ latency: { write: 10 }, autoAdvance: true })
    const file = await io.open('/d/f', { access: 'readwrite', create: true })
    io.faults.add({ operation: 'write', errno: 'EINTR' })
    io.faults.add({ operation: 'write', nth: 2, shortBytes: 3 })
    const begun = io.nowMs()
    await io.write(file, 0, filled(1, 10))
    expect(io.nowMs() - begun).toBe(30)
  })

  test('of a blocking call moves the clock, and has timers called back after it', async () => {
    const { io } = await freshProcess({ latency: { write: 10 } })
    const file = await io.open('/d/f', { access: 'readwrite', create: true })
    const begun = io.nowMs()
    const calledAfterMs: number[] = []
    io.setTimer(4, () => calledAfterMs.push(io.nowMs() - begun))
    io.writeSync(file, 0, filled(1, 1))
    expect([io.nowMs() - begun, calledAfterMs]).toEqual([10, []])
    await settled()
    expect(calledAfterMs).toEqual([10])
  })

  test('leaves a write that is on its way done, not done, or in part when the power fails', async () => {
    const { disk, io } = await freshProcess({ latency: { write: 10 } })
    const file = await io.open('/d/f', { access: 'readwrite', create: true })
    io.writeSync(file, 0, filled(2, 1024))
    io.syncSync(file)
    await io.syncDir('/d')
    const write = io.write(file, 0, filled(1, 1024))
    await settled()
    const found = afterPowerLosses(disk, (after) => runs(after.contents('/d/f')))
    expect(found).toEqual(['1x1024', '1x512 2x512', '2x1024', '2x512 1x512'])
    io.advance(10)
    await write
  })

  test('has calls on their way fail with HOLT_CLOSED when the process is killed', async () => {
    const { io } = await freshProcess({ latency: { write: 10 } })
    const file = await io.open('/d/f', { access: 'readwrite', create: true })
    const write = io.write(file, 0, filled(1, 1))
    await settled()
    io.kill()
    await expect(write).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
  })

  test('is waited for by dispose, which cancels timers but no calls', async () => {
    const { disk, io } = await freshProcess({ latency: { write: 10 }, autoAdvance: true })
    const file = await io.open('/d/f', { access: 'readwrite', create: true })
    const write = io.write(file, 0, filled(1, 10))
    let rang = 0
    io.setTimer(1, () => rang++)
    await io.dispose()
    await write
    expect([runs(disk.contents('/d/f')), rang]).toEqual(['1x10', 0])
  })

  test('that is no time, or a range that runs backwards, is HOLT_INVALID_ARGUMENT', async () => {
    for (const write of [-1, NaN, Infinity, { leastMs: 2, mostMs: 1 }, { leastMs: -1, mostMs: 1 }]) {
      await expect(freshProcess({ latency: { write } })).rejects.toMatchObject({
        code: 'HOLT_INVALID_ARGUMENT',
      })
    }
  })
})
