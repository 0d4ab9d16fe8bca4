import { HoltError } from '@holt/errors'
import type { HoltErrorCode } from '@holt/errors'

/** The system's refusals that mean something of their own to callers; every other one is plainly `HOLT_IO`. */
const CODE_OF_ERRNO: ReadonlyMap<string, HoltErrorCode> = new Map([
  ['ENOSPC', 'HOLT_NO_SPACE'],
  ['EDQUOT', 'HOLT_NO_SPACE'],
  ['EFBIG', 'HOLT_NO_SPACE'],
  ['EEXIST', 'HOLT_EXISTS'],
  ['ENOENT', 'HOLT_NOT_FOUND'],
])

/**
 * Calls of which a failure is never merely a want of space: writes that had succeeded did not reach the medium, and
 * making room does not bring them back.
 */
const SYNC_CALLS: ReadonlySet<string> = new Set(['fsync', 'fdatasync', 'datasync', 'syncDirectory'])

/**
 * The error for a system call that failed: `ENOSPC`, `EDQUOT` and `EFBIG` are `HOLT_NO_SPACE`, `EEXIST` is
 * `HOLT_EXISTS`, `ENOENT` is `HOLT_NOT_FOUND`, the rest `HOLT_IO`, and so is whatever a sync failed with. All carry
 * `errno`, `syscall` and `path`.
 *
 * @param errno - the system's name of the error, such as `EIO`
 * @param syscall - the call that failed, such as `pwrite`
 * @param path - the file or directory it was about
 */
export function systemError(errno: string, syscall: string, path: string, cause?: unknown): HoltError {
  const code = SYNC_CALLS.has(syscall) ? 'HOLT_IO' : (CODE_OF_ERRNO.get(errno) ?? 'HOLT_IO')
  return new HoltError(code, `${syscall} of '${path}' failed with ${errno}`, { errno, syscall, path, cause })
}

/** The `errno` name that an error thrown by node:fs carries, or undefined for any other value. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' && /^E[A-Z0-9]+$/.test(error.code) && 'errno' in error
    ? error.code
    : undefined
}

/** Turns what node:fs threw into a {@link systemError}; a value without an errno is returned as `HOLT_IO` with it as cause. */
export function fromNodeError(error: unknown, syscall: string, path: string): HoltError {
  if (error instanceof HoltError) return error
  const errno = errnoOf(error)
  if (errno !== undefined) return systemError(errno, syscall, path, error)
  return new HoltError('HOLT_IO', `${syscall} of '${path}' failed: ${String(error)}`, {
    syscall,
    path,
    cause: error,
  })
}

/** The error for a read that met the end of the file: `HOLT_SHORT_TRANSFER`. */
export function endOfFile(
  path: string,
  offsetBytes: number,
  wantedBytes: number,
  gotBytes: number,
): HoltError {
  return new HoltError(
    'HOLT_SHORT_TRANSFER',
    `read of ${String(wantedBytes)} bytes at ${String(offsetBytes)} of '${path}' met the end of the file ` +
      `after ${String(gotBytes)} bytes`,
    { syscall: 'pread', path },
  )
}
