import type { Io } from '@holt/uring-native'
import { lsn, lsnOffset, lsnSegment, type Lsn } from './contract.js'
import type { FoundLog } from './recovery.js'
import type { ReplayedLog } from './replay.js'
import { FIRST_RECORD_OFFSET } from './segment-header.js'

const CHUNK_BYTES = 2 ** 20

/**
 * Writes the records above the stable mark again, byte for byte in place, and syncs them. What was just read may be in
 * memory only: after a failed sync the kernel keeps such pages as clean, so that a further sync alone proves nothing.
 */
export async function rewriteUnmarkedTail(io: Io, log: FoundLog, replayed: ReplayedLog): Promise<void> {
  const { range, report, stableMark } = replayed
  if (range === undefined) return
  const start = lsn(log.chain[range.start.chainIndex].header.number, range.start.offsetBytes)
  await rewriteRecords(io, log, Math.max(start, stableMark) as Lsn, report.end)
}

/** The same from one position in the chain to another. */
export async function rewriteRecords(io: Io, log: FoundLog, from: Lsn, to: Lsn): Promise<void> {
  for (const { header, path, limitBytes } of log.chain) {
    const { number } = header
    if (number < lsnSegment(from) || number > lsnSegment(to)) continue
    const fromBytes = Math.max(FIRST_RECORD_OFFSET, number === lsnSegment(from) ? lsnOffset(from) : 0)
    const toBytes = number === lsnSegment(to) ? lsnOffset(to) : limitBytes
    if (fromBytes >= toBytes) continue
    const file = await io.open(path, { access: 'readwrite' })
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
