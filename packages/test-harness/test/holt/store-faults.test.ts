import { FileBlobStore } from '@holt/blob-store'
import { HoltError } from '@holt/errors'
import { type Db, open } from 'holt'
import { afterEach, describe, expect, test, vi } from 'vitest'

import { SimDisk } from '../../src/index.js'
import type { SimIo } from '../../src/index.js'
import { Expectation, live, read } from './fault-life.js'

const PATH = '/home/db'
/** Every so manieth call of a method fails; all of them with `HOLT_FAULT_STRIDE=1`. */
const STRIDE = Number(process.env['HOLT_FAULT_STRIDE'] ?? 5)

/** Which call of a method of the store fails, how often from there on, and whether it had done its work by then. */
interface StoreFault {
  readonly method: string
  readonly nth: number
  readonly times: number
  readonly isLate: boolean
}

/**
 * Methods that may fail, by when. A `writeMany` that failed has staged nothing, so it cannot fail late; a `flush` can, as
 * one whose fate a crash decides.
 */
const METHODS: Readonly<Record<string, readonly ('early' | 'late')[]>> = {
  read: ['early', 'late'],
  readSync: ['early', 'late'],
  readRangeSync: ['early', 'late'],
  writeMany: ['early'],
  delete: ['early', 'late'],
  flush: ['early', 'late'],
  vacuum: ['early', 'late'],
  backup: ['early', 'late'],
  settle: ['early', 'late'],
  close: ['early', 'late'],
  note: ['early'],
  list: ['early'],
}
const BLOCKING = new Set(['readSync', 'readRangeSync', 'note', 'list'])
const WHAT = 'as the test wants it'

/** The store with one method that fails, and how often each was called. */
function spoiled(
  store: FileBlobStore,
  fault: StoreFault | undefined,
  calls: Map<string, number>,
): FileBlobStore {
  const failure = (): HoltError =>
    new HoltError('HOLT_IO', `${fault?.method ?? ''} failed ${WHAT}`, { errno: 'EIO' })
  return new Proxy(store, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name, target)
      if (typeof member !== 'function') return member
      const method = String(name)
      return (...args: unknown[]): unknown => {
        const number = (calls.get(method) ?? 0) + 1
        calls.set(method, number)
        const call = (): unknown => Reflect.apply(member, target, args)
        if (fault?.method !== method || number < fault.nth || number >= fault.nth + fault.times) return call()
        if (BLOCKING.has(method)) {
          if (fault.isLate) call()
          throw failure()
        }
        const done = fault.isLate ? Promise.resolve(call()) : Promise.resolve()
        return done.then(() => Promise.reject(failure()))
      }
    },
  })
}

function openDb(io: SimIo): Promise<Db> {
  return open(PATH, {
    io,
    durability: 'disk',
    cacheBytes: 16 * 524_288,
    usableFrameBytes: 16_384,
    segmentBytes: 65_536,
    checkpoint: { thread: false },
  })
}

afterEach(() => {
  vi.restoreAllMocks()
})

async function quietly(call: Promise<unknown>, failures: string[]): Promise<void> {
  await call.catch((error: unknown) => {
    expect(error).toBeInstanceOf(HoltError)
    failures.push((error as HoltError).message)
  })
}

/** So many keys that lookups cross into frames that are not in memory. */
async function fill(db: Db, expectation: Expectation): Promise<void> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  for (let i = 0; i < 250; i++) {
    const key = `many/${String(i)}`
    await expectation.note([key], 'm'.repeat(200), tree.put(key, 'm'.repeat(200)))
  }
  await db.close()
}

/** A first life, a second over a store that fails, and a look at what each of a kill and a power loss leaves. */
async function course(
  fault: StoreFault | undefined,
): Promise<{ calls: Map<string, number>; failures: string[] }> {
  const what = JSON.stringify(fault)
  const disk = new SimDisk({ seed: 5 })
  const expectation = new Expectation()
  await fill(await openDb(disk.start({ autoAdvance: true })), expectation)
  await live(await openDb(disk.start({ autoAdvance: true })), expectation, 'first')
  disk.kill()
  expect(expectation.failures).toEqual([])

  const calls = new Map<string, number>()
  const failures: string[] = []
  const openStore = FileBlobStore.open.bind(FileBlobStore)
  const spy = vi
    .spyOn(FileBlobStore, 'open')
    .mockImplementation(async (options) => spoiled(await openStore(options), fault, calls))
  try {
    const db = await openDb(disk.start({ autoAdvance: true }))
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await quietly(tree.getAsync('many/7'), failures)
    await quietly(
      Promise.resolve().then(() => tree.get('many/77')),
      failures,
    )
    await quietly(tree.getAsync('large'), failures)
    await quietly(
      Promise.resolve().then(() => tree.scan().toArray()),
      failures,
    )
    await quietly(db.verify(), failures)
    await quietly(db.backup('/home/copy'), failures)
    const long = Array.from({ length: 11 }, (_, i) => `long/${String(i)}`)
    await expectation.note(long, undefined, tree.deletePrefix('long/'))
    await quietly(db.checkpoint(), failures)
    await quietly(db.vacuum(), failures)
    await live(db, expectation, 'second')
  } catch (error) {
    // The opening itself failed, or `tree()`.
    expect(error, what).toBeInstanceOf(HoltError)
    failures.push((error as HoltError).message)
  }
  spy.mockRestore()

  for (const [i, image] of [disk.killImage(1), disk.crashImage(2), disk.crashImage(3)].entries()) {
    const db = await openDb(image.start({ autoAdvance: true }))
    const found = await read(db)
    expectation.check(found, `${what}, image ${String(i)}`)
    expect((await db.verify()).problems, what).toEqual([])
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await tree.put('goes on', 'yes')
    await db.close()
    image.kill()
  }
  return { calls, failures: [...failures, ...expectation.failures] }
}

test('without a fault a life calls what the others have fail', async () => {
  const { calls, failures } = await course(undefined)
  expect(failures).toEqual([])
  const never = Object.keys(METHODS).filter((method) => !calls.has(method))
  expect(never).toEqual([])
})

describe.each(Object.keys(METHODS))('a store whose %s fails', (method) => {
  test.each(METHODS[method].flatMap((when) => [1, Infinity].map((times) => [when, times] as const)))(
    'loses nothing that was acknowledged (%s, %d times)',
    async (when, times) => {
      const { calls } = await course(undefined)
      const most = calls.get(method) ?? 0
      let noticed = 0
      for (let nth = 1; nth <= most; nth += STRIDE) {
        const { failures } = await course({ method, nth, times, isLate: when === 'late' })
        for (const failure of failures) expect(failure).toMatch(new RegExp(`${WHAT}|poisoned|closed`, 'u'))
        if (failures.length > 0) noticed++
      }
      if (times === Infinity && most > 0) expect(noticed).toBeGreaterThan(0)
    },
    300_000,
  )
})
