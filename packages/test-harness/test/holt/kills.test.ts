import { expect, test } from 'vitest'

import { describeKills, runKills } from '../../src/index.js'

// The child is what was built: it starts threads, which sources cannot.
for (const durability of ['os', 'disk'] as const) {
  test(
    `'${durability}' mode: a killed process has lost no acknowledged write`,
    { timeout: 300_000 },
    async () => {
      const counts = await runKills({ count: 12, durability, seed: 11 })
      console.log(describeKills(counts))
      expect(counts.kills).toBe(12)
      expect(counts.operations).toBeGreaterThan(500)
      expect(counts.duringCheckpoint).toBeGreaterThan(0)
      expect(counts.segmentSwitches).toBeGreaterThan(0)
      expect(counts.changesTold).toBeGreaterThan(100)
      expect(counts.backups).toBeGreaterThan(0)
    },
  )
}
