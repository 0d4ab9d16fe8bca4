import assert from 'node:assert/strict'

import type { IoFile, OpenOptions } from '../io.js'

import { contents, pattern, rejects, sameBytes, throws, untyped } from './suite.js'
import type { Suite } from './suite.js'

/** Opening, closing, and what is refused before and after. */
export function openingTests({ test, alignedBytes }: Suite): void {
  test('open of an absent file without create is HOLT_NOT_FOUND and makes nothing', async ({
    io,
    path,
    directory,
  }) => {
    await rejects(() => io.open(path('absent'), { access: 'readwrite' }), 'HOLT_NOT_FOUND')
    await rejects(() => io.open(path('absent'), { access: 'read' }), 'HOLT_NOT_FOUND')
    assert.deepEqual(await io.list(directory), [])
  })

  test('open with create in an absent directory is HOLT_NOT_FOUND', async ({ io, path }) => {
    await rejects(() => io.open(path('no/file'), { access: 'readwrite', create: true }), 'HOLT_NOT_FOUND')
  })

  test('open with create makes an empty file', async ({ io, path }) => {
    const file = await io.open(path('new'), { access: 'readwrite', create: true })
    assert.equal(file.path, path('new'))
    const stat = await io.stat(file)
    assert.equal(stat.sizeBytes, 0)
    assert.equal(stat.kind, 'file')
  })

  test('open with create keeps the bytes of a file that is there', async ({ io, path, file }) => {
    await io.close(await file('kept', pattern(100)))
    const again = await io.open(path('kept'), { access: 'readwrite', create: true })
    sameBytes(await contents(io, again), pattern(100))
  })

  test('open with exclusive makes an absent file and is HOLT_EXISTS for one that is there', async ({
    io,
    path,
  }) => {
    const options: OpenOptions = { access: 'readwrite', create: true, exclusive: true, truncate: true }
    const first = await io.open(path('once'), options)
    await io.write(first, 0, pattern(10))
    await rejects(() => io.open(path('once'), options), 'HOLT_EXISTS')
    sameBytes(await contents(io, first), pattern(10))
  })

  test('of many exclusive opens at once exactly one succeeds', async ({ io, path }) => {
    const opens = Array.from({ length: 20 }, () =>
      io.open(path('race'), { access: 'readwrite', create: true, exclusive: true }),
    )
    const outcomes = await Promise.allSettled(opens)
    assert.equal(outcomes.filter((outcome) => outcome.status === 'fulfilled').length, 1)
  })

  test('open with truncate empties the file', async ({ io, path, file }) => {
    await io.close(await file('emptied', pattern(5000)))
    const again = await io.open(path('emptied'), { access: 'readwrite', truncate: true })
    assert.equal((await io.stat(again)).sizeBytes, 0)
  })

  test('two opens of a file see each other’s bytes', async ({ io, path, file }) => {
    const writer = await file('shared')
    const reader = await io.open(path('shared'), { access: 'read' })
    await io.write(writer, 0, pattern(3000))
    sameBytes(await contents(io, reader), pattern(3000))
  })

  test('open refuses options it does not know or that contradict each other, and makes nothing', async (s) => {
    const refused: unknown[] = [
      undefined,
      null,
      {},
      { access: 'write' },
      { access: 'readwrite', creat: true },
      { access: 'readwrite', create: 1 },
      { access: 'readwrite', exclusive: true },
      { access: 'read', create: true },
      { access: 'read', truncate: true },
    ]
    for (const options of refused) {
      await rejects(
        () => s.io.open(s.path('x'), untyped(options)),
        'HOLT_INVALID_ARGUMENT',
        `open with ${JSON.stringify(options)}`,
      )
    }
    assert.deepEqual(await s.io.list(s.directory), [])
  })

  test('bad paths are HOLT_INVALID_ARGUMENT wherever a path is taken', async ({ io, path, directory }) => {
    for (const bad of ['', 'a\0b', path('a\0b'), '\ud800', 7, undefined, null, {}]) {
      const given: string = untyped(bad)
      const what = `path ${JSON.stringify(bad)}`
      await rejects(
        () => io.open(given, { access: 'readwrite', create: true }),
        'HOLT_INVALID_ARGUMENT',
        what,
      )
      await rejects(() => io.rename(given, path('to')), 'HOLT_INVALID_ARGUMENT', what)
      await rejects(() => io.rename(path('from'), given), 'HOLT_INVALID_ARGUMENT', what)
      await rejects(() => io.link(given, path('to')), 'HOLT_INVALID_ARGUMENT', what)
      await rejects(() => io.link(path('from'), given), 'HOLT_INVALID_ARGUMENT', what)
      await rejects(() => io.remove(given), 'HOLT_INVALID_ARGUMENT', what)
      await rejects(() => io.list(given), 'HOLT_INVALID_ARGUMENT', what)
      await rejects(() => io.mkdir(given), 'HOLT_INVALID_ARGUMENT', what)
      await rejects(() => io.syncDir(given), 'HOLT_INVALID_ARGUMENT', what)
      await rejects(() => io.lock(given), 'HOLT_INVALID_ARGUMENT', what)
    }
    assert.deepEqual(await io.list(directory), [])
  })

  test('a file opened for reading takes no writes of any kind', async ({ io, path, file }) => {
    await io.close(await file('fixed', pattern(4096)))
    const fixed = await io.open(path('fixed'), { access: 'read' })
    const bytes = new Uint8Array(512)
    await rejects(() => io.write(fixed, 0, bytes), 'HOLT_IO')
    await rejects(() => io.writeMany(fixed, [{ offsetBytes: 0, bytes }]), 'HOLT_IO')
    await rejects(() => io.writeDsync(fixed, 0, bytes), 'HOLT_IO')
    await rejects(() => io.truncate(fixed, 0), 'HOLT_IO')
    await rejects(() => io.allocate(fixed, 0, 8192), 'HOLT_IO')
    throws(() => {
      io.writeSync(fixed, 0, bytes)
    }, 'HOLT_IO')
    throws(() => {
      io.writeDsyncSync(fixed, 0, bytes)
    }, 'HOLT_IO')
    sameBytes(await contents(io, fixed), pattern(4096))
  })

  test('the block size is a power of two of at least 512', async ({ io, file, path }) => {
    const direct = await io.open(path('direct'), { access: 'readwrite', create: true, direct: true })
    for (const opened of [await file('plain'), direct]) {
      const size = io.blockSize(opened)
      assert.ok(size >= 512 && Number.isInteger(Math.log2(size)), String(size))
    }
  })

  test('a direct file moves multiples of the block size exactly', async ({ io, path }) => {
    const file = await io.open(path('direct'), { access: 'readwrite', create: true, direct: true })
    const block = io.blockSize(file)
    const written = alignedBytes(block * 3)
    written.set(pattern(block * 3))
    await io.write(file, 0, written)
    await io.writeMany(file, [{ offsetBytes: block * 3, bytes: written }])
    const back = alignedBytes(block * 6)
    await io.read(file, 0, back)
    sameBytes(back.subarray(0, block * 3), written)
    sameBytes(back.subarray(block * 3), written)
    io.readSync(file, block * 2, back.subarray(0, block * 2))
    sameBytes(back.subarray(0, block), written.subarray(block * 2))
    sameBytes(back.subarray(block, block * 2), written.subarray(0, block))
  })

  test('a direct file refuses offsets and lengths that are no multiples', async ({ io, path }) => {
    const file = await io.open(path('direct'), { access: 'readwrite', create: true, direct: true })
    const block = io.blockSize(file)
    const bytes = alignedBytes(block)
    await rejects(() => io.write(file, 1, bytes), 'HOLT_INVALID_ARGUMENT')
    await rejects(() => io.write(file, 0, bytes.subarray(0, block - 1)), 'HOLT_INVALID_ARGUMENT')
    await rejects(() => io.writeMany(file, [{ offsetBytes: 256, bytes }]), 'HOLT_INVALID_ARGUMENT')
    await rejects(() => io.read(file, 1, bytes), 'HOLT_INVALID_ARGUMENT')
    throws(() => {
      io.readSync(file, 1, bytes)
    }, 'HOLT_INVALID_ARGUMENT')
    assert.equal((await io.stat(file)).sizeBytes, 0)
  })

  test('close waits for the operations that are outstanding', async ({ io, path, file }) => {
    const opened = await file('busy')
    const writes = Array.from({ length: 100 }, (_, i) => io.write(opened, i * 1000, pattern(1000, i)))
    await io.close(opened)
    await Promise.all(writes)
    const again = await io.open(path('busy'), { access: 'read' })
    const found = await contents(io, again)
    for (let i = 0; i < 100; i++) sameBytes(found.subarray(i * 1000, (i + 1) * 1000), pattern(1000, i))
  })

  test('closing twice is HOLT_CLOSED, also while the first close is under way', async ({ io, file }) => {
    const opened = await file('twice')
    const first = io.close(opened)
    await rejects(() => io.close(opened), 'HOLT_CLOSED')
    await first
    await rejects(() => io.close(opened), 'HOLT_CLOSED')
  })

  test('every use of a closed file is HOLT_CLOSED', async ({ io, file }) => {
    const closed = await file('closed', pattern(1000))
    await io.close(closed)
    const bytes = new Uint8Array(10)
    const transfers = [{ offsetBytes: 0, bytes }]
    await rejects(() => io.stat(closed), 'HOLT_CLOSED')
    await rejects(() => io.read(closed, 0, bytes), 'HOLT_CLOSED')
    await rejects(() => io.readMany(closed, transfers), 'HOLT_CLOSED')
    await rejects(() => io.write(closed, 0, bytes), 'HOLT_CLOSED')
    await rejects(() => io.writeMany(closed, transfers), 'HOLT_CLOSED')
    await rejects(() => io.writeManyAndSync(closed, transfers), 'HOLT_CLOSED')
    await rejects(() => io.writeDsync(closed, 0, bytes), 'HOLT_CLOSED')
    await rejects(() => io.sync(closed), 'HOLT_CLOSED')
    await rejects(async () => io.syncAfter(closed, 0).done, 'HOLT_CLOSED')
    await rejects(() => io.allocate(closed, 0, 1), 'HOLT_CLOSED')
    await rejects(() => io.truncate(closed, 0), 'HOLT_CLOSED')
    await rejects(() => io.map(closed, 1), 'HOLT_CLOSED')
    throws(() => {
      io.readSync(closed, 0, bytes)
    }, 'HOLT_CLOSED')
    throws(() => {
      io.writeSync(closed, 0, bytes)
    }, 'HOLT_CLOSED')
    throws(() => {
      io.writeDsyncSync(closed, 0, bytes)
    }, 'HOLT_CLOSED')
    throws(() => {
      io.syncSync(closed)
    }, 'HOLT_CLOSED')
    throws(() => io.blockSize(closed), 'HOLT_CLOSED')
  })

  test('a thing that is no open file is HOLT_INVALID_ARGUMENT', async ({ io, path }) => {
    for (const bad of [undefined, null, 3, 'file', {}, { path: path('forged') }]) {
      const forged: IoFile = untyped(bad)
      const what = `file ${JSON.stringify(bad)}`
      await rejects(() => io.read(forged, 0, new Uint8Array(1)), 'HOLT_INVALID_ARGUMENT', what)
      await rejects(() => io.close(forged), 'HOLT_INVALID_ARGUMENT', what)
      throws(() => {
        io.syncSync(forged)
      }, 'HOLT_INVALID_ARGUMENT')
    }
  })

  test('dispose waits for what is outstanding and closes the files', async ({ io, file, dispose }) => {
    const opened = await file('open', pattern(1000))
    const into = Array.from({ length: 50 }, () => new Uint8Array(1000))
    const reads = into.map((bytes) => io.read(opened, 0, bytes))
    await dispose()
    await Promise.all(reads)
    for (const bytes of into) sameBytes(bytes, pattern(1000))
  })

  test('every use of a disposed Io is HOLT_CLOSED', async ({ io, path, file, directory, dispose }) => {
    const opened = await file('open', pattern(1000))
    await dispose()
    const bytes = new Uint8Array(10)
    await rejects(() => io.open(path('new'), { access: 'readwrite', create: true }), 'HOLT_CLOSED')
    await rejects(() => io.close(opened), 'HOLT_CLOSED')
    await rejects(() => io.read(opened, 0, bytes), 'HOLT_CLOSED')
    await rejects(() => io.write(opened, 0, bytes), 'HOLT_CLOSED')
    await rejects(() => io.sync(opened), 'HOLT_CLOSED')
    await rejects(() => io.rename(path('open'), path('to')), 'HOLT_CLOSED')
    await rejects(() => io.link(path('open'), path('to')), 'HOLT_CLOSED')
    await rejects(() => io.remove(path('open')), 'HOLT_CLOSED')
    await rejects(() => io.list(directory), 'HOLT_CLOSED')
    await rejects(() => io.mkdir(path('made')), 'HOLT_CLOSED')
    await rejects(() => io.syncDir(directory), 'HOLT_CLOSED')
    await rejects(() => io.lock(path('lock')), 'HOLT_CLOSED')
    throws(() => {
      io.readSync(opened, 0, bytes)
    }, 'HOLT_CLOSED')
    throws(() => io.setTimer(0, () => undefined), 'HOLT_CLOSED')
  })
}
