/** Numbers are those of the table in the README: what log-structured stores of this kind do, and what has gone wrong in them. */
import type { IoFile } from '@holt/uring-native'
import { describe, expect, test } from 'vitest'
import {
  LogStructuredStore,
  lsnOffset,
  lsnSegment,
  type Location,
  type LogStructuredStoreOptions,
  type WriteMode,
} from '../src/index.js'
import { seeded } from './fixtures.js'
import { MemoryIo, settle } from './memory-io.js'

const MODES: readonly WriteMode[] = ['serialised', 'tail-localised']
const SEGMENT_BYTES = 16_384

function openStore(
  io: MemoryIo,
  options: Partial<LogStructuredStoreOptions> = {},
): Promise<LogStructuredStore> {
  return LogStructuredStore.open({ io, directory: '/lss', segmentBytes: SEGMENT_BYTES, ...options })
}

const bytesOf = (text: string): Uint8Array => Buffer.from(text, 'latin1')
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

async function textsOf(store: LogStructuredStore, from?: Location): Promise<string[]> {
  const texts: string[] = []
  for await (const { location, bytes } of store.scan(from)) {
    expect(await store.read(location)).toEqual(bytes)
    texts.push(textOf(bytes))
  }
  return texts
}

/** Writes wait until a test lets one of them, or all, be carried out. */
class GatedIo extends MemoryIo {
  isGated = false
  readonly gates: { readonly offsetBytes: number; readonly lengthBytes: number; readonly go: () => void }[] =
    []

  override async write(file: IoFile, offsetBytes: number, bytes: Uint8Array): Promise<void> {
    await this.#gate(file, offsetBytes, bytes)
    await super.write(file, offsetBytes, bytes)
  }

  override async writeDsync(file: IoFile, offsetBytes: number, bytes: Uint8Array): Promise<void> {
    await this.#gate(file, offsetBytes, bytes)
    await super.writeDsync(file, offsetBytes, bytes)
  }

  async #gate({ path }: IoFile, offsetBytes: number, { length: lengthBytes }: Uint8Array): Promise<void> {
    // The making of segments is not what is looked at.
    if (!this.isGated || !/\d\.wal$/.test(path)) return
    await new Promise<void>((go) => this.gates.push({ offsetBytes, lengthBytes, go }))
  }

  async letGo(at: number): Promise<void> {
    this.gates.splice(at, 1)[0].go()
    await settle()
  }
}

describe.each(MODES)('LogStructuredStore, %s', (mode) => {
  test('E14.1 gives a location for each record, by which it is read, over rolls and a new opening', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode })
    const locations = new Map<string, Location>()
    for (let i = 0; i < 40; i++) {
      const text = `record ${String(i)} `.padEnd(10 + i * 40, '.')
      locations.set(text, await store.append(bytesOf(text)))
      if (i === 5) {
        await store.roll()
        await store.roll()
      }
    }
    const inOrder = [...locations.values()]
    expect(inOrder).toEqual([...inOrder].sort((a, b) => a - b))
    expect(lsnSegment(inOrder[6])).toBe(lsnSegment(inOrder[5]) + 1)
    for (const [text, location] of locations) expect(textOf(await store.read(location))).toBe(text)
    expect(await textsOf(store)).toEqual([...locations.keys()])
    expect(await textsOf(store, inOrder[20])).toEqual([...locations.keys()].slice(20))
    await store.close()
    expect(io.inUse).toBe(0)

    const again = await openStore(io, { mode })
    expect(again.found).toEqual({ tail: 'clean', recordsBehindEnd: 0 })
    for (const [text, location] of locations) {
      expect(textOf(await again.read(location))).toBe(text)
      expect(again.isDurable(location)).toBe(true)
    }
    await again.close()
    expect(io.inUse).toBe(0)
  })

  test('E14.2 makes its directory, and an opening that only reads changes no file', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode })
    expect(await textsOf(store)).toEqual([])
    await store.close()
    expect(io.names()).toEqual([])
  })

  test('E15.1 keeps 1 000 records that are appended one after the other, all of them durable after a sync', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode })
    const locations: Location[] = []
    for (let i = 0; i < 1000; i++) locations.push(await store.append(bytesOf(`entry ${String(i)}`)))
    await store.sync()
    expect(locations.every((location) => store.isDurable(location))).toBe(true)
    for (const [i, location] of locations.entries())
      expect(textOf(await store.read(location))).toBe(`entry ${String(i)}`)
    const after = await openStore(io.powerLoss(), { mode })
    expect(await textsOf(after)).toHaveLength(1000)
    await store.close()
  })

  test('E15.2 four writers of 500 records each lose none, and records lie in the order of the calls', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode })
    const called: string[] = []
    const writer = async (name: string): Promise<void> => {
      for (let i = 0; i < 500; i++) {
        const text = `${name} ${String(i)}`
        called.push(text)
        expect(textOf(await store.read(await store.append(bytesOf(text))))).toBe(text)
      }
    }
    await Promise.all(['a', 'b', 'c', 'd'].map(writer))
    expect(await textsOf(store)).toEqual(called)
    await store.close()
  })

  test('E15.3 records of every size around a block, a buffer and the largest are whole', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode, segmentBytes: 4 * 2 ** 20 })
    const sizes = [0, 1, 7, 8, 511, 512, 4063, 4064, 4096, 5000, 2 ** 20 - 33, 2 ** 20, 2 ** 20 + 5]
    sizes.push(store.maxRecordBytes)
    const random = seeded(3)
    const made = sizes.map((size) => Uint8Array.from({ length: size }, () => Math.floor(random() * 256)))
    const locations = await Promise.all(made.map((bytes) => store.append(bytes)))
    for (const [i, location] of locations.entries())
      expect(Buffer.compare(await store.read(location), made[i])).toBe(0)
    for (const wrong of [store.maxRecordBytes + 1])
      await expect(store.append(new Uint8Array(wrong))).rejects.toMatchObject({
        code: 'HOLT_INVALID_ARGUMENT',
      })
    await store.close()
  })

  test('E15.4 serves a table of pages: an update is a new record, and the table names it', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode })
    const table = new Map<number, Location>()
    for (let i = 0; i < 200; i++)
      table.set(i % 7, await store.append(bytesOf(`page ${String(i % 7)}, state ${String(i)}`)))
    for (const [page, location] of table) {
      const state = page + 7 * Math.floor((199 - page) / 7)
      expect(textOf(await store.read(location))).toBe(`page ${String(page)}, state ${String(state)}`)
    }
    await store.close()
  })

  test('E9.1 reservations share no memory and take no place: written in any order, cancelled, each once', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode })
    const [first, second, third] = [5, 5, 5].map((length) => store.reserve(length))
    first.bytes.set(bytesOf('first'))
    second.bytes.set(bytesOf('gone!'))
    third.bytes.set(bytesOf('third'))
    await store.write(third)
    store.cancel(second)
    await store.write(first)
    expect(await textsOf(store)).toEqual(['third', 'first'])
    for (const used of [first, second, { bytes: new Uint8Array(1) }]) {
      await expect(store.write(used)).rejects.toMatchObject({ code: 'HOLT_INVALID_ARGUMENT' })
      expect(() => {
        store.cancel(used)
      }).toThrow(expect.objectContaining({ code: 'HOLT_INVALID_ARGUMENT' }))
    }
    for (const wrong of [-1, 0.5, store.maxRecordBytes + 1])
      expect(() => store.reserve(wrong)).toThrow(expect.objectContaining({ code: 'HOLT_INVALID_ARGUMENT' }))
    await store.close()
  })

  test('E3.1 takes the bytes at the call: the caller may use them again', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode })
    const bytes = bytesOf('0')
    const appended: Promise<Location>[] = []
    for (let i = 0; i < 10; i++) {
      bytes[0] = 48 + i
      appended.push(store.append(bytes))
    }
    bytes[0] = 120
    await Promise.all(appended)
    expect((await textsOf(store)).join('')).toBe('0123456789')
    await store.close()
  })

  test('E10.1 what finds no room waits for it, in order, and nobody has to try again', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode, segmentBytes: 2 ** 20 })
    const appended = Array.from({ length: 30 }, (_, i) => store.append(new Uint8Array(900_000).fill(i)))
    const locations = await Promise.all(appended)
    for (const [i, location] of locations.entries()) expect((await store.read(location))[899_999]).toBe(i)
    await store.close()
  })

  test('E23.1 nothing is durable before it was written, and a place is compared with a place', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode })
    expect(store.isDurable(0 as Location)).toBe(false)
    const location = await store.append(bytesOf('a'))
    await store.sync()
    expect(store.isDurable(location)).toBe(true)
    expect(store.isDurable((location + 2 ** 28) as Location)).toBe(false)
    expect(store.isDurable(store.end)).toBe(false)
    await store.close()
  })

  test('E24.1 what is not written yet can be read', async () => {
    const io = new GatedIo()
    const store = await openStore(io, { mode })
    const first = await store.append(bytesOf('first'))
    io.isGated = true
    void store.append(bytesOf('second'))
    const reading = store.read((first + 40) as Location)
    await settle()
    io.isGated = false
    while (io.gates.length > 0) await io.letGo(0)
    expect(textOf(await reading)).toBe('second')
    await store.close()
  })

  test('E24.2 a location that no append gave is refused, whatever bytes lie there', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode })
    const inner = await store.append(bytesOf('inner'))
    const image = io.bytesOf('/lss/journal-000000000001.wal')
    // A record that holds a copy of another one, frame and all.
    const at = lsnOffset(inner)
    const outer = await store.append(image.slice(at, at + 40))
    for (const wrong of [inner + 8, inner + 1, outer + 28, outer + 32])
      await expect(store.read(wrong as Location)).rejects.toMatchObject({ code: 'HOLT_CORRUPT' })
    for (const outside of [store.end, store.end + 64, Number.NaN])
      await expect(store.read(outside as Location)).rejects.toMatchObject({ code: 'HOLT_NOT_FOUND' })
    await expect(store.read(0 as Location)).rejects.toMatchObject({ name: 'HoltError' })
    await store.close()
  })

  test('E25.1 an existing store goes on behind its end: nothing is written over, and locations stay', async () => {
    let io = new MemoryIo()
    const texts: string[] = []
    const locations: Location[] = []
    for (let life = 0; life < 5; life++) {
      const store = await openStore(io, { mode })
      expect(await textsOf(store)).toEqual(texts)
      const before = new Map(io.names().map((name) => [name, io.bytesOf(`/lss/${name}`).slice()]))
      for (let i = 0; i < 6; i++) {
        texts.push(`${String(life)} ${String(i)} `.padEnd(900, '.'))
        locations.push(await store.append(bytesOf(texts[texts.length - 1])))
      }
      await store.sync()
      for (const [name, bytes] of before)
        if (
          /\d/.test(name) &&
          io.names().includes(name) &&
          locations.some(
            (location) =>
              name.includes(String(lsnSegment(location)).padStart(12, '0')) &&
              locations.indexOf(location) < life * 6,
          )
        )
          expect(io.bytesOf(`/lss/${name}`)).toEqual(bytes)
      for (const [i, location] of locations.entries())
        expect(textOf(await store.read(location))).toBe(texts[i])
      const after = life % 2 === 0 ? io.killed() : io
      await store.close()
      io = after
    }
  })

  test('E25.2 a sync that fails is told to who asked for it, and to all later ones', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode })
    await store.append(bytesOf('a'))
    io.failOn(mode === 'serialised' ? 'writeDsync' : 'sync', 'journal-0', 'HOLT_IO')
    const appended = store.append(bytesOf('b'))
    appended.catch(() => undefined)
    await expect(store.sync()).rejects.toMatchObject({ code: 'HOLT_POISONED' })
    await expect(store.append(bytesOf('c'))).rejects.toMatchObject({ code: 'HOLT_POISONED' })
    await expect(store.sync()).rejects.toMatchObject({ code: 'HOLT_POISONED' })
    await expect(store.close()).rejects.toMatchObject({ code: 'HOLT_POISONED' })
    expect(io.inUse).toBe(0)
  })

  test('E21.1 a write that fails is not tried again, and what was durable is there after a new opening', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode })
    const location = await store.append(bytesOf('durable'))
    await store.sync()
    const calls = io.calls.length
    io.failOn(mode === 'serialised' ? 'writeDsync' : 'write', 'journal-0', 'HOLT_IO')
    await expect(store.append(bytesOf('lost'))).rejects.toMatchObject({ code: 'HOLT_POISONED' })
    await settle()
    expect(io.calls.slice(calls).filter((call) => call.startsWith('write')).length).toBe(1)
    expect(textOf(await store.read(location))).toBe('durable')
    const after = await openStore(io.powerLoss(), { mode })
    expect(await textsOf(after)).toEqual(['durable'])
    await store.close().catch(() => undefined)
  })

  test('E21.2 a full disk refuses appends, which succeed once there is room', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode })
    await store.append(bytesOf('one'))
    await store.sync()
    io.failOn('allocate', '', 'HOLT_NO_SPACE', 1, 3)
    const outcomes = new Set<string>()
    let kept = 1
    for (let i = 0; i < 60; i++) {
      const outcome = await store.append(new Uint8Array(800)).then(
        () => 'kept',
        (error: unknown) => (error as { code: string }).code,
      )
      outcomes.add(outcome)
      if (outcome === 'kept') kept++
    }
    expect([...outcomes].sort()).toEqual(['HOLT_NO_SPACE', 'kept'])
    expect(await textsOf(store)).toHaveLength(kept)
    await store.close()
  })

  test("E26.1 nothing of a buffer's former life reaches the disk", async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode })
    for (let i = 0; i < 5; i++) await store.append(bytesOf('SECRET'.repeat(200)))
    for (let i = 0; i < 3; i++) await store.append(bytesOf('short'))
    await store.sync()
    const segment = io.bytesOf('/lss/journal-000000000001.wal')
    const behind = segment.subarray(lsnOffset(store.end))
    expect(behind.every((byte) => byte === 0)).toBe(true)
    await store.close()
  })

  test('E16.1 drops what lies before a location, in whole segments, and remembers where it begins', async () => {
    let io = new MemoryIo()
    let store = await openStore(io, { mode })
    const locations: Location[] = []
    const append = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++)
        locations.push(await store.append(bytesOf(`${String(locations.length)} `.padEnd(1000, '.'))))
    }
    await append(60)
    const segmentsBefore = store.stats().segments
    await store.truncate(locations[40])
    await settle()
    expect(store.begin).toBe(locations[40])
    expect(store.stats().segments).toBeLessThan(segmentsBefore)
    await expect(store.read(locations[39])).rejects.toMatchObject({ code: 'HOLT_NOT_FOUND' })
    await expect(store.truncate((store.end + 8) as Location)).rejects.toMatchObject({
      code: 'HOLT_NOT_FOUND',
    })
    // Backwards does nothing.
    await store.truncate(locations[3])
    for (const [how, open] of [
      ['power loss', () => io.powerLoss()],
      ['kill', () => io.killed()],
      ['close', () => io],
    ] as const) {
      const image = open()
      if (how === 'close') await store.close()
      const again = await openStore(image, { mode })
      expect(again.begin, how).toBe(locations[40])
      expect(
        (await textsOf(again)).map((text) => Number(text.split(' ')[0])),
        how,
      ).toEqual(Array.from({ length: 20 }, (_, i) => 40 + i))
      await expect(again.read(locations[39])).rejects.toMatchObject({ code: 'HOLT_NOT_FOUND' })
      await again.close()
    }
    // And goes on so, over further lives.
    io = io.killed()
    store = await openStore(io, { mode })
    await append(20)
    await store.truncate(locations[75])
    await store.close()
    store = await openStore(io, { mode })
    expect(await textsOf(store)).toHaveLength(5)
    await store.close()
    // A segment that is missing in between is not one that was dropped.
    const image = io.killed()
    const kept = image.names().filter((name) => /\d/.test(name))
    image.erase(`/lss/${kept[0]}`)
    await expect(openStore(image, { mode })).rejects.toMatchObject({ code: 'HOLT_CORRUPT' })
  })

  test('is ended by close: what was appended before is there, what comes later is refused', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode })
    const appended = Array.from({ length: 30 }, (_, i) => store.append(bytesOf(String(i).padEnd(700, '.'))))
    await store.close()
    await Promise.all(appended)
    for (const call of [
      () => store.append(bytesOf('x')),
      () => store.read(0 as Location),
      () => store.sync(),
      () => store.roll(),
      () => store.truncate(0 as Location),
      () => store.scan().next(),
    ])
      await expect(call()).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
    const again = await openStore(io, { mode })
    expect(await textsOf(again)).toHaveLength(30)
    await again.close()
  })
})

describe('LogStructuredStore', () => {
  test('E1.1 tail-localised: several writes are under way together, none of which touches a byte of another', async () => {
    const io = new GatedIo()
    const store = await openStore(io, { writesAtOnce: 4, segmentBytes: 2 ** 20 })
    await store.append(bytesOf('start'))
    io.isGated = true
    const appended: Promise<Location>[] = []
    for (let i = 0; i < 9; i++) {
      appended.push(store.append(bytesOf(`record ${String(i)}`)))
      await settle()
    }
    expect(io.gates).toHaveLength(4)
    const ranges = io.gates.map(({ offsetBytes, lengthBytes }) => [offsetBytes, offsetBytes + lengthBytes])
    for (let i = 1; i < ranges.length; i++) expect(ranges[i][0]).toBe(ranges[i - 1][1])
    // E7: what may arrive late is bounded by the writes at once, and by what may wait.
    io.isGated = false
    while (io.gates.length > 0) await io.letGo(io.gates.length - 1)
    await Promise.all(appended)
    expect(await textsOf(store)).toHaveLength(10)
    await store.close()
  })

  test('E12.1 what arrives out of order counts up to the first gap: promises, reads, syncs, isDurable', async () => {
    const io = new GatedIo()
    const store = await openStore(io, { writesAtOnce: 4, segmentBytes: 2 ** 20 })
    await store.append(bytesOf('start'))
    io.isGated = true
    const settled: number[] = []
    const appended = [0, 1, 2, 3].map(async (i) => {
      for (let turn = 0; turn < i * 3; turn++) await settle()
      const location = await store.append(bytesOf(`record ${String(i)}`))
      settled.push(i)
      return location
    })
    while (io.gates.length < 4) await settle()
    await io.letGo(3)
    await io.letGo(1)
    expect(settled).toEqual([])
    const killed = io.killed()
    await io.letGo(0)
    expect(settled).toEqual([0, 1])
    // The third is missing: the fourth is behind the end of what a killed process leaves.
    const image = await openStore(io.killed())
    expect(image.found).toEqual({ tail: 'torn', recordsBehindEnd: 1 })
    expect(await textsOf(image)).toEqual(['start', 'record 0', 'record 1'])
    expect(await textsOf(await openStore(killed))).toEqual(['start'])
    await io.letGo(0)
    const locations = await Promise.all(appended)
    expect(settled).toEqual([0, 1, 2, 3])
    expect(locations.some((location) => store.isDurable(location))).toBe(false)
    await store.sync()
    expect(locations.every((location) => store.isDurable(location))).toBe(true)
    io.isGated = false
    await store.close()
  })

  test('E17.1 serialised: a write is begun when the one before it is stable', async () => {
    const io = new GatedIo()
    const store = await openStore(io, { mode: 'serialised' })
    await store.append(bytesOf('start'))
    io.isGated = true
    for (let i = 0; i < 5; i++) {
      void store.append(bytesOf(`record ${String(i)}`))
      await settle()
      expect(io.gates).toHaveLength(1)
    }
    await io.letGo(0)
    // What came meanwhile is one group.
    expect(io.gates).toHaveLength(1)
    await io.letGo(0)
    expect(io.gates).toHaveLength(0)
    expect(await textsOf(store)).toHaveLength(6)
    io.isGated = false
    await store.close()
  })

  test('E22.1 tail-localised: written is not durable, a sync that covers it is', async () => {
    const io = new MemoryIo()
    const store = await openStore(io)
    const first = await store.append(bytesOf('first'))
    expect(store.isDurable(first)).toBe(false)
    io.hold('sync', 'journal-0')
    const syncing = store.sync()
    await settle()
    const second = await store.append(bytesOf('second'))
    expect(store.isDurable(first)).toBe(false)
    io.release('sync')
    await syncing
    expect(store.isDurable(first)).toBe(true)
    // It came after the sync had begun.
    expect(store.isDurable(second)).toBe(false)
    await io.advance(2000)
    expect(store.isDurable(second)).toBe(true)
    await store.close()
  })

  test('E22.2 serialised: an append that resolved is durable', async () => {
    const io = new MemoryIo()
    const store = await openStore(io, { mode: 'serialised' })
    for (let i = 0; i < 40; i++) expect(store.isDurable(await store.append(new Uint8Array(900)))).toBe(true)
    expect(await textsOf(await openStore(io.powerLoss()))).toHaveLength(40)
    await store.close()
  })

  test('E22.3 what a killed process left is durable after a sync, also when nothing was appended since', async () => {
    const io = new MemoryIo()
    const dead = await openStore(io)
    const location = await dead.append(bytesOf('in the system only'))
    const after = io.killed()
    await dead.close()
    const store = await openStore(after)
    expect(store.isDurable(location)).toBe(false)
    after.calls.length = 0
    await store.sync()
    expect(store.isDurable(location)).toBe(true)
    const rewrite = after.calls.findIndex((call) => call.startsWith('write journal-000000000001.wal'))
    expect(rewrite).toBeGreaterThan(-1)
    expect(after.calls.indexOf('sync journal-000000000001.wal')).toBeGreaterThan(rewrite)
    await store.close()
  })

  test('E16.4 nothing says that the store begins at a place before that place is stable', async () => {
    const io = new MemoryIo()
    const store = await openStore(io)
    await store.append(bytesOf('a'))
    const second = await store.append(bytesOf('b'))
    const { end } = store
    io.hold('sync', 'journal-0')
    const truncated = store.truncate(second)
    await settle()
    expect(store.end).toBe(end)
    expect(store.begin).toBe(0)
    io.release('sync')
    await truncated
    expect(store.end).toBeGreaterThan(end)
    expect(store.begin).toBe(second)
    await store.close()
  })

  test('refuses options that cannot be, and segments of another store', async () => {
    const io = new MemoryIo()
    for (const wrong of [{ mode: 'x' }, { writesAtOnce: 1 }, { writesAtOnce: 1.5 }, { segmentBytes: 5 }])
      await expect(openStore(io, wrong as never)).rejects.toMatchObject({ code: 'HOLT_INVALID_ARGUMENT' })
    const store = await openStore(io)
    await store.append(bytesOf('x'))
    await store.close()
    await expect(openStore(io, { storeId: new Uint8Array(16).fill(1) })).rejects.toMatchObject({
      code: 'HOLT_CORRUPT',
    })
  })
})
