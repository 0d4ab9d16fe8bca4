import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { describeMachine, renderMachine } from '../io/machine.js'
import { type GroupResult, renderGroup } from '../io/result.js'

export interface GroupRunOptions {
  /** Parent of the temporary directories; the system's place for temporary files if there is none. */
  readonly directory?: string
  readonly json?: boolean
  /** Exit with 1 if a bar is missed. */
  readonly check?: boolean
}

/** Calls `work` with a new directory, which is removed behind it, also when the process ends meanwhile. */
export async function inTemporaryDirectory<T>(
  parent: string | undefined,
  work: (directory: string) => Promise<T>,
): Promise<T> {
  const directory = mkdtempSync(join(parent ?? tmpdir(), 'holt-bench-'))
  const remove = (): void => {
    rmSync(directory, { recursive: true, force: true })
  }
  process.once('exit', remove)
  try {
    return await work(directory)
  } finally {
    process.off('exit', remove)
    remove()
  }
}

/**
 * A command that measures holt alone: tells the machine first, measures each of `parts` in a directory of its own, and
 * prints the tables, or numbers with `json`.
 */
export async function runGroups<Part>(
  name: string,
  { directory: parent, json, check }: GroupRunOptions,
  parts: readonly Part[],
  measure: (directory: string, part: Part) => Promise<readonly GroupResult[]>,
): Promise<void> {
  const machine = renderMachine(describeMachine(parent ?? tmpdir()))
  process.stderr.write(`${name}: ${machine}\n`)
  const groups: GroupResult[] = []
  for (const part of parts)
    groups.push(...(await inTemporaryDirectory(parent, (directory) => measure(directory, part))))
  if (json === true) process.stdout.write(`${JSON.stringify({ machine, groups }, undefined, 2)}\n`)
  else process.stdout.write(`${machine}\n\n${groups.map(renderGroup).join('\n')}\n`)
  const isMissed = groups.some(({ rows }) => rows.some(({ bars }) => bars.some(({ reached }) => !reached)))
  if (check === true && isMissed) process.exitCode = 1
}
