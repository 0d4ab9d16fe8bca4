import { readFileSync, readdirSync, writeFileSync } from 'node:fs'

import { afterEach, describe, expect, test } from 'vitest'

import type { RingRequest } from '../src/ring-contract.js'
import type { RingFile } from '../src/ring-files.js'
import { armFaults, disarmFaults, faultHits } from '../src/testing-faults.js'

import { PAGE, codeOf, failed, ok, scene } from './ring-scene.js'
import { unavailable } from './uring-support.js'

afterEach(() => {
  if (unavailable === undefined) disarmFaults()
})

describe.skipIf(unavailable)('transfers of a Ring', () => {
  test('D19: what stops short is resumed, what is interrupted is repeated, once is one call', async () => {
    await scene({}, async ({ ring, open, done, path }) => {
      const file = await open('file')
      const bytes = new Uint8Array(1000).map((_, i) => i)
      armFaults([
        { at: 'write', calls: 3, shortBytes: 10 },
        { at: 'write', firstCall: 4, calls: 2, errno: 'EINTR' },
        { at: 'write', firstCall: 6, calls: 2, errno: 'ECANCELED' },
        { at: 'read', calls: 2, shortBytes: 300 },
      ])
      ring.write(1, file, 0, bytes)
      expect(await done(1)).toMatchObject({ error: undefined, movedBytes: 1000 })
      expect(new Uint8Array(readFileSync(path('file')))).toEqual(bytes)
      const back = new Uint8Array(1000)
      ring.read(2, file, 0, back)
      expect(await done(2)).toMatchObject({ movedBytes: 1000 })
      expect(back).toEqual(bytes)
      expect(faultHits()).toEqual([3, 2, 2, 2])
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

  test('D25: a chain that the addon refuses leaves what was queued around it, and every slot, as it was', async () => {
    await scene({ entries: 8 }, async ({ ring, open, done, path }) => {
      const file = await open('file', { registered: true })
      const bad = { ...request('write', 4, file, 300), bytes: new Uint8Array(100) }
      ring.queue(request('write', 1, file, 0))
      ring.chain([
        request('write', 2, file, 100),
        request('write', 3, file, 200),
        bad,
        request('write', 5, file, 400),
      ])
      ring.queue(request('write', 6, file, 100))
      structuredClone(bad.bytes.buffer, { transfer: [bad.bytes.buffer] })
      for (const handle of [1, 6]) expect(await done(handle)).toMatchObject({ movedBytes: 100 })
      for (const handle of [2, 3, 5]) expect(await done(handle)).toEqual(failed('HOLT_IO', 'ECANCELED'))
      expect(await done(4)).toEqual(failed('HOLT_INVALID_ARGUMENT'))
      expect(readFileSync(path('file'))).toEqual(Buffer.concat([Buffer.alloc(100, 1), Buffer.alloc(100, 6)]))
      for (let handle = 10; handle < 18; handle++) ring.queue(request('write', handle, file, 100 * handle))
      for (let handle = 10; handle < 18; handle++)
        expect(await done(handle)).toMatchObject({ movedBytes: 100 })
    })
  })

  test.each([
    ['soft', false, 1],
    ['soft', false, 2],
    ['soft', false, 3],
    ['hard', true, 2],
  ] as const)(
    'D25: of a %s chain (hard: %s) of which the kernel takes %i members the rest is not run',
    async (_name, hard, taken) => {
      await scene({ entries: 8 }, async ({ ring, open, done, path }) => {
        const file = await open('file')
        armFaults([{ at: 'ringTake', shortBytes: taken }])
        ring.chain(
          [1, 2, 3, 4].map((handle) => request('write', handle, file, 100 * (handle - 1))),
          { hard },
        )
        // Behind the chain, and not of it.
        ring.mkdir(5, path('beside'))
        for (const handle of [1, 2, 3, 4]) {
          const completion = await done(handle)
          if (handle <= taken) expect(completion).toMatchObject({ movedBytes: 100 })
          else expect(completion).toEqual(failed('HOLT_IO', 'ECANCELED'))
        }
        expect(await done(5)).toEqual(ok(5, 'mkdir'))
        expect([faultHits(), readFileSync(path('file')).length]).toEqual([[1], 100 * taken])
        // All slots are free again, and nothing of the chain comes later.
        for (let handle = 10; handle < 18; handle++) ring.nop(handle)
        for (let handle = 10; handle < 18; handle++) expect(await done(handle)).toEqual(ok(handle, 'nop'))
        expect([ring.inFlight, readFileSync(path('file')).length]).toEqual([0, 100 * taken])
      })
    },
  )

  test('D25: a hand-over that ends behind a chain, or before it, cuts nothing', async () => {
    await scene({ entries: 8 }, async ({ ring, open, done }) => {
      const file = await open('file')
      for (const taken of [1, 4]) {
        armFaults([{ at: 'ringTake', shortBytes: taken }])
        ring.nop(1)
        ring.chain([2, 3, 4].map((handle) => request('write', handle, file, 100 * handle)))
        ring.nop(5)
        for (const handle of [1, 2, 3, 4, 5]) expect(await done(handle)).toMatchObject({ error: undefined })
        expect(faultHits()).toEqual([1])
      }
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
