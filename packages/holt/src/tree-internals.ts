import type { Engine } from './engine.js'
import type { KeyCodec } from './key-encoding.js'
import type { TreeState } from './tree-state.js'
import type { ValueCodec } from './value-encoding.js'

/** Key of what a batch needs of a tree and nobody else should see. */
export const TREE_INTERNALS: unique symbol = Symbol('holt.tree')

export interface TreeInternals<K, V> {
  readonly id: number
  readonly engine: Engine
  readonly keys: KeyCodec<K>
  readonly values: ValueCodec<V>
  readonly state: TreeState
}
