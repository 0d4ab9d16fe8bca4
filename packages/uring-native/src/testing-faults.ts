/**
 * For tests only: makes calls of the native addon fail on purpose, in this process, in all of its threads. Nothing is
 * armed unless a test arms it, and nothing in holt does.
 */
import { HoltError } from '@holt/errors'

import { loadAddon } from './addon.js'
import type { NativeAddon } from './addon.js'
import { errnoNumber } from './native-errno.js'
import { OPCODE } from './ring-operations.js'

/** Points that are no operation of a ring; numbers of fault_table.h. */
const POINTS = {
  /** Making a ring: one call for each set of flags that is tried. */
  ringSetup: 256,
  /** Handing over to a ring and waiting for it, the waiting of a ring that is being closed excepted. */
  ringEnter: 257,
  registerFile: 258,
  registerBuffer: 259,
  blockingRead: 260,
  blockingWrite: 261,
  blockingWriteDsync: 262,
  blockingDataSync: 263,
  blockingTruncate: 264,
  /** Asking whether the engine lets memory be held; any errno makes it say no. */
  pinMemory: 265,
  /** Handing over to a ring: with `shortBytes`, how many entries the kernel takes at most. */
  ringTake: 266,
  /** At the end of a ring: cancelling what the kernel still has, and waiting for it. */
  ringDrain: 267,
  /** Taking completions: with any errno, the kernel's flag for work that waits is up though there is none. */
  ringWorkFlag: 268,
} as const

const KINDS = { errno: 1, short: 2, drop: 3 } as const

/** What a fault can strike: operations of a ring by name, or one of the other points. */
export type FaultPoint = keyof typeof OPCODE | keyof typeof POINTS

export type Fault = {
  readonly at: FaultPoint
  /** The first call that is struck, from 1, counted from arming. 1 unless given. */
  readonly firstCall?: number
  /** How many calls are struck from there. 1 unless given; `Infinity` for all. */
  readonly calls?: number
} & (
  | {
      /** It fails with this errno, such as `'EIO'`, and has no effect. */
      readonly errno: string
    }
  | {
      /** It moves so many bytes at most. Of reads and writes. What is linked to it goes on, as after a full one. */
      readonly shortBytes: number
    }
  | {
      /** It happens, but nobody hears of it. Of operations of a ring. */
      readonly dropped: true
    }
)

/**
 * Replaces what was armed. If several faults strike one call, the first of the list does.
 *
 * @throws `HOLT_UNSUPPORTED` without the addon, `HOLT_INVALID_ARGUMENT` for an unknown point or errno
 */
export function armFaults(faults: readonly Fault[]): void {
  const rules = faults.flatMap((fault) => {
    const [kind, value] =
      'errno' in fault
        ? [KINDS.errno, errnoNumber(fault.errno)]
        : 'shortBytes' in fault
          ? [KINDS.short, fault.shortBytes]
          : [KINDS.drop, 0]
    return [pointNumber(fault.at), fault.firstCall ?? 1, fault.calls ?? 1, kind, value]
  })
  addon().setFaults(Float64Array.from(rules))
}

export function disarmFaults(): void {
  armFaults([])
}

/** How often each armed fault has struck, in their order. */
export function faultHits(): number[] {
  return addon().faultHits()
}

function pointNumber(point: string): number {
  const numbers: Readonly<Record<string, number>> = { ...OPCODE, ...POINTS }
  if (!Object.hasOwn(numbers, point)) {
    throw new HoltError('HOLT_INVALID_ARGUMENT', `there is no fault point called '${point}'`)
  }
  return numbers[point]
}

function addon(): NativeAddon {
  const loaded = loadAddon()
  if ('reason' in loaded) throw new HoltError('HOLT_UNSUPPORTED', loaded.reason)
  return loaded.addon
}
