import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readSync } from 'node:fs'
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'

import { afterEach, describe, expect, test } from 'vitest'

import type { IoFile, Transfer } from '../src/io.js'
import { armFaults, disarmFaults, faultHits } from '../src/testing-faults.js'
import { UringIo } from '../src/uring-io.js'

import { addonForTests, alignedBytes, inDirectory, unavailable } from './uring-support.js'

const PAGE = 4096

async function withFile(
  body: (io: UringIo, file: IoFile, path: string) => Promise<void>,
  queueDepth = 256,
): Promise<void> {
  await inDirectory(async (directory) => {
    const io = UringIo.create({ queueDepth })
    const path = join(directory, 'file')
    try {
      await body(io, await io.open(path, { access: 'readwrite', create: true, registered: true }), path)
    } finally {
      disarmFaults()
      await io.dispose()
    }
  })
}

const parts = (count: number): Transfer[] =>
  Array.from({ length: count }, (_, i) => ({
    offsetBytes: i * PAGE,
    bytes: new Uint8Array(PAGE).fill(i + 1),
  }))

const expected = (count: number): Buffer => Buffer.concat(parts(count).map(({ bytes }) => bytes))

const failure = (code: string, errno?: string): unknown =>
  expect.objectContaining(errno === undefined ? { code } : { code, errno })

describe.skipIf(unavailable)('UringIo with faults', () => {
  afterEach(() => {
    if (unavailable === undefined) disarmFaults()
  })

  test('nothing strikes while nothing is armed, and only what is armed does', async () => {
    await withFile(async (io, file) => {
      armFaults([
        { at: 'write', firstCall: 3, errno: 'EIO' },
        { at: 'fsync', errno: 'EIO' },
      ])
      await io.write(file, 0, new Uint8Array(10))
      await io.write(file, 0, new Uint8Array(10))
      await expect(io.write(file, 0, new Uint8Array(10))).rejects.toEqual(failure('HOLT_IO', 'EIO'))
      await io.write(file, 0, new Uint8Array(10))
      expect(faultHits()).toEqual([1, 0])
      disarmFaults()
      await io.sync(file)
    })
  })

  test('A11: one write goes the way of a batch of one', async () => {
    await withFile(async (io, file) => {
      armFaults([{ at: 'write', calls: 2, errno: 'EIO' }])
      await expect(io.write(file, 0, new Uint8Array(10))).rejects.toEqual(failure('HOLT_IO', 'EIO'))
      await expect(io.writeMany(file, parts(1))).rejects.toEqual(failure('HOLT_IO', 'EIO'))
    })
  })

  test('A13: no sync follows a failed write, and the error is that of the write', async () => {
    await withFile(async (io, file) => {
      armFaults([
        { at: 'write', firstCall: 7, errno: 'EIO' },
        { at: 'fsync', errno: 'ENOSPC', calls: Infinity },
      ])
      await expect(io.writeManyAndSync(file, parts(20))).rejects.toEqual(failure('HOLT_IO', 'EIO'))
      expect(faultHits()).toEqual([1, 0])
    })
  })

  test('A13: one sync follows the writes, and its error is reported', async () => {
    await withFile(async (io, file, path) => {
      armFaults([{ at: 'fsync', errno: 'EIO', calls: Infinity }])
      await expect(io.writeManyAndSync(file, parts(300))).rejects.toEqual(failure('HOLT_IO', 'EIO'))
      expect(faultHits()).toEqual([1])
      expect((await readFile(path)).byteLength).toBe(300 * PAGE)
    })
  })

  test('A12, A13: an empty list asks the kernel for nothing', async () => {
    await withFile(async (io, file) => {
      armFaults([
        { at: 'write', errno: 'EIO', calls: Infinity },
        { at: 'fsync', errno: 'EIO', calls: Infinity },
      ])
      await io.writeMany(file, [])
      await io.writeManyAndSync(file, [])
      await io.readMany(file, [])
      expect(faultHits()).toEqual([0, 0])
    })
  })

  test.each([1, 1000, PAGE - 1])(
    'A24, A30: transfers that move %i bytes a call come out whole',
    async (bytes) => {
      await withFile(async (io, file, path) => {
        armFaults([
          { at: 'write', shortBytes: bytes, calls: 20 },
          { at: 'read', shortBytes: bytes, calls: 20 },
        ])
        await io.writeMany(file, parts(4))
        expect(await readFile(path)).toEqual(expected(4))
        const into = parts(4).map(({ offsetBytes }) => ({ offsetBytes, bytes: new Uint8Array(PAGE) }))
        await io.readMany(file, into)
        expect(Buffer.concat(into.map((part) => part.bytes))).toEqual(expected(4))
        expect(Math.min(...faultHits())).toBeGreaterThan(3)
      })
    },
  )

  test('A22, A24: a batch that blocks resumes what is short, and throws the first error when nothing is outstanding', async () => {
    await withFile(async (io, file) => {
      io.writeManySync(file, parts(40))
      armFaults([{ at: 'read', firstCall: 5, shortBytes: 100, calls: 7 }])
      const into = parts(40).map(({ offsetBytes }) => ({ offsetBytes, bytes: new Uint8Array(PAGE) }))
      io.readManySync(file, into)
      expect(Buffer.concat(into.map((part) => part.bytes))).toEqual(expected(40))
      expect(faultHits()).toEqual([7])
      armFaults([{ at: 'read', firstCall: 20, errno: 'EIO' }])
      expect(() => {
        io.readManySync(file, into)
      }).toThrow(expect.objectContaining({ code: 'HOLT_IO', errno: 'EIO' }) as Error)
      expect(io.counters.queue?.outstanding).toBe(0)
    }, 16)
  })

  test('A27: interrupted transfers, syncs and submissions are repeated', async () => {
    await withFile(async (io, file, path) => {
      armFaults([
        { at: 'write', errno: 'EINTR', calls: 5 },
        { at: 'write', errno: 'EAGAIN', firstCall: 6, calls: 5 },
        { at: 'fsync', errno: 'EINTR', calls: 3 },
        { at: 'ringEnter', errno: 'EINTR', calls: 3 },
        { at: 'read', errno: 'EINTR', calls: 3 },
      ])
      await io.writeManyAndSync(file, parts(3))
      await io.read(file, 0, new Uint8Array(PAGE))
      expect(faultHits()).toEqual([5, 5, 3, 3, 3])
      expect(await readFile(path)).toEqual(expected(3))
    })
  })

  test('what the kernel cancelled since no worker would start is asked again', async () => {
    await withFile(async (io, _, first) => {
      const path = `${first}.second`
      const everywhere = ['openat', 'write', 'fsync', 'read', 'close', 'renameat', 'unlinkat'] as const
      armFaults(everywhere.map((at) => ({ at, errno: 'ECANCELED', calls: 3 })))
      const file = await io.open(path, { access: 'readwrite', create: true })
      await io.writeManyAndSync(file, parts(3))
      await io.read(file, 0, new Uint8Array(PAGE))
      await io.close(file)
      await io.rename(path, `${path}.moved`)
      expect(await readFile(`${path}.moved`)).toEqual(expected(3))
      await io.remove(`${path}.moved`)
      expect(faultHits()).toEqual(everywhere.map(() => 3))
    })
  })

  test('A27: a kernel without memory for requests is asked again', async () => {
    await withFile(async (io, file, path) => {
      armFaults([{ at: 'ringEnter', errno: 'EBUSY', calls: 20 }])
      await io.writeMany(file, parts(10))
      expect(await readFile(path)).toEqual(expected(10))
      armFaults([{ at: 'ringEnter', errno: 'EAGAIN', calls: 200 }])
      await io.writeMany(file, parts(10))
      expect(faultHits()[0]).toBe(200)
    })
  })

  test('A27: a ring that the kernel refuses for good poisons itself, says why, and can still be disposed', async () => {
    await withFile(async (io, file) => {
      await io.write(file, 0, new Uint8Array(PAGE))
      armFaults([{ at: 'ringEnter', errno: 'EBADF', calls: Infinity }])
      const outcomes = await Promise.allSettled([
        io.writeMany(file, parts(400)),
        io.read(file, 0, new Uint8Array(10)),
        io.stat(file),
      ])
      expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
      disarmFaults()
      const later = io.write(file, 0, new Uint8Array(10))
      await expect(later).rejects.toEqual(failure('HOLT_RING'))
      await expect(later).rejects.toThrow('io_uring_enter failed with EBADF')
      // The blocking face does not need the ring.
      io.writeSync(file, 0, new Uint8Array(10))
      await io.close(file)
    })
  })

  test('A23: a lost completion is noticed: everything outstanding fails, nothing waits for ever', async () => {
    await withFile(async (io, file) => {
      armFaults([{ at: 'write', firstCall: 5, dropped: true }])
      await expect(io.writeMany(file, parts(300))).rejects.toEqual(failure('HOLT_RING'))
      expect(faultHits()).toEqual([1])
      await expect(io.sync(file)).rejects.toThrow(/completions are missing/)
    }, 16)
  })

  test('A22: of many errors the first is reported, after everything has come back', async () => {
    await withFile(async (io, file) => {
      const bytes = Array.from({ length: 200 }, () => new Uint8Array(PAGE))
      armFaults([
        { at: 'write', firstCall: 4, errno: 'EDQUOT' },
        { at: 'write', firstCall: 5, calls: Infinity, errno: 'EIO' },
      ])
      const batch = bytes.map((each, i) => ({ offsetBytes: i * PAGE, bytes: each }))
      await expect(io.writeMany(file, batch)).rejects.toEqual(failure('HOLT_NO_SPACE', 'EDQUOT'))
      expect(io.counters.queue?.outstanding).toBe(0)
    }, 8)
  })

  test('faults strike the blocking face and the log thread too', async () => {
    await withFile(async (io, file) => {
      await io.write(file, 0, new Uint8Array(PAGE))
      armFaults([
        { at: 'blockingRead', errno: 'EIO' },
        { at: 'blockingWrite', errno: 'ENOSPC' },
        { at: 'blockingDataSync', errno: 'EIO', calls: 2 },
        { at: 'blockingWriteDsync', errno: 'EIO', calls: 2 },
      ])
      expect(() => {
        io.readSync(file, 0, new Uint8Array(10))
      }).toThrow(/EIO/)
      expect(() => {
        io.writeSync(file, 0, new Uint8Array(10))
      }).toThrow(/ENOSPC/)
      expect(() => {
        io.syncSync(file)
      }).toThrow(/EIO/)
      expect(() => {
        io.writeDsyncSync(file, 0, new Uint8Array(10))
      }).toThrow(/EIO/)
      await expect(io.writeDsync(file, 0, new Uint8Array(10))).rejects.toEqual(failure('HOLT_IO', 'EIO'))
      await expect(io.sync(file)).rejects.toEqual(failure('HOLT_IO', 'EIO'))
      expect(faultHits()).toEqual([1, 1, 2, 2])
      armFaults([
        { at: 'blockingRead', shortBytes: 7, calls: 4 },
        { at: 'blockingWrite', shortBytes: 7, calls: 4 },
      ])
      io.writeSync(file, 0, new Uint8Array(100).fill(3))
      const back = new Uint8Array(100)
      io.readSync(file, 0, back)
      expect(back).toEqual(new Uint8Array(100).fill(3))
    })
  })

  test('unknown points and errnos are refused', () => {
    expect(() => {
      armFaults([{ at: 'fsink' as never, errno: 'EIO' }])
    }).toThrow(failure('HOLT_INVALID_ARGUMENT'))
    expect(() => {
      armFaults([{ at: 'fsync', errno: 'EFOO' }])
    }).toThrow(failure('HOLT_INVALID_ARGUMENT'))
  })
})

describe.skipIf(unavailable)('the set-up of a ring', () => {
  const bare = (entries: number): ReturnType<ReturnType<typeof addonForTests>['createRing']> =>
    addonForTests().createRing(entries, -1, 0, 0, () => undefined)

  test('A1: 256 operations unless asked otherwise, and a completion queue of twice as many', async () => {
    const io = UringIo.create()
    expect(io.counters.queue?.depth).toBe(256)
    await io.dispose()
    const ring = bare(256)
    if (typeof ring === 'number') throw new Error(String(ring))
    expect([ring.entries, ring.completionEntries]).toEqual([256, 512])
    addonForTests().closeRing(ring.id)
  })

  test('A1: the kernel shrinks what is too large instead of refusing it', () => {
    const ring = bare(1 << 20)
    if (typeof ring === 'number') throw new Error(String(ring))
    expect(ring.entries).toBeLessThan(1 << 20)
    expect(ring.entries).toBeGreaterThanOrEqual(4096)
    addonForTests().closeRing(ring.id)
  })

  test('falls back from flag to flag when the kernel does not know them', () => {
    const flags = [0, 1, 2].map((refusals) => {
      armFaults([{ at: 'ringSetup', errno: 'EINVAL', calls: refusals }])
      const ring = bare(8)
      disarmFaults()
      if (typeof ring === 'number') throw new Error(String(ring))
      addonForTests().closeRing(ring.id)
      return ring.setupFlags
    })
    expect(flags).toEqual([(1 << 12) | (1 << 13) | (1 << 9), (1 << 8) | (1 << 9), 0])
  })

  test.each([0, 1, 2])(
    'a ring made after %i refusals moves bytes and wakes the event loop',
    async (refusals) => {
      armFaults([{ at: 'ringSetup', errno: 'EINVAL', calls: refusals }])
      await withFile(async (io, file, path) => {
        disarmFaults()
        await io.writeManyAndSync(file, parts(300))
        expect((await readFile(path)).equals(expected(300))).toBe(true)
      }, 16)
    },
  )

  test('A5: the refusal of the ring is reported with its errno', () => {
    armFaults([{ at: 'ringSetup', errno: 'EPERM', calls: Infinity }])
    expect(() => UringIo.create()).toThrow(failure('HOLT_UNSUPPORTED', 'EPERM'))
    disarmFaults()
  })
})

describe.skipIf(unavailable)('registration', () => {
  const uses = (io: UringIo): { readonly files: number; readonly buffers: number } => {
    const { fixedFileOperations, fixedBufferOperations } = io.ringUse
    return { files: fixedFileOperations, buffers: fixedBufferOperations }
  }

  test('A2: a file opened as registered is used by its index, another one by its descriptor', async () => {
    await withFile(async (io, file, path) => {
      await io.writeManyAndSync(file, parts(3))
      expect(uses(io).files).toBe(4)
      const plain = await io.open(path, { access: 'read' })
      await io.read(plain, 0, new Uint8Array(10))
      expect(uses(io).files).toBe(4)
    })
  })

  test('A2: more files than the table has places are all usable, and places are used again', async () => {
    await inDirectory(async (directory) => {
      const io = UringIo.create()
      const open = (i: number): Promise<IoFile> =>
        io.open(join(directory, String(i)), { access: 'readwrite', create: true, registered: true })
      for (const round of [1, 2]) {
        const files = await Promise.all(Array.from({ length: 100 }, (_, i) => open(i)))
        await Promise.all(
          files.map((file, i) => io.write(file, 0, Buffer.from(`${String(round)}:${String(i)}`))),
        )
        expect(uses(io).files).toBe(64 * round)
        await Promise.all(files.map((file) => io.close(file)))
        for (const i of [0, 63, 64, 99]) {
          expect(await readFile(join(directory, String(i)), 'utf8')).toBe(`${String(round)}:${String(i)}`)
        }
      }
      await io.dispose()
    })
  })

  test('A6: a file that the kernel does not register is used by its descriptor', async () => {
    await inDirectory(async (directory) => {
      const io = UringIo.create()
      armFaults([{ at: 'registerFile', errno: 'ENOMEM' }])
      const file = await io.open(join(directory, 'file'), {
        access: 'readwrite',
        create: true,
        registered: true,
      })
      await io.write(file, 0, new Uint8Array(10))
      expect([uses(io).files, faultHits()]).toEqual([0, [1]])
      disarmFaults()
      await io.dispose()
    })
  })

  test('A3: closing a registered file closes its descriptor', async () => {
    await withFile(async (io, _file, path) => {
      const count = async (): Promise<number> => (await readdir('/proc/self/fd')).length
      const before = await count()
      const other = await io.open(path, { access: 'read', registered: true })
      expect(await count()).toBe(before + 1)
      await io.close(other)
      expect(await count()).toBe(before)
    })
  })

  test('A3: a registered file that was closed is let go by the kernel too', async () => {
    await inDirectory(async (directory) => {
      const path = join(directory, 'pipe')
      execFileSync('mkfifo', [path])
      const io = UringIo.create()
      const writer = await io.open(path, { access: 'readwrite', registered: true })
      const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
      // A pipe without writers is at its end; with one it has nothing yet, which is EAGAIN.
      const readEnd = (): number => readSync(reader, new Uint8Array(1))
      expect(readEnd).toThrow(/EAGAIN/)
      await io.close(writer)
      await expect.poll(readEnd).toBe(0)
      closeSync(reader)
      await io.dispose()
    })
  })

  test('A4, A10: transfers within registered memory use the fixed operations, others of the batch do not', async () => {
    await withFile(async (io, file, path) => {
      const memory = alignedBytes(8 * PAGE)
      const registration = io.registerBuffers([
        memory.subarray(0, 4 * PAGE),
        memory.subarray(4 * PAGE, 6 * PAGE),
      ])
      expect(registration.outcomes).toEqual(['registered', 'registered'])
      for (let i = 0; i < memory.length; i++) memory[i] = (i * 31) >> 4
      const heap = new Uint8Array(PAGE).fill(9)
      await io.writeMany(file, [
        { offsetBytes: 0, bytes: memory.subarray(0, PAGE) }, // the head of the first
        { offsetBytes: PAGE, bytes: memory.subarray(PAGE, 3 * PAGE + 7) }, // within it
        { offsetBytes: 4 * PAGE, bytes: memory.subarray(3 * PAGE, 5 * PAGE) }, // across two: neither
        { offsetBytes: 6 * PAGE, bytes: memory.subarray(6 * PAGE) }, // behind the last
        { offsetBytes: 8 * PAGE, bytes: heap },
      ])
      expect(uses(io).buffers).toBe(2)
      const found = await readFile(path)
      expect(found.subarray(0, 3 * PAGE + 7)).toEqual(Buffer.from(memory.subarray(0, 3 * PAGE + 7)))
      expect(found.subarray(4 * PAGE, 6 * PAGE)).toEqual(Buffer.from(memory.subarray(3 * PAGE, 5 * PAGE)))
      expect(found.subarray(8 * PAGE)).toEqual(Buffer.from(heap))
      const bytes = memory.subarray(2 * PAGE, 3 * PAGE)
      await io.read(file, 8 * PAGE, bytes)
      expect([uses(io).buffers, Buffer.from(bytes)]).toEqual([3, Buffer.from(heap)])
      registration.release()
      await io.read(file, 8 * PAGE, bytes)
      expect(uses(io).buffers).toBe(3)
      expect(() => {
        registration.release()
      }).toThrow(failure('HOLT_RING'))
    })
  })

  test('A6, C6: memory that is refused is used without, each piece for itself, and the reason is told', async () => {
    await withFile(async (io, file) => {
      const memory = alignedBytes(3 * PAGE)
      armFaults([{ at: 'registerBuffer', firstCall: 2, errno: 'ENOMEM' }])
      const pieces = [0, 1, 2].map((i) => memory.subarray(i * PAGE, (i + 1) * PAGE))
      const { outcomes, registeredCount } = io.registerBuffers(pieces)
      expect(outcomes).toEqual(['registered', { refused: 'ENOMEM' }, 'registered'])
      expect(registeredCount).toBe(2)
      await io.writeMany(
        file,
        pieces.map((bytes, i) => ({ offsetBytes: i * PAGE, bytes })),
      )
      expect(uses(io).buffers).toBe(2)
    })
  })

  test('A8: at most 32 pieces are pinned unless more are asked for', async () => {
    const memory = alignedBytes(40 * PAGE)
    const pieces = Array.from({ length: 40 }, (_, i) => memory.subarray(i * PAGE, (i + 1) * PAGE))
    for (const [options, count] of [
      [{}, 32],
      [{ registeredBuffers: 40 }, 40],
      [{ registeredBuffers: 0 }, 0],
    ] as const) {
      const io = UringIo.create(options)
      const registration = io.registerBuffers(pieces)
      expect(registration.registeredCount).toBe(count)
      expect(registration.outcomes.filter((outcome) => outcome !== 'registered')).toEqual(
        new Array(40 - count).fill({ refused: 'full' }),
      )
      registration.release()
      expect(io.registerBuffers(pieces.slice(0, 1)).registeredCount).toBe(Math.min(1, count))
      await io.dispose()
    }
  })

  test('A25: an Io is disposed while memory is registered, and the memory lives on', async () => {
    const memory = alignedBytes(PAGE)
    const io = UringIo.create()
    io.registerBuffers([memory])
    await io.dispose()
    memory.fill(1)
    expect(memory[PAGE - 1]).toBe(1)
  })

  test.each([
    ['no array', null],
    ['no memory', [new Uint8Array(new SharedArrayBuffer(0))]],
    ['memory that can be detached', [new Uint8Array(PAGE)]],
    ['something else', ['memory']],
  ])('%s is not registered', async (_name, buffers) => {
    const io = UringIo.create()
    expect(() => io.registerBuffers(buffers as never)).toThrow(failure('HOLT_INVALID_ARGUMENT'))
    await io.dispose()
  })

  test('memory that overlaps registered memory is refused, and nothing of the list is registered', async () => {
    await withFile(async (io, file) => {
      const memory = alignedBytes(4 * PAGE)
      io.registerBuffers([memory.subarray(PAGE, 2 * PAGE)])
      const list = [memory.subarray(2 * PAGE), memory.subarray(0, PAGE + 1)]
      expect(() => io.registerBuffers(list)).toThrow(failure('HOLT_INVALID_ARGUMENT'))
      await io.write(file, 0, memory.subarray(2 * PAGE, 3 * PAGE))
      expect(uses(io).buffers).toBe(0)
    })
  })
})

describe.skipIf(unavailable)('counters', () => {
  test('A30: tell the queue depth reached and how long operations took', async () => {
    await withFile(async (io, file) => {
      const before = io.counters
      await io.writeMany(file, parts(100))
      const { queue, latency } = io.counters
      expect(queue).toEqual({ depth: 16, outstanding: 0, highest: 16 })
      expect((latency?.count ?? 0) - (before.latency?.count ?? 0)).toBe(100)
      expect(latency?.meanUs).toBeGreaterThan(0)
      expect(latency?.p50Us).toBeLessThanOrEqual(latency?.p99Us ?? 0)
      expect(latency?.p999Us).toBeLessThanOrEqual(latency?.maxUs ?? 0)
    }, 16)
  })
})
