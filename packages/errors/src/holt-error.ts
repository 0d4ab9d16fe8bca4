import type { HoltErrorCode } from './codes.js'

/** What an error may carry beside its code and message. */
export interface HoltErrorDetail {
  readonly cause?: unknown
  /** Of `HOLT_IO`: the system's name of the error, such as `ENOSPC`. */
  readonly errno?: string
  readonly syscall?: string
  readonly path?: string
  /** Of `HOLT_POSITION_EXPIRED`: the lowest version behind which all changes are there. */
  readonly oldestVersion?: number
}

/**
 * The one error class of holt. `code` is stable and is what programs should look at; `message` says what was found,
 * what was expected, where, and what to do.
 */
export class HoltError extends Error {
  override readonly name = 'HoltError'
  readonly code: HoltErrorCode
  readonly errno: string | undefined
  readonly syscall: string | undefined
  readonly path: string | undefined
  readonly oldestVersion: number | undefined

  constructor(code: HoltErrorCode, message: string, detail: HoltErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause })
    this.code = code
    this.errno = detail.errno
    this.syscall = detail.syscall
    this.path = detail.path
    this.oldestVersion = detail.oldestVersion
  }
}

/** Whether `value` is a {@link HoltError}, and has this code when one is given. */
export function isHoltError(value: unknown, code?: HoltErrorCode): value is HoltError {
  return value instanceof HoltError && (code === undefined || value.code === code)
}
