/** `npm start [-- arguments]`: sets everything up and runs the demo. */
import './check-node.mjs'

import { join } from 'node:path'

import { ROOT, setUp } from './setup.mjs'
import { run } from './step.mjs'

await setUp(['@holt/demo'])
process.stdout.write('\n')
const demo = join('apps', 'demo', 'dist', 'index.js')
const { exitCode } = await run(process.execPath, [join(ROOT, demo), ...process.argv.slice(2)], {
  // Paths among the arguments mean the directory the command was typed in.
  cwd: process.env.INIT_CWD ?? process.cwd(),
  inherit: true,
})
process.exitCode = exitCode
