import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile, cp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { crc32c } from '@holt/uring-native/crc32c'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CHANNELS, type Db, type Durability, open, type OpenOptions } from '../src/index.js'

const code = (name: string): unknown => expect.objectContaining({ name: 'HoltError', code: name })

let directory: string
let path: string
let opened: Db[]

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'holt-disk-'))
  path = join(directory, 'db')
  opened = []
})
afterEach(async () => {
  for (const db of opened) await db.close().catch(() => undefined)
  await rm(directory, { recursive: true, force: true })
})

async function openAt(options?: OpenOptions, at = path): Promise<Db> {
  const db = await open(at, options)
  opened.push(db)
  return db
}

const pairs = (count: number): [string, string][] =>
  Array.from({ length: count }, (_, i) => [`dir-${String(i % 7)}/file-${String(i)}`, `value ${String(i)}`])

describe.each(['fs', 'auto'] as const)('a database on the disk, io %s', (io) => {
  describe.each(['memory', 'os', 'disk'] as const)('durability %s', (durability: Durability) => {
    it('is there again after close and open, with its versions', async () => {
      const first = await openAt({ io, durability })
      const tree = await first.tree('t', { valueEncoding: 'utf8' })
      for (const [key, value] of pairs(500)) await tree.put(key, value)
      await tree.delete('dir-0/file-0')
      const version = tree.getRecord('dir-1/file-1')?.version
      await first.close()

      const second = await openAt({ io, durability })
      const again = await second.tree('t', { valueEncoding: 'utf8' })
      expect([...again.scan()].map(({ key, value }) => [key, value])).toEqual(
        pairs(500)
          .slice(1)
          .sort(([a], [b]) => (a < b ? -1 : 1)),
      )
      expect(again.getRecord('dir-1/file-1')?.version).toBe(version)
      await again.put('new', 'x')
      expect(again.getRecord('new')?.version).toBeGreaterThan(version ?? Infinity)
      expect((await second.verify()).problems).toEqual([])
    })

    it('keeps many frames in a small cache', { timeout: 120_000 }, async () => {
      const options: OpenOptions = {
        io,
        durability,
        cacheBytes: 16 * 524_288,
        usableFrameBytes: 16_384,
        segmentBytes: 65_536,
      }
      const db = await openAt(options)
      const tree = await db.tree('t', { valueEncoding: 'utf8' })
      const writes: Promise<void>[] = []
      for (const [key, value] of pairs(4_000)) {
        writes.push(tree.put(key, value.padEnd(100)))
        if (writes.length === 100) await Promise.all(writes.splice(0))
      }
      await Promise.all(writes)
      for (const [key, value] of pairs(4_000)) expect(tree.get(key)).toBe(value.padEnd(100))
      expect(db.stats().cache.evictions).toBeGreaterThan(0)
      expect(db.stats().checkpoint?.succeeded).toBeGreaterThan(0)
      expect(db.stats().checkpoint?.lastError).toBeUndefined()
      await db.close()
      const again = await openAt(options)
      const reopened = await again.tree('t', { valueEncoding: 'utf8' })
      expect([...reopened.keys()]).toHaveLength(4_000)
      expect((await again.verify()).problems).toEqual([])
    })
  })

  it('opening, reading and closing writes nothing and starts no checkpoint', async () => {
    const first = await openAt({ io })
    await (await first.tree('t')).put('k', new Uint8Array([1]))
    await first.close()
    const before = await snapshotOf(path)
    const second = await openAt({ io })
    expect((await second.tree('t')).get('k')).toEqual(new Uint8Array([1]))
    expect(second.stats().checkpoint?.attempted).toBe(0)
    await second.close()
    expect(await snapshotOf(path)).toEqual(before)
  })

  it('a second opener is refused, in this process too, until the first closes', async () => {
    const first = await openAt({ io })
    await first.tree('t')
    const before = await snapshotOf(path)
    await expect(open(path, { io })).rejects.toEqual(code('HOLT_LOCKED'))
    await expect(open(path, { io })).rejects.toThrow(String(process.pid))
    expect(await snapshotOf(path)).toEqual(before)
    await first.close()
    await openAt({ io })
  })

  it('a lock file whose process is over is taken over', async () => {
    const first = await openAt({ io })
    await (await first.tree('t')).put('k', new Uint8Array([1]))
    // What a killed process leaves behind: everything but its flock.
    const left = join(directory, 'left')
    await first.sync()
    await cp(path, left, { recursive: true })
    const holder = JSON.parse(await readFile(join(left, 'lock'), 'utf8')) as Record<string, unknown>
    await writeFile(join(left, 'lock'), JSON.stringify({ ...holder, pid: 2 ** 22 - 1, startTime: '1' }))
    const second = await openAt({ io }, left)
    expect((await second.tree('t')).get('k')).toEqual(new Uint8Array([1]))
  })

  it('db.sync and a write raised to disk resolve', async () => {
    const db = await openAt({ io })
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await tree.put('a', '1', { durability: 'disk' })
    const unstable = db.stats().journal?.unstableBytes
    expect(unstable).toBe(0)
    void tree.put('b', '2')
    await db.sync()
    expect(db.stats().journal?.unstableBytes).toBe(0)
  })

  it('sync waits for what was called before it, not for what comes after', async () => {
    const db = await openAt({ io })
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    const before = tree.put('before', '1')
    const synced = db.sync().then(() => tree.has('before'))
    const after = tree.put('after', '2')
    expect(await synced).toBe(true)
    await Promise.all([before, after])
  })

  it('an atomic batch is one journal record', async () => {
    const db = await openAt({ io })
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    const before = db.stats().journal?.records ?? 0
    await db.atomic((tx) => {
      for (const [key, value] of pairs(1_000)) tx.in(tree).put(key, value)
    })
    expect((db.stats().journal?.records ?? 0) - before).toBe(1)
  })

  it('publishes checkpoints and segment switches', async () => {
    const seen: string[] = []
    const listener = (message: unknown, name: string | symbol): void => {
      if ((message as { path?: string }).path === path) seen.push(String(name))
    }
    for (const name of Object.values(CHANNELS)) subscribe(name, listener)
    try {
      const db = await openAt({ io, segmentBytes: 65_536 })
      const tree = await db.tree('t')
      for (let i = 0; i < 100; i++) await tree.put(`k${String(i)}`, new Uint8Array(2_000))
      await db.checkpoint()
    } finally {
      for (const name of Object.values(CHANNELS)) unsubscribe(name, listener)
    }
    expect(seen).toContain('holt:segment:switch')
    expect(seen).toContain('holt:checkpoint:start')
    expect(seen).toContain('holt:checkpoint:end')
  })
})

describe('a directory that cannot be opened', () => {
  it('is absent, and is not to be made', async () => {
    await expect(open(path, { createIfMissing: false })).rejects.toEqual(code('HOLT_NOT_FOUND'))
    expect(await readdir(directory)).toEqual([])
  })

  it('is there, and should not be', async () => {
    const db = await openAt()
    await (await db.tree('t')).put('k', new Uint8Array(0))
    await db.close()
    await expect(open(path, { errorIfExists: true })).rejects.toEqual(code('HOLT_EXISTS'))
  })

  it('holds other things: nothing is written into it', async () => {
    await writeFile(join(directory, 'notes.txt'), 'mine')
    await expect(open(directory)).rejects.toEqual(code('HOLT_NOT_A_STORE'))
    expect(await readdir(directory)).toEqual(['notes.txt'])
  })

  it('is a file', async () => {
    await writeFile(path, 'a file')
    await expect(open(path)).rejects.toMatchObject({ name: 'HoltError' })
    expect(await readFile(path, 'utf8')).toBe('a file')
  })

  it('was written in another format version', async () => {
    await closedStore()
    const manifest = await readFile(join(path, 'manifest'))
    // The header: its version at byte 4, its own checksum at byte 508.
    manifest.writeUInt16LE(2, 4)
    manifest.writeUInt32LE(crc32c(manifest, 0, 508), 508)
    await writeFile(join(path, 'manifest'), manifest)
    await expect(open(path)).rejects.toEqual(code('HOLT_VERSION'))
  })

  it(
    'was truncated or flipped anywhere in the manifest: the data is right or the damage is named',
    { timeout: 120_000 },
    async () => {
      await closedStore()
      const file = join(path, 'manifest')
      const manifest = await readFile(file)
      for (let at = 0; at < manifest.length; at += 97) {
        const flipped = Buffer.from(manifest)
        flipped[at] = (flipped[at] ?? 0) ^ 0x10
        await writeFile(file, flipped)
        await expectRightOrNamed()
      }
      for (let length = 0; length < manifest.length; length += 211) {
        await writeFile(file, manifest)
        await truncate(file, length)
        await expectRightOrNamed()
      }
    },
  )

  it('G9: has a flipped byte in a frame: reading it is HOLT_CORRUPT with file, frame and page', async () => {
    await closedStore()
    const file = join(path, 'blobs.dat')
    const bytes = await readFile(file)
    // Older images of the frame may lie in the file too.
    let flips = 0
    for (let at = bytes.indexOf('value of k'); at >= 0; at = bytes.indexOf('value of k', at + 1)) {
      bytes[at] = (bytes[at] ?? 0) ^ 1
      flips += 1
    }
    expect(flips).toBeGreaterThan(0)
    await writeFile(file, bytes)
    await expect(
      (async () => {
        const db = await openAt()
        return (await db.tree('t', { valueEncoding: 'utf8' })).get('k')
      })(),
    ).rejects.toMatchObject({
      code: 'HOLT_CORRUPT',
      message: expect.stringMatching(/blobs\.dat.*(blob|frame).*page/s) as string,
    })
  })

  async function closedStore(): Promise<void> {
    const db = await openAt()
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await tree.put('k', 'value of k')
    await db.checkpoint()
    await tree.put('l', 'value of l')
    await db.close()
  }

  async function readBack(): Promise<string> {
    try {
      const db = await open(path, { createIfMissing: false })
      try {
        const tree = await db.tree('t', { valueEncoding: 'utf8' })
        return tree.get('k') === 'value of k' && tree.get('l') === 'value of l' ? 'fine' : 'wrong data'
      } finally {
        await db.close()
      }
    } catch (error) {
      return (error as { code?: string }).code ?? String(error)
    }
  }

  async function expectRightOrNamed(): Promise<void> {
    expect(['fine', 'HOLT_CORRUPT', 'HOLT_VERSION', 'HOLT_NOT_A_STORE']).toContain(await readBack())
  }
})

/** Name, size and content of every file, apart from the locks, which come and go. */
async function snapshotOf(at: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {}
  for (const name of await readdir(at)) {
    if (name.startsWith('lock')) continue
    const { size } = await stat(join(at, name))
    files[name] =
      `${String(size)} ${(await readFile(join(at, name))).subarray(0, 2 ** 20).toString('base64')}`
  }
  return files
}

describe('a directory whose manifest is missing', () => {
  it('but not its data is corrupt, not new', async () => {
    const db = await openAt()
    await (await db.tree('t')).put('k', new Uint8Array(1))
    await db.close()
    await rm(join(path, 'manifest'))
    await expect(open(path)).rejects.toEqual(code('HOLT_CORRUPT'))
    await rm(join(path, 'blobs.dat'))
    await writeFile(join(path, 'journal-000000000001.wal'), new Uint8Array(16_384))
    await expect(open(path)).rejects.toEqual(code('HOLT_CORRUPT'))
  })
})
