import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { blobId, FRAME_BYTES, PAGE_BYTES, USED_UNITS } from '@holt/blob-buf-pool'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { FileBlobStoreOptions } from '../src/index.js'
import { FileBlobStore } from '../src/index.js'
import { openBlobStore } from '../src/file-blob-store-worker.js'
import { LOG_ROOM_BYTES } from '../src/manifest-log.js'
import { readManifest } from '../src/manifest-reader.js'
import { FaultyIo } from './support/faulty-io.js'
import { codeOf, emptyFrame, frameOf, seedOf, temporaryDirectory } from './support/frames.js'

const [one, two, three] = [blobId(1), blobId(2), blobId(3)]

interface Desk {
  readonly faulty: FaultyIo
  readonly directory: string
  readonly open: (options?: Partial<FileBlobStoreOptions>) => Promise<FileBlobStore>
  readonly file: (name: string) => string
}

function desk(): Desk {
  const faulty = new FaultyIo()
  const directory = temporaryDirectory()
  onTestFinished(() => faulty.real.dispose())
  return {
    faulty,
    directory,
    open: (options) =>
      FileBlobStore.open({ io: faulty.io, directory, createIfMissing: true, maxBlobs: 1024, ...options }),
    file: (name) => join(directory, name),
  }
}

async function seedIn(store: FileBlobStore, id: typeof one): Promise<number> {
  const frame = emptyFrame()
  await store.read(id, frame)
  return seedOf(frame)
}

function note(value: number): Uint8Array {
  return new Uint8Array([value])
}

function slotsOf(file: string): number[] {
  const { mappings } = readManifest(readFileSync(file), file)
  return [...mappings.values()].map(({ diskSlot }) => diskSlot).sort((a, b) => a - b)
}

describe('opening a FileBlobStore', () => {
  it('creates nothing before the first write', async () => {
    const { open, directory } = desk()
    const store = await open()
    expect(store.has(one)).toBe(false)
    expect(await codeOf(() => store.read(one, emptyFrame()))).toBe('HOLT_NOT_FOUND')
    await store.delete(one)
    expect(readdirSync(directory)).toEqual([])
    await store.write(one, frameOf(1))
    expect(readdirSync(directory).sort()).toEqual(['blobs.dat', 'manifest'])
  })

  it('syncs the names of a fresh store before its first flush completes', async () => {
    const { open, faulty, directory } = desk()
    const store = await open()
    await store.write(one, frameOf(1))
    await store.flush(note(1))
    const name = directory.split('/').at(-1) ?? ''
    const at = (call: string): number => faulty.calls.indexOf(call)
    expect(at('syncDir tmp')).toBeGreaterThanOrEqual(0)
    expect(at('sync manifest.tmp')).toBeLessThan(at('rename manifest.tmp'))
    expect(at('rename manifest.tmp')).toBeLessThan(at(`syncDir ${name}`))
    expect(faulty.calls.lastIndexOf(`syncDir ${name}`)).toBeGreaterThan(at('open blobs.dat'))
    expect(faulty.calls.lastIndexOf(`syncDir ${name}`)).toBeLessThan(at('writeMany blobs.dat'))
  })

  it('refuses a directory that is absent, empty or somebody else’s', async () => {
    const { open, file } = desk()
    expect(await codeOf(() => open({ directory: file('x'), createIfMissing: false }))).toBe('HOLT_NOT_FOUND')
    expect(existsSync(file('x'))).toBe(false)
    expect(await codeOf(() => open({ createIfMissing: false }))).toBe('HOLT_NOT_A_STORE')
    writeFileSync(file('letter.txt'), 'dear')
    expect(await codeOf(() => open())).toBe('HOLT_NOT_A_STORE')
    const store = await open({ isOwnName: (name) => name === 'letter.txt' })
    expect(store.list()).toEqual([])
    writeFileSync(file('manifest'), 'a manifest of another program')
    expect(await codeOf(() => open())).toBe('HOLT_NOT_A_STORE')
  })

  it('takes a snapshot that never got its name for nothing', async () => {
    const { open, file } = desk()
    writeFileSync(file('manifest.tmp'), 'half a snapshot')
    const store = await open()
    await store.flush(note(1))
    expect(existsSync(file('manifest.tmp'))).toBe(false)
  })

  it('a missing or shortened file of the store is corruption', async () => {
    const { open, file } = desk()
    const store = await open()
    await store.write(one, frameOf(1))
    await store.flush(note(1))
    await store.close()
    const whole = readFileSync(file('blobs.dat'))
    truncateSync(file('blobs.dat'), FRAME_BYTES - 1)
    expect(await codeOf(() => open())).toBe('HOLT_CORRUPT')
    rmSync(file('blobs.dat'))
    expect(await codeOf(() => open())).toBe('HOLT_CORRUPT')
    writeFileSync(file('blobs.dat'), whole)
    rmSync(file('manifest'))
    expect(await codeOf(() => open())).toBe('HOLT_CORRUPT')
    mkdirSync(file('manifest.d'))
    writeFileSync(file('manifest'), '')
    expect(await codeOf(() => open())).toBe('HOLT_CORRUPT')
  })

  it('a reader changes no byte, and one that writes only after it wrote the last record again', async () => {
    const { open, file, faulty } = desk()
    const first = await open()
    await first.write(one, frameOf(1))
    await first.flush(note(1))
    await first.close()
    const before = readFileSync(file('manifest'))
    faulty.calls.length = 0
    const store = await open()
    expect(await seedIn(store, one)).toBe(1)
    expect(faulty.calls.filter((call) => /^(write|sync|rename|truncate|allocate)/.test(call))).toEqual([])
    await store.settle()
    await store.settle()
    expect(readFileSync(file('manifest'))).toEqual(before)
    expect(
      faulty.calls.filter((call) => /^(write|sync|rename|allocate).* (manifest|blobs)/.test(call)),
    ).toEqual(['write manifest', 'sync manifest'])
  })

  it('settling repairs a copy of the last record that was lost', async () => {
    const { open, file } = desk()
    const first = await open()
    await first.flush(note(1))
    await first.close()
    const whole = readFileSync(file('manifest'))
    const damaged = Buffer.from(whole)
    damaged.fill(0, 1024, 1536)
    expect(damaged).not.toEqual(whole)
    writeFileSync(file('manifest'), damaged)
    const store = await open()
    expect(store.note()).toEqual(note(1))
    await store.settle()
    expect(readFileSync(file('manifest'))).toEqual(whole)
  })

  it('draws an id that stays', async () => {
    const { open } = desk()
    const store = await open()
    await store.flush(note(1))
    const id = store.storeId
    await store.close()
    expect((await open()).storeId).toEqual(id)
    expect(id.length).toBe(16)
    expect(id).not.toEqual(new Uint8Array(16))
  })
})

describe('frames on disk', () => {
  it('two disk slots are enough to write one blob over and over', async () => {
    const { open, file } = desk()
    const store = await open()
    for (let round = 0; round < 6; round++) {
      await store.write(one, frameOf(round))
      await store.write(one, frameOf(round + 100))
      await store.flush(note(round))
      expect(Math.max(...slotsOf(file('manifest')))).toBeLessThan(3)
      expect(await seedIn(store, one)).toBe(round + 100)
    }
    expect(statSync(file('blobs.dat')).size).toBe(8 * FRAME_BYTES)
  })

  it('only the pages in use are written, and read', async () => {
    const { open, faulty } = desk()
    const store = await open()
    const frame = frameOf(7)
    // 10 001 units: into the 20th page.
    new DataView(frame.buffer).setUint32(USED_UNITS, 10_001, true)
    await store.write(one, frame)
    await store.flush(note(1))
    const { writtenBytes, readBytes } = faulty.real.counters
    await store.write(one, frame)
    expect(faulty.real.counters.writtenBytes - writtenBytes).toBe(20 * PAGE_BYTES)
    const into = emptyFrame()
    store.readSync(one, into)
    await store.read(one, into)
    expect(faulty.real.counters.readBytes - readBytes).toBe(40 * PAGE_BYTES)
    expect(into[20 * PAGE_BYTES - 1]).toBe(7)
    expect(into[20 * PAGE_BYTES]).toBe(0)
  })

  it('the slot of a flushed frame is not written before the next flush has completed', async () => {
    const { open, file } = desk()
    const store = await open()
    await store.write(one, frameOf(1))
    await store.flush(note(1))
    const [slot] = slotsOf(file('manifest'))
    const read = (): number => readFileSync(file('blobs.dat'))[(slot + 1) * FRAME_BYTES - 1]
    for (const id of [one, two, three]) await store.write(id, frameOf(9))
    await store.delete(one)
    await store.write(one, frameOf(8))
    expect(read()).toBe(1)
    await store.flush(note(2))
    await store.write(one, frameOf(7))
    expect(read()).toBe(7)
  })

  it('every page is checked on the way in', async () => {
    const { open, file } = desk()
    const store = await open()
    await store.writeMany([one, two].map((id) => ({ id, frame: frameOf(id) })))
    await store.flush(note(1))
    await store.close()
    const [slot] = slotsOf(file('manifest'))
    const whole = readFileSync(file('blobs.dat'))
    const other = await open()
    for (let page = 0; page < FRAME_BYTES / PAGE_BYTES; page++) {
      const at = slot * FRAME_BYTES + page * PAGE_BYTES + ((page * 997) % PAGE_BYTES)
      const damaged = Buffer.from(whole)
      damaged[at] ^= 1
      writeFileSync(file('blobs.dat'), damaged)
      const error: unknown = await other.read(one, emptyFrame()).catch((caught: unknown) => caught)
      expect(String(error)).toMatch(
        new RegExp(`blobs\\.dat at ${String(slot * FRAME_BYTES)}, blob 1, page ${String(page)}:`),
      )
      expect(await codeOf(() => other.readRange(one, page * PAGE_BYTES, new Uint8Array(PAGE_BYTES)))).toBe(
        'HOLT_CORRUPT',
      )
      expect(await seedIn(other, two)).toBe(2)
    }
  })

  it('a frame in the place of another is corruption', async () => {
    const { open, file } = desk()
    const store = await open()
    await store.writeMany([one, two].map((id) => ({ id, frame: frameOf(7) })))
    await store.flush(note(1))
    const bytes = readFileSync(file('blobs.dat'))
    bytes.copy(bytes, 0, FRAME_BYTES, 2 * FRAME_BYTES)
    writeFileSync(file('blobs.dat'), bytes)
    expect(await codeOf(() => store.read(one, emptyFrame()))).toBe('HOLT_CORRUPT')
    expect(await seedIn(store, two)).toBe(7)
  })
})

describe('the manifest of a store', () => {
  it('grows in steps, becomes a snapshot when it is long, and is read back at every length', async () => {
    const { open, file } = desk()
    let store = await open()
    await store.write(one, frameOf(1))
    const sizes = new Set<number>()
    const long = new Uint8Array(9_000).fill(3)
    let replaced = 0
    let before = statSync(file('manifest')).ino
    for (let round = 0; round < 140; round++) {
      await store.flush(round % 2 === 0 ? long : note(round))
      const { size, ino } = statSync(file('manifest'))
      sizes.add(size)
      if (ino !== before) replaced++
      before = ino
      if (round % 20 !== 19) continue
      await store.close()
      store = await open()
      expect(store.note()).toEqual(note(round))
      expect(await seedIn(store, one)).toBe(1)
    }
    expect(sizes.size).toBeGreaterThan(5)
    expect(replaced).toBe(1)
    for (const size of sizes) expect(size).toBeLessThanOrEqual(2 ** 20 + 3 * LOG_ROOM_BYTES)
  })

  it('cut anywhere below its length, also after it has grown, it is refused', async () => {
    const { open, file } = desk()
    const store = await open()
    const long = new Uint8Array(9_000)
    for (let round = 0; round < 8; round++) await store.flush(long)
    await store.close()
    const whole = readFileSync(file('manifest'))
    expect(whole.length).toBeGreaterThan(LOG_ROOM_BYTES + 2 ** 16)
    for (let length = whole.length - 1; length >= 0; length -= 509) {
      const code = await codeOf(() => readManifest(whole.subarray(0, length), 'manifest'))
      expect(code).toBe('HOLT_CORRUPT')
    }
    truncateSync(file('manifest'), whole.length - LOG_ROOM_BYTES)
    expect(await codeOf(() => open())).toBe('HOLT_CORRUPT')
  })

  it('what a crash left behind its end does not come back', async () => {
    const { open, file } = desk()
    const first = await open()
    await first.flush(note(1))
    await first.close()
    // The first sector of each copy of a two-sector record has not landed.
    const before = readFileSync(file('manifest'))
    const second = await open()
    await second.flush(new Uint8Array(600).fill(2))
    await second.close()
    const torn = readFileSync(file('manifest'))
    const end = readManifest(before, 'manifest').endBytes
    torn.fill(0, end, end + 512)
    torn.fill(0, end + 1024, end + 1536)
    writeFileSync(file('manifest'), torn)
    const third = await open()
    expect(third.note()).toEqual(note(1))
    await third.flush(note(3))
    await third.close()
    const fourth = await open()
    expect(fourth.note()).toEqual(note(3))
    await fourth.flush(note(4))
    await fourth.close()
    expect((await open()).note()).toEqual(note(4))
  })
})

describe('failures of a FileBlobStore', () => {
  it('after a failed data sync frames go to other slots, and those come back after a flush', async () => {
    const { open, faulty, file } = desk()
    const store = await open()
    await store.write(one, frameOf(1))
    await store.flush(note(1))
    await store.write(one, frameOf(2))
    faulty.failNext('sync', /blobs\.dat$/)
    expect(await codeOf(() => store.flush(note(2)))).toBe('HOLT_IO')
    expect([store.needsFlush, await seedIn(store, one)]).toEqual([false, 1])
    await store.write(one, frameOf(3))
    await store.flush(note(3))
    expect(slotsOf(file('manifest'))).toEqual([2])
    await store.write(two, frameOf(4))
    await store.write(three, frameOf(5))
    await store.flush(note(4))
    expect(slotsOf(file('manifest'))).toEqual([0, 1, 2])
  })

  it.each([
    ['was not written', false],
    ['was written all the same', true],
  ])(
    'a manifest record of unknown fate that %s is settled by a snapshot before the next change',
    async (_, done) => {
      const { open, faulty, file } = desk()
      const store = await open()
      await store.write(one, frameOf(1))
      await store.flush(note(1))
      await store.write(one, frameOf(2))
      faulty.failNext('writeManyAndSync', /manifest/, { done })
      expect(await codeOf(() => store.flush(note(2)))).toBe('HOLT_IO')
      expect([store.note(), await seedIn(store, one)]).toEqual([note(1), 1])
      faulty.calls.length = 0
      await store.write(two, frameOf(3))
      expect(faulty.calls.indexOf('rename manifest.tmp')).toBeGreaterThanOrEqual(0)
      expect(faulty.calls.indexOf('rename manifest.tmp')).toBeLessThan(
        faulty.calls.indexOf('writeMany blobs.dat'),
      )
      // Neither the slot of the completed flush nor that of the undecided one is used.
      expect(readManifest(readFileSync(file('manifest')), 'manifest').note).toEqual(note(1))
      await store.flush(note(4))
      expect(slotsOf(file('manifest'))).toEqual([0, 2])
      await store.close()
      const again = await open()
      expect([again.note(), await seedIn(again, one), await seedIn(again, two)]).toEqual([note(4), 1, 3])
    },
  )

  it.each([
    ['sync', /manifest\.tmp$/],
    ['rename', /manifest\.tmp$/],
    ['syncDir', /./],
  ] as const)('is poisoned when settling fails at %s, and goes on reading', async (method, name) => {
    const { open, faulty } = desk()
    const store = await open()
    await store.write(one, frameOf(1))
    await store.flush(note(1))
    faulty.failNext('writeManyAndSync', /manifest/)
    await codeOf(() => store.flush(note(2)))
    faulty.failNext(method, name)
    expect(await codeOf(() => store.write(one, frameOf(3)))).toBe('HOLT_IO')
    expect(await codeOf(() => store.write(one, frameOf(3)))).toBe('HOLT_POISONED')
    expect(await codeOf(() => store.flush(note(3)))).toBe('HOLT_POISONED')
    expect(await seedIn(store, one)).toBe(1)
    await store.close()
    const again = await open()
    expect(again.note()).toEqual(note(1))
    await again.flush(note(5))
  })

  it('no space while settling is no poison', async () => {
    const { open, faulty } = desk()
    const store = await open()
    await store.flush(note(1))
    faulty.failNext('writeManyAndSync', /manifest/)
    await codeOf(() => store.flush(note(2)))
    faulty.failNext('allocate', /manifest\.tmp$/, { code: 'HOLT_NO_SPACE' })
    expect(await codeOf(() => store.flush(note(3)))).toBe('HOLT_NO_SPACE')
    await store.flush(note(4))
    expect(store.note()).toEqual(note(4))
  })

  it('no space for frames stages nothing and uses up no slot', async () => {
    const { open, faulty, file } = desk()
    const store = await open()
    await store.settle()
    for (let attempt = 0; attempt < 3; attempt++) {
      faulty.failNext('allocate', /blobs\.dat$/, { code: 'HOLT_NO_SPACE' })
      faulty.failNext('allocate', /blobs\.dat$/, { code: 'HOLT_NO_SPACE' })
      expect(await codeOf(() => store.write(one, frameOf(1)))).toBe('HOLT_NO_SPACE')
    }
    expect([store.has(one), store.needsFlush]).toEqual([false, false])
    // Room for the frame alone is enough.
    faulty.failNext('allocate', /blobs\.dat$/, { code: 'HOLT_NO_SPACE' })
    await store.write(one, frameOf(2))
    await store.flush(note(1))
    expect(slotsOf(file('manifest'))).toEqual([0])
    expect(statSync(file('blobs.dat')).size).toBe(FRAME_BYTES)
  })

  it('a failed write stages nothing and leaves what was staged', async () => {
    const { open, faulty } = desk()
    const store = await open()
    await store.write(one, frameOf(1))
    faulty.failNext('writeMany', /blobs\.dat$/)
    const failing = store.writeMany([one, two].map((id) => ({ id, frame: frameOf(9) })))
    expect(await codeOf(() => failing)).toBe('HOLT_IO')
    expect([store.list(), await seedIn(store, one)]).toEqual([[1], 1])
    await store.flush(note(1))
    expect(await seedIn(store, one)).toBe(1)
  })

  it('a failure to make the files is told, and the next attempt makes them', async () => {
    const { open, faulty, directory } = desk()
    const store = await open()
    faulty.failNext('sync', /manifest\.tmp$/)
    expect(await codeOf(() => store.write(one, frameOf(1)))).toBe('HOLT_IO')
    expect(readdirSync(directory)).toEqual([])
    await store.write(one, frameOf(2))
    await store.flush(note(1))
    await store.close()
    expect(await seedIn(await open(), one)).toBe(2)
  })
})

describe('two instances over one mapping', () => {
  it('the one that reads sees what the other flushes, and only that', async () => {
    const { open, faulty } = desk()
    const reader = await open()
    await reader.settle()
    const { moduleUrl, data } = reader.worker
    expect(moduleUrl).toMatch(/dist\/file-blob-store-worker\.js$/)
    const writer = await openBlobStore(structuredClone(data), faulty.io)
    await writer.writeMany([one, two].map((id) => ({ id, frame: frameOf(id) })))
    expect(reader.list()).toEqual([])
    await writer.flush(note(1))
    expect(reader.list()).toEqual([1, 2])
    const frame = emptyFrame()
    for (let round = 3; round < 9; round++) {
      await writer.write(one, frameOf(round))
      reader.readSync(one, frame)
      expect(seedOf(frame)).toBe(round === 3 ? 1 : round - 1)
      await writer.flush(note(round))
      reader.readSync(one, frame)
      expect(seedOf(frame)).toBe(round)
    }
    await writer.delete(two)
    await writer.flush(note(9))
    expect(reader.has(two)).toBe(false)
    await writer.close()
    await reader.close()
  })

  it('only the first that writes may', async () => {
    const { open, faulty } = desk()
    const reader = await open()
    await reader.settle()
    const writer = await openBlobStore(reader.worker.data, faulty.io)
    await writer.write(one, frameOf(1))
    expect(await codeOf(() => reader.write(one, frameOf(2)))).toBe('HOLT_LOCKED')
    expect(await codeOf(() => reader.flush(note(1)))).toBe('HOLT_LOCKED')
    expect(await codeOf(() => reader.settle())).toBe('HOLT_LOCKED')
    await writer.flush(note(1))
    await writer.close()
    expect(await codeOf(() => reader.write(one, frameOf(2)))).toBe('HOLT_LOCKED')
  })

  it('reads on while the slots it reads from are taken over', async () => {
    const { open, faulty } = desk()
    const reader = await open()
    await reader.settle()
    const writer = await openBlobStore(reader.worker.data, faulty.io)
    await writer.write(one, frameOf(0))
    await writer.flush(note(0))
    let done = false
    const writing = (async () => {
      for (let round = 1; round < 25; round++) {
        await writer.write(one, frameOf(round))
        await writer.flush(note(round))
      }
      done = true
    })()
    let last = 0
    while (!done) {
      const seed = await seedIn(reader, one)
      expect(seed).toBeGreaterThanOrEqual(last)
      last = seed
    }
    await writing
    expect(await seedIn(reader, one)).toBe(24)
  })

  it('refuses what is not a store’s own hand-over', async () => {
    const { faulty } = desk()
    for (const data of [
      undefined,
      null,
      {},
      { directory: 'x', mapping: new ArrayBuffer(8), direct: false },
    ]) {
      expect(await codeOf(() => openBlobStore(data, faulty.io))).toBe('HOLT_INVALID_ARGUMENT')
    }
  })
})
