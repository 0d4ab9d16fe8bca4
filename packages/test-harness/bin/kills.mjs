#!/usr/bin/env node
// Kills a writing process on the real disk, and checks every acknowledged write after each kill.
//   kills.mjs [--count N] [--durability os|disk] [--seed S]
import { parseArgs } from 'node:util'

import { describeKills, runKills } from '../dist/index.js'

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    durability: { type: 'string' },
  },
})
const count = Number(values.count)
const seed = Number(values.seed)
const modes = values.durability === undefined ? ['os', 'disk'] : [values.durability]
if (!(count >= 1) || !Number.isInteger(seed) || !modes.every((mode) => mode === 'os' || mode === 'disk')) {
  console.error('usage: kills.mjs [--count N] [--durability os|disk] [--seed S]')
  process.exit(2)
}
for (const durability of modes) {
  try {
    const counts = await runKills({
      count,
      durability,
      seed,
      onProgress: (done) => {
        if (process.stdout.isTTY) process.stdout.write(`\r'${durability}' mode: ${done} of ${count} kills`)
      },
    })
    if (process.stdout.isTTY) process.stdout.write('\r')
    // So many of a hundred are asked for; few kills may miss them by chance.
    const enough = counts.duringCheckpoint >= count * 0.3 && counts.aroundSegmentSwitch >= count * 0.1
    if (count >= 100 && !enough) {
      process.exitCode = 1
      console.error('too few of the kills met a checkpoint or a segment switch')
    }
    console.log(`'${durability}' mode: no acknowledged write lost\n${describeKills(counts)}`)
  } catch (error) {
    console.error(error)
    console.error(
      `again: node packages/test-harness/bin/kills.mjs --count ${count} --seed ${seed} --durability ${durability}`,
    )
    process.exitCode = 1
  }
}
