/** A record as an operation sees it. */
export interface SeenRecord {
  /** `undefined` for what the running batch wrote: it has no version yet that anybody could know. */
  readonly version: number | undefined
  readonly value: () => Uint8Array
}

/** What the tree holds, before the batch. */
export interface BaseTree {
  readonly find: (key: Uint8Array) => SeenRecord | undefined
  /** Whether there is a key with this prefix that `isGone` does not say to pass over: one key, or all with a prefix. */
  readonly hasAny: (prefix: Uint8Array, gone: GoneKeys | undefined) => boolean
  /**
   * No key that begins with `prefix` has more bytes behind it; -1 when there is no such key. An upper bound, which need
   * not be tight up to `enoughBytes`.
   */
  readonly restBoundBytes: (prefix: Uint8Array, enoughBytes: number) => number
}

/** Keys that do not count any more. Names are keys with one character a byte. */
export interface GoneKeys {
  readonly names: ReadonlySet<string>
  readonly prefixes: readonly string[]
}

type PrefixChange =
  | { readonly kind: 'delete'; readonly prefix: string }
  | { readonly kind: 'move'; readonly from: string; readonly to: string }

/** A change of whole subtrees, and the single writes behind it; null is deleted. The first layer has no such change. */
interface Layer {
  readonly change: PrefixChange | undefined
  readonly writes: Map<string, Uint8Array | null>
}

export function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1')
}

export function keyOf(name: string): Uint8Array {
  return Buffer.from(name, 'latin1')
}

/**
 * What a batch has done so far, on top of the tree. A question about a key goes back through the layers: a move says
 * under which name the key was known before it.
 */
export class StagedWrites {
  readonly #base: BaseTree
  readonly #layers: Layer[] = [{ change: undefined, writes: new Map() }]
  #hasMoves = false

  constructor(base: BaseTree) {
    this.#base = base
  }

  /** Whether keys may have a {@link formerKeys | former name}. */
  get hasMoves(): boolean {
    return this.#hasMoves
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.#layers[this.#layers.length - 1].writes.set(nameOf(key), value)
  }

  delete(key: Uint8Array): void {
    this.#layers[this.#layers.length - 1].writes.set(nameOf(key), null)
  }

  deletePrefix(prefix: Uint8Array): void {
    this.#layers.push({ change: { kind: 'delete', prefix: nameOf(prefix) }, writes: new Map() })
  }

  /** Whatever is below `to` goes. Neither prefix contains the other. */
  movePrefix(from: Uint8Array, to: Uint8Array): void {
    const change: PrefixChange = { kind: 'move', from: nameOf(from), to: nameOf(to) }
    this.#layers.push({ change, writes: new Map() })
    this.#hasMoves = true
  }

  find(key: Uint8Array): SeenRecord | undefined {
    let name: string | undefined
    for (let i = this.#layers.length - 1; i >= 0; i--) {
      const { change, writes } = this.#layers[i]
      if (writes.size > 0) {
        const own = writes.get((name ??= nameOf(key)))
        if (own === null) return undefined
        if (own !== undefined) return { version: undefined, value: () => own }
      }
      if (change === undefined) continue
      name ??= nameOf(key)
      const before = nameBefore(change, name)
      if (before === undefined) return undefined
      name = before
    }
    return this.#base.find(name === undefined ? key : keyOf(name))
  }

  /**
   * The names under which a key, or prefix, was known before each change, the present one first: below them lie the
   * frames that an operation on it comes to.
   */
  formerKeys(key: Uint8Array): Uint8Array[] {
    const keys = [key]
    if (this.#layers.length === 1) return keys
    let name = nameOf(key)
    for (let i = this.#layers.length - 1; i >= 0; i--) {
      const { change } = this.#layers[i]
      if (change?.kind !== 'move' || !name.startsWith(change.to)) continue
      name = change.from + name.slice(change.to.length)
      keys.push(keyOf(name))
    }
    return keys
  }

  /** Whether any key begins with `prefix`. */
  hasAny(prefix: Uint8Array): boolean {
    return this.#hasAny(this.#layers.length - 1, nameOf(prefix), NOTHING_GONE)
  }

  #hasAny(at: number, prefix: string, gone: GoneKeys): boolean {
    if (gone.prefixes.some((covered) => prefix.startsWith(covered))) return false
    const { change, writes } = this.#layers[at]
    const names = new Set(gone.names)
    for (const [name, value] of writes) {
      if (!name.startsWith(prefix)) continue
      if (value !== null && !isGone(name, gone)) return true
      names.add(name)
    }
    const { prefixes } = gone
    if (change === undefined) {
      const below = prefixes.filter((covered) => covered.startsWith(prefix))
      return this.#base.hasAny(
        keyOf(prefix),
        names.size + below.length === 0 ? undefined : { names, prefixes: below },
      )
    }
    if (change.kind === 'delete')
      return this.#hasAny(at - 1, prefix, { names, prefixes: [...prefixes, change.prefix] })
    const { from, to } = change
    const comesFrom = prefix.startsWith(to)
      ? from + prefix.slice(to.length)
      : to.startsWith(prefix)
        ? from
        : undefined
    if (comesFrom !== undefined && !prefixes.some((covered) => to.startsWith(covered))) {
      const before = (name: string): string[] => (name.startsWith(to) ? [from + name.slice(to.length)] : [])
      const goneBefore = { names: new Set([...names].flatMap(before)), prefixes: prefixes.flatMap(before) }
      if (this.#hasAny(at - 1, comesFrom, goneBefore)) return true
    }
    return this.#hasAny(at - 1, prefix, { names, prefixes: [...prefixes, from, to] })
  }

  /** As {@link BaseTree.restBoundBytes}. */
  restBoundBytes(prefix: Uint8Array, enoughBytes: number): number {
    return this.#restBoundBytes(this.#layers.length - 1, nameOf(prefix), enoughBytes)
  }

  #restBoundBytes(at: number, prefix: string, enoughBytes: number): number {
    const { change, writes } = this.#layers[at]
    let bound = -1
    for (const [name, value] of writes) {
      if (value !== null && name.startsWith(prefix)) bound = Math.max(bound, name.length - prefix.length)
    }
    if (change === undefined) return Math.max(bound, this.#base.restBoundBytes(keyOf(prefix), enoughBytes))
    const before = nameBefore(change, prefix)
    if (before !== undefined) bound = Math.max(bound, this.#restBoundBytes(at - 1, before, enoughBytes))
    if (change.kind === 'move' && change.to.length > prefix.length && change.to.startsWith(prefix)) {
      const added = change.to.length - prefix.length
      const below = this.#restBoundBytes(at - 1, change.from, enoughBytes - added)
      if (below >= 0) bound = Math.max(bound, added + below)
    }
    return bound
  }
}

const NOTHING_GONE: GoneKeys = { names: new Set(), prefixes: [] }

export function isGone(name: string, gone: GoneKeys): boolean {
  return gone.names.has(name) || gone.prefixes.some((covered) => name.startsWith(covered))
}

/** The name that a key had before the change; undefined: it was not there, or has gone by it. */
function nameBefore(change: PrefixChange, name: string): string | undefined {
  if (change.kind === 'delete') return name.startsWith(change.prefix) ? undefined : name
  if (name.startsWith(change.to)) return change.from + name.slice(change.to.length)
  return name.startsWith(change.from) ? undefined : name
}
