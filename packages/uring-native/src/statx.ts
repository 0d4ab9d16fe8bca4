import fs from 'node:fs'

import type { FileStat } from './io.js'

const { S_IFDIR, S_IFMT, S_IFREG } = fs.constants

/** The basic fields of struct statx, and where those that are used lie in it. */
export const STATX_BASIC_STATS = 0x7ff
export const STATX_BYTES = 256
const STATX_MODE_AT = 28
const STATX_SIZE_AT = 40
const STATX_BLOCKS_AT = 48
const STATX_BLOCK_BYTES = 512

export function statOf(bytes: Uint8Array): FileStat {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  const type = view.getUint16(STATX_MODE_AT, true) & S_IFMT
  return {
    sizeBytes: Number(view.getBigUint64(STATX_SIZE_AT, true)),
    allocatedBytes: Number(view.getBigUint64(STATX_BLOCKS_AT, true)) * STATX_BLOCK_BYTES,
    kind: type === S_IFREG ? 'file' : type === S_IFDIR ? 'directory' : 'other',
  }
}
