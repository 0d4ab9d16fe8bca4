import type { NativeAddon } from './addon.js'

/** What direct transfers need where the system does not tell: a page is a multiple of every device's block. */
const FALLBACK_BLOCK_BYTES = 4096
const SMALLEST_BLOCK_BYTES = 512

/** The multiple that direct transfers of an open file need (statx DIOALIGN): a power of two of at least 512. */
export function blockSizeOf(addon: NativeAddon, fd: number): number {
  const alignment = addon.directAlignment(fd)
  if (alignment === 0) return FALLBACK_BLOCK_BYTES
  return Math.max(SMALLEST_BLOCK_BYTES, 2 ** Math.ceil(Math.log2(alignment)))
}
