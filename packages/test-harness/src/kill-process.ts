import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** When the parent kills: after a time, or so soon after an event. */
export interface KillTrigger {
  readonly on: 'time' | 'checkpoint' | 'switch' | 'backup' | 'backup-end'
  readonly delayMs: number
  readonly skip: number
}

export interface KillProcessOptions {
  readonly directory: string
  readonly durability: 'os' | 'disk'
  readonly seed: number
  /** Number of the first operation. */
  readonly first: number
  /** Version behind which the change feed begins. */
  readonly fromVersion: number
  /** Where backups go. */
  readonly backups: string
  /** A file that fills the file system now and then. */
  readonly fillerPath: string | undefined
  readonly trigger: KillTrigger
}

/** A backup that was acknowledged: it holds all operations below `settled`, and none from `issued` on. */
export interface ToldBackup {
  readonly name: string
  readonly settled: number
  readonly issued: number
}

/** What the feed told of: a commit with a put, or that the history which was asked for is not kept any more. */
export type ToldChange = { readonly operation: number; readonly version: number } | 'expired'

/** All that a child told until its end. */
export interface KillReport {
  readonly lastAcknowledged: number
  readonly opened: boolean
  readonly inCheckpoint: boolean
  readonly inBackup: boolean
  readonly operationsSinceSwitch: number
  readonly checkpoints: number
  readonly segmentSwitches: number
  /** Operations that were refused because the file system was full. */
  readonly refusals: number
  readonly backups: readonly ToldBackup[]
  readonly changes: readonly ToldChange[]
}

/**
 * Takes lines as kill-child.ts tells them:
 *
 * ```
 * o            the database is open        a <n>                        operation n is acknowledged
 * c  e         a checkpoint begins, ends   n                            an operation met HOLT_NO_SPACE
 * s            another segment             B                            a backup begins
 * b <name> <settled> <issued>              it ended, see ToldBackup     N  it met HOLT_NO_SPACE
 * f <n> <version>                          the feed told of operation n
 * x                                        the feed could not go back as far as it was asked to
 * ```
 */
class Listener {
  lastAcknowledged = -1
  opened = false
  inCheckpoint = false
  inBackup = false
  operationsSinceSwitch = Infinity
  checkpoints = 0
  segmentSwitches = 0
  refusals = 0
  readonly backups: ToldBackup[] = []
  readonly changes: ToldChange[] = []
  readonly #meet: (event: KillTrigger['on']) => void

  constructor(meet: (event: KillTrigger['on']) => void) {
    this.#meet = meet
  }

  hear(line: string): void {
    const [kind, ...words] = line.split(' ')
    const numbers = words.map(Number)
    switch (kind) {
      case 'a':
        this.lastAcknowledged = Math.max(this.lastAcknowledged, numbers[0])
        this.operationsSinceSwitch++
        return
      case 'o':
        this.opened = true
        return
      case 'c':
        this.inCheckpoint = true
        this.checkpoints++
        this.#meet('checkpoint')
        return
      case 'e':
        this.inCheckpoint = false
        return
      case 's':
        this.operationsSinceSwitch = 0
        this.segmentSwitches++
        this.#meet('switch')
        return
      case 'n':
        this.refusals++
        return
      case 'B':
        this.inBackup = true
        this.#meet('backup')
        return
      case 'N':
        this.inBackup = false
        return
      case 'b':
        this.inBackup = false
        this.backups.push({ name: words[0], settled: numbers[1], issued: numbers[2] })
        this.#meet('backup-end')
        return
      case 'f':
        this.changes.push({ operation: numbers[0], version: numbers[1] })
        return
      case 'x':
        this.changes.push('expired')
        return
      default:
        throw new Error(`the child told '${line}'`)
    }
  }
}

/** Starts a child, kills it when the trigger says so, and returns all it has told until its end. */
export async function runKillProcess(options: KillProcessOptions): Promise<KillReport> {
  const { directory, durability, seed, first, fromVersion, backups, fillerPath, trigger } = options
  const args = [directory, durability, String(seed), String(first), String(fromVersion), backups]
  if (fillerPath !== undefined) args.push(fillerPath)
  // A group of its own: what the terminal sends is for us.
  const child = spawn(process.execPath, [childPath(), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const kill = (): void => {
    child.kill('SIGKILL')
  }
  let armed = false
  const arm = (delayMs: number): void => {
    if (armed) return
    armed = true
    if (delayMs === 0) kill()
    else setTimeout(kill, delayMs)
  }
  let skip = trigger.skip
  const listener = new Listener((event) => {
    if (trigger.on === event && skip-- <= 0) arm(trigger.delayMs)
  })
  if (trigger.on === 'time') arm(trigger.delayMs)
  // Whatever it waits for may never come.
  const patience = setTimeout(kill, 6_000)
  // Whoever ends us ends it, too.
  process.once('exit', kill)
  let rest = ''
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) listener.hear(line)
  })
  const [, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  process.removeListener('exit', kill)
  clearTimeout(patience)
  if (signal !== 'SIGKILL') throw new Error(`the child ended by itself: ${errors}`)
  return listener
}

/** The child runs what was built: workers and their entries are found there only. */
function childPath(): string {
  for (const place of ['./kill-child.js', '../dist/kill-child.js']) {
    const path = fileURLToPath(new URL(place, import.meta.url))
    if (existsSync(path)) return path
  }
  throw new Error('kill-child.js is not built; run the build of @holt/test-harness first')
}
