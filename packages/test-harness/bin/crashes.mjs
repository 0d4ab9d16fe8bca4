#!/usr/bin/env node
// Lives of a database on a simulated disk, crashed at every call to it. One process of a campaign, see scripts/campaign.mjs.
//   crashes.mjs --folder DIR --place N --step N [--seed S] [--until EPOCH_MS] [--histories N]
//
// The folder keeps what was done, so that a campaign goes on where it was left:
//   crashes-<place>.json   how far it came
//   images-<place>.bin     8 bytes of the hash of each disk that was looked at
import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'

import { runCrashSeed, shortHistories, shrinkCrashSeed } from '../dist/index.js'

const { values } = parseArgs({
  options: {
    folder: { type: 'string' },
    place: { type: 'string', default: '0' },
    step: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    until: { type: 'string', default: 'Infinity' },
    histories: { type: 'string', default: 'Infinity' },
  },
})
const place = Number(values.place)
const step = Number(values.step)
const firstSeed = Number(values.seed)
const untilMs = Number(values.until)
const mostHistories = Number(values.histories)
if (values.folder === undefined || ![place, step, firstSeed].every(Number.isInteger) || !(untilMs > 0)) {
  console.error(
    'usage: crashes.mjs --folder DIR --place N --step N [--seed S] [--until EPOCH_MS] [--histories N]',
  )
  process.exit(2)
}
const POWER_LOSSES_PER_CALL = 6
const progressPath = join(values.folder, `crashes-${place}.json`)
const imagesPath = join(values.folder, `images-${place}.bin`)

// Between two images nothing of the engine is alive: without these V8 forgets what it has learned of its code each time it
// collects, and compiles it anew. (What memory is given back by is in campaign.mjs, since it must be said at the start.)
setFlagsFromString('--retain-maps-for-n-gc=1000000')
setFlagsFromString('--no-flush-bytecode')

const progress = existsSync(progressPath)
  ? JSON.parse(readFileSync(progressPath, 'utf8'))
  : {
      firstSeed,
      step,
      short: 0,
      seeds: 0,
      histories: 0,
      calls: 0,
      images: 0,
      crashedTwice: 0,
      segmentSwitches: 0,
      checkpoints: 0,
      merges: 0,
      cpuS: 0,
    }
if (progress.firstSeed !== firstSeed || progress.step !== step) {
  console.error(
    `${progressPath} is of seed ${progress.firstSeed} in steps of ${progress.step}; remove it to begin anew`,
  )
  process.exit(2)
}

let isStopping = false
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => (isStopping = true))

const cpuBefore = progress.cpuS
function save() {
  const { user, system } = process.cpuUsage()
  progress.cpuS = cpuBefore + (user + system) / 1e6
  writeFileSync(`${progressPath}.new`, JSON.stringify(progress))
  renameSync(`${progressPath}.new`, progressPath)
}

/** The history that is being played, unless it is the seed's. */
let current
async function play(seed, history) {
  current = history
  const report = await runCrashSeed(seed, history, POWER_LOSSES_PER_CALL)
  const hashes = Buffer.concat(report.images.map((hash) => Buffer.from(hash, 'base64').subarray(0, 8)))
  appendFileSync(imagesPath, hashes)
  progress.histories++
  progress.images += report.images.length
  for (const name of ['calls', 'crashedTwice', 'segmentSwitches', 'checkpoints', 'merges'])
    progress[name] += report[name]
  // After the hashes: what is counted twice by a kill in between is seen once, since only different ones count.
  save()
}

const isOver = () => isStopping || Date.now() >= untilMs || progress.histories >= mostHistories

let seed = firstSeed
try {
  // All the shortest ones first, then those that seeds make.
  let number = 0
  for (const history of shortHistories(3)) {
    if (isOver()) break
    if (number++ % step !== place) continue
    if (number <= progress.short) continue
    await play(seed, history)
    progress.short = number
    save()
  }
  while (!isOver()) {
    seed = firstSeed + place + progress.seeds * step
    progress.seeds++
    await play(seed)
  }
  save()
  process.exit(isStopping ? 130 : 0)
} catch (error) {
  console.error(error)
  if (current !== undefined) console.error(JSON.stringify(current))
  else {
    console.error('looking for a shorter history …')
    const shortest = await shrinkCrashSeed(seed, POWER_LOSSES_PER_CALL).catch((failure) => String(failure))
    if (shortest !== undefined) console.error(shortest)
  }
  process.exit(1)
}
