import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { run, step } from './step.mjs'

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))

const WORKSPACE_FOLDERS = ['packages', 'apps', 'tooling']
const INSTALL_STAMP = join(ROOT, 'node_modules', '.holt-install-stamp')
const NATIVE_BUILD = join('packages', 'uring-native', 'scripts', 'build-native.mjs')

/** The directories of all workspace packages, relative to the root. */
export function workspaceDirectories() {
  return WORKSPACE_FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && existsSync(join(ROOT, folder, entry.name, 'package.json')))
      .map((entry) => join(folder, entry.name)),
  ).sort()
}

/** @param {string} path relative to the root */
function readJson(path) {
  return JSON.parse(readFileSync(join(ROOT, path), 'utf8'))
}

/** What an installation depends on, as one hash. */
function installationHash() {
  const hash = createHash('sha256')
  hash.update(`${process.version} ${process.platform} ${process.arch}\n`)
  const files = ['pnpm-lock.yaml', 'pnpm-workspace.yaml', 'package.json']
  for (const directory of workspaceDirectories()) files.push(join(directory, 'package.json'))
  for (const file of files) hash.update(`${file}\0`).update(readFileSync(join(ROOT, file)))
  return hash.digest('hex')
}

/** @param {string} expected */
function isInstalled(expected) {
  if (!existsSync(INSTALL_STAMP) || readFileSync(INSTALL_STAMP, 'utf8').trim() !== expected) return false
  // Somebody may have removed a part by hand.
  return ['.', ...workspaceDirectories()].every((directory) => {
    const { dependencies = {}, devDependencies = {} } = readJson(join(directory, 'package.json'))
    return [...Object.keys(dependencies), ...Object.keys(devDependencies)].every((name) =>
      existsSync(join(ROOT, directory, 'node_modules', name)),
    )
  })
}

/** Installs the locked dependencies by the pinned pnpm, fetched through npx, unless that is done already. */
export function installDependencies() {
  return step('dependencies', async () => {
    const expected = installationHash()
    if (isInstalled(expected)) return { ok: true, note: 'up to date' }
    const { packageManager } = readJson('package.json')
    // A modules directory of another pnpm is replaced without a question that nobody would answer.
    const args = [
      '-y',
      packageManager,
      'install',
      '--frozen-lockfile',
      '--config.confirm-modules-purge=false',
    ]
    const { exitCode, output } = await run('npx', args, { cwd: ROOT })
    if (exitCode === 0) writeFileSync(INSTALL_STAMP, `${expected}\n`)
    return { ok: exitCode === 0, output }
  })
}

/** Builds the native addon. It has a stamp of its own, and without a compiler it says so and succeeds. */
export function buildNative() {
  return step('native addon', async () => {
    if (!existsSync(join(ROOT, NATIVE_BUILD))) return { ok: true, note: 'none yet; portable I/O is used' }
    const { exitCode, output } = await run(process.execPath, [NATIVE_BUILD], { cwd: ROOT })
    const lines = output.split('\n').filter((line) => line.trim() !== '')
    const said = lines[lines.length - 1]?.replace(/^native addon:? /, '')
    return { ok: exitCode === 0, note: exitCode === 0 ? said : undefined, output }
  })
}

/**
 * Runs tasks of turbo and shows of its output only what failed.
 * @param {string} name of the step
 * @param {readonly string[]} args
 */
export function turbo(name, args) {
  return step(name, async () => {
    const command = join(ROOT, 'node_modules', '.bin', process.platform === 'win32' ? 'turbo.cmd' : 'turbo')
    const { exitCode, output } = await run(command, ['run', ...args, '--output-logs=errors-only'], {
      cwd: ROOT,
    })
    const cached = /Cached:\s+(\d+) cached, (\d+) total/.exec(output)
    const note = cached === null ? undefined : `${cached[1]} of ${cached[2]} cached`
    return { ok: exitCode === 0, note, output }
  })
}

/**
 * Everything that has to be there before a program of the repository runs. Ends the process if a step fails.
 * @param {readonly string[]} buildFilters packages to build, with all they need; none means every package
 */
export async function setUp(buildFilters = []) {
  const filters = buildFilters.map((name) => `--filter=${name}`)
  const ready =
    (await installDependencies()) &&
    (await buildNative()) &&
    (await turbo('packages built', ['build', ...filters]))
  if (!ready) process.exit(1)
}
