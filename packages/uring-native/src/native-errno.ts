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

/** The other way round. */
export function errnoNumber(name: string): number {
  const found = Object.entries(constants.errno).find(([known]) => known === name)
  if (found === undefined) throw new HoltError('HOLT_INVALID_ARGUMENT', `there is no errno called '${name}'`)
  return found[1]
}
