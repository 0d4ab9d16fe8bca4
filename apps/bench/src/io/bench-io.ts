import { openIo } from '@holt/uring-native'

import { dsyncAppends } from './dsync-appends.js'
import { checksums, leases } from './in-memory.js'
import { largeWrites } from './large-writes.js'
import { describeMachine, renderMachine } from './machine.js'
import { randomReads } from './random-reads.js'
import { renderGroup } from './result.js'
import type { GroupResult } from './result.js'
import { makeTestFile, makeWorkDirectory } from './test-file.js'

export interface IoBenchOptions {
  readonly rounds: number
  readonly roundMs: number
  readonly mib: number
  readonly directory?: string
  readonly only?: readonly string[]
  readonly json?: boolean
  readonly check?: boolean
}

interface Place {
  readonly directory: string
  readonly sizeBytes: number
  /** Made at the first call. */
  readonly file: () => Promise<string>
}

type Measure = (place: Place, options: IoBenchOptions) => Promise<GroupResult>

const GROUPS: Readonly<Record<string, Measure>> = {
  reads: async ({ file, sizeBytes }, pace) => randomReads(await file(), sizeBytes, pace),
  writes: async ({ file, sizeBytes }, pace) => largeWrites(await file(), sizeBytes, pace),
  appends: ({ directory }, pace) => dsyncAppends(directory, pace),
  checksum: (_, pace) => checksums(pace),
  leases: (_, pace) => leases(pace),
}

export const GROUP_NAMES: readonly string[] = Object.keys(GROUPS)

/** Why there is nothing to measure here, or undefined. */
async function whyNoUring(): Promise<string | undefined> {
  const io = openIo({ prefer: 'uring' })
  const { kind, fallbackReason } = io
  await io.dispose()
  return kind === 'uring' ? undefined : (fallbackReason ?? 'no reason given')
}

/** Measures, prints tables (or JSON) and which bars were reached; with `check` a missed one is exit code 1. */
export async function benchIo(options: IoBenchOptions): Promise<void> {
  const names = options.only ?? GROUP_NAMES
  const unknown = names.filter((name) => !GROUP_NAMES.includes(name))
  if (unknown.length > 0) {
    process.stderr.write(`no group is called ${unknown.join(', ')}; there are ${GROUP_NAMES.join(', ')}\n`)
    process.exitCode = 2
    return
  }
  const missing = await whyNoUring()
  if (missing !== undefined) {
    process.stderr.write(`there is no io_uring to measure: ${missing}\n`)
    process.exitCode = 2
    return
  }

  const directory = makeWorkDirectory(options.directory)
  const sizeBytes = options.mib * 2 ** 20
  let made: Promise<string> | undefined
  const place: Place = { directory, sizeBytes, file: () => (made ??= makeTestFile(directory, sizeBytes)) }
  const machine = describeMachine(directory)
  const say = (text: string): void => {
    if (options.json !== true) process.stdout.write(`${text}\n`)
  }

  say(`${renderMachine(machine)}\n`)
  say(
    `Medians of ${String(options.rounds)} rounds in turns of ${String(options.roundMs)} ms, ` +
      `file of ${String(options.mib)} MiB.\n`,
  )
  const results: GroupResult[] = []
  for (const name of names) {
    const result = await GROUPS[name](place, options)
    results.push(result)
    say(renderGroup(result))
  }

  const bars = results.flatMap(({ rows }) => rows.flatMap((row) => row.bars))
  const missed = bars.filter(({ reached }) => !reached).length
  say(`${String(bars.length - missed)} bars reached, ${String(missed)} missed`)
  if (options.json === true) {
    const { rounds, roundMs, mib } = options
    process.stdout.write(`${JSON.stringify({ machine, rounds, roundMs, mib, results }, undefined, 2)}\n`)
  }
  if (options.check === true && missed > 0) process.exitCode = 1
}
