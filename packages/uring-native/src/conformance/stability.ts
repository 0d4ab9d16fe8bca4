import assert from 'node:assert/strict'

import { contents, pattern, rejects, sameBytes, untyped } from './suite.js'
import type { Suite } from './suite.js'

/** Syncs in all forms. What survives a power loss is for a simulated disk to show; here, that they run and count. */
export function stabilityTests({ test, supports }: Suite): void {
  test('sync and syncSync leave the bytes and are counted', async ({ io, file }) => {
    const opened = await file('synced', pattern(5000))
    const before = { ...io.counters }
    await io.sync(opened)
    io.syncSync(opened)
    await Promise.all([io.sync(opened), io.sync(opened)])
    assert.equal(io.counters.syncs - before.syncs, 4)
    sameBytes(await contents(io, opened), pattern(5000))
  })

  test('writeDsync stays with its file when that was renamed and another took its name', async (s) => {
    const { io, path } = s
    const ours = await s.file('log', pattern(4096, 1))
    await io.rename(path('log'), path('old'))
    const other = await s.file('log', pattern(4096, 2))
    await io.writeDsync(ours, 0, pattern(512, 3))
    io.writeDsyncSync(ours, 512, pattern(512, 4))
    sameBytes(await contents(io, other), pattern(4096, 2))
    const found = await contents(io, ours)
    sameBytes(found.subarray(0, 512), pattern(512, 3))
    sameBytes(found.subarray(512, 1024), pattern(512, 4))
  })

  test('writeDsync works on a file whose name was removed', async (s) => {
    const opened = await s.file('nameless', pattern(4096))
    await s.io.remove(s.path('nameless'))
    await s.io.writeDsync(opened, 0, pattern(512, 3))
    sameBytes((await contents(s.io, opened)).subarray(0, 512), pattern(512, 3))
  })

  test('a scheduled sync that is cancelled resolves without a sync', async ({ io, file }) => {
    const opened = await file('cancelled', pattern(10))
    const before = { ...io.counters }
    const scheduled = io.syncAfter(opened, 60_000)
    scheduled.cancel()
    scheduled.cancel()
    await scheduled.done
    assert.equal(io.counters.syncs, before.syncs)
  })

  test('close cancels scheduled syncs', async ({ io, file }) => {
    const opened = await file('closed', pattern(10))
    const before = { ...io.counters }
    const scheduled = [io.syncAfter(opened, 60_000), io.syncAfter(opened, 50_000)]
    await io.close(opened)
    await Promise.all(scheduled.map(({ done }) => done))
    assert.equal(io.counters.syncs, before.syncs)
  })

  test('syncAfter refuses delays that are no numbers from 0 to 2^31 - 1', async ({ io, file }) => {
    const opened = await file('delays')
    for (const bad of [-1, NaN, Infinity, 2 ** 31, '5', undefined, null]) {
      await rejects(async () => io.syncAfter(opened, untyped(bad)).done, 'HOLT_INVALID_ARGUMENT', String(bad))
    }
  })

  if (supports.virtualTime === true) return

  test('a scheduled sync starts by itself', async ({ io, file }) => {
    const opened = await file('scheduled', pattern(10))
    const before = { ...io.counters }
    // Nothing it does keeps the process alive, so the test does.
    const alive = setInterval(() => undefined, 1000)
    try {
      const first = io.syncAfter(opened, 5)
      await first.done
      first.cancel()
      assert.equal(io.counters.syncs - before.syncs, 1)
      await io.syncAfter(opened, 0).done
      assert.equal(io.counters.syncs - before.syncs, 2)
    } finally {
      clearInterval(alive)
    }
  })
}
