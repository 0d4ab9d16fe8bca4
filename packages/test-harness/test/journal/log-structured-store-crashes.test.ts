import { isHoltError } from '@holt/errors'
import { type Location, LogStructuredStore, type WriteMode } from '@holt/journal'
import { describe, expect, test } from 'vitest'

import { SeededRandom, SimDisk } from '../../src/index.js'
import type { SimIo, SimOperation } from '../../src/index.js'

const MODES: readonly WriteMode[] = ['serialised', 'tail-localised']

interface Record {
  readonly text: string
  /** Undefined until its append has resolved. */
  location: Location | undefined
}

function openStore(io: SimIo, mode: WriteMode): Promise<LogStructuredStore> {
  return LogStructuredStore.open({
    io,
    directory: '/data/lss',
    mode,
    segmentBytes: 16_384,
    syncIntervalMs: 5,
    writesAtOnce: 4,
  })
}

/** What somebody knows who appends, syncs and drops. */
class Writer {
  readonly records: Record[] = []
  /** Up to here a power loss may take nothing. */
  durable = 0
  /** Resolved: a killed process may take nothing. */
  acknowledged = 0
  /** Dropped from the front: for certain, and perhaps. */
  dropped = 0
  mayBeDropped = 0
  readonly #random: SeededRandom

  constructor(random: SeededRandom) {
    this.#random = random
  }

  /** Looks what is durable by now. */
  look(store: LogStructuredStore): void {
    for (let i = this.durable; i < this.records.length; i++) {
      const { location } = this.records[i]
      if (location === undefined || !store.isDurable(location)) break
      this.durable = i + 1
    }
    while (this.records.at(this.acknowledged)?.location !== undefined) this.acknowledged++
  }

  async run(store: LogStructuredStore, steps: number): Promise<void> {
    const random = this.#random
    const waits: Promise<unknown>[] = []
    for (let i = 0; i < steps; i++) {
      const text = `record ${String(this.records.length)} `.padEnd(random.between(12, 1_500), 'abcdef')
      const record: Record = { text, location: undefined }
      this.records.push(record)
      const appended = store.append(Buffer.from(text, 'latin1')).then((location) => {
        record.location = location
        this.look(store)
      })
      appended.catch(() => undefined)
      if (random.chance(0.4)) await appended
      else waits.push(appended)
      if (random.chance(0.1)) await store.sync()
      this.look(store)
      if (random.chance(0.05)) await store.roll()
      if (random.chance(0.06) && this.acknowledged > this.mayBeDropped + 10) {
        const to = random.between(this.mayBeDropped + 1, this.acknowledged - 5)
        const location = this.records[to].location
        if (location === undefined) continue
        this.mayBeDropped = to
        await store.truncate(location)
        this.dropped = to
      }
    }
    await Promise.all(waits)
  }
}

async function textsOf(store: LogStructuredStore): Promise<string[]> {
  const texts: string[] = []
  for await (const { location, bytes } of store.scan()) {
    texts.push(Buffer.from(bytes).toString('latin1'))
    expect(Buffer.compare(await store.read(location), bytes)).toBe(0)
  }
  return texts
}

interface Bounds {
  readonly least: number
  readonly most: number
  readonly dropped: number
  readonly mayBeDropped: number
}

function boundsOf(writer: Writer, least: number): Bounds {
  const { dropped, mayBeDropped, records } = writer
  return { least, most: records.length, dropped, mayBeDropped }
}

/** What was found is a piece of what was appended, without a gap: from a beginning to an end that may be. */
function check(found: readonly string[], writer: Writer, bounds: Bounds, what: string): void {
  const { least, most, dropped, mayBeDropped } = bounds
  const first = found.length === 0 ? -1 : writer.records.findIndex(({ text }) => text === found[0])
  if (first < 0) {
    expect(found, what).toEqual([])
    expect(least, what).toBeLessThanOrEqual(mayBeDropped)
    return
  }
  expect(first === dropped || first === mayBeDropped, `${what}: begins at ${String(first)}`).toBe(true)
  const end = first + found.length
  expect(found, what).toEqual(writer.records.slice(first, end).map(({ text }) => text))
  expect(end, what).toBeGreaterThanOrEqual(least)
  expect(end, what).toBeLessThanOrEqual(most)
}

describe.each(MODES)('LogStructuredStore, %s, after a crash', (mode) => {
  test.each([1, 2, 3, 4])(
    'E16.2 at any call of its Io shows what was durable, nothing torn, nothing twice, and goes on (seed %i)',
    { timeout: 60_000 },
    async (seed) => {
      const disk = new SimDisk({ seed })
      const random = new SeededRandom(seed)
      const writer = new Writer(random)
      const images: { readonly disk: SimDisk; readonly bounds: Bounds; readonly what: string }[] = []
      const opened: LogStructuredStore[] = []
      const io = disk.start({
        reorder: true,
        autoAdvance: true,
        onCall: ({ operation, path, number }) => {
          if (operation === 'read' || operation === 'stat') return
          for (const store of opened) writer.look(store)
          const what = `${operation} ${path}, call ${String(number)}`
          images.push({
            disk: disk.killImage(number),
            bounds: boundsOf(writer, writer.acknowledged),
            what: `kill at ${what}`,
          })
          for (let i = 0; i < 2; i++)
            images.push({
              disk: disk.crashImage(number * 3 + i),
              bounds: boundsOf(writer, writer.durable),
              what: `power loss ${String(i)} at ${what}`,
            })
        },
      })
      const store = await openStore(io, mode)
      opened.push(store)
      await writer.run(store, 70)
      await store.close()
      expect(images.length).toBeGreaterThan(200)
      for (const [i, { disk: image, bounds, what }] of images.entries()) {
        const again = await openStore(image.start({ autoAdvance: true }), mode)
        const found = await textsOf(again)
        check(found, writer, bounds, what)
        if (i % 9 === 0) {
          // It goes on behind that, and a further crash takes neither the old nor the new.
          const more = [0, 1, 2].map((j) => `more ${String(j)} `.padEnd(800, '.'))
          await Promise.all(more.map((text) => again.append(Buffer.from(text, 'latin1'))))
          await again.sync()
          const third = await openStore(image.crashImage(i).start(), mode)
          expect(await textsOf(third), `${what}, went on`).toEqual([...found, ...more])
        }
      }
    },
  )

  test.each(['write', 'writeDsync', 'sync', 'open', 'allocate', 'rename', 'syncDir'] as const)(
    'E21.3 a fault at any %s is told, and loses nothing that was durable',
    { timeout: 60_000 },
    async (operation: SimOperation) => {
      let met = 0
      for (const errno of ['EIO', 'ENOSPC']) {
        for (let nth = 1; nth < 200; nth += nth < 12 ? 1 : 7) {
          const disk = new SimDisk({ seed: nth })
          await disk.start().mkdir('/data/lss')
          const io = disk.start({ autoAdvance: true, faults: [{ operation, nth, errno, path: /wal|lss/ }] })
          const writer = new Writer(new SeededRandom(nth))
          const what = `${errno} at ${operation} ${String(nth)}`
          try {
            const store = await openStore(io, mode)
            await writer.run(store, 40)
            await store.close()
          } catch (error) {
            expect(isHoltError(error), `${what}: ${String(error)}`).toBe(true)
          }
          // One that was refused, for want of space or because the store could not start, is not there; those behind it may be.
          for (const [image, least] of [
            [disk.killImage(1), writer.durable],
            [disk.crashImage(2), writer.durable],
          ] as const) {
            const found = await textsOf(await openStore(image.start(), mode))
            const texts = writer.records.map(({ text }) => text)
            for (const { text } of writer.records.slice(writer.mayBeDropped, least))
              expect(found, what).toContain(text)
            const places = found.map((text) => texts.indexOf(text))
            expect(places, what).toEqual([...new Set(places)].sort((a, b) => a - b))
          }
          if (io.faults.injected === 0) break
          met++
        }
      }
      // Not every mode makes each of them.
      if (operation === 'sync' || operation === 'open' || operation === 'rename')
        expect(met).toBeGreaterThan(3)
    },
  )

  test('E16.3 a flipped bit below what is stable is corruption or is not seen, never other bytes', async () => {
    const disk = new SimDisk({ seed: 9 })
    const writer = new Writer(new SeededRandom(9))
    const store = await openStore(disk.start({ autoAdvance: true }), mode)
    await writer.run(store, 60)
    await store.sync()
    const kill = disk.killImage(1)
    await store.close()
    const kept = new Set(writer.records.map(({ text }) => text))
    let corrupt = 0
    for (let seed = 1; seed <= 150; seed++) {
      for (const base of [disk, kill]) {
        const image = base.killImage(seed)
        image.rot({ seed, path: /journal-\d+\.wal$/ })
        try {
          const again = await openStore(image.start(), mode)
          const found = await textsOf(again)
          for (const text of found) expect(kept.has(text)).toBe(true)
        } catch (error) {
          expect(error).toMatchObject({ code: 'HOLT_CORRUPT' })
          expect(String(error)).toContain('.wal')
          corrupt++
        }
      }
    }
    expect(corrupt).toBeGreaterThan(50)
  })
})
