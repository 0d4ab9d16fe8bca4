import { expect, test } from 'vitest'

import { describeCounts, runCampaign } from '../../src/history-campaign.js'

const COUNT = Number(process.env['HISTORIES'] ?? 20)
const SEED = Number(process.env['SEED'] ?? 1)

test(
  `${String(COUNT)} random histories of crashes show what the oracle says`,
  { timeout: 600_000 },
  async () => {
    const counts = await runCampaign({ count: COUNT, seed: SEED })
    console.log(describeCounts(counts))
    expect(counts.histories).toBe(COUNT)
  },
)
