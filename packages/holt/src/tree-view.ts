import type { CursorOptions } from '@holt/art-index'
import { HoltError } from '@holt/errors'
import type { KeyEntry, Version } from './entries.js'
import type { KeyCodec } from './key-encoding.js'
import { TREE_ID_BYTES } from './limits.js'
import { OwnedTreeReader } from './owned-tree-reader.js'
import { cursorOptions, encodeBehindId, withTreeId } from './range.js'
import type { ValueCodec } from './value-encoding.js'
import type { ViewEngine } from './view-engine.js'

export interface ViewOptions<K> {
  /** Only keys that begin with it. Default all of the tree. */
  readonly prefix?: K
}

/**
 * A tree, or what lies below one prefix of it, as it was when its view was taken: all that a `Tree` can read, and always the
 * same answer. Also of a tree that was dropped since.
 *
 * With a prefix, every key that is asked for, and the prefix and bounds of every range, have to begin with it: otherwise
 * `HOLT_OUTSIDE_VIEW`. A range without a prefix of its own has the view's.
 *
 * Every method may fail with `HOLT_CLOSED` once the view or its database was closed, and as those of `TreeReader` do.
 */
export class ViewReader<K, V> extends OwnedTreeReader<K, V, ViewEngine> {
  /** What every key of the view begins with; `undefined`: it is of the whole tree. */
  readonly prefix: K | undefined
  /** Version of the newest commit of the database that it shows: where a feed of changes goes on. */
  readonly version: Version
  /** The bytes of {@link prefix}, behind the tree's id. */
  readonly #scope: Uint8Array

  /** @internal */
  constructor(
    engine: ViewEngine,
    name: string,
    id: number,
    keys: KeyCodec<K>,
    values: ValueCodec<V>,
    scope: ViewScope<K>,
  ) {
    super(engine, name, id, keys, values, { name, dropped: false })
    this.prefix = scope.prefix
    this.version = engine.version as Version
    this.#scope = scope.bytes
  }

  /** As `Tree.longestPrefix`, among the keys of the view. */
  override longestPrefix(query: K): KeyEntry<K, V> | undefined {
    const found = super.longestPrefix(query)
    if (found === undefined || this.#isWhole) return found
    return TREE_ID_BYTES + this.keyCodec.encode(found.key).length < this.#scope.length ? undefined : found
  }

  get #isWhole(): boolean {
    return this.#scope.length === TREE_ID_BYTES
  }

  protected override scratch(key: K): number {
    const length = super.scratch(key)
    if (!this.#isWhole) this.#assertInside(this.engine.index.key, length, 'the key')
    return length
  }

  protected override keyBytes(key: K): Uint8Array {
    const bytes = super.keyBytes(key)
    if (!this.#isWhole) this.#assertInside(bytes, bytes.length, 'the key')
    return bytes
  }

  protected override rangeOf(range: object): CursorOptions {
    const options = cursorOptions(this.id, this.keyCodec, range)
    if (this.#isWhole) return options
    const { gt, gte, lt, lte, prefix } = options
    for (const bound of [gt, gte, lt, lte])
      if (bound !== undefined) this.#assertInside(bound, bound.length, 'a bound of the range')
    if ((range as { readonly prefix?: unknown }).prefix === undefined)
      return { ...options, prefix: this.#scope }
    if (prefix !== undefined) this.#assertInside(prefix, prefix.length, 'the prefix of the range')
    return options
  }

  #assertInside(bytes: Uint8Array, length: number, what: string): void {
    const scope = this.#scope
    let at = scope.length <= length ? TREE_ID_BYTES : Infinity
    while (at < scope.length && bytes[at] === scope[at]) at++
    if (at === scope.length) return
    throw new HoltError(
      'HOLT_OUTSIDE_VIEW',
      `${what} does not begin with the ${String(scope.length - TREE_ID_BYTES)} bytes of the prefix that the view was taken of`,
    )
  }
}

/** A view of one tree, by `tree.view()`. End it with `close`, or by `using`. */
export class TreeView<K, V> extends ViewReader<K, V> implements Disposable {
  /** @internal */
  constructor(
    take: () => ViewEngine,
    name: string,
    id: number,
    keys: KeyCodec<K>,
    values: ValueCodec<V>,
    options: ViewOptions<K>,
  ) {
    const scope = scopeOf(id, keys, options)
    super(take(), name, id, keys, values, scope)
  }

  get closed(): boolean {
    return this.engine.closed
  }

  /** Lets go of what only this view sees. Its reads, those under way too, fail with `HOLT_CLOSED`. A second call does nothing. */
  close(): void {
    this.engine.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/** @internal What a view shows of its tree. */
export interface ViewScope<K> {
  readonly prefix: K | undefined
  readonly bytes: Uint8Array
}

/** @internal Throws `HOLT_INVALID_ARGUMENT` for an unknown option, and what the key encoding throws. */
export function scopeOf<K>(id: number, keys: KeyCodec<K>, options: ViewOptions<K>): ViewScope<K> {
  refuseOthers(options)
  const { prefix } = options
  const bytes = prefix === undefined ? withTreeId(id, NO_BYTES) : encodeBehindId(id, keys, prefix)
  return { prefix, bytes }
}

/** @internal Throws `HOLT_INVALID_ARGUMENT` for an option that a view does not know. */
export function refuseOthers(options: ViewOptions<unknown>): void {
  for (const name of Object.keys(options)) {
    if (name !== 'prefix')
      throw new HoltError('HOLT_INVALID_ARGUMENT', `'${name}' is no option of a view; there is prefix`)
  }
}

const NO_BYTES = new Uint8Array(0)
