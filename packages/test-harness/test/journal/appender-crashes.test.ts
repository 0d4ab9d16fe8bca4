import {
  attachAppender,
  type LogAppender,
  type Location,
  LogStructuredStore,
  type WriteMode,
} from '@holt/journal'
import { describe, expect, test } from 'vitest'

import { SeededRandom, SimDisk } from '../../src/index.js'
import type { SimIo } from '../../src/index.js'

const MODES: readonly WriteMode[] = ['serialised', 'tail-localised']
const APPENDERS = 3

interface Appended {
  readonly text: string
  /** Undefined until its append has resolved. */
  location: Location | undefined
  isDurable: boolean
}

interface Image {
  readonly disk: SimDisk
  /** What had been told when it was taken: what must be there. */
  readonly certain: ReadonlySet<string>
  readonly what: string
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

async function textsOf(store: LogStructuredStore): Promise<string[]> {
  const texts: string[] = []
  for await (const { location, bytes } of store.scan()) {
    texts.push(Buffer.from(bytes).toString('latin1'))
    expect(Buffer.compare(await store.read(location), bytes)).toBe(0)
  }
  return texts
}

async function append(
  appender: LogAppender,
  name: string,
  random: SeededRandom,
  all: Appended[],
): Promise<void> {
  for (let i = 0; i < 25; i++) {
    const text = `${name} ${String(i)} `.padEnd(random.between(8, 1_200), 'abcdef')
    const entry: Appended = { text, location: undefined, isDurable: false }
    all.push(entry)
    const appended = appender.append(Buffer.from(text, 'latin1')).then((location) => {
      entry.location = location
    })
    if (random.chance(0.5)) await appended
    if (random.chance(0.15)) await appender.sync()
  }
  await appender.sync()
}

describe.each(MODES)('appends through the flush-buffer ring, %s, after a crash', (mode) => {
  test.each([1, 2, 3])(
    'E12.3 at any call of its Io what an appender was told is there, in the order of its calls, and nothing torn (seed %i)',
    { timeout: 60_000 },
    async (seed) => {
      const disk = new SimDisk({ seed })
      const random = new SeededRandom(seed)
      const all: Appended[][] = Array.from({ length: APPENDERS }, () => [])
      const appenders: LogAppender[] = []
      const images: Image[] = []
      const io = disk.start({
        reorder: true,
        autoAdvance: true,
        onCall: ({ operation, path, number }) => {
          if (operation === 'read' || operation === 'stat') return
          const told = all.flat().filter(({ location }) => location !== undefined)
          for (const entry of told)
            entry.isDurable ||= appenders[0].isDurable(entry.location ?? (0 as Location))
          const what = `${operation} ${path}, call ${String(number)}`
          const certain = (entries: readonly Appended[]): Set<string> =>
            new Set(entries.map(({ text }) => text))
          images.push({ disk: disk.killImage(number), certain: certain(told), what: `kill at ${what}` })
          const durable = certain(told.filter(({ isDurable }) => isDurable))
          images.push({ disk: disk.crashImage(number), certain: durable, what: `power loss at ${what}` })
        },
      })
      const store = await openStore(io, mode)
      const shared = store.share({ buffers: 2, bufferBytes: 4096, appenders: APPENDERS })
      for (let i = 0; i < APPENDERS; i++) appenders.push(attachAppender(shared))
      await Promise.all(
        appenders.map((appender, i) => append(appender, `appender ${String(i)}`, random, all[i])),
      )
      for (const entry of all.flat())
        expect(appenders[0].isDurable(entry.location ?? (0 as Location))).toBe(true)
      await store.close()
      expect(images.length).toBeGreaterThan(100)

      let mostCertain = 0
      for (const { disk: image, certain, what } of images) {
        const found = await textsOf(await openStore(image.start({ autoAdvance: true }), mode))
        for (const text of certain) expect(found, what).toContain(text)
        mostCertain = Math.max(mostCertain, certain.size)
        // Of each appender a beginning, in order: nothing torn, nothing twice, no gap.
        for (const [i, entries] of all.entries()) {
          const its = found.filter((text) => text.startsWith(`appender ${String(i)} `))
          expect(its, what).toEqual(entries.slice(0, its.length).map(({ text }) => text))
        }
        expect(found.length, what).toBe(found.filter((text) => text.startsWith('appender ')).length)
      }
      expect(mostCertain).toBe(APPENDERS * 25)
    },
  )
})
