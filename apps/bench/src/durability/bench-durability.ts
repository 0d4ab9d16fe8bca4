/** What durability costs: the journal a put, checkpoints a writer under full load, and recovery its replay. */
import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { atLeast, atMost, formatNumber, type GroupResult, type ResultRow } from '../io/result.js'
import { medianOf } from '../io/rounds.js'
import type { Answer, Replay } from './child.js'
import { LOAD_SCENES, PUT_SCENES, type Scene, type WriterTurn } from './scenes.js'
import { type GroupRunOptions, runGroups } from '../run/group-run.js'

export interface DurabilityBenchOptions extends GroupRunOptions {
  readonly keys: number
  readonly rounds: number
  readonly seconds: number
}

/** Beside what was built of this file. */
const CHILD = fileURLToPath(new URL('./durability-child.js', import.meta.url))
/** Among few keys the processor's caches hold the tree, so that the difference of two puts is the journal's. */
const PUT_KEYS = 20_000
const PUT_TURN_MS = 250
const WARM_UP_MS = 1_500
const MOST_JOURNAL_NS = 250
const LEAST_SHARE = 0.9
const LEAST_RECORDS_PER_SECOND = 500_000

/** Prints three tables. */
export async function benchDurability(options: DurabilityBenchOptions): Promise<void> {
  await runGroups('durability', options, [options.keys], async (directory, keyCount) => [
    putTable(await takeTurns(directory, PUT_SCENES, PUT_KEYS, options.rounds, PUT_TURN_MS)),
    loadTable(
      keyCount,
      await takeTurns(directory, LOAD_SCENES, keyCount, options.rounds, options.seconds * 1_000),
    ),
    replayTable(await replays(join(directory, 'killed'), keyCount, options.rounds)),
  ])
}

/** The turns of every scene, each in a process and a store of its own, one after the other in changing order. */
async function takeTurns(
  directory: string,
  scenes: readonly Scene[],
  keyCount: number,
  rounds: number,
  turnMs: number,
): Promise<readonly (readonly WriterTurn[])[]> {
  const children: ChildProcess[] = []
  try {
    for (const [index, { name }] of scenes.entries()) {
      process.stderr.write(`durability: ${name}, filling\n`)
      const child = fork(CHILD, [
        'write',
        name,
        String(keyCount),
        join(directory, `${String(keyCount)}-${String(index)}`),
      ])
      children.push(child)
      await turnOf(child, WARM_UP_MS)
    }
    const turns = scenes.map((): WriterTurn[] => [])
    for (let round = 0; round < rounds; round++) {
      process.stderr.write(`durability: round ${String(round + 1)} of ${String(rounds)}\n`)
      for (let i = 0; i < scenes.length; i++) {
        const at = (i + round) % scenes.length
        turns[at].push(await turnOf(children[at], turnMs))
      }
    }
    return turns
  } finally {
    await Promise.all(children.map(ended))
  }
}

/** Replays of one store that was killed, each by a process that has replayed nothing before. */
async function replays(directory: string, keyCount: number, rounds: number): Promise<readonly Replay[]> {
  process.stderr.write('durability: filling a store that is killed\n')
  await replayOf(fork(CHILD, ['fill', String(keyCount), directory]))
  const found: Replay[] = []
  for (let round = 0; round < rounds; round++) {
    process.stderr.write(`durability: replay ${String(round + 1)} of ${String(rounds)}\n`)
    found.push(await replayOf(fork(CHILD, ['recover', String(keyCount), directory])))
  }
  return found
}

async function turnOf(child: ChildProcess, lengthMs: number): Promise<WriterTurn> {
  const answer = answerOf(child)
  child.send(lengthMs)
  const given = await answer
  if (!('turn' in given)) throw new Error('error' in given ? given.error : 'no turn was answered')
  return given.turn
}

/** Over when the process has died. */
async function replayOf(child: ChildProcess): Promise<Replay> {
  const died = new Promise((resolve) => child.once('exit', resolve))
  const given = await answerOf(child)
  await died
  if (!('replay' in given)) throw new Error('error' in given ? given.error : 'no replay was answered')
  return given.replay
}

function answerOf(child: ChildProcess): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const exited = (): void => {
      reject(new Error('a process that was measured ended without an answer'))
    }
    child.once('exit', exited)
    child.once('message', (message) => {
      child.off('exit', exited)
      resolve(message as Answer)
    })
  })
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) {
      resolve()
      return
    }
    child.once('exit', () => {
      resolve()
    })
    if (child.connected) child.disconnect()
  })
}

const threadNs = ({ threadMs, puts }: WriterTurn): number => (threadMs * 1e6) / puts
const processNs = ({ cpuMs, puts }: WriterTurn): number => (cpuMs * 1e6) / puts
const wallNs = ({ wallMs, puts }: WriterTurn): number => (wallMs * 1e6) / puts
const perSecond = ({ puts, wallMs }: WriterTurn): number => (puts * 1_000) / wallMs

function putTable(turns: readonly (readonly WriterTurn[])[]): GroupResult {
  return {
    group: 'put',
    title: `${formatNumber(PUT_KEYS)} keys, what the journal adds to a put: nanoseconds`,
    heads: ['thread', 'whole process', 'wall'],
    rows: PUT_SCENES.map(({ name, durability }, at): ResultRow => {
      // A scene with a journal stands behind the same one without.
      const added = turns[at].map(
        (turn, round) => threadNs(turn) - threadNs((turns[at - 1] ?? turns[at])[round]),
      )
      return {
        name,
        values: [threadNs, processNs, wallNs].map((of) => medianOf(turns[at].map(of))),
        bars: durability === 'os' ? [atMost('ns added to the thread', medianOf(added), MOST_JOURNAL_NS)] : [],
      }
    }),
    notes: ['CPU time of the thread that writes, and of all threads of the process.'],
  }
}

function loadTable(keyCount: number, turns: readonly (readonly WriterTurn[])[]): GroupResult {
  return {
    group: 'load',
    title: `${formatNumber(keyCount)} keys, puts under full load: a thousand awaited together`,
    heads: ['puts a second', 'checkpoints a turn'],
    rows: LOAD_SCENES.map(({ name, checkpoints }, at): ResultRow => ({
      name,
      values: [medianOf(turns[at].map(perSecond)), medianOf(turns[at].map((turn) => turn.checkpoints))],
      bars: checkpoints
        ? [
            atLeast(
              'of the throughput without',
              medianOf(turns[at].map((turn, round) => perSecond(turn) / perSecond(turns[at - 1][round]))),
              LEAST_SHARE,
            ),
          ]
        : [],
    })),
    notes: [],
  }
}

function replayTable(replayed: readonly Replay[]): GroupResult {
  const rate = medianOf(replayed.map(({ records, ms }) => (records * 1_000) / ms))
  return {
    group: 'replay',
    title: 'opening after kill -9: what the journal holds',
    heads: ['records', 'MB', 'ms', 'records a second'],
    rows: [
      {
        name: 'replay',
        values: [
          medianOf(replayed.map(({ records }) => records)),
          medianOf(replayed.map(({ bytes }) => bytes / 1e6)),
          medianOf(replayed.map(({ ms }) => ms)),
          rate,
        ],
        bars: [atLeast('records a second', rate, LEAST_RECORDS_PER_SECOND)],
      },
    ],
    notes: [],
  }
}
