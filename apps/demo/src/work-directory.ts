import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/** Where the database lies, and what becomes of it. */
export interface WorkDirectory {
  readonly databaseDirectory: string
  /** A temporary directory for everything else. */
  readonly scratchDirectory: string
  /** Whether the database outlives the program. */
  readonly isKept: boolean
  /** Removes the scratch directory, and the database unless it is kept. */
  readonly dispose: () => void
}

/** Makes a fresh temporary directory for the database, or takes the one that was asked for, which is never removed. */
export function makeWorkDirectory(wanted: string | undefined, keep: boolean): WorkDirectory {
  const scratchDirectory = mkdtempSync(join(tmpdir(), 'holt-demo-'))
  const databaseDirectory = wanted === undefined ? join(scratchDirectory, 'files.holt') : resolve(wanted)
  mkdirSync(databaseDirectory, { recursive: true })
  const isKept = keep || wanted !== undefined
  const removed = keep && wanted === undefined ? undefined : scratchDirectory
  return {
    databaseDirectory,
    scratchDirectory,
    isKept,
    dispose: () => {
      if (removed !== undefined) rmSync(removed, { recursive: true, force: true })
    },
  }
}
