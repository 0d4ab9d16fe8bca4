import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder with the rivals' own package.json and lockfile; it is no part of the workspace. */
export const RIVALS_DIRECTORY = findRivalsDirectory()

function findRivalsDirectory(): string {
  // From a source file and from a built one it is a different number of steps.
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at)) {
    const directory = join(at, 'rivals')
    if (existsSync(join(directory, 'package-lock.json'))) return directory
    if (dirname(at) === at) throw new Error('the folder of the rivals is missing')
  }
}

/** The module of a rival. Throws what `require` throws when it is not installed or does not load here. */
export function requireRival(name: string): unknown {
  return createRequire(join(RIVALS_DIRECTORY, 'package.json'))(name)
}

/** Why a rival cannot be used, in one line; `undefined` if it can. */
export function whyRivalMissing(name: string): string | undefined {
  try {
    requireRival(name)
    return undefined
  } catch (error) {
    return (error instanceof Error ? error.message : String(error)).split('\n')[0]
  }
}
