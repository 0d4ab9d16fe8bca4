import type { Engine } from './engine.js'

/** Key of what a batch needs of a tree and nobody else should see. */
export const TREE_INTERNALS: unique symbol = Symbol('holt.tree')

export interface TreeInternals<K, V> {
  readonly engine: Engine
  readonly key: (key: K) => Uint8Array
  readonly value: (value: V) => Uint8Array
  readonly readKey: (bytes: Buffer) => K
}
