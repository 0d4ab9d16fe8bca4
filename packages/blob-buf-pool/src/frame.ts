/**
 * The words that every layer above shares about frames.
 *
 * A *frame* is 512 KiB of memory, and of disk, that describes itself. A *slot* is a place in the slab that can hold a
 * frame. A *blob* is a frame's identity, whatever slot or disk place it is in.
 *
 * ```
 * byte 0      64        128                640                  4096                                524288
 *      ┌──────┬─────────┬──────────────────┬────────────────────┬─────────────────────────────────────┐
 *      │fields│ reserved│ CRC-32C per page │ the owner's header │ the owner's bytes (pages 1 … 127)   │
 *      └──────┴─────────┴──────────────────┴────────────────────┴─────────────────────────────────────┘
 *       ◄──── envelope (blob-store) ──────► ◄── art-index ─────────────────────────────────────────────►
 * ```
 */

declare const blobIdBrand: unique symbol
declare const slotBrand: unique symbol

/** A frame's identity: 1 … 2^24 - 1. 0 is no blob. */
export type BlobId = number & { readonly [blobIdBrand]: never }
/** A place in the slab: 1 … . 0 is no slot; slot 0 itself is never leased. */
export type Slot = number & { readonly [slotBrand]: never }

export const FRAME_BYTES = 524_288
export const FRAME_SHIFT = 19
export const PAGE_BYTES = 4_096
export const PAGES_PER_FRAME = FRAME_BYTES / PAGE_BYTES
/** Bytes at the head of a frame that belong to the store; the owner of the frame must not look at them. */
export const ENVELOPE_BYTES = 640
export const MAX_BLOB_ID = 2 ** 24 - 1

export function blobId(value: number): BlobId {
  return value as BlobId
}

export function slotNumber(value: number): Slot {
  return value as Slot
}
