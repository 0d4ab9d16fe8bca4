/** What a run found, before anybody is compared. */
import type { Timing } from '../run/protocol.js'

/** How the figures of a row are to be read. */
export type Measure = 'cpu' | 'wall' | 'amount'

export interface Finding {
  readonly name: string
  readonly title: string
  readonly unit: string
  readonly measure: Measure
  /** By store: a figure for each round, or why there is none. */
  readonly byStore: ReadonlyMap<string, readonly Figure[] | string>
  /** What there is to say of the figures, by store. */
  readonly remarks?: ReadonlyMap<string, string>
}

/** What a round of one store came to, in the unit of its row: the smaller the better. */
export interface Figure {
  readonly wall: number
  readonly cpu: number
}

/** Time per operation of a stretch of work. `unitNs` is the length of the unit, 1 for ns. */
export function figureOf({ operations, wallMs, cpuMicros }: Timing, unitNs = 1): Figure {
  return {
    wall: (wallMs * 1e6) / operations / unitNs,
    cpu: (cpuMicros * 1e3) / operations / unitNs,
  }
}

/** A figure that is no time. */
export function amount(value: number): Figure {
  return { wall: value, cpu: value }
}
