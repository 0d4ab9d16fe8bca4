/**
 * What holt promises of its speed, row by row. The bars are set for keys like an object store's; of a bar with two values the
 * first is for about 20 000 keys, the second from 500 000 on.
 */
import { type Bar, atLeast, atMost } from '../io/result.js'
import { DEVICE } from '../run/device.js'
import type { Finding } from './findings.js'
import { bestRival, figuresOf, medianFigure, ratioOf, ratioValue } from './ratio.js'

const MANY_KEYS = 500_000
const FEW_KEYS = 100_000
/** Engines that keep a B-tree in place, whose files do not shrink by themselves. */
const B_TREES = ['lmdb', 'sqlite']

/** Against the best rival: times as fast, for few keys and for many. */
const TIMES: Readonly<Record<string, readonly [few: number, many: number]>> = {
  get: [2, 1.5],
  // A batch is all or nothing with every engine; puts that are only awaited together have no bar.
  putBatch: [1.5, 2],
  put: [4, 4],
  load: [1.3, 1.3],
  list: [2, 1.3],
  listKeys: [1.5, 1.2],
  visit: [5, 4],
  listDirectory: [4, 4],
  createDelete: [3, 3],
  rename: [3, 2],
  mix: [3, 2.5],
  durablePutTogether: [1.5, 1.5],
}

/** Rivals have no visitor without copies: it stands against their listing with values. */
export const COMPARED_WITH: Readonly<Record<string, string>> = { visit: 'list' }

export interface Judged {
  readonly ours: string
  readonly rivals: readonly string[]
  readonly keyCount: number
  /** All rows of the run. */
  readonly findings: readonly Finding[]
}

/** The bars of a row; none where the figures for them are missing. */
export function barsOf(finding: Finding, { ours, rivals, keyCount, findings }: Judged): readonly Bar[] {
  const { name } = finding
  const own = figuresOf(finding, ours)
  if (own === undefined) return []
  const value = medianFigure(own, finding.measure)
  const against = (stores: readonly string[], least: number): readonly Bar[] => {
    const ratio = bestRival(comparable(finding, ours, findings), ours, stores)
    return ratio === undefined ? [] : [atLeast(`× ${ratio.store}`, ratioValue(ratio, finding.measure), least)]
  }
  if (name in TIMES) {
    const [few, many] = TIMES[name]
    return against(rivals, keyCount > FEW_KEYS ? many : few)
  }
  if (name === 'durablePut') {
    const device = figuresOf(finding, DEVICE)
    return device === undefined ? [] : [atMost('× device', 1 / ratioOf(own, device, DEVICE).wall, 1.25)]
  }
  if (name === 'stallP999') return [atMost('ms', value, 5)]
  if (name === 'stallWorst') return [atMost('ms', value, 20)]
  if (keyCount < MANY_KEYS) return []
  if (name === 'diskBytes') return against(B_TREES, 1)
  if (name === 'openWarm') return [atMost('ms', value, 2), ...against(['sqlite'], 1)]
  if (name === 'openEvicted') return against(['lmdb'], 1)
  if (name === 'residentBytes') {
    const files = findings.find((other) => other.name === 'diskBytes')
    const disk = files === undefined ? undefined : figuresOf(files, ours)
    return disk === undefined
      ? []
      : [atMost('× own bytes on disk', value / medianFigure(disk, 'amount'), 1.3)]
  }
  return []
}

/** A row in which our own figures stand beside those of the rivals' row that they are compared with. */
export function comparable(finding: Finding, ours: string, findings: readonly Finding[]): Finding {
  const other = findings.find(({ name }) => name === COMPARED_WITH[finding.name])
  const own = finding.byStore.get(ours)
  if (other === undefined || own === undefined) return finding
  return { ...finding, byStore: new Map([...other.byStore, [ours, own]]) }
}
