import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { NODE_TRANSFER_CALLS } from '../src/fs-calls.js'
import type { TransferCalls } from '../src/fs-calls.js'
import { FsIo } from '../src/fs-io.js'
import type { IoFile } from '../src/io.js'

/** What one call of the system does instead of what it was asked: move fewer bytes, or fail. */
type Twist = { readonly atMostBytes: number } | { readonly errno: string }

let directory: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'holt-fs-transfers-'))
})

afterEach(async () => {
  await rm(directory, { recursive: true })
})

const path = (): string => join(directory, 'file')

const bytesOf = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 0xff)

function systemFailure(errno: string): Error {
  return Object.assign(new Error(errno), { code: errno, errno: -1, syscall: 'twisted' })
}

/** The real calls, each asked first what `twist` makes of it. */
function twisted(
  twist: (callIndex: number) => Twist | undefined,
): TransferCalls & { readonly count: () => number } {
  let calls = 0
  const shorter = (lengthBytes: number, with_: Twist | undefined): number =>
    with_ !== undefined && 'atMostBytes' in with_ ? Math.min(lengthBytes, with_.atMostBytes) : lengthBytes
  const promised =
    (call: TransferCalls['read']): TransferCalls['read'] =>
    (fd, bytes, start, lengthBytes, offsetBytes, done) => {
      const with_ = twist(calls++)
      if (with_ !== undefined && 'errno' in with_) setImmediate(done, systemFailure(with_.errno), 0)
      else call(fd, bytes, start, shorter(lengthBytes, with_), offsetBytes, done)
    }
  const blocking =
    (call: TransferCalls['readSync']): TransferCalls['readSync'] =>
    (fd, bytes, start, lengthBytes, offsetBytes) => {
      const with_ = twist(calls++)
      if (with_ !== undefined && 'errno' in with_) throw systemFailure(with_.errno)
      return call(fd, bytes, start, shorter(lengthBytes, with_), offsetBytes)
    }
  return {
    read: promised(NODE_TRANSFER_CALLS.read),
    write: promised(NODE_TRANSFER_CALLS.write),
    readSync: blocking(NODE_TRANSFER_CALLS.readSync),
    writeSync: blocking(NODE_TRANSFER_CALLS.writeSync),
    count: () => calls,
  }
}

async function withFile(
  calls: TransferCalls,
  body: (io: FsIo, file: IoFile) => Promise<void>,
): Promise<void> {
  const io = FsIo.create({ calls })
  try {
    await body(io, await io.open(path(), { access: 'readwrite', create: true }))
  } finally {
    await io.dispose()
  }
}

describe.each([
  {
    face: 'promise face',
    read: (io: FsIo, file: IoFile, offsetBytes: number, into: Uint8Array) => io.read(file, offsetBytes, into),
    write: (io: FsIo, file: IoFile, offsetBytes: number, bytes: Uint8Array) =>
      io.write(file, offsetBytes, bytes),
  },
  {
    face: 'blocking face',
    read: (io: FsIo, file: IoFile, offsetBytes: number, into: Uint8Array) =>
      new Promise<void>((resolve) => {
        io.readSync(file, offsetBytes, into)
        resolve()
      }),
    write: (io: FsIo, file: IoFile, offsetBytes: number, bytes: Uint8Array) =>
      new Promise<void>((resolve) => {
        io.writeSync(file, offsetBytes, bytes)
        resolve()
      }),
  },
])('$face', ({ read, write }) => {
  test('transfers that stop short are resumed where they stopped', async () => {
    const calls = twisted((i) => ({ atMostBytes: 1 + (i % 700) }))
    await withFile(calls, async (io, file) => {
      await write(io, file, 10, bytesOf(5000))
      expect(calls.count()).toBeGreaterThan(5)
      const into = new Uint8Array(5000)
      await read(io, file, 10, into)
      expect(into).toEqual(bytesOf(5000))
    })
  })

  test('interrupted calls are made again', async () => {
    const interruptions: readonly (Twist | undefined)[] = [{ errno: 'EINTR' }, { errno: 'EAGAIN' }, undefined]
    const calls = twisted((i) => interruptions[i % 3])
    await withFile(calls, async (io, file) => {
      await write(io, file, 0, bytesOf(100))
      const into = new Uint8Array(100)
      await read(io, file, 0, into)
      expect(into).toEqual(bytesOf(100))
      expect(calls.count()).toBe(6)
    })
  })

  test('a call that is interrupted for ever fails in the end', async () => {
    await withFile(
      twisted(() => ({ errno: 'EAGAIN' })),
      async (io, file) => {
        await expect(write(io, file, 0, bytesOf(1))).rejects.toMatchObject({
          code: 'HOLT_IO',
          errno: 'EAGAIN',
        })
      },
    )
  })

  test('a write that moves nothing is HOLT_SHORT_TRANSFER rather than a loop', async () => {
    await withFile(
      twisted(() => ({ atMostBytes: 0 })),
      async (io, file) => {
        await expect(write(io, file, 0, bytesOf(100))).rejects.toMatchObject({ code: 'HOLT_SHORT_TRANSFER' })
      },
    )
  })

  test('a disk that is full after a short write is HOLT_NO_SPACE', async () => {
    const calls = twisted((i) => (i === 0 ? { atMostBytes: 50 } : { errno: 'ENOSPC' }))
    await withFile(calls, async (io, file) => {
      const full = { code: 'HOLT_NO_SPACE', errno: 'ENOSPC', syscall: 'pwrite', path: path() }
      await expect(write(io, file, 0, bytesOf(100))).rejects.toMatchObject(full)
    })
  })
})

test('writeManyAndSync syncs only after all writes, and not after a failed one', async () => {
  const calls = twisted((i) => (i === 3 ? { errno: 'EIO' } : undefined))
  await withFile(calls, async (io, file) => {
    const parts = Array.from({ length: 10 }, (_, i) => ({ offsetBytes: i * 100, bytes: bytesOf(100) }))
    await expect(io.writeManyAndSync(file, parts)).rejects.toMatchObject({ code: 'HOLT_IO', errno: 'EIO' })
    expect(io.counters.syncs).toBe(0)
    await io.writeManyAndSync(file, parts)
    expect(io.counters.syncs).toBe(1)
  })
})

test('a batch reports its first error when everything begun has come back, and begins nothing after it', async () => {
  const calls = twisted((i) => (i === 5 ? { errno: 'EIO' } : i === 9 ? { errno: 'ENOSPC' } : undefined))
  await withFile(calls, async (io, file) => {
    const parts = Array.from({ length: 500 }, (_, i) => ({ offsetBytes: i * 10, bytes: bytesOf(10) }))
    await expect(io.writeMany(file, parts)).rejects.toMatchObject({ errno: 'EIO' })
    const begun = calls.count()
    expect(begun).toBeLessThan(500)
    await io.sync(file)
    expect(calls.count()).toBe(begun)
  })
})

test('allocate that finds the disk full leaves the file as it was', async () => {
  await writeFile(path(), bytesOf(1000))
  const calls = twisted((i) => (i === 2 ? { errno: 'ENOSPC' } : undefined))
  await withFile(calls, async (io, file) => {
    await expect(io.allocate(file, 0, 5 << 20)).rejects.toMatchObject({ code: 'HOLT_NO_SPACE' })
    expect((await stat(path())).size).toBe(1000)
    expect(new Uint8Array(await readFile(path()))).toEqual(bytesOf(1000))
    await io.allocate(file, 0, 5 << 20)
    expect((await stat(path())).size).toBe(5 << 20)
  })
})

test('files are made with no more than mode 0644, readable and writable for their owner', async () => {
  await withFile(NODE_TRANSFER_CALLS, async () => {
    const { mode } = await stat(path())
    expect(mode & 0o777 & ~0o644).toBe(0)
    expect(mode & 0o600).toBe(0o600)
  })
})

test('a file of another FsIo is refused', async () => {
  const other = FsIo.create()
  await withFile(NODE_TRANSFER_CALLS, async (_io, file) => {
    await expect(other.read(file, 0, new Uint8Array(1))).rejects.toMatchObject({
      code: 'HOLT_INVALID_ARGUMENT',
    })
  })
  await other.dispose()
})

test('disposing twice is one dispose', async () => {
  const io = FsIo.create()
  await io.open(path(), { access: 'readwrite', create: true })
  expect(io.dispose()).toBe(io.dispose())
  await io.dispose()
})
