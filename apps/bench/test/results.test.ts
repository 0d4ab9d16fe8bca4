import { describe, expect, test } from 'vitest'

import { baselineOf, compareWithBaseline } from '../src/results/baseline.js'
import { barsOf } from '../src/results/bars.js'
import { renderChart } from '../src/results/chart.js'
import { amount, figureOf, type Figure, type Finding, type Measure } from '../src/results/findings.js'
import { bestRival, medianFigure, ratioOf } from '../src/results/ratio.js'
import { type Report, renderReport } from '../src/results/table.js'
import { DEVICE } from '../src/run/device.js'
import { turnLengths } from '../src/run/stall.js'

const figures = (...values: readonly number[]): readonly Figure[] =>
  values.map((value) => ({ cpu: value, wall: 2 * value }))

function finding(
  name: string,
  byStore: Readonly<Record<string, readonly Figure[] | string>>,
  measure: Measure = 'cpu',
): Finding {
  return { name, title: name, unit: 'ns', measure, byStore: new Map(Object.entries(byStore)) }
}

const judged = (keyCount: number, ...findings: readonly Finding[]) => ({
  ...{ ours: 'holt', rivals: ['lmdb', 'sqlite', 'rocksdb'], keyCount, findings },
})

describe('figures', () => {
  test('are time per operation, in the unit of the row', () => {
    const timing = { operations: 1_000, wallMs: 3, cpuMicros: 2_000 }
    expect(figureOf(timing)).toEqual({ wall: 3_000, cpu: 2_000 })
    expect(figureOf(timing, 1_000)).toEqual({ wall: 3, cpu: 2 })
  })

  test('go by CPU time or by wall time, as the row says', () => {
    expect(medianFigure(figures(5, 1, 3), 'cpu')).toBe(3)
    expect(medianFigure(figures(5, 1, 3), 'wall')).toBe(6)
  })
})

describe('ratios', () => {
  test('compare the turns of one round, and take the median of that', () => {
    const { cpu, wall } = ratioOf(figures(1, 100, 2), figures(3, 300, 2), 'lmdb')
    expect([cpu, wall]).toEqual([3, 3])
  })

  test('of nothing against nothing are even', () => {
    expect(ratioOf([amount(0)], [amount(0)], 'lmdb').wall).toBe(1)
    expect(ratioOf([amount(0)], [amount(4)], 'lmdb').wall).toBe(Infinity)
  })

  test('are taken against the rival that takes least; one without figures is none', () => {
    const row = finding('get', {
      holt: figures(10),
      lmdb: figures(30),
      sqlite: figures(20),
      rocksdb: 'not installed',
    })
    expect(bestRival(row, 'holt', ['lmdb', 'sqlite', 'rocksdb'])).toEqual({
      store: 'sqlite',
      cpu: 2,
      wall: 2,
    })
    expect(bestRival(row, 'holt', ['rocksdb'])).toBeUndefined()
    expect(bestRival(row, 'rocksdb', ['lmdb'])).toBeUndefined()
  })
})

describe('the turns of an event loop', () => {
  test('of which one in a thousand is longer than p99.9', () => {
    const lengths = Array.from({ length: 2_000 }, (_, index) => index + 1)
    expect(turnLengths(lengths)).toEqual({ p999: 1_998, worst: 2_000, turns: 2_000 })
    expect(turnLengths([3])).toEqual({ p999: 3, worst: 3, turns: 1 })
  })
})

describe('bars', () => {
  test('are lower for many keys where that was decided', () => {
    const row = finding('get', { holt: figures(10), lmdb: figures(17) })
    expect(barsOf(row, judged(20_000, row)).map((bar) => bar.reached)).toEqual([false])
    expect(barsOf(row, judged(500_000, row)).map((bar) => bar.reached)).toEqual([true])
  })

  test('of the visitor go by what rivals take to list with values', () => {
    const visit = finding('visit', { holt: figures(10), lmdb: 'no such call' })
    const list = finding('list', { holt: figures(40), lmdb: figures(60) })
    expect(barsOf(visit, judged(20_000, visit, list))).toEqual([
      { what: '× lmdb', wanted: '≥ 5', value: 6, reached: true },
    ])
  })

  test('of a durable put go by the bare device', () => {
    const row = finding('durablePut', { holt: figures(12), [DEVICE]: figures(10), lmdb: figures(1) }, 'wall')
    expect(barsOf(row, judged(20_000, row))).toEqual([
      { what: '× device', wanted: '≤ 1.25', value: 1.2, reached: true },
    ])
  })

  test('of disk space go by the B-trees, and only for many keys', () => {
    const byStore = { holt: [amount(110)], lmdb: [amount(180)], sqlite: [amount(120)], rocksdb: [amount(70)] }
    const row = finding('diskBytes', byStore, 'amount')
    expect(barsOf(row, judged(20_000, row))).toEqual([])
    const [bar] = barsOf(row, judged(500_000, row))
    expect([bar.what, bar.reached]).toEqual(['× sqlite', true])
  })

  test('of memory go by what holt itself has on disk, and only for many keys', () => {
    const disk = finding('diskBytes', { holt: [amount(100)] }, 'amount')
    const row = finding('residentBytes', { holt: [amount(120)], lmdb: [amount(50)] }, 'amount')
    expect(barsOf(row, judged(20_000, row, disk))).toEqual([])
    expect(barsOf(row, judged(500_000, row, disk))).toEqual([
      { what: '× own bytes on disk', wanted: '≤ 1.3', value: 1.2, reached: true },
    ])
    expect(barsOf(row, judged(500_000, row))).toEqual([])
  })

  test('need figures', () => {
    const row = finding('get', { holt: figures(10), lmdb: 'not installed' })
    expect(barsOf(row, judged(20_000, row))).toEqual([])
  })
})

test('a remark stands below the table with its row and store', () => {
  const row = { ...finding('get', { holt: figures(1) }), remarks: new Map([['holt', 'was lucky']]) }
  expect(renderReport({ ...report, findings: [row] })).toContain(`\n- ${row.title}: was lucky (holt)\n`)
})

describe('the baseline', () => {
  const before = { get: { lmdb: 2, sqlite: 4 }, put: { lmdb: 3 } }

  test('holds what each rival takes against holt', () => {
    const rows = [
      finding('get', { holt: figures(10), lmdb: figures(25), sqlite: 'not installed' }),
      finding('visit', { holt: figures(5), lmdb: 'no such call' }),
      finding('list', { holt: figures(10), lmdb: figures(20) }),
    ]
    expect(baselineOf(rows, ['lmdb', 'sqlite'])).toEqual({
      get: { lmdb: 2.5 },
      visit: { lmdb: 4 },
      list: { lmdb: 2 },
    })
  })

  test('is missed by a ratio that fell by more than the tolerance, and by no other', () => {
    const now = { get: { lmdb: 1.5, sqlite: 2.9 }, put: { lmdb: 9 } }
    const worse = compareWithBaseline(before, now, 0.25).filter(({ isWorse }) => isWorse)
    expect(worse).toEqual([{ row: 'get', store: 'sqlite', before: 4, now: 2.9, isWorse: true }])
  })

  test('says nothing of what was not measured again', () => {
    expect(compareWithBaseline(before, { put: { lmdb: 3 } }, 0.25)).toHaveLength(1)
  })
})

const report: Report = {
  ...{ workload: 'objstore', keyCount: 20_000, command: 'npm run bench -- rivals', machine: 'A <machine>' },
  ...{ rounds: 1, turnMs: 60 },
  findings: [
    finding('get', {
      holt: figures(200),
      lmdb: figures(700),
      sqlite: 'not installed: no compiler',
      'JS Map': figures(50),
    }),
    finding('put', {
      holt: figures(1_000),
      lmdb: figures(2_000),
      sqlite: 'not installed: no compiler',
      'JS Map': figures(50),
    }),
  ],
}

test('the table marks bars, names command and machine, and says once who is missing and why', () => {
  expect(renderReport(report).split('\n')).toEqual([
    '### objstore, 20,000 keys, values of 60 B',
    '',
    '`npm run bench -- rivals`',
    '',
    'A <machine>',
    '',
    expect.stringContaining('Medians of 1 rounds in turns of 60 ms.'),
    '',
    '| | holt | lmdb | sqlite | JS Map | best rival | × CPU | × wall | bar |',
    '| :-- | --: | --: | --: | --: | :-- | --: | --: | :-- |',
    '| get, ns | 200 | 700 | – | 50.0 | lmdb | 3.50 | 3.50 | ✓ 3.50 × lmdb (≥ 2) |',
    '| put, ns | 1,000 | 2,000 | – | 50.0 | lmdb | 2.00 | 2.00 | ✗ 2.00 × lmdb (≥ 4) |',
    '',
    '- sqlite: not installed: no compiler',
    '',
    '1 bars reached, 1 missed',
    '',
  ])
})

test('those who lack something for the same reason stand together below the table', () => {
  const without = finding('mix', { holt: 'no directories', lmdb: 'no directories', sqlite: 'too slow' })
  const get = finding('get', { holt: figures(1), lmdb: figures(2), sqlite: figures(3) })
  const lines = renderReport({ ...report, findings: [get, without] }).split('\n')
  expect(lines).toContain('- mix: no directories (holt, lmdb)')
  expect(lines).toContain('- mix: too slow (sqlite)')
})

test('the chart names command and machine, and a bar is as long as its figure', () => {
  const chart = renderChart(report)
  expect(chart).toContain('npm run bench -- rivals')
  expect(chart).toContain('A &lt;machine&gt;')
  const widths = [...chart.matchAll(/<rect x="250"[^>]* width="([\d.]+)"/g)].map(([, width]) => Number(width))
  expect(widths).toHaveLength(6)
  expect(widths[1] / widths[0]).toBeCloseTo(700 / 200, 1)
  expect(widths[4] / widths[3]).toBeCloseTo(2, 1)
})
