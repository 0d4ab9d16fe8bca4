export { CompactionPass } from './compaction-pass.js'
export type { CompactionBudget } from './compaction.js'
export { ArtIndex } from './art-index.js'
export type { ArtIndexOptions } from './art-index.js'
export type { BulkLoad } from './bulk-load.js'
export { COMMON_PREFIX, END, KEY } from './contract.js'
export type { ArtIndexContract, CursorContract, CursorOptions, CursorStep } from './contract.js'
export { Cursor } from './cursor.js'
export type { CursorTree } from './cursor.js'
export { EntryRun } from './entry-run.js'
export { FrameAbsent } from './frame-source.js'
export type { FrameSource } from './frame-source.js'
export { successorOfPrefix } from './key-range.js'
export { writeKeyBytes } from './key-words.js'
export {
  MAX_INDEX_KEY_BYTES,
  MAX_INLINE_VALUE_BYTES,
  MAX_KEY_BYTES,
  MAX_USABLE_BYTES,
  MAX_VALUE_BYTES,
  MAX_VALUE_FRAMES,
  MIN_USABLE_BYTES,
} from './layout.js'
export type { IndexView } from './index-view.js'
export type { ViewPlace } from './live-views.js'
export { longestPrefix, NO_PREFIX } from './longest-prefix.js'
export { countPrefix, isPrefixEmpty } from './prefix-count.js'
export type { PrefixCount } from './prefix-count.js'
export type { ReadableTree } from './readable-tree.js'
export { treeStatistics } from './statistics.js'
export type { StatisticsTree, TreeStatistics } from './statistics.js'
export { UNKNOWN_BIRTH } from './unlinked-frames.js'
export type { KeptFrame, UnlinkedFrames } from './unlinked-frames.js'
export { MAX_PROBLEMS, verifySteps, verifyTree } from './verify.js'
export type { TreeProblem, VerifiableTree, VerifyReport } from './verify.js'
export { maxInlineValueBytes, maxKeyBytes, maxValueBytes, valueFrameCount } from './limits.js'
