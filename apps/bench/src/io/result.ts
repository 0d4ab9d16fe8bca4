/** What a group of measurements has to say: a table, and which bars were reached. */

export interface Bar {
  readonly what: string
  readonly wanted: string
  readonly value: number
  readonly reached: boolean
}

export interface ResultRow {
  readonly name: string
  /** Medians, by the heads of the group. */
  readonly values: readonly (number | undefined)[]
  readonly bars: readonly Bar[]
}

export interface GroupResult {
  readonly group: string
  readonly title: string
  readonly heads: readonly string[]
  readonly rows: readonly ResultRow[]
  readonly notes: readonly string[]
}

export function atLeast(what: string, value: number, limit: number): Bar {
  return { what, wanted: `≥ ${String(limit)}`, value, reached: value >= limit }
}

export function atMost(what: string, value: number, limit: number): Bar {
  return { what, wanted: `≤ ${String(limit)}`, value, reached: value <= limit }
}

/** The group as a Markdown table; a row's bars stand in its last cell. */
export function renderGroup({ title, heads, rows, notes }: GroupResult): string {
  const lines = [
    `### ${title}`,
    '',
    `| | ${heads.join(' | ')} | bars |`,
    `| :-- |${heads.map(() => ' --: |').join('')} :-- |`,
    ...rows.map(
      ({ name, values, bars }) =>
        `| ${name} | ${values.map(formatNumber).join(' | ')} | ${renderBars(bars)} |`,
    ),
    ...notes.flatMap((note) => ['', note]),
    '',
  ]
  return lines.join('\n')
}

function renderBars(bars: readonly Bar[]): string {
  return bars
    .map(
      ({ what, wanted, value, reached }) =>
        `${reached ? '✓' : '✗'} ${what} ${formatNumber(value)} (${wanted})`,
    )
    .join(', ')
}

/** Three digits that mean something, or all before the point. */
export function formatNumber(value: number | undefined): string {
  if (value === undefined) return '–'
  if (value >= 100) return Math.round(value).toLocaleString('en-US')
  return value.toFixed(value >= 10 ? 1 : 2)
}
