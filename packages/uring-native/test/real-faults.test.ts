import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { isHoltError } from '@holt/errors'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { FsIo } from '../src/fs-io.js'
import type { Io, IoFile, Transfer } from '../src/io.js'
import { UringIo } from '../src/uring-io.js'

import { inDirectory, unavailable } from './uring-support.js'

// Faults of a real system, not of a stub: file systems that are full, a limit on the size of files, and a device that
// loses the place where its bytes were to go. What was acknowledged must be there, and once there is room again
// everything goes on.

const KINDS = [
  { kind: 'UringIo', create: (): Io => UringIo.create(), absent: unavailable },
  { kind: 'FsIo', create: (): Io => FsIo.create(), absent: undefined },
] as const

const PIECE_BYTES = 64 << 10
/** Room that is left on a full disk: less than a piece. */
const LITTLE_BYTES = 12 << 10

/** A piece that no other number's piece equals. */
function piece(number: number, lengthBytes = PIECE_BYTES): Uint8Array {
  const bytes = new Uint8Array(lengthBytes)
  for (let i = 0; i < lengthBytes; i++) bytes[i] = (number * 31 + i * 7 + (i >> 8)) & 255
  return bytes
}

function pieces(first: number, count: number): Transfer[] {
  return Array.from({ length: count }, (_, index) => ({
    offsetBytes: (first + index) * PIECE_BYTES,
    bytes: piece(first + index),
  }))
}

async function refusalOf(operation: () => Promise<unknown>, details = 'with path'): Promise<unknown> {
  try {
    await operation()
  } catch (error) {
    if (!isHoltError(error)) throw error
    const { code, errno, path } = error
    return details === 'with path' ? { code, errno, path } : { code, errno }
  }
  return 'none'
}

// ---- mounts ----------------------------------------------------------------------------------------------------

function quietly(program: string, ...args: string[]): void {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
}

const mounted = new Set<string>()

function mount(where: string, ...args: string[]): void {
  quietly('mount', ...args, where)
  mounted.add(where)
}

/** A test that failed may have left files open there: what is busy goes as soon as they are closed. */
function unmount(where: string): void {
  try {
    quietly('umount', where)
  } catch {
    quietly('umount', '-l', where)
  }
  mounted.delete(where)
}

/** Also when a test was interrupted: a mount would outlive the process. */
process.on('exit', () => {
  for (const where of [...mounted].reverse()) {
    try {
      quietly('umount', '-l', where)
    } catch {
      // Whoever looks at the machine's mounts sees it.
    }
  }
})

/** Why nothing can be mounted here, or undefined. */
function whyNoMounts(needed: 'tmpfs' | 'loop'): string | undefined {
  if (process.platform !== 'linux') return `${process.platform} has no tmpfs`
  if (process.getuid?.() !== 0) return 'only root may mount'
  const directory = mkdtempSync(join(tmpdir(), 'holt-mount-'))
  try {
    if (needed === 'tmpfs') {
      mount(directory, '-t', 'tmpfs', '-o', 'size=1m', 'holt-test')
    } else {
      const image = `${directory}.image`
      try {
        makeImage(image, 4 << 20)
        mount(directory, '-t', 'ext4', '-o', 'loop', image)
      } finally {
        rmSync(image, { force: true })
      }
    }
    unmount(directory)
    return undefined
  } catch (error) {
    return `a ${needed} mount is refused here: ${String(error).split('\n').slice(0, 2).join(' ')}`
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** A file with an ext4 in it, without a journal: every block of it is then one that somebody wrote. */
function makeImage(path: string, sizeBytes: number): void {
  writeFileSync(path, '')
  truncateSync(path, sizeBytes)
  quietly('mkfs.ext4', '-q', '-F', '-O', '^has_journal', '-m', '0', path)
}

interface SmallFileSystem {
  readonly name: string
  readonly absent: string | undefined
  /** Mounts it at an empty directory. */
  readonly mount: (where: string, scratch: string) => void
}

const FILE_SYSTEMS: readonly SmallFileSystem[] = [
  {
    name: 'a tmpfs of 4 MiB',
    absent: whyNoMounts('tmpfs'),
    mount: (where) => {
      mount(where, '-t', 'tmpfs', '-o', 'size=4m', 'holt-test')
    },
  },
  {
    name: 'an ext4 of 8 MiB on a loop device',
    absent: whyNoMounts('loop'),
    mount: (where, scratch) => {
      const image = join(scratch, 'ext4.image')
      makeImage(image, 8 << 20)
      mount(where, '-t', 'ext4', '-o', 'loop', image)
    },
  },
]

const because = (reason: string | undefined): string => (reason === undefined ? '' : ` (left out: ${reason})`)

// ---- no space --------------------------------------------------------------------------------------------------

for (const fileSystem of FILE_SYSTEMS) {
  for (const { kind, create, absent: kindAbsent } of KINDS) {
    const absent = fileSystem.absent ?? kindAbsent
    describe.skipIf(absent !== undefined)(
      `${kind} on ${fileSystem.name} that fills up${because(absent)}`,
      () => {
        let scratch = ''
        let directory = ''
        let count = 0

        beforeAll(() => {
          scratch = mkdtempSync(join(tmpdir(), 'holt-real-faults-'))
          directory = mkdtempSync(join(tmpdir(), 'holt-real-faults-at-'))
          fileSystem.mount(directory, scratch)
        })

        afterAll(() => {
          unmount(directory)
          for (const path of [directory, scratch]) rmSync(path, { recursive: true, force: true })
        })

        /**
         * Runs a test with a file whose first sixteen pieces are acknowledged and synced, on a file system filled up
         * with ballast. Afterwards those pieces must still be there, for a reader who knows nothing of the Io.
         */
        async function onFullDisk(
          body: (target: { io: Io; file: IoFile; makeRoom: () => Promise<void> }) => Promise<void>,
        ): Promise<void> {
          const io = create()
          const path = join(directory, `file-${String(count++)}`)
          try {
            const file = await io.open(path, { access: 'readwrite', create: true })
            await io.writeManyAndSync(file, pieces(0, 16))
            const ballastPath = join(directory, 'ballast')
            await fill(io, ballastPath)
            await body({ io, file, makeRoom: () => io.remove(ballastPath) })
            const found = readFileSync(path)
            for (const { offsetBytes, bytes } of pieces(0, 16)) {
              expect(Buffer.compare(found.subarray(offsetBytes, offsetBytes + PIECE_BYTES), bytes)).toBe(0)
            }
          } finally {
            await io.dispose()
            for (const name of [path, join(directory, 'ballast')]) rmSync(name, { force: true })
          }
        }

        /**
         * Appends to a file of its own until not even a byte more goes in, and then gives a little back: a piece can
         * begin to be written, and cannot be finished.
         */
        async function fill(io: Io, path: string): Promise<void> {
          const ballast = await io.open(path, { access: 'readwrite', create: true })
          let end = 0
          for (let step = PIECE_BYTES; step >= 1;) {
            try {
              await io.write(ballast, end, piece(end, step))
              end += step
            } catch (error) {
              if (!isHoltError(error, 'HOLT_NO_SPACE')) throw error
              step >>= 1
            }
          }
          await io.truncate(ballast, end - LITTLE_BYTES)
          await io.close(ballast)
        }

        test('write fails with HOLT_NO_SPACE, and every acknowledged byte is there afterwards', async () => {
          const io = create()
          const path = join(directory, 'appended')
          // No block, page or file system is a multiple of this: what does not fit begins to fit.
          const oddBytes = PIECE_BYTES + 1013
          try {
            const file = await io.open(path, { access: 'readwrite', create: true })
            let acknowledged = 0
            let refusal: unknown = 'none'
            while (refusal === 'none') {
              const at = acknowledged
              refusal = await refusalOf(() => io.write(file, at * oddBytes, piece(at, oddBytes)))
              if (refusal === 'none') acknowledged++
            }
            expect(refusal).toEqual({ code: 'HOLT_NO_SPACE', errno: 'ENOSPC', path })
            await io.sync(file)
            expect(acknowledged).toBeGreaterThan(30)
            const found = readFileSync(path)
            for (let at = 0; at < acknowledged; at++) {
              const stored = found.subarray(at * oddBytes, (at + 1) * oddBytes)
              expect([at, Buffer.compare(stored, piece(at, oddBytes))]).toEqual([at, 0])
            }
          } finally {
            await io.dispose()
            rmSync(path, { force: true })
          }
        })

        const WRITES = {
          write: (io, file) => io.write(file, 16 * PIECE_BYTES, piece(16)),
          writeMany: (io, file) => io.writeMany(file, pieces(16, 8)),
          writeManyAndSync: (io, file) => io.writeManyAndSync(file, pieces(16, 8)),
          writeDsync: (io, file) => io.writeDsync(file, 16 * PIECE_BYTES, piece(16)),
          writeSync: async (io, file) => {
            io.writeSync(file, 16 * PIECE_BYTES, piece(16))
          },
          writeDsyncSync: async (io, file) => {
            io.writeDsyncSync(file, 16 * PIECE_BYTES, piece(16))
          },
        } satisfies Record<string, (io: Io, file: IoFile) => Promise<void>>

        test.each(Object.entries(WRITES))(
          '%s fails with HOLT_NO_SPACE, and goes on once there is room',
          (_, way) =>
            onFullDisk(async ({ io, file, makeRoom }) => {
              const refusal = await refusalOf(() => way(io, file))
              expect(refusal).toEqual({ code: 'HOLT_NO_SPACE', errno: 'ENOSPC', path: file.path })
              await makeRoom()
              await way(io, file)
              const stored = new Uint8Array(PIECE_BYTES)
              await io.read(file, 16 * PIECE_BYTES, stored)
              expect(Buffer.compare(stored, piece(16))).toBe(0)
            }),
        )

        test('allocate fails with HOLT_NO_SPACE, and succeeds once there is room', () =>
          onFullDisk(async ({ io, file, makeRoom }) => {
            const wanted = 24 * PIECE_BYTES
            const refusal = await refusalOf(() => io.allocate(file, 0, wanted))
            expect(refusal).toEqual({ code: 'HOLT_NO_SPACE', errno: 'ENOSPC', path: file.path })
            await makeRoom()
            await io.allocate(file, 0, wanted)
            const { sizeBytes, allocatedBytes } = await io.stat(file)
            expect(sizeBytes).toBe(wanted)
            expect(allocatedBytes).toBeGreaterThanOrEqual(wanted)
          }))

        test('what needs no space goes on while there is none', () =>
          onFullDisk(async ({ io, file }) => {
            await io.writeMany(file, pieces(0, 16))
            await io.writeDsync(file, 0, piece(0))
            io.writeDsyncSync(file, PIECE_BYTES, piece(1))
            await io.sync(file)
            const stored = new Uint8Array(PIECE_BYTES)
            await io.read(file, 15 * PIECE_BYTES, stored)
            expect(Buffer.compare(stored, piece(15))).toBe(0)
            expect((await io.stat(file)).sizeBytes).toBeGreaterThanOrEqual(16 * PIECE_BYTES)
          }))

        test('of operations outstanding together those that were acknowledged are there', () =>
          onFullDisk(async ({ io, file, makeRoom }) => {
            await makeRoom()
            const outcomes = await Promise.allSettled(
              pieces(16, 200).map(({ offsetBytes, bytes }) => io.write(file, offsetBytes, bytes)),
            )
            const refused = outcomes.filter((outcome) => outcome.status === 'rejected')
            expect(refused.length).toBeGreaterThan(0)
            for (const { reason } of refused) expect(reason).toMatchObject({ code: 'HOLT_NO_SPACE' })
            const stored = new Uint8Array(PIECE_BYTES)
            for (const [index, outcome] of outcomes.entries()) {
              if (outcome.status === 'rejected') continue
              await io.read(file, (16 + index) * PIECE_BYTES, stored)
              expect([index, Buffer.compare(stored, piece(16 + index))]).toEqual([index, 0])
            }
          }))
      },
    )
  }
}

// ---- a device that fails ---------------------------------------------------------------------------------------

/** What kernels say of a device that had no place for the bytes: some pass its own reason on. */
const LOST_BY_SYNC = [
  { code: 'HOLT_IO', errno: 'EIO' },
  { code: 'HOLT_IO', errno: 'ENOSPC' },
]
const LOST = [
  { code: 'HOLT_IO', errno: 'EIO' },
  { code: 'HOLT_NO_SPACE', errno: 'ENOSPC' },
]

for (const { kind, create, absent: kindAbsent } of KINDS) {
  const absent = whyNoMounts('loop') ?? kindAbsent
  describe.skipIf(absent !== undefined)(`${kind} on a device that fails${because(absent)}`, () => {
    /** An ext4 whose image lies on a tmpfs that is smaller than it, or is cut short behind its back. */
    async function onFailingDevice(
      body: (io: Io, directory: string, image: string) => Promise<void>,
    ): Promise<void> {
      const beneath = mkdtempSync(join(tmpdir(), 'holt-real-faults-beneath-'))
      const directory = mkdtempSync(join(tmpdir(), 'holt-real-faults-at-'))
      const io = create()
      try {
        mount(beneath, '-t', 'tmpfs', '-o', 'size=4m', 'holt-test')
        const image = join(beneath, 'ext4.image')
        makeImage(image, 32 << 20)
        mount(directory, '-t', 'ext4', '-o', 'loop,errors=continue', image)
        try {
          await body(io, directory, image)
        } finally {
          await io.dispose()
          unmount(directory)
        }
      } finally {
        if (mounted.has(beneath)) unmount(beneath)
        for (const path of [directory, beneath]) rmSync(path, { recursive: true, force: true })
      }
    }

    test('a sync reports that writes which had succeeded did not reach the device', () =>
      onFailingDevice(async (io, directory) => {
        const file = await io.open(join(directory, 'file'), { access: 'readwrite', create: true })
        await io.writeMany(file, pieces(0, 128))
        expect(LOST_BY_SYNC).toContainEqual(await refusalOf(() => io.sync(file), 'without path'))
      }))

    test('so does the sync of the log thread, and the one that blocks', () =>
      onFailingDevice(async (io, directory) => {
        for (const way of ['thread', 'blocking']) {
          const file = await io.open(join(directory, way), { access: 'readwrite', create: true })
          await io.writeMany(file, pieces(0, 128))
          const refusal = await refusalOf(async () => {
            if (way === 'blocking') io.syncSync(file)
            else await io.syncAfter(file, 0).done
          }, 'without path')
          expect([way, ...LOST_BY_SYNC]).toContainEqual(refusal)
        }
      }))

    test('writeManyAndSync and writeDsync do not acknowledge what did not reach the device', () =>
      onFailingDevice(async (io, directory) => {
        const file = await io.open(join(directory, 'file'), { access: 'readwrite', create: true })
        expect([...LOST, ...LOST_BY_SYNC]).toContainEqual(
          await refusalOf(() => io.writeManyAndSync(file, pieces(0, 128)), 'without path'),
        )
        const second = await io.open(join(directory, 'second'), { access: 'readwrite', create: true })
        expect(LOST).toContainEqual(
          await refusalOf(() => io.writeDsync(second, 0, piece(1, 1 << 20)), 'without path'),
        )
      }))

    test('a read of what the device has lost is HOLT_IO, not other bytes', () =>
      onFailingDevice(async (io, directory, image) => {
        const path = join(directory, 'file')
        const written = await io.open(path, { access: 'readwrite', create: true })
        await io.writeManyAndSync(written, pieces(0, 16))
        await io.close(written)
        // Unmounting empties the page cache; the file system comes back with the file's blocks gone.
        unmount(directory)
        const whole = statSync(image).size
        mount(directory, '-t', 'ext4', '-o', 'loop,errors=continue', image)
        const file = await io.open(path, { access: 'read' })
        truncateSync(image, 64 << 10)
        expect(await refusalOf(() => io.read(file, 0, new Uint8Array(PIECE_BYTES)))).toEqual({
          code: 'HOLT_IO',
          errno: 'EIO',
          path,
        })
        truncateSync(image, whole)
      }))
  })
}

// ---- a limit on the size of files ------------------------------------------------------------------------------

describe.skipIf(process.platform === 'win32')('a limit on the size of files', () => {
  const fixture = fileURLToPath(new URL('real-fault-fixtures/size-limit.mjs', import.meta.url))
  const RECORD_BYTES = 16 << 10
  const WAYS = ['write', 'writeMany', 'writeDsync', 'writeSync', 'writeDsyncSync', 'allocate']

  for (const { kind, absent } of KINDS) {
    test.skipIf(absent !== undefined).each(WAYS)(
      `is HOLT_NO_SPACE (EFBIG) to ${kind} by %s, and what was acknowledged is there${because(absent)}`,
      (way) =>
        inDirectory(async (directory) => {
          const program = [process.execPath, fixture, kind === 'FsIo' ? 'fs' : 'uring', way, directory]
          const output = await new Promise<string>((resolve, reject) => {
            // In blocks of 512 bytes or of 1 KiB, as the shell likes.
            execFile(
              'sh',
              ['-c', 'ulimit -f 500 && exec "$@"', 'sh', ...program],
              (error, stdout, stderr) => {
                if (error === null) resolve(stdout)
                else reject(new Error(`${stdout}${stderr}`, { cause: error }))
              },
            )
          })
          const { acknowledged, refusal } = JSON.parse(output) as { acknowledged: number; refusal: string }
          expect(refusal).toBe('HOLT_NO_SPACE EFBIG with path')
          expect(acknowledged).toBeGreaterThan(10)
          const found = readFileSync(join(directory, 'limited'))
          for (let number = 0; number < acknowledged; number++) {
            const stored = found.subarray(number * RECORD_BYTES, (number + 1) * RECORD_BYTES)
            expect(stored.equals(Buffer.alloc(RECORD_BYTES, number + 1))).toBe(true)
          }
          expect(statSync(join(directory, 'other')).size).toBe(RECORD_BYTES)
        }),
    )
  }
})
