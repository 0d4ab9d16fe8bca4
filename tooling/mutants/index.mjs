/**
 * Faults made on purpose: each is one line (or a few) of a source, changed so that it is wrong, and the test that must
 * notice. `npm run mutants` applies them, one at a time, in a copy. They are chosen by hand, and each stands for a step
 * that somebody may take for needless: a generic mutation tester (Stryker) makes tens of thousands of changes, and with
 * suites that crash a database at each of its calls it would run for days.
 *
 * @typedef {{
 *   readonly id: string
 *   readonly fault: string what is wrong then
 *   readonly file: string path from the root
 *   readonly find: string the text that is replaced; it occurs exactly once
 *   readonly replace: string
 *   readonly test: string path from the root of the test file that must notice
 *   readonly title?: string a part of the full title of the test; any test of the file if it is left out
 *   readonly built?: boolean the test starts threads or processes, which run the built package
 * }} Fault
 * @typedef {{ readonly about: string, readonly faults: readonly Fault[] }} FaultGroup
 * @typedef {{
 *   readonly status: string
 *   readonly message?: string
 *   readonly assertionResults: readonly {
 *     readonly status: string
 *     readonly fullName: string
 *     readonly failureMessages?: readonly string[]
 *   }[]
 * }} ReportedFile of vitest's JSON report
 * @typedef {{ readonly kind: 'noticed' | 'survived' | 'unfit', readonly by: string }} Verdict
 */
import { diskFaults } from './faults/disk.mjs'
import { engineFaults } from './faults/engine.mjs'
import { journalFaults } from './faults/journal.mjs'
import { ringFaults } from './faults/ring.mjs'
import { snapshotFaults } from './faults/snapshots.mjs'
import { storeFaults } from './faults/stores.mjs'
import { walkerFaults } from './faults/walker.mjs'

/** @type {readonly FaultGroup[]} */
export const FAULT_GROUPS = [
  { about: 'The index', faults: walkerFaults },
  { about: 'The journal', faults: journalFaults },
  { about: 'The flush-buffer ring', faults: ringFaults },
  { about: 'Stores and their manifest', faults: storeFaults },
  { about: 'Checkpoints and the engine', faults: engineFaults },
  { about: 'Snapshots', faults: snapshotFaults },
  { about: 'The way to the disk, shared memory, and the simulated disk', faults: diskFaults },
]

/** @type {readonly Fault[]} */
export const FAULTS = FAULT_GROUPS.flatMap(({ faults }) => faults)

/**
 * The text of a source with a fault in it.
 * @param {string} text
 * @param {Fault} fault
 */
export function applyFault(text, { id, file, find, replace }) {
  const count = text.split(find).length - 1
  if (count !== 1)
    throw new Error(`${id}: its text occurs ${String(count)} times in ${file}, expected once:\n${find}`)
  return text.replace(find, () => replace)
}

/** @param {string} text */
export function asPattern(text) {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')
}

/**
 * What a run of tests says of the fault it was made with.
 * @param {{ readonly exitCode: number, readonly timedOut: boolean }} run
 * @param {readonly ReportedFile[] | undefined} files undefined without a report
 * @returns {Verdict}
 */
export function judge({ exitCode, timedOut }, files) {
  if (timedOut) return { kind: 'noticed', by: 'a test that does not end any more' }
  if (files === undefined) return { kind: 'unfit', by: 'vitest made no report' }
  for (const { status, message, assertionResults } of files) {
    const failed = assertionResults.find((test) => test.status === 'failed')
    if (failed !== undefined) {
      const why = failed.failureMessages?.[0]?.split('\n')[0] ?? ''
      // A change that is no program proves nothing of the step it was to take out.
      if (/^(?:ReferenceError|SyntaxError)/.test(why)) return { kind: 'unfit', by: why }
      return { kind: 'noticed', by: failed.fullName.trim() }
    }
    if (status === 'failed') return { kind: 'unfit', by: `the tests cannot be loaded: ${message ?? ''}` }
  }
  if (exitCode !== 0) return { kind: 'noticed', by: 'an error outside of all tests' }
  return { kind: 'survived', by: 'SURVIVED: no test noticed' }
}

/**
 * Which of the titles no passed test has. Tests that did not pass are in the answer too, by their names.
 * @param {readonly ReportedFile[]} files
 * @param {readonly (string | undefined)[]} titles undefined: any test
 */
export function missedTitles(files, titles) {
  const tests = files.flatMap((file) => file.assertionResults)
  const passed = tests.filter((test) => test.status === 'passed').map((test) => test.fullName)
  const failed = tests.filter((test) => test.status === 'failed').map((test) => `${test.fullName} fails`)
  const missed = titles.filter((title) => !passed.some((name) => title === undefined || name.includes(title)))
  return [...failed, ...missed.map((title) => `no test passes that is called '${title ?? 'anything'}'`)]
}

const BEGIN = '<!-- begin: npm run mutants -- --write-docs -->'
const END = '<!-- end -->'

/** @param {string} text as it is to be seen in a cell of a table of Markdown */
function cell(text) {
  return text.replace(/[|*_<\\`]/g, '\\$&')
}

/**
 * A page with the tables of the faults between its marks, not yet laid out.
 * @param {string} page
 * @param {readonly FaultGroup[]} groups
 */
export function withTables(page, groups) {
  const from = page.indexOf(BEGIN)
  const to = page.indexOf(END, from)
  if (from < 0 || to < 0) throw new Error(`the page has no place for the tables: ${BEGIN} … ${END}`)
  const tables = groups.map(({ about, faults }) => {
    const rows = faults.map(({ id, fault, test, title }) => {
      const file = test.slice(test.lastIndexOf('/') + 1)
      return `| ${id} | ${cell(fault)} | ${file}${title === undefined ? '' : `: _${cell(title)}_`} |`
    })
    return `**${about}**\n\n| id | fault | noticed by |\n| --- | --- | --- |\n${rows.join('\n')}\n`
  })
  return `${page.slice(0, from + BEGIN.length)}\n\n${tables.join('\n')}\n${page.slice(to)}`
}
