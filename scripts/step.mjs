import { spawn } from 'node:child_process'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * @typedef {{ readonly exitCode: number, readonly output: string, readonly timedOut: boolean }} CommandResult
 * @typedef {{ readonly note?: string, readonly ok: boolean, readonly output?: string }} StepOutcome
 */

/** @type {Set<{ readonly interrupt: (signal: NodeJS.Signals) => void }>} */
const running = new Set()
let interrupted = false
let interruptedAtMs = 0

/** The signals a terminal or a CI runner ends us with, and the exit code a shell gives for them. */
const EXIT_CODE_BY_SIGNAL = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }

for (const [signal, exitCode] of Object.entries(EXIT_CODE_BY_SIGNAL)) {
  process.on(signal, () => {
    // Ctrl-C reaches the whole group, and npm passes it on once more: only a later one means impatience.
    const nowMs = Date.now()
    if (running.size === 0 || (interrupted && nowMs - interruptedAtMs > 1000)) process.exit(exitCode)
    if (interrupted) return
    interrupted = true
    interruptedAtMs = nowMs
    process.exitCode = exitCode
    for (const child of running) child.interrupt(signal)
  })
}

/** Whether a signal has asked us to stop. */
export function isInterrupted() {
  return interrupted
}

const BINARIES = join(fileURLToPath(new URL('..', import.meta.url)), 'node_modules', '.bin')

/** The environment of every command: ours, with the locked tools first (turbo looks for pnpm there), and nobody phones home. */
function commandEnvironment() {
  return {
    ...process.env,
    PATH: `${BINARIES}${delimiter}${process.env.PATH ?? ''}`,
    TURBO_TELEMETRY_DISABLED: '1',
    DO_NOT_TRACK: '1',
    TURBO_NO_UPDATE_NOTIFIER: '1',
  }
}

/**
 * @param {number} groupId
 * @param {NodeJS.Signals} signal
 */
function killGroup(groupId, signal) {
  try {
    process.kill(-groupId, signal)
  } catch (error) {
    // It ended by itself meanwhile.
    if (error.code !== 'ESRCH') throw error
  }
}

/**
 * @typedef {{
 *   readonly cwd: string
 *   readonly inherit?: boolean
 *   readonly env?: Readonly<Record<string, string>>
 *   readonly timeLimitMs?: number
 * }} RunOptions
 */

/**
 * Runs a command to its end and keeps what it prints; with `inherit` it prints to our own terminal instead. What has not
 * ended after `timeLimitMs` is killed, with all it started.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions} options
 * @returns {Promise<CommandResult>}
 */
export function run(command, args, options) {
  return new Promise((resolve) => {
    const isWindows = process.platform === 'win32'
    // What prints to us gets a process group of its own, so that a signal reaches its own children too, and reaches them
    // once. What prints to the terminal stays in the terminal's group, which Ctrl-C goes to.
    const ownGroup = !options.inherit && !isWindows
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...commandEnvironment(), ...options.env },
      stdio: options.inherit ? 'inherit' : ['ignore', 'pipe', 'pipe'],
      detached: ownGroup,
      // npx is a .cmd file on Windows, which only a shell starts.
      shell: isWindows && command === 'npx',
    })
    const task = {
      interrupt: (signal) => {
        if (!ownGroup && (signal !== 'SIGINT' || !process.stdin.isTTY)) child.kill(signal)
        else if (ownGroup && child.pid !== undefined) killGroup(child.pid, signal)
      },
    }
    running.add(task)
    let timedOut = false
    const timer =
      options.timeLimitMs === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true
            if (ownGroup && child.pid !== undefined) killGroup(child.pid, 'SIGKILL')
            else child.kill('SIGKILL')
          }, options.timeLimitMs)
    /** @type {Buffer[]} */
    const chunks = []
    child.stdout?.on('data', (chunk) => chunks.push(chunk))
    child.stderr?.on('data', (chunk) => chunks.push(chunk))
    const finish = (exitCode, extra) => {
      clearTimeout(timer)
      running.delete(task)
      resolve({ exitCode, output: Buffer.concat(chunks).toString('utf8') + extra, timedOut })
    }
    child.on('error', (error) => finish(127, `${command}: ${error.message}\n`))
    child.on('close', (code, signal) => finish(code ?? EXIT_CODE_BY_SIGNAL[signal] ?? 1, ''))
  })
}

/**
 * One step of a script as one line: `✓ dependencies 8.1 s`, or `✗` and everything the step printed.
 * @param {string} name
 * @param {() => Promise<StepOutcome>} action
 * @returns {Promise<boolean>} whether it went well
 */
export async function step(name, action) {
  const isTerminal = process.stdout.isTTY === true
  if (isTerminal) process.stdout.write(`… ${name}`)
  const startedMs = Date.now()
  const outcome = await action()
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(1)
  if (isTerminal) process.stdout.write('\r\u001b[2K')
  if (interrupted) {
    process.stdout.write(`✗ ${name}: interrupted\n`)
    process.exit()
  }
  const note = outcome.note === undefined ? '' : ` (${outcome.note})`
  process.stdout.write(`${outcome.ok ? '✓' : '✗'} ${name} ${seconds} s${note}\n`)
  if (!outcome.ok && outcome.output !== undefined) process.stdout.write(`${outcome.output.trimEnd()}\n`)
  return outcome.ok
}
