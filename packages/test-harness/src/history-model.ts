import { showKey } from './history.js'
import type { TreeNumber, TreeWrite } from './history.js'
import { OrderedMapOracle } from './ordered-map-oracle.js'

/** What was found in one tree: every record, in key order. */
export interface FoundRecord {
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly version: number
}
export type FoundTrees = readonly [readonly FoundRecord[], readonly FoundRecord[]]

/** What writes come to. */
export type Applied =
  | { readonly kind: 'changed'; readonly state: number }
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'failed'; readonly index: number; readonly reason: 'exists' | 'not-found' }

type Trees = readonly [OrderedMapOracle, OrderedMapOracle]

/**
 * All states that a history has gone through, and which of them a crash may show.
 *
 * ```
 * state   0 … stable … acknowledged … applied
 *                                     every write that was issued; what a read shows
 *                      a killed process shows this one or a later one
 *             a power loss shows this one or a later one
 * ```
 */
export class HistoryModel {
  /** States that a crash may still show, from `#first` on. */
  #states: Trees[] = [[new OrderedMapOracle(), new OrderedMapOracle()]]
  #first = 0
  #stable = 0
  #acknowledged = 0
  #versions = new VersionOrder()
  #nextVersion = 1

  /** Number of the state that reads show. */
  get applied(): number {
    return this.#first + this.#states.length - 1
  }
  get stable(): number {
    return this.#stable
  }
  get acknowledged(): number {
    return this.#acknowledged
  }

  tree(tree: TreeNumber): OrderedMapOracle {
    return this.#present[tree]
  }

  get #present(): Trees {
    const present = this.#states.at(-1)
    if (present === undefined) throw new Error('a history has no state')
    return present
  }

  /** Applies writes as one: there is a new state only if they change something. */
  apply(writes: readonly TreeWrite[]): Applied {
    const version = this.#nextVersion++
    const next: Trees = [this.#present[0].clone(), this.#present[1].clone()]
    let changed = false
    for (const [index, { tree, operation }] of writes.entries()) {
      const outcome = next[tree].apply(operation, version)
      if (outcome === 'exists' || outcome === 'not-found') return { kind: 'failed', index, reason: outcome }
      changed ||= outcome === 'changed'
    }
    if (!changed) return { kind: 'unchanged' }
    this.#states.push(next)
    return { kind: 'changed', state: this.applied }
  }

  /** Everything up to that state was acknowledged. */
  acknowledge(state: number): void {
    this.#acknowledged = Math.max(this.#acknowledged, state)
  }

  /** Everything up to that state survives a power loss. */
  stabilise(state: number): void {
    this.acknowledge(state)
    this.#stable = Math.max(this.#stable, state)
    // Earlier states can never be seen again.
    const gone = this.#stable - this.#first
    if (gone > 0) {
      this.#states.splice(0, gone)
      this.#first = this.#stable
    }
  }

  /**
   * Takes what a reopened database shows for the present state. Returns what is wrong with it: undefined when it is one
   * of the states that the crash may leave.
   */
  recover(found: FoundTrees, crash: 'kill' | 'power-loss' | 'close'): string | undefined {
    const least = crash === 'kill' ? this.#acknowledged : crash === 'close' ? this.applied : this.#stable
    let versionProblem: string | undefined
    for (let state = this.applied; state >= least; state--) {
      const trees = this.#states.at(state - this.#first)
      if (trees === undefined || differenceOf(trees, found) !== undefined) continue
      // States of equal content differ by their versions.
      const versions = this.#versions.clone()
      const problem = versionProblemOf(trees, found, versions)
      versionProblem ??= problem
      if (problem !== undefined) continue
      this.#states.length = state - this.#first + 1
      if (crash === 'kill') this.#acknowledged = state
      else this.stabilise(state)
      this.#acknowledged = Math.min(this.#acknowledged, state)
      this.#versions = versions
      return undefined
    }
    if (versionProblem !== undefined) return versionProblem
    const latest = differenceOf(this.#present, found) ?? 'nothing'
    const oldest = this.#states.at(least - this.#first)
    const lower = (oldest && differenceOf(oldest, found)) ?? 'nothing'
    let elsewhere = ''
    for (let state = this.#first; state < least; state++) {
      const trees = this.#states.at(state - this.#first)
      if (trees && differenceOf(trees, found) === undefined)
        elsewhere = `; it is the earlier state ${String(state)}`
    }
    return (
      `after a ${crash} the database shows none of the states ${String(least)} … ${String(this.applied)}${elsewhere}; ` +
      `from the latest it differs by: ${latest}; from the earliest by: ${lower}`
    )
  }

  /** What is wrong with the records that are there now; undefined for nothing. */
  compare(found: FoundTrees): string | undefined {
    return differenceOf(this.#present, found) ?? this.checkVersions(found)
  }

  /** Versions must be in the order of the writes, one a write, and never be used again. */
  checkVersions(found: FoundTrees): string | undefined {
    return versionProblemOf(this.#present, found, this.#versions)
  }
}

/** Has `versions` learn those that were found. */
function versionProblemOf(trees: Trees, found: FoundTrees, versions: VersionOrder): string | undefined {
  for (const tree of [0, 1] as const) {
    for (const { key, version } of found[tree]) {
      const written = trees[tree].get(key)?.version
      if (written === undefined) continue
      const problem = versions.learn(written, version)
      if (problem !== undefined) return `version of ${showKey(key)}: ${problem}`
    }
  }
  return undefined
}

function differenceOf(trees: Trees, found: FoundTrees): string | undefined {
  for (const tree of [0, 1] as const) {
    const records = found[tree]
    if (trees[tree].size !== records.length || !records.every((record) => matches(trees[tree], record))) {
      return describeDifference(trees[tree], records, tree)
    }
  }
  return undefined
}

function matches(tree: OrderedMapOracle, { key, value }: FoundRecord): boolean {
  const expected = tree.get(key)
  return expected !== undefined && Buffer.compare(expected.value, value) === 0
}

function describeDifference(
  tree: OrderedMapOracle,
  records: readonly FoundRecord[],
  number: TreeNumber,
): string {
  const surplus = records.filter(({ key }) => tree.get(key) === undefined)
  const other = records.filter((record) => tree.get(record.key) !== undefined && !matches(tree, record))
  const there = new Set(records.map(({ key }) => showKey(key)))
  const missing = tree
    .scan()
    .flatMap((entry) => (entry.kind === 'key' && !there.has(showKey(entry.key)) ? [entry] : []))
  const sample = surplus.at(0) ?? other.at(0) ?? missing.at(0)
  return (
    `tree ${String(number)}: ${String(records.length)} keys instead of ${String(tree.size)}, ` +
    `${String(missing.length)} missing, ${String(surplus.length)} too many, ${String(other.length)} with another value` +
    (sample ? `, such as ${showKey(sample.key)}` : '')
  )
}

/** Learns which version each write was given, and watches that later writes get larger ones. */
class VersionOrder {
  readonly #known: { readonly written: number; readonly version: number }[] = []

  clone(): VersionOrder {
    const copy = new VersionOrder()
    copy.#known.push(...this.#known)
    return copy
  }

  learn(written: number, version: number): string | undefined {
    let low = 0
    let high = this.#known.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#known[middle]?.written ?? Infinity) < written) low = middle + 1
      else high = middle
    }
    const same = this.#known.at(low)
    if (same?.written === written) {
      return same.version === version
        ? undefined
        : `${String(version)}, but it was ${String(same.version)} before`
    }
    const before = low > 0 ? this.#known[low - 1] : undefined
    if (before && before.version >= version) {
      return `${String(version)}, though an earlier write had ${String(before.version)} already`
    }
    if (same && same.version <= version) {
      return `${String(version)}, though a later write had ${String(same.version)}`
    }
    this.#known.splice(low, 0, { written, version })
    return undefined
  }
}
