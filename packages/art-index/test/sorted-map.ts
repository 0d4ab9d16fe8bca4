import type { CursorOptions } from '../src/index.js'

export interface OracleValue {
  readonly value: string
  readonly version: number
}

/** What a scan returns, bytes as latin1 strings: their order is the bytes' order. */
export type Listed =
  | { readonly kind: 'key'; readonly key: string; readonly value: string; readonly version: number }
  | { readonly kind: 'prefix'; readonly key: string }

export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

export function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'))
}

/** The oracle: an ordered map, plain enough to be right. */
export class SortedMap {
  readonly #values = new Map<string, OracleValue>()
  #sorted: string[] | undefined

  get size(): number {
    return this.#values.size
  }

  get keys(): readonly string[] {
    return (this.#sorted ??= [...this.#values.keys()].sort((a, b) => (a < b ? -1 : 1)))
  }

  get(key: string): OracleValue | undefined {
    return this.#values.get(key)
  }

  put(key: string, value: string, version: number): boolean {
    const isNew = !this.#values.has(key)
    if (isNew) this.#sorted = undefined
    this.#values.set(key, { value, version })
    return isNew
  }

  delete(key: string): boolean {
    const wasThere = this.#values.delete(key)
    if (wasThere) this.#sorted = undefined
    return wasThere
  }

  scan(options: CursorOptions, limit = Infinity): Listed[] {
    const text = (bytes: Uint8Array | undefined): string | undefined => bytes && latin1(bytes)
    const prefix = text(options.prefix) ?? ''
    const gt = text(options.gt)
    const gte = text(options.gte)
    const lt = text(options.lt)
    const lte = text(options.lte)
    const delimiter = text(options.delimiter)
    const inside = this.keys.filter(
      (key) =>
        key.startsWith(prefix) &&
        (gt === undefined || key > gt) &&
        (gte === undefined || key >= gte) &&
        (lt === undefined || key < lt) &&
        (lte === undefined || key <= lte),
    )
    if (options.reverse === true) inside.reverse()
    const listed: Listed[] = []
    for (const key of inside) {
      if (listed.length >= limit) break
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
}
