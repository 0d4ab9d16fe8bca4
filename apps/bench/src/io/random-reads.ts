import { UringIo } from '@holt/uring-native'
import type { Transfer } from '@holt/uring-native'

import { atLeast, atMost } from './result.js'
import type { GroupResult, ResultRow } from './result.js'
import { cpuMicrosEach, medianOf, medianRatio, perSecond, takeTurns } from './rounds.js'
import type { Contestant, Pace } from './rounds.js'
import { MODES, alignedBuffers, openByHolt, openByNode, randomBelow } from './test-file.js'
import type { CacheMode } from './test-file.js'

const READ_BYTES = 4096
const DEPTHS = [1, 32, 128]

/** A batch is this many times as long as the queue is deep, so that the device is busy between its ends too. */
const BATCH_FACTOR = 16

/** 4 KiB reads at random places, by fs.promises, by `Io.read`, by `Io.readMany` and by `Io.readManySync`, at equal depths. */
export async function randomReads(path: string, sizeBytes: number, pace: Pace): Promise<GroupResult> {
  const rows: ResultRow[] = []
  const notes: string[] = []
  for (const mode of MODES) {
    for (const depth of DEPTHS) {
      const row = await atDepth(path, sizeBytes, mode, depth, pace)
      if (row !== undefined) rows.push(row)
      else notes.push(`No direct reads at depth ${String(depth)}: this file system refuses O_DIRECT.`)
    }
  }
  return {
    group: 'reads',
    title: '4 KiB random reads: operations per second and microseconds of CPU each',
    heads: [
      '`fs.promises` ops/s',
      'CPU µs',
      '`Io.read` ops/s',
      'CPU µs',
      '`Io.readMany` ops/s',
      'CPU µs',
      '`Io.readManySync` ops/s',
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
  const handle = await openByNode(path, mode, 'read')
  if (handle === undefined) return undefined
  const io = UringIo.create({ queueDepth: depth })
  try {
    const file = await openByHolt(io, path, mode, 'read')
    const { buffers } = alignedBuffers(depth * BATCH_FACTOR, READ_BYTES)
    const place = randomBelow(Math.floor(sizeBytes / READ_BYTES), 0x5eed)
    const offset = (): number => place() * READ_BYTES

    const lanes = (read: (bytes: Uint8Array) => Promise<unknown>): Contestant['work'] => {
      return async (isOver) => {
        let operations = 0
        const lane = async (bytes: Uint8Array): Promise<void> => {
          while (!isOver()) {
            await read(bytes)
            operations++
          }
        }
        await Promise.all(buffers.slice(0, depth).map(lane))
        return operations
      }
    }
    const contestants: Contestant[] = [
      { name: 'fs.promises', work: lanes((bytes) => handle.read(bytes, 0, READ_BYTES, offset())) },
      { name: 'Io.read', work: lanes((bytes) => io.read(file, offset(), bytes)) },
      {
        name: 'Io.readMany',
        work: async (isOver) => {
          let operations = 0
          while (!isOver()) {
            const batch = buffers.map((bytes): Transfer => ({ offsetBytes: offset(), bytes }))
            await io.readMany(file, batch)
            operations += batch.length
          }
          return operations
        },
      },
      {
        name: 'Io.readManySync',
        work: (isOver) => {
          let operations = 0
          while (!isOver()) {
            io.readManySync(
              file,
              buffers.map((bytes): Transfer => ({ offsetBytes: offset(), bytes })),
            )
            operations += buffers.length
          }
          return operations
        },
      },
    ]
    const [theirs, single, many, blocking] = await takeTurns(contestants, pace)
    // At depth 1 there is nothing to gather.
    const best = depth === 1 ? single : many
    const faster = medianRatio(best, theirs, (a, b) => perSecond(a) / perSecond(b))
    const cpu = medianRatio(best, theirs, (a, b) => cpuMicrosEach(a) / cpuMicrosEach(b))
    return {
      name: `${mode}, depth ${String(depth)}`,
      values: [theirs, single, many, blocking].flatMap((turns) => [
        medianOf(turns.map(perSecond)),
        medianOf(turns.map(cpuMicrosEach)),
      ]),
      bars: depth === 1 ? [] : [atLeast('× ops', faster, 3), atMost('× CPU', cpu, 0.25)],
    }
  } finally {
    await io.dispose()
    await handle.close()
  }
}
