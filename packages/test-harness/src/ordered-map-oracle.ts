/**
 * The plainest thing that does what a tree does: a map with its keys in byte order. What an index answers is compared
 * with it.
 *
 * Keys and values are bytes. Inside, a key is a string with one character a byte, for which JavaScript's order is byte
 * order.
 */

export interface OracleRecord {
  readonly value: Uint8Array
  readonly version: number
}

export type OracleEntry =
  | { readonly kind: 'key'; readonly key: Uint8Array; readonly value: Uint8Array; readonly version: number }
  | { readonly kind: 'prefix'; readonly prefix: Uint8Array }

export interface OracleRange {
  readonly prefix?: Uint8Array
  readonly gt?: Uint8Array
  readonly gte?: Uint8Array
  readonly lt?: Uint8Array
  readonly lte?: Uint8Array
  readonly reverse?: boolean
  readonly limit?: number
  readonly delimiter?: Uint8Array
}

/** A write of a batch. */
export type OracleOperation =
  | { readonly kind: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly key: Uint8Array }
  | { readonly kind: 'putIfAbsent'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly kind: 'rename'; readonly from: Uint8Array; readonly to: Uint8Array; readonly force: boolean }
  | { readonly kind: 'deletePrefix'; readonly prefix: Uint8Array }
  /** Neither prefix begins with the other. */
  | {
      readonly kind: 'renamePrefix'
      readonly from: Uint8Array
      readonly to: Uint8Array
      readonly force: boolean
    }

export class OrderedMapOracle {
  #records: Map<string, OracleRecord>
  /** Whether a clone looks at the same map. */
  #shared = false
  #sorted: readonly string[] | undefined

  constructor(records = new Map<string, OracleRecord>()) {
    this.#records = records
  }

  get size(): number {
    return this.#records.size
  }

  get(key: Uint8Array): OracleRecord | undefined {
    return this.#records.get(nameOf(key))
  }

  /** Returns whether the key is new. */
  put(key: Uint8Array, value: Uint8Array, version: number): boolean {
    const isNew = !this.#records.has(nameOf(key))
    this.#own().set(nameOf(key), { value: value.slice(), version })
    if (isNew) this.#sorted = undefined
    return isNew
  }

  /** Returns whether the key was there. */
  delete(key: Uint8Array): boolean {
    if (!this.#records.has(nameOf(key))) return false
    this.#sorted = undefined
    return this.#own().delete(nameOf(key))
  }

  /** Applies one write. Only `'changed'` has changed anything; the last two are conditions that do not hold. */
  apply(operation: OracleOperation, version: number): 'changed' | 'unchanged' | 'exists' | 'not-found' {
    switch (operation.kind) {
      case 'put':
        this.put(operation.key, operation.value, version)
        return 'changed'
      case 'delete':
        return this.delete(operation.key) ? 'changed' : 'unchanged'
      case 'putIfAbsent':
        if (this.get(operation.key)) return 'exists'
        this.put(operation.key, operation.value, version)
        return 'changed'
      case 'rename': {
        const source = this.get(operation.from)
        if (source === undefined) return 'not-found'
        if (nameOf(operation.from) === nameOf(operation.to)) return 'unchanged'
        if (!operation.force && this.get(operation.to)) return 'exists'
        this.delete(operation.from)
        this.put(operation.to, source.value, version)
        return 'changed'
      }
      case 'deletePrefix':
        return this.#deleteBelow(nameOf(operation.prefix)) ? 'changed' : 'unchanged'
      case 'renamePrefix':
        return this.#renamePrefix(nameOf(operation.from), nameOf(operation.to), operation.force)
    }
  }

  #below(prefix: string): readonly string[] {
    return this.#names().filter((name) => name.startsWith(prefix))
  }

  /** Returns whether anything was there. */
  #deleteBelow(prefix: string): boolean {
    const names = this.#below(prefix)
    if (names.length === 0) return false
    const records = this.#own()
    for (const name of names) records.delete(name)
    this.#sorted = undefined
    return true
  }

  /** Values and versions stay. */
  #renamePrefix(from: string, to: string, force: boolean): 'changed' | 'exists' | 'not-found' {
    const moved = this.#below(from).flatMap((name) => {
      const record = this.#records.get(name)
      return record ? [[to + name.slice(from.length), record] as const] : []
    })
    if (moved.length === 0) return 'not-found'
    if (!force && this.#below(to).length > 0) return 'exists'
    this.#deleteBelow(to)
    this.#deleteBelow(from)
    const records = this.#own()
    for (const [name, record] of moved) records.set(name, record)
    return 'changed'
  }

  /**
   * What a scan of the range gives: keys in byte order; with a delimiter, one entry for all keys that share their bytes
   * up to and with the first delimiter behind the prefix.
   */
  scan(range: OracleRange = {}): OracleEntry[] {
    const { limit = Infinity } = range
    const entries: OracleEntry[] = []
    let lastPrefix: string | undefined
    for (const name of range.reverse === true ? this.#names().toReversed() : this.#names()) {
      if (entries.length >= limit) break
      if (!isWithin(name, range)) continue
      const rollup = rollupOf(name, range)
      if (rollup === undefined) {
        const record = this.#records.get(name)
        if (record) entries.push({ kind: 'key', key: bytesOf(name), ...record })
      } else if (rollup !== lastPrefix) {
        entries.push({ kind: 'prefix', prefix: bytesOf(rollup) })
      }
      lastPrefix = rollup
    }
    return entries
  }

  /** A map of its own with the same content. Costs nothing until one of the two changes. */
  clone(): OrderedMapOracle {
    this.#shared = true
    const copy = new OrderedMapOracle(this.#records)
    copy.#shared = true
    copy.#sorted = this.#sorted
    return copy
  }

  #own(): Map<string, OracleRecord> {
    if (this.#shared) {
      this.#records = new Map(this.#records)
      this.#shared = false
    }
    return this.#records
  }

  #names(): readonly string[] {
    this.#sorted ??= [...this.#records.keys()].sort()
    return this.#sorted
  }
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1')
}

function bytesOf(name: string): Uint8Array {
  return new Uint8Array(Buffer.from(name, 'latin1'))
}

function isWithin(name: string, { prefix, gt, gte, lt, lte }: OracleRange): boolean {
  if (prefix && !name.startsWith(nameOf(prefix))) return false
  if (gt && !(name > nameOf(gt))) return false
  if (gte && !(name >= nameOf(gte))) return false
  if (lt && !(name < nameOf(lt))) return false
  return !(lte && !(name <= nameOf(lte)))
}

function rollupOf(name: string, { prefix, delimiter }: OracleRange): string | undefined {
  if (delimiter === undefined) return undefined
  const mark = nameOf(delimiter)
  const at = name.indexOf(mark, prefix?.byteLength ?? 0)
  return at < 0 ? undefined : name.slice(0, at + mark.length)
}
