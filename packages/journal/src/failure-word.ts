import { ERROR_CODES, HoltError, isHoltError, type HoltErrorCode } from '@holt/errors'

const CODES = Object.keys(ERROR_CODES) as HoltErrorCode[]

/** A failure as one word for another thread: negative, the code is all that stays of it. */
export function failureWord(error: unknown): number {
  return -1 - CODES.indexOf(isHoltError(error) ? error.code : 'HOLT_INTERNAL')
}

/** What {@link failureWord} stands for. */
export function failureOf(word: number): HoltError {
  const code = CODES.at(-1 - word) ?? 'HOLT_INTERNAL'
  return new HoltError(code, `the thread that has the store open could not do it: ${ERROR_CODES[code]}`)
}
