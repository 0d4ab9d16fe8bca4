import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Db, open, openMemory, type Tree, type VisitedEntry } from '../src/index.js'

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()
const code = (value: string): unknown => expect.objectContaining({ code: value })

describe('a visit', () => {
  let db: Db
  let tree: Tree<string, string>

  beforeEach(async () => {
    db = await openMemory({ usableFrameBytes: 16_384 })
    tree = await db.tree('t', { valueEncoding: 'utf8' })
    for (const key of ['a', 'b/1', 'b/2', 'c']) await tree.put(key, `v:${key}`)
  })
  afterEach(async () => {
    await db.close()
  })

  it('shows the bytes of a value where they lie, and tells whether the key is there', () => {
    const seen: unknown[] = []
    expect(
      tree.visit('b/1', (value, version) => {
        expect(value.buffer).toBeInstanceOf(SharedArrayBuffer)
        seen.push(text(value), version)
      }),
    ).toBe(true)
    expect(seen).toEqual(['v:b/1', tree.getRecord('b/1')?.version])
    expect(tree.visit('absent', () => expect.unreachable())).toBe(false)
  })

  it('gathers a value that lies in frames of its own', async () => {
    const large = '0123456789'.repeat(900)
    await tree.put('large', large)
    let seen = ''
    tree.visit('large', (value) => {
      seen = text(value)
    })
    expect(seen).toBe(large)
    seen = ''
    tree.visitRange({ prefix: 'large' }, (entry) => {
      expect(entry.valueLength).toBe(9_000)
      seen = text(entry.value)
    })
    expect(seen).toBe(large)
  })

  it('shows a range entry by entry, with the options of a scan', () => {
    const list = (range: object): string[] => {
      const seen: string[] = []
      const count = tree.visitRange(range, (entry) => {
        seen.push(entry.isPrefix ? `${entry.key}*` : `${entry.key}=${text(entry.value)}`)
        expect(text(entry.keyBytes)).toBe(entry.key)
        expect(entry.valueLength).toBe(entry.value.length)
        expect(entry.version > 0).toBe(!entry.isPrefix)
      })
      expect(count).toBe(seen.length)
      return seen
    }
    expect(list({})).toEqual(['a=v:a', 'b/1=v:b/1', 'b/2=v:b/2', 'c=v:c'])
    expect(list({ delimiter: '/' })).toEqual(['a=v:a', 'b/*', 'c=v:c'])
    expect(list({ prefix: 'b/', reverse: true })).toEqual(['b/2=v:b/2', 'b/1=v:b/1'])
    expect(list({ gt: 'a', limit: 2 })).toEqual(['b/1=v:b/1', 'b/2=v:b/2'])
    expect(list({ prefix: 'x' })).toEqual([])
  })

  it('tells keys at whatever entry they are asked for, and values where they lie', async () => {
    const key = (i: number): string => `${i % 3 === 0 ? 'ü' : 'n'}/${String(i).padStart(4, '0')}`
    for (let i = 0; i < 900; i++) await tree.put(key(i), `value ${String(i)}`)
    const all = tree.scan().toArray()
    const large = 'x'.repeat(9_000)
    await tree.put(all[500].key, large)
    // Runs of 8, 16, 32 … entries: the first few of one, none, several times the same, all from somewhere on.
    const asked: ((i: number) => boolean)[] = [
      (i) => i === 0,
      (i) => i === 7 || i === 8,
      (i) => i === 20 || i === 23 || i === 600,
      (i) => i >= 300,
      (i) => i % 100 === 99,
      () => false,
    ]
    for (const [place, wants] of asked.entries()) {
      let i = 0
      const visited = tree.visitRange({}, (entry) => {
        const { valueMemory, valueOffset, valueLength } = entry
        const value = text(valueMemory.subarray(valueOffset, valueOffset + valueLength))
        expect(value).toBe(i === 500 ? large : all[i].value)
        if (wants(i)) {
          expect([entry.key, text(entry.keyBytes), entry.key], `${String(place)}, ${String(i)}`).toEqual([
            all[i].key,
            all[i].key,
            all[i].key,
          ])
        } else if (i % 50 === 0) expect(entry.version).toBe(tree.getRecord(all[i].key)?.version)
        i++
      })
      expect([i, visited]).toEqual([all.length, all.length])
    }
  })

  it('F8.8: ends when told so, at the limit, and at limit 0 before the first', () => {
    let calls = 0
    expect(tree.visitRange({}, () => ++calls < 2)).toBe(2)
    expect(calls).toBe(2)
    expect(tree.visitRange({ limit: 0 }, () => expect.unreachable())).toBe(0)
    // Only false ends it.
    expect(tree.visitRange({}, () => 0)).toBe(4)
  })

  it('F8.8: throws on what the callback throws, and writes go on afterwards', async () => {
    const failure = new Error('mine')
    const fail = (): never => {
      throw failure
    }
    expect(() => tree.visitRange({}, fail)).toThrow(failure)
    expect(() => tree.visit('a', fail)).toThrow(failure)
    await tree.put('d', 'after')
    expect(tree.get('d')).toBe('after')
  })

  it('refuses an asynchronous callback', () => {
    expect(() => tree.visit('a', () => Promise.reject(new Error('too late')))).toThrow(
      code('HOLT_INVALID_ARGUMENT'),
    )
    expect(() => tree.visitRange({}, async () => Promise.resolve(true))).toThrow(
      code('HOLT_INVALID_ARGUMENT'),
    )
  })

  it('invalidates its entry when it is over', () => {
    let kept: VisitedEntry<string> | undefined
    tree.visitRange({}, (entry) => {
      kept = entry
    })
    for (const look of [() => kept?.key, () => kept?.value, () => kept?.keyBytes, () => kept?.version])
      expect(look).toThrow(code('HOLT_INVALID_ARGUMENT'))
  })

  it('lets the callback read anything', () => {
    const seen: string[] = []
    tree.visitRange({}, (outer) => {
      tree.visit('c', (value) => seen.push(`${outer.key} ${text(value)} ${tree.get('a') ?? ''}`))
      seen.push(String(tree.count().keys))
    })
    expect(seen.slice(0, 2)).toEqual(['a v:c v:a', '4'])
    expect(seen).toHaveLength(8)
  })

  it('applies what the callback writes when it is over, in call order, whatever the write', async () => {
    const writes: Promise<unknown>[] = []
    const seen: string[] = []
    tree.visitRange({}, (entry) => {
      const { key } = entry
      const before = text(entry.value)
      writes.push(tree.put(key, 'changed'), tree.put(`${key}/new`, 'new'), tree.delete('c'))
      writes.push(db.atomic((tx) => tx.in(tree).put('z', key)))
      expect(tree.get(key)).toBe(before)
      expect(text(entry.value)).toBe(before)
      seen.push(key)
    })
    expect(seen).toEqual(['a', 'b/1', 'b/2', 'c'])
    await Promise.all(writes)
    // The put of 'c' was called behind the first deletes, the last delete behind that.
    expect([...tree.scan()].map(({ key, value }) => `${key}=${value}`)).toEqual([
      'a=changed',
      'a/new=new',
      'b/1=changed',
      'b/1/new=new',
      'b/2=changed',
      'b/2/new=new',
      'c/new=new',
      'z=c',
    ])
  })

  it('is not disturbed by a compaction that the callback starts', async () => {
    for (let i = 0; i < 400; i++) await tree.put(`x/${String(i)}`, 'v'.repeat(100))
    for (let i = 0; i < 400; i++) if (i % 9 !== 0) await tree.delete(`x/${String(i)}`)
    let compacting: Promise<unknown> | undefined
    tree.visit('x/9', (value) => {
      const before = text(value)
      compacting = db.compact()
      expect(text(value)).toBe(before)
    })
    await compacting
    expect(tree.count({ prefix: 'x/' }).keys).toBe(45)
    expect((await db.verify()).problems).toEqual([])
  })

  it('keeps order between what the callback writes and what is written behind it', async () => {
    tree.visit('a', () => void tree.put('a', 'first'))
    const second = tree.put('a', 'second')
    await second
    expect(tree.get('a')).toBe('second')
  })

  it('ends with HOLT_CLOSED when the callback closes the database, and what it wrote is applied', async () => {
    let written: Promise<void> | undefined
    let closing: Promise<void> | undefined
    expect(() =>
      tree.visitRange({}, () => {
        written = tree.put('d', 'last words')
        closing = db.close()
      }),
    ).toThrow(code('HOLT_CLOSED'))
    await written
    await closing
    await expect(tree.put('e', '')).rejects.toThrow(code('HOLT_CLOSED'))
  })
})

it('a visit keeps its frame in memory while the callback reads more than the cache holds', async () => {
  const path = mkdtempSync(join(tmpdir(), 'holt-visit-'))
  try {
    const options = { cacheBytes: 16 * 2 ** 19, usableFrameBytes: 16_384, checkpoint: { thread: false } }
    const writing = await open(path, options)
    const tree = await writing.tree('t')
    const key = (i: number): string => `key-${String(i).padStart(4, '0')}`
    for (let i = 0; i < 1_500; i++) await tree.put(key(i), new Uint8Array(500).fill(i))
    await writing.close()

    const db = await open(path, options)
    try {
      const values = await db.tree('t')
      const readAll = (): void => {
        for (let i = 0; i < 1_500; i += 5) expect(values.get(key(i))?.[0]).toBe(i & 0xff)
      }
      values.visit(key(700), (value) => {
        readAll()
        expect(value).toEqual(new Uint8Array(500).fill(700))
      })
      values.visitRange({ gte: key(300), limit: 20 }, (entry) => {
        if (entry.key.endsWith('7')) readAll()
        const i = Number(entry.key.slice(4))
        expect(entry.value).toEqual(new Uint8Array(500).fill(i))
      })
      // Nothing stays pinned.
      expect(db.stats().cache.evictions).toBeGreaterThan(100)
      readAll()
      expect(db.stats().cache.residentFrames).toBeLessThanOrEqual(16)
    } finally {
      await db.close()
    }
  } finally {
    rmSync(path, { recursive: true, force: true })
  }
})
