import type { Io } from '@holt/uring-native'
import type { ClosedSegment } from './segments.js'

export interface RetentionOptions {
  /** Bytes of files that are kept at most; 0: not bounded by bytes. */
  readonly retainBytes: number
  /** How long after its end a segment is kept; 0: not bounded by age. Nothing is kept when both are 0. */
  readonly retainMs: number
}

/** So much is kept for followers that are behind, whatever else is kept: in segments. */
const FOLLOWED_SEGMENTS = 4

/**
 * Which segments stay although recovery does not need them any more: the newest, within the bounds; and what an open
 * follower has still to read, as far as that is not too much.
 */
export class Retention {
  readonly #io: Io
  readonly #options: RetentionOptions
  readonly #followedBytes: number
  readonly #lowestFollowed: () => number

  /** `lowestFollowed` is the number of the oldest segment that somebody reads; infinite when nobody does. */
  constructor(io: Io, options: RetentionOptions, segmentBytes: number, lowestFollowed: () => number) {
    this.#io = io
    this.#options = options
    this.#followedBytes = FOLLOWED_SEGMENTS * segmentBytes
    this.#lowestFollowed = lowestFollowed
  }

  /** Whether anything is kept when nobody follows. */
  get isOn(): boolean {
    const { retainBytes, retainMs } = this.#options
    return retainBytes > 0 || retainMs > 0
  }

  /** Of segments that recovery does not need, oldest first, those that may go: always a beginning of them. */
  expendable(covered: readonly ClosedSegment[]): readonly ClosedSegment[] {
    const nowMs = this.#io.unixTimeMs()
    const lowestFollowed = this.#lowestFollowed()
    let bytes = covered.reduce((sum, segment) => sum + segment.sizeBytes, 0)
    let count = 0
    for (const segment of covered) {
      const isRetained = this.#isWithinBounds(bytes, nowMs - segment.endedUnixMs)
      const isFollowed = segment.number >= lowestFollowed && bytes <= this.#followedBytes
      if (isRetained || isFollowed) break
      bytes -= segment.sizeBytes
      count++
    }
    return covered.slice(0, count)
  }

  #isWithinBounds(bytes: number, ageMs: number): boolean {
    const { retainBytes, retainMs } = this.#options
    return this.isOn && (retainBytes === 0 || bytes <= retainBytes) && (retainMs === 0 || ageMs <= retainMs)
  }
}
