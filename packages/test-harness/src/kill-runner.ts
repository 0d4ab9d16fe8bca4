import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { open } from 'holt'

import { KILL_CHILD_OPTIONS, KILL_WINDOW } from './kill-options.js'
import { KILL_TREES, KillModel } from './kill-workload.js'
import { SeededRandom } from './seeded-random.js'

export interface KillOptions {
  readonly count: number
  readonly durability: 'os' | 'disk'
  readonly seed?: number
  /** Default a fresh directory beneath the system's temporary one, which is removed at the end. */
  readonly directory?: string
  readonly onProgress?: (done: number, counts: Readonly<KillCounts>) => void
}

export interface KillCounts {
  kills: number
  /** The last that was heard of a checkpoint is that it began. */
  duringCheckpoint: number
  /** At most {@link NEAR_SWITCH_OPERATIONS} operations after the journal went on in another segment. */
  aroundSegmentSwitch: number
  /** Before the child had opened the database. */
  duringOpen: number
  operations: number
  checkpoints: number
  segmentSwitches: number
  /** Operations that were not acknowledged and were there all the same. */
  beyondAcknowledged: number
}

/** Operations after a segment switch for which a kill counts as around it. */
export const NEAR_SWITCH_OPERATIONS = 100

/** When the parent kills: after a time, or so soon after an event. */
interface Trigger {
  readonly on: 'time' | 'checkpoint' | 'switch'
  readonly delayMs: number
  readonly skip: number
}

interface ChildReport {
  readonly lastAcknowledged: number
  readonly opened: boolean
  readonly inCheckpoint: boolean
  readonly operationsSinceSwitch: number
  readonly checkpoints: number
  readonly segmentSwitches: number
  readonly errors: string
}

/**
 * Kills a writing process again and again with SIGKILL and checks after each kill that every acknowledged write is
 * there, in order, and batches whole. Throws at the first that is not.
 */
export async function runKills(options: KillOptions): Promise<KillCounts> {
  const seed = options.seed ?? 1
  const random = new SeededRandom(seed)
  const model = new KillModel(seed)
  const base = options.directory ?? mkdtempSync(join(tmpdir(), 'holt-kills-'))
  const directory = join(base, 'db')
  const counts: KillCounts = {
    kills: 0,
    duringCheckpoint: 0,
    aroundSegmentSwitch: 0,
    duringOpen: 0,
    operations: 0,
    checkpoints: 0,
    segmentSwitches: 0,
    beyondAcknowledged: 0,
  }
  try {
    for (let kill = 1; kill <= options.count; kill++) {
      const trigger = drawTrigger(random)
      const report = await runChild(directory, options.durability, seed, model.operations, trigger)
      const acknowledged = Math.max(model.operations, report.lastAcknowledged + 1)
      // Half of the time the next child finds what the kill left, and a copy is looked at.
      const place = random.chance(0.5) ? directory : join(base, 'copy')
      if (place !== directory && existsSync(directory)) cpSync(directory, place, { recursive: true })
      const what = `kill ${String(kill)} of seed ${String(seed)} in '${options.durability}' mode (${JSON.stringify(trigger)})`
      if (existsSync(directory)) await check(place, options.durability, model, acknowledged, what)
      if (place !== directory) rmSync(place, { recursive: true, force: true })

      counts.kills++
      if (!report.opened) counts.duringOpen++
      if (report.inCheckpoint) counts.duringCheckpoint++
      if (report.operationsSinceSwitch <= NEAR_SWITCH_OPERATIONS) counts.aroundSegmentSwitch++
      counts.checkpoints += report.checkpoints
      counts.segmentSwitches += report.segmentSwitches
      counts.beyondAcknowledged += model.operations - acknowledged
      counts.operations = model.operations
      options.onProgress?.(kill, counts)
    }
    return counts
  } finally {
    if (options.directory === undefined) rmSync(base, { recursive: true, force: true })
  }
}

function drawTrigger(random: SeededRandom): Trigger {
  const on = random.pick(['time', 'checkpoint', 'checkpoint', 'checkpoint', 'switch', 'switch'] as const)
  if (on === 'time') return { on, delayMs: random.below(250), skip: 0 }
  if (on === 'checkpoint') return { on, delayMs: random.pick([0, 0, 0, 1, 2]), skip: random.below(5) }
  return { on, delayMs: 0, skip: random.below(3) }
}

/** Starts a child, kills it when the trigger says so, and returns all it has told until its end. */
async function runChild(
  directory: string,
  durability: 'os' | 'disk',
  seed: number,
  first: number,
  trigger: Trigger,
): Promise<ChildReport> {
  const args = [childPath(), directory, durability, String(seed), String(first)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let lastAcknowledged = -1
  let opened = false
  let inCheckpoint = false
  let operationsSinceSwitch = Infinity
  let checkpoints = 0
  let segmentSwitches = 0
  let skip = trigger.skip
  let rest = ''
  let errors = ''
  let armed = false
  const kill = (): void => {
    child.kill('SIGKILL')
  }
  const arm = (delayMs: number): void => {
    if (armed) return
    armed = true
    if (delayMs === 0) kill()
    else setTimeout(kill, delayMs)
  }
  const meet = (event: Trigger['on']): void => {
    if (trigger.on === event && skip-- <= 0) arm(trigger.delayMs)
  }
  if (trigger.on === 'time') arm(trigger.delayMs + 40)
  // Whatever it waits for may never come.
  const patience = setTimeout(kill, 20_000)
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (line.startsWith('a')) {
        lastAcknowledged = Math.max(lastAcknowledged, Number(line.slice(2)))
        operationsSinceSwitch++
      } else if (line === 'o') {
        opened = true
      } else if (line === 'c') {
        inCheckpoint = true
        checkpoints++
        meet('checkpoint')
      } else if (line === 'e') {
        inCheckpoint = false
      } else if (line === 's') {
        operationsSinceSwitch = 0
        segmentSwitches++
        meet('switch')
      }
    }
  })
  const [, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  clearTimeout(patience)
  if (signal !== 'SIGKILL') throw new Error(`the child ended by itself: ${errors}`)
  return {
    lastAcknowledged,
    opened,
    inCheckpoint,
    operationsSinceSwitch,
    checkpoints,
    segmentSwitches,
    errors,
  }
}

/** The child runs what was built: workers and their entries are found there only. */
function childPath(): string {
  for (const place of ['./kill-child.js', '../dist/kill-child.js']) {
    const path = fileURLToPath(new URL(place, import.meta.url))
    if (existsSync(path)) return path
  }
  throw new Error('kill-child.js is not built; run the build of @holt/test-harness first')
}

/** Opens what a kill left, and moves the model on to the state that it shows. */
async function check(
  directory: string,
  durability: 'os' | 'disk',
  model: KillModel,
  acknowledged: number,
  what: string,
): Promise<void> {
  const db = await open(directory, { ...KILL_CHILD_OPTIONS, durability })
  try {
    const found = await Promise.all(
      KILL_TREES.map(async (name) => {
        const tree = await db.tree(name)
        return new Map([...tree.scan()].map(({ key, value }) => [key, value]))
      }),
    )
    const problem = (await db.verify()).problems.at(0)
    if (problem) throw new Error(`${what}: verify finds: ${problem.what}`)
    while (model.operations < acknowledged) model.advance()
    const first = model.difference(found)
    let difference = first
    for (let more = 0; difference !== undefined && more < KILL_WINDOW; more++) {
      model.advance()
      difference = model.difference(found)
    }
    if (difference !== undefined) {
      throw new Error(
        `${what}: the database shows no state from ${String(acknowledged)} operations on, all of them acknowledged, ` +
          `to ${String(acknowledged + KILL_WINDOW)}: from the first it differs in that ${first ?? ''}; kept in ${directory}`,
      )
    }
  } finally {
    await db.close()
  }
}

/** The counts as lines of a report. */
export function describeKills(counts: KillCounts): string {
  return (
    `${String(counts.kills)} kills: ${String(counts.duringCheckpoint)} during a checkpoint, ` +
    `${String(counts.aroundSegmentSwitch)} around a segment switch, ${String(counts.duringOpen)} before the database was open\n` +
    `${String(counts.operations)} operations, ${String(counts.checkpoints)} checkpoints, ` +
    `${String(counts.segmentSwitches)} segment switches; ${String(counts.beyondAcknowledged)} operations found that were not acknowledged`
  )
}
