import { closeSync, openSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { describe, expect, test } from 'vitest'

import type { IoFile } from '../src/io.js'
import { LogThread } from '../src/native-log.js'
import { UringIo } from '../src/uring-io.js'

import { addonForTests, inDirectory, unavailable } from './uring-support.js'

async function withFile(body: (io: UringIo, file: IoFile, path: string) => Promise<void>): Promise<void> {
  await inDirectory(async (directory) => {
    const io = UringIo.create()
    try {
      const path = join(directory, 'log')
      const file = await io.open(path, { access: 'readwrite', create: true })
      await body(io, file, path)
    } finally {
      await io.dispose()
    }
  })
}

describe.skipIf(unavailable)('the log thread', () => {
  test('runs commands in the order they were given', async () => {
    await withFile(async (io, file, path) => {
      await io.allocate(file, 0, 4096)
      const order: number[] = []
      const writes = Array.from({ length: 50 }, async (_, i) => {
        // All at one place: the last one given must be the one that stays.
        await io.writeDsync(file, 0, new Uint8Array(512).fill(i))
        order.push(i)
      })
      await Promise.all(writes)
      expect(order).toEqual(order.toSorted((a, b) => a - b))
      expect(readFileSync(path)[511]).toBe(49)
    })
  })

  test('keeps the bytes of a write that nobody references any more', async () => {
    await withFile(async (io, file, path) => {
      await io.allocate(file, 0, 64 * 8192)
      const writes: Promise<void>[] = []
      for (let i = 0; i < 64; i++)
        writes.push(io.writeDsync(file, i * 8192, new Uint8Array(8192).fill(i + 1)))
      // Pressure on the collector while the writes are on their way.
      for (let i = 0; i < 200; i++) new Uint8Array(1 << 20).fill(255)
      await Promise.all(writes)
      const found = readFileSync(path)
      for (let i = 0; i < 64; i++) {
        expect(found.subarray(i * 8192, (i + 1) * 8192).every((byte) => byte === i + 1)).toBe(true)
      }
    })
  })

  test('starts delayed syncs by their times, whatever the order they were given in', async () => {
    await withFile(async (io, file) => {
      const ended: string[] = []
      const late = io.syncAfter(file, 60).done.then(() => ended.push('late'))
      const early = io.syncAfter(file, 5).done.then(() => ended.push('early'))
      // Not referenced by the thread, so something else must keep this process.
      const alive = setInterval(() => undefined, 1000)
      await Promise.all([late, early])
      clearInterval(alive)
      expect(ended).toEqual(['early', 'late'])
    })
  })

  test('appends zeros up to an end, keeping what is there, where there is no fallocate', async () => {
    await inDirectory(async (directory) => {
      const path = join(directory, 'grown')
      writeFileSync(path, 'kept')
      const fd = openSync(path, 'r+')
      const log = new LogThread(addonForTests())
      try {
        await log.appendZeros({ fd, path }, 1_000_003)
        await log.appendZeros({ fd, path }, 10)
        const expected = Buffer.alloc(1_000_003)
        expected.write('kept')
        expect(readFileSync(path).equals(expected)).toBe(true)
      } finally {
        log.close()
        closeSync(fd)
      }
    })
  })

  test('a cancelled sync resolves and is not counted', async () => {
    await withFile(async (io, file) => {
      const scheduled = io.syncAfter(file, 3_600_000)
      scheduled.cancel()
      scheduled.cancel()
      await scheduled.done
      expect(io.counters.syncs).toBe(0)
    })
  })

  test('a write from memory of a mapping survives the unmapping that follows it', async () => {
    await withFile(async (io, file, path) => {
      await io.allocate(file, 0, 1 << 20)
      const mapping = await io.map(file, 1 << 19)
      if (mapping === undefined) return
      mapping.bytes.fill(9)
      const write = io.writeDsync(file, 1 << 19, mapping.bytes)
      mapping.populate(0, 1 << 19)
      await mapping.unmap()
      expect(mapping.bytes).toHaveLength(0)
      await write
      expect(
        readFileSync(path)
          .subarray(1 << 19)
          .every((byte) => byte === 9),
      ).toBe(true)
    })
  })

  test('mappings that are collected without an unmap do no harm to those that are not', async () => {
    await withFile(async (io, file) => {
      await io.allocate(file, 0, 1 << 16)
      for (let i = 0; i < 100; i++) {
        const mapping = await io.map(file, 1 << 16)
        mapping?.populate(0, 1 << 16)
        if (i % 2 === 0) await mapping?.unmap()
      }
      const last = await io.map(file, 1 << 16)
      if (last === undefined) return
      last.bytes.fill(5)
      const into = new Uint8Array(1 << 16)
      await io.read(file, 0, into)
      expect(into.every((byte) => byte === 5)).toBe(true)
    })
  })
})

describe.skipIf(unavailable)('dispose of a UringIo', () => {
  test('gives back every descriptor, with files, locks, mappings and scheduled syncs left open', async () => {
    await inDirectory(async (directory) => {
      const descriptors = (): number => readdirSync('/proc/self/fd').length
      const round = async (): Promise<void> => {
        const io = UringIo.create()
        for (let i = 0; i < 5; i++) {
          const file = await io.open(join(directory, String(i)), { access: 'readwrite', create: true })
          await io.allocate(file, 0, 8192)
          await io.map(file, 8192)
          await io.writeDsync(file, 0, new Uint8Array(10))
          io.syncAfter(file, 3_600_000)
          if (i === 0) await io.close(file)
        }
        await io.lock(join(directory, 'lock'))
        await io.syncDir(directory)
        await io.dispose()
      }
      await round()
      const before = descriptors()
      for (let i = 0; i < 5; i++) await round()
      expect(descriptors()).toBe(before)
    })
  })
})
