/**
 * `node scripts/check-binary.mjs [addon]`: does the built addon load on the systems it is meant for? It may ask for
 * nothing newer than what stands in CEILINGS and for no library beyond LIBRARIES; what is above is named, symbol by
 * symbol. Ends with 1 if anything is, with 2 if there is nothing to judge or no objdump to judge it by.
 */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const packageRoot = dirname(dirname(fileURLToPath(import.meta.url)))

/**
 * The newest version of each kind that may be asked for: RHEL 8 and Debian 10 have glibc 2.28, and GCC 8, which came
 * with them, has these of libstdc++. Node 20 itself needs no less.
 * @type {Readonly<Record<string, readonly number[]>>}
 */
const CEILINGS = { GLIBC: [2, 28], GLIBCXX: [3, 4, 25], CXXABI: [1, 3, 11], GCC: [8, 0, 0] }

/** What every system has that Node runs on. */
const LIBRARIES =
  /^(?:libc\.so\.6|libm\.so\.6|libpthread\.so\.0|libstdc\+\+\.so\.6|libgcc_s\.so\.1|ld-linux[\w-]*\.so\.\d)$/

/** @param {readonly number[]} left @param {readonly number[]} right */
function isAbove(left, right) {
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference !== 0) return difference > 0
  }
  return false
}

/**
 * The versioned symbols of `objdump -T`, of lines such as
 * `0000000000000000      DF *UND*  0000000000000000 (GLIBC_2.28) fcntl64`.
 * @param {string} dump
 */
function versionedSymbols(dump) {
  return [...dump.matchAll(/\*UND\*\s+[0-9a-f]+\s+\(?([A-Z]+)_([0-9.]+)\)?\s+(\S+)/g)].map(
    ([, kind = '', version = '', symbol = '']) => ({
      kind,
      version,
      symbol,
      numbers: version.split('.').map(Number),
    }),
  )
}

/** @param {number} exitCode @param {string} message @returns {never} */
function stop(exitCode, message) {
  console.error(message)
  process.exit(exitCode)
}

/** @param {string} option @param {string} path */
function objdump(option, path) {
  try {
    return execFileSync('objdump', [option, path], { encoding: 'utf8', maxBuffer: 64 * 2 ** 20 })
  } catch (error) {
    return stop(2, `objdump ${option} '${path}' does not run: ${error instanceof Error ? error.message : ''}`)
  }
}

const path = process.argv[2] ?? join(packageRoot, 'build', 'holt_native.node')
if (!existsSync(path)) stop(2, `there is no addon at '${path}': build it first (npm run native)`)

const symbols = versionedSymbols(objdump('-T', path))
if (symbols.length === 0)
  stop(2, `objdump finds no versioned symbol in '${path}': it is not what this check judges`)

const newest = Object.entries(CEILINGS).map(([kind, ceiling]) => {
  const ofKind = symbols.filter((symbol) => symbol.kind === kind)
  const top = ofKind.reduce((best, { numbers }) => (isAbove(numbers, best) ? numbers : best), [0])
  return { kind, ceiling: ceiling.join('.'), found: ofKind.length === 0 ? 'none' : top.join('.') }
})
for (const { kind, ceiling, found } of newest) console.log(`${kind}: ${found}, at most ${ceiling}`)

const complaints = [
  ...symbols
    .filter(({ kind, numbers }) => kind in CEILINGS && isAbove(numbers, CEILINGS[kind] ?? []))
    .map(({ kind, version, symbol }) => `✗ ${symbol} needs ${kind}_${version}`),
  ...symbols
    .filter(({ kind }) => !(kind in CEILINGS))
    .map(
      ({ kind, version, symbol }) => `✗ ${symbol} needs ${kind}_${version}, of which nothing is known here`,
    ),
  ...[...objdump('-p', path).matchAll(/^\s*NEEDED\s+(\S+)/gm)]
    .map(([, library = '']) => library)
    .filter((library) => !LIBRARIES.test(library))
    .map((library) => `✗ the library ${library} is not on every system`),
]
for (const complaint of complaints) console.log(complaint)
console.log(complaints.length === 0 ? '✓ loads where it should' : `${String(complaints.length)} complaints`)
if (complaints.length > 0) process.exitCode = 1
