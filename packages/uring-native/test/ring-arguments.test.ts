import { readdirSync, writeFileSync } from 'node:fs'

import { afterEach, describe, expect, test } from 'vitest'

import { Ring } from '../src/ring.js'
import { disarmFaults } from '../src/testing-faults.js'

import { PAGE, codeOf, failed, ok, scene } from './ring-scene.js'
import { alignedBytes, unavailable } from './uring-support.js'

afterEach(() => {
  if (unavailable === undefined) disarmFaults()
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
