import type { Digest } from './digest.js'
import type { Session } from './session.js'

/**
 * Something every store is timed at. It leaves the store as it found it, values excepted; and the same calls give the
 * same answers with every store, which the digest shows.
 */
export interface Operation {
  readonly name: OperationName
  readonly title: string
  /** So many are done before the clock is looked at again. */
  readonly blockSize: number
  /** Why this store and workload have no such operation. */
  readonly whyNot?: (session: Session) => string | undefined
  /** Does it `count` times. With a digest the answers go into it, and what was written is read back. */
  readonly run: (session: Session, count: number, digest?: Digest) => Promise<void>
}

export type OperationName =
  | 'get'
  | 'getReused'
  | 'getAbsent'
  | 'put'
  | 'putTogether'
  | 'putBatch'
  | 'list'
  | 'listKeys'
  | 'visit'
  | 'listDirectory'
  | 'createDelete'
  | 'rename'
  | 'mix'
  | 'durablePut'
  | 'durablePutTogether'

export const LIST_ENTRIES = 100
export const BATCH_ENTRIES = 1_000
export const WRITERS = 256

/** Why a store has no figure where its engine has no way to do it. */
export const NO_SUCH_CALL = 'no such call'
