import { FRAME_BYTES } from '@holt/blob-buf-pool'
import type { BlobStore } from '@holt/blob-store'
import { isHoltError } from '@holt/errors'
import { describe, expect, test } from 'vitest'

import { SeededRandom, SimDisk } from '../../src/index.js'
import type { Misdirection } from '../../src/index.js'
import { lookAt, openStore, StoreHistory } from '../blob-store/store-history.js'
import { LogHistory, openLog } from '../journal/log-history.js'

const ROUNDS = 6
const RECORDS = 40

/** What a reader of damaged files comes to: what it shows, or the message of the HOLT_CORRUPT that it reports. */
type Outcome<T> = { readonly shown: T } | { readonly corrupt: string }

async function outcomeOf<T>(read: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return { shown: await read() }
  } catch (error) {
    if (!isHoltError(error, 'HOLT_CORRUPT')) throw error
    return { corrupt: error.message }
  }
}

/** `lookAt`, and that every byte of each frame behind its first page is what it should be. */
async function lookAtEveryByte(store: BlobStore): Promise<string> {
  const frame = new Uint8Array(FRAME_BYTES)
  for (const id of store.list()) {
    await store.read(id, frame)
    const own = frame.subarray(4096)
    if (own.some((byte) => byte !== own[0])) throw new Error(`blob ${String(id)} is a mixture`)
  }
  return lookAt(store)
}

async function readStore(disk: SimDisk): Promise<Outcome<string>> {
  return outcomeOf(async () => {
    const store = await openStore(disk.start())
    try {
      return await lookAtEveryByte(store)
    } finally {
      await store.close()
    }
  })
}

async function readLog(disk: SimDisk): Promise<Outcome<readonly string[]>> {
  return outcomeOf(async () => {
    const { journal, found } = await openLog(disk.start(), 'disk', new SeededRandom(5))
    await journal.close()
    return found
  })
}

/** Counts both outcomes; fails on data that is not `expected`, and on a message that names no file and place. */
class Verdicts<T> {
  readonly counts = { harmless: 0, corrupt: 0 }
  readonly #place: RegExp

  constructor(place: RegExp) {
    this.#place = place
  }

  note(outcome: Outcome<T>, expected: T, what: string): void {
    if ('shown' in outcome) {
      expect(outcome.shown, what).toEqual(expected)
      this.counts.harmless++
    } else {
      expect(outcome.corrupt, what).toMatch(this.#place)
      this.counts.corrupt++
    }
  }
}

const IN_STORE = /\/s\/(?:blobs\.dat|manifest)\b.*\d/
const IN_LOG = /\/j\/journal-\d{12}\.wal/

interface DamagedStore {
  readonly disk: SimDisk
  readonly store: BlobStore
  /** What the store showed after each flush. */
  readonly flushes: readonly string[]
  readonly what: string
}

describe('FileBlobStore on a medium that damages it', () => {
  async function closedStore(): Promise<{ disk: SimDisk; completed: string }> {
    const disk = new SimDisk({ seed: 3 })
    const history = new StoreHistory(3)
    const store = await openStore(disk.start())
    for (let round = 0; round < ROUNDS; round++) await history.round(store)
    await store.close()
    return { disk, completed: history.completed }
  }

  test.each(['blobs.dat', 'manifest'])(
    'reports a rotten bit of %s as HOLT_CORRUPT with its place, or shows what was flushed',
    async (name) => {
      const { disk, completed } = await closedStore()
      const verdicts = new Verdicts<string>(IN_STORE)
      for (let seed = 1; seed <= 40; seed++) {
        const image = disk.crashImage(seed)
        const [bit] = image.rot({ seed, path: name })
        verdicts.note(await readStore(image), completed, JSON.stringify(bit))
      }
      expect(verdicts.counts.harmless).toBeGreaterThan(0)
      expect(verdicts.counts.corrupt).toBeGreaterThan(0)
    },
  )

  test('reports a bit that rots while the store is open', async () => {
    const disk = new SimDisk({ seed: 3 })
    const history = new StoreHistory(3)
    const store = await openStore(disk.start())
    for (let round = 0; round < ROUNDS; round++) await history.round(store)
    // One bit of every slot, so that each blob has its own.
    const sizeBytes = disk.contents('/s/blobs.dat')?.byteLength ?? 0
    for (let at = 300_000; at < sizeBytes; at += FRAME_BYTES) {
      disk.rot({ path: '/s/blobs.dat', offsetBytes: at, bit: 3 })
    }
    const ids = [...store.list()]
    expect(ids.length).toBeGreaterThan(1)
    for (const id of ids) {
      await expect(store.read(id, new Uint8Array(FRAME_BYTES))).rejects.toMatchObject({
        code: 'HOLT_CORRUPT',
        message: expect.stringMatching(IN_STORE) as unknown,
      })
    }
    await store.close()
  })

  /** Runs histories with one write misdirected: each of their writes in turn. */
  async function* misdirectedStores(path: string | RegExp, to: Misdirection): AsyncGenerator<DamagedStore> {
    for (const seed of [1, 2, 3]) {
      for (let nth = 1; ; nth++) {
        const disk = new SimDisk({ seed })
        const io = disk.start({
          faults: [{ operation: ['write', 'writeDsync'], path, nth, misdirected: to }],
        })
        const history = new StoreHistory(seed)
        const store = await openStore(io)
        const flushes: string[] = []
        for (let round = 0; round < ROUNDS; round++) {
          await history.round(store)
          flushes.push(history.completed)
        }
        if (io.faults.counts.misdirected === 0) break
        yield { disk, store, flushes, what: `write ${String(nth)} of seed ${String(seed)}` }
      }
    }
  }

  test.each([
    { name: 'data written to another place of its file', path: 'blobs.dat', to: {} },
    { name: 'data written into the manifest', path: 'blobs.dat', to: { path: '/s/manifest' } },
  ])('reports $name, as HOLT_CORRUPT with its place, or shows what was flushed', async ({ path, to }) => {
    const verdicts = new Verdicts<string>(IN_STORE)
    for await (const { disk, store, flushes, what } of misdirectedStores(path, to)) {
      const completed = flushes.at(-1) ?? ''
      verdicts.note(await outcomeOf(() => lookAtEveryByte(store)), completed, what)
      await store.close()
      verdicts.note(await readStore(disk.crash(1)), completed, `${what}, reopened`)
    }
    expect(verdicts.counts.harmless).toBeGreaterThan(0)
    expect(verdicts.counts.corrupt).toBeGreaterThan(0)
  })

  // Nothing on the medium tells that the last record of a log was ever written, when it left no trace there.
  test.each([
    { place: 'another file', to: { path: '/s/blobs.dat' }, most: 3 },
    { place: 'another place of its file', to: {}, most: 3 },
  ])(
    'with a manifest record in $place reports HOLT_CORRUPT, or, of the last one, shows the flush before it whole',
    async ({ to, most }) => {
      const verdicts = new Verdicts<string>(IN_STORE)
      const shownBefore = new Map<string, number>()
      for await (const { disk, store, flushes, what } of misdirectedStores(/manifest/, to)) {
        const [, nth = '', seed = ''] = /write (\d+) of seed (\d+)/.exec(what) ?? []
        await store.close()
        const outcome = await readStore(disk.crash(1))
        const isBefore = 'shown' in outcome && outcome.shown === flushes.at(-2)
        if (isBefore) shownBefore.set(seed, Number(nth))
        else {
          verdicts.note(outcome, flushes.at(-1) ?? '', what)
          // Only of the last record a trace may be missing: it is the last write of its seed that was tried.
          expect([what, shownBefore.has(seed)]).toEqual([what, false])
        }
      }
      expect(shownBefore.size).toBeLessThanOrEqual(most)
      if ('path' in to) expect(shownBefore.size).toBe(most)
      expect(verdicts.counts.corrupt).toBeGreaterThan(0)
    },
  )
})

describe('Journal on a medium that damages it', () => {
  async function closedLog(
    seed: number,
    misdirected?: { readonly nth: number; readonly to: Misdirection },
  ): Promise<{ disk: SimDisk; texts: readonly string[]; met: boolean }> {
    const disk = new SimDisk({ seed })
    const io = disk.start({ autoAdvance: true, mappings: false })
    const random = new SeededRandom(seed)
    const history = new LogHistory(random, 'first')
    const { journal } = await openLog(io, 'disk', random)
    await journal.start(1000)
    if (misdirected) {
      const { nth, to } = misdirected
      io.faults.add({ operation: ['write', 'writeDsync'], nth, misdirected: to })
    }
    await history.append(journal, RECORDS)
    await journal.close()
    return { disk, texts: history.texts, met: io.faults.counts.misdirected > 0 }
  }

  test('reports a rotten bit as HOLT_CORRUPT with its file, or shows every record', async () => {
    const { disk, texts } = await closedLog(3)
    const verdicts = new Verdicts<readonly string[]>(IN_LOG)
    for (let seed = 1; seed <= 150; seed++) {
      const image = disk.crashImage(seed)
      const [bit] = image.rot({ seed, path: '.wal' })
      verdicts.note(await readLog(image), texts, JSON.stringify(bit))
    }
    expect(verdicts.counts.harmless).toBeGreaterThan(0)
    expect(verdicts.counts.corrupt).toBeGreaterThan(0)
  })

  test.each([
    { name: 'to another place of its file', to: {} },
    { name: 'to a place where it leaves no trace', to: { path: '/nowhere' } },
  ])(
    'reports a write that went $name as HOLT_CORRUPT with its file, or shows every record',
    async ({ to }) => {
      const verdicts = new Verdicts<readonly string[]>(IN_LOG)
      for (const seed of [1, 2, 3]) {
        for (let nth = 1; ; nth++) {
          const { disk, texts, met } = await closedLog(seed, { nth, to })
          if (!met) break
          verdicts.note(
            await readLog(disk.crash(seed)),
            texts,
            `write ${String(nth)} of seed ${String(seed)}`,
          )
        }
      }
      expect(verdicts.counts.harmless).toBeGreaterThan(0)
      expect(verdicts.counts.corrupt).toBeGreaterThan(0)
    },
  )
})
