/**
 * Does a test notice when a step is taken out? Applies each of the listed faults (tooling/mutants/faults) by itself, in
 * a copy of the workspace, and runs the test that must notice. Nothing is proven by a test that fails anyway, so all of
 * them are run unbroken first.
 *
 *   npm run mutants                          all of them
 *   npm run mutants -- --only journal-spare  those whose id begins so; can be given several times
 *   npm run mutants -- --list                says which there are
 *   npm run mutants -- --write-docs          writes their tables into docs/TESTING.md
 *
 * Ends with 1 if a fault survives, with 2 if the list does not fit the code, or if the tests fail unbroken.
 */
import './check-node.mjs'

import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import prettier from 'prettier'

import {
  FAULTS,
  FAULT_GROUPS,
  applyFault,
  asPattern,
  judge,
  missedTitles,
  withTables,
} from '../tooling/mutants/index.mjs'
import { ROOT, setUp } from './setup.mjs'
import { isInterrupted, run, step } from './step.mjs'
import { VITEST, copyWorkspace } from './workspace-copy.mjs'

/** @typedef {import('../tooling/mutants/index.mjs').Fault} Fault */

/** What takes so much longer than unbroken is taken for an endless loop. Generous: machines may be busy. */
const PATIENCE_MS = 60_000
const PATIENCE_FACTOR = 5
const TSUP = join(ROOT, 'node_modules', 'tsup', 'dist', 'cli-default.js')

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    list: { type: 'boolean', default: false },
    'write-docs': { type: 'boolean', default: false },
  },
})
const chosen = FAULTS.filter(({ id }) => values.only?.some((start) => id.startsWith(start)) ?? true)

/** @param {string} path from the root */
function directoryOfPackage(path) {
  return path.split('/').slice(0, 2).join('/')
}

/**
 * Runs tests of one file in the copy.
 * @param {string} copy
 * @param {string} file path from the root
 * @param {readonly (string | undefined)[]} titles undefined: all tests
 * @param {number | undefined} timeLimitMs
 */
async function runTests(copy, file, titles, timeLimitMs) {
  const reportPath = join(copy, 'report.json')
  rmSync(reportPath, { force: true })
  const directory = directoryOfPackage(file)
  const args = [VITEST, 'run', file.slice(directory.length + 1), '--bail=1', '--reporter=json']
  args.push(`--outputFile.json=${reportPath}`)
  const wanted = titles.filter((title) => title !== undefined)
  if (wanted.length === titles.length) args.push('-t', wanted.map(asPattern).join('|'))
  const result = await run(process.execPath, args, { cwd: join(copy, directory), timeLimitMs })
  const files = existsSync(reportPath) ? JSON.parse(readFileSync(reportPath, 'utf8')).testResults : undefined
  return { ...result, files }
}

/**
 * The tests that the faults name, as they are. How long each file took, in milliseconds, by its path.
 * @param {string} copy
 */
async function runUnbroken(copy) {
  /** @type {Map<string, number>} */
  const tookMs = new Map()
  for (const file of new Set(chosen.map(({ test }) => test))) {
    const titles = [...new Set(chosen.filter(({ test }) => test === file).map(({ title }) => title))]
    const ok = await step(`unbroken: ${file}`, async () => {
      const startedMs = performance.now()
      const { exitCode, output, files } = await runTests(copy, file, titles, undefined)
      tookMs.set(file, performance.now() - startedMs)
      const missed = missedTitles(files ?? [], titles)
      if (exitCode === 0 && missed.length === 0) return { ok: true }
      return { ok: false, output: [...missed, exitCode === 0 ? '' : output].join('\n') }
    })
    if (!ok) process.exit(2)
  }
  return tookMs
}

/**
 * @param {string} copy
 * @param {Fault} fault
 * @param {number} unbrokenMs
 */
async function tryFault(copy, fault, unbrokenMs) {
  const path = join(copy, fault.file)
  const sound = readFileSync(path, 'utf8')
  const packagePath = join(copy, directoryOfPackage(fault.file))
  const dist = join(packagePath, 'dist')
  const soundDist = join(copy, 'sound-dist')
  writeFileSync(path, applyFault(sound, fault))
  try {
    if (fault.built === true) {
      cpSync(dist, soundDist, { recursive: true, preserveTimestamps: true })
      const built = await run(process.execPath, [TSUP, '--no-dts'], { cwd: packagePath })
      if (built.exitCode !== 0) return { kind: 'unfit', by: built.output }
    }
    const timeLimitMs = PATIENCE_MS + PATIENCE_FACTOR * unbrokenMs
    const { files, ...result } = await runTests(copy, fault.test, [fault.title], timeLimitMs)
    return judge(result, files)
  } finally {
    writeFileSync(path, sound)
    if (existsSync(soundDist)) {
      rmSync(dist, { recursive: true })
      cpSync(soundDist, dist, { recursive: true, preserveTimestamps: true })
      rmSync(soundDist, { recursive: true })
    }
  }
}

if (chosen.length === 0) {
  process.stderr.write('no fault is called so; --list shows them\n')
  process.exit(2)
}
if (values.list) {
  for (const { id, fault } of chosen) process.stdout.write(`${id}: ${fault}\n`)
  process.exit()
}
if (values['write-docs']) {
  const path = join(ROOT, 'docs', 'TESTING.md')
  const options = await prettier.resolveConfig(path)
  const page = withTables(readFileSync(path, 'utf8'), FAULT_GROUPS)
  writeFileSync(path, await prettier.format(page, { ...options, filepath: path }))
  process.exit()
}

// Before minutes are spent.
for (const fault of chosen) {
  try {
    applyFault(readFileSync(join(ROOT, fault.file), 'utf8'), fault)
  } catch (error) {
    process.stderr.write(`the fault does not fit the code any more: ${error.message}\n`)
    process.exit(2)
  }
}
await setUp()
const copy = copyWorkspace()
process.on('exit', () => rmSync(copy, { recursive: true, force: true }))
const tookMs = await runUnbroken(copy)
const count = { noticed: 0, survived: 0, unfit: 0 }
for (const [index, fault] of chosen.entries()) {
  await step(`${String(index + 1)}/${String(chosen.length)} ${fault.id}: ${fault.fault}`, async () => {
    const { kind, by } = await tryFault(copy, fault, tookMs.get(fault.test) ?? 0)
    count[kind]++
    return { ok: kind === 'noticed', note: by }
  })
}
process.stdout.write(
  `${String(chosen.length)} faults: ${String(count.noticed)} noticed, ${String(count.survived)} survived, ` +
    `${String(count.unfit)} unfit\n`,
)
if (!isInterrupted()) process.exitCode = count.survived > 0 ? 1 : count.unfit > 0 ? 2 : 0
