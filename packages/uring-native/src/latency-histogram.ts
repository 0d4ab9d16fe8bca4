import type { LatencySummary } from './io.js'

/** Each power of two is cut into so many buckets, so a percentile is at most an eighth too high. */
const BUCKETS_PER_OCTAVE = 8
/** From 1/8 us to 2^30 us, a quarter of an hour; what is longer counts in the last bucket. */
const FIRST_OCTAVE = -3
const LAST_OCTAVE = 30
const SHORTEST_US = 2 ** FIRST_OCTAVE
const BUCKETS = (LAST_OCTAVE - FIRST_OCTAVE) * BUCKETS_PER_OCTAVE

const DOUBLE = Float64Array.of(1)
const HALVES = new Uint32Array(DOUBLE.buffer)
const UPPER_HALF = HALVES[1] === 0 ? 0 : 1
/** Of the upper half: 1 bit sign, 11 bits exponent (1023 is octave 0), 20 bits of the fraction. */
const BUCKET_SHIFT = 20 - Math.log2(BUCKETS_PER_OCTAVE)
const FIRST_BUCKET = (1023 + FIRST_OCTAVE) * BUCKETS_PER_OCTAVE

/** How long operations took, in buckets that grow with the value: constant memory, a few nanoseconds a record. */
export class LatencyHistogram {
  readonly #counts = new Float64Array(BUCKETS)
  #count = 0
  #totalUs = 0
  #maxUs = 0

  record(durationUs: number): void {
    this.#count++
    this.#totalUs += durationUs
    if (durationUs > this.#maxUs) this.#maxUs = durationUs
    this.#counts[bucketOf(durationUs)]++
  }

  summary(): LatencySummary {
    return {
      count: this.#count,
      meanUs: this.#count === 0 ? 0 : this.#totalUs / this.#count,
      p50Us: this.#percentileUs(0.5),
      p90Us: this.#percentileUs(0.9),
      p99Us: this.#percentileUs(0.99),
      p999Us: this.#percentileUs(0.999),
      maxUs: this.#maxUs,
    }
  }

  /** The upper end of the bucket in which the value of this rank lies; never above the maximum. */
  #percentileUs(fraction: number): number {
    const rank = Math.ceil(this.#count * fraction)
    let seen = 0
    for (let bucket = 0; bucket < BUCKETS && rank > 0; bucket++) {
      seen += this.#counts[bucket]
      if (seen >= rank) return Math.min(this.#maxUs, upperEndUs(bucket))
    }
    return 0
  }
}

/**
 * The bucket by the bits of a double: its exponent is the octave, the three bits below that are the place in it. A
 * power or a logarithm would cost ten times as much as the rest of a record.
 */
function bucketOf(durationUs: number): number {
  if (!(durationUs > SHORTEST_US)) return 0
  DOUBLE[0] = durationUs
  return Math.min(BUCKETS - 1, (HALVES[UPPER_HALF] >>> BUCKET_SHIFT) - FIRST_BUCKET)
}

function upperEndUs(bucket: number): number {
  const octave = FIRST_OCTAVE + Math.floor(bucket / BUCKETS_PER_OCTAVE)
  return 2 ** octave * (1 + ((bucket % BUCKETS_PER_OCTAVE) + 1) / BUCKETS_PER_OCTAVE)
}
