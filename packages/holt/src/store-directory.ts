import { HoltError, isHoltError } from '@holt/errors'
import { isJournalFileName } from '@holt/journal'
import type { Io } from '@holt/uring-native'

export const LOCK_FILES = /^lock(\..*)?$/
/** What an opening that was interrupted before the manifest was there may have left. */
const UNFINISHED_FILES = /^(manifest\.tmp|lock(\..*)?)$/
const isDataFile = (name: string): boolean => name === 'blobs.dat' || isJournalFileName(name)

/** Throws `HOLT_INVALID_ARGUMENT` for what can be no path; `what` names it. */
export function checkStorePath(path: unknown, what: string): asserts path is string {
  if (typeof path === 'string' && path !== '' && !path.includes('\0')) return
  throw new HoltError('HOLT_INVALID_ARGUMENT', `${what} is a string, not empty and without NUL`)
}

/** Whether there may be a store, or must not be. */
export interface StoreWanted {
  readonly createIfMissing: boolean
  readonly errorIfExists: boolean
}

/**
 * Looks whether a directory holds a store, or may become one; makes it where it is absent and that is wanted.
 *
 * Throws `HOLT_NOT_FOUND`, `HOLT_EXISTS`, `HOLT_NOT_A_STORE`, and `HOLT_CORRUPT` where files of a store are without their
 * manifest: of a backup, too, that did not come to its end.
 */
export async function prepareDirectory(io: Io, directory: string, wanted: StoreWanted): Promise<void> {
  const names = await listIfThere(io, directory)
  if (names === undefined) {
    if (!wanted.createIfMissing)
      throw new HoltError('HOLT_NOT_FOUND', `there is no database at ${directory}`, { path: directory })
    await io.mkdir(directory)
    return
  }
  const isStore = names.includes('manifest')
  if (isStore && wanted.errorIfExists)
    throw new HoltError('HOLT_EXISTS', `there is a database at ${directory} already`, { path: directory })
  if (isStore) return
  const orphan = names.find(isDataFile)
  if (orphan !== undefined) {
    throw new HoltError('HOLT_CORRUPT', `${directory}/manifest is missing, but '${orphan}' is there`, {
      path: directory,
    })
  }
  const foreign = names.find((name) => !UNFINISHED_FILES.test(name))
  if (foreign !== undefined) {
    throw new HoltError(
      'HOLT_NOT_A_STORE',
      `${directory} is no holt database: it holds '${foreign}' and no manifest`,
      { path: directory },
    )
  }
  if (!wanted.createIfMissing)
    throw new HoltError('HOLT_NOT_FOUND', `there is no database in ${directory}`, { path: directory })
}

async function listIfThere(io: Io, directory: string): Promise<string[] | undefined> {
  try {
    return await io.list(directory)
  } catch (error) {
    if (isHoltError(error, 'HOLT_NOT_FOUND')) return undefined
    throw error
  }
}
