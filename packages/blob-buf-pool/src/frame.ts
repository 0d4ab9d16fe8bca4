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
 *
 * The owner's first u32, at byte 640, counts the 8-byte units of the frame that hold anything, from byte 0 on; 0 is all
 * of them. Nothing is kept in the pages wholly behind it: they are neither written nor read.
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
/** Byte of the u32 that says how many units of {@link FRAME_UNIT_BYTES} are in use. */
export const USED_UNITS = ENVELOPE_BYTES
export const FRAME_UNIT_BYTES = 8
export const MAX_BLOB_ID = 2 ** 24 - 1

/**
 * Pages of a frame that hold anything, 1 … 128: the page of the last unit in use and all before it. `frame` is the
 * frame, or its first page at least. A count that is 0 or more than a frame holds stands for all of them.
 */
export function usedPages(frame: Uint8Array): number {
  const units =
    frame[USED_UNITS] |
    (frame[USED_UNITS + 1] << 8) |
    (frame[USED_UNITS + 2] << 16) |
    (frame[USED_UNITS + 3] << 24)
  if (units <= 0 || units > FRAME_BYTES / FRAME_UNIT_BYTES) return PAGES_PER_FRAME
  return Math.ceil((units * FRAME_UNIT_BYTES) / PAGE_BYTES)
}

export function blobId(value: number): BlobId {
  return value as BlobId
}

export function slotNumber(value: number): Slot {
  return value as Slot
}
