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
