import { type CursorOptions, successorOfPrefix } from '@holt/art-index'
import { HoltError } from '@holt/errors'
import { crc32c } from '@holt/uring-native'

/**
 * A continuation token: where a listing goes on. Opaque to callers, valid over restarts, bound to its query.
 *
 * ```
 * base64url of:  version u8 (1) | kind u8 (0 behind a key, 1 behind a common prefix) | query CRC-32C u32 | check CRC-32C u32 | key
 * ```
 */
const TOKEN_VERSION = 1
const HEAD_BYTES = 10

/** A number that tells queries apart: tree, prefix, bounds, delimiter, direction. */
function queryMark(options: CursorOptions): number {
  let mark = options.reverse === true ? 1 : 0
  for (const part of [options.prefix, options.gt, options.gte, options.lt, options.lte, options.delimiter]) {
    const length = part === undefined ? 0xffff_ffff : part.length
    mark = crc32c(new Uint8Array(new Uint32Array([length]).buffer), 0, 4, mark)
    if (part !== undefined) mark = crc32c(part, 0, part.length, mark)
  }
  return mark
}

/** The token that goes on behind `key`, which carries its tree's id. */
export function encodeToken(options: CursorOptions, key: Uint8Array, isPrefix: boolean): string {
  const bytes = new Uint8Array(HEAD_BYTES + key.length)
  const view = new DataView(bytes.buffer)
  bytes[0] = TOKEN_VERSION
  bytes[1] = isPrefix ? 1 : 0
  view.setUint32(2, queryMark(options), true)
  bytes.set(key, HEAD_BYTES)
  view.setUint32(6, crc32c(bytes, HEAD_BYTES, key.length, crc32c(bytes, 0, 6)), true)
  return Buffer.from(bytes.buffer).toString('base64url')
}

/**
 * The query's options, narrowed to what lies behind the token; `undefined` when nothing can. Throws
 * `HOLT_INVALID_TOKEN` for a token that is none, or belongs to another query.
 */
export function resumeAt(options: CursorOptions, token: unknown): CursorOptions | undefined {
  const invalid = (what: string): HoltError =>
    new HoltError('HOLT_INVALID_TOKEN', `the continuation token ${what}`)
  if (typeof token !== 'string') throw invalid(`is ${typeof token} instead of a string`)
  const bytes = new Uint8Array(Buffer.from(token, 'base64url'))
  if (bytes.length < HEAD_BYTES || bytes[0] !== TOKEN_VERSION) throw invalid('is none of this release')
  const view = new DataView(bytes.buffer)
  if (view.getUint32(6, true) !== crc32c(bytes, HEAD_BYTES, bytes.length - HEAD_BYTES, crc32c(bytes, 0, 6)))
    throw invalid('is damaged')
  if (view.getUint32(2, true) !== queryMark(options)) throw invalid('belongs to another query')
  const key = bytes.slice(HEAD_BYTES)
  // A token's key always lies inside the query's bounds, so it replaces the bound it comes up against.
  const { gt: _gt, gte: _gte, lt: _lt, lte: _lte, ...rest } = options
  const { gt, gte, lt, lte } = options
  const upper = { ...(lt === undefined ? {} : { lt }), ...(lte === undefined ? {} : { lte }) }
  const lower = { ...(gt === undefined ? {} : { gt }), ...(gte === undefined ? {} : { gte }) }
  if (options.reverse === true) return { ...rest, ...lower, lt: key }
  if (bytes[1] === 0) return { ...rest, ...upper, gt: key }
  const successor = successorOfPrefix(key)
  return successor === undefined ? undefined : { ...rest, ...upper, gte: successor }
}
