import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest'

import { conformance } from '../src/conformance.js'
import { FsIo } from '../src/fs-io.js'

/**
 * FsIo on a system that is not Linux, as far as it can tell: `process.platform` says so, and of node:fs there is only
 * what node has on every system, under a watch. Anything else is `undefined`, so that a call of it fails its test. Open
 * flags beyond the portable ones, and paths below /proc, /sys and /etc, are refused as such systems refuse them.
 */

const PORTABLE_FLAGS = vi.hoisted(
  () => ['O_RDONLY', 'O_WRONLY', 'O_RDWR', 'O_CREAT', 'O_EXCL', 'O_TRUNC', 'O_APPEND'] as const,
)

const PORTABLE_CALLS = vi.hoisted(() =>
  'open close read write fstat ftruncate fsync mkdir readdir rename link unlink'.split(' '),
)

const system = vi.hoisted(() => {
  const platform = process.platform
  Object.defineProperty(process, 'platform', { value: 'darwin' })
  return { platform, calls: new Map<string, number>(), refused: 0 }
})

vi.mock('node:fs', async (importOriginal) => {
  const real: Record<string, unknown> = { ...(await importOriginal<Record<string, unknown>>()) }
  const flags = real['constants'] as Readonly<Record<(typeof PORTABLE_FLAGS)[number], number>>
  const constants = Object.fromEntries(PORTABLE_FLAGS.map((name) => [name, flags[name]]))
  const portable = Object.values(constants).reduce((all, flag) => all | flag, 0)

  const failure = (code: string, syscall: string): Error => {
    system.refused++
    return Object.assign(new Error(`${code}: ${syscall}`), { code, syscall, errno: -1 })
  }
  const refusal = (name: string, [path, openFlags]: readonly unknown[]): Error | undefined => {
    if (typeof path === 'string' && /^\/(?:proc|sys|etc)\//.test(path)) return failure('ENOENT', name)
    const isOpen = name === 'open' || name === 'openSync'
    return isOpen && typeof openFlags === 'number' && (openFlags & ~portable) !== 0
      ? failure('EINVAL', name)
      : undefined
  }
  const watched = (name: string, behind = name): unknown => {
    const call = real[behind] as (...args: readonly unknown[]) => unknown
    return (...args: readonly unknown[]): unknown => {
      system.calls.set(name, (system.calls.get(name) ?? 0) + 1)
      const error = refusal(name, args)
      if (error === undefined) return call(...args)
      const done = args.at(-1)
      if (typeof done !== 'function') throw error
      setImmediate(() => {
        ;(done as (error: Error) => void)(error)
      })
      return undefined
    }
  }
  const stub: Record<string, unknown> = { constants }
  for (const name of PORTABLE_CALLS) {
    stub[name] = watched(name)
    stub[`${name}Sync`] = watched(`${name}Sync`)
  }
  Object.assign(stub, {
    // There it is the same call.
    fdatasync: watched('fdatasync', 'fsync'),
    fdatasyncSync: watched('fdatasyncSync', 'fsyncSync'),
    // For files of the system that say who a process is.
    readFileSync: watched('readFileSync'),
    readlinkSync: watched('readlinkSync'),
  })
  return { ...stub, default: stub }
})

const callsOf = (name: string): number => system.calls.get(name) ?? 0

async function scratch(): Promise<{ io: FsIo; directory: string; cleanup: () => Promise<void> }> {
  const directory = await mkdtemp(join(tmpdir(), 'holt-fs-portable-'))
  return { io: FsIo.create(), directory, cleanup: () => rm(directory, { recursive: true }) }
}

beforeEach(() => {
  system.calls.clear()
})

afterAll(() => {
  Object.defineProperty(process, 'platform', { value: system.platform })
})

describe('FsIo without Linux-only calls conforms to the contract of Io', () => {
  conformance({ test, supports: { queueCounters: true }, factory: scratch })
})

describe('FsIo without Linux-only calls', () => {
  test('has every writeDsync followed by a sync, since nothing tells O_DSYNC apart there', async () => {
    const { io, directory, cleanup } = await scratch()
    const file = await io.open(join(directory, 'file'), { access: 'readwrite', create: true })
    await io.writeDsync(file, 0, Uint8Array.of(1))
    expect([callsOf('write'), callsOf('fdatasync'), callsOf('openSync')]).toEqual([1, 1, 0])
    io.writeDsyncSync(file, 0, Uint8Array.of(2))
    expect([callsOf('writeSync'), callsOf('fdatasyncSync'), callsOf('openSync')]).toEqual([1, 1, 0])
    expect(io.counters.syncs).toBe(2)
    await io.dispose()
    await cleanup()
  })

  test('makes names stable by syncing the directory', async () => {
    const { io, directory, cleanup } = await scratch()
    await io.syncDir(directory)
    expect(callsOf('fsync')).toBe(1)
    await io.dispose()
    await cleanup()
  })

  test('knows no more of a process than its pid, and calls none gone', async () => {
    const { io, cleanup } = await scratch()
    const nothing = { startTime: '', bootId: '', machineId: '', pidNamespace: '' }
    expect(io.processIdentity()).toEqual({ pid: process.pid, ...nothing })
    expect(io.isProcessGone({ pid: 2 ** 30, ...nothing })).toBe(false)
    await io.dispose()
    await cleanup()
  })
})

describe('the stub', () => {
  test('refuses a flag that only Linux has, and files that only Linux has', async () => {
    const { default: fs } = await import('node:fs')
    const { directory, cleanup } = await scratch()
    const before = system.refused
    const linuxOnlyFlag = 0o10000
    expect(() => fs.openSync(join(directory, 'x'), fs.constants.O_CREAT | linuxOnlyFlag)).toThrow('EINVAL')
    expect(() => fs.readFileSync('/proc/self/stat')).toThrow('ENOENT')
    expect(system.refused - before).toBe(2)
    expect([fs.constants.O_DSYNC, fs.constants.O_DIRECTORY, Reflect.get(fs, 'statfs')]).toEqual([
      undefined,
      undefined,
      undefined,
    ])
    await cleanup()
  })
})
