import { formatNumber } from '../io/result.js'
import { HOLT } from '../stores/catalog.js'
import { medianFigure } from './ratio.js'
import { judgedRows, type Report } from './table.js'

const WIDTH = 900
const LABEL_WIDTH = 250
const VALUE_WIDTH = 150
const BAR_HEIGHT = 14
const GROUP_GAP = 14
const TOP = 96
const COLORS: Readonly<Record<string, string>> = {
  holt: '#c2410c',
  lmdb: '#1d4ed8',
  sqlite: '#0f766e',
  'classic-level': '#7e22ce',
  rocksdb: '#4d7c0f',
  'JS Map': '#94a3b8',
}

/**
 * The run as an SVG: a group of bars for each row, every bar as long as its store's figure against the longest of the
 * group that is shown; what is over eight times holt's is cut off and says so by its number.
 */
export function renderChart(report: Report): string {
  const { workload, keyCount, command, machine } = report
  const parts: string[] = []
  let top = TOP
  for (const { finding } of judgedRows(report)) {
    const bars = [...finding.byStore].flatMap(([store, figures]) =>
      typeof figures === 'string' || figures.length === 0 || !(store in COLORS)
        ? []
        : [{ store, value: medianFigure(figures, finding.measure) }],
    )
    const own = bars.find(({ store }) => store === HOLT)
    if (own === undefined) continue
    const longest = Math.min(Math.max(...bars.map(({ value }) => value)), 8 * Math.max(own.value, 1e-9))
    const title = `${finding.title}, ${finding.unit}`
    parts.push(text(LABEL_WIDTH - 8, top + BAR_HEIGHT - 3, title, 'end', 600))
    for (const { store, value } of bars) {
      const room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
      const width = Math.max(1, (Math.min(value, longest) / longest) * room)
      parts.push(
        `<rect x="${String(LABEL_WIDTH)}" y="${String(top)}" width="${width.toFixed(1)}" ` +
          `height="${String(BAR_HEIGHT - 3)}" fill="${COLORS[store]}"/>`,
        text(LABEL_WIDTH + width + 6, top + BAR_HEIGHT - 4, `${formatNumber(value)} ${store}`, 'start', 400),
      )
      top += BAR_HEIGHT
    }
    top += GROUP_GAP
  }
  const heading = `${workload}, ${keyCount.toLocaleString('en-US')} keys: shorter is better`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${String(WIDTH)}" height="${String(top)}" ` +
      `viewBox="0 0 ${String(WIDTH)} ${String(top)}" font-family="sans-serif" font-size="11">`,
    `<rect width="${String(WIDTH)}" height="${String(top)}" fill="white"/>`,
    `<text x="16" y="28" font-size="18" font-weight="600">${escaped(heading)}</text>`,
    ...[command, machine].map((line, index) => text(16, 50 + 16 * index, line, 'start', 400)),
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}

function text(x: number, y: number, content: string, anchor: 'start' | 'end', weight: number): string {
  return (
    `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" ` +
    `font-weight="${String(weight)}">${escaped(content)}</text>`
  )
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
