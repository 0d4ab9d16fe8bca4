import assert from 'node:assert/strict'

import type { Io } from '../io.js'

import { rejects, throws, untyped } from './suite.js'
import type { Suite } from './suite.js'

/** Locks, the clock, timers, and who is alive. */
export function environmentTests({ test, supports }: Suite): void {
  if (supports.lock === true) {
    test('a lock is held against a second one until it is released', async ({ io, path, directory }) => {
      const lock = await io.lock(path('lock'))
      assert.ok(lock !== undefined && lock !== 'held')
      assert.equal(await io.lock(path('lock')), 'held')
      const other = await io.lock(path('other'))
      assert.ok(other !== undefined && other !== 'held')
      await lock.release()
      assert.deepEqual((await io.list(directory)).sort(), ['lock', 'other'])
      const again = await io.lock(path('lock'))
      assert.ok(again !== undefined && again !== 'held')
      await again.release()
      await other.release()
    })

    test('of many who lock at once exactly one succeeds', async ({ io, path }) => {
      const locks = await Promise.all(Array.from({ length: 20 }, () => io.lock(path('lock'))))
      assert.equal(locks.filter((lock) => lock === 'held').length, 19)
    })

    test('a lock in an absent directory is HOLT_NOT_FOUND', async ({ io, path }) => {
      await rejects(() => io.lock(path('no/lock')), 'HOLT_NOT_FOUND')
    })
  } else {
    test('lock answers undefined', async ({ io, path }) => {
      assert.equal(await io.lock(path('lock')), undefined)
    })
  }

  test('the clock never goes back', ({ io }) => {
    let before = io.nowMs()
    assert.ok(Number.isFinite(before))
    for (let i = 0; i < 1000; i++) {
      const now = io.nowMs()
      assert.ok(now >= before)
      before = now
    }
    return Promise.resolve()
  })

  test('fillRandom fills all of an array, each time with something else', ({ io }) => {
    const seen = new Set<string>()
    for (let i = 0; i < 50; i++) {
      const bytes = new Uint8Array(64).fill(7)
      io.fillRandom(bytes.subarray(8, 40))
      assert.ok(bytes.subarray(0, 8).every((byte) => byte === 7))
      assert.ok(bytes.subarray(40).every((byte) => byte === 7))
      seen.add(bytes.join())
    }
    assert.equal(seen.size, 50)
    const one = Array.from({ length: 200 }, () => {
      const byte = new Uint8Array(1)
      io.fillRandom(byte)
      return byte[0]
    })
    assert.ok(new Set(one).size > 50)
    return Promise.resolve()
  })

  test('setTimer refuses bad delays and what is no function', ({ io }) => {
    for (const bad of [-1, NaN, Infinity, 2 ** 31, '5', undefined, null]) {
      throws(() => io.setTimer(untyped(bad), () => undefined), 'HOLT_INVALID_ARGUMENT', String(bad))
    }
    throws(() => io.setTimer(1, untyped('text')), 'HOLT_INVALID_ARGUMENT')
    return Promise.resolve()
  })

  if (supports.virtualTime !== true) timerTests(test)

  test('we are not gone', ({ io }) => {
    const ours = io.processIdentity()
    assert.ok(Number.isSafeInteger(ours.pid) && ours.pid > 0)
    assert.deepEqual(io.processIdentity(), ours)
    assert.equal(io.isProcessGone(ours), false)
    return Promise.resolve()
  })

  test('a process of another or an unknown machine or namespace is never called gone', ({ io }) => {
    const gone = { ...io.processIdentity(), bootId: 'another boot', startTime: '1' }
    for (const machineId of ['', 'another machine'])
      assert.equal(io.isProcessGone({ ...gone, machineId }), false)
    for (const pidNamespace of ['', 'pid:[1]'])
      assert.equal(io.isProcessGone({ ...gone, pidNamespace }), false)
    return Promise.resolve()
  })

  test('a process of an earlier boot, or with another start time, is gone', ({ io }) => {
    const ours = io.processIdentity()
    const known = ours.machineId !== '' && ours.pidNamespace !== '' && ours.bootId !== ''
    assert.equal(io.isProcessGone({ ...ours, bootId: 'an earlier boot' }), known)
    assert.equal(io.isProcessGone({ ...ours, startTime: '1' }), known)
    return Promise.resolve()
  })
}

function timerTests(test: Suite['test']): void {
  test('a timer calls back once, not before its time; one that is cancelled never', async ({ io }) => {
    const calls: string[] = []
    const cancelled = io.setTimer(1, () => calls.push('cancelled'))
    cancelled.cancel()
    cancelled.cancel()
    const begun = io.nowMs()
    await elapsed(io, 30, () => calls.push('fired'))
    // The system's timers count whole milliseconds and may round down.
    assert.ok(io.nowMs() - begun >= 29)
    await elapsed(io, 5, () => undefined)
    assert.deepEqual(calls, ['fired'])
  })

  test('timers fire in the order of their delays', async ({ io }) => {
    const order: number[] = []
    await Promise.all([40, 1, 20].map((delayMs) => elapsed(io, delayMs, () => order.push(delayMs))))
    assert.deepEqual(order, [1, 20, 40])
  })
}

/** Waits for a timer of the Io. Those keep no process alive, so this does. */
async function elapsed(io: Io, delayMs: number, callback: () => unknown): Promise<void> {
  const alive = setInterval(() => undefined, 1000)
  await new Promise<void>((resolve) => {
    io.setTimer(delayMs, () => {
      callback()
      resolve()
    })
  })
  clearInterval(alive)
}
