/** The demo's command line; see `--help`. */
import { Command, Option } from 'commander'
import type { Durability } from 'holt'

import { runDemo } from './run.js'

interface Flags {
  readonly crash: boolean
  readonly check: boolean
  readonly db?: string
  readonly keep: boolean
  readonly durability: Durability
}

const EXIT_BY_SIGNAL: Readonly<Record<string, number>> = { SIGINT: 130, SIGTERM: 143 }

const command = new Command('holt-demo')
  .description(
    'Indexes a directory tree in holt, lists it like an object store, looks paths up and says what it cost.',
  )
  .argument('[directory]', 'the tree to index; it is only read', '/usr')
  .option(
    '--crash',
    'index in a child process, kill it with SIGKILL half-way, reopen, prove that nothing is lost',
    false,
  )
  .option('--check', 'exit with 1 below 100,000 files/s indexed or above 50 µs a directory listed', false)
  .option(
    '--db <directory>',
    'where to put the database (default: a temporary directory, removed at the end)',
  )
  .option('--keep', 'keep the temporary directory', false)
  .addOption(
    new Option('--durability <mode>', 'what an acknowledged write survives')
      .choices(['memory', 'os', 'disk'])
      .default('os'),
  )

command.parse()
const flags = command.opts<Flags>()
const [root = '/usr'] = command.processedArgs as readonly string[]

const interruption = new AbortController()
for (const signal of Object.keys(EXIT_BY_SIGNAL)) {
  process.on(signal, () => {
    interruption.abort(new Error(signal))
  })
}

try {
  process.exitCode = await runDemo({
    root,
    durability: flags.durability,
    crash: flags.crash,
    check: flags.check,
    databaseDirectory: flags.db,
    keep: flags.keep,
    signal: interruption.signal,
  })
} catch (error) {
  const interruptedBy = interruption.signal.aborted
    ? (interruption.signal.reason as Error).message
    : undefined
  process.exitCode = interruptedBy === undefined ? 1 : (EXIT_BY_SIGNAL[interruptedBy] ?? 1)
  const reason = error instanceof Error ? error.message : String(error)
  process.stderr.write(
    interruptedBy === undefined ? `holt-demo: ${reason}\n` : `\ninterrupted; everything is cleaned up\n`,
  )
}
