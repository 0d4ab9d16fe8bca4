/**
 * `npm run test:unprivileged [-- packages…]`, by root on Linux: runs the tests of uring-native and blob-buf-pool (or of
 * the packages named, by their directory) as a user without any privilege who may lock 8 MiB of memory, and once more
 * with io_uring refused to that user by a seccomp filter. Both must pass, by falling back where that is the way.
 *
 * The system calls are refused to the tests alone: the switch of the whole machine, sysctl kernel.io_uring_disabled, is
 * not touched. Ends with 2 where it cannot run, with the reason.
 */
import './check-node.mjs'

import { lchownSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'

import { setUp } from './setup.mjs'
import { isInterrupted, run } from './step.mjs'
import { VITEST, copyWorkspace } from './workspace-copy.mjs'

/** The user that owns nothing. */
const USER_ID = 65534
const LOCKABLE_KIB = 8192
const EPERM = 1

const WITHOUT_IO_URING = join('packages', 'uring-native', 'test', 'uring-fixtures', 'without-io-uring.py')

/** What a test process is allowed, and which Io it gets; as one line of JSON. */
const PROBE = `
import { readFileSync } from 'node:fs'
import { openIo } from '@holt/uring-native'
const field = (file, pattern) => pattern.exec(readFileSync('/proc/self/' + file, 'utf8'))?.[1]
const io = openIo()
console.log(JSON.stringify({
  userId: process.getuid(),
  capabilities: field('status', /^CapEff:\\s*(\\S+)/m),
  lockableBytes: field('limits', /^Max locked memory\\s+(\\S+)/m),
  io: io.kind,
  reason: io.fallbackReason ?? '',
}))
await io.dispose()
`

/** @param {string} reason @returns {never} */
function cannotRun(reason) {
  process.stderr.write(`test:unprivileged cannot run: ${reason}\n`)
  process.exit(2)
}

/**
 * A command of the user, with his limits.
 * @param {readonly string[]} command
 * @param {'allowed' | 'refused'} ioUring
 * @returns {readonly [string, readonly string[]]}
 */
function asUser(command, ioUring, copy) {
  const user = ['setpriv', `--reuid=${String(USER_ID)}`, `--regid=${String(USER_ID)}`, '--clear-groups']
  const bare = [...user, '--bounding-set=-all', '--inh-caps=-all', '--no-new-privs']
  const filter = ioUring === 'refused' ? ['python3', join(copy, WITHOUT_IO_URING), String(EPERM)] : []
  const limited = `ulimit -l ${String(LOCKABLE_KIB)} && exec "$@"`
  return ['sh', ['-c', limited, 'sh', ...bare, ...filter, ...command]]
}

/** @param {string} directory */
function giveToUser(directory) {
  lchownSync(directory, USER_ID, USER_ID)
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) giveToUser(path)
    else lchownSync(path, USER_ID, USER_ID)
  }
}

/** Whether the circumstances are the ones that were to be tested. */
function judgeProbe(said, ioUring) {
  const wrong = []
  if (said.userId !== USER_ID) wrong.push(`the user is ${String(said.userId)}`)
  if (!/^0+$/.test(said.capabilities)) wrong.push(`capabilities are left: ${said.capabilities}`)
  if (said.lockableBytes !== String(LOCKABLE_KIB * 1024)) wrong.push(`lockable: ${said.lockableBytes} bytes`)
  if (ioUring === 'refused' && (said.io !== 'fs' || !said.reason.includes('EPERM'))) {
    wrong.push(`io_uring was not refused: ${said.io} ${said.reason}`)
  }
  return wrong
}

if (process.platform !== 'linux') cannotRun(`it needs Linux, this is ${process.platform}`)
if (process.getuid?.() !== 0)
  cannotRun('only root may become another user; an ordinary `npm test` is without privilege')

const named = process.argv.slice(2)
const packages = named.length > 0 ? named : ['packages/uring-native', 'packages/blob-buf-pool']
await setUp(named.length > 0 ? [] : ['@holt/uring-native', '@holt/blob-buf-pool'])

const copy = copyWorkspace()
/** @type {string[]} */
const results = []
let failedCount = 0
try {
  const temporary = join(copy, 'tmp')
  mkdirSync(temporary)
  giveToUser(copy)
  const env = {
    HOME: temporary,
    TMPDIR: temporary,
    // The rest of root's PATH may lie where the user cannot look.
    PATH: `${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin`,
  }
  for (const ioUring of /** @type {const} */ (['allowed', 'refused'])) {
    const circumstances = `an unprivileged user with 8 MiB of lockable memory${ioUring === 'refused' ? ', io_uring refused' : ''}`
    process.stdout.write(`\n▶ ${circumstances}\n`)
    const inNative = { cwd: join(copy, 'packages', 'blob-store'), env }
    const probed = await run(
      ...asUser([process.execPath, '--input-type=module', '-e', PROBE], ioUring, copy),
      inNative,
    )
    if (probed.exitCode !== 0) cannotRun(`the user cannot run the tests:\n${probed.output}`)
    const said = JSON.parse(probed.output)
    const wrong = judgeProbe(said, ioUring)
    if (wrong.length > 0) cannotRun(wrong.join('; '))
    process.stdout.write(`  Io: ${said.io}${said.reason === '' ? '' : ` (${said.reason})`}\n`)
    for (const directory of packages) {
      if (isInterrupted()) break
      const command = [process.execPath, VITEST, 'run', '--maxWorkers=2']
      const { exitCode } = await run(...asUser(command, ioUring, copy), {
        cwd: join(copy, directory),
        env,
        inherit: true,
      })
      if (exitCode !== 0) failedCount++
      results.push(`${exitCode === 0 ? '✓' : '✗'} ${directory}: ${circumstances}`)
    }
  }
} finally {
  rmSync(copy, { recursive: true, force: true })
}
process.stdout.write(`\n${results.join('\n')}\n`)
if (failedCount > 0) process.exitCode = 1
