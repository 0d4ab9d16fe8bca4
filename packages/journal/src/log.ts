import type { JournalDurability, Lsn } from './contract.js'
import type { RecordMemory } from './record.js'

/**
 * The appending half of a journal, in one of its two modes. Sizes are totals as {@link recordBytes} gives them; the
 * caller has checked arguments.
 */
export interface Log {
  readonly mode: 'mapped' | 'written'
  /** Where the reserved record's body is to be copied, at {@link bodyOffset}. */
  readonly memory: RecordMemory
  readonly bodyOffset: number
  readonly position: Lsn
  readonly records: number
  readonly appendedBytes: number
  /** Write calls, each of which acknowledged what it carried together. */
  readonly groups: number
  readonly segmentSwitches: number
  /**
   * A body up to this can be reserved now, which is known without asking {@link hasRoom}; below 0 while nothing is. Spares the
   * usual append all questions but one.
   */
  readonly plainBodyBytes: number
  /** Whether a record of this total can be reserved now. */
  hasRoom(totalBytes: number): boolean
  /** Works towards `hasRoom(totalBytes)`; may resolve before it holds. */
  makeRoom(totalBytes: number): Promise<void>
  reserve(type: number, seq: number, bodyBytes: number): void
  leave(): void
  /** A whole record, as `JournalContract.append` says; false, having done nothing, where it is to be reserved instead. */
  append(
    type: number,
    seq: number,
    bodyBytes: number,
    first: number,
    a: Uint32Array,
    aAt: number,
    aBytes: number,
    b: Uint32Array,
    bAt: number,
    bBytes: number,
  ): boolean
  cancel(): void
  /** Ends the segment; appends go on in the next one, which the supply must have ready. */
  roll(): void
  acknowledge(durability: JournalDurability): Promise<void>
  /** Everything appended so far is stable. */
  sync(): Promise<void>
  /** Lets go of what keeps segments mapped. Nothing is appended any more. */
  end(): void
}
