/** The benchmark's command line; see `--help`. */
import { Command, InvalidArgumentError } from 'commander'

import { benchEngine } from './engine.js'
import type { EngineBenchOptions } from './engine.js'
import { GROUP_NAMES, benchIo } from './io/bench-io.js'
import type { IoBenchOptions } from './io/bench-io.js'

function positiveInteger(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError('a whole number above 0 is wanted')
  return value
}

const program = new Command('holt-bench')

program
  .command('engine', { isDefault: true })
  .description('Measures holt against a JS Map, in one process: medians, nanoseconds an operation.')
  .option('--count <keys>', 'how many keys', positiveInteger, 20_000)
  .option('--rounds <rounds>', 'how often each job is timed', positiveInteger, 7)
  .action((options: EngineBenchOptions) => benchEngine(options))

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

await program.parseAsync()
