import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

import { describeMachine, renderMachine } from '../io/machine.js'
import { renderChart } from '../results/chart.js'
import { type Report, renderReport } from '../results/table.js'
import { measurePlan } from '../run/measure-plan.js'
import { cacheBytesFor, type Plan } from '../run/plan.js'
import { Workplace } from '../run/workplace.js'
import { RIVALS_DIRECTORY } from '../stores/rival-module.js'
import { STORE_KINDS } from '../stores/catalog.js'
import type { WorkloadName } from '../workloads/workload.js'
import { installRivals, isInstalled } from './install.js'

export interface RivalsOptions {
  readonly keys: readonly number[]
  readonly workload: readonly WorkloadName[]
  readonly quick?: boolean
  readonly rounds?: number
  readonly turnMs?: number
  readonly only?: readonly string[]
  readonly engines?: readonly string[]
  readonly root: string
  readonly directory?: string
  readonly out?: string
  readonly json?: boolean
  readonly cpuProf?: string
  readonly install: boolean
}

/** Where charts go unless another place is named; git does not look there. */
export const RESULTS_DIRECTORY = join(dirname(RIVALS_DIRECTORY), 'results')

interface Pace {
  readonly rounds: number
  readonly turnMs: number
  readonly stallMs: number
}
export const QUICK_PACE: Pace = { rounds: 5, turnMs: 60, stallMs: 2_000 }
const FULL_PACE: Pace = { rounds: 11, turnMs: 250, stallMs: 20_000 }

export function progressOnStderr(prefix: string): (text: string) => void {
  return (text) => process.stderr.write(`${prefix}: ${text}\n`)
}

/** Measures holt and its rivals; tables go to stdout, a chart of each into a file. */
export async function benchRivals(options: RivalsOptions, command: string): Promise<void> {
  if (options.install && !isInstalled()) await installRivals()
  const stores = options.engines ?? STORE_KINDS.map(({ name }) => name)
  const pace = options.quick === true ? QUICK_PACE : FULL_PACE
  const place = new Workplace(options.directory, cpuProfileArguments(options.cpuProf))
  const machine = renderMachine(describeMachine(place.root))
  try {
    for (const workload of options.workload) {
      for (const keyCount of options.keys) {
        const plan: Plan = {
          workload,
          root: options.root,
          keyCount,
          rounds: options.rounds ?? pace.rounds,
          turnMs: options.turnMs ?? pace.turnMs,
          stallMs: pace.stallMs,
          stores,
          cacheBytes: cacheBytesFor(keyCount),
          ...(options.only === undefined ? {} : { only: options.only }),
        }
        const measured = await measurePlan(plan, place, progressOnStderr(`${workload} ${String(keyCount)}`))
        const { rounds, turnMs } = plan
        show({ workload, command, machine, rounds, turnMs, ...measured }, options)
      }
    }
  } finally {
    await place.close()
  }
}

function show(report: Report, { out = RESULTS_DIRECTORY, json }: RivalsOptions): void {
  if (json === true) {
    const findings = report.findings.map((finding) => ({
      ...finding,
      byStore: Object.fromEntries(finding.byStore),
    }))
    process.stdout.write(`${JSON.stringify({ ...report, findings }, undefined, 2)}\n`)
  } else process.stdout.write(`${renderReport(report)}\n`)
  mkdirSync(out, { recursive: true })
  const chart = join(out, `${report.workload}-${String(report.keyCount)}.svg`)
  writeFileSync(chart, renderChart(report))
  process.stderr.write(`chart: ${chart}\n`)
}

function cpuProfileArguments(directory: string | undefined): readonly string[] {
  return directory === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', directory]
}
