import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { CHANNELS, type Db, open } from 'holt'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { type FaultRule, SimDisk, type SimIo } from '../../src/index.js'
import { gatedIo } from './gated-io.js'

const PATH = '/home/db'

function openAt(io: SimIo): Promise<Db> {
  return open(PATH, {
    io,
    usableFrameBytes: 16_384,
    cacheBytes: 16 * 2 ** 19,
    backgroundCompaction: false,
    checkpoint: { thread: false },
  })
}

interface Message {
  readonly path: string
  readonly error?: Error
  readonly epoch?: number
  readonly runningMs?: number
}

/** Until it holds; a turn of the event loop between two looks. */
async function until(what: () => boolean): Promise<void> {
  for (let turns = 0; !what(); turns++) {
    if (turns > 50_000) throw new Error('it never holds')
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const value = (i: number): string => `${String(i)} `.repeat(200)

/** Writes more than the cache holds; those that wait do so until checkpoints have made room. */
async function writeMuch(
  db: Db,
  from: number,
): Promise<{ readonly outcomes: Promise<PromiseSettledResult<void>[]> }> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  const writes = Array.from({ length: 1_000 }, (_, i) => tree.put(`key-${String(from + i)}`, value(from + i)))
  return { outcomes: Promise.allSettled(writes) }
}

describe('G16: what goes wrong in the background', () => {
  const seen: { readonly name: string; readonly message: Message }[] = []
  const listener = (message: unknown, name: string | symbol): void => {
    seen.push({ name: String(name), message: message as Message })
  }
  const written: string[] = []
  const named = (name: string): Message[] =>
    seen.filter((one) => one.name === name).map(({ message }) => message)

  beforeEach(() => {
    seen.length = 0
    written.length = 0
    for (const name of Object.values(CHANNELS)) subscribe(name, listener)
    for (const stream of [process.stderr, process.stdout])
      vi.spyOn(stream, 'write').mockImplementation((chunk) => {
        written.push(String(chunk))
        return true
      })
    for (const method of ['error', 'warn', 'log', 'info'] as const)
      vi.spyOn(console, method).mockImplementation((...args) => {
        written.push(args.join(' '))
      })
  })
  afterEach(() => {
    for (const name of Object.values(CHANNELS)) unsubscribe(name, listener)
    vi.restoreAllMocks()
  })

  test.each([
    ['full', 'ENOSPC', 'HOLT_NO_SPACE', ['allocate', 'write']],
    ['failing', 'EIO', 'HOLT_IO', ['sync']],
  ] as const)(
    'a %s disk shows in stats and events, slows writers down, fails them after 30 s by its own error, and nothing is printed',
    async (_, errno, code, operation) => {
      const disk = new SimDisk({ seed: 1 })
      const fault: FaultRule = { operation, path: 'blobs.dat', times: Infinity, errno }
      const io = disk.start()
      const db = await openAt(io)
      const tree = await db.tree('t', { valueEncoding: 'utf8' })
      for (let i = 0; i < 50; i++) await tree.put(`key-${String(i)}`, value(i))
      await db.checkpoint()
      const mend = io.faults.add(fault)

      let { outcomes } = await writeMuch(db, 50)
      await until(() => (db.stats().checkpoint?.failed ?? 0) > 0)
      io.advance(5_000)
      await until(() => (db.stats().checkpoint?.failed ?? 0) > 1)
      expect(db.stats().checkpoint).toMatchObject({ lastError: expect.stringContaining(errno) as string })
      expect(db.stats().checkpoint?.failingMs).toBeGreaterThanOrEqual(5_000)
      expect(db.stats().writes.waiting).toBeGreaterThan(0)
      for (const { path, error } of named('holt:checkpoint:end').slice(1))
        expect([path, error]).toEqual([PATH, expect.objectContaining({ code })])
      // Reads go on; what waits is not to be seen.
      expect(tree.get('key-7')).toBe(value(7))

      for (let i = 0; i < 8; i++) {
        io.advance(5_000)
        await new Promise((resolve) => setImmediate(resolve))
      }
      const settled = await outcomes
      const refused = settled.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[]
      expect(refused.length).toBeGreaterThan(0)
      for (const { reason } of refused)
        expect(reason).toMatchObject({
          code: 'HOLT_CHECKPOINT_FAILED',
          cause: expect.objectContaining({ code }) as Error,
        })
      settled.forEach(({ status }, i) => {
        expect(tree.get(`key-${String(50 + i)}`)).toBe(status === 'fulfilled' ? value(50 + i) : undefined)
      })

      // The disk has room again, or answers: everything goes on by itself.
      mend()
      io.advance(5_000)
      await until(() => db.stats().checkpoint?.lastError === undefined)
      ;({ outcomes } = await writeMuch(db, 2_000))
      expect((await outcomes).every(({ status }) => status === 'fulfilled')).toBe(true)
      expect((await db.verify()).problems).toEqual([])
      await db.close()
      const again = await openAt(disk.start())
      const found = await again.tree('t', { valueEncoding: 'utf8' })
      settled.forEach(({ status }, i) => {
        expect(found.get(`key-${String(50 + i)}`)).toBe(status === 'fulfilled' ? value(50 + i) : undefined)
      })
      expect(found.get('key-2999')).toBe(value(2_999))
      await again.close()
      expect(written).toEqual([])
    },
  )

  test('a close that cannot write its last checkpoint rejects with the cause, and the journal has it all', async () => {
    const disk = new SimDisk({ seed: 2 })
    const io = disk.start()
    const db = await openAt(io)
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    for (let i = 0; i < 50; i++) await tree.put(`key-${String(i)}`, value(i))
    io.faults.add({ operation: 'sync', path: 'blobs.dat', times: Infinity, errno: 'EIO' })
    await expect(db.close()).rejects.toMatchObject({ code: 'HOLT_IO', errno: 'EIO' })
    const again = await openAt(disk.start())
    const found = await again.tree('t', { valueEncoding: 'utf8' })
    for (let i = 0; i < 50; i++) expect(found.get(`key-${String(i)}`)).toBe(value(i))
    await again.close()
    expect(written).toEqual([])
  })

  test('a disk that does not answer is told of after 10 s, once, and shows in the stats until it does', async () => {
    const disk = new SimDisk({ seed: 3 })
    const io = disk.start()
    let answer = (): void => undefined
    let silence: Promise<void> | undefined
    const db = await openAt(gatedIo(io, () => silence ?? Promise.resolve()))
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await tree.put('first', value(1))
    await db.checkpoint()
    expect(db.stats().checkpoint).toMatchObject({ running: false, runningMs: 0, stalls: 0 })

    silence = new Promise((resolve) => {
      answer = resolve
    })
    await tree.put('second', value(2))
    const checkpoint = db.checkpoint()
    await until(() => named('holt:checkpoint:start').length === 2)
    io.advance(9_999)
    expect(named('holt:checkpoint:stall')).toEqual([])
    io.advance(1)
    io.advance(60_000)
    expect(named('holt:checkpoint:stall')).toEqual([{ path: PATH, epoch: 2, runningMs: 10_000 }])
    expect(db.stats().checkpoint).toMatchObject({ running: true, runningMs: 70_000, stalls: 1 })
    // What needs no disk goes on.
    await tree.put('third', value(3))
    expect(tree.get('second')).toBe(value(2))
    silence = undefined
    answer()
    await checkpoint
    expect(db.stats().checkpoint).toMatchObject({ running: false, runningMs: 0, lastError: undefined })
    await db.close()
    expect(written).toEqual([])
  })
})
