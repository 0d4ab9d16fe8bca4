import { randomBelow } from './shuffle.js'
import type { WorkloadKeys } from './workload.js'

/** Thirty-two random hexadecimal digits: nothing in common, no directories. The unkind case for a tree of prefixes. */
export function randomKeys(keyCount: number, absentCount: number): WorkloadKeys {
  const random = randomBelow(0x5eed)
  const word = (): string =>
    random(2 ** 32)
      .toString(16)
      .padStart(8, '0')
  const seen = new Set<string>()
  while (seen.size < keyCount + absentCount) seen.add(word() + word() + word() + word())
  const all = [...seen]
  return { keys: all.slice(0, keyCount), absent: all.slice(keyCount), directories: [] }
}
