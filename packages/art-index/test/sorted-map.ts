import type { CursorOptions } from '../src/index.js'

export interface OracleValue<V> {
  readonly value: V
  readonly version: number
}

/** What a scan returns, bytes as latin1 strings: their order is the bytes' order. */
export type Listed<V = string> =
  | { readonly kind: 'key'; readonly key: string; readonly value: V; readonly version: number }
  | { readonly kind: 'prefix'; readonly key: string }

export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

export function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'))
}

/** The oracle: an ordered map, plain enough to be right. */
export class SortedMap<V = string> {
  readonly #values = new Map<string, OracleValue<V>>()
  readonly #sorted: string[] = []

  get size(): number {
    return this.#sorted.length
  }

  get keys(): readonly string[] {
    return this.#sorted
  }

  /** As it is now. */
  clone(): SortedMap<V> {
    const copy = new SortedMap<V>()
    for (const [key, value] of this.#values) copy.#values.set(key, value)
    copy.#sorted.push(...this.#sorted)
    return copy
  }

  get(key: string): OracleValue<V> | undefined {
    return this.#values.get(key)
  }

  put(key: string, value: V, version: number): boolean {
    const isNew = !this.#values.has(key)
    if (isNew) this.#sorted.splice(this.#countBefore(key), 0, key)
    this.#values.set(key, { value, version })
    return isNew
  }

  delete(key: string): boolean {
    const wasThere = this.#values.delete(key)
    if (wasThere) this.#sorted.splice(this.#countBefore(key), 1)
    return wasThere
  }

  /** The keys that begin with these bytes. */
  keysBelow(prefix: string): string[] {
    return this.#sorted.slice(this.#countBefore(prefix), this.#countThrough(prefix))
  }

  /** What a cursor returns; with `behind`, what it returns after that entry. */
  scan(options: CursorOptions, limit = Infinity, behind?: Pick<Listed<V>, 'kind' | 'key'>): Listed<V>[] {
    const text = (bytes: Uint8Array | undefined): string | undefined => bytes && latin1(bytes)
    const prefix = text(options.prefix) ?? ''
    const gt = text(options.gt)
    const gte = text(options.gte)
    const lt = text(options.lt)
    const lte = text(options.lte)
    const delimiter = text(options.delimiter)
    const forward = options.reverse !== true
    let from = this.#countBefore(prefix)
    let to = this.#countThrough(prefix)
    if (gt !== undefined) from = Math.max(from, this.#countUpTo(gt))
    if (gte !== undefined) from = Math.max(from, this.#countBefore(gte))
    if (lt !== undefined) to = Math.min(to, this.#countBefore(lt))
    if (lte !== undefined) to = Math.min(to, this.#countUpTo(lte))
    if (behind !== undefined && forward) {
      const { kind, key } = behind
      from = Math.max(from, kind === 'key' ? this.#countUpTo(key) : this.#countThrough(key))
    } else if (behind !== undefined) to = Math.min(to, this.#countBefore(behind.key))
    const listed: Listed<V>[] = []
    for (let i = from; i < to && listed.length < limit; i++) {
      const key = this.#sorted[forward ? i : to - 1 - (i - from)]
      const at = delimiter === undefined ? -1 : key.indexOf(delimiter, prefix.length)
      if (at >= 0) {
        const common = key.slice(0, at + (delimiter?.length ?? 0))
        const last = listed.at(-1)
        if (last?.kind !== 'prefix' || last.key !== common) listed.push({ kind: 'prefix', key: common })
      } else {
        const there = this.#values.get(key)
        if (there !== undefined) listed.push({ kind: 'key', key, ...there })
      }
    }
    return listed
  }

  /** Keys that lie before this one. */
  #countBefore(key: string): number {
    return this.#countWhile((other) => other < key)
  }

  #countUpTo(key: string): number {
    return this.#countWhile((other) => other <= key)
  }

  /** Keys before the prefix and those that begin with it. */
  #countThrough(prefix: string): number {
    return this.#countWhile((other) => other < prefix || other.startsWith(prefix))
  }

  /** Of the sorted keys those at the front of which this is true. */
  #countWhile(holds: (key: string) => boolean): number {
    let low = 0
    let high = this.#sorted.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (holds(this.#sorted[middle])) low = middle + 1
      else high = middle
    }
    return low
  }
}
