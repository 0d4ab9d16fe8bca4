// Prints ns per entry of a cursor's walks, over frames that are all resident. By hand, after a build:
//   npx tsup && node bench/scan.mjs [keys …]
import { ArtIndex, COMMON_PREFIX, countPrefix, Cursor, END } from '../dist/index.js'
import { ResidentFrames } from './resident-frames.mjs'

const bytes = (text) => new TextEncoder().encode(text)
const directoryOf = (i) =>
  `bucket-${String(i % 8).padStart(2, '0')}/dir-${String((i >>> 3) % 97).padStart(4, '0')}/`

/** The best of a few rounds, in ns per unit of what `run` returns. */
function best(label, run) {
  let least = Infinity
  for (let round = 0; round < 60; round++) {
    const begin = process.hrtime.bigint()
    const units = run()
    least = Math.min(least, Number(process.hrtime.bigint() - begin) / units)
  }
  console.log(`${label.padEnd(42)} ${least.toFixed(1)}`)
}

for (const count of (process.argv.length > 2 ? process.argv.slice(2) : ['20000', '500000']).map(Number)) {
  const index = ArtIndex.create(new ResidentFrames(Math.ceil(count / 1_000) + 64))
  const value = new Uint8Array(60)
  for (let i = 0; i < count; i++) {
    const key = bytes(`${directoryOf(i)}object-${String(i).padStart(9, '0')}`)
    index.key.set(key)
    index.put(key.length, value, 0, value.length, i)
  }
  console.log(`${count} keys`)
  const cursor = new Cursor(index)
  const walk = (options, limit = Infinity) => {
    cursor.restart(options)
    let steps = 0
    while (steps < limit && cursor.next() !== END) steps++
    return steps
  }
  best('whole tree, per entry', () => walk({}))
  best('whole tree, reverse, per entry', () => walk({ reverse: true }))
  const prefixes = Array.from({ length: 700 }, (_, i) => ({ prefix: bytes(directoryOf(i * 7)) }))
  const delimited = prefixes.map((options) => ({ ...options, delimiter: bytes('/') }))
  best('list 100 below a directory, per entry', () =>
    prefixes.reduce((sum, options) => sum + walk(options, 100), 0),
  )
  best('the same with a delimiter, per entry', () =>
    delimited.reduce((sum, options) => sum + walk(options, 100), 0),
  )
  best('seek and first entry', () => (prefixes.forEach((options) => walk(options, 1)), prefixes.length))
  const top = { delimiter: bytes('/') }
  best('8 common prefixes, per list', () => {
    for (let i = 0; i < 1_000; i++) if (walk(top) !== 8) throw new Error('8 expected')
    return 1_000
  })
  const buckets = Array.from({ length: 8 }, (_, i) => ({
    prefix: bytes(directoryOf(i).slice(0, 10)),
    delimiter: bytes('/'),
  }))
  best('97 common prefixes, per prefix', () => buckets.reduce((sum, options) => sum + walk(options), 0))
  cursor.restart(buckets[0])
  if (cursor.next() !== COMMON_PREFIX) throw new Error('a common prefix expected')
  best('count a bucket', () => {
    for (let i = 0; i < 100; i++) countPrefix(index, buckets[i % 8].prefix)
    return 100
  })
}
