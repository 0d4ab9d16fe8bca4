import { type CursorOptions, successorOfPrefix } from '../src/index.js'
import type { Random } from './random.js'
import { bytesOf } from './sorted-map.js'

/** Makes keys of one kind, so that many share prefixes and are prefixes of one another. */
export type KeyMaker = (random: Random) => string

function fromAlphabet(alphabet: readonly number[], longest: number): KeyMaker {
  return (random) => {
    let length = random.below(longest + 1)
    if (random.chance(2)) length += 20 + random.below(random.chance(10) ? 900 : 60)
    let key = ''
    for (let i = 0; i < length; i++) key += String.fromCharCode(random.pick(alphabet))
    return key
  }
}

const NAMES = [
  'a',
  'b',
  'img',
  'index.html',
  '2024',
  '2025',
  'report',
  'x',
  'data.bin',
  'logs',
  'ü'.normalize('NFD'),
]

/** Object names with directories, the likes of `logs/2024/report`. */
const paths: KeyMaker = (random) => {
  let key = random.chance(20) ? '' : random.pick(NAMES)
  for (let depth = random.below(5); depth > 0; depth--) key += '/' + random.pick(NAMES)
  if (random.chance(30)) key += String(random.below(1_000))
  if (random.chance(10)) key += '/'
  return Buffer.from(key).toString('latin1')
}

/** Any byte: nodes of all sizes. */
const wide: KeyMaker = (random) => {
  let key = ''
  for (let length = random.below(4); length > 0; length--) key += String.fromCharCode(random.below(256))
  return key
}

export const KEY_MAKERS: Readonly<Record<string, KeyMaker>> = {
  'bytes 00 01 2f fe ff': fromAlphabet([0x00, 0x01, 0x2f, 0xfe, 0xff], 12),
  'bytes 00 01 2f ff a b': fromAlphabet([0x00, 0x01, 0x2f, 0xff, 0x61, 0x62], 12),
  'bytes of two kinds': fromAlphabet([0x2f, 0xff], 12),
  paths,
  'any byte': wide,
}

/** Some combination of prefix, bounds, direction and delimiter, mostly at or near keys that are there. */
export function randomCursorOptions(
  random: Random,
  make: KeyMaker,
  present: readonly string[],
): CursorOptions {
  const near = (): Uint8Array => {
    let key = present.length > 0 && random.chance(70) ? random.pick(present) : make(random)
    if (random.chance(40)) key = key.slice(0, random.below(key.length + 1))
    if (random.chance(15)) key += random.pick(['\0', '/', '\xff', 'a'])
    const bytes = bytesOf(key)
    return random.chance(10) ? (successorOfPrefix(bytes) ?? bytes) : bytes
  }
  const options: { -readonly [K in keyof CursorOptions]: CursorOptions[K] } = {}
  if (random.chance(50)) options.prefix = near()
  if (random.chance(30)) options.gt = near()
  if (random.chance(20)) options.gte = near()
  if (random.chance(30)) options.lt = near()
  if (random.chance(20)) options.lte = near()
  if (random.chance(45)) options.reverse = true
  if (random.chance(60)) {
    options.delimiter = bytesOf(
      random.pick(['/', '/', '/', '\0', '\xff', 'a', '//', '/\xff', '\0\x01', 'ab', '\xff\xff']),
    )
  }
  return options
}

/** For messages: a range with its bytes readable. */
export function describeOptions(options: CursorOptions): string {
  return JSON.stringify(options, (_name, value: unknown) =>
    value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value,
  )
}
