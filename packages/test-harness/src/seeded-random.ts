/**
 * A small random number generator that gives the same numbers for the same seed on every machine: xoshiro128**
 * (D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators", 2018), its state filled from the seed by
 * splitmix32 (the 32-bit form of G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", 2014).
 */
export class SeededRandom {
  #a: number
  #b: number
  #c: number
  #d: number

  /** @param seed - any whole number; its lowest 32 bits count */
  constructor(seed: number) {
    let state = seed >>> 0
    const next = (): number => {
      state = (state + 0x9e37_79b9) >>> 0
      let mixed = state
      mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0_aaad)
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97)
      return (mixed ^ (mixed >>> 15)) >>> 0
    }
    this.#a = next()
    this.#b = next()
    this.#c = next()
    // The all-zero state would stay zero for ever.
    this.#d = next() | 1
  }

  /** A whole number from 0 to 2^32 - 1. */
  uint32(): number {
    const scrambled = Math.imul(rotateLeft(Math.imul(this.#b, 5), 7), 9) >>> 0
    const shifted = this.#b << 9
    this.#c ^= this.#a
    this.#d ^= this.#b
    this.#b ^= this.#c
    this.#a ^= this.#d
    this.#c ^= shifted
    this.#d = rotateLeft(this.#d, 11)
    return scrambled
  }

  /** A whole number from 0 to `limit` - 1; 0 when `limit` is 0 or 1. */
  below(limit: number): number {
    return limit <= 1 ? 0 : Math.floor((this.uint32() / 2 ** 32) * limit)
  }

  /** A whole number from `least` to `most`, both included. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1)
  }

  /** True with this probability, 0 … 1. */
  chance(probability: number): boolean {
    return this.uint32() / 2 ** 32 < probability
  }

  /** One of the items. Throws a `RangeError` when there is none. */
  pick<T>(items: readonly T[]): T {
    const index = this.below(items.length)
    if (index >= items.length) throw new RangeError('nothing to pick from')
    return items[index]
  }

  /** That many random bytes. */
  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    for (let i = 0; i < length; i++) bytes[i] = this.uint32() & 0xff
    return bytes
  }

  /** A generator of its own, seeded from this one: drawing from it leaves this one's later numbers alone. */
  fork(): SeededRandom {
    return new SeededRandom(this.uint32())
  }
}

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}
