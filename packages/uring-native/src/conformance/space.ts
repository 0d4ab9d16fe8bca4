import assert from 'node:assert/strict'

import { contents, pattern, rejects, sameBytes, untyped } from './suite.js'
import type { Suite } from './suite.js'

/** Sizes: allocate and truncate. */
export function spaceTests({ test }: Suite): void {
  test('allocate extends the file over the range with zeros and reserves the space', async ({ io, file }) => {
    const opened = await file('allocated')
    await io.allocate(opened, 0, 1_500_000)
    const stat = await io.stat(opened)
    assert.equal(stat.sizeBytes, 1_500_000)
    assert.ok(stat.allocatedBytes >= 1_500_000, `allocated ${String(stat.allocatedBytes)}`)
    sameBytes(await contents(io, opened), new Uint8Array(1_500_000))
  })

  test('allocate keeps the bytes that are there', async ({ io, file }) => {
    const opened = await file('kept', pattern(5000))
    await io.allocate(opened, 1000, 9000)
    const expected = new Uint8Array(10_000)
    expected.set(pattern(5000))
    sameBytes(await contents(io, opened), expected)
    await io.allocate(opened, 0, 100)
    sameBytes(await contents(io, opened), expected)
  })

  test('allocate behind the end leaves zeros between', async ({ io, file }) => {
    const opened = await file('behind', pattern(10))
    await io.allocate(opened, 100_000, 4096)
    const expected = new Uint8Array(104_096)
    expected.set(pattern(10))
    sameBytes(await contents(io, opened), expected)
  })

  test('allocate of no bytes changes nothing', async ({ io, file }) => {
    const opened = await file('none', pattern(10))
    await io.allocate(opened, 4096, 0)
    sameBytes(await contents(io, opened), pattern(10))
  })

  test('a write that is outstanding together with allocate is not lost', async ({ io, file }) => {
    const opened = await file('together')
    const writes: Promise<void>[] = []
    for (let i = 0; i < 20; i++) writes.push(io.write(opened, i * 40_000, pattern(4096, i)))
    const allocations = [io.allocate(opened, 0, 1_000_000), io.allocate(opened, 500_000, 1_000_000)]
    for (let i = 20; i < 30; i++) writes.push(io.write(opened, i * 40_000, pattern(4096, i)))
    await Promise.all([...writes, ...allocations])
    const found = await contents(io, opened)
    assert.equal(found.length, 1_500_000)
    for (let i = 0; i < 30; i++) sameBytes(found.subarray(i * 40_000, i * 40_000 + 4096), pattern(4096, i))
  })

  test('punchHole makes zeros of the range and gives its space back, or changes nothing and says so', async ({
    io,
    file,
  }) => {
    const size = 256 * 1024
    const opened = await file('punched', pattern(size))
    await io.sync(opened)
    const before = await io.stat(opened)
    const expected = pattern(size).slice()
    const punched = await io.punchHole(opened, 64 * 1024, 128 * 1024)
    if (punched) expected.fill(0, 64 * 1024, 192 * 1024)
    sameBytes(await contents(io, opened), expected)
    await io.sync(opened)
    const after = await io.stat(opened)
    assert.equal(after.sizeBytes, size)
    const givenBack = before.allocatedBytes - after.allocatedBytes
    if (punched) assert.ok(givenBack >= 64 * 1024, `gave back ${String(givenBack)}`)
    // A range that begins and ends within blocks, and what is written over a hole.
    assert.equal(await io.punchHole(opened, 1000, 10_000), punched)
    if (punched) expected.fill(0, 1000, 11_000)
    sameBytes(await contents(io, opened), expected)
    await io.write(opened, 100_000, pattern(5000, 7))
    expected.set(pattern(5000, 7), 100_000)
    sameBytes(await contents(io, opened), expected)
  })

  test('punchHole never changes the size of the file', async ({ io, file }) => {
    const opened = await file('end', pattern(10_000))
    const punched = await io.punchHole(opened, 8192, 100_000)
    const expected = pattern(10_000).slice()
    if (punched) expected.fill(0, 8192)
    sameBytes(await contents(io, opened), expected)
    await io.punchHole(opened, 1_000_000, 4096)
    await io.punchHole(opened, 0, 0)
    sameBytes(await contents(io, opened), expected)
  })

  test('truncate cuts the file, and what it grows again reads as zeros', async ({ io, file }) => {
    const opened = await file('cut', pattern(10_000))
    await io.truncate(opened, 5000)
    sameBytes(await contents(io, opened), pattern(10_000).subarray(0, 5000))
    await io.truncate(opened, 9000)
    const expected = new Uint8Array(9000)
    expected.set(pattern(10_000).subarray(0, 5000))
    sameBytes(await contents(io, opened), expected)
    await io.truncate(opened, 0)
    assert.equal((await io.stat(opened)).sizeBytes, 0)
  })

  test('allocate, punchHole and truncate refuse sizes that are no whole numbers from 0 to 2^53 - 1', async ({
    io,
    file,
  }) => {
    const opened = await file('sizes', pattern(100))
    for (const bad of [-1, 0.5, NaN, Infinity, 2 ** 53, '1', undefined, null]) {
      const size: number = untyped(bad)
      const what = `size ${String(bad)}`
      await rejects(() => io.truncate(opened, size), 'HOLT_INVALID_ARGUMENT', what)
      await rejects(() => io.allocate(opened, size, 1), 'HOLT_INVALID_ARGUMENT', what)
      await rejects(() => io.allocate(opened, 0, size), 'HOLT_INVALID_ARGUMENT', what)
      await rejects(() => io.punchHole(opened, size, 1), 'HOLT_INVALID_ARGUMENT', what)
      await rejects(() => io.punchHole(opened, 0, size), 'HOLT_INVALID_ARGUMENT', what)
      await rejects(() => io.map(opened, size), 'HOLT_INVALID_ARGUMENT', what)
    }
    const last = Number.MAX_SAFE_INTEGER
    await rejects(() => io.allocate(opened, last, 1), 'HOLT_INVALID_ARGUMENT')
    sameBytes(await contents(io, opened), pattern(100))
  })
}
