/**
 * Style as a test: what eslint and prettier do not look at. Every check takes texts and gives back complaints, so that it can be
 * tested without a repository.
 *
 * @typedef {{ readonly path: string, readonly text: string }} SourceFile path relative to the root, by `/`
 * @typedef {{ readonly directory: string, readonly manifest: PackageManifest }} WorkspacePackage
 * @typedef {{
 *   readonly name: string
 *   readonly private?: boolean
 *   readonly license?: string
 *   readonly dependencies?: Readonly<Record<string, string>>
 *   readonly devDependencies?: Readonly<Record<string, string>>
 * }} PackageManifest
 */
import { posix } from 'node:path'

export const MAX_LINE_LENGTH = 140

/** A message that stands alone on its line: breaking it would hide it from whoever searches for its words. */
const ONE_LITERAL = /^\s*(?:return )?(['"`]).*\1[,)]*$/

const CODE = /\.(?:ts|mjs|js)$/
/** Directories that are somebody's machine and nobody else's. */
const MACHINE_PATH = new RegExp(`(?<![\\w.$}/-])/(?:${['work', 'root', 'Users'].join('|')})/\\w`)

/** @param {readonly SourceFile[]} files */
export function checkLines(files) {
  const complaints = []
  for (const { path, text } of files) {
    for (const [index, line] of text.split('\n').entries()) {
      const place = `${path}:${String(index + 1)}`
      if (CODE.test(path) && line.length > MAX_LINE_LENGTH && !ONE_LITERAL.test(line)) {
        complaints.push(`${place}: ${String(line.length)} characters, at most ${String(MAX_LINE_LENGTH)}`)
      }
      if (CODE.test(path) && /\b(?:test|it|describe|suite|bench)(?:\.\w+)*\.only\b/.test(line)) {
        complaints.push(`${place}: one test is singled out, the others never run`)
      }
      if (MACHINE_PATH.test(line)) complaints.push(`${place}: names a path of one machine`)
    }
  }
  return complaints
}

/**
 * The files another file names: by import, export, `new URL`, or as any string that ends like a source file (worker entries,
 * programs that a test starts).
 * @param {SourceFile} file
 * @param {ReadonlyMap<string, SourceFile>} byPath
 */
function namedFiles(file, byPath) {
  const found = []
  const ownPackage = packageDirectory(file.path)
  for (const [, specifier = ''] of file.text.matchAll(/['"`]([^'"`\n]*\.(?:ts|mjs|js))['"`]/g)) {
    if (specifier.startsWith('.')) {
      const path = posix.join(posix.dirname(file.path), specifier)
      found.push(path, path.replace(/\.js$/, '.ts'), posix.join(ownPackage, specifier))
    } else {
      // The rest of a path that is put together elsewhere.
      const ending = `/${specifier}`
      for (const path of byPath.keys())
        if (path.startsWith(`${ownPackage}/`) && path.endsWith(ending)) found.push(path)
    }
  }
  return found.filter((path) => byPath.has(path))
}

/** @param {string} path of a file in a workspace package */
function packageDirectory(path) {
  return path.split('/').slice(0, 2).join('/')
}

/**
 * Files of a package's `src` that no entry reaches, and files beside its tests that no test reaches. Entries are what
 * package.json and tsup.config.ts name; a source that only a test needs is dead too.
 * @param {readonly SourceFile[]} files of the whole repository
 */
export function checkReachable(files) {
  const byPath = new Map(files.map((file) => [file.path, file]))
  const isIn = (path, folder) => path.startsWith(`${packageDirectory(path)}/${folder}/`)
  const inPackages = files.filter(({ path }) => /^(?:packages|apps)\/[^/]+\//.test(path) && CODE.test(path))

  const entries = files.filter(({ path }) =>
    /^(?:packages|apps)\/[^/]+\/(?:package\.json|tsup\.config\.ts)$/.test(path),
  )
  const live = reach(
    entries.flatMap((file) => namedFiles(file, byPath)).filter((path) => isIn(path, 'src')),
    byPath,
  )
  const programs = inPackages.filter(
    ({ path }) => /\.test\.ts$|\.config\.ts$/.test(path) || isIn(path, 'bin') || isIn(path, 'bench'),
  )
  const used = reach([...live, ...programs.map((file) => file.path)], byPath)
  for (const { path } of entries.filter((file) => file.path.endsWith('package.json'))) {
    for (const script of inPackages.filter((file) =>
      file.path.startsWith(`${packageDirectory(path)}/scripts/`),
    )) {
      used.add(script.path)
    }
  }

  return inPackages
    .map((file) => file.path)
    .filter((path) => (isIn(path, 'src') ? !live.has(path) : !used.has(path)))
    .map((path) => `${path}: no entry of its package reaches it`)
}

/**
 * @param {readonly string[]} start
 * @param {ReadonlyMap<string, SourceFile>} byPath
 */
function reach(start, byPath) {
  const reached = new Set()
  const waiting = [...start]
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const file = byPath.get(path)
    if (file === undefined || reached.has(path)) continue
    reached.add(path)
    waiting.push(...namedFiles(file, byPath))
  }
  return reached
}

/**
 * What package.json files say of each other: only packages beneath, development included, and no cycle.
 * @param {readonly WorkspacePackage[]} packages
 * @param {(fromPackage: string, name: string) => boolean} isAllowed
 */
export function checkPackages(packages, isAllowed) {
  const names = new Set(packages.map(({ manifest }) => manifest.name))
  /** @type {Map<string, readonly string[]>} */
  const edges = new Map()
  const complaints = []
  for (const { directory, manifest } of packages) {
    const all = { ...manifest.dependencies, ...manifest.devDependencies }
    const ours = Object.keys(all).filter((name) => names.has(name))
    edges.set(manifest.name, ours)
    for (const name of ours) {
      if (all[name] !== 'workspace:*') complaints.push(`${directory}: ${name} is not 'workspace:*'`)
      if (!isAllowed(manifest.name, name)) complaints.push(`${directory}: ${name} does not lie beneath it`)
    }
    for (const [name, range] of Object.entries(all)) {
      if (!names.has(name) && !/^\d/.test(range))
        complaints.push(`${directory}: ${name} is not pinned (${range})`)
    }
    if (manifest.license !== 'MIT') complaints.push(`${directory}: its licence is not MIT`)
  }
  const cycle = findCycle(edges)
  if (cycle !== undefined) complaints.push(`the packages form a cycle: ${cycle.join(' → ')}`)
  return complaints
}

/**
 * @param {ReadonlyMap<string, readonly string[]>} edges
 * @returns {readonly string[] | undefined}
 */
function findCycle(edges) {
  const done = new Set()
  /**
   * @param {string} name
   * @param {readonly string[]} path
   * @returns {readonly string[] | undefined}
   */
  function visit(name, path) {
    if (path.includes(name)) return [...path.slice(path.indexOf(name)), name]
    if (done.has(name)) return undefined
    done.add(name)
    for (const next of edges.get(name) ?? []) {
      const cycle = visit(next, [...path, name])
      if (cycle !== undefined) return cycle
    }
    return undefined
  }
  for (const name of edges.keys()) {
    const cycle = visit(name, [])
    if (cycle !== undefined) return cycle
  }
  return undefined
}

/**
 * Files that a Markdown page names and that are not there: links within the repository, and paths written as code.
 * @param {readonly SourceFile[]} files
 * @param {(path: string) => boolean} exists
 */
export function checkNamedPaths(files, exists) {
  const complaints = []
  for (const { path, text } of files.filter((file) => file.path.endsWith('.md'))) {
    const links = [...text.matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)].map(([, target = '']) =>
      posix.join(posix.dirname(path), target),
    )
    const code = [...text.matchAll(/`((?:packages|apps|scripts|tooling|docs)\/[\w./-]+)`/g)].map(
      ([, target = '']) => target,
    )
    for (const target of [...links, ...code]) {
      if (!exists(target)) complaints.push(`${path}: names ${target}, which is not there`)
    }
  }
  return complaints
}
