import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

import { isHoltError } from '@holt/errors'
import { afterEach, describe, expect, test } from 'vitest'

import type {
  RingCompletion,
  RingHandle,
  RingOpenOptions,
  RingOptions,
  RingRequest,
} from '../src/ring-contract.js'
import type { RingFile } from '../src/ring-files.js'
import { Ring } from '../src/ring.js'
import { armFaults, disarmFaults, faultHits } from '../src/testing-faults.js'

import { alignedBytes, inDirectory, unavailable } from './uring-support.js'

const PAGE = 4096

interface Scene {
  readonly ring: Ring
  readonly path: (name: string) => string
  /** Polls until this handle has completed, and takes its completion. */
  readonly done: (handle: RingHandle) => Promise<RingCompletion>
  readonly open: (name: string, options?: Partial<RingOpenOptions>) => Promise<RingFile>
  /** A pipe, open for both: a read of it waits until something is written. */
  readonly pipe: () => Promise<RingFile>
}

async function scene(options: RingOptions, body: (scene: Scene) => Promise<void>): Promise<void> {
  await inDirectory(async (directory) => {
    const ring = Ring.create(options)
    const path = (name: string): string => join(directory, name)
    const done = (handle: RingHandle): Promise<RingCompletion> => awaited(ring, handle)
    const open = async (name: string, more: Partial<RingOpenOptions> = {}): Promise<RingFile> => {
      const handle = {}
      expect(ring.open(handle, path(name), { access: 'readwrite', create: true, ...more }).queued).toBe(true)
      return opened(await done(handle))
    }
    const pipe = (): Promise<RingFile> => {
      execFileSync('mkfifo', [path('pipe')])
      return open('pipe', { create: false })
    }
    try {
      await body({ ring, path, done, open, pipe })
    } finally {
      disarmFaults()
      await ring.dispose({ cancel: true })
    }
  })
}

async function awaited(ring: Ring, handle: RingHandle): Promise<RingCompletion> {
  for (;;) {
    const completion = ring.take(handle)
    if (completion !== undefined) return completion
    expect(await ring.park({ timeoutMs: 10_000 })).toBe('ready')
    ring.poll()
  }
}

function opened(completion: RingCompletion): RingFile {
  if (completion.error !== undefined) throw completion.error
  if (completion.op !== 'open') throw new Error(`completed ${completion.op}`)
  return completion.file
}

const ok = (handle: RingHandle, op: string): unknown => ({ handle, op, error: undefined })

const failed = (code: string, errno?: string): unknown =>
  expect.objectContaining({
    error: expect.objectContaining(errno === undefined ? { code } : { code, errno }) as unknown,
  })

const thrown = (code: string): Error => expect.objectContaining({ code }) as Error

/** The code of what is thrown. */
function codeOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    if (isHoltError(error)) return error.code
    throw error
  }
  return 'nothing thrown'
}

afterEach(() => {
  if (unavailable === undefined) disarmFaults()
})

describe.skipIf(unavailable)('a Ring', () => {
  test('D1: holds 256 operations unless asked otherwise, and tells what the kernel granted', async () => {
    await scene({}, async ({ ring }) => {
      const { capabilities } = ring
      expect([capabilities.entries, capabilities.completionEntries]).toEqual([256, 512])
      expect(capabilities.opcodes.has(22)).toBe(true)
      expect(capabilities.opcodes.has(254)).toBe(false)
      expect(capabilities.registeredFilesRefusal).toBeUndefined()
      await Promise.resolve()
    })
    await scene({ entries: 3 }, async ({ ring }) => {
      expect(ring.capabilities.entries).toBe(4)
      await Promise.resolve()
    })
  })

  test('D7, D17: creates, writes, reads back and closes, each under the handle given', async () => {
    await scene({}, async ({ ring, path, done }) => {
      ring.open(1, path('file'), { access: 'readwrite', create: true })
      const file = opened(await done(1))
      const bytes = new Uint8Array(1000).map((_, i) => i)
      ring.write(2, file, 50, bytes)
      expect(await done(2)).toEqual({ handle: 2, op: 'write', error: undefined, bytes, movedBytes: 1000 })
      const back = new Uint8Array(1000)
      ring.read(3, file, 50, back)
      expect(await done(3)).toMatchObject({ handle: 3, error: undefined, movedBytes: 1000 })
      expect(back).toEqual(bytes)
      ring.close(4, file)
      expect(file.isOpen).toBe(false)
      expect(await done(4)).toEqual(ok(4, 'close'))
      expect(ring.inFlight).toBe(0)
    })
  })

  test('D7: opens as its options say', async () => {
    await scene({}, async ({ ring, path, done, open }) => {
      writeFileSync(path('there'), 'something')
      ring.open(1, path('absent'), { access: 'readwrite' })
      expect(await done(1)).toEqual(failed('HOLT_NOT_FOUND', 'ENOENT'))
      ring.open(2, path('there'), { access: 'readwrite', create: true, exclusive: true })
      expect(await done(2)).toEqual(failed('HOLT_EXISTS', 'EEXIST'))
      const reader = await open('there', { access: 'read', create: false })
      ring.write(3, reader, 0, new Uint8Array(1))
      expect(await done(3)).toEqual(failed('HOLT_IO', 'EBADF'))
      await open('there', { truncate: true })
      expect(readFileSync(path('there'))).toHaveLength(0)
      const flags = (file: RingFile): number =>
        parseInt(
          /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${String(file.fd)}`, 'utf8'))?.[1] ?? '',
          8,
        )
      expect(flags(await open('dsync', { dsync: true })) & 0o10000).toBe(0o10000)
      expect(flags(await open('plain')) & 0o10000).toBe(0)
      const direct = await open('direct', { direct: true })
      if (direct.direct) expect(direct.blockSizeBytes % 512).toBe(0)
    })
  })

  test('D8: stats, syncs, renames and removes', async () => {
    await scene({}, async ({ ring, path, done, open }) => {
      const file = await open('a')
      ring.write(1, file, 0, new Uint8Array(5000))
      await done(1)
      ring.stat(2, file)
      expect(await done(2)).toMatchObject({ op: 'stat', stat: { sizeBytes: 5000, kind: 'file' } })
      ring.fsync(3, file)
      expect(await done(3)).toEqual(ok(3, 'fsync'))
      ring.datasync(4, file)
      expect(await done(4)).toEqual(ok(4, 'datasync'))
      ring.rename(5, path('a'), path('b'))
      expect(await done(5)).toEqual(ok(5, 'rename'))
      ring.remove(6, path('b'))
      expect(await done(6)).toEqual(ok(6, 'remove'))
      ring.remove(7, path('b'))
      expect(await done(7)).toEqual(failed('HOLT_NOT_FOUND', 'ENOENT'))
      mkdirSync(path('directory'))
      ring.remove(8, path('directory'))
      expect(await done(8)).toEqual(failed('HOLT_IO', 'EISDIR'))
    })
  })

  test('D8: fsync and datasync are two operations for the kernel', async () => {
    await scene({}, async ({ ring, done, open }) => {
      const file = await open('file')
      armFaults([{ at: 'fsync', calls: 2, errno: 'EIO' }])
      ring.fsync(1, file)
      ring.datasync(2, file)
      expect(await done(1)).toEqual(failed('HOLT_IO', 'EIO'))
      expect(await done(2)).toEqual(failed('HOLT_IO', 'EIO'))
    })
  })

  test('D9, D14: a read fills the whole array or tells how much of it; bytes beyond stay', async () => {
    await scene({}, async ({ ring, done, open }) => {
      const file = await open('file')
      ring.write(1, file, 0, new Uint8Array(100).fill(7))
      await done(1)
      const into = new Uint8Array(PAGE).fill(9)
      ring.read(2, file, 90, into)
      expect(await done(2)).toMatchObject({ error: undefined, movedBytes: 10 })
      expect([into[9], into[10]]).toEqual([7, 9])
      ring.read(3, file, 5000, into)
      expect(await done(3)).toMatchObject({ error: undefined, movedBytes: 0 })
    })
  })

  test('D12: poll hands over everything queued by one call, never waits, and lowers inFlight', async () => {
    await scene({}, async ({ ring, open, pipe, done }) => {
      const file = await open('file')
      const fifo = await pipe()
      ring.poll()
      const { enters } = ring.use
      for (let i = 0; i < 200; i++) ring.nop(i)
      expect([ring.inFlight, ring.use.enters]).toEqual([200, enters])
      expect(ring.poll()).toBe(200)
      expect([ring.inFlight, ring.completions.length]).toEqual([0, 200])
      expect(ring.use.enters - enters).toBeLessThanOrEqual(2)
      ring.completions.length = 0
      ring.queue({ op: 'read', handle: 1, file: fifo, offsetBytes: 0, bytes: new Uint8Array(10), once: true })
      expect(ring.poll()).toBe(0)
      expect(ring.inFlight).toBe(1)
      ring.queue({ op: 'write', handle: 2, file: fifo, offsetBytes: 0, bytes: new Uint8Array(3), once: true })
      expect(await done(1)).toMatchObject({ error: undefined, movedBytes: 3 })
      ring.close(3, file)
      await done(3)
    })
  })

  test('D13: park waits for a completion and takes nothing', async () => {
    await scene({}, async ({ ring, pipe }) => {
      const fifo = await pipe()
      ring.queue({ op: 'read', handle: 1, file: fifo, offsetBytes: 0, bytes: new Uint8Array(10), once: true })
      const parked = ring.park()
      await pause(5)
      expect([ring.inFlight, ring.completions.length]).toEqual([1, 0])
      writeFileSync(fifo.path, 'hello')
      expect(await parked).toBe('ready')
      expect([ring.inFlight, ring.completions.length]).toEqual([1, 0])
      expect(await ring.park()).toBe('ready')
      expect([ring.poll(), ring.inFlight]).toEqual([1, 0])
      expect(ring.take(1)).toMatchObject({ movedBytes: 5 })
    })
  })

  test('D18: park with nothing in flight returns at once, and a time limit and a signal end it', async () => {
    await scene({}, async ({ ring, pipe }) => {
      expect([await ring.park(), ring.parkSync()]).toEqual(['idle', 'idle'])
      const fifo = await pipe()
      ring.queue({ op: 'read', handle: 1, file: fifo, offsetBytes: 0, bytes: new Uint8Array(10), once: true })
      expect(await ring.park({ timeoutMs: 2 })).toBe('timeout')
      expect(await ring.park({ timeoutMs: 0 })).toBe('timeout')
      expect(ring.parkSync({ timeoutMs: 2 })).toBe('timeout')
      const controller = new AbortController()
      const parked = ring.park({ signal: controller.signal })
      controller.abort(new Error('enough'))
      await expect(parked).rejects.toThrow('enough')
      await expect(ring.park({ signal: controller.signal })).rejects.toThrow('enough')
      await expect(ring.park({ timeoutMs: -1 })).rejects.toEqual(thrown('HOLT_INVALID_ARGUMENT'))
      expect(ring.inFlight).toBe(1)
      writeFileSync(fifo.path, 'x')
      expect(ring.parkSync()).toBe('ready')
    })
  })

  test('D13: parkSync blocks until a whole transfer is there, also when it takes several calls', async () => {
    await scene({}, async ({ ring, open }) => {
      const file = await open('file')
      armFaults([{ at: 'write', calls: 9, shortBytes: 100 }])
      ring.write(1, file, 0, new Uint8Array(1000))
      expect(ring.parkSync()).toBe('ready')
      expect([ring.poll(), faultHits()]).toEqual([1, [9]])
      expect(ring.take(1)).toMatchObject({ movedBytes: 1000 })
    })
  })

  test('D14: completions come in the order of their arrival, and take gives one handle its own', async () => {
    await scene({}, async ({ ring }) => {
      const handle = { name: 'an object' }
      ring.nop(7)
      ring.nop(handle)
      ring.poll()
      expect(ring.completions.map((completion) => completion.handle)).toEqual([7, handle])
      expect(ring.take(handle)).toEqual(ok(handle, 'nop'))
      expect(ring.take(handle)).toBeUndefined()
      expect(ring.take({ name: 'an object' })).toBeUndefined()
      expect(ring.completions).toHaveLength(1)
      await Promise.resolve()
    })
  })
})

describe.skipIf(unavailable)('a full Ring', () => {
  test('D10: hands the operation back untouched, and takes it after a poll', async () => {
    await scene({ entries: 4 }, async ({ ring, open, done }) => {
      const file = await open('file')
      for (let i = 0; i < 4; i++) ring.nop(i)
      const bytes = new Uint8Array(10).fill(5)
      const refused = ring.write(9, file, 0, bytes)
      if (refused.queued) throw new Error('was queued')
      expect(refused.reason).toBe('full')
      expect(refused.operation).toEqual({ op: 'write', handle: 9, file, offsetBytes: 0, bytes })
      expect([ring.inFlight, file.uses]).toEqual([4, 0])
      expect(ring.rename(10, 'a', 'b').queued).toBe(false)
      ring.poll()
      expect(ring.queue(refused.operation)).toEqual({ queued: true })
      expect(await done(9)).toMatchObject({ error: undefined, movedBytes: 10 })
    })
  })

  test('hands operations back while nobody takes the completions', async () => {
    await scene({ entries: 4 }, async ({ ring }) => {
      for (let i = 0; i < 8; i++) {
        ring.nop(i)
        ring.poll()
      }
      expect(ring.nop(9)).toMatchObject({ queued: false, reason: 'undrained' })
      ring.completions.length = 0
      expect(ring.nop(9).queued).toBe(true)
      await Promise.resolve()
    })
  })

  test('a thousand operations go through a ring of eight', async () => {
    await scene({ entries: 8 }, async ({ ring, open, path }) => {
      const file = await open('file')
      let refusals = 0
      let completed = 0
      for (let i = 0; i < 1000; i++) {
        while (!ring.write(i, file, i * 8, new Uint8Array(8).fill(i % 251)).queued) {
          refusals++
          await ring.park()
          completed += ring.poll()
          expect(ring.completions.splice(0).every(({ error }) => error === undefined)).toBe(true)
        }
      }
      while (ring.inFlight > 0) {
        await ring.park()
        completed += ring.poll()
      }
      expect(completed).toBe(1000)
      expect(refusals).toBeGreaterThan(100)
      const expected = Buffer.alloc(8000, 0).map((_, i) => Math.floor(i / 8) % 251)
      expect(readFileSync(path('file')).equals(expected)).toBe(true)
    })
  })
})

describe.skipIf(unavailable)('handles, files and arguments of a Ring', () => {
  test('D21, D11: a handle in flight is refused, and what it stands for goes on untouched', async () => {
    await scene({}, async ({ ring, path, done }) => {
      const handle = {}
      ring.mkdir(handle, path('first'))
      expect(codeOf(() => ring.mkdir(handle, path('second')))).toBe('HOLT_RING')
      await ring.park()
      // Completed, but not polled: still taken.
      expect(codeOf(() => ring.nop(handle))).toBe('HOLT_RING')
      expect(await done(handle)).toEqual(ok(handle, 'mkdir'))
      expect(readdirSync(path('.'))).toEqual(['first'])
      expect(ring.nop(handle).queued).toBe(true)
    })
  })

  test('D11: paths live as long as the kernel needs them', async () => {
    await scene({}, async ({ ring, path }) => {
      for (let i = 0; i < 200; i++) ring.mkdir(i, path(`directory-${String(i)}`))
      ring.poll()
      // What is garbage now would be overwritten by this.
      for (let i = 0; i < 2000; i++) Buffer.from(`/elsewhere/${String(i)}`.repeat(5))
      while (ring.inFlight > 0) {
        await ring.park()
        ring.poll()
      }
      expect(readdirSync(path('.'))).toHaveLength(200)
    })
  })

  test('D22: bad arguments are errors with a code, and nothing is in flight after them', async () => {
    await scene({}, async ({ ring, open }) => {
      const file = await open('file')
      const bytes = new Uint8Array(8)
      const bad: (() => unknown)[] = [
        () => ring.open(1, 'a\0b', { access: 'read' }),
        () => ring.open(1, '', { access: 'read' }),
        () => ring.open(1, 'x', { access: 'write' as never }),
        () => ring.open(1, 'x', { access: 'read', dsync: 1 as never }),
        () => ring.open(1, 'x', null as never),
        () => ring.remove(1, 'a\0'),
        () => ring.rename(1, 'a', '\0'),
        () => ring.mkdir(1, 5 as never),
        () => ring.syncDirectory(1, 'd'.repeat(4096)),
        () => ring.read(1, file, -1, bytes),
        () => ring.read(1, file, 2 ** 53, bytes),
        () => ring.read(1, file, Number.MAX_SAFE_INTEGER, bytes),
        () => ring.read(1, file, 0.5, bytes),
        () => ring.read(1, file, NaN, bytes),
        () => ring.write(1, file, 0, 'bytes' as never),
        () => ring.write(1, file, 0, new DataView(new ArrayBuffer(8)) as never),
        () => ring.write(1, file, 0, new Uint16Array(8) as never),
        () => ring.write(1, { fd: 1 } as never, 0, bytes),
        () => ring.allocate(1, file, 0, 0),
        () => ring.allocate(1, file, 0, -1),
        () => ring.truncate(1, file, Infinity),
        () => ring.nop('a string' as never),
        () => ring.nop(null as never),
        () => ring.nop(undefined as never),
        () => ring.queue(null as never),
        () => ring.queue({ op: 'link', handle: 1 } as never),
        () => ring.chain([]),
        () => ring.chain(null as never),
        () => ring.registerBuffers([new Uint8Array(8)]),
      ]
      for (const [i, action] of bad.entries()) {
        expect([i, codeOf(action)]).toEqual([i, 'HOLT_INVALID_ARGUMENT'])
      }
      expect([ring.inFlight, ring.poll()]).toEqual([0, 0])
    })
    for (const options of [
      { entries: 0 },
      { entries: 4097 },
      { entries: 2.5 },
      { registeredBuffers: -1 },
      { submissionThread: 5 },
      { submissionThread: { idleMs: 0 } },
      { sqpoll: true },
      null,
    ]) {
      expect(codeOf(() => Ring.create(options as never))).toBe('HOLT_INVALID_ARGUMENT')
    }
  })

  test('huge offsets are refused by the system with a code', async () => {
    await scene({}, async ({ ring, open, done }) => {
      const file = await open('file')
      ring.write(1, file, Number.MAX_SAFE_INTEGER - 8, new Uint8Array(8))
      expect(await done(1)).toEqual(failed('HOLT_NO_SPACE', 'EFBIG'))
      ring.read(2, file, Number.MAX_SAFE_INTEGER - 8, new Uint8Array(8))
      expect(await done(2)).toMatchObject({ error: undefined, movedBytes: 0 })
      ring.truncate(3, file, Number.MAX_SAFE_INTEGER)
      expect(await done(3)).toEqual(failed('HOLT_NO_SPACE', 'EFBIG'))
    })
  })

  test('files of another ring and closed files are refused', async () => {
    await scene({}, async ({ ring, open, done }) => {
      await scene({}, async (other) => {
        const foreign = await other.open('foreign')
        expect(codeOf(() => ring.stat(1, foreign))).toBe('HOLT_INVALID_ARGUMENT')
      })
      const file = await open('file')
      ring.close(2, file)
      expect(codeOf(() => ring.stat(3, file))).toBe('HOLT_CLOSED')
      await done(2)
      for (const action of [
        () => ring.stat(3, file),
        () => ring.close(3, file),
        () => ring.read(3, file, 0, new Uint8Array(1)),
      ]) {
        expect(codeOf(action)).toBe('HOLT_CLOSED')
      }
    })
  })

  test('a file in use is not closed', async () => {
    await scene({}, async ({ ring, open, done }) => {
      const file = await open('file')
      ring.write(1, file, 0, new Uint8Array(10))
      expect(codeOf(() => ring.close(2, file))).toBe('HOLT_RING')
      expect(file.isOpen).toBe(true)
      await done(1)
      ring.close(2, file)
      expect(await done(2)).toEqual(ok(2, 'close'))
    })
  })

  test('direct transfers at odd places are refused, at odd addresses they fail with a code', async () => {
    await scene({}, async ({ ring, open, done }) => {
      const file = await open('file', { direct: true })
      const block = file.blockSizeBytes
      const memory = alignedBytes(2 * block)
      expect(codeOf(() => ring.write(1, file, 1, memory))).toBe('HOLT_INVALID_ARGUMENT')
      expect(codeOf(() => ring.write(1, file, 0, memory.subarray(1)))).toBe('HOLT_INVALID_ARGUMENT')
      ring.write(2, file, 0, memory)
      expect(await done(2)).toMatchObject({ error: undefined, movedBytes: 2 * block })
      ring.write(3, file, 0, memory.subarray(1, 1 + block))
      const odd = await done(3)
      if (odd.error !== undefined) expect(odd).toEqual(failed('HOLT_IO', 'EINVAL'))
    })
  })

  test('memory that is detached before is refused, that shrinks or moves meanwhile fails with a code', async () => {
    await scene({}, async ({ ring, pipe, done }) => {
      const fifo = await pipe()
      const read = (handle: number, bytes: Uint8Array): unknown =>
        ring.queue({ op: 'read', handle, file: fifo, offsetBytes: 0, bytes, once: true })
      const gone = new Uint8Array(8)
      const kept = structuredClone(gone.buffer, { transfer: [gone.buffer] })
      expect(codeOf(() => read(1, gone))).toBe('HOLT_INVALID_ARGUMENT')
      const resizable = new ArrayBuffer(4 * PAGE, { maxByteLength: 8 * PAGE })
      read(2, new Uint8Array(resizable))
      ring.poll()
      resizable.resize(0)
      writeFileSync(fifo.path, 'abc')
      expect((await done(2)).error).toBeDefined()
      // What the kernel could not store stays in the pipe.
      read(20, new Uint8Array(10))
      await done(20)
      const moving = new Uint8Array(PAGE)
      read(3, moving)
      ring.poll()
      const moved = structuredClone(moving.buffer, { transfer: [moving.buffer] })
      writeFileSync(fifo.path, 'abc')
      expect(await done(3)).toEqual(failed('HOLT_INVALID_ARGUMENT'))
      expect([kept.byteLength, moved.byteLength]).toEqual([8, PAGE])
      // Queued, not handed over, and gone by the time it is.
      const late = new Uint8Array(8)
      ring.queue({ op: 'write', handle: 4, file: fifo, offsetBytes: 0, bytes: late, once: true })
      structuredClone(late.buffer, { transfer: [late.buffer] })
      expect(await done(4)).toEqual(failed('HOLT_INVALID_ARGUMENT'))
    })
  })
})

describe.skipIf(unavailable)('transfers of a Ring', () => {
  test('D19: what stops short is resumed, what is interrupted is repeated, once is one call', async () => {
    await scene({}, async ({ ring, open, done, path }) => {
      const file = await open('file')
      const bytes = new Uint8Array(1000).map((_, i) => i)
      armFaults([
        { at: 'write', calls: 3, shortBytes: 10 },
        { at: 'write', firstCall: 4, calls: 2, errno: 'EINTR' },
        { at: 'read', calls: 2, shortBytes: 300 },
      ])
      ring.write(1, file, 0, bytes)
      expect(await done(1)).toMatchObject({ error: undefined, movedBytes: 1000 })
      expect(new Uint8Array(readFileSync(path('file')))).toEqual(bytes)
      const back = new Uint8Array(1000)
      ring.read(2, file, 0, back)
      expect(await done(2)).toMatchObject({ movedBytes: 1000 })
      expect(back).toEqual(bytes)
      expect(faultHits()).toEqual([3, 2, 2])
      armFaults([{ at: 'write', shortBytes: 10 }])
      ring.queue({ op: 'write', handle: 3, file, offsetBytes: 0, bytes, once: true })
      expect(await done(3)).toMatchObject({ error: undefined, movedBytes: 10 })
    })
  })

  test('D19: what fails half-way tells how far it came', async () => {
    await scene({}, async ({ ring, open, done }) => {
      const file = await open('file')
      armFaults([
        { at: 'write', shortBytes: 10 },
        { at: 'write', firstCall: 2, errno: 'ENOSPC' },
      ])
      ring.write(1, file, 0, new Uint8Array(100))
      expect(await done(1)).toMatchObject({ error: { code: 'HOLT_NO_SPACE' }, movedBytes: 10 })
    })
  })

  test('D24: a length of 4 GiB is not cut down to 32 bits', async () => {
    await scene({}, async ({ ring, open, done }) => {
      const file = await open('file')
      // Nobody touches most of the memory: it is reserved, not there.
      armFaults([{ at: 'read', calls: Infinity, shortBytes: PAGE }])
      ring.truncate(1, file, 10)
      await done(1)
      ring.read(2, file, 0, new Uint8Array(new SharedArrayBuffer(2 ** 32)))
      expect(await done(2)).toMatchObject({ error: undefined, movedBytes: 10 })
    })
  })

  test('D20: mkdir, syncDirectory, allocate and truncate', async () => {
    await scene({}, async ({ ring, path, open, done }) => {
      ring.mkdir(1, path('directory'))
      expect(await done(1)).toEqual(ok(1, 'mkdir'))
      ring.mkdir(1, path('directory'))
      expect(await done(1)).toEqual(failed('HOLT_EXISTS', 'EEXIST'))
      const before = readdirSync('/proc/self/fd').length
      ring.syncDirectory(2, path('directory'))
      expect(await done(2)).toEqual(ok(2, 'syncDirectory'))
      ring.syncDirectory(2, path('absent'))
      expect(await done(2)).toEqual(failed('HOLT_NOT_FOUND', 'ENOENT'))
      armFaults([{ at: 'fsync', errno: 'EIO' }])
      ring.syncDirectory(2, path('directory'))
      expect(await done(2)).toEqual(failed('HOLT_IO', 'EIO'))
      expect(readdirSync('/proc/self/fd')).toHaveLength(before)
      const file = await open('file')
      ring.allocate(3, file, 0, 100_000)
      expect(await done(3)).toEqual(ok(3, 'allocate'))
      ring.truncate(4, file, 10)
      expect(await done(4)).toEqual(ok(4, 'truncate'))
      ring.stat(5, file)
      expect(await done(5)).toMatchObject({ stat: { sizeBytes: 10 } })
    })
  })
})

describe.skipIf(unavailable)('chains and cancelling', () => {
  const request = (op: 'write', handle: number, file: RingFile, offsetBytes: number): RingRequest => ({
    op,
    handle,
    file,
    offsetBytes,
    bytes: new Uint8Array(100).fill(handle),
  })

  test('D25: a chain runs in order, up to closing its file', async () => {
    await scene({}, async ({ ring, open, done, path }) => {
      const file = await open('file', { registered: true })
      const other = await open('other')
      const queued = ring.chain([
        request('write', 1, file, 0),
        request('write', 2, file, 50),
        { op: 'datasync', handle: 3, file },
        { op: 'close', handle: 4, file },
        { op: 'rename', handle: 5, from: path('file'), to: path('renamed') },
        request('write', 6, other, 0),
      ])
      expect(queued).toEqual({ queued: true })
      for (const handle of [1, 2, 3, 4, 5, 6]) expect(await done(handle)).toMatchObject({ error: undefined })
      const expected = Buffer.concat([Buffer.alloc(50, 1), Buffer.alloc(100, 2)])
      expect(readFileSync(path('renamed')).equals(expected)).toBe(true)
    })
  })

  test.each([
    ['fails', { errno: 'EIO' }, 'HOLT_IO'],
    ['is short', undefined, 'HOLT_SHORT_TRANSFER'],
  ] as const)('D25: what comes after a member that %s is not run', async (_name, fault, code) => {
    await scene({}, async ({ ring, open, done, path }) => {
      const file = await open('file')
      if (fault !== undefined) armFaults([{ at: 'write', firstCall: 2, ...fault }])
      ring.chain([
        request('write', 1, file, 0),
        // Ten bytes are there for the short one.
        fault === undefined
          ? { op: 'read', handle: 2, file, offsetBytes: 90, bytes: new Uint8Array(100) }
          : request('write', 2, file, 100),
        request('write', 3, file, 200),
        { op: 'close', handle: 4, file },
      ])
      // Not of the chain: runs.
      ring.mkdir(5, path('beside'))
      expect(await done(1)).toMatchObject({ error: undefined })
      expect(await done(2)).toMatchObject({ error: { code }, movedBytes: code === 'HOLT_IO' ? 0 : 10 })
      expect(await done(3)).toEqual(failed('HOLT_IO', 'ECANCELED'))
      expect(await done(4)).toEqual(failed('HOLT_IO', 'ECANCELED'))
      expect(await done(5)).toEqual(ok(5, 'mkdir'))
      expect(file.isOpen).toBe(true)
      expect(readFileSync(path('file'))).toHaveLength(100)
      ring.close(6, file)
      expect(await done(6)).toEqual(ok(6, 'close'))
    })
  })

  test('D25: a hard chain goes on after a short member', async () => {
    await scene({}, async ({ ring, open, done }) => {
      const file = await open('file')
      armFaults([{ at: 'write', shortBytes: 10 }])
      ring.chain([request('write', 1, file, 0), request('write', 2, file, 100)], { hard: true })
      expect(await done(1)).toMatchObject({ error: { code: 'HOLT_SHORT_TRANSFER' } })
      expect(await done(2)).toMatchObject({ error: undefined, movedBytes: 100 })
    })
  })

  test('a chain of which the memory of one member is gone runs not at all', async () => {
    await scene({}, async ({ ring, open, done, path }) => {
      const file = await open('file')
      const bad = { ...request('write', 2, file, 100), bytes: new Uint8Array(100) }
      ring.chain([request('write', 1, file, 0), bad, request('write', 3, file, 200)])
      structuredClone(bad.bytes.buffer, { transfer: [bad.bytes.buffer] })
      expect(await done(1)).toEqual(failed('HOLT_IO', 'ECANCELED'))
      expect(await done(2)).toEqual(failed('HOLT_INVALID_ARGUMENT'))
      expect(await done(3)).toEqual(failed('HOLT_IO', 'ECANCELED'))
      await ring.dispose()
      expect(readFileSync(path('file'))).toHaveLength(0)
    })
  })

  test('a chain is handed back whole, or refused whole', async () => {
    await scene({ entries: 4 }, async ({ ring, open }) => {
      const file = await open('file')
      ring.nop(1)
      ring.nop(2)
      const requests = [3, 4, 5].map((handle) => request('write', handle, file, 0))
      expect(ring.chain(requests)).toEqual({ queued: false, reason: 'full', operation: requests })
      expect(ring.inFlight).toBe(2)
      const same = [request('write', 3, file, 0), request('write', 3, file, 0)]
      expect(codeOf(() => ring.chain(same))).toBe('HOLT_RING')
      for (const list of [
        [{ op: 'open', handle: 3, path: 'x', options: { access: 'read' } }],
        [{ op: 'syncDirectory', handle: 3, path: 'x' }],
        [{ op: 'close', handle: 3, file }, request('write', 4, file, 0)],
        [1, 2, 3, 4, 5].map((handle) => ({ op: 'nop', handle: 10 + handle })),
      ] as RingRequest[][]) {
        expect(codeOf(() => ring.chain(list))).toBe('HOLT_INVALID_ARGUMENT')
      }
      expect([ring.inFlight, file.uses, file.isOpen]).toEqual([2, 0, true])
    })
  })

  test('D25: cancels what waits in the kernel; what ended already is not in flight', async () => {
    await scene({}, async ({ ring, pipe, done }) => {
      const fifo = await pipe()
      for (const handle of [1, 2]) {
        ring.queue({ op: 'read', handle, file: fifo, offsetBytes: 0, bytes: new Uint8Array(10), once: true })
      }
      ring.poll()
      expect(ring.cancel(1)).toBe(true)
      expect(await done(1)).toEqual(failed('HOLT_IO', 'ECANCELED'))
      expect([ring.cancel(1), ring.cancel({}), ring.inFlight]).toEqual([false, false, 1])
      writeFileSync(fifo.path, 'abc')
      expect(await done(2)).toMatchObject({ movedBytes: 3 })
    })
  })

  test('D25: what is cancelled before it was handed over is never run, nor is its chain', async () => {
    await scene({}, async ({ ring, path, done }) => {
      ring.mkdir(1, path('alone'))
      ring.chain([2, 3, 4].map((handle) => ({ op: 'mkdir', handle, path: path(String(handle)) })))
      ring.mkdir(5, path('kept'))
      expect([ring.cancel(1), ring.cancel(3), ring.cancel(4)]).toEqual([true, true, false])
      for (const handle of [1, 2, 3, 4]) expect(await done(handle)).toEqual(failed('HOLT_IO', 'ECANCELED'))
      expect(await done(5)).toEqual(ok(5, 'mkdir'))
      expect(readdirSync(path('.'))).toEqual(['kept'])
    })
  })
})

describe.skipIf(unavailable)('registration and the submission thread of a Ring', () => {
  test('D2: SQPOLL moves bytes, sleeps and wakes; where it is refused the ring works without and says so', async () => {
    for (const refused of [false, true]) {
      if (refused) armFaults([{ at: 'ringSetup', errno: 'EPERM' }])
      await scene({ entries: 8, submissionThread: { idleMs: 1 } }, async ({ ring, open, done, path }) => {
        disarmFaults()
        const { completionMode, submissionThreadRefusal } = ring.capabilities
        if (refused)
          expect([completionMode, submissionThreadRefusal]).toEqual([
            expect.not.stringContaining('thread'),
            'EPERM',
          ])
        else if (submissionThreadRefusal === undefined) expect(completionMode).toBe('submission-thread')
        const file = await open('file', { registered: true })
        for (let i = 0; i < 100; i++) {
          expect(ring.write(i, file, i * 100, new Uint8Array(100).fill(i)).queued).toBe(true)
          if (i % 8 === 7) for (let j = i - 7; j <= i; j++) await done(j)
          if (i === 50) await pause(20)
        }
        for (let j = 96; j < 100; j++) expect(await done(j)).toMatchObject({ movedBytes: 100 })
        ring.chain([
          { op: 'datasync', handle: 1, file },
          { op: 'close', handle: 2, file },
        ])
        expect(await done(2)).toEqual(ok(2, 'close'))
        const found = readFileSync(path('file'))
        expect(found.equals(Buffer.alloc(10_000).map((_, i) => Math.floor(i / 100)))).toBe(true)
      })
    }
  })

  test('D4: memory is recognised wherever a transfer lies within a registered piece', async () => {
    await scene({}, async ({ ring, open, done }) => {
      const file = await open('file')
      const memory = alignedBytes(4 * PAGE)
      const registration = ring.registerBuffers([memory.subarray(PAGE, 3 * PAGE)])
      expect(registration.outcomes).toEqual(['registered'])
      const used = async (start: number, end: number): Promise<number> => {
        const { fixedBufferOperations } = ring.use
        ring.write(1, file, 0, memory.subarray(start, end))
        expect(await done(1)).toMatchObject({ movedBytes: end - start })
        return ring.use.fixedBufferOperations - fixedBufferOperations
      }
      expect(await used(PAGE, 3 * PAGE)).toBe(1)
      expect(await used(PAGE + 13, PAGE + 14)).toBe(1)
      expect(await used(3 * PAGE - 1, 3 * PAGE)).toBe(1)
      expect(await used(PAGE - 1, 2 * PAGE)).toBe(0)
      expect(await used(2 * PAGE, 3 * PAGE + 1)).toBe(0)
      expect(await used(3 * PAGE, 4 * PAGE)).toBe(0)
    })
  })

  test('D24: a ring without memory or files to register, and one that is refused them, works', async () => {
    await scene({ registeredBuffers: 0, registeredFiles: 0 }, async ({ ring, open, done }) => {
      expect(ring.registerBuffers([]).registeredCount).toBe(0)
      const memory = alignedBytes(PAGE)
      expect(ring.registerBuffers([memory]).outcomes).toEqual([{ refused: 'full' }])
      const file = await open('file', { registered: true })
      ring.write(1, file, 0, memory)
      expect(await done(1)).toMatchObject({ movedBytes: PAGE })
    })
    await scene({}, async ({ ring, open, done }) => {
      const memory = alignedBytes(2 * PAGE)
      armFaults([{ at: 'registerBuffer', errno: 'ENOMEM' }])
      const pieces = [memory.subarray(0, PAGE), memory.subarray(PAGE)]
      const registration = ring.registerBuffers(pieces)
      expect(registration.outcomes).toEqual([{ refused: 'ENOMEM' }, 'registered'])
      const file = await open('file')
      ring.write(1, file, 0, pieces[0])
      ring.write(2, file, 0, pieces[1])
      for (const handle of [1, 2]) expect(await done(handle)).toMatchObject({ movedBytes: PAGE })
      expect(ring.use.fixedBufferOperations).toBe(1)
    })
  })

  test('D23: memory is unregistered once; a transfer that uses it meanwhile completes', async () => {
    await scene({}, async ({ ring, pipe, done }) => {
      const fifo = await pipe()
      const memory = alignedBytes(PAGE)
      const registration = ring.registerBuffers([memory])
      ring.queue({ op: 'read', handle: 1, file: fifo, offsetBytes: 0, bytes: memory, once: true })
      ring.poll()
      registration.release()
      expect(
        codeOf(() => {
          registration.release()
        }),
      ).toBe('HOLT_RING')
      expect(ring.registerBuffers([memory]).registeredCount).toBe(1)
      writeFileSync(fifo.path, 'abc')
      expect(await done(1)).toMatchObject({ error: undefined, movedBytes: 3 })
      expect(Buffer.from(memory.subarray(0, 4)).toString()).toBe('abc\0')
    })
  })
})

describe.skipIf(unavailable)('the end of a Ring', () => {
  test('D23, D6: waits for what the kernel has, closes files, and leaves the completions to be read', async () => {
    await inDirectory(async (directory) => {
      const before = readdirSync('/proc/self/fd').length
      const ring = Ring.create<number>()
      ring.open(0, join(directory, 'file'), { access: 'readwrite', create: true })
      const file = opened(await awaited(ring, 0))
      const bytes = new Uint8Array(1 << 20).fill(3)
      for (let i = 1; i <= 20; i++) ring.write(i, file, i << 20, bytes)
      ring.poll()
      ring.write(21, file, 0, bytes)
      const disposed = ring.dispose()
      expect(ring.dispose()).toBe(disposed)
      await disposed
      expect(ring.completions).toHaveLength(21)
      for (const completion of ring.completions) {
        if (completion.handle === 21) expect(completion).toEqual(failed('HOLT_IO', 'ECANCELED'))
        else expect(completion).toMatchObject({ error: undefined, movedBytes: 1 << 20 })
      }
      expect(readFileSync(join(directory, 'file')).length).toBe(21 << 20)
      expect(readdirSync('/proc/self/fd')).toHaveLength(before)
      expect([ring.inFlight, file.isOpen]).toEqual([0, false])
    })
  })

  test('asks the kernel to give up what would never end', async () => {
    await scene({}, async ({ ring, pipe }) => {
      const fifo = await pipe()
      ring.queue({ op: 'read', handle: 1, file: fifo, offsetBytes: 0, bytes: new Uint8Array(10), once: true })
      ring.poll()
      const parked = ring.park()
      await ring.dispose({ cancel: true })
      expect(ring.take(1)).toEqual(failed('HOLT_IO', 'ECANCELED'))
      expect(await parked).toBe('ready')
    })
  })

  test('every use of a closed ring is HOLT_CLOSED', async () => {
    await scene({}, async ({ ring, open }) => {
      const file = await open('file')
      await ring.dispose()
      for (const action of [
        () => ring.nop(1),
        () => ring.read(1, file, 0, new Uint8Array(1)),
        () => ring.chain([{ op: 'nop', handle: 1 }]),
        () => ring.poll(),
        () => ring.parkSync(),
        () => ring.cancel(1),
        () => ring.registerBuffers([]),
      ]) {
        expect(codeOf(action)).toBe('HOLT_CLOSED')
      }
      await expect(ring.park()).rejects.toEqual(thrown('HOLT_CLOSED'))
    })
  })

  test('a broken ring completes everything with the reason, and then refuses with it', async () => {
    await scene({}, async ({ ring, pipe, done, path }) => {
      const fifo = await pipe()
      ring.queue({ op: 'read', handle: 1, file: fifo, offsetBytes: 0, bytes: new Uint8Array(10), once: true })
      ring.poll()
      armFaults([{ at: 'mkdirat', dropped: true }])
      ring.mkdir(2, path('lost'))
      ring.syncDirectory(3, path('.'))
      for (const handle of [1, 2, 3]) expect(await done(handle)).toEqual(failed('HOLT_RING'))
      expect(() => ring.nop(4)).toThrow(/completions? .*missing|missing/)
      expect([ring.inFlight, await ring.park()]).toEqual([0, 'idle'])
    })
  })
})
