import { medianOf } from '../io/rounds.js'
import type { Figure, Finding, Measure } from './findings.js'

export interface Ratio {
  readonly store: string
  /** How many times as much the other takes: above 1 we are ahead. Medians of the ratios of the rounds. */
  readonly cpu: number
  readonly wall: number
}

export function figuresOf(finding: Finding, store: string): readonly Figure[] | undefined {
  const figures = finding.byStore.get(store)
  return figures === undefined || typeof figures === 'string' || figures.length === 0 ? undefined : figures
}

/** The median over the rounds, by what the row goes by. */
export function medianFigure(figures: readonly Figure[], measure: Measure): number {
  return medianOf(figures.map((figure) => valueOf(figure, measure)))
}

/** What `theirs` takes against `ours`: each round by itself, since what disturbs a round disturbs both. */
export function ratioOf(ours: readonly Figure[], theirs: readonly Figure[], store: string): Ratio {
  const rounds = Math.min(ours.length, theirs.length)
  const by = (value: (figure: Figure) => number): number =>
    medianOf(Array.from({ length: rounds }, (_, round) => quotient(value(theirs[round]), value(ours[round]))))
  return { store, cpu: by(({ cpu }) => cpu), wall: by(({ wall }) => wall) }
}

/** Nothing against nothing is even. */
function quotient(theirs: number, ours: number): number {
  return theirs === ours ? 1 : theirs / ours
}

/** The store among `candidates` that takes least, and how we stand against it. `undefined` if there is none. */
export function bestRival(finding: Finding, ours: string, candidates: readonly string[]): Ratio | undefined {
  const own = figuresOf(finding, ours)
  if (own === undefined) return undefined
  let best:
    { readonly store: string; readonly figures: readonly Figure[]; readonly median: number } | undefined
  for (const store of candidates) {
    const figures = figuresOf(finding, store)
    if (figures === undefined) continue
    const median = medianFigure(figures, finding.measure)
    if (best === undefined || median < best.median) best = { store, figures, median }
  }
  return best === undefined ? undefined : ratioOf(own, best.figures, best.store)
}

/** The ratio by what the row goes by. */
export function ratioValue({ cpu, wall }: Ratio, measure: Measure): number {
  return measure === 'cpu' ? cpu : wall
}

function valueOf({ cpu, wall }: Figure, measure: Measure): number {
  return measure === 'cpu' ? cpu : wall
}
