import type { ArtIndex } from '@holt/art-index'
import type { ScanPages } from './scan-page.js'

/** What reading needs of an engine: that of the owner, or that of a thread which reads along. */
export interface ReadEngine {
  readonly index: ArtIndex
  readonly pages: ScanPages
  readonly closed: boolean
  /** Throws `HOLT_CLOSED` once the database was closed. */
  assertOpen(): void
}
