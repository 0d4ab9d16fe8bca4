export * from './contract.js'
export { Journal } from './journal.js'
export { attachAppender, type AppenderOptions, type LogAppender, type SharedLog } from './log-appender.js'
export { LogStructuredStore } from './log-structured-store.js'
export type {
  FoundStore,
  Location,
  LogStructuredStoreOptions,
  Reservation,
  StoredRecord,
  WriteMode,
} from './log-structured-store.js'
export type { ShareOptions } from './ring-server.js'
export type { JournalOptions } from './options.js'
export type { JournalEvent, JournalEventListener } from './events.js'
export type { ReplayVisitor } from './replay.js'
export { isJournalFileName } from './segment-names.js'
export { FIRST_CALLER_TYPE } from './record.js'
export {
  DEFAULT_SEGMENT_BYTES,
  MAX_SEGMENT_BYTES,
  MIN_SEGMENT_BYTES,
  STORE_ID_BYTES,
} from './segment-header.js'
