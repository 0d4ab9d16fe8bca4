/**
 * The long campaigns, of which `npm test` runs a small part.
 *
 *   npm run soak                                      all of them
 *   npm run soak -- index --operations N --seed N     histories of an index, one process for each core
 *   npm run soak -- histories --count N --seed N      histories of a database on a simulated disk that crashes
 *   npm run soak -- kills --count N --seed N          processes killed at any moment
 *   npm run soak -- shared --reads N                  threads that read a tree while it changes
 *   npm run soak -- shapes --keys N                   fill and depth of trees of many shapes, one of very many tiny entries
 */
import './check-node.mjs'

import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { runParts, runProgram } from './parts.mjs'
import { ROOT, setUp } from './setup.mjs'
import { run, step } from './step.mjs'

/** As `packages/art-index/test/history-generation.ts` has it. */
const OPERATIONS_PER_INDEX_HISTORY = 5_000
const PART_NAMES = ['index', 'histories', 'kills', 'shared', 'shapes']

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    count: { type: 'string' },
    operations: { type: 'string', default: '10000000' },
    reads: { type: 'string', default: '100000000' },
    keys: { type: 'string', default: '10000000' },
  },
})
const { seed, operations, reads, keys } = values
const isNumber = (text) => /^\d+$/.test(text)
if (
  !positionals.every((name) => PART_NAMES.includes(name)) ||
  ![seed, operations, reads, keys, values.count ?? '1'].every(isNumber)
) {
  process.stderr.write(
    `usage: npm run soak -- [${PART_NAMES.join('|')}] [--seed N] [--count N] [--operations N] [--reads N] [--keys N]\n`,
  )
  process.exit(2)
}

/** Each process takes every n-th seed, so that together they play one range without gaps. */
async function runIndex() {
  const directory = join(ROOT, 'packages', 'art-index')
  const isBuilt = await step('histories of an index built', async () => {
    const tsup = join(ROOT, 'node_modules', 'tsup', 'dist', 'cli-default.js')
    const { exitCode, output } = await run(process.execPath, [tsup, '--config', 'tsup.soak.config.ts'], {
      cwd: directory,
    })
    return { ok: exitCode === 0, output }
  })
  if (!isBuilt) return false
  const first = Number(seed)
  const histories = Math.ceil(Number(operations) / OPERATIONS_PER_INDEX_HISTORY)
  const processes = Math.min(availableParallelism(), histories)
  const last = first + histories - 1
  process.stdout.write(`\n▶ seeds ${seed} to ${String(last)} in ${String(processes)} processes\n`)
  const outcomes = await Promise.all(
    Array.from({ length: processes }, (_, place) => {
      const count = Math.ceil((histories - place) / processes)
      const args = ['--seed', String(first + place), '--step', String(processes), '--count', String(count)]
      return runProgram('packages/art-index/build/soak/history-soak.js', args)
    }),
  )
  if (!outcomes.every(Boolean)) return false
  process.stdout.write(
    `go on with: npm run soak -- index --seed ${String(last + 1)} --operations ${operations}\n`,
  )
  return true
}

/** @type {Readonly<Record<string, readonly (() => Promise<boolean>)[]>>} */
const PARTS = {
  index: [runIndex],
  histories: [
    () =>
      runProgram('packages/test-harness/bin/histories.mjs', [
        '--count',
        values.count ?? '10000',
        '--seed',
        seed,
      ]),
  ],
  kills: ['os', 'disk'].map((durability) => () => {
    const args = ['--count', values.count ?? '100', '--durability', durability, '--seed', seed]
    return runProgram('packages/test-harness/bin/kills.mjs', args)
  }),
  shared: [
    () =>
      runProgram(
        'node_modules/vitest/vitest.mjs',
        ['run', '--testTimeout=0', 'packages/test-harness/test/blob-store/shared-reading.test.ts'],
        { HOLT_SHARED_READS: reads },
      ),
  ],
  shapes: [
    () =>
      runProgram(
        'node_modules/vitest/vitest.mjs',
        ['run', 'packages/art-index/test/compaction.test.ts', '-t', 'the shape of a tree'],
        { HOLT_TINY_KEYS: keys },
      ),
  ],
}

await setUp()
await runParts(PARTS, positionals.length === 0 ? PART_NAMES : positionals)
