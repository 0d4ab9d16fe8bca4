/** `npm run bench [-- arguments]`: sets everything up and runs the benchmarks. */
import './check-node.mjs'

import { join } from 'node:path'

import { ROOT, setUp } from './setup.mjs'
import { run } from './step.mjs'

await setUp(['@holt/bench'])
process.stdout.write('\n')
const bench = join('apps', 'bench', 'dist', 'index.js')
const { exitCode } = await run(process.execPath, ['--expose-gc', bench, ...process.argv.slice(2)], {
  cwd: ROOT,
  inherit: true,
})
process.exitCode = exitCode
