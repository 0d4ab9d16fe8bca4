/** How holt stood against each rival when somebody last looked, so that falling behind is noticed. */
import { HOLT } from '../stores/catalog.js'
import { comparable } from './bars.js'
import type { Finding } from './findings.js'
import { figuresOf, ratioOf, ratioValue } from './ratio.js'

/** By row and rival: what the rival takes against holt. */
export type Baseline = Readonly<Partial<Record<string, Ratios>>>
type Ratios = Readonly<Partial<Record<string, number>>>

export interface Comparison {
  readonly row: string
  readonly store: string
  readonly before: number
  readonly now: number
  readonly isWorse: boolean
}

export function baselineOf(findings: readonly Finding[], rivals: readonly string[]): Baseline {
  return Object.fromEntries(
    findings.map((finding) => {
      const own = figuresOf(finding, HOLT)
      const row = comparable(finding, HOLT, findings)
      const ratios = rivals.flatMap((store) => {
        const theirs = figuresOf(row, store)
        if (own === undefined || theirs === undefined) return []
        return [[store, rounded(ratioValue(ratioOf(own, theirs, store), finding.measure))]]
      })
      return [finding.name, Object.fromEntries(ratios) as Ratios]
    }),
  )
}

/** Every ratio of the baseline that was found again. Worse is what fell by more than the tolerance, a share of 1. */
export function compareWithBaseline(
  baseline: Baseline,
  found: Baseline,
  tolerance: number,
): readonly Comparison[] {
  return Object.entries(baseline).flatMap(([row, ratios]) =>
    Object.entries(ratios ?? {}).flatMap(([store, before]) => {
      const now = found[row]?.[store]
      if (before === undefined || now === undefined) return []
      return [{ row, store, before, now, isWorse: now < before * (1 - tolerance) }]
    }),
  )
}

function rounded(value: number): number {
  return Number(value.toPrecision(3))
}
