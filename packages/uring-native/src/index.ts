export type {
  FileLock,
  FileStat,
  Io,
  IoCounters,
  IoFile,
  IoKind,
  LatencySummary,
  Mapping,
  OpenOptions,
  ProcessIdentity,
  QueueCounters,
  ScheduledSync,
  Timer,
  Transfer,
} from './io.js'
export { crc32c } from './crc32c.js'
export { FsIo } from './fs-io.js'
export type { FsIoOptions } from './fs-io.js'
export { addressOfBytes } from './memory-address.js'
export { adviseHugePages, populateMemory } from './huge-pages.js'
export { openIo } from './open-io.js'
export type { IoPreference, OpenIoOptions } from './open-io.js'
export { isProcessGone, processIdentity } from './process-identity.js'
export { Ring } from './ring.js'
export type {
  ParkOptions,
  Parked,
  Queued,
  RingCapabilities,
  RingCompletion,
  RingHandle,
  RingOp,
  RingOpenOptions,
  RingOptions,
  RingRequest,
} from './ring-contract.js'
export { RingFile } from './ring-files.js'
export type { BufferRegistration } from './ring-tables.js'
export { createSealedCopy, MOST_STAGED_BYTES, SEALED_COPY_SOURCES, STAGED_AT } from './sealed-copy.js'
export type { SealedCopy } from './sealed-copy.js'
export { UringIo } from './uring-io.js'
export type { UringIoOptions } from './uring-io.js'
// What every implementation of Io shares: argument checks, the order of a batch, and the errors of system calls.
export {
  checkAligned,
  checkCallback,
  checkDelay,
  checkLength,
  checkOpenOptions,
  checkPath,
  checkRange,
  checkTransfer,
  checkTransfers,
} from './arguments.js'
export { endOfFile, systemError } from './system-error.js'
export { orderWrites } from './transfer-batch.js'
