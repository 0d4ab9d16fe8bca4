import type { SeededRandom } from './seeded-random.js'

/** The calls that a simulated kernel sees. A batch is one `write` or `read` a transfer, then perhaps a `sync`. */
export type SimOperation =
  | 'open'
  | 'close'
  | 'stat'
  | 'read'
  | 'write'
  | 'writeDsync'
  | 'sync'
  | 'allocate'
  | 'truncate'
  | 'map'
  | 'unmap'
  | 'rename'
  | 'link'
  | 'remove'
  | 'list'
  | 'mkdir'
  | 'syncDir'
  | 'lock'

/**
 * A fault by rule: which calls it meets, and what they come to. `EINTR` and short transfers are what an exact Io hides:
 * the simulated one goes on by itself, in a further call. Everything else is reported.
 *
 * ```ts
 * { operation: 'sync', path: 'blobs.dat', nth: 2, errno: 'EIO' }        // the second sync of that file fails
 * { operation: 'write', times: Infinity, errno: 'ENOSPC' }              // no space for good
 * { operation: 'write', shortBytes: 512 }                               // 512 bytes, then the rest
 * ```
 */
export interface FaultRule {
  readonly operation: SimOperation | readonly SimOperation[] | 'any'
  /** The end of the path, or an expression that it matches. */
  readonly path?: string | RegExp
  /** The first matching call that it meets, counted from 1. Default 1. */
  readonly nth?: number
  /** How many it meets from there on. Default 1; `Infinity` for good. */
  readonly times?: number
  /** Of those, each is met only with this probability, by the seed. Default 1. */
  readonly probability?: number
  /** The system's name of the error. Without it, `shortBytes` is wanted. */
  readonly errno?: string
  /** A read or write moves at most this many bytes; with `errno` it then fails, without it the rest follows. */
  readonly shortBytes?: number
  /** Does what was asked, and then reports the failure all the same. */
  readonly late?: boolean
}

/** What a call comes to. */
export interface Fault {
  readonly errno: string | undefined
  readonly shortBytes: number | undefined
  readonly late: boolean
}

/** Rules in force. They may be added and taken away while calls run. */
export class FaultRules {
  readonly #random: SeededRandom
  #rules: { readonly rule: FaultRule; matched: number }[] = []
  /** Faults that have happened. */
  injected = 0

  constructor(random: SeededRandom, rules: readonly FaultRule[] = []) {
    this.#random = random
    for (const rule of rules) this.add(rule)
  }

  /** Adds a rule and returns what takes it away. */
  add(rule: FaultRule): () => void {
    const entry = { rule, matched: 0 }
    this.#rules.push(entry)
    return () => {
      this.#rules = this.#rules.filter((other) => other !== entry)
    }
  }

  clear(): void {
    this.#rules = []
  }

  /** Counts the call for every rule it matches; the first rule that meets it decides. */
  decide(operation: SimOperation, path: string): Fault | undefined {
    let fault: Fault | undefined
    for (const entry of this.#rules) {
      const { rule } = entry
      if (!matchesOperation(rule, operation) || !matchesPath(rule, path)) continue
      entry.matched++
      const first = rule.nth ?? 1
      if (fault || entry.matched < first || entry.matched >= first + (rule.times ?? 1)) continue
      if (rule.probability !== undefined && !this.#random.chance(rule.probability)) continue
      fault = { errno: rule.errno, shortBytes: rule.shortBytes, late: rule.late ?? false }
    }
    if (fault) this.injected++
    return fault
  }
}

function matchesOperation({ operation }: FaultRule, found: SimOperation): boolean {
  if (typeof operation === 'string') return operation === 'any' || operation === found
  return operation.includes(found)
}

function matchesPath({ path }: FaultRule, found: string): boolean {
  if (path === undefined) return true
  return typeof path === 'string' ? found.endsWith(path) : path.test(found)
}
