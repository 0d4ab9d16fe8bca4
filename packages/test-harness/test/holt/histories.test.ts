import { describe, expect, test } from 'vitest'

import { describeCounts, generateHistory, HistoryFailure, runCampaign, runHistory } from '../../src/index.js'

const COUNT = 200

describe('random histories of writes, checkpoints and crashes', () => {
  test(
    `show nothing but what the ordered map says (${String(COUNT)} histories)`,
    { timeout: 600_000 },
    async () => {
      const counts = await runCampaign({ count: COUNT, seed: 1 })
      console.log(describeCounts(counts))
      expect(counts.histories).toBe(COUNT)
      expect(counts.operations).toBeGreaterThanOrEqual(COUNT * 200)
      expect(counts.kills + counts.powerLosses).toBeGreaterThanOrEqual(COUNT * 3)
      expect(counts.subtrees).toBeGreaterThan(COUNT * 10)
      expect(counts.compactions).toBeGreaterThan(COUNT)
      expect(counts.vacuums).toBeGreaterThan(COUNT / 2)
      expect(counts.views).toBeGreaterThan(COUNT * 3)
      expect(counts.viewReads).toBeGreaterThan(COUNT * 3)
      expect(counts.snapshots).toBeGreaterThan(COUNT * 5)
      expect(counts.snapshotReads).toBeGreaterThan(COUNT * 3)
      expect(counts.heldFrames).toBeGreaterThan(COUNT)
      expect(counts.crashesAtACall).toBeGreaterThan(COUNT / 2)
      expect(counts.cutOffOpenings).toBeGreaterThan(COUNT / 5)
    },
  )

  test('are the same for the same seed', () => {
    expect(generateHistory(7)).toEqual(generateHistory(7))
    expect(generateHistory(7)).not.toEqual(generateHistory(8))
  })

  test('have 200 operations and three reopens at least', () => {
    for (let seed = 1; seed <= 50; seed++) {
      const { steps } = generateHistory(seed)
      const crashes = steps.filter((step) => step.kind === 'reopen' && step.crash !== 'close')
      expect(crashes.length).toBeGreaterThanOrEqual(3)
      const operations = steps.filter(({ kind }) => ['write', 'batch', 'get', 'scan', 'list'].includes(kind))
      expect(operations.length).toBeGreaterThanOrEqual(200)
    }
  })
})

describe('the history runner notices', () => {
  const seeds = Array.from({ length: 12 }, (_, i) => i + 1)

  test('a disk whose syncs do nothing', async () => {
    const outcomes = await Promise.allSettled(
      seeds.map((seed) => runHistory(generateHistory(seed, 'disk'), { lyingSyncs: true })),
    )
    const failures = outcomes.flatMap((outcome) =>
      outcome.status === 'rejected' ? [outcome.reason as unknown] : [],
    )
    expect(failures.length).toBeGreaterThan(3)
    expect(failures.every((failure) => failure instanceof HistoryFailure)).toBe(true)
  })

  test('a write that fails', async () => {
    const faults = [{ operation: ['write', 'writeDsync'], nth: 40, errno: 'EIO' }] as const
    const failure = await runHistory(generateHistory(1, 'disk'), { faults }).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(HistoryFailure)
    expect(String(failure)).toContain('history 1')
  })
})
