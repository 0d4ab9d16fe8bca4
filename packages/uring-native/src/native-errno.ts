import { constants } from 'node:os'

import { HoltError } from '@holt/errors'

/** Where one number has two names, the one that callers know. */
const PREFERRED = new Set(['EAGAIN', 'EOPNOTSUPP'])

const NAMES = new Map<number, string>()
for (const [name, errno] of Object.entries(constants.errno)) {
  if (!NAMES.has(errno) || PREFERRED.has(name)) NAMES.set(errno, name)
}

/** The system's name of an errno that the addon returned; negative, as the kernel returns it, or positive. */
export function errnoName(errno: number): string {
  return NAMES.get(Math.abs(errno)) ?? `E${String(Math.abs(errno))}`
}

/**
 * Whether a request that ended so was not done, and is to be made again: a signal interrupted it, the kernel lacked
 * memory, or, `ECANCELED` where nobody cancelled it, the kernel could not start a worker for it because signals kept coming
 * (io_uring then cancels what waits for a worker; a profiler's timer is enough).
 */
export function isInterruption(errno: string): boolean {
  return errno === 'EINTR' || errno === 'EAGAIN' || errno === 'ECANCELED'
}

/** The other way round. */
export function errnoNumber(name: string): number {
  const found = Object.entries(constants.errno).find(([known]) => known === name)
  if (found === undefined) throw new HoltError('HOLT_INVALID_ARGUMENT', `there is no errno called '${name}'`)
  return found[1]
}
