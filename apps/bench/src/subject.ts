/** What is measured: every competitor does the same jobs with the same keys. */
export interface Subject {
  readonly name: string
  /** Writes all keys, each with the value, in batches; resolves when they are acknowledged. */
  readonly putAll: (keys: readonly string[], value: Uint8Array) => Promise<void>
  /** Reads all keys; returns how many were found. */
  readonly getAll: (keys: readonly string[]) => number
  /** Lists 100 entries from each of the keys on, values included; returns how many entries came. */
  readonly listFromAll: (keys: readonly string[]) => number
  readonly close: () => Promise<void>
}

export const LIST_ENTRIES = 100
