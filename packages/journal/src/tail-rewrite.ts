import type { Io } from '@holt/uring-native'
import { lsnOffset, lsnSegment } from './contract.js'
import type { FoundLog } from './recovery.js'
import type { ReplayedLog } from './replay.js'
import { FIRST_RECORD_OFFSET } from './segment-header.js'

const CHUNK_BYTES = 2 ** 20

/**
 * Writes the records above the stable mark again, byte for byte in place, and syncs them. What was just read may be in
 * memory only: after a failed sync the kernel keeps such pages as clean, so that a further sync alone proves nothing.
 */
export async function rewriteUnmarkedTail(io: Io, log: FoundLog, replayed: ReplayedLog): Promise<void> {
  const { range, stableMark } = replayed
  if (range === undefined) return
  const { start, end } = range
  for (let index = start.chainIndex; index <= end.chainIndex; index++) {
    const segment = log.chain.at(index)
    if (segment === undefined || segment.header.number < lsnSegment(stableMark)) continue
    const firstBytes = index === start.chainIndex ? start.offsetBytes : FIRST_RECORD_OFFSET
    const isMarked = segment.header.number === lsnSegment(stableMark)
    const fromBytes = isMarked ? Math.max(firstBytes, lsnOffset(stableMark)) : firstBytes
    const toBytes = index === end.chainIndex ? end.offsetBytes : segment.limitBytes
    if (fromBytes >= toBytes) continue
    const file = await io.open(segment.path, { access: 'readwrite' })
    try {
      const chunk = new Uint8Array(Math.min(CHUNK_BYTES, toBytes - fromBytes))
      for (let at = fromBytes; at < toBytes; at += chunk.length) {
        const part = chunk.subarray(0, Math.min(chunk.length, toBytes - at))
        await io.read(file, at, part)
        await io.write(file, at, part)
      }
      await io.sync(file)
    } finally {
      await io.close(file)
    }
  }
}
