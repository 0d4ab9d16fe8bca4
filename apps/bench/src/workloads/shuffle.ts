/** Whole numbers below a bound, the same ones at each run: the generator xorshift32. */
export function randomBelow(seed: number): (bound: number) => number {
  let state = seed | 1
  return (bound) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % bound
  }
}

/** The numbers from 0 on, each once, without a pattern; the same order at each run. */
export function shuffledIndexes(count: number, seed: number): Uint32Array {
  const random = randomBelow(seed)
  const order = Uint32Array.from({ length: count }, (_, index) => index)
  for (let index = count - 1; index > 0; index--) {
    const other = random(index + 1)
    const held = order[index]
    order[index] = order[other]
    order[other] = held
  }
  return order
}
