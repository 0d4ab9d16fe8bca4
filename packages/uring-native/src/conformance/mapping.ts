import assert from 'node:assert/strict'

import { contents, pattern, sameBytes } from './suite.js'
import type { Suite } from './suite.js'

const SIZE_BYTES = 64 * 1024

/** Mapped files. Where mappings are not supported, that `map` says so. */
export function mappingTests({ test, supports }: Suite): void {
  if (supports.map !== true) {
    test('map answers undefined', async ({ io, file }) => {
      const opened = await file('plain')
      await io.allocate(opened, 0, SIZE_BYTES)
      assert.equal(await io.map(opened, SIZE_BYTES), undefined)
    })
    return
  }

  test('a mapping shows the bytes of the file, as many as asked for', async ({ io, file }) => {
    const opened = await file('mapped')
    await io.allocate(opened, 0, SIZE_BYTES)
    await io.write(opened, 100, pattern(5000))
    const mapping = await io.map(opened, SIZE_BYTES / 2)
    assert.ok(mapping)
    assert.equal(mapping.bytes.length, SIZE_BYTES / 2)
    sameBytes(mapping.bytes.slice(100, 5100), pattern(5000))
    await mapping.unmap()
  })

  test('bytes stored in a mapping are in the file at once, for every kind of read', async ({
    io,
    file,
    path,
  }) => {
    const opened = await file('stored')
    await io.allocate(opened, 0, SIZE_BYTES)
    const mapping = await io.map(opened, SIZE_BYTES)
    assert.ok(mapping)
    mapping.populate(0, SIZE_BYTES)
    mapping.bytes.set(pattern(20_000), 3000)
    const found = new Uint8Array(20_000)
    io.readSync(opened, 3000, found)
    sameBytes(found, pattern(20_000))
    mapping.bytes.set(pattern(20_000, 2), 3000)
    const other = await io.open(path('stored'), { access: 'read' })
    await io.read(other, 3000, found)
    sameBytes(found, pattern(20_000, 2))
    await mapping.unmap()
  })

  test('bytes written to the file are in its mapping', async ({ io, file }) => {
    const opened = await file('written')
    await io.allocate(opened, 0, SIZE_BYTES)
    const mapping = await io.map(opened, SIZE_BYTES)
    assert.ok(mapping)
    io.writeSync(opened, 10, pattern(5000))
    sameBytes(mapping.bytes.slice(10, 5010), pattern(5000))
    await mapping.unmap()
  })

  test('unmap detaches the bytes, and the file keeps them', async ({ io, file }) => {
    const opened = await file('unmapped')
    await io.allocate(opened, 0, SIZE_BYTES)
    const mapping = await io.map(opened, SIZE_BYTES)
    assert.ok(mapping)
    mapping.bytes.set(pattern(SIZE_BYTES))
    await mapping.unmap()
    assert.equal(mapping.bytes.length, 0)
    sameBytes(await contents(io, opened), pattern(SIZE_BYTES))
  })

  test('populate changes no byte, anywhere in the mapping', async ({ io, file }) => {
    const opened = await file('populated')
    await io.allocate(opened, 0, SIZE_BYTES)
    await io.write(opened, 0, pattern(SIZE_BYTES))
    const mapping = await io.map(opened, SIZE_BYTES)
    assert.ok(mapping)
    for (const [offset, length] of [
      [0, SIZE_BYTES],
      [1, 1],
      [SIZE_BYTES - 1, 1],
      [5000, 10_000],
      [SIZE_BYTES, 0],
    ] as const) {
      mapping.populate(offset, length)
    }
    await io.sync(opened)
    sameBytes(mapping.bytes.slice(), pattern(SIZE_BYTES))
    await mapping.unmap()
  })

  test('sync takes a mapped file, before and after unmap', async ({ io, file }) => {
    const opened = await file('synced')
    await io.allocate(opened, 0, SIZE_BYTES)
    const mapping = await io.map(opened, SIZE_BYTES)
    assert.ok(mapping)
    mapping.bytes.fill(7)
    await io.sync(opened)
    mapping.bytes.fill(8)
    await mapping.unmap()
    await io.sync(opened)
    sameBytes(await contents(io, opened), new Uint8Array(SIZE_BYTES).fill(8))
  })

  test('several mappings of one file show the same bytes', async ({ io, file }) => {
    const opened = await file('several')
    await io.allocate(opened, 0, SIZE_BYTES)
    const first = await io.map(opened, SIZE_BYTES)
    const second = await io.map(opened, SIZE_BYTES)
    assert.ok(first && second)
    first.bytes.set(pattern(1000), 500)
    sameBytes(second.bytes.slice(500, 1500), pattern(1000))
    await first.unmap()
    sameBytes(second.bytes.slice(500, 1500), pattern(1000))
    await second.unmap()
  })
}
