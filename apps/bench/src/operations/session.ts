import type { Store } from '../stores/store.js'
import { randomBelow, shuffledIndexes } from '../workloads/shuffle.js'
import type { Workload } from '../workloads/workload.js'

export const VALUE_BYTES = 60
/** Values that differ, so that an answer from the wrong place shows. */
const VALUE_COUNT = 1_024
const LOAD_BATCH = 1_000

/** A store with its workload: what an operation works on. It hands out keys in an order without a pattern. */
export class Session {
  readonly store: Store
  readonly workload: Workload
  /** Grows with what the store returns, so that nothing that was read can be left out by the compiler. */
  sink = 0
  /** The key that is at another name now, while a rename has not been undone. */
  renamed: { readonly from: string; readonly to: string } | undefined
  readonly #order: Uint32Array
  readonly #values: readonly Buffer[]
  #keyCursor = 0
  #valueCursor = 0
  #absentCursor = 0
  #directoryCursor = 0

  constructor(store: Store, workload: Workload) {
    this.store = store
    this.workload = workload
    this.#order = shuffledIndexes(workload.keys.length, 0x9e3779b9)
    this.#values = makeValues()
  }

  nextKey(): string {
    if (this.#keyCursor === this.#order.length) this.#keyCursor = 0
    return this.workload.keys[this.#order[this.#keyCursor++]]
  }

  nextAbsent(): string {
    const { absent } = this.workload
    if (this.#absentCursor === absent.length) this.#absentCursor = 0
    return absent[this.#absentCursor++]
  }

  nextDirectory(): string {
    const { directories } = this.workload
    if (this.#directoryCursor === directories.length) this.#directoryCursor = 0
    return directories[this.#directoryCursor++]
  }

  nextValue(): Buffer {
    return this.#values[this.#valueCursor++ & (VALUE_COUNT - 1)]
  }

  /** From here on the same keys and values come as from the beginning. */
  rewind(): void {
    this.#keyCursor = 0
    this.#valueCursor = 0
    this.#absentCursor = 0
    this.#directoryCursor = 0
  }

  /** Puts every key, in random order, a thousand at a time. */
  async load(): Promise<void> {
    const { keys } = this.workload
    for (let start = 0; start < keys.length; start += LOAD_BATCH) {
      const entries: (readonly [string, Buffer])[] = []
      for (let at = start; at < Math.min(start + LOAD_BATCH, keys.length); at++) {
        const index = this.#order[at]
        entries.push([keys[index], this.#values[index & (VALUE_COUNT - 1)]])
      }
      await this.store.putTogether(entries)
    }
  }
}

function makeValues(): readonly Buffer[] {
  const random = randomBelow(0xbe7c4)
  return Array.from({ length: VALUE_COUNT }, () =>
    Buffer.from(Array.from({ length: VALUE_BYTES }, () => random(256))),
  )
}
