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

/** What was found in each snapshot, by its name. */
export type FoundSnapshots = ReadonlyMap<string, FoundTrees>

/** What writes come to. */
export type Applied =
  | { readonly kind: 'changed'; readonly state: number }
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'failed'; readonly index: number; readonly reason: 'exists' | 'not-found' }

type Trees = readonly [OrderedMapOracle, OrderedMapOracle]

interface State {
  readonly trees: Trees
  readonly snapshots: ReadonlyMap<string, Trees>
}

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
  #states: State[] = [{ trees: [new OrderedMapOracle(), new OrderedMapOracle()], snapshots: new Map() }]
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
    return this.#present.trees[tree]
  }

  /** Names of the snapshots that there are. */
  get snapshots(): string[] {
    return [...this.#present.snapshots.keys()]
  }

  /** What a snapshot has to show; undefined if there is none of that name. */
  snapshot(name: string): Trees | undefined {
    return this.#present.snapshots.get(name)
  }

  get #present(): State {
    const present = this.#states.at(-1)
    if (present === undefined) throw new Error('a history has no state')
    return present
  }

  /** Applies writes as one: there is a new state only if they change something. */
  apply(writes: readonly TreeWrite[]): Applied {
    const version = this.#nextVersion++
    const { trees, snapshots } = this.#present
    const next: Trees = [trees[0].clone(), trees[1].clone()]
    let changed = false
    for (const [index, { tree, operation }] of writes.entries()) {
      const outcome = next[tree].apply(operation, version)
      if (outcome === 'exists' || outcome === 'not-found') return { kind: 'failed', index, reason: outcome }
      changed ||= outcome === 'changed'
    }
    if (!changed) return { kind: 'unchanged' }
    this.#states.push({ trees: next, snapshots })
    return { kind: 'changed', state: this.applied }
  }

  takeSnapshot(name: string): Applied {
    const { trees, snapshots } = this.#present
    if (snapshots.has(name)) return { kind: 'failed', index: 0, reason: 'exists' }
    // States are never changed.
    this.#states.push({ trees, snapshots: new Map([...snapshots, [name, trees]]) })
    return { kind: 'changed', state: this.applied }
  }

  dropSnapshot(name: string): Applied {
    const { trees, snapshots } = this.#present
    if (!snapshots.has(name)) return { kind: 'failed', index: 0, reason: 'not-found' }
    this.#states.push({ trees, snapshots: new Map([...snapshots].filter(([other]) => other !== name)) })
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
  recover(
    found: FoundTrees,
    crash: 'kill' | 'power-loss' | 'close',
    foundSnapshots: FoundSnapshots = new Map(),
  ): string | undefined {
    const differs = (state: State): string | undefined =>
      differenceOf(state.trees, found) ?? snapshotsDifference(state.snapshots, foundSnapshots)
    const least = crash === 'kill' ? this.#acknowledged : crash === 'close' ? this.applied : this.#stable
    let versionProblem: string | undefined
    for (let state = this.applied; state >= least; state--) {
      const candidate = this.#states.at(state - this.#first)
      if (candidate === undefined || differs(candidate) !== undefined) continue
      // States of equal content differ by their versions.
      const versions = this.#versions.clone()
      const problem = versionProblemOf(candidate.trees, found, versions)
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
    const latest = differs(this.#present) ?? 'nothing'
    const oldest = this.#states.at(least - this.#first)
    const lower = (oldest && differs(oldest)) ?? 'nothing'
    let elsewhere = ''
    for (let state = this.#first; state < least; state++) {
      const earlier = this.#states.at(state - this.#first)
      if (earlier && differs(earlier) === undefined) elsewhere = `; it is the earlier state ${String(state)}`
    }
    return (
      `after a ${crash} the database shows none of the states ${String(least)} … ${String(this.applied)}${elsewhere}; ` +
      `from the latest it differs by: ${latest}; from the earliest by: ${lower}`
    )
  }

  /** What is wrong with the records that are there now; undefined for nothing. */
  compare(found: FoundTrees): string | undefined {
    return differenceOf(this.#present.trees, found) ?? this.checkVersions(found)
  }

  /** Versions must be in the order of the writes, one a write, and never be used again. */
  checkVersions(found: FoundTrees): string | undefined {
    return versionProblemOf(this.#present.trees, found, this.#versions)
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

function snapshotsDifference(
  snapshots: ReadonlyMap<string, Trees>,
  found: FoundSnapshots,
): string | undefined {
  const names = [...snapshots.keys()].join(', ')
  const foundNames = [...found.keys()].join(', ')
  if (names !== foundNames) return `snapshots ${foundNames || 'none'} instead of ${names || 'none'}`
  for (const [name, trees] of found) {
    const expected = snapshots.get(name)
    const difference = expected && differenceOf(expected, trees)
    if (difference !== undefined) return `snapshot ${name}, ${difference}`
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
