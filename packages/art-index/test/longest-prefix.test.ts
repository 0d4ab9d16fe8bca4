import { describe, expect, it } from 'vitest'
import { ArtIndex, longestPrefix, NO_PREFIX } from '../src/index.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { buildTree } from './frame-builder.js'
import { KEY_MAKERS } from './keys.js'
import { ModelledIndex, utf8 } from './modelled-index.js'
import { Random } from './random.js'
import { bytesOf, SortedMap } from './sorted-map.js'

function expected(keys: readonly string[], query: string): number {
  let longest = NO_PREFIX
  for (const key of keys) if (query.startsWith(key) && key.length > longest) longest = key.length
  return longest
}

describe.each(Object.entries(KEY_MAKERS))('the longest prefix of a query, keys: %s', (_name, make) => {
  it('is what a look at every key finds, across frames laid out by hand', () => {
    for (let seed = 1; seed <= 24; seed++) {
      const random = new Random(seed)
      const map = new SortedMap()
      for (let i = 0; i < seed * 6; i++) map.put(make(random), 'v', 1)
      const source = new ArrayFrameSource({ frames: 1_000 })
      const tree = { source, rootId: buildTree(source, map, random) }
      for (let i = 0; i < 100; i++) {
        let query = random.chance(60) ? random.pick(map.keys) : make(random)
        if (random.chance(50)) query += make(random)
        if (random.chance(20)) query = query.slice(0, random.below(query.length + 1))
        const bytes = bytesOf(query)
        const message = `seed ${String(seed)}, query ${Buffer.from(bytes).toString('hex')}`
        expect(longestPrefix(tree, bytes, bytes.length), message).toBe(expected(map.keys, query))
      }
    }
  })
})

describe('the longest prefix', () => {
  it('F2.2: is the empty key for every query, if that is there and nothing longer is', () => {
    const modelled = new ModelledIndex()
    const ask = (query: string): number => longestPrefix(modelled.index, utf8(query), utf8(query).length)
    expect(ask('abc')).toBe(NO_PREFIX)
    expect(ask('')).toBe(NO_PREFIX)
    modelled.put(utf8(''), 3)
    expect(ask('abc')).toBe(0)
    expect(ask('')).toBe(0)
    modelled.put(utf8('ab'), 3)
    expect(ask('abc')).toBe(2)
    expect(ask('ab')).toBe(2)
    expect(ask('a')).toBe(0)
  })

  it('F5.6: goes through frames that spilled, and through frames that are not in memory', () => {
    const modelled = new ModelledIndex({ usableFrameBytes: 12_288, frames: 400 })
    let path = ''
    for (let i = 0; i < 60; i++) {
      path += `/d${String(i)}`
      for (let file = 0; file < 8; file++) modelled.put(utf8(`${path}.${String(file)}`), 40)
      if (i % 3 === 0) modelled.put(utf8(path), 20)
    }
    const { source, index } = modelled
    expect(source.ids.length).toBeGreaterThan(3)
    for (const id of source.ids) source.evict(id)
    const query = utf8(`${path}/and/more`)
    const length = longestPrefix(index, query, query.length)
    expect(Buffer.from(query.subarray(0, length)).toString()).toMatch(/d57$/)
  })

  it('counts no more of the query than its length', () => {
    const modelled = new ModelledIndex()
    modelled.put(utf8('abcd'), 1)
    expect(longestPrefix(modelled.index, utf8('abcd'), 3)).toBe(NO_PREFIX)
    expect(longestPrefix(modelled.index, utf8('abcd'), 4)).toBe(4)
  })

  it('says where it met bytes that cannot be a tree', () => {
    const source = new ArrayFrameSource({ frames: 8 })
    const index = ArtIndex.create(source)
    for (const key of ['a', 'ab', 'abc']) {
      index.key.set(utf8(key))
      index.put(key.length, utf8('v'), 0, 1, 1)
    }
    const slot = source.pageTable[index.rootId]
    const { u8 } = source.slab.segmentOf(slot as never)
    // Every node of the frame gets the type 7, which does not exist.
    const base = source.slab.offsetOf(slot as never)
    for (let at = base + 4_096; at < base + 4_600; at += 8) u8[at] |= 7
    expect(() => longestPrefix(index, utf8('abc'), 3)).toThrow(
      expect.objectContaining({ code: 'HOLT_CORRUPT' }) as Error,
    )
  })
})
