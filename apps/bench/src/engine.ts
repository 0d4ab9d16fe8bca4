import { openHolt } from './holt-subject.js'
import { openMap } from './map-subject.js'
import { type Measurement, measure } from './measure.js'
import type { Subject } from './subject.js'

export interface EngineBenchOptions {
  readonly count: number
  readonly rounds: number
}

/** Measures holt against a JS Map and prints the table. */
export async function benchEngine({ count, rounds }: EngineBenchOptions): Promise<void> {
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
}
