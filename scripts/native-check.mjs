/** `npm run check:binary`, `npm run test:node-versions`: sets up, then one of the addon's own checks. */
import './check-node.mjs'

import { join } from 'node:path'

import { ROOT, setUp } from './setup.mjs'
import { run } from './step.mjs'

const [name = '', ...args] = process.argv.slice(2)
await setUp(['@holt/uring-native'])
process.stdout.write('\n')
const program = join(ROOT, 'packages', 'uring-native', 'scripts', `${name}.mjs`)
const { exitCode } = await run(process.execPath, [program, ...args], { cwd: ROOT, inherit: true })
process.exitCode = exitCode
