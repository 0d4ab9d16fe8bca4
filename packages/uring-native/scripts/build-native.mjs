/**
 * Builds the native addon into build/holt_native.node, if that is possible here and needed.
 *
 * It never downloads anything, and it never fails: where the addon cannot be built (no compiler, not Linux) it leaves
 * none behind, says so in one line, and holt takes its portable path. A stamp of the sources, compiler, Node version
 * and platform tells whether what was built before is still the right one.
 *
 * HOLT_NATIVE_SANITIZE=address builds with AddressSanitizer; node must then be started with its library preloaded.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const packageRoot = dirname(dirname(fileURLToPath(import.meta.url)))
const sources = join(packageRoot, 'native')
const output = join(packageRoot, 'build')
const addon = join(output, 'holt_native.node')
const stampFile = join(output, 'holt_native.stamp')
const log = join(output, 'native-build.log')

/** Built where nobody looks, so that two builds at once cannot disturb each other. */
const staging = join(output, `native-${String(process.pid)}`)

function removeBuilt() {
  for (const path of [addon, stampFile, staging]) rmSync(path, { recursive: true, force: true })
}

/** @param {string} reason */
function giveUp(reason) {
  removeBuilt()
  console.log(`native addon not built (${reason}): the portable node:fs path is used`)
}

/** What a compiler says it is, or undefined if it does not run. `command` may carry arguments, as CXX does. */
function compilerIdentity(/** @type {string} */ command) {
  const [program = '', ...args] = command.trim().split(/\s+/)
  const ran = spawnSync(program, [...args, '--version'], { encoding: 'utf8' })
  return ran.status === 0 ? ran.stdout : undefined
}

/** @param {string} cxx @param {string} identity */
function stamp(cxx, identity) {
  const hash = createHash('sha256')
  const require = createRequire(import.meta.url)
  const parts = [
    ...readdirSync(sources)
      .filter((name) => /\.(cc|h|gyp)$/.test(name))
      .sort()
      .flatMap((name) => [name, readFileSync(join(sources, name), 'utf8')]),
    readFileSync(fileURLToPath(import.meta.url), 'utf8'),
    JSON.stringify(require('node-addon-api/package.json').version),
    cxx,
    identity,
    process.env.CC ?? '',
    process.env.CXXFLAGS ?? '',
    process.env.LDFLAGS ?? '',
    process.env.HOLT_NATIVE_SANITIZE ?? '',
    process.version,
    `${process.platform}-${process.arch}`,
  ]
  for (const part of parts) hash.update(`${String(part.length)}:${part}`)
  return hash.digest('hex')
}

function build() {
  const started = performance.now()
  if (process.platform !== 'linux') return giveUp(`${process.platform} has no io_uring`)
  const cxx = process.env.CXX ?? 'g++'
  const identity = compilerIdentity(cxx)
  if (identity === undefined) return giveUp(`the C++ compiler '${cxx}' does not run`)

  const wanted = stamp(cxx, identity)
  if (existsSync(addon) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === wanted) {
    console.log('native addon: up to date')
    return
  }

  const nodePrefix = dirname(dirname(process.execPath))
  if (!existsSync(join(nodePrefix, 'include/node/node_api.h'))) {
    return giveUp(`no Node headers in ${join(nodePrefix, 'include/node')}`)
  }
  for (const tool of ['make', 'python3']) {
    if (compilerIdentity(tool) === undefined) return giveUp(`'${tool}' does not run`)
  }

  removeBuilt()
  mkdirSync(output, { recursive: true })
  cpSync(sources, staging, {
    recursive: true,
    filter: (path) => path === sources || /\.(cc|h|gyp)$/.test(path),
  })
  const require = createRequire(import.meta.url)
  const nodeGyp = join(dirname(require.resolve('node-gyp/package.json')), 'bin/node-gyp.js')
  try {
    const text = execFileSync(
      process.execPath,
      [nodeGyp, 'rebuild', '--release', `--nodedir=${nodePrefix}`, '-C', staging, '-j', '2'],
      { cwd: staging, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64 * 2 ** 20 },
    )
    writeFileSync(log, text)
    renameSync(join(staging, 'build/Release/holt_native.node'), addon)
    writeFileSync(stampFile, wanted)
    rmSync(staging, { recursive: true, force: true })
    console.log(`native addon: built in ${((performance.now() - started) / 1000).toFixed(1)} s`)
  } catch (error) {
    const ran = error instanceof Error && 'stderr' in error
    writeFileSync(log, ran ? `${String(error.stdout)}${String(error.stderr)}` : `${String(error)}\n`)
    giveUp(`the build failed, see ${relative(process.cwd(), log)}`)
  }
}

build()
