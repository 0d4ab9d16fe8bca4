import assert from 'node:assert/strict'

import type { Io, IoFile, Transfer } from '../io.js'

import { contents, pattern, randomNumbers, rejects, sameBytes, settle, untyped } from './suite.js'
import type { Suite } from './suite.js'

const part = (offsetBytes: number, bytes: Uint8Array): Transfer => ({ offsetBytes, bytes })

interface Face {
  readonly name: string
  readonly readMany: (io: Io, file: IoFile, transfers: readonly Transfer[]) => Promise<void>
  readonly writeMany: (io: Io, file: IoFile, transfers: readonly Transfer[]) => Promise<void>
}

const FACES: readonly Face[] = [
  {
    name: '',
    readMany: (io, file, transfers) => io.readMany(file, transfers),
    writeMany: (io, file, transfers) => io.writeMany(file, transfers),
  },
  {
    name: ' (blocking)',
    readMany: (io, file, transfers) =>
      settle(() => {
        io.readManySync(file, transfers)
      }),
    writeMany: (io, file, transfers) =>
      settle(() => {
        io.writeManySync(file, transfers)
      }),
  },
]

/** readMany, writeMany, their blocking twins, and writeManyAndSync. */
export function batchTests(suite: Suite): void {
  for (const face of FACES) faceTests(suite, face)
  syncedTests(suite)
}

function faceTests({ test }: Suite, { name, readMany, writeMany }: Face): void {
  test(`readMany fills every transfer, in any order, overlapping ones too${name}`, async ({ io, file }) => {
    const bytes = pattern(100_000)
    const opened = await file('many', bytes)
    const next = randomNumbers(7)
    const parts = Array.from({ length: 500 }, () => part(next(90_000), new Uint8Array(next(10_000))))
    await readMany(io, opened, parts)
    for (const { offsetBytes, bytes: found } of parts) {
      sameBytes(found, bytes.subarray(offsetBytes, offsetBytes + found.length))
    }
  })

  test(`a batch may hold thousands of transfers${name}`, async ({ io, file }) => {
    const opened = await file('thousands')
    const writes = Array.from({ length: 3000 }, (_, i) => part((2999 - i) * 100, pattern(100, i)))
    await writeMany(io, opened, writes)
    const reads = writes.map(({ offsetBytes }) => part(offsetBytes, new Uint8Array(100)))
    await readMany(io, opened, reads)
    for (const [i, { bytes }] of reads.entries()) sameBytes(bytes, pattern(100, i), `transfer ${String(i)}`)
  })

  test(`readMany with a transfer over the end is HOLT_SHORT_TRANSFER, and then lets go of all memory${name}`, async (s) => {
    const opened = await s.file('over', pattern(50_000))
    const parts = Array.from({ length: 100 }, (_, i) => part(i === 40 ? 49_999 : i * 10, new Uint8Array(400)))
    await rejects(() => readMany(s.io, opened, parts), 'HOLT_SHORT_TRANSFER')
    for (const { bytes } of parts) bytes.fill(0xee)
    for (let turn = 0; turn < 20; turn++) await s.io.read(opened, 0, new Uint8Array(1000))
    for (const { bytes } of parts) assert.ok(bytes.every((byte) => byte === 0xee))
  })

  test(`of several writes at an equal offset the last of the list wins${name}`, async ({ io, file }) => {
    const opened = await file('equal', pattern(1000, 99))
    await writeMany(io, opened, [
      part(500, pattern(100, 1)),
      part(0, pattern(10, 2)),
      part(500, pattern(300, 3)),
      part(500, pattern(50, 4)),
    ])
    const expected = pattern(1000, 99)
    expected.set(pattern(10, 2), 0)
    expected.set(pattern(50, 4), 500)
    sameBytes(await contents(io, opened), expected)
  })

  test(`writes that touch without overlapping are taken in any order${name}`, async ({ io, file }) => {
    const opened = await file('touching')
    const all = pattern(300)
    await writeMany(io, opened, [
      part(200, all.subarray(200)),
      part(0, all.subarray(0, 100)),
      part(100, all.subarray(100, 200)),
    ])
    sameBytes(await contents(io, opened), all)
  })

  test(`writes that overlap at unequal offsets are refused, and nothing is written${name}`, async ({
    io,
    file,
  }) => {
    const opened = await file('overlap', pattern(1000))
    const zeros = new Uint8Array(100)
    for (const batch of [
      [part(0, zeros), part(99, zeros)],
      [part(500, zeros), part(100, zeros), part(450, zeros)],
    ]) {
      await rejects(() => writeMany(io, opened, batch), 'HOLT_INVALID_ARGUMENT')
      await rejects(() => io.writeManyAndSync(opened, batch), 'HOLT_INVALID_ARGUMENT')
    }
    sameBytes(await contents(io, opened), pattern(1000))
  })

  test(`a batch with one bad transfer is refused whole${name}`, async ({ io, file }) => {
    const opened = await file('whole', pattern(1000))
    const good = part(0, new Uint8Array(100))
    for (const bad of [
      part(-1, good.bytes),
      part(0.5, good.bytes),
      { offsetBytes: 0 },
      { bytes: good.bytes },
      null,
      3,
    ]) {
      const batch: Transfer[] = untyped([good, bad])
      await rejects(() => readMany(io, opened, batch), 'HOLT_INVALID_ARGUMENT')
      await rejects(() => writeMany(io, opened, batch), 'HOLT_INVALID_ARGUMENT')
      await rejects(() => io.writeManyAndSync(opened, batch), 'HOLT_INVALID_ARGUMENT')
    }
    for (const list of [undefined, null, 'list', {}]) {
      await rejects(() => writeMany(io, opened, untyped(list)), 'HOLT_INVALID_ARGUMENT')
    }
    assert.ok(good.bytes.every((byte) => byte === 0))
    sameBytes(await contents(io, opened), pattern(1000))
  })

  test(`empty lists do nothing at all, no sync either${name}`, async ({ io, file }) => {
    const opened = await file('empty', pattern(10))
    const before = { ...io.counters }
    await readMany(io, opened, [])
    await writeMany(io, opened, [])
    await io.writeManyAndSync(opened, [])
    const after = { ...io.counters }
    assert.equal(after.syncs, before.syncs)
    assert.equal(after.writes, before.writes)
    assert.equal(after.reads, before.reads)
    sameBytes(await contents(io, opened), pattern(10))
  })

  test(`transfers without bytes move nothing, wherever they stand${name}`, async ({ io, file }) => {
    const opened = await file('nothing', pattern(100))
    const none = new Uint8Array(0)
    await writeMany(io, opened, [part(50, none), part(0, pattern(100, 2)), part(0, none), part(9_000, none)])
    await readMany(io, opened, [part(50, none), part(9_000, none)])
    sameBytes(await contents(io, opened), pattern(100, 2))
  })
}

function syncedTests({ test }: Suite): void {
  test('writeManyAndSync writes all and syncs once', async ({ io, file }) => {
    const opened = await file('synced')
    const before = { ...io.counters }
    await io.writeManyAndSync(opened, [part(100, pattern(100, 2)), part(0, pattern(100, 1))])
    assert.equal(io.counters.syncs - before.syncs, 1)
    const found = await contents(io, opened)
    sameBytes(found.subarray(0, 100), pattern(100, 1))
    sameBytes(found.subarray(100), pattern(100, 2))
  })

  test('writeManyAndSync starts no sync after a failed write', async ({ io, file, path }) => {
    await io.close(await file('fixed', pattern(100)))
    const fixed = await io.open(path('fixed'), { access: 'read' })
    const before = { ...io.counters }
    await rejects(
      () => io.writeManyAndSync(fixed, [part(0, pattern(10, 2)), part(50, pattern(10, 3))]),
      'HOLT_IO',
    )
    assert.equal(io.counters.syncs, before.syncs)
    sameBytes(await contents(io, fixed), pattern(100))
  })
}
