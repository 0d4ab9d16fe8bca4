import { type CursorOptions, successorOfPrefix } from '@holt/art-index'
import { HoltError } from '@holt/errors'
import { crc32c } from '@holt/uring-native'
import { TREE_ID_BYTES } from './limits.js'

/**
 * A continuation token: where a listing goes on. Opaque to callers, valid over restarts, bound to its query.
 *
 * ```
 * base64url of:  version u8 (1) | kind u8 (0 behind a key, 1 behind a common prefix) | query CRC-32C u32 | check CRC-32C u32 | key
 * ```
 */
const TOKEN_VERSION = 1
const HEAD_BYTES = 10

/** The parts of a query, each behind its length, in one piece: one checksum is cheaper than seven. */
let parts = new Uint8Array(1_024)
let partsView = new DataView(parts.buffer)

/** A number that tells queries apart: tree, prefix, bounds, delimiter, direction. */
function queryMark(options: CursorOptions): number {
  const { prefix, gt, gte, lt, lte, delimiter, reverse } = options
  let at = 0
  parts[at++] = reverse === true ? 1 : 0
  at = addPart(at, prefix)
  at = addPart(at, gt)
  at = addPart(at, gte)
  at = addPart(at, lt)
  at = addPart(at, lte)
  at = addPart(at, delimiter)
  return crc32c(parts, 0, at)
}

function addPart(at: number, part: Uint8Array | undefined): number {
  const length = part?.length ?? 0
  if (at + 4 + length > parts.length) {
    const larger = new Uint8Array(2 * (at + 4 + length))
    larger.set(parts)
    parts = larger
    partsView = new DataView(larger.buffer)
  }
  partsView.setUint32(at, part === undefined ? 0xffff_ffff : length, true)
  if (part !== undefined) parts.set(part, at + 4)
  return at + 4 + length
}

/** The token that goes on behind `key[from … to)`, in front of which the tree's id is put. */
export function encodeToken(
  options: CursorOptions,
  treeId: number,
  key: Uint8Array,
  from: number,
  to: number,
  isPrefix: boolean,
): string {
  const keyLength = TREE_ID_BYTES + to - from
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + keyLength)
  bytes[0] = TOKEN_VERSION
  bytes[1] = isPrefix ? 1 : 0
  bytes.writeUInt32LE(queryMark(options), 2)
  bytes.writeUInt32BE(treeId, HEAD_BYTES)
  for (let i = from, at = HEAD_BYTES + TREE_ID_BYTES; i < to; i++) bytes[at++] = key[i]
  bytes.writeUInt32LE(crc32c(bytes, HEAD_BYTES, keyLength, crc32c(bytes, 0, 6)), 6)
  return bytes.toString('base64url')
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
  // Decoding skips what is no base64url; a token is exactly what was handed out.
  const isExact = Buffer.from(bytes.buffer).toString('base64url') === token
  if (!isExact || bytes.length < HEAD_BYTES || bytes[0] !== TOKEN_VERSION)
    throw invalid('is none of this release')
  const view = new DataView(bytes.buffer)
  if (view.getUint32(6, true) !== crc32c(bytes, HEAD_BYTES, bytes.length - HEAD_BYTES, crc32c(bytes, 0, 6)))
    throw invalid('is damaged')
  if (view.getUint32(2, true) !== queryMark(options)) throw invalid('belongs to another query')
  const key = bytes.slice(HEAD_BYTES)
  // A token's key always lies inside the query's bounds, so it replaces the bound it comes up against.
  if (options.reverse === true) return { ...options, lt: key, lte: undefined }
  if (bytes[1] === 0) return { ...options, gt: key, gte: undefined }
  const successor = successorOfPrefix(key)
  return successor === undefined ? undefined : { ...options, gt: undefined, gte: successor }
}
