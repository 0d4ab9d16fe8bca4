/**
 * `node scripts/test-node-versions.mjs [versions…]`: one built addon under several versions of Node (20, 22, 24 and 26
 * unless others are named). Each binary is installed from the npm package `node-linux-<arch>` into node_modules/.cache,
 * once, and runs `run-conformance.mjs` with the addon and the dist that are here. Prints a table; ends with 1 if
 * anything failed, with 2 if it cannot run.
 */
import { execFile, execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const packageRoot = dirname(dirname(fileURLToPath(import.meta.url)))
const addon = join(packageRoot, 'build', 'holt_native.node')
const runner = join(packageRoot, 'scripts', 'run-conformance.mjs')
const cache = join(dirname(dirname(packageRoot)), 'node_modules', '.cache', 'holt-node-versions')
const DEFAULT_VERSIONS = ['20', '22', '24', '26']

/** @param {string} reason @returns {never} */
function cannotRun(reason) {
  console.error(`test-node-versions cannot run: ${reason}`)
  process.exit(2)
}

function addonHash() {
  return createHash('sha256').update(readFileSync(addon)).digest('hex')
}

/**
 * The binary of a version, installed if it is not there yet.
 * @param {string} version a major, or a version in full
 */
function binaryOf(version) {
  const name = `node-linux-${process.arch}`
  const prefix = join(cache, version)
  const binary = join(prefix, 'node_modules', name, 'bin', 'node')
  if (!existsSync(binary)) {
    mkdirSync(prefix, { recursive: true })
    const options = ['--no-save', '--no-package-lock', '--no-audit', '--no-fund', '--ignore-scripts']
    try {
      execFileSync('npm', ['install', ...options, '--prefix', prefix, `${name}@${version}`], {
        cwd: prefix,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      })
    } catch (error) {
      const said = error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error)
      cannotRun(`npm does not install ${name}@${version}:\n${said}`)
    }
  }
  return binary
}

/**
 * Runs the suite under a binary; its failures are printed as they are.
 * @param {string} binary
 * @returns {Promise<{ ok: boolean, summary: any, output: string }>}
 */
function runUnder(binary) {
  return new Promise((resolve) => {
    // What was meant for our own Node may be nothing for another one.
    const env = { ...process.env, NODE_OPTIONS: '', PATH: `${dirname(binary)}:${process.env.PATH ?? ''}` }
    execFile(binary, ['--expose-gc', runner], { env, maxBuffer: 64 * 2 ** 20 }, (error, stdout, stderr) => {
      const lines = stdout.trimEnd().split('\n')
      const last = lines.pop() ?? ''
      const summary = last.startsWith('{') ? JSON.parse(last) : undefined
      const rest = summary === undefined ? stdout : lines.join('\n')
      resolve({ ok: error === null && summary !== undefined, summary, output: `${rest}${stderr}` })
    })
  })
}

if (process.platform !== 'linux') cannotRun(`the addon needs Linux, this is ${process.platform}`)
if (!existsSync(addon)) cannotRun(`there is no addon at '${addon}': build it first (npm run native)`)
if (!existsSync(join(packageRoot, 'dist', 'index.js'))) cannotRun('there is no dist: build it first')

const versions = process.argv.length > 2 ? process.argv.slice(2) : DEFAULT_VERSIONS
const before = addonHash()
const rows = []
let failedCount = 0
/** Where one version gets io_uring all must: falling back would otherwise pass for working. */
let wantedIo

for (const version of versions) {
  const { ok, summary, output } = await runUnder(binaryOf(version))
  if (output.trim() !== '') console.log(`Node ${version}:\n${output.trimEnd()}`)
  const io = summary?.io
  wantedIo ??= io
  const sameIo = io === wantedIo
  if (!sameIo) console.log(`✗ Node ${version} uses ${String(io)}, the first version ${String(wantedIo)}`)
  if (!ok || !sameIo) failedCount++
  const counts = Object.values(summary?.groups ?? {}).map(
    ({ passed, failed, leftOut }) =>
      `${String(passed)}${failed > 0 ? ` (${String(failed)} failed)` : ''}${leftOut > 0 ? ` (${String(leftOut)} left out)` : ''}`,
  )
  rows.push([
    summary?.node ?? version,
    summary === undefined ? '-' : `${summary.modules} / ${summary.napi}`,
    io ?? '-',
    ...(counts.length > 0 ? counts : ['-', '-', '-', '-', '-']),
    ok && sameIo ? '✓' : '✗',
  ])
}
if (addonHash() !== before)
  cannotRun('the addon was built anew meanwhile: the versions did not run the same one')

console.log(`\nOne addon (sha256 ${before.slice(0, 16)}…), tests passed:\n`)
const heads = ['Node', 'ABI / Node-API', 'Io', 'addon', 'UringIo', 'FsIo', 'fallback', 'processes', '']
for (const row of [heads, heads.map(() => '---'), ...rows]) console.log(`| ${row.join(' | ')} |`)
if (failedCount > 0) process.exitCode = 1
