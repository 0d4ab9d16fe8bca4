/** A bulk load beside the same entries put a thousand at a time, both until they are part of a durable image. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

import { atLeast, formatNumber, type GroupResult, type ResultRow } from '../io/result.js'
import { cpuMicrosEach, medianOf, medianRatio, type Turn } from '../io/rounds.js'
import type { Answer } from './child.js'
import { WAYS } from './ways.js'
import { type GroupRunOptions, runGroups } from '../run/group-run.js'

export interface BulkBenchOptions extends GroupRunOptions {
  readonly keys: readonly number[]
  readonly rounds: number
}

/** Beside what was built of this file. */
const CHILD = fileURLToPath(new URL('./bulk-child.js', import.meta.url))

/** Prints a table for each number of keys. */
export async function benchBulk(options: BulkBenchOptions): Promise<void> {
  await runGroups('bulk', options, options.keys, async (directory, keyCount) => [
    tableOf(keyCount, await measureAt(directory, keyCount, options.rounds)),
  ])
}

/** The turns of every way, in the order of {@link WAYS}, each in a process of its own. */
async function measureAt(directory: string, keyCount: number, rounds: number): Promise<readonly Turn[][]> {
  const say = (text: string): void => void process.stderr.write(`bulk ${String(keyCount)}: ${text}\n`)
  const children = WAYS.map((_, way) =>
    fork(CHILD, [String(way), String(keyCount), directory], { execArgv: ['--expose-gc'] }),
  )
  try {
    say('checking')
    for (const child of children) await turnOf(child)
    const turns = WAYS.map((): Turn[] => [])
    for (let round = 0; round < rounds; round++) {
      say(`round ${String(round + 1)} of ${String(rounds)}`)
      for (let i = 0; i < WAYS.length; i++) {
        // In changing order, so that none always comes behind the same one.
        const way = (i + round) % WAYS.length
        turns[way].push(await turnOf(children[way]))
      }
    }
    return turns
  } finally {
    for (const child of children) if (child.connected) child.disconnect()
  }
}

function turnOf(child: ChildProcess): Promise<Turn> {
  return new Promise((resolve, reject) => {
    const exited = (): void => {
      reject(new Error('a process that was measured ended before its turn did'))
    }
    child.once('exit', exited)
    child.once('message', (message) => {
      child.off('exit', exited)
      const answer = message as Answer
      if ('turn' in answer) resolve(answer.turn)
      else reject(new Error(answer.error))
    })
    child.send('turn')
  })
}

function tableOf(keyCount: number, turns: readonly (readonly Turn[])[]): GroupResult {
  const rows = WAYS.map(({ name, bar }, way): ResultRow => ({
    name,
    values: [
      1_000 * medianOf(turns[way].map(cpuMicrosEach)),
      1_000 * medianOf(turns[way].map(wallMicrosEach)),
    ],
    bars:
      bar === undefined
        ? []
        : [
            atLeast(
              `× cheaper than ${WAYS[bar.against].name}, CPU`,
              medianRatio(turns[bar.against], turns[way], (left, right) => left.cpuMicros / right.cpuMicros),
              bar.times,
            ),
          ],
  }))
  return {
    group: 'bulk',
    title: `${formatNumber(keyCount)} keys until a checkpoint has them: nanoseconds per key`,
    heads: ['CPU, median', 'wall, median'],
    rows,
    notes: [],
  }
}

const wallMicrosEach = ({ wallMs, operations }: Turn): number => (wallMs * 1_000) / operations
