import { describe, expect, test } from 'vitest'

import { distributionOf } from '../src/flat/distribution.js'
import { ThreadClock } from '../src/run/thread-clock.js'

describe('a distribution', () => {
  test('tells the first time apart, and takes the others by rank', () => {
    const times = [90, ...Array.from({ length: 100 }, (_, i) => 100 - i)]
    expect(distributionOf(times)).toEqual({ first: 90, median: 51, p90: 91, worst: 100 })
  })

  test('of one time is none', () => {
    expect(() => distributionOf([1])).toThrow('two repetitions')
  })
})

describe('a clock of the thread', () => {
  test('counts what the thread computes, and no sleep', async () => {
    const clock = new ThreadClock()
    const before = clock.now()
    while (clock.now().cpuMs - before.cpuMs < 20);
    const computed = clock.now()
    expect(computed.wallMs - before.wallMs).toBeGreaterThanOrEqual(19)
    await new Promise((resolve) => setTimeout(resolve, 200))
    const slept = clock.now()
    clock.close()
    expect(slept.wallMs - computed.wallMs).toBeGreaterThanOrEqual(199)
    expect(slept.cpuMs - computed.cpuMs).toBeLessThan(150)
    expect(slept.waitedMs).toBeGreaterThanOrEqual(computed.waitedMs)
  })
})
