import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { open } from 'holt'

import { KILL_CHILD_OPTIONS, KILL_WINDOW } from './kill-options.js'
import { type KillReport, type KillTrigger, runKillProcess, type ToldBackup } from './kill-process.js'
import { KILL_TREES, KillModel, puts } from './kill-workload.js'
import { SeededRandom } from './seeded-random.js'

export interface KillOptions {
  readonly count: number
  readonly durability: 'os' | 'disk'
  readonly seed?: number
  /** Default a fresh directory beneath the system's temporary one, which is removed at the end. */
  readonly directory?: string
  /** Have the file system of `directory` filled up again and again. It must be a small one of our own. */
  readonly fillUp?: boolean
  /** Ends the run after the kill under way. */
  readonly signal?: AbortSignal
  readonly onProgress?: (done: number, counts: Readonly<KillCounts>) => void
}

export interface KillCounts {
  kills: number
  /** The last that was heard of a checkpoint is that it began. */
  duringCheckpoint: number
  /** The same of a backup. */
  duringBackup: number
  /** At most {@link NEAR_SWITCH_OPERATIONS} operations after the journal went on in another segment. */
  aroundSegmentSwitch: number
  /** Before the child had opened the database. */
  duringOpen: number
  operations: number
  checkpoints: number
  segmentSwitches: number
  /** Operations that were not acknowledged and were there all the same. */
  beyondAcknowledged: number
  /** Backups that were acknowledged, opened afterwards and compared. */
  backups: number
  /** Commits that a change feed had told of, all of which were there, without a gap over the kills. */
  changesTold: number
  /** Feeds whose position was not kept any more. */
  feedsExpired: number
  /** Operations that were refused because the file system was full, and made again. */
  refusals: number
}

/** Operations after a segment switch for which a kill counts as around it. */
export const NEAR_SWITCH_OPERATIONS = 100

/**
 * Kills a writing process again and again with SIGKILL and checks after each kill that every acknowledged write is
 * there, in order, and batches whole; that what a change feed told is there, and that the next feed goes on behind it; and
 * that backups which were acknowledged open and hold what they should. Throws at the first that is not.
 */
export async function runKills(options: KillOptions): Promise<KillCounts> {
  const run = new KillRun(options)
  try {
    for (let kill = 1; kill <= options.count && options.signal?.aborted !== true; kill++) {
      await run.kill(kill)
      options.onProgress?.(kill, run.counts)
    }
    return run.counts
  } finally {
    run.clean()
  }
}

class KillRun {
  readonly counts: KillCounts = {
    kills: 0,
    duringCheckpoint: 0,
    duringBackup: 0,
    aroundSegmentSwitch: 0,
    duringOpen: 0,
    operations: 0,
    checkpoints: 0,
    segmentSwitches: 0,
    beyondAcknowledged: 0,
    backups: 0,
    changesTold: 0,
    feedsExpired: 0,
    refusals: 0,
  }
  readonly #options: KillOptions
  readonly #seed: number
  readonly #random: SeededRandom
  readonly #model: KillModel
  /** Beneath it the database and its backups; and a place for copies, which is not full. */
  readonly #base: string
  readonly #copies = mkdtempSync(join(tmpdir(), 'holt-kill-copies-'))
  /** What the feed told of last; undefined operation: it may begin anywhere. */
  #told: { readonly operation: number | undefined; readonly version: number } = { operation: -1, version: 0 }

  constructor(options: KillOptions) {
    this.#options = options
    this.#seed = options.seed ?? 1
    this.#random = new SeededRandom(this.#seed)
    this.#model = new KillModel(this.#seed)
    this.#base = options.directory ?? mkdtempSync(join(tmpdir(), 'holt-kills-'))
  }

  clean(): void {
    rmSync(this.#copies, { recursive: true, force: true })
    if (this.#options.directory === undefined) rmSync(this.#base, { recursive: true, force: true })
  }

  async kill(number: number): Promise<void> {
    const { durability, fillUp } = this.#options
    const trigger = drawTrigger(this.#random)
    const directory = join(this.#base, 'db')
    const backups = join(this.#base, 'backups')
    const fillerPath = fillUp === true ? join(this.#base, 'filler') : undefined
    mkdirSync(backups, { recursive: true })
    const report = await runKillProcess({
      directory,
      durability,
      seed: this.#seed,
      first: this.#model.operations,
      fromVersion: this.#told.version,
      backups,
      fillerPath,
      trigger,
    })
    if (fillerPath !== undefined) rmSync(fillerPath, { force: true })
    const what = `kill ${String(number)} of seed ${String(this.#seed)} in '${durability}' mode (${JSON.stringify(trigger)})`

    // One is enough: the last one was made beside the most.
    const backup = report.backups.at(-1)
    if (backup !== undefined) await this.#checkBackup(join(backups, backup.name), backup, what)
    rmSync(backups, { recursive: true, force: true })

    const told = this.#hearChanges(report, what)
    const acknowledged = Math.max(this.#model.operations, report.lastAcknowledged + 1, told + 1)
    if (existsSync(directory)) {
      // Half of the time the next child finds what the kill left, and a copy is looked at.
      const place = this.#random.chance(0.5) ? directory : join(this.#copies, 'copy')
      if (place !== directory) cpSync(directory, place, { recursive: true })
      await this.#check(place, acknowledged, what)
      if (place !== directory) rmSync(place, { recursive: true, force: true })
    }
    this.#count(report, acknowledged)
  }

  /** Sees that the feed told of every commit with a put, once. Returns the last operation it told of, or -1. */
  #hearChanges({ changes }: KillReport, what: string): number {
    let last = -1
    for (const change of changes) {
      if (change === 'expired') {
        this.counts.feedsExpired++
        this.#told = { operation: undefined, version: this.#told.version }
        continue
      }
      const { operation, version } = change
      const before = this.#told
      if (version <= before.version)
        throw new Error(`${what}: the feed told of version ${String(version)} again`)
      if (before.operation !== undefined) {
        for (let n = before.operation + 1; n < operation; n++)
          if (puts(this.#seed, n)) throw new Error(`${what}: the feed told nothing of operation ${String(n)}`)
        if (operation <= before.operation)
          throw new Error(`${what}: the feed told of operation ${String(operation)} again`)
      }
      this.#told = { operation, version }
      this.counts.changesTold++
      last = operation
    }
    return last
  }

  async #checkBackup(directory: string, backup: ToldBackup, what: string): Promise<void> {
    const model = this.#model.clone()
    while (model.operations < backup.settled) model.advance()
    await compare(directory, this.#options.durability, model, backup.issued, `${what}, backup ${backup.name}`)
    this.counts.backups++
  }

  /** Opens what a kill left, and moves the model on to the state that it shows. */
  async #check(directory: string, acknowledged: number, what: string): Promise<void> {
    while (this.#model.operations < acknowledged) this.#model.advance()
    const last = acknowledged + KILL_WINDOW
    await compare(directory, this.#options.durability, this.#model, last, `${what}, in ${directory}`)
  }

  #count(report: KillReport, acknowledged: number): void {
    const { counts } = this
    counts.kills++
    if (!report.opened) counts.duringOpen++
    if (report.inCheckpoint) counts.duringCheckpoint++
    if (report.inBackup) counts.duringBackup++
    if (report.operationsSinceSwitch <= NEAR_SWITCH_OPERATIONS) counts.aroundSegmentSwitch++
    counts.checkpoints += report.checkpoints
    counts.segmentSwitches += report.segmentSwitches
    counts.refusals += report.refusals
    counts.beyondAcknowledged += this.#model.operations - acknowledged
    counts.operations = this.#model.operations
  }
}

function drawTrigger(random: SeededRandom): KillTrigger {
  const on = random.pick([
    'time',
    'checkpoint',
    'checkpoint',
    'checkpoint',
    'switch',
    'switch',
    'backup',
    'backup-end',
  ] as const)
  if (on === 'time') return { on, delayMs: 40 + random.below(250), skip: 0 }
  if (on === 'checkpoint') return { on, delayMs: random.pick([0, 0, 0, 1, 2]), skip: random.below(5) }
  if (on === 'backup') return { on, delayMs: random.below(12), skip: random.below(2) }
  if (on === 'backup-end') return { on, delayMs: random.below(3), skip: 0 }
  return { on, delayMs: 0, skip: random.below(3) }
}

/** Opens a database and moves the model on to the state that it shows, at most to the one after `last` operations. */
async function compare(
  directory: string,
  durability: 'os' | 'disk',
  model: KillModel,
  last: number,
  what: string,
): Promise<void> {
  const checkpoint = { ...KILL_CHILD_OPTIONS.checkpoint, thread: false }
  const db = await open(directory, { ...KILL_CHILD_OPTIONS, checkpoint, durability })
  try {
    const found = await Promise.all(
      KILL_TREES.map(async (name) => {
        const tree = await db.tree(name)
        return new Map([...tree.scan()].map(({ key, value }) => [key, value]))
      }),
    )
    const problem = (await db.verify()).problems.at(0)
    if (problem) throw new Error(`${what}: verify finds: ${problem.what}`)
    const least = model.operations
    const first = model.difference(found)
    let difference = first
    while (difference !== undefined && model.operations < last) {
      model.advance()
      difference = model.difference(found)
    }
    if (difference !== undefined) {
      throw new Error(
        `${what}: the database shows no state from ${String(least)} operations on to ${String(last)}: ` +
          `from the first it differs in that ${first ?? ''}`,
      )
    }
  } finally {
    await db.close()
  }
}

/** The counts as lines of a report. */
export function describeKills(counts: KillCounts): string {
  const say = (count: number, what: string): string => `${count.toLocaleString('en')} ${what}`
  return [
    `${say(counts.kills, 'kills')}: ${say(counts.duringCheckpoint, 'during a checkpoint')}, ` +
      `${say(counts.aroundSegmentSwitch, 'around a segment switch')}, ${say(counts.duringBackup, 'during a backup')}, ` +
      say(counts.duringOpen, 'before the database was open'),
    `${say(counts.operations, 'operations')}, ${say(counts.checkpoints, 'checkpoints')}, ` +
      `${say(counts.segmentSwitches, 'segment switches')}; ` +
      say(counts.beyondAcknowledged, 'operations found that were not acknowledged'),
    `${say(counts.changesTold, 'commits told by feeds')} (${say(counts.feedsExpired, 'positions expired')}), ` +
      `${say(counts.backups, 'backups opened and compared')}, ${say(counts.refusals, 'operations refused for want of space')}`,
  ].join('\n')
}
