/** What repetitions of one call took, in milliseconds. The first is told apart: it runs code that was never run before. */
export interface Distribution {
  readonly first: number
  readonly median: number
  readonly p90: number
  readonly worst: number
}

/** Of two times or more; the first one counts only as first. */
export function distributionOf(times: readonly number[]): Distribution {
  const sorted = Float64Array.from(times.slice(1)).sort()
  if (sorted.length === 0) throw new Error('two repetitions or more are wanted')
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
  return { first: times[0], median: at(0.5), p90: at(0.9), worst: sorted[sorted.length - 1] }
}
