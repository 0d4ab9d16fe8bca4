import { FRAME_BYTES, Slab } from '@holt/blob-buf-pool'
import { addressOfBytes } from '@holt/uring-native'

/** So many frames of memory, at multiples of a page, as a write past the page cache wants them. */
export function frameBuffers(count: number): Uint8Array[] {
  const slab = Slab.create({
    frameBytes: FRAME_BYTES,
    frameCount: count,
    maxFrameCount: count,
    addressOf: addressOfBytes,
  })
  return Array.from({ length: count }, () => slab.bytes(slab.lease()))
}
