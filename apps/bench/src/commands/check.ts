import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

import { formatNumber } from '../io/result.js'
import { type Baseline, baselineOf, compareWithBaseline } from '../results/baseline.js'
import { measurePlan } from '../run/measure-plan.js'
import { cacheBytesFor } from '../run/plan.js'
import { Workplace } from '../run/workplace.js'
import { OPERATIONS } from '../operations/catalog.js'
import { FLOOR, STORE_KINDS } from '../stores/catalog.js'
import { RIVALS_DIRECTORY } from '../stores/rival-module.js'
import { installRivals, isInstalled } from './install.js'
import { progressOnStderr, QUICK_PACE } from './rivals.js'

export interface CheckOptions {
  readonly tolerance: number
  readonly update?: boolean
  readonly directory?: string
}

const BASELINE_FILE = join(dirname(RIVALS_DIRECTORY), 'baseline.json')
const KEY_COUNT = 20_000

/**
 * Measures the quick table of 20 000 keys and compares how holt stands against each rival with the baseline. Exit code 1
 * if a ratio fell by more than the tolerance, or if there is nothing to compare.
 */
export async function checkAgainstBaseline(options: CheckOptions): Promise<void> {
  if (!isInstalled()) await installRivals()
  const stores = STORE_KINDS.map(({ name }) => name).filter((name) => name !== FLOOR)
  const rivals = STORE_KINDS.filter(({ rivalPackage }) => rivalPackage !== undefined).map(({ name }) => name)
  const place = new Workplace(options.directory)
  let found: Baseline
  try {
    const plan = {
      workload: 'objstore' as const,
      root: '',
      keyCount: KEY_COUNT,
      ...QUICK_PACE,
      stores,
      // Operations only: the device and the opening of files say more of the machine than of us.
      only: OPERATIONS.map(({ name }) => name),
      cacheBytes: cacheBytesFor(KEY_COUNT),
    }
    const { findings } = await measurePlan(plan, place, progressOnStderr('check'))
    found = baselineOf(findings, rivals)
  } finally {
    await place.close()
  }

  if (options.update === true) {
    writeFileSync(BASELINE_FILE, `${JSON.stringify(found, undefined, 2)}\n`)
    process.stdout.write(`the baseline was written anew: ${BASELINE_FILE}\n`)
    return
  }
  if (!existsSync(BASELINE_FILE)) throw new Error('there is no baseline; write one with --update')
  const baseline = JSON.parse(readFileSync(BASELINE_FILE, 'utf8')) as Baseline
  const comparisons = compareWithBaseline(baseline, found, options.tolerance)
  const worse = comparisons.filter(({ isWorse }) => isWorse)
  for (const { row, store, before, now } of worse)
    process.stdout.write(
      `✗ ${row} against ${store}: × ${formatNumber(before)} became × ${formatNumber(now)}\n`,
    )
  const percent = `${String(Math.round(options.tolerance * 100))} %`
  process.stdout.write(
    `${String(comparisons.length)} ratios compared, ${String(worse.length)} worse by more than ${percent}\n`,
  )
  if (worse.length > 0 || comparisons.length === 0) process.exitCode = 1
}
