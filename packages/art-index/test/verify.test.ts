import { ENVELOPE_BYTES, FRAME_BYTES, PAGE_BYTES } from '@holt/blob-buf-pool'
import { isHoltError } from '@holt/errors'
import { describe, expect, it } from 'vitest'
import { ArtIndex, countPrefix, Cursor, END, FrameAbsent, treeStatistics, verifyTree } from '../src/index.js'
import * as layout from '../src/layout.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { buildTree } from './frame-builder.js'
import { KEY_MAKERS } from './keys.js'
import { Random } from './random.js'
import { bytesOf, SortedMap } from './sorted-map.js'

/** One frame, so that every place is known: a node4 with terminal under the path `p`, leaves below it. */
function small() {
  const source = new ArrayFrameSource({ frames: 8 })
  const map = new SortedMap()
  for (const [i, key] of ['p', 'pa1', 'pb12', 'pc'].entries()) map.put(key, 'value', i)
  const rootId = buildTree(source, map, always(0))
  const { u16, u32, f64 } = source.slab.segmentOf(slotOf(source, rootId))
  const base = source.slab.offsetOf(slotOf(source, rootId))
  const bytes = source.bytes(rootId)
  const root = u16[(base + layout.ENTRY_TABLE) >>> 1]
  return {
    tree: { source, rootId, changes: 0 },
    source,
    bytes,
    u16,
    u32,
    f64,
    base,
    root,
    node: base + root * 8,
  }
}

function always(choice: number): Random {
  const random = new Random(1)
  random.below = () => choice
  return random
}

/** Two crossings in the root frame to a frame with two entries, each with two crossings to a frame of two leaves. */
function nested() {
  const source = new ArrayFrameSource({ frames: 8 })
  const map = new SortedMap()
  for (const [i, key] of ['a1', 'a2', 'b1', 'b2'].entries()) map.put(key, 'value', i)
  const rootId = buildTree(source, map, always(90))
  const { u16, u32 } = source.slab.segmentOf(slotOf(source, rootId))
  const base = source.slab.offsetOf(slotOf(source, rootId))
  const entry = (base + layout.ENTRY_TABLE) >>> 1
  const node = base + u16[entry] * 8
  const [first, second] = [0, 1].map((i) => (base + u16[((node + 12) >>> 1) + i] * 8) >>> 2) as [
    number,
    number,
  ]
  return { tree: { source, rootId }, u16, u32, entry, first, second }
}

function slotOf(source: ArrayFrameSource, id: number) {
  return source.pageTable[id] as Parameters<typeof source.slab.bytes>[0]
}

/** One frame with a filter, and a second entry that nothing uses yet. */
function filtered() {
  const source = new ArrayFrameSource({ frames: 8 })
  const index = ArtIndex.create(source)
  for (let i = 0; i < 40; i++) {
    const key = bytesOf(`key ${String(i)}`)
    index.key.set(key)
    index.put(key.length, key, 0, key.length, i)
  }
  index.orderFrame(index.rootId)
  const { u16, u32 } = source.slab.segmentOf(slotOf(source, index.rootId))
  return { index, u16, u32, base: source.slab.offsetOf(slotOf(source, index.rootId)) }
}

describe('verify looks at the filter of a frame', () => {
  const cases: [title: string, damage: (frame: ReturnType<typeof filtered>) => void, expected: RegExp][] = [
    [
      'each key has to be in it',
      ({ u32, base }) =>
        u32.fill(0, (base + layout.ENTRY_TABLE + layout.ENTRY_BYTES) >>> 2, (base + layout.FREE_LISTS) >>> 2),
      /a leaf whose key is not in the filter/,
    ],
    [
      'it has to leave the entries in use alone',
      ({ u16, base }) => (u16[(base + layout.ENTRY_HIGH_WATER) >>> 1] = 2),
      /the filter begins at entry 1, below the high-water mark 2/,
    ],
    [
      'it has to lie in the table',
      ({ u16, base }) => (u16[(base + layout.FILTER_ENTRY) >>> 1] = layout.MAX_ENTRIES),
      /a filter from entry 206 on/,
    ],
    [
      'a frame with crossings has none',
      ({ u16, u32, base }) => {
        const root = u16[(base + layout.ENTRY_TABLE) >>> 1]
        const node = (base + root * layout.UNIT_BYTES) >>> 2
        const child = (base + u16[node * 2 + 12] * layout.UNIT_BYTES) >>> 2
        u32[child] = layout.CROSSING
        u32[child + 1] = 7
      },
      /a crossing in a frame that has a filter/,
    ],
  ]
  it.each(cases)('%s', (_, damage, expected) => {
    const frame = filtered()
    expect(verifyTree(frame.index).problems).toEqual([])
    expect(frame.u16[(frame.base + layout.FILTER_ENTRY) >>> 1]).toBe(1)
    damage(frame)
    const { problems } = verifyTree(frame.index)
    expect(problems.map(({ what }) => what).join('\n')).toMatch(expected)
  })
})

describe('verify names what is wrong', () => {
  const cases: [title: string, damage: (frame: ReturnType<typeof small>) => void, expected: RegExp][] = [
    [
      'a key count that is too low',
      ({ u16, base }) => (u16[(base + layout.ENTRY_TABLE + layout.ENTRY_LIVE_COUNT) >>> 1] = 3),
      /counts 3 keys, there are 4/,
    ],
    [
      'a wrong sum of value bytes',
      ({ f64, base }) => (f64[(base + layout.ENTRY_TABLE + layout.ENTRY_VALUE_BYTES) >>> 3] = 1),
      /sums 1 value bytes, there are 20/,
    ],
    [
      'a sum of value bytes that is too high',
      ({ f64, base }) => (f64[(base + layout.ENTRY_TABLE + layout.ENTRY_VALUE_BYTES) >>> 3] = 21),
      /sums 21 value bytes, there are 20/,
    ],
    [
      'a bound below the longest key',
      ({ u16, base }) => (u16[(base + layout.ENTRY_TABLE + layout.ENTRY_MAX_KEY) >>> 1] = 3),
      /a key of 4 bytes below it, its bound says 3/,
    ],
    [
      'a chain that leads to a node that is no crossing',
      ({ u16, base, root }) => (u16[(base + layout.ENTRY_TABLE + layout.ENTRY_CROSSING_HEAD) >>> 1] = root),
      /not a crossing or large leaf of it met once/,
    ],
    [
      'units that nobody accounts for',
      ({ u32, base }) => u32[(base + layout.BUMP_UNITS) >>> 2]++,
      /do not make up/,
    ],
    [
      'nodes beyond the frame',
      ({ u32, base }) => (u32[(base + layout.BUMP_UNITS) >>> 2] = FRAME_BYTES / 8 + 1),
      /outside the usable frame/,
    ],
    [
      'a wrong number of entries',
      ({ u16, base }) => (u16[(base + layout.ENTRY_COUNT) >>> 1] = 2),
      /2 entries are said to be in use, 1 are/,
    ],
    [
      'a high-water mark below an entry in use',
      ({ u16, base }) => (u16[(base + layout.ENTRY_HIGH_WATER) >>> 1] = 0),
      /high-water mark is 0/,
    ],
    [
      'an entry that nothing leads to',
      ({ u16, base, root }) => (u16[(base + layout.ENTRY_TABLE + layout.ENTRY_BYTES) >>> 1] = root),
      /entry 1 is in use, but no crossing leads to it/,
    ],
    [
      'a free list that holds a live node',
      ({ u16, base, root }) => (u16[(base + layout.FREE_LISTS) >>> 1] = root),
      /a free block of 1 units overlaps/,
    ],
    [
      'a count of free units that the lists do not hold',
      ({ u32, base }) => (u32[(base + layout.FREE_UNITS) >>> 2] = 1),
      /1 units are said to be free, the lists hold 0/,
    ],
    ['a type that does not exist', ({ u32, node }) => (u32[node >>> 2] |= 7), /of type 7/],
    ['a root that is null', ({ u16, base }) => (u16[(base + layout.ENTRY_TABLE) >>> 1] = 0), /counts 4 keys/],
    ['a child outside', ({ u16, node }) => (u16[(node + 12) >>> 1] = 65_535), /a node was expected here/],
    ['a child in the header', ({ u16, node }) => (u16[(node + 12) >>> 1] = 3), /a node was expected here/],
    [
      'two ways to one node',
      ({ u16, node }) => (u16[(node + 12) >>> 1] = u16[(node + 14) >>> 1]),
      /overlaps/,
    ],
    ['a node that is its own child', ({ u16, node, root }) => (u16[(node + 12) >>> 1] = root), /overlaps/],
    ['branch bytes out of order', ({ bytes, root }) => (bytes[root * 8 + 8] = 0x7a), /not ascending/],
    ['an unused place that differs', ({ bytes, root }) => (bytes[root * 8 + 11] = 0), /repeat the last/],
    ['a count that is too high', ({ u32, node }) => (u32[node >>> 2] += 4 << 3), /7 children in a node/],
    [
      'a terminal that has a rest of its own',
      ({ u16, node }) => (u16[(node >>> 1) + 2] = u16[(node + 12) >>> 1]),
      /terminal at ref \d+ is not a leaf without rest/,
    ],
    ['unknown bits in a node', ({ u16, node }) => (u16[(node >>> 1) + 3] = 1), /unknown bits/],
    [
      'unknown flags of a leaf',
      ({ u16, u32, node, base }) => (u32[((base + u16[(node + 12) >>> 1] * 8) >>> 2) + 2] |= 1 << 22),
      /flags that are not known/,
    ],
    [
      'padding that is not zero',
      ({ bytes, u16, node }) => (bytes[u16[(node + 12) >>> 1] * 8 + layout.LEAF_HEADER_BYTES + 3] = 1),
      /not padded/,
    ],
    [
      'a crossing in place of a leaf, to a blob that is not there',
      ({ u16, u32, node, base }) => {
        const leaf = (base + u16[(node + 12) >>> 1] * 8) >>> 2
        u32[leaf] = layout.CROSSING
        u32[leaf + 1] = 77
      },
      /the frame, a child of blob 1, cannot be read/,
    ],
    [
      'a crossing to the root',
      ({ u16, u32, node, base, tree }) => {
        const leaf = (base + u16[(node + 12) >>> 1] * 8) >>> 2
        u32[leaf] = layout.CROSSING
        u32[leaf + 1] = tree.rootId
      },
      /which is the root/,
    ],
    [
      'a crossing to a blob that cannot exist',
      ({ u16, u32, node, base }) => {
        const leaf = (base + u16[(node + 12) >>> 1] * 8) >>> 2
        u32[leaf] = layout.CROSSING
        u32[leaf + 1] = 2 ** 31
      },
      /which cannot exist/,
    ],
  ]

  it('nothing, before the damage', () => {
    expect(verifyTree(small().tree).problems).toEqual([])
  })

  it.each(cases)('%s', (_title, damage, expected) => {
    const frame = small()
    damage(frame)
    const { problems } = verifyTree(frame.tree)
    expect(problems.map(({ what }) => what).join('\n')).toMatch(expected)
  })

  const crossingCases: [
    title: string,
    damage: (frame: ReturnType<typeof nested>) => void,
    expected: RegExp,
  ][] = [
    [
      'two crossings to one entry',
      ({ u32, second }) => (u32[second] = layout.CROSSING),
      /a second crossing to entry 0 of blob \d+\n.*entry 1 is in use, but no crossing/,
    ],
    [
      'a crossing to an entry that is not in use',
      ({ u32, second }) => (u32[second] = layout.CROSSING | (2 << 3)),
      /entry 2 is unused, but a crossing leads to it/,
    ],
    [
      'a prefix on one of several crossings to a frame',
      ({ u32, second }) => (u32[second] += 1 << 16),
      /several crossings to blob \d+, and one has a prefix/,
    ],
    [
      'a frame with two parent frames',
      ({ u32, second }) => (u32[second + 1] = 3),
      /a crossing to blob 3, which is a child of blob 1, ref \d+ already/,
    ],
    [
      'a chain that leaves crossings out',
      ({ u16, entry }) => (u16[entry + layout.ENTRY_CROSSING_HEAD / 2] = 0),
      /has 0 crossings and large leaves, there are 2 and 0/,
    ],
    [
      'a chain whose way back is wrong',
      ({ u16, second }) => (u16[second * 2 + 5] = 0),
      /the chain's previous is 0/,
    ],
    [
      'a crossing as root of an entry',
      ({ u16, entry }) => (u16[entry] = u16[entry + layout.ENTRY_CROSSING_HEAD / 2]),
      /the root of entry 0 is a crossing/,
    ],
  ]

  it.each(crossingCases)('%s', (_title, damage, expected) => {
    const frame = nested()
    expect(verifyTree(frame.tree).problems).toEqual([])
    damage(frame)
    expect(
      verifyTree(frame.tree)
        .problems.map(({ what }) => what)
        .join('\n'),
    ).toMatch(expected)
  })

  it('a usable size that the frame exceeds', () => {
    const { tree } = small()
    expect(verifyTree({ ...tree, usableBytes: PAGE_BYTES + 8 }).problems[0]?.what).toMatch(
      /outside the usable frame/,
    )
  })
})

describe('damaged frames', () => {
  it('end a walk with an error that names the place, or with some end, never run in circles', () => {
    let refused = 0
    let noticed = 0
    const runs = 1_500
    for (let seed = 1; seed <= runs; seed++) {
      const random = new Random(seed)
      const source = new ArrayFrameSource({ frames: 200 })
      const map = new SortedMap()
      const make = random.pick(Object.values(KEY_MAKERS))
      for (let i = 0; i < 40; i++) map.put(make(random).slice(0, 40), 'v', i)
      const tree = { source, rootId: buildTree(source, map, random), changes: 0 }
      for (let hits = 1 + random.below(4); hits > 0; hits--) {
        const id = random.pick(source.ids)
        const bytes = source.bytes(id)
        const end = new DataView(bytes.buffer, bytes.byteOffset).getUint32(layout.BUMP_UNITS, true) * 8
        const at = random.chance(10)
          ? ENVELOPE_BYTES + random.below(64)
          : PAGE_BYTES + random.below(Math.max(end - PAGE_BYTES, 1))
        bytes[at] = random.chance(50) ? random.below(256) : (bytes[at] ?? 0) ^ (1 << random.below(8))
      }
      if (verifyTree(tree).problems.length > 0) noticed++
      const walks = [
        () => treeStatistics(tree),
        () => countPrefix(tree, bytesOf(random.pick(map.keys).slice(0, 2))),
        () => walk(new Cursor(tree)),
        () => walk(new Cursor(tree, { reverse: true, delimiter: bytesOf('/') })),
        () => walk(new Cursor(tree, { gte: bytesOf(random.pick(map.keys)) })),
      ]
      for (const attempt of walks) {
        try {
          attempt()
        } catch (error) {
          if (error instanceof FrameAbsent || !isHoltError(error, 'HOLT_CORRUPT')) throw error
          expect(error.message).toMatch(/blob \d+/)
          refused++
        }
      }
    }
    expect(noticed).toBeGreaterThan(runs / 4)
    expect(refused).toBeGreaterThan(100)
  })

  it('leave a cursor at its end', () => {
    const { tree, u16, node } = small()
    u16[(node + 14) >>> 1] = 5
    const cursor = new Cursor(tree)
    expect(cursor.next()).not.toBe(END)
    expect(cursor.next()).not.toBe(END)
    expect(() => cursor.next()).toThrow(/ref 5: a node was expected here/)
    expect(cursor.next()).toBe(END)
  })
})

function walk(cursor: Cursor): void {
  let steps = 0
  while (cursor.next() !== END) {
    if (++steps > 200_000) throw new Error('the walk does not end')
  }
}
