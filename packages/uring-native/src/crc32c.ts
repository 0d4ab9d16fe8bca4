import { HoltError } from '@holt/errors'

import { loadAddon } from './addon.js'
import { crc32cJs } from './crc32c-js.js'

export { crc32cOfWords } from './crc32c-js.js'

type Crc32c = typeof crc32cJs

/** Up to here the loop in JavaScript is done before a call of the addon would be. */
const SHORT_BYTES = 48

/** Replaces itself at the first call, so that importing this loads nothing. */
let compute: Crc32c = (bytes, offset, length, seed) => {
  compute = choose()
  return compute(bytes, offset, length, seed)
}

function choose(): Crc32c {
  const loaded = loadAddon()
  if (!('addon' in loaded)) return crc32cJs
  const { addon } = loaded
  return (bytes, offset, length, seed) =>
    length <= SHORT_BYTES ? crc32cJs(bytes, offset, length, seed) : addon.crc32c(bytes, offset, length, seed)
}

/**
 * CRC-32C (Castagnoli) of `bytes[offset, offset + length)`, as an unsigned 32-bit number. That of the ASCII text
 * `123456789` is `0xE3069283`. Computed by the native addon where there is one, else by its twin in JavaScript.
 *
 * @param seed - the CRC of the bytes before, 0 for none: `crc32c(b, 0, n, crc32c(a))` is the CRC of `a` followed by `b`
 * @throws `HOLT_INVALID_ARGUMENT` when the range is not within `bytes`, or the seed is no CRC
 */
export function crc32c(bytes: Uint8Array, offset = 0, length = bytes.length - offset, seed = 0): number {
  // Written so that NaN and what is no number fail a comparison and are refused.
  const within = offset >= 0 && length >= 0 && offset + length <= bytes.length
  if (!within || Math.floor(offset) !== offset || Math.floor(length) !== length || seed >>> 0 !== seed) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `crc32c of ${String(length)} bytes at ${String(offset)} after CRC ${String(seed)}: the range is not within the ` +
        `${String(bytes.length)} bytes given, or the seed is no unsigned 32-bit number`,
    )
  }
  return compute(bytes, offset, length, seed)
}
