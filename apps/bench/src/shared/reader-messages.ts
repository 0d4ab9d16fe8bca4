/** What a reading thread is told and what it answers. */
import type { SharedDb } from 'holt'

export const READ_NAMES = ['get', 'list a directory', 'list 100 with values'] as const
export type ReadName = (typeof READ_NAMES)[number]

export const TREE_NAME = 'objects'
export const LISTED_ENTRIES = 100

/** Given to the thread when it starts. */
export interface ReaderData {
  readonly shared: SharedDb
  readonly keyCount: number
  readonly seed: number
}

export interface TurnRequest {
  readonly read: ReadName
  readonly lengthMs: number
}

/** What a thread has done in one turn. */
export interface ReaderTurn {
  readonly reads: number
  readonly wallMs: number
  /** How long the thread could have run and no processor was free; 0 where the system does not tell. */
  readonly waitedMs: number
}
