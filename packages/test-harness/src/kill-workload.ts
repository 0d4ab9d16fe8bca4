import { SeededRandom } from './seeded-random.js'

/** The trees that the child writes to. */
export const KILL_TREES = ['objects', 'log'] as const

export type KillWrite =
  | { readonly kind: 'put'; readonly tree: 0 | 1; readonly key: string; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly tree: 0 | 1; readonly key: string }

const KEYS = 4000

/** Operation number `n` of a workload: the same in child and parent. More than one write is a batch. */
export function killOperation(seed: number, n: number): readonly KillWrite[] {
  const random = new SeededRandom(Math.imul(seed, 0x9e37_79b1) ^ n)
  const writes = random.chance(0.8) ? 1 : random.between(2, 8)
  return Array.from({ length: writes }, (_, index): KillWrite => {
    const tree = random.chance(0.7) ? 0 : 1
    const number = random.below(KEYS)
    const key = `dir-${String(number % 37)}/${String(number)}`
    // A batch changes something always, so that its acknowledgement is one of all before it.
    if (random.chance(0.15) && (writes === 1 || index > 0)) return { kind: 'delete', tree, key }
    const value = new Uint8Array(8 + random.below(300)).fill(random.below(256))
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

  advance(): void {
    for (const write of killOperation(this.#seed, this.operations)) {
      const tree = this.#trees[write.tree]
      if (write.kind === 'put') tree.set(write.key, write.value)
      else tree.delete(write.key)
    }
    this.operations++
  }

  /** What differs; undefined for nothing. */
  difference(found: readonly ReadonlyMap<string, Uint8Array>[]): string | undefined {
    for (const [number, tree] of this.#trees.entries()) {
      const other = found.at(number)
      for (const [key, value] of tree) {
        const there = other?.get(key)
        if (there === undefined) return `'${key}' is missing`
        if (Buffer.compare(there, value) !== 0) {
          return `'${key}' is of operation ${writtenBy(there)}, not of ${writtenBy(value)}`
        }
      }
      if (other?.size !== tree.size) return `${String(other?.size)} keys instead of ${String(tree.size)}`
    }
    return undefined
  }
}

function writtenBy(value: Uint8Array): string {
  return String(new DataView(value.buffer, value.byteOffset, value.byteLength).getFloat64(0))
}
