import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'

import { afterEach, describe, expect, test } from 'vitest'

import type { RingFile } from '../src/ring-files.js'
import { armFaults, disarmFaults, faultHits } from '../src/testing-faults.js'

import { PAGE, failed, ok, opened, scene, thrown } from './ring-scene.js'
import { unavailable } from './uring-support.js'

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
