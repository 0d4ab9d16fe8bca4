import { randomBelow } from '../workloads/shuffle.js'

const ALPHABETS = ['0123456789', 'abcdefghijklmnopqrstuvwxyz']
const OTHERS = 'abcdefghijklmnopqrstuvwxyz'

/** Keys that are not there and differ from one that is by a character, at any place in it; the same ones at each run. */
export function neighboursOf(keys: readonly string[], count: number, seed: number): readonly string[] {
  const random = randomBelow(seed)
  const taken = new Set(keys)
  const found = new Set<string>()
  while (found.size < count) {
    const key = keys[random(keys.length)]
    const at = random(key.length)
    const alphabet = ALPHABETS.find((characters) => characters.includes(key[at])) ?? OTHERS
    const neighbour = key.slice(0, at) + alphabet[random(alphabet.length)] + key.slice(at + 1)
    if (!taken.has(neighbour)) found.add(neighbour)
  }
  return [...found]
}
