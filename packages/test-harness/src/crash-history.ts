import { createHash } from 'node:crypto'
import fc from 'fast-check'

/** A step of a life that is crashed at every call to the disk. Keys and directories are numbers, see {@link crashKey}. */
export type CrashStep =
  | { readonly do: 'put'; readonly key: number; readonly sizeBytes: number }
  | { readonly do: 'delete'; readonly key: number }
  /** All of it or nothing. */
  | { readonly do: 'batch'; readonly puts: readonly number[]; readonly deletes: readonly number[] }
  /** Puts of which none waits for another. */
  | { readonly do: 'together'; readonly keys: readonly number[]; readonly sizeBytes: number }
  | { readonly do: 'deletePrefix'; readonly directory: number }
  | { readonly do: 'renamePrefix'; readonly from: number; readonly to: number }
  | { readonly do: 'checkpoint' }
  | { readonly do: 'sync' }
  /** Moves frames, cuts files off, and writes the manifest anew. */
  | { readonly do: 'vacuum' }
  | { readonly do: 'reopen' }
  /** A view, in the place of the one before, which has to show what it showed when it was taken. */
  | { readonly do: 'view' | 'closeView' }
  /** Takes one of some snapshots, in the place of the one that had its name, which was read before; or drops it. */
  | { readonly do: 'snapshot' | 'dropSnapshot'; readonly number: number }
  /** Nothing is asked for some seconds: what goes by timers has its turn. */
  | { readonly do: 'rest' }

export interface CrashHistory {
  readonly durability: 'os' | 'disk'
  /** False: the journal is written, not mapped, in an `'os'` database too. */
  readonly mappings: boolean
  /** Calls to the disk that are outstanding at the same time are carried out in random order. */
  readonly reorder: boolean
  readonly steps: readonly CrashStep[]
}

const DIRECTORIES = 4
const KEYS = 48
const SNAPSHOTS = 3

export function crashKey(key: number): string {
  return `${crashDirectory(key % DIRECTORIES)}file-${String(Math.floor(key / DIRECTORIES))}`
}

export function crashDirectory(directory: number): string {
  return `dir-${String(directory)}/`
}

export function crashSnapshot(number: number): string {
  return `snapshot ${String(number)}`
}

/** The value that a step writes: no other step writes the same. */
export function crashValue(step: number, sizeBytes: number): string {
  return `${String(step)} `.padEnd(sizeBytes, '.')
}

export const BATCH_VALUE_BYTES = 40

/** Histories with small and large values, batches, deletes, moves, checkpoints, several journal segments, new openings. */
export const crashHistories: fc.Arbitrary<CrashHistory> = fc.record({
  durability: fc.constantFrom('os', 'disk'),
  mappings: fc.boolean(),
  reorder: fc.boolean(),
  steps: fc.array(crashStep(), { minLength: 8, maxLength: 60, size: 'max' }),
})

function crashStep(): fc.Arbitrary<CrashStep> {
  const key = fc.integer({ min: 0, max: KEYS - 1 })
  const directory = fc.integer({ min: 0, max: DIRECTORIES - 1 })
  const snapshot = fc.integer({ min: 0, max: SNAPSHOTS - 1 })
  // Some so long that they lie in frames of their own.
  const sizeBytes = fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 8, max: 900 }) },
    { weight: 2, arbitrary: fc.integer({ min: 2_000, max: 9_000 }) },
  )
  const keys = fc.uniqueArray(key, { minLength: 2, maxLength: 8 })
  const as = <D extends string>(name: D): fc.Arbitrary<D> => fc.constant(name)
  return fc.oneof(
    { weight: 12, arbitrary: fc.record({ do: as('put'), key, sizeBytes }) },
    { weight: 3, arbitrary: fc.record({ do: as('delete'), key }) },
    {
      weight: 4,
      arbitrary: fc.record({ do: as('batch'), puts: keys, deletes: fc.uniqueArray(key, { maxLength: 4 }) }),
    },
    { weight: 3, arbitrary: fc.record({ do: as('together'), keys, sizeBytes }) },
    { weight: 1, arbitrary: fc.record({ do: as('deletePrefix'), directory }) },
    { weight: 1, arbitrary: fc.record({ do: as('renamePrefix'), from: directory, to: directory }) },
    { weight: 3, arbitrary: fc.record({ do: as('checkpoint') }) },
    { weight: 1, arbitrary: fc.record({ do: as('sync') }) },
    { weight: 1, arbitrary: fc.record({ do: as('vacuum') }) },
    { weight: 1, arbitrary: fc.record({ do: as('reopen') }) },
    { weight: 2, arbitrary: fc.record({ do: as('rest') }) },
    { weight: 2, arbitrary: fc.record({ do: as('view') }) },
    { weight: 1, arbitrary: fc.record({ do: as('closeView') }) },
    { weight: 3, arbitrary: fc.record({ do: as('snapshot'), number: snapshot }) },
    { weight: 1, arbitrary: fc.record({ do: as('dropSnapshot'), number: snapshot }) },
  )
}

/** What the shortest histories are made of. */
const MUTATIONS: readonly CrashStep[] = [
  { do: 'put', key: 0, sizeBytes: 20 },
  { do: 'put', key: 5, sizeBytes: 9_000 },
  { do: 'delete', key: 0 },
  { do: 'batch', puts: [0, 4, 1], deletes: [8] },
  { do: 'deletePrefix', directory: 0 },
  { do: 'renamePrefix', from: 0, to: 2 },
  { do: 'view' },
  { do: 'snapshot', number: 0 },
  { do: 'dropSnapshot', number: 0 },
  { do: 'checkpoint' },
  { do: 'reopen' },
]

/** Every history of one to `most` mutations over a little that was there before, in both durabilities. */
export function* shortHistories(most: number): Generator<CrashHistory> {
  const before: readonly CrashStep[] = [
    { do: 'together', keys: [0, 4, 8, 1], sizeBytes: 30 },
    { do: 'checkpoint' },
  ]
  for (let length = 1; length <= most; length++) {
    for (let number = 0; number < MUTATIONS.length ** length; number++) {
      const steps: CrashStep[] = [...before]
      for (let i = 0, rest = number; i < length; i++, rest = Math.floor(rest / MUTATIONS.length))
        steps.push(MUTATIONS[rest % MUTATIONS.length])
      for (const durability of ['os', 'disk'] as const)
        yield { durability, mappings: true, reorder: false, steps }
    }
  }
}

/**
 * What a database must show after each write of a history, in the order of the calls. What a process leaves that dies is
 * one of these states, from the one that was acknowledged last to the one that was asked for last.
 */
export class CrashStates {
  readonly #content = new Map<string, string>()
  readonly #digests: string[] = [digestOf([])]
  /** By name what each snapshot shows, and of each state which there are. */
  readonly #snapshots = new Map<string, string>()
  readonly #snapshotDigests: string[] = [digestOf([])]

  /** The newest state. */
  get newest(): number {
    return this.#digests.length - 1
  }

  /** Goes on to the next state: puts, and deletes by `undefined`. Returns its number. */
  write(changes: Iterable<readonly [key: string, value: string | undefined]>): number {
    for (const [key, value] of changes) {
      if (value === undefined) this.#content.delete(key)
      else this.#content.set(key, value)
    }
    return this.#push(digestOf(this.#content))
  }

  /** Goes on to the next state: what there is gets a name, or nothing has it any more. Returns its number. */
  snapshot(name: string, isTaken: boolean): number {
    if (isTaken) this.#snapshots.set(name, this.#digests[this.newest])
    else this.#snapshots.delete(name)
    return this.#push(this.#digests[this.newest])
  }

  #push(digest: string): number {
    this.#digests.push(digest)
    this.#snapshotDigests.push(digestOf(this.#snapshots))
    return this.newest
  }

  hasSnapshot(name: string): boolean {
    return this.#snapshots.has(name)
  }

  /** Whether that is what the snapshot of that name shows now. */
  isSnapshot(name: string, content: Iterable<readonly [string, string]>): boolean {
    return this.#snapshots.get(name) === digestOf(content)
  }

  /** The keys that begin with `prefix`, with their values. */
  below(prefix: string): [string, string][] {
    return [...this.#content].filter(([key]) => key.startsWith(prefix))
  }

  /** The states from `first` to `last` that show this content and, where they are told, these snapshots and no others. */
  matching(
    content: Iterable<readonly [string, string]>,
    first: number,
    last: number,
    snapshots?: Iterable<readonly [name: string, content: Iterable<readonly [string, string]>]>,
  ): number[] {
    const digest = digestOf(content)
    const named =
      snapshots && digestOf([...snapshots].map(([name, shown]) => [name, digestOf(shown)] as const))
    const found: number[] = []
    for (let state = first; state <= last; state++)
      if (this.#digests[state] === digest && (named === undefined || this.#snapshotDigests[state] === named))
        found.push(state)
    return found
  }
}

function digestOf(content: Iterable<readonly [string, string]>): string {
  const hash = createHash('sha1')
  for (const [key, value] of [...content].sort(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(`${key}=${value}\n`)
  return hash.digest('base64')
}
