export type {
  FileLock,
  FileStat,
  Io,
  IoCounters,
  IoFile,
  IoKind,
  Mapping,
  OpenOptions,
  ProcessIdentity,
  ScheduledSync,
  Timer,
  Transfer,
} from './io.js'
export { crc32c } from './crc32c.js'
export { FsIo } from './fs-io.js'
export type { FsIoOptions } from './fs-io.js'
export { isProcessGone, processIdentity } from './process-identity.js'
