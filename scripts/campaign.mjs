/**
 * Nothing acknowledged is ever lost: the proof by trying. It keeps its progress and goes on where it was left.
 *
 *   npm run campaign -- [--minutes N] [--seed S]      all of it; the crashes take N minutes, 10 unless told
 *   npm run campaign -- crashes --minutes 60          lives of a database on a simulated disk, crashed at every call to it
 *   npm run campaign -- faults                        every call to the disk, and to the store, fails in turn, once and for good
 *   npm run campaign -- damage                        every byte of a small store flipped, every file cut off everywhere
 *   npm run campaign -- options                       one history under every option, from disk to disk: one answer
 *   npm run campaign -- kills --count 500             processes killed at any moment, on this machine's disk
 *   npm run campaign -- kills --on xfs                the same on a file system made for it: ext4, xfs, btrfs, or a full tmpfs (root)
 *   npm run campaign -- --fresh                       forgets what was done before
 */
import './check-node.mjs'

import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { runParts, runProgram } from './parts.mjs'
import { ROOT, setUp } from './setup.mjs'

const PART_NAMES = ['crashes', 'faults', 'damage', 'options', 'kills']
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '100' },
    on: { type: 'string' },
    fresh: { type: 'boolean', default: false },
  },
})
const minutes = Number(values.minutes)
const seed = Number(values.seed)
if (
  !positionals.every((name) => PART_NAMES.includes(name)) ||
  !(minutes > 0) ||
  !Number.isInteger(seed) ||
  !/^\d+$/.test(values.count)
) {
  process.stderr.write(
    `usage: npm run campaign -- [${PART_NAMES.join('|')}] [--minutes N] [--seed S] [--count N] [--on FILE-SYSTEM] [--fresh]\n`,
  )
  process.exit(2)
}

const FOLDER = join(ROOT, 'build', 'campaign')

/** Of all processes together; the images are those that differ. */
function crashProgress(processes) {
  const sum = {
    histories: 0,
    calls: 0,
    crashedTwice: 0,
    segmentSwitches: 0,
    checkpoints: 0,
    merges: 0,
    cpuS: 0,
  }
  const images = new Set()
  for (let place = 0; place < processes; place++) {
    const path = join(FOLDER, `crashes-${String(place)}.json`)
    if (!existsSync(path)) continue
    const progress = JSON.parse(readFileSync(path, 'utf8'))
    for (const name of Object.keys(sum)) sum[name] += progress[name]
    const hashes = readFileSync(join(FOLDER, `images-${String(place)}.bin`))
    for (let at = 0; at + 8 <= hashes.length; at += 8) images.add(hashes.readBigUInt64LE(at))
  }
  return { ...sum, images: images.size }
}

async function runCrashes() {
  if (values.fresh) rmSync(FOLDER, { recursive: true, force: true })
  mkdirSync(FOLDER, { recursive: true })
  const processes = availableParallelism()
  const until = String(Date.now() + minutes * 60_000)
  const say = () => {
    const { histories, images, calls, crashedTwice, segmentSwitches, checkpoints, merges, cpuS } =
      crashProgress(processes)
    const count = (number) => Math.round(number).toLocaleString('en')
    process.stdout.write(
      `${count(histories)} histories, ${count(calls)} calls to the disk, ${count(images)} different images looked at, ` +
        `${count(crashedTwice)} of them crashed again while they were opened; ${count(checkpoints)} checkpoints, ` +
        `${count(segmentSwitches)} segment switches, ${count(merges)} merges of frames; ${count(cpuS)} s of CPU\n`,
    )
  }
  const timer = setInterval(say, 60_000)
  const outcomes = await Promise.all(
    Array.from({ length: processes }, (_, place) => {
      const args = [
        '--folder',
        FOLDER,
        '--place',
        String(place),
        '--step',
        String(processes),
        '--seed',
        String(seed),
      ]
      // Each image is opened in shared memory of its own, of which little is touched. Mapped freshly it is zeros at no price.
      const env = { MALLOC_MMAP_THRESHOLD_: '131072' }
      return runProgram('packages/test-harness/bin/crashes.mjs', [...args, '--until', until], env)
    }),
  )
  clearInterval(timer)
  say()
  return outcomes.every(Boolean)
}

/**
 * @param {string} file
 * @param {Readonly<Record<string, string>>} env
 */
function runTest(file, env) {
  const args = ['run', '--testTimeout=0', `packages/test-harness/test/holt/${file}`]
  return runProgram('node_modules/vitest/vitest.mjs', args, env)
}

/** @type {Readonly<Record<string, readonly (() => Promise<boolean>)[]>>} */
const PARTS = {
  crashes: [runCrashes],
  faults: ['io-faults.test.ts', 'store-faults.test.ts'].map(
    (file) => () => runTest(file, { HOLT_FAULT_STRIDE: '1' }),
  ),
  damage: [() => runTest('damaged-files.test.ts', { HOLT_DAMAGE_STRIDE: '1' })],
  options: [() => runTest('one-answer.test.ts', { HOLT_OPTION_HISTORIES: '20' })],
  kills: ['os', 'disk'].map((durability) => () => {
    const args = ['--count', values.count, '--durability', durability, '--seed', String(seed)]
    if (values.on !== undefined) args.push('--on', values.on)
    return runProgram('packages/test-harness/bin/kills.mjs', args)
  }),
}

await setUp()
await runParts(PARTS, positionals.length === 0 ? PART_NAMES : positionals)
