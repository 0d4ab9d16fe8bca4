import { fork } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import type { Durability } from 'holt'

import type { FileList } from './file-list.js'
import type { WorkDirectory } from './work-directory.js'

/** The child reports after each window of puts and waits for an answer when it is this many reports ahead: so it cannot be
 * through before the parent has looked, unless there are fewer files than that. */
export const WINDOW_PUTS = 64
export const MAX_REPORTS_AHEAD = 4

const CHILD = fileURLToPath(new URL('./crash-child.js', import.meta.url))

export interface KilledRun {
  /** Files acknowledged to the child, as far as it told us: all before this one must be in the store. */
  readonly acknowledgedCount: number
  /** False if the child was through before it could be killed. */
  readonly wasKilled: boolean
}

/**
 * Indexes the files in a child process and kills it with SIGKILL once it has reported half of them as acknowledged.
 * Rejects if the child fails by itself, and with the signal's reason when aborted.
 */
export function indexAndKill(
  directories: WorkDirectory,
  files: FileList,
  durability: Durability,
  signal: AbortSignal,
): Promise<KilledRun> {
  const listFile = join(directories.scratchDirectory, 'files.list')
  writeFileSync(listFile, files.serialize())
  return new Promise((resolve, reject) => {
    const child = fork(CHILD, [directories.databaseDirectory, listFile, durability])
    const onAbort = () => {
      child.kill('SIGKILL')
    }
    signal.addEventListener('abort', onAbort, { once: true })
    let acknowledgedCount = 0
    let isKilling = false
    child.on('message', (message) => {
      // A report that was under way when the child died counts too: it had its acknowledgement.
      acknowledgedCount = Math.max(acknowledgedCount, Number(message))
      if (!isKilling && acknowledgedCount >= files.count / 2) isKilling = child.kill('SIGKILL')
      // It may be gone already: then nobody misses the answer.
      if (!isKilling) child.send('seen', () => undefined)
    })
    child.on('error', reject)
    child.on('close', (code, endedBy) => {
      signal.removeEventListener('abort', onAbort)
      const wasKilled = endedBy === 'SIGKILL'
      if (signal.aborted) reject(signal.reason as Error)
      else if (wasKilled || code === 0) resolve({ acknowledgedCount, wasKilled })
      else
        reject(new Error(`the indexing process ended by itself (${endedBy ?? `exit code ${String(code)}`})`))
    })
  })
}
