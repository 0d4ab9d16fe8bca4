/** Operations that the child has under way at once: a kill may take so many that were not acknowledged. */
export const KILL_WINDOW = 16

/** Small segments, small frames and many checkpoints and syncs, so that kills meet them; and a journal that feeds go back in. */
export const KILL_CHILD_OPTIONS = {
  segmentBytes: 131_072,
  usableFrameBytes: 32_768,
  cacheBytes: 128 * 524_288,
  syncIntervalMs: 10,
  retainJournalBytes: 4 << 20,
  checkpoint: { intervalMs: 15, dirtyFrames: 64, journalBytes: 1 << 20 },
} as const
