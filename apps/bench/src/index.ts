/** The benchmark's command line; see `--help`. */
import { Command } from 'commander'

import { type BulkBenchOptions, benchBulk } from './bulk/bench-bulk.js'
import { type ColdBenchOptions, benchCold } from './cold/bench-cold.js'
import { keyCounts, positiveInteger, positiveNumber, share, someOf, workloads } from './commands/arguments.js'
import { type CheckOptions, checkAgainstBaseline } from './commands/check.js'
import { installRivals } from './commands/install.js'
import { benchRivals, type RivalsOptions } from './commands/rivals.js'
import { benchDurability, type DurabilityBenchOptions } from './durability/bench-durability.js'
import { benchFlat, type FlatBenchOptions } from './flat/bench-flat.js'
import { GROUP_NAMES, benchIo } from './io/bench-io.js'
import type { IoBenchOptions } from './io/bench-io.js'
import { OPERATIONS } from './operations/catalog.js'
import { benchShared, type SharedBenchOptions } from './shared/bench-shared.js'
import { STORE_KINDS } from './stores/catalog.js'

const OPERATION_NAMES = OPERATIONS.map(({ name }) => name)
const STORE_NAMES = STORE_KINDS.map(({ name }) => name)

const program = new Command('holt-bench')

program
  .command('rivals', { isDefault: true })
  .description(
    'Measures holt beside other engines, each in a process of its own, in turns; a table and a chart.',
  )
  .option('--keys <counts>', 'how many keys: 20k,500k,2m', keyCounts, [20_000])
  .option('--workload <names>', 'objstore, fs, kv, paths, or all', workloads, ['objstore'])
  .option('--quick', 'short turns, few rounds')
  .option('--rounds <rounds>', 'how often each is timed', positiveInteger)
  .option('--turn-ms <ms>', 'how long each turn lasts', positiveInteger)
  .option('--only <operations>', `of ${OPERATION_NAMES.join(', ')}: these`, someOf(OPERATION_NAMES))
  .option('--engines <names>', `of ${STORE_NAMES.join(', ')}: these`, someOf(STORE_NAMES))
  .option('--root <path>', 'where the workload of real paths looks for files', '/usr')
  .option(
    '--directory <path>',
    "where stores are made and removed again; the system's place for temporary files",
  )
  .option('--out <path>', 'where the charts go')
  .option('--json', 'print every figure of every round instead of tables')
  .option('--cpu-prof <path>', "write profiles of holt's processes into this directory")
  .option('--no-install', 'do not install missing rivals')
  .action((options: RivalsOptions) =>
    benchRivals(options, ['npm run bench --', ...process.argv.slice(2)].join(' ')),
  )

program
  .command('check')
  .description(
    'Compares how holt stands against the rivals with the committed baseline; exit code 1 if worse.',
  )
  .option('--tolerance <share>', 'how much worse a ratio may be', share, 0.35)
  .option('--update', 'write the baseline anew')
  .option(
    '--directory <path>',
    "where stores are made and removed again; the system's place for temporary files",
  )
  .action((options: CheckOptions) => checkAgainstBaseline(options))

program
  .command('install')
  .description('Installs the rivals from their own lockfile; no other command of this repository does.')
  .action(() => installRivals())

program
  .command('io')
  .description('Measures the way to the disk, the checksum and the leases against node:fs, in one run.')
  .option('--rounds <rounds>', 'how often each is timed, in turns', positiveInteger, 7)
  .option('--round-ms <ms>', 'how long each turn lasts', positiveInteger, 150)
  .option('--mib <size>', 'size of the file that is read and written', positiveInteger, 512)
  .option('--directory <path>', "where it is made and removed again; the system's place for temporary files")
  .option('--only <group...>', `of ${GROUP_NAMES.join(', ')}: measure these`)
  .option('--json', 'print numbers instead of tables')
  .option('--check', 'exit with 1 if a bar is missed')
  .action((options: IoBenchOptions) => benchIo(options))

program
  .command('flat')
  .description('Measures calls that must not cost more for more keys below a prefix, holt alone.')
  .option('--keys <counts>', 'how many keys: 1k,100k', keyCounts)
  .option('--large', '1m and 10m keys too: gigabytes of memory, many minutes')
  .option('--repetitions <times>', 'how often each is timed', positiveInteger, 300)
  .option(
    '--directory <path>',
    "where stores are made and removed again; the system's place for temporary files",
  )
  .option('--json', 'print numbers instead of tables')
  .action((options: FlatBenchOptions) => benchFlat(options))

program
  .command('shared')
  .description(
    'Measures what two threads that read one tree in shared memory do against one; answers are checked.',
  )
  .option('--keys <counts>', 'how many keys: 20k,500k', keyCounts, [500_000])
  .option('--seconds <seconds>', 'how long each turn lasts', positiveNumber, 1)
  .option('--rounds <rounds>', 'how often each is timed, in turns', positiveInteger, 7)
  .option(
    '--writes <count>',
    'how many keys are written in a second beside the readers',
    positiveInteger,
    20_000,
  )
  .option(
    '--directory <path>',
    "where stores are made and removed again; the system's place for temporary files",
  )
  .option('--json', 'print numbers instead of tables')
  .option('--check', 'exit with 1 if a bar is missed')
  .action((options: SharedBenchOptions) => benchShared(options))

program
  .command('bulk')
  .description('Measures bulk loads beside puts of the same entries, holt alone.')
  .option('--keys <counts>', 'how many keys: 500k', keyCounts, [500_000])
  .option('--rounds <rounds>', 'how often each is timed', positiveInteger, 5)
  .option(
    '--directory <path>',
    "where stores are made and removed again; the system's place for temporary files",
  )
  .option('--json', 'print numbers instead of tables')
  .action((options: BulkBenchOptions) => benchBulk(options))

program
  .command('durability')
  .description(
    'Measures what journal and checkpoints cost writers, and how fast a journal is replayed, holt alone.',
  )
  .option('--keys <count>', 'how many keys under full load and in the replay', positiveInteger, 500_000)
  .option('--seconds <seconds>', 'how long each turn under full load lasts', positiveNumber, 4)
  .option('--rounds <rounds>', 'how often each is timed, in turns', positiveInteger, 7)
  .option(
    '--directory <path>',
    "where stores are made and removed again; the system's place for temporary files",
  )
  .option('--json', 'print numbers instead of tables')
  .option('--check', 'exit with 1 if a bar is missed')
  .action((options: DurabilityBenchOptions) => benchDurability(options))

program
  .command('cold')
  .description(
    'Counts what lookups read from a store that hardly fits the cache, holt alone; answers are checked.',
  )
  .option('--keys <counts>', 'how many keys: 500k', keyCounts, [500_000])
  .option('--workload <names>', 'objstore, fs, kv, paths, or all', workloads, ['objstore', 'kv'])
  .option('--lookups <count>', 'how many lookups in a row, half of them to warm up', positiveInteger, 20_000)
  .option('--openings <count>', 'how often a store is opened for one lookup', positiveInteger, 200)
  .option('--root <path>', 'where the workload of real paths looks for files', '/usr')
  .option(
    '--directory <path>',
    "where stores are made and removed again; the system's place for temporary files",
  )
  .option('--json', 'print numbers instead of tables')
  .action((options: ColdBenchOptions) => benchCold(options))

try {
  await program.parseAsync()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
