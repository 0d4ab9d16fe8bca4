import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { open, openMemory } from '../src/index.js'

const ENCODINGS = { keyEncoding: 'utf8', valueEncoding: 'view' } as const
const MEMORY = [
  ['a Uint8Array', (length: number) => new Uint8Array(length)],
  // Its `slice` shares memory, where that of a Uint8Array copies.
  ['a Buffer', (length: number) => Buffer.alloc(length)],
] as const

test.each(MEMORY)(
  'a batch has what %s held when it was given, whatever becomes of it',
  async (_name, make) => {
    const db = await openMemory()
    const tree = await db.tree('t', ENCODINGS)
    const bytes = make(40)
    await tree.put('seen', bytes)
    const { version } = tree.getRecord('seen') ?? { version: undefined }
    if (version === undefined) throw new Error('the put is not seen')
    const outcome = await db.atomic((tx) => {
      const batch = tx.in(tree)
      bytes.fill(1)
      batch.putIfAbsent('new', bytes)
      bytes.fill(2)
      batch.put('put', bytes)
      bytes.fill(3)
      batch.compareAndPut('seen', bytes, version)
      bytes.fill(9)
    })
    expect(outcome.committed).toBe(true)
    const first = (key: string): number | undefined => tree.get(key)?.[0]
    expect([first('new'), first('put'), first('seen')]).toEqual([1, 2, 3])
    await db.close()
  },
)

test.each(MEMORY)('a put that has to wait stores what %s held when it was called', async (_name, make) => {
  const directory = await mkdtemp(join(tmpdir(), 'holt-caller-memory-'))
  try {
    const db = await open(directory, { cacheBytes: 16 * 524_288 })
    const tree = await db.tree('t', ENCODINGS)
    const bytes = make(2 ** 20)
    const puts: Promise<unknown>[] = []
    let mostWaiting = 0
    for (let i = 0; i < 24; i++) {
      bytes.fill(i)
      puts.push(tree.put(`k${String(i)}`, bytes))
      mostWaiting = Math.max(mostWaiting, db.stats().writes.waiting)
    }
    bytes.fill(99)
    await Promise.all(puts)
    expect(mostWaiting).toBeGreaterThan(0)
    for (let i = 0; i < 24; i++) expect([i, tree.get(`k${String(i)}`)?.[0]]).toEqual([i, i])
    await db.close()
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
})
