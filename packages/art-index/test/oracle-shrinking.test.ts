import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  ArtIndex,
  Cursor,
  type CursorOptions,
  EntryRun,
  MAX_KEY_BYTES,
  MIN_USABLE_BYTES,
  verifyTree,
} from '../src/index.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { list } from './listing.js'
import { bytesOf, SortedMap } from './sorted-map.js'

/*
 * Short histories that a failure shrinks to the shortest. Values are large, so that even few of them fill a frame.
 */

const run = new EntryRun(8, 0, MAX_KEY_BYTES, 64, 2_000)

const key = (alphabet: string) =>
  fc.array(fc.constantFrom(...alphabet.split('')), { maxLength: 12 }).map((characters) => characters.join(''))

const history = (alphabet: string) =>
  fc.array(
    fc.oneof(
      { weight: 3, arbitrary: fc.record({ put: key(alphabet), valueLength: fc.nat(1_000) }) },
      { weight: 1, arbitrary: fc.record({ delete: key(alphabet) }) },
    ),
    { maxLength: 60, size: 'max' },
  )

const optional = (alphabet: string) => fc.option(key(alphabet).map(bytesOf), { nil: undefined })

const ranges = (alphabet: string): fc.Arbitrary<CursorOptions> =>
  fc
    .record({
      prefix: optional(alphabet),
      gt: optional(alphabet),
      gte: optional(alphabet),
      lt: optional(alphabet),
      lte: optional(alphabet),
      delimiter: fc.option(
        fc
          .array(fc.constantFrom(...alphabet.split('')), { minLength: 1, maxLength: 2 })
          .map((d) => bytesOf(d.join(''))),
        { nil: undefined },
      ),
      reverse: fc.boolean(),
    })
    .map((all) => Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)))

describe.each(['\x00\x01/\xfe\xff', '\x00\x01/\xffab', 'ab/'])('histories over %j', (alphabet) => {
  it('end in the same keys as an ordered map, however they are scanned', () => {
    fc.assert(
      fc.property(history(alphabet), fc.array(ranges(alphabet), { maxLength: 5 }), (operations, scans) => {
        const source = new ArrayFrameSource({ frames: 100 })
        const index = ArtIndex.create(source, { usableFrameBytes: MIN_USABLE_BYTES })
        const map = new SortedMap()
        const value = new Uint8Array(1_000).fill(0x76)
        operations.forEach((operation, i) => {
          if ('put' in operation) {
            const { put, valueLength } = operation
            index.key.set(bytesOf(put))
            const isNew = map.put(put, 'v'.repeat(valueLength), i)
            expect(index.put(put.length, value, 0, valueLength, i)).toBe(isNew)
          } else {
            index.key.set(bytesOf(operation.delete))
            expect(index.delete(operation.delete.length)).toBe(map.delete(operation.delete))
          }
        })
        expect(verifyTree(index).problems).toEqual([])
        for (const options of [{}, ...scans]) {
          expect(list(new Cursor(index, options))).toEqual(map.scan(options))
          expect(list(new Cursor(index, options), { run })).toEqual(map.scan(options))
        }
      }),
      { numRuns: 150 },
    )
  })
})
