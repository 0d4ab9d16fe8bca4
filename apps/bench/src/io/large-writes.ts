import { UringIo } from '@holt/uring-native'
import type { Io, IoFile, Transfer } from '@holt/uring-native'

import { atLeast, atMost } from './result.js'
import type { GroupResult, ResultRow } from './result.js'
import { cpuMicrosEach, medianOf, medianRatio, perSecond, takeTurns } from './rounds.js'
import type { Contestant, Pace, Turn } from './rounds.js'
import { MODES, alignedBuffers, openByHolt, openByNode } from './test-file.js'
import type { CacheMode } from './test-file.js'

const WRITE_BYTES = 512 << 10
const DEPTHS = [8, 32]
/** Long enough that a batch's end, when the queue runs empty, does not count; what is written is the same few buffers. */
const BATCH_LENGTH = 256

const megabytesPerSecond = (turn: Turn): number => (perSecond(turn) * WRITE_BYTES) / 1e6

/**
 * 512 KiB writes over a file that is there, by fs.promises and by `Io.writeMany`, at equal depths; the latter from memory
 * as it is and from memory that the ring has registered, as the frames of a store's cache are, and by
 * `Io.writeManySync` from the same. The bars are for the last one: who writes so much has a thread for it that may block.
 */
export async function largeWrites(path: string, sizeBytes: number, pace: Pace): Promise<GroupResult> {
  const rows: ResultRow[] = []
  const notes: string[] = []
  for (const mode of MODES) {
    for (const depth of DEPTHS) {
      const row = await atDepth(path, sizeBytes, mode, depth, pace)
      if (row !== undefined) rows.push(row)
      else notes.push(`No direct writes at depth ${String(depth)}: this file system refuses O_DIRECT.`)
    }
  }
  return {
    group: 'writes',
    title: '512 KiB writes: megabytes per second and microseconds of CPU each',
    heads: [
      '`fs.promises` MB/s',
      'CPU µs',
      '`Io.writeMany` MB/s',
      'CPU µs',
      'registered MB/s',
      'CPU µs',
      '`Io.writeManySync` MB/s',
      'CPU µs',
    ],
    rows,
    notes,
  }
}

async function atDepth(
  path: string,
  sizeBytes: number,
  mode: CacheMode,
  depth: number,
  pace: Pace,
): Promise<ResultRow | undefined> {
  const handle = await openByNode(path, mode, 'readwrite')
  if (handle === undefined) return undefined
  const plainIo = UringIo.create({ queueDepth: depth })
  const registeredIo = UringIo.create({ queueDepth: depth })
  try {
    const plainFile = await openByHolt(plainIo, path, mode, 'readwrite')
    const registeredFile = await openByHolt(registeredIo, path, mode, 'readwrite')
    const { buffers, ranges } = alignedBuffers(depth, WRITE_BYTES)
    const { registeredCount } = registeredIo.registerBuffers(ranges)
    const places = Math.floor(sizeBytes / WRITE_BYTES)
    if (BATCH_LENGTH > places) throw new Error(`a file of ${String(sizeBytes)} bytes is too small`)
    // Each place in its turn, in steps that share no factor with their number: none twice in a batch.
    let taken = 0
    const offset = (): number => ((taken++ * 389) % places) * WRITE_BYTES
    // What was left in the page cache would be written during the next one's turn.
    const tidy = async (): Promise<void> => {
      if (mode === 'buffered') await handle.datasync()
    }
    const batch = (): Transfer[] =>
      Array.from({ length: BATCH_LENGTH }, (_, index): Transfer => ({
        offsetBytes: offset(),
        bytes: buffers[index % depth],
      }))
    const writeMany = (io: Io, file: IoFile): Contestant['work'] => {
      return async (isOver) => {
        let operations = 0
        while (!isOver()) {
          await io.writeMany(file, batch())
          operations += BATCH_LENGTH
        }
        return operations
      }
    }
    const contestants: Contestant[] = [
      {
        name: 'fs.promises',
        tidy,
        work: async (isOver) => {
          let operations = 0
          const lane = async (bytes: Uint8Array): Promise<void> => {
            while (!isOver()) {
              await handle.write(bytes, 0, WRITE_BYTES, offset())
              operations++
            }
          }
          await Promise.all(buffers.map(lane))
          return operations
        },
      },
      { name: 'Io.writeMany', tidy, work: writeMany(plainIo, plainFile) },
      { name: 'Io.writeMany, registered', tidy, work: writeMany(registeredIo, registeredFile) },
      {
        name: 'Io.writeManySync, registered',
        tidy,
        work: (isOver) => {
          let operations = 0
          while (!isOver()) {
            registeredIo.writeManySync(registeredFile, batch())
            operations += BATCH_LENGTH
          }
          return operations
        },
      },
    ]
    const [theirs, plain, registered, blocking] = await takeTurns(contestants, pace)
    const faster = medianRatio(blocking, theirs, (a, b) => perSecond(a) / perSecond(b))
    const cpu = medianRatio(blocking, theirs, (a, b) => cpuMicrosEach(a) / cpuMicrosEach(b))
    return {
      name: `${mode}, depth ${String(depth)}${registeredCount < ranges.length ? ' (registering was refused)' : ''}`,
      values: [theirs, plain, registered, blocking].flatMap((turns) => [
        medianOf(turns.map(megabytesPerSecond)),
        medianOf(turns.map(cpuMicrosEach)),
      ]),
      bars: [atLeast('× MB/s', faster, 1.1), atMost('× CPU', cpu, 0.5)],
    }
  } finally {
    await registeredIo.dispose()
    await plainIo.dispose()
    await handle.close()
  }
}
