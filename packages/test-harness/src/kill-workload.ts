import { SeededRandom } from './seeded-random.js'

/** The trees that the child writes to. */
export const KILL_TREES = ['objects', 'log'] as const

export type KillWrite =
  | { readonly kind: 'put'; readonly tree: 0 | 1; readonly key: string; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly tree: 0 | 1; readonly key: string }
  | { readonly kind: 'deletePrefix'; readonly tree: 0 | 1; readonly prefix: string }
  /** In place of what is below `to`; nothing if there is nothing below `from`. */
  | { readonly kind: 'renamePrefix'; readonly tree: 0 | 1; readonly from: string; readonly to: string }

const KEYS = 1_500
const DIRECTORIES = 37

function directoryName(number: number): string {
  return `dir-${String(number)}/`
}

/**
 * Operation number `n` of a workload: the same in child and parent. More than one write is a batch, of puts and deletes.
 * Every value that is put begins with `n`, see {@link writtenBy}.
 */
export function killOperation(seed: number, n: number): readonly KillWrite[] {
  const random = new SeededRandom(Math.imul(seed, 0x9e37_79b1) ^ n)
  if (random.chance(0.01)) {
    const tree = random.pick([0, 1] as const)
    const from = random.below(DIRECTORIES)
    const prefix = directoryName(from)
    if (random.chance(0.4)) return [{ kind: 'deletePrefix', tree, prefix }]
    const to = directoryName((from + 1 + random.below(DIRECTORIES - 1)) % DIRECTORIES)
    return [{ kind: 'renamePrefix', tree, from: prefix, to }]
  }
  const writes = random.chance(0.8) ? 1 : random.between(2, 8)
  return Array.from({ length: writes }, (_, index): KillWrite => {
    const tree = random.chance(0.7) ? 0 : 1
    const number = random.below(KEYS)
    const key = `${directoryName(number % DIRECTORIES)}${String(number)}`
    // A batch changes something always, so that its acknowledgement is one of all before it.
    if (random.chance(0.15) && (writes === 1 || index > 0)) return { kind: 'delete', tree, key }
    // Some in frames of their own; not several in one batch, which the journal's segments would not take.
    const sizeBytes =
      index === 0 && random.chance(0.02) ? 5_000 + random.below(60_000) : 8 + random.below(300)
    const value = new Uint8Array(sizeBytes).fill(random.below(256))
    new DataView(value.buffer).setFloat64(0, n)
    return { kind: 'put', tree, key, value }
  })
}

/** What the database must hold after so many operations. */
export class KillModel {
  readonly #seed: number
  readonly #trees = [new Map<string, Uint8Array>(), new Map<string, Uint8Array>()] as const
  /** Operations applied: numbers 0 … `operations` - 1. */
  operations = 0

  constructor(seed: number) {
    this.#seed = seed
  }

  /** The same, on its own from here on. */
  clone(): KillModel {
    const copy = new KillModel(this.#seed)
    for (const [number, tree] of this.#trees.entries())
      for (const [key, value] of tree) copy.#trees[number as 0 | 1].set(key, value)
    copy.operations = this.operations
    return copy
  }

  advance(): void {
    for (const write of killOperation(this.#seed, this.operations)) this.#apply(write)
    this.operations++
  }

  #apply(write: KillWrite): void {
    const tree = this.#trees[write.tree]
    if (write.kind === 'put') tree.set(write.key, write.value)
    else if (write.kind === 'delete') tree.delete(write.key)
    else if (write.kind === 'deletePrefix') this.#takeBelow(tree, write.prefix)
    else {
      const moved = this.#takeBelow(tree, write.from)
      if (moved.length === 0) return
      this.#takeBelow(tree, write.to)
      for (const [key, value] of moved) tree.set(write.to + key.slice(write.from.length), value)
    }
  }

  #takeBelow(tree: Map<string, Uint8Array>, prefix: string): [string, Uint8Array][] {
    const taken = [...tree].filter(([key]) => key.startsWith(prefix))
    for (const [key] of taken) tree.delete(key)
    return taken
  }

  /** What differs; undefined for nothing. */
  difference(found: readonly ReadonlyMap<string, Uint8Array>[]): string | undefined {
    for (const [number, tree] of this.#trees.entries()) {
      const other = found.at(number)
      for (const [key, value] of tree) {
        const there = other?.get(key)
        if (there === undefined) return `'${key}' is missing`
        if (Buffer.compare(there, value) !== 0) {
          return `'${key}' is of operation ${String(writtenBy(there))}, not of ${String(writtenBy(value))}`
        }
      }
      if (other?.size !== tree.size) return `${String(other?.size)} keys instead of ${String(tree.size)}`
    }
    return undefined
  }
}

/** The number of the operation that put a value. */
export function writtenBy(value: Uint8Array): number {
  return new DataView(value.buffer, value.byteOffset, value.byteLength).getFloat64(0)
}

/** Whether an operation puts something: then a commit of its own tells of it, whatever was there before. */
export function puts(seed: number, n: number): boolean {
  return killOperation(seed, n).some(({ kind }) => kind === 'put')
}
