/** Which segments make up a log, where reading of it begins, and what is said when they do not fit together. */
import { HoltError } from '@holt/errors'
import type { Io } from '@holt/uring-native'
import { describe, expect, test } from 'vitest'
import { lsn, lsnOffset } from '../src/index.js'
import { findLog, locate, readHistory, type FoundLog } from '../src/recovery.js'
import { replayLog } from '../src/replay.js'
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  FIRST_RECORD_OFFSET,
  type SegmentHeader,
} from '../src/segment-header.js'
import { SegmentReader } from '../src/segment-reader.js'
import {
  append,
  appendWhenRoom,
  DIRECTORY,
  openJournal,
  SEGMENT_BYTES,
  segmentPath,
  startJournal,
  STORE_ID,
} from './fixtures.js'
import { MemoryIo } from './memory-io.js'

/** A log of four segments, as its process leaves it that dies. */
async function fourSegments(): Promise<MemoryIo> {
  const io = new MemoryIo({ mappable: true })
  const journal = await startJournal(io)
  for (let seq = 1; journal.position < lsn(4, FIRST_RECORD_OFFSET + 100); seq++)
    await appendWhenRoom(journal, seq, 'x'.repeat(900))
  await journal.sync()
  const dead = io.killed()
  await journal.close()
  for (const name of dead.names())
    if (name.includes('spare') || name.includes('creating')) dead.erase(`${DIRECTORY}/${name}`)
  return dead
}

const find = (io: Io, neededFrom?: number, readOnly = false): Promise<FoundLog> =>
  findLog(
    io,
    DIRECTORY,
    STORE_ID,
    readOnly,
    undefined,
    neededFrom === undefined ? undefined : lsn(neededFrom, 0),
  )

const numbers = (segments: readonly { readonly header: SegmentHeader }[]): number[] =>
  segments.map(({ header }) => header.number)

/** Both copies of a segment's header, with something else in it and checksums that hold. */
function rewriteHeader(io: MemoryIo, number: number, change: Partial<SegmentHeader>): void {
  const bytes = io.bytesOf(segmentPath(number))
  const header = decodeSegmentHeader(bytes.subarray(0, FIRST_RECORD_OFFSET), 'segment')
  bytes.set(encodeSegmentHeader({ ...header, ...change }))
}

/** An Io one of whose methods is another. */
function replacing(io: MemoryIo, name: keyof Io, method: (...args: unknown[]) => unknown): Io {
  return new Proxy<Io>(io, {
    get: (target, property) => {
      if (property === name) return method
      const value: unknown = Reflect.get(target, property, target)
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
    },
  })
}

const refused = (code: string, message = ''): unknown =>
  expect.objectContaining({ code, message: expect.stringContaining(message) as string })

describe('finding the chain', () => {
  test('goes backwards from the highest number; what nobody names is dead', async () => {
    const io = await fourSegments()
    rewriteHeader(io, 4, { predecessorNumber: 2, predecessorEndBytes: SEGMENT_BYTES, markSegment: 2 })
    const { chain, dead, history, highestNumber } = await find(io)
    expect([numbers(chain), numbers(dead), history, highestNumber]).toEqual([[1, 2, 4], [3], [], 4])
  })

  test('reads no segment before the one that is needed', async () => {
    const io = await fourSegments()
    for (const number of [1, 2]) io.bytesOf(segmentPath(number)).fill(0xaa)
    const { chain, history, highestNumber } = await find(io, 3)
    expect([numbers(chain), history.map(({ number }) => number), highestNumber]).toEqual([[3, 4], [1, 2], 4])
    await expect(find(io, 2)).rejects.toEqual(refused('HOLT_CORRUPT', segmentPath(2)))
  })

  test.each([FIRST_RECORD_OFFSET - 8, SEGMENT_BYTES + 8])(
    'a segment that is said to end at %i is corruption',
    async (predecessorEndBytes) => {
      const io = await fourSegments()
      rewriteHeader(io, 4, { predecessorEndBytes })
      await expect(find(io)).rejects.toEqual(
        refused('HOLT_CORRUPT', `ends at offset ${String(predecessorEndBytes)}`),
      )
    },
  )

  test('a file that goes away meanwhile is busyness to a reader, and is told as it is to a writer', async () => {
    const io = await fourSegments()
    const names = [...io.names(), 'journal-000000000009.wal']
    const from = (readOnly: boolean): Promise<FoundLog> => findLog(io, DIRECTORY, STORE_ID, readOnly, names)
    await expect(from(true)).rejects.toEqual(refused('HOLT_BUSY', 'recycled'))
    await expect(from(false)).rejects.toEqual(refused('HOLT_NOT_FOUND'))
    io.failOn('read', 'journal-000000000002', 'HOLT_IO')
    await expect(find(io, undefined, true)).rejects.toEqual(refused('HOLT_IO'))
  })

  test('a segment that goes away between finding and reading likewise', async () => {
    for (const [readOnly, code] of [
      [true, 'HOLT_BUSY'],
      [false, 'HOLT_NOT_FOUND'],
    ] as const) {
      const io = await fourSegments()
      const log = await find(io)
      io.erase(segmentPath(2))
      await expect(replayLog(io, DIRECTORY, log, undefined, () => undefined, readOnly)).rejects.toEqual(
        refused(code),
      )
    }
    const io = await fourSegments()
    const log = await find(io)
    io.failOn('read', 'journal-000000000002', 'HOLT_IO')
    await expect(replayLog(io, DIRECTORY, log, undefined, () => undefined, true)).rejects.toEqual(
      refused('HOLT_IO'),
    )
  })
})

describe('the history before it', () => {
  test('is the chain going on backwards, as far as there are files', async () => {
    const io = await fourSegments()
    const log = await find(io, 4)
    expect(numbers((await readHistory(io, STORE_ID, log)).chain)).toEqual([1, 2, 3])
    io.erase(segmentPath(2))
    const { chain, damaged, dead } = await readHistory(io, STORE_ID, await find(io, 4))
    expect([numbers(chain), damaged, dead.map(({ number }) => number)]).toEqual([[3], undefined, [1]])
  })

  test('ends at a damaged segment, and names it', async () => {
    const io = await fourSegments()
    io.bytesOf(segmentPath(2)).fill(0)
    const { chain, damaged, dead } = await readHistory(io, STORE_ID, await find(io, 4))
    expect(numbers(chain)).toEqual([3])
    expect(damaged).toMatchObject({ number: 2, path: segmentPath(2), error: { code: 'HOLT_CORRUPT' } })
    expect(dead.map(({ number }) => number)).toEqual([1])
  })

  test('ends at a segment that does not reach as far as its successor says', async () => {
    const io = await fourSegments()
    rewriteHeader(io, 3, { predecessorEndBytes: SEGMENT_BYTES + 8 })
    expect((await readHistory(io, STORE_ID, await find(io, 4))).damaged).toMatchObject({ number: 2 })
  })

  test('is not called damaged when the disk fails', async () => {
    const io = await fourSegments()
    const log = await find(io, 4)
    io.failOn('read', 'journal-000000000002', 'HOLT_IO')
    await expect(readHistory(io, STORE_ID, log)).rejects.toEqual(refused('HOLT_IO'))
    const defective = replacing(io, 'stat', () => Promise.reject(new TypeError('a defect')))
    await expect(readHistory(defective, STORE_ID, log)).rejects.toThrow('a defect')
  })

  test('of no log is none', async () => {
    const log = await find(new MemoryIo())
    expect(await readHistory(new MemoryIo(), STORE_ID, log)).toEqual({
      chain: [],
      damaged: undefined,
      dead: [],
    })
  })
})

describe('where reading begins', () => {
  test('"before segment n" where the log began later than that', async () => {
    const io = await fourSegments()
    const log = await find(io)
    const later: FoundLog = { ...log, chain: log.chain.slice(1) }
    // Its first segment names one before it, which is not there.
    expect(() => locate(later, lsn(1, 0), DIRECTORY)).toThrow(refused('HOLT_CORRUPT', 'segments 2 to 4'))
    const begun: FoundLog = {
      ...log,
      chain: later.chain.map((segment, i) =>
        i === 0 ? { ...segment, header: { ...segment.header, predecessorNumber: 0 } } : segment,
      ),
    }
    expect(locate(begun, lsn(1, 0), DIRECTORY)).toEqual({ chainIndex: 0, offsetBytes: FIRST_RECORD_OFFSET })
    // Not before a segment that lies within the log's numbers, and is not of it.
    const gap: FoundLog = { ...begun, chain: begun.chain.filter(({ header }) => header.number !== 3) }
    expect(() => locate(gap, lsn(3, 0), DIRECTORY)).toThrow(refused('HOLT_CORRUPT'))
    expect(locate(log, lsn(5, 0), DIRECTORY)).toBeUndefined()
  })

  test('nowhere in a journal of which nothing is left', () => {
    const empty: FoundLog = {
      chain: [],
      dead: [],
      history: [],
      highestNumber: 5,
      highestSeqFloor: 0,
      stableMark: lsn(0, 0),
    }
    expect(() => locate(empty, lsn(3, 0), DIRECTORY)).toThrow(refused('HOLT_CORRUPT', 'there is no journal'))
    expect(locate(empty, undefined, DIRECTORY)).toBeUndefined()
  })

  test.each([FIRST_RECORD_OFFSET - 8, FIRST_RECORD_OFFSET + 4, SEGMENT_BYTES + 8])(
    'not at offset %i of a segment',
    async (offsetBytes) => {
      const log = await find(await fourSegments())
      expect(() => locate(log, lsn(2, offsetBytes), DIRECTORY)).toThrow(refused('HOLT_CORRUPT'))
      expect(locate(log, lsn(2, SEGMENT_BYTES), DIRECTORY)).toEqual({
        chainIndex: 1,
        offsetBytes: SEGMENT_BYTES,
      })
    },
  )
})

describe('behind a torn end', () => {
  test('a valid record that is longer than what is read at once is found', async () => {
    const io = new MemoryIo({ mappable: true })
    const journal = await startJournal(io, { segmentBytes: 2 ** 20 })
    append(journal, 1, 'kept')
    const torn = lsnOffset(journal.position)
    append(journal, 2, 'torn')
    append(journal, 3, 'y'.repeat(300_000))
    append(journal, 4, 'z')
    const dead = io.killed()
    await journal.close()
    dead.bytesOf(segmentPath(1))[torn + 30] ^= 1
    const second = await openJournal(dead)
    expect(await second.replay(undefined, () => undefined)).toMatchObject({
      records: 1,
      tail: 'torn',
      recordsBehindEnd: 2,
    })
    await second.close()
  })
})

describe('the window through which a segment is read', () => {
  test('ends at the limit, and says so where a file is shorter', async () => {
    const io = await fourSegments()
    const reader = await SegmentReader.open(io, segmentPath(2), 10_000)
    await reader.load(9_000, 1_000)
    expect(reader.has(9_000, 1_000)).toBe(true)
    expect(reader.has(9_000, 1_001)).toBe(false)
    await expect(reader.load(9_001, 1_000)).rejects.toEqual(refused('HOLT_INTERNAL', 'limit at 10000'))
    io.failOn('read', 'journal-000000000002', 'HOLT_IO')
    await expect(reader.load(8_192, 100)).rejects.toEqual(refused('HOLT_IO'))
    // Nothing of it counts as read.
    expect(reader.has(8_192, 1)).toBe(false)
    io.cut(segmentPath(2), 9_500)
    await expect(reader.load(9_000, 1_000)).rejects.toEqual(refused('HOLT_CORRUPT', 'the file ends within'))
    await reader.close()
    const defective = replacing(io, 'read', () => Promise.reject(new HoltError('HOLT_CLOSED', 'gone')))
    const other = await SegmentReader.open(defective, segmentPath(2), 9_000)
    await expect(other.load(8_192, 8)).rejects.toEqual(refused('HOLT_CLOSED'))
    await other.close()
  })
})
