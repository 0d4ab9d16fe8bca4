// Prints ns per operation of the index alone, over frames that are all resident. By hand, after a build:
//   npx tsup && node bench/get-put.mjs [keys …]
import { ArtIndex } from '../dist/index.js'
import { ResidentFrames } from './resident-frames.mjs'

function objectKey(i) {
  const bucket = String(i % 16).padStart(2, '0')
  const directory = String((i >>> 4) % 997).padStart(4, '0')
  return `bucket-${bucket}/dir-${directory}/object-${String(i).padStart(9, '0')}.dat`
}

function shuffle(items, seed) {
  let state = seed
  for (let i = items.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    const j = state % (i + 1)
    ;[items[i], items[j]] = [items[j], items[i]]
  }
  return items
}

function median(values) {
  return values.sort((a, b) => a - b)[values.length >> 1]
}

function measure(label, keys, operation, rounds) {
  const figures = []
  for (let round = 0; round < rounds; round++) {
    const begin = process.hrtime.bigint()
    for (let i = 0; i < keys.length; i++) operation(keys[i])
    figures.push(Number(process.hrtime.bigint() - begin) / keys.length)
  }
  console.log(`  ${label.padEnd(28)} ${median(figures).toFixed(0).padStart(6)} ns`)
}

for (const count of process.argv.length > 2 ? process.argv.slice(2).map(Number) : [20_000, 500_000]) {
  console.log(`${count} keys of ${objectKey(0).length} bytes, values of 60 bytes`)
  const keys = shuffle(
    Array.from({ length: count }, (_, i) => objectKey(i)),
    7,
  )
  const source = new ResidentFrames(Math.ceil(count / 1_000) + 64)
  const index = ArtIndex.create(source)
  const encoder = new TextEncoder()
  const value = new Uint8Array(1_024)
  let version = 0
  const encode = (key) => encoder.encodeInto(key, index.key).written
  let worst = 0
  measure(
    'new key, random order',
    keys,
    (key) => {
      const begin = performance.now()
      index.put(encode(key), value, 0, 60, ++version)
      worst = Math.max(worst, performance.now() - begin)
    },
    1,
  )
  console.log(`  ${'slowest put'.padEnd(28)} ${worst.toFixed(2).padStart(6)} ms; ${source.highest} frames`)
  const rounds = count > 100_000 ? 3 : 40
  shuffle(keys, 11)
  measure('key to scratch', keys, encode, rounds)
  measure(
    'find',
    keys,
    (key) => {
      if (!index.find(encode(key))) throw new Error(key)
    },
    rounds,
  )
  const pool = new Uint8Array(1 << 20)
  let taken = 0
  measure(
    'get, value into a pool',
    keys,
    (key) => {
      if (!index.find(encode(key))) throw new Error(key)
      if (taken + index.foundLength > pool.length) taken = 0
      const { foundBytes, foundOffset, foundLength } = index
      for (let i = 0; i < foundLength; i++) pool[taken + i] = foundBytes[foundOffset + i]
      taken += foundLength
    },
    rounds,
  )
  measure('overwrite, same size', keys, (key) => index.put(encode(key), value, 0, 60, ++version), rounds)
  measure('delete', keys, (key) => index.delete(encode(key)), 1)
  const sorted = keys.sort()
  measure('new key, sorted', sorted, (key) => index.put(encode(key), value, 0, 60, ++version), 1)
  console.log(`  ${'frames'.padEnd(28)} ${String(source.count).padStart(6)}`)
}
