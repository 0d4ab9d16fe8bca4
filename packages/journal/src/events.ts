import type { Lsn } from './contract.js'

/** What a journal reports while it works. Listeners must not throw. */
export type JournalEvent =
  /** Appends go on in `segment`; the one before it is full. */
  | { readonly kind: 'segment-switch'; readonly segment: number }
  | { readonly kind: 'sync'; readonly durationMs: number; readonly stablePosition: Lsn }
  | { readonly kind: 'poisoned'; readonly cause: unknown }
  /** Segments that are not needed any more could not be put away. Nothing is lost; the next recycling tries again. */
  | { readonly kind: 'recycle-failed'; readonly cause: unknown }

export type JournalEventListener = (event: JournalEvent) => void
