import type { HoltError } from '@holt/errors'
import type { ReplayedLog } from './replay.js'
import type { Salts } from './record.js'
import type { ChainSegment, FoundLog, History } from './recovery.js'
import { wasBegunByRecovery } from './segment-header.js'
import type { LiveSegment } from './segments.js'
import { lsnOffset } from './contract.js'

/** A segment of the log, as somebody needs it who reads along. */
export interface ReadableSegment extends Salts {
  readonly number: number
  readonly path: string
  readonly predecessorNumber: number
  /** Where its records end: what its successor names, or its size. */
  readonly endBytes: number
  /** Every record in it has a higher seq. */
  readonly seqFloor: number
  /** The highest seq before it; undefined where only a look at its first record tells. */
  readonly priorSeq: number | undefined
}

/** The segments that are there to be read, oldest first. */
export class ReadableLog {
  readonly #segments: ReadableSegment[] = []
  /** Why those before the first one cannot be read, if it is not that they are gone. */
  damage: { readonly number: number; readonly error: HoltError } | undefined

  get first(): ReadableSegment | undefined {
    return this.#segments.at(0)
  }

  /** Oldest first. */
  get all(): readonly ReadableSegment[] {
    return this.#segments
  }

  find(number: number): ReadableSegment | undefined {
    return this.#segments.find((segment) => segment.number === number)
  }

  /** The oldest one with a higher number. */
  after(number: number): ReadableSegment | undefined {
    return this.#segments.find((segment) => segment.number > number)
  }

  /** What an opening found, up to where the log ends. */
  addFound(log: FoundLog, replayed: ReplayedLog): void {
    const end = replayed.range?.end
    if (end === undefined) return
    for (const segment of log.chain.slice(0, end.chainIndex)) this.#segments.push(readableOf(segment))
    const last = log.chain.at(end.chainIndex)
    if (last !== undefined)
      this.#segments.push({ ...readableOf(last), endBytes: lsnOffset(replayed.report.end) })
  }

  addHistory({ chain, damaged }: History): void {
    this.#segments.unshift(...chain.map(readableOf))
    this.damage = damaged
  }

  /** The log goes on in a segment. `priorSeq` is the last seq before it. */
  begin(segment: LiveSegment, predecessorNumber: number, priorSeq: number): void {
    const { number, path, sizeBytes, seqFloor, headerSalt, bodySalt } = segment
    this.#segments.push({
      ...{ number, path, predecessorNumber, priorSeq, seqFloor, headerSalt, bodySalt },
      endBytes: sizeBytes,
    })
  }

  remove(number: number): void {
    if (this.damage?.number === number) this.damage = undefined
    const at = this.#segments.findIndex((segment) => segment.number === number)
    if (at >= 0) this.#segments.splice(at, 1)
  }
}

function readableOf({ header, path, limitBytes }: ChainSegment): ReadableSegment {
  const { number, predecessorNumber, seqFloor, headerSalt, bodySalt } = header
  return {
    ...{ number, path, predecessorNumber, seqFloor, headerSalt, bodySalt },
    endBytes: limitBytes,
    priorSeq: wasBegunByRecovery(header) ? header.priorSeq : undefined,
  }
}
