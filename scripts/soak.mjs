/** `npm run soak [-- --seed N]`: the long campaigns, of which `npm test` runs a small part. */
import './check-node.mjs'

import { join } from 'node:path'

import { ROOT, setUp } from './setup.mjs'
import { isInterrupted, run } from './step.mjs'

const seedAt = process.argv.indexOf('--seed')
const seed = seedAt === -1 ? String(Date.now() % 2 ** 31) : (process.argv[seedAt + 1] ?? '1')

/** @type {readonly (readonly [string, readonly string[]])[]} */
const CAMPAIGNS = [
  ['histories.mjs', ['--count', '10000']],
  ['kills.mjs', ['--count', '100', '--durability', 'os']],
  ['kills.mjs', ['--count', '100', '--durability', 'disk']],
]

await setUp()
let failedCount = 0
for (const [program, args] of CAMPAIGNS) {
  if (isInterrupted()) break
  process.stdout.write(`\n▶ ${program} ${args.join(' ')} --seed ${seed}\n`)
  const path = join('packages', 'test-harness', 'bin', program)
  const { exitCode } = await run(process.execPath, [path, ...args, '--seed', seed], {
    cwd: ROOT,
    inherit: true,
  })
  if (exitCode !== 0) failedCount++
}
process.stdout.write(
  `\n${String(CAMPAIGNS.length - failedCount)} campaigns passed, ${String(failedCount)} failed\n`,
)
if (!isInterrupted()) process.exitCode = failedCount === 0 ? 0 : 1
