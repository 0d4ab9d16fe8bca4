import { LIST_ENTRIES, type Subject } from './subject.js'

/** The floor: a JS Map, which neither keeps order nor survives anything. It lists from a sorted array made beforehand. */
export function openMap(): Subject {
  const map = new Map<string, Uint8Array>()
  let sorted: readonly string[] = []
  return {
    name: 'JS Map (floor)',
    async putAll(keys, value) {
      for (const key of keys) map.set(key, value.slice())
      sorted = [...map.keys()].sort()
    },
    getAll(keys) {
      let foundCount = 0
      for (const key of keys) if (map.get(key)?.slice() !== undefined) foundCount++
      return foundCount
    },
    listFromAll(keys) {
      let entryCount = 0
      for (const key of keys) {
        const start = lowerBound(sorted, key)
        const page = sorted
          .slice(start, start + LIST_ENTRIES)
          .map((name) => ({ key: name, value: map.get(name)?.slice() }))
        entryCount += page.length
      }
      return entryCount
    },
    async close() {
      map.clear()
    },
  }
}

/** Where in a sorted list the first item that is not below `wanted` stands. */
function lowerBound(sorted: readonly string[], wanted: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (sorted[middle] < wanted) low = middle + 1
    else high = middle
  }
  return low
}
