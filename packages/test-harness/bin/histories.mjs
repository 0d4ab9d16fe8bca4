#!/usr/bin/env node
// Random histories of writes and crashes on a simulated disk, each compared with an ordered map.
//   histories.mjs [--count N] [--seed S] [--durability os|disk]
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import { describeCounts, HistoryFailure, runCampaign } from '../dist/index.js'

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '300' },
    seed: { type: 'string', default: '1' },
    durability: { type: 'string' },
  },
})
const count = Number(values.count)
const seed = Number(values.seed)
const { durability } = values
if (!(count >= 1) || !Number.isInteger(seed) || ![undefined, 'os', 'disk'].includes(durability)) {
  console.error('usage: histories.mjs [--count N] [--seed S] [--durability os|disk]')
  process.exit(2)
}
// The collector does not see what shared memory weighs: without being asked it would let thousands of slabs pile up.
setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc')
const HISTORIES_BETWEEN_COLLECTIONS = 10

const showProgress = process.stdout.isTTY
const begun = performance.now()
try {
  const counts = await runCampaign({
    count,
    seed,
    ...(durability && { durability }),
    onProgress: (done) => {
      if (done % HISTORIES_BETWEEN_COLLECTIONS === 0) collectGarbage()
      if (showProgress) process.stdout.write(`\r${done} of ${count} histories`)
      else if (done % 500 === 0) console.log(`${done} of ${count} histories`)
    },
  })
  if (showProgress) process.stdout.write('\r')
  console.log(describeCounts(counts))
  console.log(`no difference, in ${((performance.now() - begun) / 1000).toFixed(0)} s`)
} catch (error) {
  console.error(error)
  if (error instanceof HistoryFailure) {
    const mode = durability ? ` --durability ${durability}` : ''
    console.error(
      `replay: node packages/test-harness/bin/histories.mjs --count 1 --seed ${error.seed}${mode}`,
    )
  }
  // What the history left waiting must not hold the process.
  process.exit(1)
}
