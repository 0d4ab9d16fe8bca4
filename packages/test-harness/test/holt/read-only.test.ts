import { FRAME_BYTES } from '@holt/blob-buf-pool'
import { isHoltError } from '@holt/errors'
import { type Db, open, type OpenOptions } from 'holt'
import { describe, expect, test } from 'vitest'

import { SimDisk } from '../../src/index.js'
import type { SimIo } from '../../src/index.js'
import { gatedIo } from './gated-io.js'

const PATH = '/home/db'
const SMALL: OpenOptions = {
  usableFrameBytes: 16_384,
  segmentBytes: 65_536,
  cacheBytes: 16 * 2 ** 19,
  checkpoint: { thread: false },
}

function openWriter(io: SimIo, durability: 'os' | 'disk' = 'os'): Promise<Db> {
  return open(PATH, { ...SMALL, io, durability })
}

function openReader(io: SimIo): Promise<Db> {
  return open(PATH, { ...SMALL, io, readOnly: true })
}

type State = ReadonlyMap<string, string>

async function shown(db: Db): Promise<State> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  return new Map([...tree.scan()].map(({ key, value, version }) => [key, `${value}@${String(version)}`]))
}

async function valuesShown(db: Db): Promise<State> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  return new Map([...tree.scan()].map(({ key, value }) => [key, value]))
}

const value = (i: number): string => `value ${String(i)} `.padEnd(120, '.')

/** A store of two images and a journal behind them, in a process that still runs. */
async function livingStore(
  seed: number,
  durability: 'os' | 'disk' = 'os',
): Promise<{ disk: SimDisk; db: Db }> {
  const disk = new SimDisk({ seed })
  const db = await openWriter(disk.start(), durability)
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  for (let i = 0; i < 600; i++) await tree.put(`dir-${String(i % 9)}/key-${String(i)}`, value(i))
  await db.checkpoint()
  for (let i = 0; i < 300; i += 3) await tree.delete(`dir-${String(i % 9)}/key-${String(i)}`)
  await db.checkpoint()
  for (let i = 0; i < 80; i++) await tree.put(`late/key-${String(i)}`, value(i))
  await tree.put('large', 'large '.repeat(3_000))
  await tree.renamePrefix('dir-4/', 'moved/')
  await db.sync()
  // Its record tells that those before it are stable.
  await tree.put('last', 'x')
  await db.sync()
  // What goes on behind the writes, such as the next segment, has its turn.
  for (let turn = 0; turn < 60; turn++) await new Promise((resume) => setImmediate(resume))
  return { disk, db }
}

const READING = new Set(['open', 'close', 'stat', 'read', 'list'])

/** Everything that reads, on a database that may only read; the digest of the disk must be the same after it. */
async function readEverything(disk: SimDisk, expected: State, what: string): Promise<void> {
  const before = disk.digest()
  const calls: string[] = []
  const io = disk.start({
    autoAdvance: true,
    onCall: ({ operation, path }) => {
      if (!READING.has(operation)) calls.push(`${operation} ${path}`)
    },
  })
  for (let round = 0; round < 2; round++) {
    const db = await openReader(io)
    expect(db.readOnly).toBe(true)
    expect(await shown(db), what).toEqual(expected)
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    for (const key of [...expected.keys()].slice(0, 50)) {
      expect(tree.has(key)).toBe(true)
      expect(await tree.getAsync(key)).toBe(tree.get(key))
    }
    expect(tree.list({ delimiter: '/' }).entries.length).toBeGreaterThan(2)
    expect(tree.count({ prefix: 'moved/' }).keys).toBe(
      [...expected.keys()].filter((key) => key.startsWith('moved/')).length,
    )
    expect((await db.verify()).problems, what).toEqual([])
    expect(db.treeStatistics().frames).toBeGreaterThan(3)
    expect(db.stats().journal).toBeUndefined()
    const view = tree.view()
    expect(
      new Map([...view.scan()].map(({ key, value, version }) => [key, `${value}@${String(version)}`])),
    ).toEqual(expected)
    view.close()
    await db.close()
  }
  await io.dispose()
  expect(calls, what).toEqual([])
  expect(disk.digest(), what).toBe(before)
}

describe('a read-only opening changes no byte and makes no call that could', () => {
  test.each(['os', 'disk'] as const)(
    "of a store that lives, was killed, lost power or was closed: '%s'",
    async (durability) => {
      const { disk, db } = await livingStore(3, durability)
      const expected = await shown(db)
      expect(expected.size).toBeGreaterThan(500)
      await readEverything(disk, expected, 'the writer lives')
      await readEverything(disk.killImage(1), expected, 'killed')
      for (let i = 0; i < 10; i++)
        await readEverything(disk.crashImage(i), expected, `power loss ${String(i)}`)
      await db.close()
      await readEverything(disk, expected, 'closed')
      const again = await openWriter(disk.start(), durability)
      expect(await shown(again)).toEqual(expected)
      await again.close()
    },
  )

  test('of a store with a torn tail, which is the same at every opening', async () => {
    const { disk, db } = await livingStore(4)
    const synced = await shown(db)
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    for (let i = 0; i < 60; i++) await tree.put(`unsynced/${String(i)}`, value(i))
    const all = await shown(db)
    let torn = 0
    for (let i = 0; i < 25; i++) {
      const image = disk.crashImage(i)
      const reader = await openReader(image.start())
      const found = await shown(reader)
      if (reader.stats().recovery?.tail === 'torn' && found.size < all.size) torn++
      for (const [key, text] of synced) expect(found.get(key)).toBe(text)
      for (const [key, text] of found) expect(all.get(key)).toBe(text)
      await reader.close()
      await readEverything(image, found, `power loss ${String(i)}`)
      // Recovery for writing finds the same.
      const writer = await openWriter(image.start())
      expect(await shown(writer)).toEqual(found)
      await writer.close()
    }
    expect(torn).toBeGreaterThan(5)
    await db.close()
  })

  test('of a store whose journal changes more frames than the cache has', async () => {
    const disk = new SimDisk({ seed: 5 })
    const db = await open(PATH, {
      ...SMALL,
      io: disk.start(),
      segmentBytes: 2 ** 20,
      cacheBytes: 256 * 2 ** 19,
    })
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await tree.put('moved/first', 'x')
    await db.checkpoint()
    for (let i = 0; i < 2_500; i++) await tree.put(`dir-${String(i % 9)}/key-${String(i)}`, value(i))
    await db.sync()
    const expected = await shown(db)
    await readEverything(disk, expected, 'alive')
    const reader = await openReader(disk.start())
    expect(await shown(reader)).toEqual(expected)
    const { overshootFrames, dirtyFrames, capacityFrames } = reader.stats().cache
    expect(capacityFrames).toBe(16)
    expect(overshootFrames).toBeGreaterThan(0)
    expect(dirtyFrames).toBeGreaterThan(16)
    await reader.close()
    await db.close()
  })
})

describe('a database that was opened for reading', () => {
  test('refuses every call that writes or would, and goes on reading', async () => {
    const { disk, db } = await livingStore(6)
    const expected = await shown(db)
    const before = disk.digest()
    const reader = await openReader(disk.start())
    const tree = await reader.tree('t', { valueEncoding: 'utf8' })
    const writes: Readonly<Record<string, () => Promise<unknown>>> = {
      put: () => tree.put('late/key-1', 'x'),
      'put of a large value': () => tree.put('late/key-1', 'x'.repeat(100_000)),
      delete: () => tree.delete('late/key-1'),
      'delete of nothing': () => tree.delete('nothing'),
      putIfAbsent: () => tree.putIfAbsent('new', 'x'),
      compareAndPut: () =>
        tree.compareAndPut('late/key-1', 'x', tree.getRecord('late/key-1')?.version as never),
      rename: () => tree.rename('late/key-1', 'other'),
      deletePrefix: () => tree.deletePrefix('late/'),
      renamePrefix: () => tree.renamePrefix('late/', 'later/'),
      bulkLoad: () => tree.bulkLoad([['a', 'b']] as never),
      atomic: () =>
        reader.atomic((tx) => {
          tx.in(tree).put('a', 'b')
        }),
      'a new tree': () => reader.tree('another'),
      dropTree: () => reader.dropTree('t'),
      sync: () => reader.sync(),
      checkpoint: () => reader.checkpoint(),
      compact: () => reader.compact(),
      vacuum: () => reader.vacuum(),
    }
    for (const [name, write] of Object.entries(writes)) {
      const error: unknown = await write().catch((caught: unknown) => caught)
      expect([name, isHoltError(error) ? error.code : error]).toEqual([name, 'HOLT_READ_ONLY'])
    }
    expect(await shown(reader)).toEqual(expected)
    await reader.close()
    await expect(tree.put('a', 'b')).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
    expect(disk.digest()).toBe(before)
    await db.close()
  })

  test('is refused where nothing is, and nothing is made', async () => {
    const disk = new SimDisk({ seed: 1 })
    const io = disk.start()
    const digest = disk.digest()
    await expect(openReader(io)).rejects.toMatchObject({ code: 'HOLT_NOT_FOUND' })
    expect(disk.digest()).toBe(digest)
    expect(disk.list('/home')).toEqual([])
    await io.mkdir(PATH)
    await expect(openReader(io)).rejects.toMatchObject({ code: 'HOLT_NOT_FOUND' })
    const file = await io.open(`${PATH}/something`, { access: 'readwrite', create: true })
    await io.close(file)
    await expect(openReader(io)).rejects.toMatchObject({ code: 'HOLT_NOT_A_STORE' })
    expect(disk.list(PATH)).toEqual(['something'])
    for (const option of [{ createIfMissing: true }, { errorIfExists: true }, { readOnly: 1 as never }])
      await expect(open(PATH, { io, readOnly: true, ...option })).rejects.toMatchObject({
        code: 'HOLT_INVALID_ARGUMENT',
      })
  })

  test('keeps nobody out, and several may read at once', async () => {
    const { disk, db } = await livingStore(7)
    await db.close()
    const first = await openReader(disk.start())
    const second = await openReader(disk.start())
    const writer = await openWriter(disk.start())
    await expect(openWriter(disk.start())).rejects.toMatchObject({ code: 'HOLT_LOCKED' })
    const tree = await writer.tree('t', { valueEncoding: 'utf8' })
    await tree.put('written', 'x')
    const third = await openReader(disk.start())
    const at = async (db: Db): Promise<string | undefined> =>
      (await db.tree('t', { valueEncoding: 'utf8' })).get('written')
    expect([await at(first), await at(second), await at(third)]).toEqual([undefined, undefined, 'x'])
    for (const one of [first, second, third, writer]) await one.close()
  })
})

/** A writer that keeps every state it ever showed: `states[n]` is that of which the key `step` says n. */
class Writer {
  readonly disk = new SimDisk({ seed: 8 })
  readonly states: State[] = []
  readonly #db: Db
  #step = 0
  /** Loads of the tree `l`: each began when the newest step was `after`, and was durable before the next one. */
  readonly #loads: { readonly after: number; readonly text: string }[] = []

  private constructor(db: Db, disk: SimDisk) {
    this.#db = db
    this.disk = disk
  }

  static async start(seed: number, durability: 'os' | 'disk'): Promise<Writer> {
    const disk = new SimDisk({ seed })
    // Checkpoints only when they are asked for.
    const db = await open(PATH, { ...SMALL, io: disk.start(), durability, cacheBytes: 512 * 2 ** 19 })
    const writer = new Writer(db, disk)
    for (let i = 0; i < 40; i++) await writer.write(25)
    await writer.#db.checkpoint()
    for (let i = 0; i < 3; i++) await writer.write(12)
    return writer
  }

  get acknowledged(): number {
    return this.states.length - 1
  }

  async write(keys: number): Promise<void> {
    const tree = await this.#db.tree('t', { valueEncoding: 'utf8' })
    const step = this.#step++
    const next = new Map(this.states.at(-1))
    await this.#db.atomic((tx) => {
      const put = (key: string, text: string): void => {
        tx.in(tree).put(key, text)
        next.set(key, text)
      }
      put('step', String(step))
      for (let i = 0; i < keys; i++)
        put(`dir-${String((step * 7 + i) % 11)}/${String((step * 31 + i * 17) % 90)}`, value(step))
      const gone = `dir-${String(step % 11)}/${String((step * 13) % 90)}`
      tx.in(tree).delete(gone)
      next.delete(gone)
    })
    this.states.push(next)
  }

  /** Whatever lets places, segments and files be used again or go away. */
  async stir(kind: number): Promise<void> {
    await this.write(8)
    if (kind % 4 === 3) await this.#reload()
    await this.#db.checkpoint()
    for (let i = 0; i < 3; i++) {
      await this.write(10)
      await this.#db.checkpoint()
    }
    if (kind % 3 === 2) await this.#db.vacuum()
    // More than a segment takes.
    if (kind % 5 === 4) for (let i = 0; i < 12; i++) await this.write(60)
    await this.write(3)
  }

  /** Only records, each of which tells that those before it are stable. */
  async append(): Promise<void> {
    for (let i = 0; i < 3; i++) {
      await this.write(2)
      await this.#db.sync()
    }
  }

  /** Keys that no record of the journal tells of; what follows was written by somebody who saw them. */
  async #reload(): Promise<void> {
    const text = `load ${String(this.#loads.length)}`
    this.#loads.push({ after: this.#step - 1, text })
    if (this.#loads.length > 1) await this.#db.dropTree('l')
    const tree = await this.#db.tree('l', { valueEncoding: 'utf8' })
    await tree.bulkLoad(Array.from({ length: 20 }, (_, i) => [`k${String(i)}`, text] as const))
    await this.write(3)
  }

  /** What a reader may find in `l` when it shows this step. */
  loadsAt(step: number): Set<string> {
    const before = this.#loads.filter(({ after }) => after < step).at(-1)?.text ?? ''
    const now = this.#loads.find(({ after }) => after === step)?.text
    return new Set(now === undefined ? [before] : [before, '', now])
  }

  close(): Promise<void> {
    return this.#db.close()
  }
}

/** The one value of all keys of `l`. */
async function loadShown(db: Db): Promise<string> {
  let found: string[]
  try {
    found = [...(await db.tree('l', { valueEncoding: 'utf8' })).values()]
  } catch (error) {
    if (isHoltError(error, 'HOLT_READ_ONLY')) return ''
    throw error
  }
  expect([0, 20]).toContain(found.length)
  expect(new Set(found).size).toBeLessThan(2)
  return found.at(0) ?? ''
}

/** Which state of the writer's it is that a reader shows. */
async function stepOf(db: Db, writer: Writer, what: string): Promise<number> {
  const found = await valuesShown(db)
  const step = Number(found.get('step') ?? '-1')
  expect([what, found]).toEqual([what, writer.states[step]])
  expect([what, writer.loadsAt(step)]).toEqual([what, writer.loadsAt(step).add(await loadShown(db))])
  return step
}

async function scannedAsync(db: Db): Promise<State> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  const found = new Map<string, string>()
  for await (const { key, value } of tree.scanAsync()) found.set(key, value)
  return found
}

async function codeOf(work: () => Promise<unknown>): Promise<string> {
  try {
    await work()
    return 'fine'
  } catch (error) {
    return isHoltError(error) ? error.code : String(error)
  }
}

describe('read-only readers while a writer checkpoints, recycles and reuses slots', () => {
  test.each(['os', 'disk'] as const)(
    "a writer's work before each call of an opening: '%s'",
    async (durability) => {
      const writer = await Writer.start(21, durability)
      let opened = 0
      let moved = 0
      let calls = Infinity
      for (let at = 1; at <= calls; at++) {
        const stirredBefore = writer.acknowledged
        let seen = 0
        let isOpening = true
        const reader = await openReader(
          gatedIo(writer.disk.start({ autoAdvance: true }), async (call) => {
            if (!isOpening) return
            seen = call
            if (call === at) await writer.stir(at)
          }),
        )
        isOpening = false
        opened++
        const what = `work before call ${String(at)}`
        const step = await stepOf(reader, writer, what)
        expect(step, what).toBeGreaterThanOrEqual(stirredBefore)
        if (step === writer.acknowledged) moved++
        expect((await reader.verify()).problems, what).toEqual([])
        await reader.close()
        if (calls === Infinity) calls = seen + 4
      }
      expect(opened).toBeGreaterThan(20)
      expect(moved).toBeGreaterThan(5)
      await writer.close()
    },
    120_000,
  )

  test.each(['os', 'disk'] as const)(
    "records that are appended and made stable before each call of an opening: '%s'",
    async (durability) => {
      const writer = await Writer.start(25, durability)
      let looks = 0
      let calls = 60
      for (let at = 1; at <= calls; at++) {
        const from = writer.acknowledged
        let seen = 0
        const reader = await openReader(
          gatedIo(writer.disk.start({ autoAdvance: true }), async (call) => {
            seen = call
            if (call === at) await writer.append()
          }),
        )
        calls = Math.min(calls, seen + 2)
        looks += seen > calls ? 1 : 0
        const what = `records before call ${String(at)}`
        expect(await stepOf(reader, writer, what), what).toBeGreaterThanOrEqual(from)
        await reader.close()
      }
      // A reader that finds marks behind what it took for the end has looked again.
      expect(looks).toBeGreaterThan(0)
      await writer.close()
    },
    60_000,
  )

  test('a writer that never rests: HOLT_BUSY, or a state that was acknowledged', async () => {
    const writer = await Writer.start(22, 'os')
    const outcomes: string[] = []
    for (let round = 0; round < 9; round++) {
      const from = writer.acknowledged
      let isOpening = true
      const outcome = await codeOf(async () => {
        // The writer has its turn before every so manieth call, from always to now and then.
        const reader = await openReader(
          gatedIo(writer.disk.start({ autoAdvance: true }), async (call) => {
            if (isOpening && call % (round * 5 + 1) === 0) await writer.stir(call)
          }),
        )
        isOpening = false
        const step = await stepOf(reader, writer, `round ${String(round)}`)
        expect(step).toBeGreaterThanOrEqual(from)
        await reader.close()
      })
      outcomes.push(outcome)
    }
    expect(new Set(outcomes)).toEqual(new Set(['fine', 'HOLT_BUSY']))
    await writer.close()
  }, 120_000)

  test('a frame whose place was used again is HOLT_BUSY, whole or in part, read with or without waiting; never other data', async () => {
    const writer = await Writer.start(23, 'os')
    const outcomes = new Map<string, number>()
    for (let round = 0; round < 24; round++) {
      let isStirred = false
      const io = gatedIo(writer.disk.start({ autoAdvance: true }), async (call) => {
        if (isStirred && call % 3 === 0) await writer.stir(round)
      })
      const reader = await openReader(io)
      const at = Number((await reader.tree('t', { valueEncoding: 'utf8' })).get('step'))
      const state = writer.states[at]
      // Some of it is in memory before the writer goes on.
      const tree = await reader.tree('t', { valueEncoding: 'utf8' })
      const keys = [...state.keys()]
      for (const key of keys.slice(0, round * 4)) expect(tree.get(key)).toBe(state.get(key))
      await writer.stir(round)
      await writer.stir(round + 1)
      isStirred = round % 2 === 0
      const kinds: Readonly<Record<string, () => Promise<void>>> = {
        get: async () => {
          for (const key of keys) expect(tree.get(key)).toBe(state.get(key))
          return Promise.resolve()
        },
        getAsync: async () => {
          for (const key of keys) expect(await tree.getAsync(key)).toBe(state.get(key))
        },
        scan: async () => {
          expect(await valuesShown(reader)).toEqual(state)
        },
        scanAsync: async () => {
          expect(await scannedAsync(reader)).toEqual(state)
        },
        verify: async () => {
          expect((await reader.verify()).problems).toEqual([])
        },
      }
      for (const [kind, read] of Object.entries(kinds)) {
        const outcome = `${kind} ${await codeOf(read)}`
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      }
      await reader.close()
      isStirred = false
      // Opened again, it shows what is now.
      const again = await openReader(writer.disk.start({ autoAdvance: true }))
      expect(await stepOf(again, writer, 'opened again')).toBe(writer.acknowledged)
      await again.close()
    }
    for (const kind of ['get', 'getAsync', 'scan', 'scanAsync', 'verify'])
      expect([kind, outcomes.get(`${kind} HOLT_BUSY`) ?? 0]).not.toEqual([kind, 0])
    for (const outcome of outcomes.keys()) expect(outcome).toMatch(/ (fine|HOLT_BUSY)$/)
    await writer.close()
  }, 120_000)

  test('every moment of a writer, as a kill would leave it, opens and shows what was acknowledged by then', async () => {
    const images: { readonly disk: SimDisk; readonly acknowledged: number; readonly what: string }[] = []
    const writer = await Writer.start(24, 'os')
    const watch = writer.disk.start({ onCall: () => undefined })
    await watch.dispose()
    for (let kind = 0; kind < 6; kind++) {
      await writer.stir(kind)
      images.push({
        disk: writer.disk.killImage(kind),
        acknowledged: writer.acknowledged,
        what: `after ${String(kind)}`,
      })
      for (let i = 0; i < 3; i++) {
        const pending = writer.stir(kind + i)
        for (let turn = 0; turn < 5 + i * 7; turn++) await Promise.resolve()
        const acknowledged = writer.acknowledged
        images.push({
          disk: writer.disk.killImage(kind * 10 + i),
          acknowledged,
          what: `within ${String(kind)}`,
        })
        await pending
      }
    }
    for (const { disk, acknowledged, what } of images) {
      const reader = await openReader(disk.start({ autoAdvance: true }))
      expect(await stepOf(reader, writer, what), what).toBeGreaterThanOrEqual(acknowledged)
      await reader.close()
    }
    await writer.close()
  }, 60_000)
})

describe('damage', () => {
  /** The store's files as they are, with one bit turned in some page of a frame, record or manifest. */
  async function victim(): Promise<{ disk: SimDisk; db: Db; state: State }> {
    const { disk, db } = await livingStore(9)
    return { disk, db, state: await shown(db) }
  }

  async function readsAll(disk: SimDisk): Promise<string> {
    let db: Db | undefined
    const code = await codeOf(async () => {
      db = await openReader(disk.start({ autoAdvance: true }))
      await shown(db)
    })
    await db?.close()
    return code
  }

  /** What reading everything comes to when one bit is turned, in a store that a writer has open or that was killed. */
  async function withBit(disk: SimDisk, name: string, at: number, isHeld: boolean): Promise<string> {
    const image = isHeld ? disk : disk.killImage(at)
    const path = `${PATH}/${name}`
    const byte = image.contents(path)?.[at] ?? 0
    image.overwrite(path, at, Uint8Array.of(byte ^ (1 << (at % 8))))
    const code = await readsAll(image)
    if (isHeld) image.overwrite(path, at, Uint8Array.of(byte))
    return code
  }

  test('of a frame is HOLT_CORRUPT, also while a writer has the store open', async () => {
    const { disk, db } = await victim()
    const slots = (disk.contents(`${PATH}/blobs.dat`)?.length ?? 0) / FRAME_BYTES
    for (const isHeld of [true, false]) {
      let corrupt = 0
      for (let slot = 0; slot < slots; slot++) {
        for (const offset of [3, 700, 4_096 + 9, 9_000, 13_000]) {
          const code = await withBit(disk, 'blobs.dat', slot * FRAME_BYTES + offset, isHeld)
          expect(['fine', 'HOLT_CORRUPT']).toContain(code)
          if (code === 'HOLT_CORRUPT') corrupt++
        }
      }
      expect(corrupt).toBeGreaterThan(10)
    }
    await db.close()
  }, 60_000)

  test('of a frame in use names file, blob and page, in a partial read too', async () => {
    const { disk, db } = await victim()
    const keys = [...(await shown(db)).keys()]
    const messages = new Set<string>()
    for (let slot = 0; slot < 6; slot++) {
      const image = disk.killImage(slot)
      const at = slot * FRAME_BYTES + 9_000
      const byte = image.contents(`${PATH}/blobs.dat`)?.[at] ?? 0
      image.overwrite(`${PATH}/blobs.dat`, at, Uint8Array.of(byte ^ 1))
      for (const way of ['get', 'getAsync'] as const) {
        let reader: Db | undefined
        try {
          reader = await openReader(image.start({ autoAdvance: true }))
          const tree = await reader.tree('t', { valueEncoding: 'utf8' })
          for (const key of keys) await tree[way](key)
        } catch (error) {
          messages.add((error as Error).message)
        }
        await reader?.close()
      }
    }
    expect(messages.size).toBeGreaterThan(1)
    for (const message of messages) expect(message).toMatch(/blobs\.dat at \d+, blob \d+, page 2: checksum/)
    await db.close()
  }, 60_000)

  test('of the journal or the manifest is HOLT_CORRUPT; of a manifest that somebody writes HOLT_BUSY', async () => {
    const { disk, db } = await victim()
    const segments = disk.list(PATH).filter((name) => /^journal-0.*\.wal$/.test(name))
    const codes = new Map<string, Set<string>>()
    for (const name of ['manifest', ...segments]) {
      for (const isHeld of [true, false]) {
        const what = `${name === 'manifest' ? name : 'journal'}, ${isHeld ? 'held' : 'not held'}`
        const found = codes.get(what) ?? new Set()
        codes.set(what, found)
        const end = name === 'manifest' ? 12_000 : 65_536
        for (let at = 40; at < end; at += end / 19)
          found.add(await withBit(disk, name, Math.floor(at), isHeld))
      }
    }
    expect(Object.fromEntries([...codes].map(([name, found]) => [name, [...found].sort()]))).toEqual({
      'manifest, held': ['HOLT_BUSY', 'fine'],
      'manifest, not held': ['HOLT_CORRUPT', 'fine'],
      'journal, held': ['HOLT_CORRUPT', 'fine'],
      'journal, not held': ['HOLT_CORRUPT', 'fine'],
    })
    await db.close()
  }, 60_000)

  test('a missing manifest, data file or segment is HOLT_CORRUPT', async () => {
    const { disk } = await victim()
    let prepared = 0
    for (const name of disk
      .list(PATH)
      .filter((name) => /^(manifest|blobs\.dat|journal-0.*\.wal)$/.test(name))) {
      const image = disk.killImage(1)
      const io = image.start()
      await io.remove(`${PATH}/${name}`)
      const code = await readsAll(image)
      // A segment that was only prepared is not missed.
      if (name.startsWith('journal') && code === 'fine') prepared++
      else expect([name, code]).toEqual([name, 'HOLT_CORRUPT'])
    }
    expect(prepared).toBeLessThan(2)
  })
})
