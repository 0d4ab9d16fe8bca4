import { describe, expect, it } from 'vitest'
import { TurnGuard } from '../src/turn-guard.js'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('TurnGuard', () => {
  it('hands out one settled promise while the loop turns', () => {
    const guard = new TurnGuard({ nowMs: () => 0 })
    const first = guard.settled()
    for (let i = 0; i < 1_000; i++) expect(guard.settled()).toBe(first)
  })

  it('lets the event loop turn when a loop of awaits has lasted too long', async () => {
    let now = 0
    const guard = new TurnGuard({ nowMs: () => now })
    const loop = { turned: false }
    setImmediate(() => {
      loop.turned = true
    })
    let calls = 0
    while (!loop.turned && calls < 100_000) {
      now += 0.01
      calls += 1
      await guard.settled()
    }
    expect(loop.turned).toBe(true)
    expect(calls).toBeLessThan(2_000)
  })

  it('begins to count anew after a turn', async () => {
    let now = 0
    const guard = new TurnGuard({ nowMs: () => now })
    const settled = guard.settled()
    now = 100
    await turn()
    for (let i = 0; i < 1_000; i++) expect(guard.settled()).toBe(settled)
  })
})
