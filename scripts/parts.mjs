import { join } from 'node:path'

import { ROOT } from './setup.mjs'
import { isInterrupted, run } from './step.mjs'

/**
 * Runs a program of the repository to its end, printing to our terminal. Whether it ended with 0.
 * @param {string} program path from the root
 * @param {readonly string[]} args
 * @param {Readonly<Record<string, string>>} env
 */
export async function runProgram(program, args, env = {}) {
  process.stdout.write(`\n▶ ${program} ${args.join(' ')}\n`)
  const { exitCode } = await run(process.execPath, [join(ROOT, program), ...args], {
    cwd: ROOT,
    inherit: true,
    env,
  })
  return exitCode === 0
}

/**
 * Runs the named parts one after the other, says how many passed, and sets the exit code: 1 if one failed.
 * @param {Readonly<Record<string, readonly (() => Promise<boolean>)[]>>} parts
 * @param {readonly string[]} names
 */
export async function runParts(parts, names) {
  let passedCount = 0
  let failedCount = 0
  for (const name of names) {
    for (const part of parts[name]) {
      if (isInterrupted()) break
      if (await part()) passedCount++
      else failedCount++
    }
  }
  process.stdout.write(`\n${String(passedCount)} parts passed, ${String(failedCount)} failed\n`)
  if (!isInterrupted()) process.exitCode = failedCount === 0 ? 0 : 1
}
