/**
 * Values that say whose they are and how often they were written, so that a reader can tell one that was torn, belongs to
 * another key, or is older than what was there before.
 *
 * ```
 *   index of the key u32 | generation u32 | 52 bytes, all the same, as both of them make it
 * ```
 */

export const VALUE_BYTES = 60
const HEADER_BYTES = 8

/** Fills `value` for generation `generation` of the key at `index`. */
export function fillValue(value: Uint8Array, index: number, generation: number): void {
  putUint32(value, 0, index)
  putUint32(value, 4, generation)
  value.fill(fillerOf(index, generation), HEADER_BYTES, VALUE_BYTES)
}

/** The generation of a value that was read for the key at `index`. Throws for one that was never written to it. */
export function generationOf(value: Uint8Array | undefined, index: number): number {
  if (value === undefined) throw new WrongAnswer(`key ${String(index)} is not there`)
  if (value.length !== VALUE_BYTES)
    throw new WrongAnswer(`the value of key ${String(index)} has ${String(value.length)} bytes`)
  const found = uint32At(value, 0)
  if (found !== index) throw new WrongAnswer(`key ${String(index)} has the value of key ${String(found)}`)
  const generation = uint32At(value, 4)
  const filler = fillerOf(index, generation)
  for (let at = HEADER_BYTES; at < VALUE_BYTES; at++) {
    if (value[at] !== filler) {
      throw new WrongAnswer(
        `the value of key ${String(index)} is torn: generation ${String(generation)}, byte ${String(at)} of another`,
      )
    }
  }
  return generation
}

/** What was read cannot be. */
export class WrongAnswer extends Error {
  override readonly name = 'WrongAnswer'
}

function fillerOf(index: number, generation: number): number {
  return (Math.imul(index, 31) + Math.imul(generation, 7)) & 255
}

function putUint32(bytes: Uint8Array, at: number, value: number): void {
  for (let i = 0; i < 4; i++) bytes[at + i] = value >>> (8 * i)
}

function uint32At(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0
}
