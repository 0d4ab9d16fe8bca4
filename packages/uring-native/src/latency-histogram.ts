import type { LatencySummary } from './io.js'

/** Each power of two is cut into so many buckets, so a percentile is at most an eighth too high. */
const BUCKETS_PER_OCTAVE = 8
/** From 1/8 us to 2^30 us, a quarter of an hour; what is longer counts in the last bucket. */
const FIRST_OCTAVE = -3
const LAST_OCTAVE = 30
const BUCKETS = (LAST_OCTAVE - FIRST_OCTAVE) * BUCKETS_PER_OCTAVE

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

/** The exponent and the first bits of the fraction of a double are octave and bucket: no logarithm, no power. */
const double = new Float64Array(1)
const words = new Uint32Array(double.buffer)
const HIGH_WORD = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 1 : 0

function bucketOf(durationUs: number): number {
  if (!(durationUs > 2 ** FIRST_OCTAVE)) return 0
  double[0] = durationUs
  const high = words[HIGH_WORD]
  const bucket = ((high >>> 20) - 1023 - FIRST_OCTAVE) * BUCKETS_PER_OCTAVE + ((high >>> 17) & 7)
  return bucket < BUCKETS ? bucket : BUCKETS - 1
}

function upperEndUs(bucket: number): number {
  const octave = FIRST_OCTAVE + Math.floor(bucket / BUCKETS_PER_OCTAVE)
  return 2 ** octave * (1 + ((bucket % BUCKETS_PER_OCTAVE) + 1) / BUCKETS_PER_OCTAVE)
}
