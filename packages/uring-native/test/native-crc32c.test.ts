import { describe, expect, test } from 'vitest'

import { loadAddon } from '../src/addon.js'

const loaded = loadAddon()
const reason = 'reason' in loaded ? loaded.reason : undefined

describe.skipIf(reason)('crc32c of the addon', () => {
  if ('reason' in loaded) return
  const { crc32c, crc32cSoftware } = loaded.addon
  const kinds = [
    ['by processor instructions', crc32c],
    ['by tables', crc32cSoftware],
  ] as const

  test.each(kinds)('gives the published values %s', (_, crc) => {
    // RFC 3720, appendix B.4, and the check value of the polynomial.
    const ascending = Uint8Array.from({ length: 32 }, (_byte, i) => i)
    expect(crc(Buffer.from('123456789'), 0, 9, 0)).toBe(0xe3069283)
    expect(crc(new Uint8Array(32), 0, 32, 0)).toBe(0x8a9136aa)
    expect(crc(new Uint8Array(32).fill(0xff), 0, 32, 0)).toBe(0x62a8ab43)
    expect(crc(ascending, 0, 32, 0)).toBe(0x46dd794e)
    expect(crc(ascending.toReversed(), 0, 32, 0)).toBe(0x113fdb5c)
    expect(crc(new Uint8Array(0), 0, 0, 0)).toBe(0)
    expect(crc(new Uint8Array(0), 0, 0, 0xdeadbeef)).toBe(0xdeadbeef)
  })

  const bytes = Uint8Array.from({ length: 600_000 }, (_byte, i) => (Math.imul(i, 2654435761) >>> 13) & 255)

  test('is the same by processor instructions and by tables, at every length where the method changes', () => {
    const edges = [0, 1, 7, 8, 9, 255, 256, 767, 768, 769, 4096, 24_575, 24_576, 24_577, 25_344, 524_288]
    for (const length of edges) {
      for (const offset of [0, 1, 3, 8, 4095]) {
        const seed = Math.imul(length, 40_503) >>> 0
        expect(crc32c(bytes, offset, length, seed)).toBe(crc32cSoftware(bytes, offset, length, seed))
      }
    }
  })

  test.each(kinds)('goes on from the value of the bytes before %s', (_, crc) => {
    const whole = crc(bytes, 0, 100_000, 0)
    for (const cut of [0, 1, 1000, 24_576, 50_001, 99_999, 100_000]) {
      expect(crc(bytes, cut, 100_000 - cut, crc(bytes, 0, cut, 0))).toBe(whole)
    }
  })

  test('reads shared memory, and only the range', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(64), 16, 20)
    shared.set(Buffer.from('xx123456789xx'))
    expect(crc32c(shared, 2, 9, 0)).toBe(0xe3069283)
  })

  test.each([
    [-1, 1, 0],
    [0, -1, 0],
    [0, 11, 0],
    [10, 1, 0],
    [11, 0, 0],
    [NaN, 1, 0],
    [0, NaN, 0],
    [2 ** 64, 1, 0],
    [0, 1, -1],
    [0, 1, 2 ** 32],
  ])('refuses a range outside of the array or a seed that is no CRC: %s %s %s', (offset, length, seed) => {
    expect(() => crc32c(new Uint8Array(10), offset, length, seed)).toThrow(RangeError)
  })
})
