import { describe, expect, it } from 'vitest'
import { EntryBatch } from '../src/entry-batch.js'
import { keyCodec } from '../src/key-encoding.js'
import { END, SortedEntries, type SortedEntriesOptions, WORKING } from '../src/sorted-entries.js'
import { awkwardKey, hex, KEY_KINDS, randomOf } from './awkward-keys.js'

type Pair = readonly [key: Uint8Array, value: Uint8Array]

function addAll(entries: SortedEntries, pairs: readonly Pair[]): void {
  const batch = new EntryBatch(keyCodec('view'))
  const flush = (): void => {
    batch.encodeKeys()
    entries.add(batch)
    batch.clear()
  }
  for (const [key, value] of pairs) {
    if (!batch.hasRoom(value.length)) flush()
    batch.add(key, value)
  }
  flush()
}

/** Keys and values in hexadecimal, and the most entries that came without a pause for the event loop between. */
function takeAll(entries: SortedEntries): { found: string[]; pauses: number } {
  const found: string[] = []
  let pauses = 0
  for (;;) {
    const entry = entries.next()
    if (entry === END) break
    if (entry === WORKING) {
      pauses++
      continue
    }
    const bytes = new Uint8Array(entries.wordsOf(entry).buffer)
    const key = entries.keyAt(entry) * 4
    const value = key + ((entries.keyLength(entry) + 3) & ~3)
    found.push(
      `${hex(bytes.subarray(key, key + entries.keyLength(entry)))} ${hex(bytes.subarray(value, value + entries.valueLength(entry)))}`,
    )
  }
  expect(entries.next()).toBe(END)
  return { found, pauses }
}

/** Of several with one key the last one, in the order of the keys' bytes. */
function expectedOf(pairs: readonly Pair[]): string[] {
  const last = new Map(pairs.map((pair) => [hex(pair[0]), pair]))
  return [...last.values()]
    .sort(([a], [b]) => Buffer.compare(a, b))
    .map(([key, value]) => `${hex(key)} ${hex(value)}`)
}

/** Much memory and few steps; and so little of both that every way of dividing and pausing is taken. */
const BOUNDS: readonly SortedEntriesOptions[] = [
  {},
  { chunkBytes: 256, stepEntries: 32 },
  { chunkBytes: 8_192, stepEntries: 100 },
]

describe('sorted entries', () => {
  for (const kind of KEY_KINDS) {
    it(`come in the order of an ordered map, the last of each key: ${kind.name}`, () => {
      for (let seed = 1; seed <= 8; seed++) {
        const random = randomOf(seed)
        const count = [0, 1, 15, 16, 17, 40, 700, 3_000][seed - 1]
        const pairs = Array.from({ length: count }, (): Pair => {
          const value = new Uint8Array(random(50) === 0 ? random(1_000) : random(20)).fill(random(256))
          return [awkwardKey(kind, random), value]
        })
        for (const options of BOUNDS) {
          const entries = new SortedEntries(options)
          addAll(entries, pairs)
          expect(takeAll(entries).found).toEqual(expectedOf(pairs))
        }
      }
    })
  }

  it('with one key for all, or with digits far apart and close together, are those of the map too', () => {
    const random = randomOf(5)
    const one = new Uint8Array(20).fill(7)
    const makers: ((i: number) => Uint8Array)[] = [
      () => one,
      (i) => Uint8Array.of(i % 3 === 0 ? 0 : 255, 255, 255, i % 7, i % 11),
      (i) => Uint8Array.of(0x80, 0, i >> 8, i & 255),
      (i) => (i % 2 === 0 ? one.subarray(0, i % 20) : Uint8Array.of(7, 7, 7, 7, 7, 7, 7, 7, random(256))),
    ]
    for (const make of makers) {
      const pairs = Array.from({ length: 5_000 }, (_, i): Pair => [make(i), Uint8Array.of(i & 255, i >> 8)])
      for (const options of BOUNDS) {
        const entries = new SortedEntries(options)
        addAll(entries, pairs)
        expect(takeAll(entries).found).toEqual(expectedOf(pairs))
      }
    }
  })

  it('pause after every step of work', () => {
    const entries = new SortedEntries({ stepEntries: 128 })
    const random = randomOf(3)
    addAll(
      entries,
      Array.from({ length: 20_000 }, (): Pair => [
        Uint8Array.of(1, 2, 3, random(256), random(256), random(256), random(256)),
        new Uint8Array(1),
      ]),
    )
    // To divide them they are looked at twice, in 156 steps each.
    expect(takeAll(entries).pauses).toBeGreaterThan(300)
  })

  it('that lie in their own memory are not those of whoever added them', () => {
    const entries = new SortedEntries()
    const key = Uint8Array.of(1)
    const value = new Uint8Array(2_000_000).fill(5)
    const batch = new EntryBatch(keyCodec('view'))
    batch.add(key, value)
    key[0] = 9
    value.fill(6)
    batch.encodeKeys()
    entries.add(batch)
    batch.clear()
    batch.add(key, Uint8Array.of(1, 2, 3))
    batch.encodeKeys()
    entries.add(batch)
    expect(takeAll(entries).found).toEqual([`01 ${'05'.repeat(2_000_000)}`, '09 010203'])
  })

  it('are refused when there are more than can be numbered', () => {
    const entries = new SortedEntries({ chunkBytes: 256, maxChunks: 3 })
    const pairs = Array.from({ length: 100 }, (_, i): Pair => [Uint8Array.of(i), new Uint8Array(40)])
    expect(() => {
      addAll(entries, pairs)
    }).toThrow(expect.objectContaining({ code: 'HOLT_INVALID_ARGUMENT' }))
  })
})

describe('a batch of entries', () => {
  it('encodes keys that are strings as they would be alone, whatever stands beside them', () => {
    const texts = ['', 'a', 'ü', 'ab\u0000', '€uro', '😀', 'x'.repeat(4_096), '', 'plain']
    const batch = new EntryBatch(keyCodec('utf8'))
    for (const texts_ of [texts, texts.filter((text) => /^[\u0020-\u007e]*$/.test(text))]) {
      for (const text of texts_) batch.add(text, Buffer.from(text))
      batch.encodeKeys()
      const bytes = Buffer.from(batch.keyWords.buffer)
      const found = texts_.map((_, i) =>
        bytes.toString('utf8', batch.keyAt[i], batch.keyAt[i] + batch.keyLength[i]),
      )
      expect(found).toEqual(texts_)
      batch.clear()
    }
  })

  it('refuses ill-formed strings, also two that are well formed together', () => {
    for (const texts of [['a', '\ud83d', '\ude00'], ['\ud83d', '\ude00'], ['b\udc00']]) {
      const batch = new EntryBatch(keyCodec('utf8'))
      for (const text of texts) batch.add(text, new Uint8Array(0))
      expect(() => {
        batch.encodeKeys()
      }).toThrow(expect.objectContaining({ code: 'HOLT_INVALID_KEY' }))
    }
  })

  it('is full when its values take much memory, and takes a large one when it is empty', () => {
    const batch = new EntryBatch(keyCodec('view'))
    const large = new Uint8Array(200_000).fill(3)
    expect(batch.hasRoom(large.length)).toBe(true)
    batch.add(Uint8Array.of(1), large)
    expect(batch.hasRoom(1)).toBe(false)
    expect(new Uint8Array(batch.valueWords.buffer).every((byte) => byte === 3)).toBe(true)
    batch.clear()
    expect(batch.valueWords.byteLength).toBeLessThan(large.length)
    let entries = 0
    while (batch.hasRoom(10)) batch.add(Uint8Array.of(entries++), new Uint8Array(10))
    expect(entries).toBe(64)
  })
})
