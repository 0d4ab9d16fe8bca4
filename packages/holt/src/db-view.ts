import { HoltError } from '@holt/errors'
import { findTree } from './catalog.js'
import type { Version } from './entries.js'
import { keyCodec, type KeyEncodingName, type KeyEncodings } from './key-encoding.js'
import { refuseOthers, scopeOf, ViewReader } from './tree-view.js'
import {
  valueCodec,
  type ValueEncoding,
  type ValueEncodingName,
  type ValueEncodings,
} from './value-encoding.js'
import type { ViewEngine } from './view-engine.js'

export interface ViewedTreeOptions<
  N extends KeyEncodingName = KeyEncodingName,
  E = ValueEncodingName | ValueEncoding<unknown>,
> {
  /** Default `'utf8'`. */
  readonly keyEncoding?: N
  /** Default `'view'`. */
  readonly valueEncoding?: E
  /** Only keys that begin with it. Default all of the tree. */
  readonly prefix?: KeyEncodings[N]
}

/** All trees of a database as they were at one instant, by `db.view()`. End it with `close`, or by `using`. */
export class DbView implements Disposable {
  readonly #engine: ViewEngine

  /** @internal */
  constructor(engine: ViewEngine) {
    this.#engine = engine
  }

  /** Version of the newest commit that it shows: where a feed of changes goes on. */
  get version(): Version {
    return this.#engine.version as Version
  }

  get closed(): boolean {
    return this.#engine.closed
  }

  /**
   * The tree that had this name then. Throws `HOLT_NOT_FOUND` if there was none, `HOLT_ENCODING` unless the encodings are
   * those it was made with, `HOLT_INVALID_ARGUMENT` for an unknown option.
   */
  tree<N extends KeyEncodingName = 'utf8', E extends ValueEncodingName | ValueEncoding<unknown> = 'view'>(
    name: string,
    options: ViewedTreeOptions<N, E> = {},
  ): ViewReader<
    KeyEncodings[N],
    E extends ValueEncodingName ? ValueEncodings[E] : E extends ValueEncoding<infer V> ? V : never
  > {
    this.#engine.assertOpen()
    const { keyEncoding, valueEncoding, ...scope } = options
    const keys = keyCodec((keyEncoding ?? 'utf8') as N)
    const values = valueCodec<never>((valueEncoding ?? 'view') as ValueEncodingName)
    refuseOthers(scope)
    const record = findTree(this.#engine.index, name)
    if (record === undefined) throw new HoltError('HOLT_NOT_FOUND', `there was no tree '${name}'`)
    if (record.keyEncoding !== keys.name || record.valueEncoding !== values.name) {
      throw new HoltError(
        'HOLT_ENCODING',
        `tree '${name}' was made with key encoding '${record.keyEncoding}' and value encoding '${record.valueEncoding}', not '${keys.name}' and '${values.name}'`,
      )
    }
    return new ViewReader(this.#engine, name, record.id, keys, values, scopeOf(record.id, keys, scope))
  }

  /** Lets go of what only this view sees. Its trees' reads fail with `HOLT_CLOSED`. A second call does nothing. */
  close(): void {
    this.#engine.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
