/** The benchmark's command line; see `--help`. */
import { Command, InvalidArgumentError } from 'commander'

import { openHolt } from './holt-subject.js'
import { openMap } from './map-subject.js'
import { type Measurement, measure } from './measure.js'
import type { Subject } from './subject.js'

function positiveInteger(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError('a whole number above 0 is wanted')
  return value
}

const command = new Command('holt-bench')
  .description('Measures holt against a JS Map, in one process: medians, nanoseconds an operation.')
  .option('--count <keys>', 'how many keys', positiveInteger, 20_000)
  .option('--rounds <rounds>', 'how often each job is timed', positiveInteger, 7)
  .parse()
const { count, rounds } = command.opts<{ count: number; rounds: number }>()

const subjects: readonly (() => Promise<Subject> | Subject)[] = [openHolt, openMap]
const columns: { readonly name: string; readonly results: readonly Measurement[] }[] = []
for (const openSubject of subjects) {
  const subject = await openSubject()
  try {
    columns.push({ name: subject.name, results: await measure(subject, { keyCount: count, rounds }) })
  } finally {
    await subject.close()
  }
}

process.stdout.write(
  `${count.toLocaleString('en-US')} keys, medians of ${String(rounds)}, ns per operation\n\n`,
)
for (const [row, { job }] of columns[0].results.entries()) {
  const cells = columns.map(({ results }) =>
    Math.round(results[row].nanoseconds).toLocaleString('en-US').padStart(18),
  )
  process.stdout.write(`${job.padEnd(24)}${cells.join('')}\n`)
}
process.stdout.write(`${''.padEnd(24)}${columns.map(({ name }) => name.padStart(18)).join('')}\n`)
