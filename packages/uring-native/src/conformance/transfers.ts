import assert from 'node:assert/strict'

import type { Io, IoFile } from '../io.js'

import { contents, pattern, randomNumbers, rejects, sameBytes, settle, throws, untyped } from './suite.js'
import type { Suite } from './suite.js'

/** The faces by which single ranges move, so that each test goes through all. */
interface Face {
  readonly name: string
  read(io: Io, file: IoFile, offsetBytes: number, into: Uint8Array): Promise<void>
  write(io: Io, file: IoFile, offsetBytes: number, bytes: Uint8Array): Promise<void>
}

const FACES: readonly Face[] = [
  {
    name: 'read and write',
    read: (io, file, offsetBytes, into) => io.read(file, offsetBytes, into),
    write: (io, file, offsetBytes, bytes) => io.write(file, offsetBytes, bytes),
  },
  {
    name: 'readMany and writeMany',
    read: (io, file, offsetBytes, bytes) => io.readMany(file, [{ offsetBytes, bytes }]),
    write: (io, file, offsetBytes, bytes) => io.writeMany(file, [{ offsetBytes, bytes }]),
  },
  {
    name: 'read and writeManyAndSync',
    read: (io, file, offsetBytes, into) => io.read(file, offsetBytes, into),
    write: (io, file, offsetBytes, bytes) => io.writeManyAndSync(file, [{ offsetBytes, bytes }]),
  },
  {
    name: 'read and writeDsync',
    read: (io, file, offsetBytes, into) => io.read(file, offsetBytes, into),
    write: (io, file, offsetBytes, bytes) => io.writeDsync(file, offsetBytes, bytes),
  },
  {
    name: 'readSync and writeSync',
    read: (io, file, offsetBytes, into) =>
      settle(() => {
        io.readSync(file, offsetBytes, into)
      }),
    write: (io, file, offsetBytes, bytes) =>
      settle(() => {
        io.writeSync(file, offsetBytes, bytes)
      }),
  },
  {
    name: 'readManySync and writeManySync',
    read: (io, file, offsetBytes, bytes) =>
      settle(() => {
        io.readManySync(file, [{ offsetBytes, bytes }])
      }),
    write: (io, file, offsetBytes, bytes) =>
      settle(() => {
        io.writeManySync(file, [{ offsetBytes, bytes }])
      }),
  },
  {
    name: 'readSync and writeDsyncSync',
    read: (io, file, offsetBytes, into) =>
      settle(() => {
        io.readSync(file, offsetBytes, into)
      }),
    write: (io, file, offsetBytes, bytes) =>
      settle(() => {
        io.writeDsyncSync(file, offsetBytes, bytes)
      }),
  },
]

/** Reads and writes of single ranges. */
export function transferTests({ test, supports }: Suite): void {
  for (const face of FACES) {
    test(`${face.name} move exactly the bytes asked for, at any offset and length`, async ({ io, file }) => {
      const opened = await file('model')
      const next = randomNumbers(42)
      let model = new Uint8Array(0)
      for (let round = 0; round < 60; round++) {
        const offset = next(3) === 0 ? next(16) * 4096 : next(70_000)
        const length = next(3) === 0 ? next(4) * 4096 : next(9000)
        const bytes = pattern(length, round)
        await face.write(io, opened, offset, bytes)
        if (length > 0 && offset + length > model.length) {
          const longer = new Uint8Array(offset + length)
          longer.set(model)
          model = longer
        }
        model.set(bytes, length > 0 ? offset : 0)

        const from = next(model.length + 1)
        const into = new Uint8Array(next(model.length - from + 1))
        await face.read(io, opened, from, into)
        sameBytes(into, model.subarray(from, from + into.length), `round ${String(round)}`)
      }
      sameBytes(await contents(io, opened), model)
    })

    test(`${face.name} leave the memory around the range alone`, async ({ io, file }) => {
      const opened = await file('around', pattern(1000))
      const memory = new Uint8Array(3000).fill(0xee)
      await face.read(io, opened, 100, memory.subarray(1000, 1500))
      sameBytes(memory.subarray(1000, 1500), pattern(1000).subarray(100, 600))
      assert.ok(memory.subarray(0, 1000).every((byte) => byte === 0xee))
      assert.ok(memory.subarray(1500).every((byte) => byte === 0xee))
      await face.write(io, opened, 0, memory.subarray(1000, 1500))
      sameBytes((await contents(io, opened)).subarray(0, 500), memory.subarray(1000, 1500))
    })

    test(`${face.name} take shared memory and Buffers`, async ({ io, file }) => {
      const opened = await file('shared')
      const shared = new Uint8Array(new SharedArrayBuffer(8192), 100, 5000)
      shared.set(pattern(5000))
      await face.write(io, opened, 0, shared)
      const buffer = Buffer.alloc(5000)
      await face.read(io, opened, 0, buffer)
      sameBytes(buffer, pattern(5000))
      shared.fill(0)
      await face.read(io, opened, 0, shared)
      sameBytes(shared, pattern(5000))
    })

    test(`${face.name}: a read that meets the end of the file is HOLT_SHORT_TRANSFER`, async ({
      io,
      file,
    }) => {
      const opened = await file('short', pattern(5000))
      for (const [offset, length] of [
        [0, 5001],
        [4999, 2],
        [5000, 1],
        [1_000_000, 4096],
      ] as const) {
        await rejects(() => face.read(io, opened, offset, new Uint8Array(length)), 'HOLT_SHORT_TRANSFER')
      }
      const into = new Uint8Array(1)
      await face.read(io, opened, 4999, into)
      assert.equal(into[0], pattern(5000)[4999])
    })

    test(`${face.name} of no bytes do nothing, behind the end of the file too`, async ({ io, file }) => {
      const opened = await file('none', pattern(10))
      await face.read(io, opened, 1_000_000, new Uint8Array(0))
      await face.write(io, opened, 1_000_000, new Uint8Array(0))
      sameBytes(await contents(io, opened), pattern(10))
    })

    test(`${face.name}: a write behind the end leaves zeros between`, async ({ io, file }) => {
      const opened = await file('gap', pattern(10))
      await face.write(io, opened, 10_000, pattern(5))
      const expected = new Uint8Array(10_005)
      expected.set(pattern(10))
      expected.set(pattern(5), 10_000)
      sameBytes(await contents(io, opened), expected)
    })

    test(`${face.name} move several MiB`, async ({ io, file }) => {
      const opened = await file('large')
      const bytes = pattern(5 * 2 ** 20 + 3)
      await face.write(io, opened, 7, bytes)
      const into = new Uint8Array(bytes.length)
      await face.read(io, opened, 7, into)
      sameBytes(into, bytes)
    })

    test(`${face.name} refuse offsets that are no whole numbers from 0 to 2^53 - 1`, async ({ io, file }) => {
      const opened = await file('offsets', pattern(100))
      for (const bad of [-1, -0.5, 0.5, NaN, Infinity, -Infinity, 2 ** 53, '0', 0n, undefined, null]) {
        const what = `offset ${String(bad)}`
        const offset: number = untyped(bad)
        await rejects(() => face.read(io, opened, offset, new Uint8Array(1)), 'HOLT_INVALID_ARGUMENT', what)
        await rejects(() => face.write(io, opened, offset, new Uint8Array(1)), 'HOLT_INVALID_ARGUMENT', what)
      }
      const last = Number.MAX_SAFE_INTEGER
      await rejects(() => face.read(io, opened, last, new Uint8Array(2)), 'HOLT_INVALID_ARGUMENT')
      await rejects(() => face.write(io, opened, last, new Uint8Array(2)), 'HOLT_INVALID_ARGUMENT')
      sameBytes(await contents(io, opened), pattern(100))
    })

    test(`${face.name} at offsets that no file reaches are an error`, async ({ io, file }) => {
      const opened = await file('far', pattern(100))
      const far = Number.MAX_SAFE_INTEGER - 4096
      const codes = ['HOLT_SHORT_TRANSFER', 'HOLT_IO', 'HOLT_NO_SPACE'] as const
      await rejects(() => face.read(io, opened, far, new Uint8Array(4096)), codes)
      await rejects(() => face.write(io, opened, far, new Uint8Array(4096)), codes)
      sameBytes(await contents(io, opened), pattern(100))
    })

    test(`${face.name} refuse what is no Uint8Array, and detached memory`, async ({ io, file }) => {
      const opened = await file('memory', pattern(100))
      const detached = new Uint8Array(10)
      structuredClone(detached.buffer, { transfer: [detached.buffer] })
      const views = [
        new DataView(new ArrayBuffer(8)),
        new Uint16Array(4),
        new Float64Array(1),
        new ArrayBuffer(8),
      ]
      for (const bad of [detached, ...views, [1, 2], 'text', 5, undefined, null]) {
        const what = `bytes ${Object.prototype.toString.call(bad)}`
        await rejects(() => face.read(io, opened, 0, untyped(bad)), 'HOLT_INVALID_ARGUMENT', what)
        await rejects(() => face.write(io, opened, 0, untyped(bad)), 'HOLT_INVALID_ARGUMENT', what)
      }
      sameBytes(await contents(io, opened), pattern(100))
    })
  }

  test('1 000 operations at once each move their own bytes', async ({ io, file }) => {
    const files = [await file('a'), await file('b')] as const
    const place = (i: number): number => (i >> 1) * 700
    const writes = Array.from({ length: 1000 }, (_, i) => io.write(files[i & 1], place(i), pattern(700, i)))
    await Promise.all(writes)
    const into = writes.map(() => new Uint8Array(700))
    await Promise.all(into.map((bytes, i) => io.read(files[i & 1], place(i), bytes)))
    for (const [i, bytes] of into.entries()) sameBytes(bytes, pattern(700, i), `operation ${String(i)}`)
  })

  test('reads among many that fail do not disturb the others', async ({ io, file }) => {
    const opened = await file('mixed', pattern(1000))
    const outcomes = await Promise.allSettled(
      Array.from({ length: 200 }, async (_, i) => {
        const into = new Uint8Array(500)
        await io.read(opened, i % 2 === 0 ? 0 : 600, into)
        sameBytes(into, pattern(1000).subarray(0, 500))
      }),
    )
    for (const [i, outcome] of outcomes.entries()) {
      assert.equal(outcome.status, i % 2 === 0 ? 'fulfilled' : 'rejected', String(i))
    }
  })

  test('what one face wrote another reads', async ({ io, file }) => {
    const opened = await file('faces')
    for (const [i, face] of FACES.entries()) await face.write(io, opened, i * 10, pattern(10, i))
    const into = new Uint8Array(10)
    for (const i of FACES.keys()) {
      io.readSync(opened, i * 10, into)
      sameBytes(into, pattern(10, i))
      await io.read(opened, i * 10, into)
      sameBytes(into, pattern(10, i))
    }
    throws(() => {
      io.readSync(opened, FACES.length * 10, into)
    }, 'HOLT_SHORT_TRANSFER')
  })

  test('the counters count transfers and their bytes', async ({ io, file }) => {
    const opened = await file('counted', pattern(100))
    const before = { ...io.counters }
    await io.write(opened, 0, pattern(1000))
    io.writeSync(opened, 0, pattern(24))
    await io.readMany(opened, [
      { offsetBytes: 0, bytes: new Uint8Array(300) },
      { offsetBytes: 300, bytes: new Uint8Array(200) },
    ])
    io.readSync(opened, 0, new Uint8Array(5))
    await io.stat(opened)
    const after = { ...io.counters }
    assert.equal(after.writtenBytes - before.writtenBytes, 1024)
    assert.equal(after.readBytes - before.readBytes, 505)
    assert.ok(after.writes > before.writes)
    assert.ok(after.reads > before.reads)
    assert.ok(after.otherOperations > before.otherOperations)
    assert.equal(after.syncs, before.syncs)
  })

  if (supports.queueCounters !== true) {
    test('the counters say nothing of a queue', async ({ io, file }) => {
      await file('written', pattern(100))
      assert.deepEqual([io.counters.queue, io.counters.latency], [undefined, undefined])
    })
    return
  }

  test('the counters tell what is under way and how long it took', async ({ io, file }) => {
    const startedMs = io.nowMs()
    const opened = await file('queued', pattern(40 * 100))
    const { queue: idle, latency: before } = io.counters
    assert.ok(idle !== undefined && before !== undefined)
    assert.ok(Number.isInteger(idle.depth) && idle.depth >= 1)
    assert.equal(idle.outstanding, 0)
    const parts = Array.from({ length: 40 }, (_, i) => ({
      offsetBytes: i * 100,
      bytes: new Uint8Array(100),
    }))
    const reading = parts.map(({ offsetBytes, bytes }) => io.read(opened, offsetBytes, bytes))
    const syncing = io.sync(opened)
    const during = io.counters.queue
    assert.equal(during?.outstanding, 41)
    await Promise.all([...reading, syncing])
    await io.readMany(opened, parts)
    const { queue, latency } = io.counters
    assert.ok(queue !== undefined && latency !== undefined)
    assert.equal(queue.outstanding, 0)
    assert.equal(queue.depth, idle.depth)
    assert.ok(queue.highest >= Math.min(queue.depth, 2) && queue.highest <= queue.depth)
    assert.ok(latency.count >= before.count + 81)
    const { meanUs, p50Us, p90Us, p99Us, p999Us, maxUs } = latency
    assert.ok(0 < p50Us && p50Us <= p90Us && p90Us <= p99Us && p99Us <= p999Us && p999Us <= maxUs)
    assert.ok(meanUs > 0 && meanUs <= maxUs)
    // Nothing took longer than everything together; a clock may be rounded.
    assert.ok(maxUs <= (io.nowMs() - startedMs + 1) * 1000)
  })

  test('what failed is not under way any more, and was counted', async ({ io, file }) => {
    const opened = await file('short', pattern(1000))
    const before = io.counters.latency?.count ?? 0
    const parts = [0, 100, 950, 300].map((offsetBytes) => ({ offsetBytes, bytes: new Uint8Array(100) }))
    await rejects(() => io.readMany(opened, parts), 'HOLT_SHORT_TRANSFER')
    await rejects(() => io.read(opened, 2000, new Uint8Array(1)), 'HOLT_SHORT_TRANSFER')
    assert.equal(io.counters.queue?.outstanding, 0)
    assert.ok((io.counters.latency?.count ?? 0) >= before + 2)
  })
}
