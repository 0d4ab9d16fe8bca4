import { listBySeeks } from './list-directory.js'
import type { Store } from './store.js'

/**
 * The floor: a JS Map, which keeps no order and survives nothing. Listings come from an array of its keys, which is
 * sorted anew at the first listing after a key came or went; so it takes no part where listings and writes mix.
 */
export function openJsMap(): Store {
  const map = new Map<string, Uint8Array>()
  let sorted: readonly string[] | undefined
  const keys = (): readonly string[] => (sorted ??= [...map.keys()].sort(byBytes))
  const set = (key: string, value: Uint8Array): void => {
    const sizeBefore = map.size
    map.set(key, value.slice())
    if (map.size !== sizeBefore) sorted = undefined
  }
  const page = (from: string, limit: number): readonly string[] => {
    const start = lowerBound(keys(), from)
    return keys().slice(start, start + limit)
  }
  const putAll = (entries: readonly (readonly [string, Uint8Array])[]): void => {
    for (const [key, value] of entries) set(key, value)
  }
  return {
    getsAreAsync: false,
    listsAreAsync: false,
    writesAreAsync: false,
    keepsOrder: false,
    get: (key) => map.get(key)?.slice(),
    put: set,
    putBatch: putAll,
    putTogether: putAll,
    remove(key) {
      if (map.delete(key)) sorted = undefined
    },
    rename(from, to) {
      const value = map.get(from)
      if (value === undefined) throw new Error(`there is no ${from}`)
      map.delete(from)
      map.set(to, value)
      sorted = undefined
    },
    list: (from, limit) =>
      page(from, limit).map((key) => ({ key, value: map.get(key)?.slice() ?? new Uint8Array(0) })),
    listKeys: page,
    listDirectory: (prefix) => listBySeeks(prefix, (from) => keys().at(lowerBound(keys(), from))),
    close() {
      map.clear()
    },
  }
}

/** Order of UTF-8, which for characters beyond the basic plane is not JavaScript's. */
function byBytes(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right))
}

/** Where in a sorted list the first item that is not below `wanted` stands. */
function lowerBound(sorted: readonly string[], wanted: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (byBytes(sorted[middle], wanted) < 0) low = middle + 1
    else high = middle
  }
  return low
}
