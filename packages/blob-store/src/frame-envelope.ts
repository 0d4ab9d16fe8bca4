import { HoltError } from '@holt/errors'
import {
  type BlobId,
  ENVELOPE_BYTES,
  FRAME_BYTES,
  PAGE_BYTES,
  PAGES_PER_FRAME,
  usedPages,
} from '@holt/blob-buf-pool'
import { crc32c } from '@holt/uring-native/crc32c'

/**
 * The first 640 bytes of every stored frame, little-endian. They belong to the store; what follows is its owner's.
 *
 * ```
 *     0  magic            u32   'HLTF'
 *     4  format version   u16   1
 *     6  kind             u16   1: index frame
 *     8  blob id          u32
 *    12  reserved         u32   0
 *    16  birth seq        f64   kept as found
 *    24  last seq         f64   kept as found
 *    32  reserved         96 B  0
 *   128  page checksums   128 × u32: CRC-32C of each 4 KiB page; 0 for page 0 itself and for pages not in use
 *   640  used units       u32   the owner's: tells which pages are in use, see `usedPages`
 *   644  (the owner's)
 * ```
 *
 * Page 0 carries the checksums of all other pages in use, and whoever names the frame (the manifest) keeps the CRC-32C
 * of page 0. So one number vouches for every byte that is stored, and a single page can be checked with page 0 alone.
 */
export const ENVELOPE_MAGIC = 0x4654_4c48
export const ENVELOPE_VERSION = 1
export const KIND_INDEX_FRAME = 1

const MAGIC = 0
const VERSION = 4
const KIND = 6
const BLOB_ID = 8
const RESERVED = 12
const RESERVED_TAIL = 32
const PAGE_CRCS = 128

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function assertFrame(frame: Uint8Array): void {
  if (frame.byteLength !== FRAME_BYTES) {
    throw new HoltError(
      'HOLT_INVALID_ARGUMENT',
      `a frame of ${String(frame.byteLength)} bytes; ${String(FRAME_BYTES)} are wanted`,
    )
  }
}

/**
 * Fills in the envelope of a frame that is about to be stored, checksums of the pages in use included, and returns the
 * CRC-32C of page 0. Keeps the two seqs. Throws `HOLT_INVALID_ARGUMENT` when `frame` is not one frame long.
 */
export function sealFrame(frame: Uint8Array, id: BlobId): number {
  assertFrame(frame)
  const view = viewOf(frame)
  view.setUint32(MAGIC, ENVELOPE_MAGIC, true)
  view.setUint16(VERSION, ENVELOPE_VERSION, true)
  view.setUint16(KIND, KIND_INDEX_FRAME, true)
  view.setUint32(BLOB_ID, id, true)
  view.setUint32(RESERVED, 0, true)
  frame.fill(0, RESERVED_TAIL, PAGE_CRCS)
  const pages = usedPages(frame)
  view.setUint32(PAGE_CRCS, 0, true)
  for (let page = 1; page < pages; page++) {
    view.setUint32(PAGE_CRCS + page * 4, crc32c(frame, page * PAGE_BYTES, PAGE_BYTES, 0), true)
  }
  frame.fill(0, PAGE_CRCS + pages * 4, ENVELOPE_BYTES)
  return crc32c(frame, 0, PAGE_BYTES, 0)
}

/**
 * Checks a stored frame's first page: that it is the one with this checksum, and this blob's. `where` names the place
 * in messages. Throws `HOLT_CORRUPT`, or `HOLT_VERSION` for an intact page of another format.
 */
export function checkHeaderPage(page: Uint8Array, id: BlobId, headerCrc: number, where: string): void {
  const found = crc32c(page, 0, PAGE_BYTES, 0)
  if (found !== headerCrc) {
    throw new HoltError(
      'HOLT_CORRUPT',
      `${where}, blob ${String(id)}, page 0: checksum ${hex(found)}, expected ${hex(headerCrc)}`,
    )
  }
  const view = viewOf(page)
  if (view.getUint32(MAGIC, true) !== ENVELOPE_MAGIC) {
    throw new HoltError(
      'HOLT_CORRUPT',
      `${where}, blob ${String(id)}, page 0: magic ${hex(view.getUint32(MAGIC, true))}, expected ${hex(ENVELOPE_MAGIC)}`,
    )
  }
  if (view.getUint16(VERSION, true) !== ENVELOPE_VERSION) {
    throw new HoltError(
      'HOLT_VERSION',
      `${where}, blob ${String(id)}: frame format ${String(view.getUint16(VERSION, true))}; this release reads ${String(ENVELOPE_VERSION)}`,
    )
  }
  if (view.getUint32(BLOB_ID, true) !== id) {
    throw new HoltError(
      'HOLT_CORRUPT',
      `${where}, page 0: the frame of blob ${String(view.getUint32(BLOB_ID, true))}, expected that of blob ${String(id)}`,
    )
  }
}

/**
 * Checks whole pages of a frame against the checksums in its (already checked) first page. `bytes` holds the pages
 * from `firstPage` on, which is 1 or more. Throws `HOLT_CORRUPT`.
 */
export function checkPages(
  headerPage: Uint8Array,
  bytes: Uint8Array,
  firstPage: number,
  id: BlobId,
  where: string,
): void {
  const view = viewOf(headerPage)
  for (let offset = 0; offset < bytes.byteLength; offset += PAGE_BYTES) {
    const page = firstPage + offset / PAGE_BYTES
    const expected = view.getUint32(PAGE_CRCS + page * 4, true)
    const found = crc32c(bytes, offset, PAGE_BYTES, 0)
    if (found !== expected) {
      throw new HoltError(
        'HOLT_CORRUPT',
        `${where}, blob ${String(id)}, page ${String(page)}: checksum ${hex(found)}, expected ${hex(expected)}`,
      )
    }
  }
}

/**
 * Checks a frame as it was read: page 0 against `headerCrc`, every other page in use against page 0. `where` names the
 * file and place. Throws `HOLT_CORRUPT` naming blob and page, or `HOLT_VERSION`.
 */
export function checkFrame(frame: Uint8Array, id: BlobId, headerCrc: number, where: string): void {
  assertFrame(frame)
  checkHeaderPage(frame, id, headerCrc, where)
  checkPages(frame, frame.subarray(PAGE_BYTES, usedPages(frame) * PAGE_BYTES), 1, id, where)
}

/** The envelope's and the owner's part of page 0 never overlap. */
if (PAGE_CRCS + PAGES_PER_FRAME * 4 !== ENVELOPE_BYTES) {
  throw new HoltError('HOLT_INTERNAL', 'the page checksums do not end where the envelope ends')
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`
}
