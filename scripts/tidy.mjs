/** Style as a test, over the whole repository; part of `npm run lint`. See `tooling/tidy` for what it looks at. */
import './check-node.mjs'

import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

import { LAYERS, TOOLING, packageOf } from '../tooling/eslint/layers.mjs'
import { checkLines, checkNamedPaths, checkPackages, checkReachable } from '../tooling/tidy/index.mjs'
import { ROOT, workspaceDirectories } from './setup.mjs'

const SKIPPED = new Set(['node_modules', 'dist', 'build', 'coverage', '.turbo', '.git', '.readme-example'])
const READ = /\.(?:ts|mjs|js|json|md|yml|yaml|cc|h|gyp)$/

/**
 * @param {string} directory relative to the root
 * @returns {{ readonly path: string, readonly text: string }[]}
 */
function filesBelow(directory) {
  return readdirSync(join(ROOT, directory), { withFileTypes: true }).flatMap((entry) => {
    if (SKIPPED.has(entry.name)) return []
    const path = directory === '' ? entry.name : `${directory}/${entry.name}`
    if (entry.isDirectory()) return filesBelow(path)
    return entry.isFile() && READ.test(path) ? [{ path, text: readFileSync(join(ROOT, path), 'utf8') }] : []
  })
}

/**
 * A package may depend on another if it may import any entry of it.
 * @param {string} from
 * @param {string} name
 */
function mayDependOn(from, name) {
  return TOOLING.includes(name) || (LAYERS[from] ?? []).some((specifier) => packageOf(specifier) === name)
}

const files = filesBelow('')
const packages = workspaceDirectories().map((directory) => ({
  directory,
  manifest: JSON.parse(readFileSync(join(ROOT, directory, 'package.json'), 'utf8')),
}))
const complaints = [
  ...checkLines(files),
  ...checkReachable(files),
  ...checkNamedPaths(files, (path) => existsSync(join(ROOT, path))),
  ...checkPackages(packages, mayDependOn),
]
for (const complaint of complaints) process.stdout.write(`${complaint}\n`)
if (complaints.length > 0) {
  process.stdout.write(`tidy: ${String(complaints.length)} complaints\n`)
  process.exitCode = 1
}
