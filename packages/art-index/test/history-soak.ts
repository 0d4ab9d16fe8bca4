import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { HistoryDifference, OPERATIONS_PER_HISTORY, playGenerated } from './history-generation.js'
import { type HistoryCounts, noCounts } from './history-player.js'
import { describeHistory, playHistory, shrinkHistory } from './history-shrinking.js'

/*
 * Plays the histories of `count` seeds: seed, seed + step, and so on. Prints a line now and then, and one at the end:
 * the last seed it finished is where another run goes on. A failure is shrunk and printed. Started by scripts/soak.mjs.
 */
const { values } = parseArgs({
  options: { seed: { type: 'string' }, step: { type: 'string' }, count: { type: 'string' } },
})
const first = Number(values.seed)
const step = Number(values.step ?? 1)
const count = Number(values.count ?? 1)
if (![first, step, count].every((number) => Number.isInteger(number) && number >= 0)) {
  process.stderr.write('usage: history-soak --seed N [--step N] [--count N]\n')
  process.exit(2)
}

const SECONDS_BETWEEN_LINES = 20
const HISTORIES_BETWEEN_COLLECTIONS = 5
// The collector does not see what shared memory weighs.
setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const total = noCounts()
let told = performance.now()
for (let i = 0; i < count; i++) {
  const seed = first + i * step
  try {
    const { counts } = playGenerated(seed)
    for (const name of Object.keys(total) as (keyof HistoryCounts)[]) total[name] += counts[name]
  } catch (error) {
    if (!(error instanceof HistoryDifference)) throw error
    process.stdout.write(
      `${error.stack ?? error.message}\n${String(error.cause instanceof Error ? error.cause.stack : '')}\n`,
    )
    process.stdout.write(`shrinking ${String(error.history.operations.length)} operations\n`)
    let played = 0
    const small = shrinkHistory(error.history, (history) => {
      if (played++ % HISTORIES_BETWEEN_COLLECTIONS === 0) collectGarbage()
      return playHistory(history)
    })
    process.stdout.write(`${describeHistory(small)}\nfails with: ${playHistory(small) ?? 'nothing'}\n`)
    process.stdout.write(
      `again: npm run soak -- index --seed ${String(seed)} --operations ${String(OPERATIONS_PER_HISTORY)}\n`,
    )
    process.exit(1)
  }
  if (i % HISTORIES_BETWEEN_COLLECTIONS === 0) collectGarbage()
  if (performance.now() - told > SECONDS_BETWEEN_LINES * 1_000 || i === count - 1) {
    told = performance.now()
    process.stdout.write(`${String(total.operations)} operations, finished seed ${String(seed)}\n`)
  }
}
process.stdout.write(`${JSON.stringify(total)}\n`)
