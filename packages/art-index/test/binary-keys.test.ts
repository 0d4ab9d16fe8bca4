import { describe, expect, it } from 'vitest'
import {
  ArtIndex,
  COMMON_PREFIX,
  Cursor,
  END,
  MIN_USABLE_BYTES,
  successorOfPrefix,
  verifyTree,
} from '../src/index.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { list } from './listing.js'
import { Random } from './random.js'
import { bytesOf, latin1, SortedMap } from './sorted-map.js'

function put(index: ArtIndex, key: string, value: Uint8Array, valueBytes: number, version: number): boolean {
  index.key.set(bytesOf(key))
  return index.put(key.length, value, 0, valueBytes, version)
}

describe('G2, I7.1: keys of any bytes', () => {
  it('every string of 0 to 5 bytes out of 00, 01, 2f, fe and ff is a key of its own, also for an index that takes over', () => {
    const source = new ArrayFrameSource({ frames: 600 })
    let index = ArtIndex.create(source, { usableFrameBytes: MIN_USABLE_BYTES })
    const map = new SortedMap()
    const value = new Uint8Array(4).fill(0x76)
    let keys = ['']
    for (let level = keys; level[0].length < 5; keys = [...keys, ...level])
      level = level.flatMap((key) => ['\0', '\x01', '/', '\xfe', '\xff'].map((byte) => key + byte))
    expect(keys).toHaveLength(1 + 5 + 25 + 125 + 625 + 3_125)
    const random = new Random(3)
    for (let left = keys.length; left > 0; left--) {
      const at = random.below(left)
      const key = keys[at]
      keys[at] = keys[left - 1]
      map.put(key, 'vvvv', left)
      expect(put(index, key, value, 4, left)).toBe(true)
    }
    index = ArtIndex.attach(source, index.rootId, { usableFrameBytes: MIN_USABLE_BYTES })
    expect(verifyTree(index)).toMatchObject({ problems: [], keys: map.size })
    expect(list(new Cursor(index))).toEqual(map.scan({}))
    expect(list(new Cursor(index, { reverse: true }))).toEqual(map.scan({ reverse: true }))
    for (const key of [...map.keys].filter((_, i) => i % 2 === 0)) {
      index.key.set(bytesOf(key))
      expect(index.delete(key.length)).toBe(map.delete(key))
    }
    expect(list(new Cursor(index))).toEqual(map.scan({}))
  })

  it('a key of each length from 0 to 300 and the same with a NUL behind are two', () => {
    const source = new ArrayFrameSource({ frames: 200 })
    const index = ArtIndex.create(source, { usableFrameBytes: MIN_USABLE_BYTES + 8_192 })
    const map = new SortedMap()
    let version = 0
    for (let length = 0; length <= 300; length++) {
      for (const key of [
        '\xff'.repeat(length),
        '\xff'.repeat(length) + '\0',
        '\xff'.repeat(length) + '\0\0',
      ]) {
        map.put(key, '', ++version)
        expect(put(index, key, new Uint8Array(0), 0, version)).toBe(true)
      }
    }
    expect(verifyTree(index)).toMatchObject({ problems: [], keys: 903 })
    expect(list(new Cursor(index))).toEqual(map.scan({}))
  })
})

describe('G1, I7.2: values of no byte and of one', () => {
  it('and values of 64 KiB among them share frames of every fill', () => {
    const source = new ArrayFrameSource({ frames: 300 })
    const index = ArtIndex.create(source)
    const value = new Uint8Array(65_536).fill(9)
    const count = 60_000
    for (let i = 0; i < count; i++) {
      const key = `k${String((i * 7_919) % count).padStart(8, '0')}`
      expect(put(index, key, value, i % 1_000 === 0 ? 65_536 : i % 2, i + 1)).toBe(true)
    }
    const report = verifyTree(index)
    expect(report).toMatchObject({ problems: [], keys: count, largeValues: 60 })
    for (let i = 0; i < count; i += 499) {
      const key = `k${String((i * 7_919) % count).padStart(8, '0')}`
      index.key.set(bytesOf(key))
      expect(index.find(key.length)).toBe(true)
      expect(index.foundLength).toBe(i % 1_000 === 0 ? 65_536 : i % 2)
    }
  })
})

describe('G13, I7.10: pages of any size with a delimiter', () => {
  it.each(['/', '//', '\xff', '\0'])('meet each key and common prefix once, delimiter %j', (delimiter) => {
    const random = new Random(13)
    const source = new ArrayFrameSource({ frames: 300 })
    const index = ArtIndex.create(source, { usableFrameBytes: MIN_USABLE_BYTES })
    const map = new SortedMap()
    const bytes = ['a', 'b', '/', '\xff', '\0']
    for (let i = 0; i < 1_500; i++) {
      let key = ''
      for (let length = random.below(9); length > 0; length--) key += random.pick(bytes)
      map.put(key, '', i)
      put(index, key, new Uint8Array(0), 0, i)
    }
    const whole = map.scan({ delimiter: bytesOf(delimiter) }).map(({ key }) => key)
    expect(whole.length).toBeGreaterThan(2)
    for (const pageEntries of [1, 2, 3, 7, whole.length, whole.length + 1]) {
      const met: string[] = []
      let from: { gt?: Uint8Array; gte?: Uint8Array } | undefined = {}
      while (from !== undefined) {
        const cursor: Cursor = new Cursor(index, { delimiter: bytesOf(delimiter), ...from })
        from = undefined
        for (let i = 0; i < pageEntries; i++) {
          const step = cursor.next()
          if (step === END) {
            from = undefined
            break
          }
          const key = cursor.key.slice(0, cursor.keyLength)
          met.push(latin1(key))
          // Behind a common prefix lies its successor: the prefix itself would come again for ever.
          const behind = step === COMMON_PREFIX ? successorOfPrefix(key) : undefined
          from = step !== COMMON_PREFIX ? { gt: key } : behind === undefined ? undefined : { gte: behind }
        }
        expect(met.length, `pages of ${String(pageEntries)}`).toBeLessThanOrEqual(whole.length)
      }
      expect(met, `pages of ${String(pageEntries)}`).toEqual(whole)
    }
  })
})
