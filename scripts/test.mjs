/**
 * `npm test [-- vitest arguments]`: sets everything up, then lint, typecheck and every test. Ends with the line
 * `N passed, N failed`, in which the build, the lint, the typecheck and the coverage count as one each.
 */
import './check-node.mjs'

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { ROOT, buildNative, installDependencies, turbo } from './setup.mjs'
import { run, step } from './step.mjs'

/**
 * @typedef {{ readonly passed: number, readonly failed: number, readonly skipped: number }} Sum
 */

/**
 * Adds up vitest's JSON report. A file that could not even be loaded has no tests to count: it is one failure.
 * @param {string} reportPath
 * @param {number} exitCode of vitest
 * @returns {Sum}
 */
function sumOfReport(reportPath, exitCode) {
  let report
  try {
    report = JSON.parse(readFileSync(reportPath, 'utf8'))
  } catch {
    return { passed: 0, failed: 1, skipped: 0 }
  }
  const brokenFiles = report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  ).length
  const failed = report.numFailedTests + brokenFiles
  return {
    passed: report.numPassedTests,
    // An unhandled error outside of any test fails the run and no test.
    failed: failed === 0 && exitCode !== 0 ? 1 : failed,
    skipped: report.numPendingTests + report.numTodoTests,
  }
}

/** @returns {Promise<Sum>} */
async function runTests() {
  const directory = mkdtempSync(join(tmpdir(), 'holt-test-report-'))
  try {
    const reportPath = join(directory, 'report.json')
    const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs')
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportPath}`]
    const { exitCode } = await run(
      process.execPath,
      [vitest, 'run', ...reporters, ...process.argv.slice(2)],
      {
        cwd: ROOT,
        inherit: true,
      },
    )
    return sumOfReport(reportPath, exitCode)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Whether every branch of what decides after a crash is taken by a test; see vitest.coverage.config.mjs. */
function checkCoverage() {
  return step('branches covered', async () => {
    const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs')
    const args = [vitest, 'run', '--config', 'vitest.coverage.config.mjs']
    const { exitCode, output } = await run(process.execPath, args, { cwd: ROOT })
    return { ok: exitCode === 0, output }
  })
}

/** Without these nothing that follows means anything. */
function stop() {
  process.stdout.write('0 passed, 1 failed\n')
  process.exit(1)
}

if (!(await installDependencies())) stop()
if (!(await buildNative())) stop()
const checks = [
  await turbo('packages built', ['build']),
  await turbo('lint', ['//#lint']),
  await turbo('typecheck', ['typecheck', '--continue']),
]
const tests = await runTests()
// Who asks for some tests does not ask for all branches.
if (process.argv.length === 2) checks.push(await checkCoverage())

const passed = tests.passed + checks.filter(Boolean).length
const failed = tests.failed + checks.filter((ok) => !ok).length
if (tests.skipped > 0) process.stdout.write(`${String(tests.skipped)} skipped\n`)
process.stdout.write(`${String(passed)} passed, ${String(failed)} failed\n`)
if (failed > 0) process.exitCode = 1
