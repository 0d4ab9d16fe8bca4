import { describe, expect, test } from 'vitest'

import { LatencyHistogram } from '../src/latency-histogram.js'

describe('LatencyHistogram', () => {
  test('of nothing is all zeros', () => {
    expect(Object.values(new LatencyHistogram().summary())).toEqual([0, 0, 0, 0, 0, 0, 0])
  })

  test('gives percentiles that are never too low and at most an eighth too high', () => {
    const histogram = new LatencyHistogram()
    for (let i = 1; i <= 10_000; i++) histogram.record(i)
    const { count, meanUs, p50Us, p90Us, p99Us, p999Us, maxUs } = histogram.summary()
    expect([count, meanUs, maxUs]).toEqual([10_000, 5000.5, 10_000])
    for (const [found, exact] of [
      [p50Us, 5000],
      [p90Us, 9000],
      [p99Us, 9900],
      [p999Us, 9990],
    ]) {
      expect(found).toBeGreaterThanOrEqual(exact)
      expect(found).toBeLessThanOrEqual(exact * 1.125)
    }
  })

  test('takes anything from nothing to hours', () => {
    const histogram = new LatencyHistogram()
    for (const value of [0, 1e-9, 1e10, 1e12]) histogram.record(value)
    expect(histogram.summary()).toMatchObject({ count: 4, maxUs: 1e12, p50Us: 0.140625 })
  })

  test('puts every value into the bucket it lies in, at the ends of buckets too', () => {
    const within = (fraction: number, octave: number): number => (1 + fraction) * 2 ** octave
    for (let octave = -3; octave < 30; octave++) {
      for (let eighth = 0; eighth < 8; eighth++) {
        const [lowest, upper] = [within(eighth / 8, octave), within((eighth + 1) / 8, octave)]
        for (const value of [lowest * (1 + Number.EPSILON), upper * (1 - Number.EPSILON)]) {
          const histogram = new LatencyHistogram()
          histogram.record(value)
          // So that the maximum does not cut the bucket off.
          histogram.record(2 ** 40)
          expect(histogram.summary().p50Us).toBe(upper)
        }
      }
    }
  })
})
