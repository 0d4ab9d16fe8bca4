export { HoltError, isHoltError } from './holt-error.js'
export type { HoltErrorDetail } from './holt-error.js'
export { ERROR_CODES } from './codes.js'
export type { HoltErrorCode } from './codes.js'
