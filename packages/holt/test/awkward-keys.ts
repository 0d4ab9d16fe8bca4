/** A seeded generator of whole numbers below a bound (xorshift32): the same seed gives the same run. */
export function randomOf(seed: number): (below: number) => number {
  let state = Math.imul(seed, 0x9e3779b1) | 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

export interface KeyKind {
  readonly name: string
  readonly alphabet: readonly number[]
  /** Bytes that all keys may begin with, some of them or all. */
  readonly front: Uint8Array
  readonly longest: number
}

const AWKWARD = [0x00, 0x01, 0x2f, 0xfe, 0xff]

export const KEY_KINDS: readonly KeyKind[] = [
  { name: 'short, of 00 01 2f fe ff', alphabet: AWKWARD, front: new Uint8Array(0), longest: 9 },
  { name: 'of zeros alone', alphabet: [0], front: new Uint8Array(0), longest: 40 },
  { name: 'of 00 and 01', alphabet: [0, 1], front: new Uint8Array(0), longest: 12 },
  {
    name: 'behind a long common prefix',
    alphabet: AWKWARD,
    front: new Uint8Array(300).fill(0x2f),
    longest: 6,
  },
  { name: 'up to 4 096 bytes', alphabet: AWKWARD, front: new Uint8Array(4_090).fill(0xfe), longest: 6 },
  {
    name: 'any byte',
    alphabet: Array.from({ length: 256 }, (_, i) => i),
    front: new Uint8Array(0),
    longest: 30,
  },
]

/** One key of a kind; every fifth has not all of the front. */
export function awkwardKey(
  { alphabet, front, longest }: KeyKind,
  random: (below: number) => number,
): Uint8Array {
  const begin = random(5) === 0 ? random(front.length + 1) : front.length
  const key = new Uint8Array(begin + random(longest + 1))
  key.set(front.subarray(0, begin))
  for (let i = begin; i < key.length; i++) key[i] = alphabet[random(alphabet.length)]
  return key
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
