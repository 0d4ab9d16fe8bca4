import { HoltError } from '@holt/errors'

import { crc32cJs } from './crc32c-js.js'

/**
 * CRC-32C (Castagnoli) of `bytes[offset, offset + length)`, as an unsigned 32-bit number. That of the ASCII text
 * `123456789` is `0xE3069283`.
 *
 * @param seed - the CRC of the bytes before, 0 for none: `crc32c(b, 0, n, crc32c(a))` is the CRC of `a` followed by `b`
 * @throws `HOLT_INVALID_ARGUMENT` when the range is not within `bytes`
 */
export function crc32c(bytes: Uint8Array, offset = 0, length = bytes.length - offset, seed = 0): number {
  // Written so that NaN and undefined fail every comparison and are refused.
  if (
    !(offset >= 0 && length >= 0 && offset + length <= bytes.length) ||
    !isWhole(offset) ||
    !isWhole(length)
  ) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `crc32c of ${String(length)} bytes at ${String(offset)} is not within the ${String(bytes.length)} bytes given`,
    )
  }
  return crc32cJs(bytes, offset, length, seed)
}

function isWhole(value: number): boolean {
  return Math.floor(value) === value
}
