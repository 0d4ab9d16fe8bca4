/**
 * `npm run test:sanitized [-- vitest arguments]`: builds the addon with AddressSanitizer in a copy of the workspace
 * and runs the tests of uring-native with it, worker termination and process.exit among them. The copy leaves the
 * ordinary build alone.
 *
 * node itself is not instrumented, so the sanitizer's library is loaded before everything else (LD_PRELOAD), in every
 * process a test starts. Its reports go to files: one of a child process that a test expected to fail counts too. A
 * program with a known fault runs first; if that one is not reported, nothing that follows means anything.
 *
 * Leaks are not looked for: node and V8 keep what they allocated until the process ends, by design, and would be all
 * there is to see. What the addon must give back (descriptors, mappings, references) its own tests count.
 */
import './check-node.mjs'

import { execFileSync, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'

import { setUp } from './setup.mjs'
import { isInterrupted, run } from './step.mjs'
import { VITEST, copyWorkspace } from './workspace-copy.mjs'

const SANITIZE = '-fsanitize=address -fno-omit-frame-pointer -g -O1'
const OPTIONS = {
  detect_leaks: 0,
  halt_on_error: 1,
  abort_on_error: 1,
  disable_coredump: 1,
  detect_stack_use_after_return: 1,
  strict_string_checks: 1,
}

/** An addon that reads one byte behind what it allocated, when it is loaded. */
const CANARY = `
#include <node_api.h>
#include <stdlib.h>
extern "C" __attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value) {
  volatile char* bytes = static_cast<char*>(malloc(8));
  napi_value result;
  napi_create_int32(env, bytes[8], &result);
  free(const_cast<char*>(bytes));
  return result;
}
`

/** @param {string} reason @returns {never} */
function cannotRun(reason) {
  console.error(`test:sanitized cannot run: ${reason}`)
  process.exit(2)
}

/** The sanitizer's library of the compiler, or undefined if it has none. */
function sanitizerLibrary(/** @type {string} */ cxx) {
  const [program = '', ...args] = cxx.split(/\s+/)
  const asked = spawnSync(program, [...args, '-print-file-name=libasan.so'], { encoding: 'utf8' })
  const path = asked.stdout?.trim() ?? ''
  return asked.status === 0 && isAbsolute(path) && existsSync(path) ? realpathSync(path) : undefined
}

if (process.platform !== 'linux') cannotRun(`the addon needs Linux, this is ${process.platform}`)
const cxx = process.env.CXX ?? 'g++'
const library = sanitizerLibrary(cxx)
if (library === undefined) cannotRun(`'${cxx}' has no libasan.so; gcc with its sanitizers is needed`)
const headers = join(dirname(dirname(process.execPath)), 'include', 'node')
if (!existsSync(join(headers, 'node_api.h'))) cannotRun(`there are no Node headers in ${headers}`)

await setUp(['@holt/uring-native'])
const copy = copyWorkspace()
process.on('exit', () => rmSync(copy, { recursive: true, force: true }))
const packageRoot = join(copy, 'packages', 'uring-native')
const reports = join(copy, 'reports')
mkdirSync(reports)

const options = Object.entries({ ...OPTIONS, log_path: join(reports, 'asan') })
const env = {
  LD_PRELOAD: library,
  ASAN_OPTIONS: options.map(([name, value]) => `${name}=${String(value)}`).join(':'),
}
const reportsNow = () => readdirSync(reports).map((name) => readFileSync(join(reports, name), 'utf8'))

// The canary.
const canary = join(copy, 'canary.node')
writeFileSync(join(copy, 'canary.cc'), CANARY)
execFileSync(
  'sh',
  [
    '-c',
    `exec ${cxx} ${SANITIZE} -shared -fPIC -I"$1" -o "$2" "$3"`,
    'sh',
    headers,
    canary,
    join(copy, 'canary.cc'),
  ],
  { stdio: 'inherit' },
)
const sang = spawnSync(process.execPath, ['-e', `require(${JSON.stringify(canary)})`], {
  env: { ...process.env, ...env },
})
const song = reportsNow().join('')
if (sang.status === 0 || !song.includes('heap-buffer-overflow')) {
  cannotRun(`a read behind the end of an allocation was not reported:\n${String(sang.stderr)}${song}`)
}
for (const name of readdirSync(reports)) rmSync(join(reports, name))
console.log('✓ a known fault is reported')

// The addon.
const built = await run(process.execPath, [join(packageRoot, 'scripts', 'build-native.mjs')], {
  cwd: packageRoot,
  env: { HOLT_NATIVE_SANITIZE: 'address' },
})
const addon = join(packageRoot, 'build', 'holt_native.node')
if (!existsSync(addon) || !readFileSync(addon).includes('__asan_report_load8')) {
  const log = join(packageRoot, 'build', 'native-build.log')
  cannotRun(`the addon is not built:\n${built.output}${existsSync(log) ? readFileSync(log, 'utf8') : ''}`)
}
console.log('✓ the addon is built with AddressSanitizer')

const { exitCode } = await run(
  process.execPath,
  [VITEST, 'run', '--maxWorkers=2', ...process.argv.slice(2)],
  {
    cwd: packageRoot,
    env,
    inherit: true,
  },
)
const found = reportsNow()
for (const report of found) console.log(report)
if (!isInterrupted()) {
  const tests = exitCode === 0 ? '✓ the tests pass' : '✗ tests fail'
  console.log(`${tests}, ${String(found.length)} reports of the sanitizer`)
  process.exitCode = exitCode === 0 && found.length === 0 ? 0 : 1
}
