export { FrameAbsent } from './frame-absent.js'
export {
  blobId,
  ENVELOPE_BYTES,
  FRAME_BYTES,
  FRAME_SHIFT,
  FRAME_UNIT_BYTES,
  MAX_BLOB_ID,
  PAGE_BYTES,
  PAGES_PER_FRAME,
  slotNumber,
  USED_UNITS,
  usedPages,
} from './frame.js'
export type { BlobId, Slot } from './frame.js'
export { LATCH_LIMIT_MS, LatchTable } from './latch.js'
export { LeaseDesk } from './lease.js'
export type { Lease, LeaseCounters, LeaseDeskOptions, LeaseMessage } from './lease.js'
export type { Registration, RegistrationOptions } from './registration.js'
export { Slab } from './slab.js'
export type { SharedSlab, SlabCounters, SlabOptions, SlabSegment } from './slab.js'
export { MAX_SLOTS } from './slab-sizes.js'
