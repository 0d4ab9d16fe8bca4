import { HoltError } from '@holt/errors'

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
  | 'punchHole'
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
 * the simulated one goes on by itself, in a further call. Lost and misdirected calls report success. Everything else is
 * reported as an error.
 *
 * ```ts
 * { operation: 'sync', path: 'blobs.dat', nth: 2, errno: 'EIO' }        // the second sync of that file fails
 * { operation: 'write', times: Infinity, errno: 'ENOSPC' }              // no space for good
 * { operation: 'write', shortBytes: 512 }                               // 512 bytes, then the rest
 * { operation: 'write', nth: 3, lost: true }                            // the third write never happens
 * { operation: 'write', misdirected: { offsetBytes: 4096 } }            // goes to 4096, wherever it was meant to go
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
  /** A write, sync or directory sync reports success and does nothing. Not with another consequence. */
  readonly lost?: boolean
  /** A write reports success, and its bytes went here. Not with another consequence. */
  readonly misdirected?: Misdirection
}

/** Where a misdirected write goes. `{}` leaves it all to the seed. */
export interface Misdirection {
  /** Another file, by its whole path; the write is lost if there is none. Default the same file. */
  readonly path?: string
  /** Default a sector of the file, or right behind it, drawn by the seed; never where the write was meant to go. */
  readonly offsetBytes?: number
}

/** What a call comes to that reports success and did something else. */
export type Lie = { readonly kind: 'lost' } | { readonly kind: 'misdirected'; readonly to: Misdirection }

/** What a call comes to. */
export interface Fault {
  readonly errno: string | undefined
  readonly shortBytes: number | undefined
  readonly late: boolean
  readonly lie: Lie | undefined
}

/** How often calls have come to what. A short transfer that then failed counts as failed. */
export interface FaultCounts {
  /** `EINTR`: made again, unseen by the caller. */
  readonly interrupted: number
  /** Transfers cut short: resumed, unseen by the caller. */
  readonly short: number
  readonly failed: number
  readonly lost: number
  readonly misdirected: number
}

const LOSABLE: readonly SimOperation[] = ['write', 'writeDsync', 'sync', 'syncDir']
const MISDIRECTABLE: readonly SimOperation[] = ['write', 'writeDsync']

/** Rules in force. They may be added and taken away while calls run. */
export class FaultRules {
  readonly #random: SeededRandom
  #rules: { readonly rule: FaultRule; matched: number }[] = []
  readonly #counts = { interrupted: 0, short: 0, failed: 0, lost: 0, misdirected: 0 }

  constructor(random: SeededRandom, rules: readonly FaultRule[] = []) {
    this.#random = random
    for (const rule of rules) this.add(rule)
  }

  /** Faults that have happened. */
  get injected(): number {
    const { interrupted, short, failed, lost, misdirected } = this.#counts
    return interrupted + short + failed + lost + misdirected
  }
  /** A copy: it does not change any more. */
  get counts(): FaultCounts {
    return { ...this.#counts }
  }

  /**
   * Adds a rule and returns what takes it away.
   *
   * @throws HoltError `HOLT_INVALID_ARGUMENT` for a lie about an operation that has none, or beside another consequence
   */
  add(rule: FaultRule): () => void {
    checkLie(rule)
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
      if (!matchesOperation(rule, operation)) continue
      if (rule.path !== undefined && !matchesPath(rule.path, path)) continue
      entry.matched++
      const first = rule.nth ?? 1
      if (fault || entry.matched < first || entry.matched >= first + (rule.times ?? 1)) continue
      if (rule.probability !== undefined && !this.#random.chance(rule.probability)) continue
      const { errno, shortBytes, late = false } = rule
      fault = { errno, shortBytes, late, lie: lieOf(rule) }
    }
    if (fault) this.#counts[consequenceOf(fault)]++
    return fault
  }
}

function lieOf({ lost, misdirected }: FaultRule): Lie | undefined {
  if (lost === true) return { kind: 'lost' }
  return misdirected && { kind: 'misdirected', to: misdirected }
}

function consequenceOf({ errno, shortBytes, lie }: Fault): keyof FaultCounts {
  if (lie) return lie.kind
  if (errno === undefined || (errno === 'EINTR' && shortBytes !== undefined)) return 'short'
  return errno === 'EINTR' ? 'interrupted' : 'failed'
}

function checkLie(rule: FaultRule): void {
  const lie = lieOf(rule)
  if (lie === undefined) return
  const able = lie.kind === 'lost' ? LOSABLE : MISDIRECTABLE
  const operations = typeof rule.operation === 'string' ? [rule.operation] : rule.operation
  for (const operation of operations) {
    if (operation === 'any' || !able.includes(operation)) {
      throw new HoltError(
        'HOLT_INVALID_ARGUMENT',
        `a call of kind '${operation}' cannot be ${lie.kind}: only ${able.join(', ')} can`,
      )
    }
  }
  const others = [rule.errno, rule.shortBytes, rule.late, rule.lost && rule.misdirected]
  if (others.some((other) => other !== undefined && other !== false)) {
    throw new HoltError('HOLT_INVALID_ARGUMENT', `a call that is ${lie.kind} comes to nothing else`)
  }
}

function matchesOperation({ operation }: FaultRule, found: SimOperation): boolean {
  if (typeof operation === 'string') return operation === 'any' || operation === found
  return operation.includes(found)
}

/** Whether a path ends with the text, or matches the expression. */
export function matchesPath(pattern: string | RegExp, path: string): boolean {
  return typeof pattern === 'string' ? path.endsWith(pattern) : path.search(pattern) >= 0
}
