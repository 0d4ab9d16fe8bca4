import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

import { afterEach, describe, expect, test } from 'vitest'

import { openIo } from '../src/open-io.js'
import { Ring } from '../src/ring.js'
import { armFaults, disarmFaults } from '../src/testing-faults.js'
import { UringIo } from '../src/uring-io.js'

import { collectUntil } from './collect-garbage.js'
import { PAGE, awaited, codeOf, failed, ok, opened, scene, thrown } from './ring-scene.js'
import { alignedBytes, inDirectory, unavailable } from './uring-support.js'

afterEach(() => {
  if (unavailable === undefined) disarmFaults()
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

  test.each([
    ['given back', false],
    ['never given back', true],
  ] as const)(
    'D23: memory of a ring that breaks is %s (the kernel keeps it to itself: %s)',
    async (_name, isUndrainable) => {
      await scene({}, async ({ pipe, path }) => {
        const fifo = await pipe()
        const kept: WeakRef<Uint8Array>[] = []
        const breakOne = async (): Promise<void> => {
          const ring = Ring.create<number>()
          ring.open(0, fifo.path, { access: 'readwrite' })
          const file = opened(await awaited(ring, 0))
          for (const [handle, memory] of [new ArrayBuffer(4096), new SharedArrayBuffer(4096)].entries()) {
            const bytes = new Uint8Array(memory)
            kept.push(new WeakRef(bytes))
            ring.queue({ op: 'read', handle: handle + 1, file, offsetBytes: 0, bytes, once: true })
          }
          ring.poll()
          armFaults([
            { at: 'ringEnter', errno: 'EBADF' },
            ...(isUndrainable ? [{ at: 'ringDrain', errno: 'EBADF', calls: Infinity } as const] : []),
          ])
          ring.mkdir(3, path('never'))
          ring.poll()
          for (const handle of [1, 2]) expect(await awaited(ring, handle)).toEqual(failed('HOLT_RING'))
          expect(await awaited(ring, 3)).toEqual(failed('HOLT_IO', 'EBADF'))
          expect(readdirSync(path('.'))).toEqual(['pipe'])
          disarmFaults()
          await ring.dispose()
        }
        await breakOne()
        const areGone = (): boolean => kept.every((ref) => ref.deref() === undefined)
        expect(await collectUntil(areGone, isUndrainable ? 10 : 100)).toBe(!isUndrainable)
        expect(kept.map((ref) => ref.deref()?.length)).toEqual(
          isUndrainable ? [4096, 4096] : [undefined, undefined],
        )
      })
    },
  )

  test('a ring is refused, with the reason, where memory cannot be held against being transferred away', () => {
    armFaults([{ at: 'pinMemory', errno: 'ENOSYS', calls: 3 }])
    const refusal = expect.objectContaining({
      code: 'HOLT_UNSUPPORTED',
      message: expect.stringContaining('lets no memory be held') as string,
    }) as Error
    expect(() => Ring.create()).toThrow(refusal)
    expect(() => UringIo.create()).toThrow(refusal)
    const io = openIo({ prefer: 'uring' })
    expect([io.kind, io.fallbackReason]).toEqual(['fs', expect.stringContaining('lets no memory be held')])
  })
})
