import type { ArtIndex, Cursor } from '@holt/art-index'
import type { ValueCodec } from './value-encoding.js'

/** The value that the index found last, as a copy. Throws as `ArtIndex.readFound` does. */
export function foundBytes(index: ArtIndex): Uint8Array {
  if (!index.foundLarge)
    return index.foundBytes.slice(index.foundOffset, index.foundOffset + index.foundLength)
  const value = new Uint8Array(index.foundLength)
  index.readFound(value, 0, 0, value.length)
  return value
}

/** As {@link foundBytes}, the way the caller wants it. */
export function decodeFound<V>(index: ArtIndex, values: ValueCodec<V>): V {
  if (index.foundLarge) return values.adopt(foundBytes(index))
  return values.decode(index.foundBytes, index.foundOffset, index.foundLength)
}

/** The value of the key that a cursor is at, the way the caller wants it. Throws as `Cursor.readValue` does. */
export function decodeCurrent<V>(cursor: Cursor, values: ValueCodec<V>): V {
  if (!cursor.valueLarge) return values.decode(cursor.valueBytes, cursor.valueOffset, cursor.valueLength)
  const value = new Uint8Array(cursor.valueLength)
  cursor.readValue(value, 0, 0, value.length)
  return values.adopt(value)
}

/** As {@link decodeFound}, where the bytes of a large value were read already. */
export function decodeRead<V>(index: ArtIndex, values: ValueCodec<V>, large: Uint8Array | undefined): V {
  if (large !== undefined) return values.adopt(large)
  return values.decode(index.foundBytes, index.foundOffset, index.foundLength)
}
