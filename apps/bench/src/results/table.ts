import { type Bar, formatNumber } from '../io/result.js'
import { HOLT, STORE_KINDS } from '../stores/catalog.js'
import { DEVICE } from '../run/device.js'
import { NO_SUCH_CALL } from '../operations/operation.js'
import { barsOf, comparable } from './bars.js'
import type { Figure, Finding } from './findings.js'
import { bestRival, medianFigure, type Ratio } from './ratio.js'

/** A run as it is shown. */
export interface Report {
  readonly workload: string
  readonly keyCount: number
  /** What was typed. */
  readonly command: string
  readonly machine: string
  readonly rounds: number
  readonly turnMs: number
  readonly findings: readonly Finding[]
}

export interface ReportRow {
  readonly finding: Finding
  readonly best: Ratio | undefined
  readonly bars: readonly Bar[]
}

const RIVALS = STORE_KINDS.filter(({ rivalPackage }) => rivalPackage !== undefined).map(({ name }) => name)

export function judgedRows({ findings, keyCount }: Report): readonly ReportRow[] {
  const judged = { ours: HOLT, rivals: RIVALS, keyCount, findings }
  return findings.map((finding) => ({
    finding,
    best: bestRival(comparable(finding, HOLT, findings), HOLT, RIVALS),
    bars: barsOf(finding, judged),
  }))
}

/** The run as a Markdown table, with what is missing and why below it. */
export function renderReport(report: Report): string {
  const { workload, keyCount, command, machine, rounds, turnMs, findings } = report
  const stores = STORE_KINDS.map(({ name }) => name).filter((name) =>
    findings.some(({ byStore }) => byStore.has(name)),
  )
  const rows = judgedRows(report)
  const bars = rows.flatMap((row) => row.bars)
  const reached = bars.filter((bar) => bar.reached).length
  return [
    `### ${workload}, ${keyCount.toLocaleString('en-US')} keys, values of 60 B`,
    '',
    `\`${command}\``,
    '',
    machine,
    '',
    `Medians of ${String(rounds)} rounds in turns of ${String(turnMs)} ms. Times are CPU time of the whole process an operation; ` +
      'rows in µs or ms are wall time. × is what the best rival takes against holt, by CPU and by wall time.',
    '',
    `| | ${stores.join(' | ')} | best rival | × CPU | × wall | bar |`,
    `| :-- |${stores.map(() => ' --: |').join('')} :-- | --: | --: | :-- |`,
    ...rows.map((row) => renderRow(row, stores)),
    '',
    ...notesOf(findings),
    `${String(reached)} bars reached, ${String(bars.length - reached)} missed`,
    '',
  ].join('\n')
}

function renderRow({ finding, best, bars }: ReportRow, stores: readonly string[]): string {
  const { title, unit, measure, byStore } = finding
  const cell = (figures: readonly Figure[] | string | undefined): string =>
    figures === undefined || typeof figures === 'string' || figures.length === 0
      ? '–'
      : formatNumber(medianFigure(figures, measure))
  const hasWall = measure !== 'amount'
  const cells = [
    `${title}, ${unit}`,
    ...stores.map((store) => cell(byStore.get(store))),
    best?.store ?? '–',
    measure === 'cpu' ? formatNumber(best?.cpu) : '',
    hasWall || best !== undefined ? formatNumber(best?.wall) : '',
    bars.map(({ wanted, value, what, reached }) => {
      return `${reached ? '✓' : '✗'} ${formatNumber(value)} ${what} (${wanted})`
    }).join(', '), // prettier-ignore
  ]
  return `| ${cells.join(' | ')} |`
}

/** Why stores are missing: once for a store that is missing in all rows, else row by row, with those who say the same together. */
function notesOf(findings: readonly Finding[]): readonly string[] {
  const notes = new Set<string>()
  for (const { title, byStore, remarks = [] } of findings) {
    const storesByReason = new Map<string, string[]>()
    for (const [store, reason] of byStore) {
      // What most engines lack needs no words.
      if (typeof reason !== 'string' || reason === NO_SUCH_CALL) continue
      if (findings.every((other) => other.byStore.get(store) === reason)) notes.add(`- ${store}: ${reason}`)
      else storesByReason.set(reason, [...(storesByReason.get(reason) ?? []), store])
    }
    for (const [reason, stores] of storesByReason) notes.add(`- ${title}: ${reason} (${stores.join(', ')})`)
    for (const [store, remark] of remarks) notes.add(`- ${title}: ${remark} (${store})`)
    const device = byStore.get(DEVICE)
    if (device !== undefined && typeof device !== 'string')
      notes.add(
        `- ${title}: the ${DEVICE} takes ${formatNumber(medianFigure(device, 'wall'))} µs a write of 4 KiB.`,
      )
  }
  return notes.size === 0 ? [] : [...notes, '']
}
