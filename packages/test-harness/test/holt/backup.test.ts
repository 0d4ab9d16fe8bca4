import { FRAME_BYTES } from '@holt/blob-buf-pool'
import { isHoltError } from '@holt/errors'
import { type BackupReport, type Db, open, openMemory, type OpenOptions } from 'holt'
import { describe, expect, test } from 'vitest'

import { SeededRandom, SimDisk } from '../../src/index.js'
import type { SimIo } from '../../src/index.js'

const PATH = '/home/db'
const COPY = '/backups/first'
const SMALL: OpenOptions = { usableFrameBytes: 16_384, segmentBytes: 65_536, checkpoint: { thread: false } }

function openDb(io: SimIo, path = PATH, options: OpenOptions = {}): Promise<Db> {
  return open(path, { ...SMALL, io, ...options })
}

type State = ReadonlyMap<string, string>

async function shown(db: Db): Promise<State> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  return new Map([...tree.scan()].map(({ key, value, version }) => [key, `${value}@${String(version)}`]))
}

async function codeOf(work: () => Promise<unknown>): Promise<string> {
  try {
    await work()
    return 'fine'
  } catch (error) {
    return isHoltError(error) ? error.code : String(error)
  }
}

const value = (i: number): string => `value ${String(i)} `.padEnd(220, '.')

/** A store of some dozens of frames; every write says in the key `step` which it was, and `states` keeps what it made. */
class Source {
  readonly disk: SimDisk
  readonly io: SimIo
  db: Db
  readonly states: State[] = []
  #step = 0

  private constructor(disk: SimDisk, io: SimIo, db: Db) {
    this.disk = disk
    this.io = io
    this.db = db
  }

  static async start(
    seed: number,
    onCall?: (call: { operation: string; path: string; number: number }) => void,
    durability: 'memory' | 'os' | 'disk' = 'os',
  ): Promise<Source> {
    const disk = new SimDisk({ seed })
    const io = disk.start({ reorder: true, autoAdvance: true, ...(onCall && { onCall }) })
    const source = new Source(disk, io, await openDb(io, PATH, { durability }))
    await (await source.tree()).put('large', 'large '.repeat(6_000))
    for (let i = 0; i < 60; i++) await source.write(30)
    await source.db.checkpoint()
    for (let i = 0; i < 5; i++) await source.write(10)
    return source
  }

  /** Another process on a copy of this one's disk, as a kill leaves it. */
  async fork(seed: number, onCall: (call: { operation: string; path: string }) => void): Promise<Source> {
    const disk = this.disk.killImage(seed)
    const io = disk.start({ reorder: true, autoAdvance: true, onCall })
    const source = new Source(disk, io, await openDb(io))
    source.states.push(...this.states)
    source.#step = this.#step
    return source
  }

  tree() {
    return this.db.tree('t', { valueEncoding: 'utf8' })
  }

  get steps(): number {
    return this.#step
  }

  async write(keys: number): Promise<void> {
    const tree = await this.tree()
    const step = this.#step++
    const puts = new Map([['step', String(step)]])
    for (let i = 0; i < keys; i++)
      puts.set(`dir-${String((step * 7 + i) % 23)}/${String((step * 31 + i * 17) % 90)}`, value(step))
    const gone = `dir-${String(step % 23)}/${String((step * 13) % 90)}`
    const outcome = await this.db.atomic((tx) => {
      for (const [key, text] of puts) tx.in(tree).put(key, text)
      tx.in(tree).delete(gone)
    })
    const next = new Map(this.states.at(-1))
    for (const [key, text] of puts) next.set(key, `${text}@${String(outcome.committed && outcome.version)}`)
    next.delete(gone)
    if (step === 0) next.set('large', (await shown(this.db)).get('large') ?? '')
    this.states[step] = next
  }
}

/** Opens the copy, which must be whole: one of the source's states, everything sound, and a store that goes on. */
async function checkCopy(
  source: Source,
  disk: SimDisk,
  path: string,
  what: string,
  report?: BackupReport,
): Promise<number> {
  const db = await openDb(disk.start({ autoAdvance: true }), path, { createIfMissing: false })
  const found = await shown(db)
  const [text, version] = (found.get('step') ?? '').split('@')
  expect([what, found]).toEqual([what, source.states[Number(text)]])
  expect((await db.verify()).problems, what).toEqual([])
  expect(db.stats().recovery).toMatchObject({ replayedRecords: 0, tail: 'clean' })
  const highest = Math.max(...[...found.values()].map((value) => Number(value.split('@')[1])))
  expect(highest).toBe(Number(version))
  if (report !== undefined) expect([what, report.version]).toEqual([what, highest])
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  await tree.put('after', 'x')
  expect(tree.getRecord('after')?.version).toBeGreaterThan(highest)
  await db.close()
  return Number(text)
}

describe('a backup', () => {
  test.each([1, 2, 3, 4, 5, 6])(
    'beside writes, checkpoints, vacuum and compaction is one state of the store: seed %i',
    async (seed) => {
      const source = await Source.start(seed)
      const random = new SeededRandom(seed)
      let copies = 0
      let checkpoints = 0
      for (let round = 0; round < 4; round++) {
        const path = `/backups/${String(round)}`
        const from = source.steps - 1
        // Frames of it belong to a view alone; the copy has nobody who looks at them.
        const view = source.db.view()
        let isCopying = true
        const progress: number[] = []
        const backup = source.db
          .backup(path, {
            onProgress: ({ frames, framesTotal, bytes, bytesTotal }) => {
              progress.push(frames)
              expect(frames).toBeLessThanOrEqual(framesTotal)
              expect(bytes).toBeLessThanOrEqual(bytesTotal)
            },
          })
          .finally(() => {
            isCopying = false
          })
        const others: Promise<unknown>[] = []
        while (isCopying) {
          await source.write(random.below(30) + 1)
          if (random.chance(0.7)) {
            checkpoints++
            others.push(source.db.checkpoint())
          }
          if (random.chance(0.2)) others.push(source.db.vacuum())
          if (random.chance(0.2)) others.push(source.db.compact())
          if (random.chance(0.5)) await others.at(-1)
          await Promise.resolve()
        }
        const report = await backup
        await Promise.all(others)
        view.close()
        expect(progress.length).toBeGreaterThan(1)
        expect(progress.at(-1)).toBe(report.frames)
        const step = await checkCopy(source, source.disk, path, path, report)
        expect(step).toBeGreaterThanOrEqual(from)
        copies++
        // Written compactly: as many places as there are frames.
        expect((await source.db.verify()).problems).toEqual([])
      }
      expect(copies).toBe(4)
      expect(checkpoints).toBeGreaterThan(7)
      await expectNothingHeld(source.db, source.disk)
      await source.db.close()
    },
    60_000,
  )

  test.each(['memory', 'os', 'disk'] as const)(
    "is a store of its own, as small as it can be, of a database of durability '%s'",
    async (durability) => {
      const source = await Source.start(7, undefined, durability)
      for (let i = 0; i < 3; i++) {
        await source.write(200)
        await source.db.checkpoint()
      }
      const report = await source.db.backup(COPY)
      expect(source.disk.list(COPY)).toEqual(['blobs.dat', 'manifest'])
      expect(source.disk.contents(`${COPY}/blobs.dat`)?.length).toBe(report.frames * FRAME_BYTES)
      const storeId = (path: string): string =>
        Buffer.from(source.disk.contents(`${path}/manifest`)?.subarray(8, 24) ?? []).toString('hex')
      expect(storeId(COPY)).not.toBe(storeId(PATH))
      // A segment of the source does not count in the copy.
      const original = await shown(source.db)
      // All of it survives a power loss at once.
      for (let i = 0; i < 10; i++)
        await checkCopy(source, source.disk.crashImage(i), COPY, `power loss ${String(i)}`, report)
      await source.db.close()
      expect(await checkCopy(source, source.disk, COPY, 'the copy', report)).toBe(source.steps - 1)
      // A copy of the copy.
      const io = source.disk.start({ autoAdvance: true })
      const copy = await openDb(io, COPY)
      await copy.backup('/backups/second')
      await copy.close()
      const second = await open('/backups/second', { ...SMALL, io, readOnly: true })
      const found = new Map(await shown(second))
      found.delete('after')
      expect(found).toEqual(original)
      await second.close()
      const again = await openDb(source.disk.start({ autoAdvance: true }))
      expect(await shown(again)).toEqual(original)
      await again.close()
    },
  )

  test('is refused where it has no place, and changes nothing there', async () => {
    const source = await Source.start(8)
    const { db, io } = source
    await io.mkdir(COPY)
    const file = await io.open(`${COPY}/letter`, { access: 'readwrite', create: true })
    await io.close(file)
    expect(await codeOf(() => db.backup(COPY))).toBe('HOLT_EXISTS')
    expect(source.disk.list(COPY)).toEqual(['letter'])
    expect(await codeOf(() => db.backup(PATH))).toBe('HOLT_EXISTS')
    expect(await codeOf(() => db.backup(''))).toBe('HOLT_INVALID_ARGUMENT')
    expect(await codeOf(() => db.backup('/a\0b'))).toBe('HOLT_INVALID_ARGUMENT')
    expect(await codeOf(() => db.backup(7 as never))).toBe('HOLT_INVALID_ARGUMENT')
    expect(await codeOf(() => db.backup('/b', { fast: true } as never))).toBe('HOLT_INVALID_ARGUMENT')
    // What is there is not taken for a copy that came to nothing, whatever it is called.
    await io.mkdir('/backups/half')
    await io.close(await io.open('/backups/half/blobs.dat', { access: 'readwrite', create: true }))
    expect(await codeOf(() => db.backup('/backups/half'))).toBe('HOLT_EXISTS')
    expect(source.disk.list('/backups/half')).toEqual(['blobs.dat'])
    // Into an empty directory it goes, two at once do not.
    await io.mkdir('/backups/empty')
    const first = db.backup('/backups/empty')
    const second = codeOf(() => db.backup('/backups/other'))
    await first
    expect(await second).toBe('HOLT_BUSY')
    expect(source.disk.list('/backups/other')).toEqual([])
    await db.backup('/backups/other')
    const reader = await open(PATH, {
      ...SMALL,
      io: source.disk.start({ autoAdvance: true }),
      readOnly: true,
    })
    expect(await codeOf(() => reader.backup('/backups/third'))).toBe('HOLT_READ_ONLY')
    await reader.close()
    const memory = await openMemory()
    expect(await codeOf(() => memory.backup('/backups/third'))).toBe('HOLT_UNSUPPORTED')
    await memory.close()
    expect(source.disk.list('/backups/third')).toEqual([])
    await expectNothingHeld(db, source.disk)
    await db.close()
    expect(await codeOf(() => db.backup('/backups/third'))).toBe('HOLT_CLOSED')
  })

  test('ends early by its signal, by an error of onProgress, and by close; nothing is left of it', async () => {
    for (let pieces = 0; pieces < 3; pieces++) {
      const source = await Source.start(9 + pieces)
      const ended = new Error('enough')
      const controller = new AbortController()
      if (pieces === 0) controller.abort(ended)
      let seen = 0
      await expect(
        source.db.backup(COPY, {
          signal: controller.signal,
          onProgress: () => {
            if (++seen === pieces) controller.abort(ended)
          },
        }),
      ).rejects.toBe(ended)
      expect(source.disk.list(COPY)).toEqual([])
      await expectNothingHeld(source.db, source.disk)
      seen = 0
      if (pieces > 0) {
        await expect(
          source.db.backup(COPY, {
            onProgress: () => {
              if (++seen === pieces) throw ended
            },
          }),
        ).rejects.toBe(ended)
        expect(source.disk.list(COPY)).toEqual([])
        await expectNothingHeld(source.db, source.disk)
      }
      await source.write(5)
      // A close beside it.
      let closing: Promise<void> | undefined
      const backup = codeOf(() =>
        source.db.backup(COPY, {
          onProgress: () => {
            closing ??= source.db.close()
          },
        }),
      )
      expect(await backup).toBe('HOLT_CLOSED')
      await closing
      expect(source.disk.list(COPY)).toEqual([])
      const again = await openDb(source.disk.start({ autoAdvance: true }))
      expect(await shown(again)).toEqual(source.states.at(-1))
      expect((await again.verify()).problems).toEqual([])
      await again.close()
    }
  })

  test('a close at any moment of it: complete, or nothing, and the source has everything', async () => {
    const outcomes = new Set<string>()
    const base = await Source.start(15)
    for (let turns = 0; turns < 100_000; turns += 7 + (turns >> 3)) {
      const source = await base.fork(turns, () => undefined)
      const backup = codeOf(() => source.db.backup(COPY))
      for (let turn = 1; turn <= turns; turn++)
        await (turn % 20 === 0 ? new Promise((resume) => setImmediate(resume)) : Promise.resolve())
      await source.db.close()
      const outcome = await backup
      outcomes.add(outcome)
      if (outcome === 'fine') await checkCopy(source, source.disk, COPY, `close after ${String(turns)} turns`)
      else expect([turns, source.disk.list(COPY)]).toEqual([turns, []])
      const again = await openDb(source.disk.start({ autoAdvance: true }))
      expect(await shown(again)).toEqual(source.states.at(-1))
      await again.close()
      if (outcome === 'fine') break
    }
    await base.db.close()
    expect([...outcomes].sort()).toEqual(['HOLT_CLOSED', 'fine'])
  }, 60_000)

  test('of a damaged frame is HOLT_CORRUPT and names the place', async () => {
    const source = await Source.start(16)
    await source.db.checkpoint()
    const frames = source.db.stats().store.blobs
    const corrupt = new Map<number, number>()
    const bytes = source.disk.contents(`${PATH}/blobs.dat`) ?? new Uint8Array()
    for (let slot = 0; slot < 2 * frames; slot += 5) {
      for (const offset of [70, 4_096 + 100, 10_000]) {
        const at = slot * FRAME_BYTES + offset
        if (at >= bytes.length) break
        source.disk.overwrite(`${PATH}/blobs.dat`, at, Uint8Array.of(bytes[at] ^ 4))
        try {
          await source.db.backup(`${COPY}-${String(at)}`)
        } catch (error) {
          expect(isHoltError(error) && error.code).toBe('HOLT_CORRUPT')
          expect((error as Error).message).toMatch(
            new RegExp(
              `${PATH}/blobs\\.dat at ${String(slot * FRAME_BYTES)}, blob \\d+, page ${String(Math.floor(offset / 4_096))}: checksum`,
            ),
          )
          expect(source.disk.list(`${COPY}-${String(at)}`)).toEqual([])
          corrupt.set(offset, (corrupt.get(offset) ?? 0) + 1)
        }
        source.disk.overwrite(`${PATH}/blobs.dat`, at, Uint8Array.of(bytes[at]))
      }
    }
    // Every place in use was met, whatever page of it is damaged.
    expect([...corrupt.keys()]).toEqual([70, 4_096 + 100, 10_000])
    for (const count of corrupt.values()) expect(count).toBeGreaterThanOrEqual(frames / 10)
    await expectNothingHeld(source.db, source.disk)
    await source.db.close()
  }, 60_000)
})

/** After a vacuum the data file has as many places as there are frames: none is held by what is over. */
async function expectNothingHeld(db: Db, disk: SimDisk): Promise<void> {
  await db.vacuum()
  await db.vacuum()
  expect(disk.contents(`${PATH}/blobs.dat`)?.length).toBe(db.stats().store.blobs * FRAME_BYTES)
}

describe('a crash at any call of a backup', () => {
  test('leaves the source whole, and of the copy all or nothing that opens', async () => {
    const images: { readonly disk: SimDisk; readonly what: string }[] = []
    const seen = new Set<string>()
    let isArmed = false
    const source: Source = await Source.start(30, ({ operation, path, number }) => {
      if (!isArmed || operation === 'read' || operation === 'stat' || operation === 'list') return
      const what = `${operation} ${path}, call ${String(number)}`
      const add = (disk: SimDisk, how: string): void => {
        const digest = disk.digest()
        if (!seen.has(digest)) images.push({ disk, what: `${how} at ${what}` })
        seen.add(digest)
      }
      add(source.disk.killImage(number), 'kill')
      add(source.disk.crashImage(number), 'power loss')
      // Of the names in it any may be there.
      if (operation === 'syncDir' && path === COPY)
        for (let seed = 1; seed <= 40; seed++)
          add(source.disk.crashImage({ seed, keepSectors: 1, keepNames: 0.5 }), 'loss of names')
    })
    await source.db.sync()
    isArmed = true
    const writes = (async () => {
      for (let i = 0; i < 3; i++) {
        await source.write(10)
        await source.db.checkpoint()
      }
    })()
    await source.db.backup(COPY)
    await writes
    isArmed = false
    expect(images.length).toBeGreaterThan(60)
    const outcomes = new Map<string, number>()
    for (const { disk, what } of images) {
      const again = await openDb(disk.start({ autoAdvance: true }))
      const found = await shown(again)
      expect([what, found]).toEqual([what, source.states[Number(found.get('step')?.split('@')[0])]])
      expect((await again.verify()).problems, what).toEqual([])
      await again.close()
      const code = await codeOf(async () => {
        const copy = await openDb(disk.start({ autoAdvance: true }), COPY, { createIfMissing: false })
        await copy.close()
      })
      // The manifest comes last: with it the copy is whole, and without it no store.
      expect([what, code === 'fine']).toEqual([what, disk.list(COPY).includes('manifest')])
      if (code === 'fine') await checkCopy(source, disk, COPY, what)
      outcomes.set(code, (outcomes.get(code) ?? 0) + 1)
    }
    for (const code of outcomes.keys()) expect(['fine', 'HOLT_NOT_FOUND', 'HOLT_CORRUPT']).toContain(code)
    expect(outcomes.get('fine')).toBeGreaterThan(0)
    expect(outcomes.get('HOLT_NOT_FOUND')).toBeGreaterThan(5)
    expect(outcomes.get('HOLT_CORRUPT')).toBeGreaterThan(5)
    await source.db.close()
  }, 120_000)
})

describe('a call of a backup that fails', () => {
  test.each([
    ['EIO once', { errno: 'EIO' }],
    ['ENOSPC once', { errno: 'ENOSPC' }],
    ['EIO although it was done', { errno: 'EIO', late: true }],
  ] as const)(
    'ends it with an error, harms nothing, and nothing stays held: %s',
    async (_, fault) => {
      let failures = 0
      const base = await Source.start(40)
      let total = 0
      const whole = await base.fork(0, ({ path }) => {
        if (path.startsWith('/backups')) total++
      })
      await whole.db.backup(COPY)
      await whole.db.close()
      // Each call at the start and at the end of it; of those that copy frames some.
      for (let nth = 1; nth <= total; nth += nth < 8 || nth > total - 22 ? 1 : 7) {
        let calls = 0
        let isArmed = false
        const hit: string[] = []
        const source = await base.fork(nth, ({ operation, path }) => {
          if (isArmed && path.startsWith('/backups') && ++calls === nth) hit.push(`${operation} ${path}`)
        })
        isArmed = true
        source.io.faults.add({ ...fault, operation: 'any', path: /^\/backups/, nth })
        const code = await codeOf(() => source.db.backup(COPY))
        isArmed = false
        const what = `call ${String(nth)}: ${hit.join()}`
        const left = source.disk.list(COPY)
        if (code === 'fine') {
          // A descriptor that could not be closed behind the last sync; a listing of a directory that is not there.
          expect(hit[0]).toMatch(/^(close|list)/)
          await checkCopy(source, source.disk, COPY, what)
        } else {
          failures++
          expect(['HOLT_IO', 'HOLT_NO_SPACE'], what).toContain(code)
          // One that was made although the call says it was not is nobody's.
          if (!hit[0].startsWith('open')) expect([what, left]).toEqual([what, []])
          expect(left).not.toContain('manifest')
        }
        await source.write(3)
        await expectNothingHeld(source.db, source.disk)
        expect((await source.db.verify()).problems, what).toEqual([])
        await source.db.backup('/other/copy')
        await checkCopy(source, source.disk, '/other/copy', what)
        await source.db.close()
      }
      await base.db.close()
      expect(failures).toBeGreaterThan(15)
    },
    120_000,
  )

  test('and so does the giving up of it: what stays is a whole store, or none', async () => {
    const source = await Source.start(42)
    // The rename is done and said to have failed; then the manifest, which goes first, does not go.
    source.io.faults.add({ errno: 'EIO', operation: 'rename', path: /first.manifest/, late: true })
    source.io.faults.add({ errno: 'EIO', operation: 'remove', path: /first.manifest$/ })
    expect(await codeOf(() => source.db.backup(COPY))).toBe('HOLT_IO')
    expect(source.disk.list(COPY)).toContain('manifest')
    await checkCopy(source, source.disk, COPY, 'given up')
    await source.db.close()
  })

  test('also where it is the source that cannot be read', async () => {
    for (let nth = 1; nth <= 12; nth += 3) {
      const source = await Source.start(41)
      await source.db.checkpoint()
      source.io.faults.add({ errno: 'EIO', operation: 'read', path: 'blobs.dat', nth })
      expect(await codeOf(() => source.db.backup(COPY))).toBe('HOLT_IO')
      expect(source.disk.list(COPY)).toEqual([])
      await expectNothingHeld(source.db, source.disk)
      const report = await source.db.backup(COPY)
      await checkCopy(source, source.disk, COPY, `read ${String(nth)}`, report)
      await source.db.close()
    }
  }, 60_000)
})
