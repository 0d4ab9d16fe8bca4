import type { Slab } from '@holt/blob-buf-pool'

/** Up to here a loop over words is faster than a call of `set` and the view it needs. */
export const LARGEST_WORDWISE = 512

/** Copies bytes that begin on a word to where a word begins; what is behind them in their last word becomes zero. */
export function copyWords(
  from: Uint32Array,
  fromWord: number,
  lengthBytes: number,
  to: Uint32Array,
  toWord: number,
): void {
  const whole = lengthBytes >>> 2
  for (let i = 0; i < whole; i++) to[toWord + i] = from[fromWord + i]
  const rest = lengthBytes & 3
  if (rest !== 0) to[toWord + whole] = from[fromWord + whole] & ((1 << (rest << 3)) - 1)
}

/** The memory of a slab's segment, given as bytes, as words; `undefined` if it is none of this slab's. */
export function wordsOfSegment({ segments }: Slab, bytes: Uint8Array): Uint32Array | undefined {
  for (let i = 0; i < segments.length; i++) if (segments[i].u8 === bytes) return segments[i].u32
  return undefined
}
