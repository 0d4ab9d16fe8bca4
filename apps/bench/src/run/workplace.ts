import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { Contestant } from './contestant.js'

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const

/**
 * The processes and directories of a run. However the run ends, by a signal too, the processes are ended first and the
 * directories removed then.
 */
export class Workplace {
  readonly root: string
  readonly #contestants = new Set<Contestant>()
  readonly #execArgv: readonly string[]
  #directories = 0

  /** Below `parent`, or the system's place for temporary files. */
  constructor(parent: string | undefined, execArgv: readonly string[] = []) {
    this.root = mkdtempSync(join(parent ?? tmpdir(), 'holt-bench-'))
    this.#execArgv = execArgv
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, this.#interrupted)
  }

  readonly #interrupted = (signal: keyof typeof EXIT_CODES): void => {
    for (const contestant of this.#contestants) contestant.kill()
    // They may be writing until they are gone.
    void this.close().finally(() => process.exit(EXIT_CODES[signal]))
  }

  start(name: string): Contestant {
    const contestant = new Contestant(name, name === 'holt' ? this.#execArgv : [])
    this.#contestants.add(contestant)
    return contestant
  }

  async end(contestant: Contestant): Promise<void> {
    await contestant.end()
    this.#contestants.delete(contestant)
  }

  /** A directory that does not exist yet. */
  newDirectory(name: string): string {
    const directory = join(this.root, `${String(this.#directories++)}-${name.replaceAll(/\W+/g, '-')}`)
    mkdirSync(directory)
    return directory
  }

  async close(): Promise<void> {
    await Promise.all([...this.#contestants].map((contestant) => this.end(contestant)))
    rmSync(this.root, { recursive: true, force: true })
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, this.#interrupted)
  }
}
