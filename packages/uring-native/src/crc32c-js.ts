/**
 * CRC-32C (Castagnoli; reflected polynomial 0x82F63B78, as in RFC 3720 appendix B.4) in plain JavaScript, eight bytes
 * a step: "slicing-by-8" of Kounavis and Berry, "A Systematic Approach to Building High Performance Software-based CRC
 * Generators" (2005).
 *
 * ```
 *   Tk[b]   what byte b does to the CRC when k more bytes follow it
 *   crc' = T7[b0 ^ crc0] ^ T6[b1 ^ crc1] ^ T5[b2 ^ crc2] ^ T4[b3 ^ crc3] ^ T3[b4] ^ T2[b5] ^ T1[b6] ^ T0[b7]
 * ```
 */

const POLYNOMIAL_REFLECTED = 0x82f63b78

// One constant a table: one joined table, indexed further in, costs about a tenth more.
const T0 = firstTable()
const T1 = nextTable(T0)
const T2 = nextTable(T1)
const T3 = nextTable(T2)
const T4 = nextTable(T3)
const T5 = nextTable(T4)
const T6 = nextTable(T5)
const T7 = nextTable(T6)

function firstTable(): Int32Array {
  const table = new Int32Array(256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ POLYNOMIAL_REFLECTED : crc >>> 1
    table[byte] = crc
  }
  return table
}

/** The table for one more byte that follows. */
function nextTable(shorter: Int32Array): Int32Array {
  return shorter.map((crc) => T0[crc & 0xff] ^ (crc >>> 8))
}

/**
 * CRC-32C of `bytes[offset, offset + length)`, unsigned. `seed` is the CRC of the bytes before, 0 for none: so
 * `crc32cJs(b, 0, n, crc32cJs(a, 0, m))` is the CRC of `a` followed by `b`. The range is the caller's to check.
 */
export function crc32cJs(bytes: Uint8Array, offset: number, length: number, seed: number): number {
  const end = offset + length
  const endOfSteps = offset + (length - (length % 8))
  let crc = ~seed
  let i = offset
  for (; i < endOfSteps; i += 8) {
    crc =
      T7[bytes[i] ^ (crc & 0xff)] ^
      T6[bytes[i + 1] ^ ((crc >>> 8) & 0xff)] ^
      T5[bytes[i + 2] ^ ((crc >>> 16) & 0xff)] ^
      T4[bytes[i + 3] ^ (crc >>> 24)] ^
      T3[bytes[i + 4]] ^
      T2[bytes[i + 5]] ^
      T1[bytes[i + 6]] ^
      T0[bytes[i + 7]]
  }
  for (; i < end; i++) crc = T0[(crc ^ bytes[i]) & 0xff] ^ (crc >>> 8)
  return ~crc >>> 0
}

/**
 * CRC-32C of the `count` words of `words` from `at` on, as they lie in memory on a little-endian machine, unsigned: half
 * the loads of {@link crc32cJs} and half its time. The range is the caller's to check.
 */
export function crc32cOfWords(words: Uint32Array, at: number, count: number, seed: number): number {
  const end = at + count
  const endOfPairs = end - (count & 1)
  let crc = ~seed
  let i = at
  for (; i < endOfPairs; i += 2) {
    const a = words[i] ^ crc
    const b = words[i + 1] | 0
    crc =
      T7[a & 0xff] ^
      T6[(a >>> 8) & 0xff] ^
      T5[(a >>> 16) & 0xff] ^
      T4[a >>> 24] ^
      T3[b & 0xff] ^
      T2[(b >>> 8) & 0xff] ^
      T1[(b >>> 16) & 0xff] ^
      T0[b >>> 24]
  }
  if (i < end) {
    const a = words[i] ^ crc
    crc = T3[a & 0xff] ^ T2[(a >>> 8) & 0xff] ^ T1[(a >>> 16) & 0xff] ^ T0[a >>> 24]
  }
  return ~crc >>> 0
}
