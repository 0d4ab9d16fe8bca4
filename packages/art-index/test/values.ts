import type { ArtIndex, Cursor } from '../src/index.js'

/** The value that the index found last, as a copy. */
export function foundValue(index: ArtIndex): Uint8Array {
  const value = new Uint8Array(index.foundLength)
  if (index.foundLarge) index.readFound(value, 0, 0, value.length)
  else value.set(index.foundBytes.subarray(index.foundOffset, index.foundOffset + index.foundLength))
  return value
}

/** The value of the key that a cursor stands on, as a copy. */
export function cursorValue(cursor: Cursor): Uint8Array {
  const value = new Uint8Array(cursor.valueLength)
  if (cursor.valueLarge) cursor.readValue(value, 0, 0, value.length)
  else value.set(cursor.valueBytes.subarray(cursor.valueOffset, cursor.valueOffset + cursor.valueLength))
  return value
}

/** Bytes of which no two stretches of some length are alike: a part in the wrong place shows. */
export function fillPattern(bytes: Uint8Array, seed: number): Uint8Array {
  for (let i = 0; i < bytes.length; i++) bytes[i] = seed * 31 + i * 7 + (i >>> 8) * 13 + (i >>> 16) * 101
  return bytes
}
