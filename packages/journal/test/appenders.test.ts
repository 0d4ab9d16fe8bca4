/** Appending from other threads. Numbers are those of the table in the README. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { threadId, Worker } from 'node:worker_threads'
import { afterEach, describe, expect, test } from 'vitest'
import {
  attachAppender,
  type Location,
  LogStructuredStore,
  type LogStructuredStoreOptions,
  type SharedLog,
  type WriteMode,
} from '../src/index.js'
import { MemoryIo } from './memory-io.js'

const MODES: readonly WriteMode[] = ['serialised', 'tail-localised']

function openStore(
  io: MemoryIo,
  options: Partial<LogStructuredStoreOptions> = {},
): Promise<LogStructuredStore> {
  return LogStructuredStore.open({ io, directory: '/lss', segmentBytes: 64 * 1024, ...options })
}

const bytesOf = (text: string): Uint8Array => Buffer.from(text, 'latin1')
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')
const named = (name: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${name} ${String(i)} `.padEnd(20 + (i % 50), '.'))

async function textsOf(store: LogStructuredStore): Promise<string[]> {
  const texts: string[] = []
  for await (const { bytes } of store.scan()) texts.push(textOf(bytes))
  return texts
}

/** Where a thread is to stop: in the middle of its append number `after`, counted from 0. */
interface Stop {
  readonly step: 'reserved' | 'copied' | 'left'
  readonly after?: number
  readonly exits?: boolean
}

interface Told {
  readonly error?: { readonly code: string }
}

/** A thread that appends. It imports the built package: threads cannot load TypeScript. */
class Thread {
  readonly #worker: Worker
  readonly #stopWords = new Int32Array(new SharedArrayBuffer(8))
  readonly #answers = new Map<number, (answer: Told & { readonly value: unknown }) => void>()
  readonly attached: Promise<void>
  readonly ended: Promise<void>
  readonly threadId: number
  #calls = 0

  constructor(shared: SharedLog, stop?: Stop) {
    this.#worker = new Worker(new URL('./fixtures/appender.mjs', import.meta.url), {
      execArgv: [],
      workerData: {
        shared,
        stop: stop === undefined ? undefined : { after: 0, ...stop, memory: this.#stopWords.buffer },
      },
    })
    this.threadId = this.#worker.threadId
    this.attached = new Promise((resolve, reject) => {
      this.#worker.on('message', (message: 'attached' | { id: number; value: unknown }) => {
        if (message === 'attached') resolve()
        else this.#answers.get(message.id)?.(message)
      })
      this.#worker.once('error', reject)
    })
    this.ended = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        resolve()
      })
    })
    threads.push(this)
  }

  async call<T>(command: string, argument?: unknown): Promise<T> {
    const id = this.#calls++
    const answered = new Promise<Told & { readonly value: unknown }>((resolve) =>
      this.#answers.set(id, resolve),
    )
    this.#worker.postMessage({ id, command, argument })
    const { error, value } = await answered
    if (error !== undefined) throw Object.assign(new Error(error.code), error)
    return value as T
  }

  /** Resolves when it stands still in the middle of an append. */
  async stopped(): Promise<void> {
    const { value } = Atomics.waitAsync(this.#stopWords, 0, 0)
    await value
  }

  letGo(): void {
    Atomics.store(this.#stopWords, 1, 1)
    Atomics.notify(this.#stopWords, 1)
  }

  async terminate(): Promise<void> {
    await this.#worker.terminate()
  }
}

const threads: Thread[] = []

afterEach(async () => {
  for (const thread of threads.splice(0)) await thread.terminate()
})

async function threadOf(store: LogStructuredStore, stop?: Stop): Promise<Thread> {
  const thread = new Thread(store.share(), stop)
  await thread.attached
  return thread
}

/** Long enough for what should not happen to happen. */
const AWHILE_MS = 150

async function isPending(promise: Promise<unknown>): Promise<boolean> {
  return await Promise.race([promise.then(() => false), sleep(AWHILE_MS, true)])
}

describe.each(MODES)('appending from several threads, %s', (mode) => {
  test('E15.5 four threads of 500 entries lose none: read by location, in the order of each, durable after a sync', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode })
    store.share({ bufferBytes: 4096 })
    const names = ['a', 'b', 'c', 'd']
    const four = await Promise.all(names.map(() => threadOf(store)))
    const own = named('own', 100)
    const [ownLocations, ...locations] = await Promise.all([
      Promise.all(own.map((text) => store.append(bytesOf(text)))),
      ...four.map((thread, i) => thread.call<Location[]>('append', named(names[i], 500))),
    ])
    for (const [i, name] of ['own', ...names].entries()) {
      const its = i === 0 ? ownLocations : locations[i - 1]
      expect(its).toEqual([...its].sort((x, y) => x - y))
      for (const [j, text] of named(name, its.length).entries())
        expect(textOf(await store.read(its[j]))).toBe(text)
    }
    expect((await textsOf(store)).length).toBe(2100)
    for (const thread of four) await thread.call('sync')
    for (const [i, thread] of four.entries()) {
      expect(new Set(await thread.call<boolean[]>('areDurable', locations[i]))).toEqual(new Set([true]))
      expect(locations[i].every((location) => store.isDurable(location))).toBe(true)
      expect(await thread.call('areDurable', [0, store.end, locations[i][0] + 1000 * 2 ** 28])).toEqual([
        false,
        false,
        false,
      ])
    }
    expect((await textsOf(await openStore(io.powerLoss(), { mode }))).length).toBe(2100)
    await store.close()
  })

  test('E22.2 is not durable for another thread before the sync that covers it', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode })
    const thread = await threadOf(store)
    const locations = await thread.call<Location[]>('appendEach', named('a', 3))
    expect(await thread.call('areDurable', locations)).toEqual(locations.map((at) => store.isDurable(at)))
    if (mode === 'tail-localised')
      expect(await thread.call('areDurable', locations)).toEqual([false, false, false])
    io.hold('sync')
    const synced = thread.call('sync')
    if (mode === 'tail-localised') {
      expect(await isPending(synced)).toBe(true)
      expect(await thread.call('areDurable', locations)).toEqual([false, false, false])
    }
    io.release('sync')
    await synced
    expect(await thread.call('areDurable', locations)).toEqual([true, true, true])
    await store.close()
  })
})

describe('a hole left by a preempted or terminated worker below an acknowledged write', () => {
  test.each(['reserved', 'copied'] as const)(
    'E9.6 a thread that stands still when it has %s delays who comes behind it, and nobody is told wrongly',
    async (step) => {
      const io = new MemoryIo()
      const store = await openStore(io)
      const slow = await threadOf(store, { step, after: 2 })
      const other = await threadOf(store)
      const first = slow.call<Location[]>('append', named('slow', 4))
      await slow.stopped()
      const behind = other.call<Location[]>('append', named('other', 5))
      expect(await isPending(behind)).toBe(true)
      // What was complete in front of it may be there already.
      const before = await textsOf(store)
      expect(named('slow', 2).slice(0, before.length)).toEqual(before)
      // The owner's own appends do not go through the ring.
      const own = await store.append(bytesOf('own'))
      slow.letGo()
      const locations = await first
      expect(locations[2]).toBeGreaterThan(own)
      expect((await behind).length).toBe(5)
      for (const [i, text] of named('slow', 4).entries())
        expect(textOf(await store.read(locations[i]))).toBe(text)
      expect((await textsOf(store)).sort()).toEqual([...named('slow', 4), ...named('other', 5), 'own'].sort())
      await store.close()
    },
  )

  test.each([
    ['reserved', false],
    ['copied', false],
    ['left', false],
    ['reserved', true],
    ['copied', true],
  ] as const)(
    'E9.7 of a thread that ends when it has %s (by process.exit: %s) what was complete stays, the hole is skipped, the rest goes on',
    async (step, exits) => {
      const io = new MemoryIo()
      const store = await openStore(io)
      store.share({ appenders: 2 })
      const dying = await threadOf(store, { step, after: 2, exits })
      const other = await threadOf(store)
      void dying.call('append', named('dying', 4))
      if (exits) await dying.ended
      else await dying.stopped()
      const behind = other.call<Location[]>('append', named('other', 5))
      // One that has left is in nobody's way.
      if (step !== 'left') expect(await isPending(behind)).toBe(true)
      await dying.terminate()
      store.release(dying.threadId)
      const locations = await behind
      for (const [i, text] of named('other', 5).entries())
        expect(textOf(await store.read(locations[i]))).toBe(text)
      const complete = named('dying', step === 'left' ? 3 : 2)
      expect((await textsOf(store)).sort()).toEqual([...complete, ...named('other', 5)].sort())
      await other.call('sync')
      expect(await other.call('areDurable', locations)).toEqual([true, true, true, true, true])
      expect((await textsOf(await openStore(io.powerLoss()))).length).toBe(complete.length + 5)
      // Its place is free again, for one of whom nothing is left over.
      const heir = await threadOf(store)
      const [inherited] = await heir.call<Location[]>('append', ['heir'])
      expect(textOf(await store.read(inherited))).toBe('heir')
      await store.close()
    },
  )

  test('E9.8 several threads end, one after the other, while another stands still', async () => {
    const store = await openStore(new MemoryIo())
    const [one, two, slow] = await Promise.all([
      threadOf(store, { step: 'reserved', after: 1 }),
      threadOf(store, { step: 'copied' }),
      threadOf(store, { step: 'copied', after: 1 }),
    ])
    void one.call('append', named('one', 3))
    await one.stopped()
    void two.call('append', named('two', 3))
    await two.stopped()
    const slowOnes = slow.call<Location[]>('append', named('slow', 3))
    await slow.stopped()
    await one.terminate()
    store.release(one.threadId)
    await two.terminate()
    expect(await isPending(slowOnes)).toBe(true)
    store.release(two.threadId)
    expect(await isPending(slowOnes)).toBe(true)
    const complete = [...named('one', 1), ...named('slow', 1)]
    for (const text of await textsOf(store)) expect(complete).toContain(text)
    slow.letGo()
    expect((await slowOnes).length).toBe(3)
    expect((await textsOf(store)).sort()).toEqual([...named('one', 1), ...named('slow', 3)].sort())
    await store.close()
  })

  test('E10.3 when all buffers are full, appends wait in order until one is free, and none is lost', async () => {
    const store = await openStore(new MemoryIo())
    store.share({ buffers: 2, bufferBytes: 4096 })
    const slow = await threadOf(store, { step: 'copied' })
    const other = await threadOf(store)
    const first = slow.call<Location[]>('append', named('slow', 1))
    await slow.stopped()
    const behind = other.call<Location[]>('append', named('other', 700))
    expect(await isPending(behind)).toBe(true)
    slow.letGo()
    await first
    const locations = await behind
    expect(locations).toEqual([...locations].sort((x, y) => x - y))
    expect(await textsOf(store)).toEqual([...named('slow', 1), ...named('other', 700)])
    await store.close()
  })
})

test('E10.4 one that has nothing in the ring is woken when a buffer is free, and its sync waits for that', async () => {
  const io = new MemoryIo()
  const store = await openStore(io)
  const shared = store.share({ buffers: 2, bufferBytes: 4096 })
  const [greedy, modest] = [attachAppender(shared), attachAppender(shared)]
  await greedy.append(bytesOf('the store has begun'))
  io.hold('write')
  const large = new Uint8Array(4096).fill(1)
  const all = Array.from({ length: 5 }, () => greedy.append(large))
  let location: Location | undefined
  const waits = modest.append(large.fill(2)).then((told) => (location = told))
  const synced = modest.sync()
  expect(await isPending(waits)).toBe(true)
  io.release('write')
  // A sync also waits for what is not in the ring yet.
  await synced
  expect(location).toBeDefined()
  expect(modest.isDurable(await waits)).toBe(true)
  expect((await store.read(await waits))[0]).toBe(2)
  for (const location of await Promise.all(all)) expect((await store.read(location))[0]).toBe(1)
  await store.close()
})

test('E9.9 a place is given to nobody else as long as something of its last holder is under way', async () => {
  const io = new MemoryIo()
  const store = await openStore(io)
  const shared = store.share({ appenders: 1 })
  const gone = attachAppender(shared)
  await gone.append(bytesOf('the store has begun'))
  io.hold('write')
  void gone.append(bytesOf('left behind'))
  // As if its thread had ended: what it had appended is told to nobody.
  store.release(threadId)
  const full: unknown = expect.objectContaining({ code: 'HOLT_OUT_OF_MEMORY' })
  for (let i = 0; i < 10; i++) {
    await sleep(AWHILE_MS / 10)
    expect(() => attachAppender(shared)).toThrow(full)
  }
  io.release('write')
  await expect.poll(() => store.stats().records).toBeGreaterThan(1)
  await sleep(AWHILE_MS)
  const heir = attachAppender(shared)
  expect(textOf(await store.read(await heir.append(bytesOf('heir'))))).toBe('heir')
  expect(await textsOf(store)).toEqual(['the store has begun', 'left behind', 'heir'])
  await store.close()
})

describe('the end of a store with appenders', () => {
  test('E14.3 a close takes what was appended before it, refuses what comes later, and loses nothing that was told', async () => {
    const io = new MemoryIo()
    const store = await openStore(io)
    store.share({ buffers: 2, bufferBytes: 4096 })
    const two = [await threadOf(store), await threadOf(store)]
    const appending = two.map((thread, i) =>
      thread.call<(Location & Told)[]>('append', named(String(i), 3000)),
    )
    while (store.stats().records < 300) await sleep(1)
    await store.close()
    const told = await Promise.all(appending)
    const again = await openStore(io)
    const texts = new Set(await textsOf(again))
    let kept = 0
    for (const [i, outcomes] of told.entries()) {
      const refusedFrom = outcomes.findIndex((outcome) => typeof outcome !== 'number')
      for (const [j, outcome] of outcomes.entries()) {
        if (j < refusedFrom || refusedFrom < 0) {
          expect(textOf(await again.read(outcome))).toBe(named(String(i), 3000)[j])
          kept++
        } else expect(outcome.error?.code).toBe('HOLT_CLOSED')
      }
    }
    expect(texts.size).toBe(kept)
    for (const thread of two) {
      await expect(thread.call('sync')).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
      await thread.call('detach')
    }
    expect(() => attachAppender(store.share())).toThrow(expect.objectContaining({ code: 'HOLT_CLOSED' }))
    await again.close()
  })

  test('E14.4 a thread that has ended in the middle, of which nobody told, delays a close by a second', async () => {
    const io = new MemoryIo()
    const store = await openStore(io)
    const dying = await threadOf(store, { step: 'copied', after: 1 })
    void dying.call('append', named('dying', 3))
    await dying.stopped()
    await dying.terminate()
    const closing = store.close()
    await io.advance(900)
    expect(await isPending(closing)).toBe(true)
    await io.advance(100)
    await closing
    expect(await textsOf(await openStore(io))).toEqual(named('dying', 1))
  })

  test('E14.5 one that stood still until the store was closed is refused when it goes on', async () => {
    const io = new MemoryIo()
    const store = await openStore(io)
    const slow = await threadOf(store, { step: 'copied', after: 1 })
    const appending = slow.call<(Location & Told)[]>('append', named('slow', 3))
    await slow.stopped()
    const closing = store.close()
    await io.advance(1000)
    await closing
    slow.letGo()
    const [first, second, third] = await appending
    expect([second.error?.code, third.error?.code]).toEqual(['HOLT_CLOSED', 'HOLT_CLOSED'])
    const again = await openStore(io)
    expect(textOf(await again.read(first))).toBe('slow 0 '.padEnd(20, '.'))
    expect(await textsOf(again)).toEqual(named('slow', 1))
  })
})

describe('what an appender is told', () => {
  test('E21.4 a failed write reaches it with the code that the owner gets, and so does all later', async () => {
    const io = new MemoryIo()
    const store = await openStore(io)
    const appender = attachAppender(store.share())
    await appender.append(bytesOf('a'))
    io.failOn('write', 'journal-0', 'HOLT_IO')
    await expect(appender.append(bytesOf('b'))).rejects.toMatchObject({ code: 'HOLT_POISONED' })
    await expect(appender.append(bytesOf('c'))).rejects.toMatchObject({ code: 'HOLT_POISONED' })
    await expect(appender.sync()).rejects.toMatchObject({ code: 'HOLT_POISONED' })
    await appender.detach()
    await expect(store.close()).rejects.toMatchObject({ code: 'HOLT_POISONED' })
  })

  test('E21.5 a full disk refuses it, and it can go on once there is room', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { segmentBytes: 16_384 })
    const appender = attachAppender(store.share())
    await appender.append(bytesOf('one'))
    io.failOn('allocate', '', 'HOLT_NO_SPACE', 1, 3)
    const outcomes = new Set<string>()
    let kept = 1
    for (let i = 0; i < 60; i++) {
      const outcome = await appender.append(new Uint8Array(800)).then(
        () => 'kept',
        (error: unknown) => (error as { code: string }).code,
      )
      outcomes.add(outcome)
      if (outcome === 'kept') kept++
    }
    expect(outcomes).toEqual(new Set(['kept', 'HOLT_NO_SPACE']))
    expect((await textsOf(store)).length).toBe(kept)
    await store.close()
  })

  test('E14.6 bad input is refused and changes nothing; the bytes may be used again at once', async () => {
    const store = await openStore(new MemoryIo())
    for (const wrong of [{ buffers: 3 }, { buffers: 128 }, { bufferBytes: 5000 }, { appenders: 0 }])
      expect(() => store.share(wrong)).toThrow(expect.objectContaining({ code: 'HOLT_INVALID_ARGUMENT' }))
    const shared = store.share({ bufferBytes: 4096, appenders: 2 })
    expect(store.share().memory).toBe(shared.memory)
    for (const wrong of [undefined, {}, { kind: 'holt-shared-log', memory: new SharedArrayBuffer(8) }])
      expect(() => attachAppender(wrong as SharedLog)).toThrow(
        expect.objectContaining({ code: 'HOLT_INVALID_ARGUMENT' }),
      )
    const appender = attachAppender(shared)
    expect(appender.maxRecordBytes).toBe(4096)
    for (const wrong of [new Uint8Array(4097), undefined as unknown as Uint8Array])
      await expect(appender.append(wrong)).rejects.toMatchObject({ code: 'HOLT_INVALID_ARGUMENT' })
    const bytes = new Uint8Array(4096)
    const appended = Array.from({ length: 300 }, (_, i) => appender.append(bytes.fill(i)))
    for (const [i, location] of (await Promise.all(appended)).entries())
      expect((await store.read(location)).every((byte) => byte === (i & 255))).toBe(true)
    expect((await store.read(await appender.append(new Uint8Array(0)))).length).toBe(0)
    attachAppender(shared)
    expect(() => attachAppender(shared)).toThrow(expect.objectContaining({ code: 'HOLT_OUT_OF_MEMORY' }))
    const syncing = appender.sync()
    const last = appender.append(bytes)
    await appender.detach()
    await Promise.all([syncing, last])
    await expect(appender.append(bytes)).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
    await expect(appender.sync()).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
    const next = attachAppender(shared)
    expect((await store.read(await next.append(bytesOf('next')))).length).toBe(4)
    await store.close()
  })

  test('an idle share keeps no process alive, an append that is under way does', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'holt-appenders-'))
    const program = fileURLToPath(new URL('./fixtures/idle-share.mjs', import.meta.url))
    try {
      const { stdout } = await promisify(execFile)(process.execPath, [program, directory], {
        timeout: 30_000,
      })
      expect(stdout).toBe('told\n')
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})
