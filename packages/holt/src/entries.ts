declare const versionBrand: unique symbol

/** The commit seq of a record's last write: unique to that write, larger than all before it, the same after a reopen. */
export type Version = number & { readonly [versionBrand]: never }

/** A value and the version it was written with. */
export interface VersionedValue<V> {
  readonly value: V
  readonly version: Version
}

export interface KeyEntry<K, V> {
  readonly kind: 'key'
  readonly key: K
  readonly value: V
  readonly version: Version
}

/** Stands for all keys that begin with it. It ends with the delimiter. */
export interface PrefixEntry<K> {
  readonly kind: 'prefix'
  readonly prefix: K
}

export type Entry<K, V> = KeyEntry<K, V> | PrefixEntry<K>

/** What `tree.count` came to. */
export interface Count {
  readonly keys: number
  /** Sum of the lengths of their values' encodings. */
  readonly valueBytes: number
  /** False when there are more keys than the limit allowed to count. */
  readonly exact: boolean
}
