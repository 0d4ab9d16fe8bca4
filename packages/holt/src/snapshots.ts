import { type ArtIndex, type IndexView, type KeptFrame, UNKNOWN_BIRTH } from '@holt/art-index'
import { HoltError } from '@holt/errors'
import type { ReplayedRecord } from '@holt/journal'
import type { Version } from './entries.js'
import type { SnapshotNote } from './engine-note.js'
import { keyCodec } from './key-encoding.js'
import { LIMITS } from './limits.js'
import { decodeSnapshotChange, type SnapshotChange } from './snapshot-record.js'

/** A state of all trees that was given a name. */
export interface Snapshot {
  readonly name: string
  /** Of the commit that took it: it shows every write of a lower version, and none of a higher one. */
  readonly version: Version
  /** By the clock of the machine that took it. */
  readonly takenAt: Date
}

interface NamedView {
  readonly takenMs: number
  readonly view: IndexView
}

/**
 * The snapshots of a database, by their names. Each is a view of the index that stays open until the snapshot is dropped,
 * over closes and crashes too: the journal has a record of its taking, and from the next checkpoint on the engine's note
 * has its place, and with it what the tree has let go of since.
 *
 * So the index keeps its frames as it keeps those of any view, and whoever reads a snapshot gets another view at its place.
 */
export class Snapshots {
  readonly #index: ArtIndex
  /** In the order of taking. */
  readonly #byName = new Map<string, NamedView>()

  constructor(index: ArtIndex) {
    this.#index = index
  }

  /** For an index that was just attached: what its image's note kept. */
  restore(snapshots: readonly SnapshotNote[], unlinked: Iterable<KeptFrame>): void {
    const views = this.#index.restore(snapshots, unlinked)
    for (const [i, { name, takenMs }] of snapshots.entries())
      this.#byName.set(name, { takenMs, view: views[i] })
  }

  /** Does again what a record of the journal says. Throws `HOLT_CORRUPT` for one that cannot have been written here. */
  replay(record: ReplayedRecord): void {
    const change = decodeSnapshotChange(record)
    if (this.#byName.has(change.name) === (change.kind === 'take')) {
      throw new HoltError(
        'HOLT_CORRUPT',
        `journal record with seq ${String(record.seq)} at position ${String(record.position)}: it ${
          change.kind === 'take' ? 'takes a snapshot that there is' : 'drops a snapshot that there is not'
        }, '${change.name}'`,
      )
    }
    this.apply(change, record.seq)
  }

  /** Throws `HOLT_EXISTS` or `HOLT_NOT_FOUND` if it cannot be applied now. */
  check({ kind, name }: SnapshotChange): void {
    const there = this.#byName.has(name)
    if (kind === 'take' && there) throw new HoltError('HOLT_EXISTS', `there is a snapshot '${name}' already`)
    if (kind === 'drop' && !there) throw notFound(name)
  }

  /** @param seq - of the commit that does it */
  apply(change: SnapshotChange, seq: number): void {
    const { kind, name } = change
    if (kind === 'take') {
      this.#byName.set(name, { takenMs: change.takenMs, view: this.#index.view(seq) })
    } else {
      this.#byName.get(name)?.view.close()
      this.#byName.delete(name)
    }
  }

  get count(): number {
    return this.#byName.size
  }

  /** The view that keeps what it shows. Throws `HOLT_NOT_FOUND`. */
  viewOf(name: string): IndexView {
    const found = this.#byName.get(name)
    if (found === undefined) throw notFound(name)
    return found.view
  }

  list(): Snapshot[] {
    return [...this.#byName].map(([name, { takenMs, view }]) => ({
      name,
      version: view.seq as Version,
      takenAt: new Date(takenMs),
    }))
  }

  /** What is to be kept of them. */
  notes(): SnapshotNote[] {
    return [...this.#byName].map(([name, { takenMs, view }]) => ({ name, takenMs, ...view.place }))
  }

  /**
   * What an image must name beside the tree: frames that the tree has let go of, and those that bulk loads have built and
   * nobody has seen. Of births and deaths only what will count when the image is all that there is: from the oldest snapshot
   * that sees a frame to behind the newest. So there are few different ones.
   */
  framesToKeep(): KeptFrame[] {
    const index = this.#index
    const { epoch } = index
    const epochs = [...this.#byName.values()].map(({ view }) => view.place.epoch)
    const kept: KeptFrame[] = []
    for (const { id, isSingle, birth, death } of index.unlinked.list()) {
      const behind = firstFrom(epochs, death)
      const oldest = firstFrom(epochs, birth)
      if (oldest >= behind) kept.push({ id, isSingle, birth: epoch, death: epoch })
      else {
        const from = birth === UNKNOWN_BIRTH ? UNKNOWN_BIRTH : epochs[oldest]
        kept.push({ id, isSingle, birth: from, death: epochs[behind - 1] + 1 })
      }
    }
    for (const id of index.building) kept.push({ id, isSingle: false, birth: epoch, death: epoch })
    return kept
  }

  /** For who looks at their frames. */
  views(): ReadonlyMap<string, IndexView> {
    return new Map([...this.#byName].map(([name, { view }]) => [name, view]))
  }
}

/** Throws `HOLT_INVALID_ARGUMENT`, `HOLT_INVALID_KEY` for a string with half a surrogate pair. */
export function checkSnapshotName(name: unknown): asserts name is string {
  if (typeof name !== 'string')
    throw new HoltError('HOLT_INVALID_ARGUMENT', `a snapshot's name is ${typeof name}; a string is wanted`)
  if (name === '') throw new HoltError('HOLT_INVALID_ARGUMENT', "a snapshot's name is empty")
  const { length } = keyCodec('utf8').encode(name)
  if (length > LIMITS.maxSnapshotNameBytes) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `a snapshot's name has ${String(length)} bytes; at most ${String(LIMITS.maxSnapshotNameBytes)} are allowed`,
    )
  }
}

/** Of ascending epochs the first that is not below `epoch`; how many there are when there is none. */
function firstFrom(epochs: readonly number[], epoch: number): number {
  let low = 0
  let high = epochs.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (epochs[middle] < epoch) low = middle + 1
    else high = middle
  }
  return low
}

function notFound(name: string): HoltError {
  return new HoltError('HOLT_NOT_FOUND', `there is no snapshot '${name}'`)
}
