import { isHoltError } from '@holt/errors'
import { describe, expect, test } from 'vitest'

import { crc32cJs } from '../src/crc32c-js.js'
import { crc32c, crc32cOfWords } from '../src/crc32c.js'

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text)

const sequence = (lengthBytes: number, valueAt: (index: number) => number): Uint8Array =>
  Uint8Array.from({ length: lengthBytes }, (_, index) => valueAt(index))

/** Check values of the CRC catalogue and of RFC 3720, appendix B.4. */
const VECTORS: readonly (readonly [name: string, bytes: Uint8Array, crc: number])[] = [
  ['no bytes', new Uint8Array(0), 0],
  ['123456789', ascii('123456789'), 0xe3069283],
  ['one "a"', ascii('a'), 0xc1d04330],
  ['32 bytes of 00', new Uint8Array(32), 0x8a9136aa],
  ['32 bytes of ff', new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ['00 to 1f', sequence(32, (i) => i), 0x46dd794e],
  ['1f to 00', sequence(32, (i) => 31 - i), 0x113fdb5c],
]

/** Bit by bit, straight from the definition. */
function crc32cByBits(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  }
  return ~crc >>> 0
}

function randomBytes(lengthBytes: number, seed: number): Uint8Array {
  let state = seed
  return sequence(lengthBytes, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state >>> 24
  })
}

const twins = [
  { name: 'crc32c', crc: crc32c },
  { name: 'crc32cJs', crc: crc32cJs },
]

describe.each(twins)('$name', ({ crc }) => {
  test.each(VECTORS)('of %s is the published value', (_name, bytes, expected) => {
    expect(crc(bytes, 0, bytes.length, 0)).toBe(expected)
  })

  test('equals the definition for every length, offset and alignment', () => {
    const bytes = randomBytes(300, 1)
    for (let offset = 0; offset < 17; offset++) {
      for (let length = 0; length <= 80; length++) {
        expect(crc(bytes, offset, length, 0)).toBe(crc32cByBits(bytes.subarray(offset, offset + length)))
      }
    }
  })

  test('seeded with the CRC of what came before continues it', () => {
    const bytes = randomBytes(1000, 2)
    const whole = crc(bytes, 0, 1000, 0)
    for (const cut of [0, 1, 7, 8, 9, 500, 999, 1000]) {
      expect(crc(bytes, cut, 1000 - cut, crc(bytes, 0, cut, 0))).toBe(whole)
    }
  })

  test('reads views with an offset of their own, and shared memory', () => {
    const bytes = randomBytes(5000, 3)
    const shared = new Uint8Array(new SharedArrayBuffer(6000), 501, 5000)
    shared.set(bytes)
    expect(crc(shared, 0, 5000, 0)).toBe(crc(bytes, 0, 5000, 0))
    expect(crc(Buffer.from(bytes), 3, 4000, 0)).toBe(crc(bytes.subarray(3), 0, 4000, 0))
  })
})

test('both twins agree on large random input', () => {
  for (const length of [4095, 4096, 65_537, 524_288]) {
    const bytes = randomBytes(length, length)
    expect(crc32c(bytes)).toBe(crc32cJs(bytes, 0, length, 0))
    expect(crc32c(bytes, 5, length - 9, 0xdeadbeef)).toBe(crc32cJs(bytes, 5, length - 9, 0xdeadbeef))
  }
})

test('crc32c without a range takes all bytes, or all from the offset on', () => {
  const bytes = ascii('xx123456789')
  expect(crc32c(ascii('123456789'))).toBe(0xe3069283)
  expect(crc32c(bytes, 2)).toBe(0xe3069283)
})

test.each([-1, 0.5, NaN, 2 ** 32])('crc32c refuses the seed %d', (seed) => {
  expect(() => crc32c(new Uint8Array(100), 0, 100, seed)).toThrow(
    expect.toSatisfy((error: unknown) => isHoltError(error, 'HOLT_INVALID_ARGUMENT')),
  )
})

test.each([
  [-1, 1],
  [0, 11],
  [11, 0],
  [5, 6],
  [0.5, 1],
  [0, 1.5],
  [NaN, 1],
  [0, NaN],
  [0, -1],
])('crc32c refuses the range [%d, + %d) of ten bytes', (offset, length) => {
  expect(() => crc32c(new Uint8Array(10), offset, length)).toThrow(
    expect.toSatisfy((error: unknown) => isHoltError(error, 'HOLT_INVALID_ARGUMENT')),
  )
})

test('crc32cOfWords is the CRC of the same bytes, for every length, place and seed', () => {
  const bytes = randomBytes(400, 3)
  const words = new Uint32Array(bytes.buffer)
  for (let at = 0; at < 9; at++) {
    for (let count = 0; count <= 80; count++) {
      for (const seed of [0, 1, 0xdeadbeef, 0xffffffff])
        expect(crc32cOfWords(words, at, count, seed)).toBe(crc32cJs(bytes, at * 4, count * 4, seed))
    }
  }
})
