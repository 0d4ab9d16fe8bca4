// Prints per shape of load: frames, fill, depth, bytes per key after the load and after compaction, and what a put that
// divides a frame costs. By hand, after a build:
//   npx tsup && node bench/shape.mjs [keys] [shape …]
import * as art from '../dist/index.js'
import { ResidentFrames } from './resident-frames.mjs'

function generator(seed) {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function shuffled(items) {
  const next = generator(7)
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1))
    ;[items[i], items[j]] = [items[j], items[i]]
  }
  return items
}

const utf8 = (text) => new TextEncoder().encode(text)
const range = (count, make) => Array.from({ length: count }, (_, i) => make(i))

const pad = (value, digits) => String(value).padStart(digits, '0')

function objectKey(i) {
  const bucket = `tenant-${pad(i % 7, 2)}/bucket-${pad(Math.floor(i / 7) % 11, 2)}`
  return utf8(
    `${bucket}/2024/${pad(Math.floor(i / 77) % 28, 2)}/${pad(Math.imul(i, 0x2c1b3c6d) & 0x3ffffff, 8)}.bin`,
  )
}

const shapes = {
  objects: (count) => ({ keys: shuffled(range(count, objectKey)), valueBytes: 60 }),
  tiny: (count) => ({
    keys: shuffled(range(count, (i) => utf8(`k${String(i).padStart(8, '0')}`))),
    valueBytes: 1,
  }),
  directory: (count) => ({
    keys: shuffled(range(count, (i) => utf8(`photos/2024/all/IMG_${String(i).padStart(7, '0')}.jpg`))),
    valueBytes: 60,
  }),
  random32: (count) => {
    const next = generator(3)
    return { keys: range(count, () => Uint8Array.from({ length: 32 }, () => next() * 256)), valueBytes: 60 }
  },
  long: (count) => ({
    keys: shuffled(
      range(Math.ceil(count / 20), (i) => utf8(`${'d'.repeat(60)}/`.repeat(64) + String(i * 7919))),
    ),
    valueBytes: 60,
  }),
  'long-apart': (count) => {
    const next = generator(5)
    return {
      keys: range(Math.ceil(count / 50), () => Uint8Array.from({ length: 4_096 }, () => next() * 256)),
      valueBytes: 60,
    }
  },
  hot: (count) => {
    const next = generator(9)
    return {
      keys: range(count, (i) =>
        utf8(
          next() < 0.95
            ? `tenant/7/events/${String(Math.floor(next() * 1e9))}`
            : `tenant/${String(i % 1000)}/x${String(i)}`,
        ),
      ),
      valueBytes: 60,
    }
  },
  sorted: (count) => ({
    keys: range(count, (i) => utf8(`log/2024/${String(i).padStart(10, '0')}`)),
    valueBytes: 60,
  }),
  reverse: (count) => ({
    keys: range(count, (i) => utf8(`log/2024/${String(count - i).padStart(10, '0')}`)),
    valueBytes: 60,
  }),
}

const percent = (part) => `${(part * 100).toFixed(0)} %`.padStart(6)

function report(label, index, keys) {
  const s = art.treeStatistics(index)
  const perKey = (s.frames * 524_288) / keys
  console.log(
    `  ${label.padEnd(12)} frames ${String(s.frames).padStart(5)}  fill ${percent(s.fill.average)} (min ${percent(s.fill.min)})` +
      `  depth ${s.depthFrames}  ${perKey.toFixed(0)} B/key in frames, ${(s.liveBytes / keys).toFixed(0)} live`,
  )
}

const count = Number(process.argv[2] ?? 500_000)
const names = process.argv.length > 3 ? process.argv.slice(3) : Object.keys(shapes)
for (const name of names) {
  const { keys, valueBytes } = shapes[name](count)
  const longest = keys.reduce((most, key) => Math.max(most, key.length), 0)
  const source = new ResidentFrames(Math.ceil((keys.length * (longest + valueBytes + 60)) / 150_000) + 200)
  const index = art.ArtIndex.create(source)
  const value = new Uint8Array(1_024).fill(7)
  const splits = []
  let version = 0
  const begin = process.hrtime.bigint()
  for (const key of keys) {
    const before = source.allocations
    index.key.set(key)
    const start = process.cpuUsage()
    index.put(key.length, value, 0, valueBytes, ++version)
    if (source.allocations !== before) splits.push(process.cpuUsage(start).user / 1e3)
  }
  const loadMs = Number(process.hrtime.bigint() - begin) / 1e6
  splits.sort((a, b) => a - b)
  const at = (share) =>
    (splits[Math.min(splits.length - 1, Math.floor(splits.length * share))] ?? 0).toFixed(2)
  console.log(`${name}: ${keys.length} keys, load ${((loadMs * 1e6) / keys.length).toFixed(0)} ns/key`)
  console.log(
    `  divisions ${splits.length}, CPU time: median ${at(0.5)} ms, p99 ${at(0.99)} ms, worst ${at(1)} ms`,
  )
  report('loaded', index, keys.length)
  const pass = new art.CompactionPass()
  const steps = []
  for (;;) {
    const start = process.hrtime.bigint()
    const more = index.compactStep(pass)
    steps.push(Number(process.hrtime.bigint() - start) / 1e6)
    if (!more) break
  }
  steps.sort((a, b) => a - b)
  const total = steps.reduce((sum, ms) => sum + ms, 0)
  report('compacted', index, keys.length)
  console.log(
    `  ${steps.length} steps, ${total.toFixed(0)} ms, median ${steps[steps.length >> 1].toFixed(2)}, worst ${steps.at(-1).toFixed(2)} ms`,
  )
  const { problems } = art.verifyTree(index)
  if (problems.length > 0) console.log(problems.slice(0, 5))
}
