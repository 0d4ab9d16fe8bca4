import { KEY_MAKERS, type KeyMaker } from './keys.js'
import type { Random } from './random.js'

const WORDS = ['a', 'ab', 'käse', 'Straße', '日本', '日本語', '😀', '😀😀', 'é', 'e\u0301', 'z']

/** Names of people's files, in two to four bytes a character: keys that part in the middle of one. */
const utf8: KeyMaker = (random) => {
  let key = random.pick(WORDS)
  for (let depth = random.below(5); depth > 0; depth--)
    key += random.pick(['/', '/', '-']) + random.pick(WORDS)
  return Buffer.from(key).toString('latin1')
}

/** Paths of printable bytes, the deeper the longer. */
const asciiPaths: KeyMaker = (random) => {
  let key = `tenant-${String(random.below(4))}`
  for (let depth = random.below(6); depth > 0; depth--) key += `/${String(random.below(12))}`
  return random.chance(50) ? key : `${key}/object-${String(random.below(400))}.json`
}

/** A key and the same with NULs behind. */
const trailingNuls: KeyMaker = (random) => {
  const stem = random.pick(['', 'a', 'b', 'a/', 'b\0x', '\0', '\xff', 'dir/file'])
  return (
    stem +
    '\0'.repeat(random.below(random.chance(10) ? 40 : 5)) +
    random.pick(['', '', '\x01', 'x', '\0\x01'])
  )
}

/** Any length up to the longest, in long stretches that are shared. */
const long: KeyMaker = (random) => {
  let key = random.pick(['', 'p', '\0', '/'])
  const most = random.pick([16, 300, 1_000, 4_096, 4_100])
  while (key.length < most && random.chance(85)) {
    const byte = random.pick(['\0', '\x01', '/', '\xfe', '\xff'])
    key += byte.repeat(1 + random.below(random.pick([3, 60, 700]))) + random.pick(['', '/', 'k'])
  }
  return key.slice(0, most)
}

/** Keys of every kind, and mixtures of them. */
export const HISTORY_KEYS: Readonly<Record<string, KeyMaker>> = {
  ...KEY_MAKERS,
  'ASCII paths': asciiPaths,
  'UTF-8': utf8,
  'trailing NULs': trailingNuls,
  'long stretches': long,
  'long paths': (random: Random) => asciiPaths(random) + long(random),
}
