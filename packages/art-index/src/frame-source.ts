import type { BlobId, Slab, Slot } from '@holt/blob-buf-pool'

export { FrameAbsent } from '@holt/blob-buf-pool'

/**
 * What the index asks of the cache. The engine answers with a `BufferManager`, tests with an array.
 *
 * Rules the index relies on, within one synchronous call of it:
 * - A slot that `pageTable` names stays put unless the call itself uses {@link fault}, {@link writable},
 *   {@link allocate} or {@link free}.
 * - `fault` may evict any other clean frame. So a writing operation first descends until it meets no absent frame,
 *   and only then changes anything; from there on `writable`, `allocate` and `free` neither evict nor fail.
 */
export interface FrameSource {
  readonly slab: Slab
  /** Slot by blob id; 0 or negative where the frame is not in memory. */
  readonly pageTable: Int32Array
  /**
   * One counter: goes up whenever a resident frame moves, leaves or is freed. Who keeps slots or refs over calls
   * (a cursor) compares it and seeks again after a change.
   */
  readonly residency: Int32Array
  /** By slot: lookups set it to 1 for every frame they pass, so that it is not the next to leave. */
  readonly recency: Int32Array
  /**
   * Makes an absent frame resident and returns its slot. Throws {@link FrameAbsent} when the caller may not block,
   * `HOLT_CORRUPT` when the stored frame fails its checks, `HOLT_IO` when it cannot be read. `forWalk`: for a walk over
   * many frames, which should not drive out those that lookups come back to.
   */
  fault(id: BlobId, forWalk?: boolean): Slot
  /**
   * For a lookup: the slot in which bytes [fromBytes, toBytes) of a frame are good, read with the pages around them if need
   * be. `pageTable` may go on calling the frame absent, and the slot's other bytes may be anything. It is the same slot
   * for one frame until another method, or this one with another id, is called. Throws as {@link fault} does. Without it
   * every miss loads its frame.
   */
  readPages?(id: BlobId, fromBytes: number, toBytes: number): Slot
  /**
   * The slot in which this resident frame may be changed now: the same, or a fresh copy when the old one is being
   * written out. Marks it dirty.
   */
  writable(id: BlobId): Slot
  /**
   * A fresh, resident, dirty frame, its bytes from `ENVELOPE_BYTES` on zeroed up to the end of page 0. `isWrittenOnce`: who
   * asks fills it now, and nothing else will be written to it for a while; only a hint.
   */
  allocate(isWrittenOnce?: boolean): BlobId
  /** The tree begins in this frame from now on. For a source whose frames other threads read along. */
  rootMoved?(id: BlobId): void
  /** Gives a frame up, resident or not. Its id is not handed out again before no durable image names it. */
  free(id: BlobId): void
}
