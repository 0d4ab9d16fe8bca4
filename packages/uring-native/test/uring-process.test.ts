import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { describe, expect, test } from 'vitest'

import { inDirectory, unavailable } from './uring-support.js'

// These run against dist, in processes of their own: threads need plain JavaScript, and ends need a process to end.

const fixture = (name: string): string => fileURLToPath(new URL(`uring-fixtures/${name}`, import.meta.url))
const scenario = fixture('process.mjs')

interface Ended {
  readonly code: number | string | null
  readonly output: string
}

function run(program: string, args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: 60_000 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : (error.signal ?? error.code ?? null)
      resolve({ code, output: `${stdout}${stderr}` })
    })
  })
}

const node = (...args: string[]): Promise<Ended> => run(process.execPath, [scenario, ...args])

describe.skipIf(unavailable)('a process with a UringIo', () => {
  test('workers that are terminated with operations in flight neither abort the process nor leak descriptors', async () => {
    await inDirectory(async (directory) => {
      expect(await node('terminateWorkers', directory)).toEqual({ code: 0, output: 'descriptors 0\n' })
    })
  }, 60_000)

  test('workers that are terminated with a Ring in flight, reads without end among it, leak nothing either', async () => {
    await inDirectory(async (directory) => {
      expect(await node('terminateRings', directory)).toEqual({
        code: 0,
        output: 'descriptors 0\ndescriptors 0\n',
      })
    })
  }, 60_000)

  test('process.exit with a Ring that waits for ever exits with its code', async () => {
    await inDirectory(async (directory) => {
      expect(await node('exitWithWaitingRing', directory)).toEqual({ code: 7, output: '' })
    })
  })

  test('stays while a Ring has something in flight, and ends when it has not', async () => {
    await inDirectory(async (directory) => {
      const output = 'still here\n6 completions\n'
      expect(await node('waitingRingKeepsAlive', directory)).toEqual({ code: 0, output })
      expect(await node('idleRing', directory)).toEqual({ code: 0, output: 'idle\n' })
    })
  })

  test('has its memory to itself when arrays are transferred away while the kernel reads into them', async () => {
    await inDirectory(async (directory) => {
      const ended = await run(process.execPath, ['--expose-gc', scenario, 'transferredMemory', directory])
      expect(ended).toEqual({ code: 0, output: '30 failures, 0 foreign\n' })
    })
  })

  test('has no more descriptors after making and disposing many Rings', async () => {
    await inDirectory(async (directory) => {
      expect(await node('manyRings', directory)).toEqual({ code: 0, output: 'descriptors 0\n' })
    })
  })

  test('process.exit with operations in flight exits with its code', async () => {
    await inDirectory(async (directory) => {
      expect(await node('exitWhileBusy', directory)).toEqual({ code: 7, output: '' })
    })
  })

  test('ends by itself when only idle things are left: ring, log thread, mapping, delayed sync, timer', async () => {
    await inDirectory(async (directory) => {
      expect(await node('idle', directory)).toEqual({ code: 0, output: 'idle\n' })
    })
  })

  test('stays while operations are outstanding that nobody awaits', async () => {
    await inDirectory(async (directory) => {
      const ended = await node('outstanding', directory)
      expect(ended).toEqual({ code: 0, output: 'ring done\nlog thread done\n' })
    })
  })

  test('goes on when the kernel’s flag for work that waits stays up with nothing behind it', async () => {
    await inDirectory(async (directory) => {
      expect(await node('workFlagStaysUp', directory)).toEqual({ code: 0, output: 'true\n' })
    })
  })

  test('stays until a delayed sync that was cancelled too late is over', async () => {
    await inDirectory(async (directory) => {
      expect(await node('cancelledTooLate', directory)).toEqual({ code: 0, output: 'settled\n' })
    })
  })

  test('leaves all bytes it stored in a mapping in the file when it is killed', async () => {
    await inDirectory(async (directory) => {
      const child = spawn(process.execPath, [scenario, 'mapped', directory], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const ended = once(child, 'exit').then(([code]) => {
        throw new Error(`the child ended by itself with ${String(code)}`)
      })
      const [said] = (await Promise.race([once(child.stdout, 'data'), ended])) as [Buffer]
      ended.catch(() => undefined)
      if (said.toString() === 'no mapping\n') return
      child.kill('SIGKILL')
      await once(child, 'exit')
      const found = readFileSync(join(directory, 'mapped'))
      const expected = Buffer.alloc(1 << 20)
      for (let i = 0; i < expected.length; i++) expected[i] = (i * 7) & 255
      expect(found.equals(expected)).toBe(true)
    })
  })

  test('gets HOLT_NO_SPACE for a write that the file size limit cuts short, and can go on', async () => {
    await inDirectory(async (directory) => {
      const limited = [
        '-c',
        'ulimit -f 100 && exec "$@"',
        'sh',
        process.execPath,
        scenario,
        'sizeLimit',
        directory,
      ]
      expect(await run('sh', limited)).toEqual({
        code: 0,
        output:
          'write HOLT_NO_SPACE EFBIG\nwriteMany HOLT_NO_SPACE EFBIG\nwriteDsync HOLT_NO_SPACE EFBIG\n' +
          'writeSync HOLT_NO_SPACE EFBIG\nsmall write ok\n',
      })
    })
  })

  test.each([
    ['EPERM', 1, 'forbidden by sysctl kernel.io_uring_disabled, seccomp or a security module (EPERM)'],
    ['ENOSYS', 38, 'the kernel has none, or seccomp hides it (ENOSYS)'],
  ])(
    'reports that io_uring is refused with %s, and openIo gives the portable Io',
    async (_name, errno, reason) => {
      const filtered = [fixture('without-io-uring.py'), String(errno), process.execPath, scenario, 'refused']
      const ended = await run('python3', filtered)
      expect(ended).toEqual({
        code: 0,
        output: `HOLT_UNSUPPORTED: io_uring is not available: ${reason}\nfs: io_uring is not available: ${reason}\n`,
      })
    },
  )
})
