import { isHoltError } from '@holt/errors'
import { beforeAll, describe, expect, test } from 'vitest'
import { lsn, lsnOffset, type Lsn } from '../src/index.js'
import {
  append,
  appendWhenRoom,
  MODES,
  openJournal,
  readAll,
  SEGMENT_BYTES,
  segmentPath,
  startJournal,
  TYPE,
  type Reading,
} from './fixtures.js'
import { MemoryIo, settle } from './memory-io.js'

const FIRST = 8192

/** What reading a damaged log gave: a prefix of the records, or the error. */
type Outcome = { readonly texts: readonly string[]; readonly tail: string } | { readonly corrupt: string }

async function outcomeOf(io: MemoryIo): Promise<Outcome> {
  try {
    const { texts, report } = await readAll(io)
    return { texts, tail: report.tail }
  } catch (error) {
    if (!isHoltError(error, 'HOLT_CORRUPT')) throw error
    return { corrupt: error.message }
  }
}

/**
 * A small log of a killed process. Records a, b and c are below the stable mark that d carries; d, e and f are above
 * every mark.
 */
async function smallLog(): Promise<{ readonly io: MemoryIo; readonly ends: readonly Lsn[] }> {
  const io = new MemoryIo({ mappable: true })
  const journal = await startJournal(io)
  const ends = ['aa', 'bbbbb', 'c'.repeat(30)].map((text, i) => append(journal, i + 1, text))
  await journal.sync()
  ends.push(...['dddd', 'e', 'ffffffffff'].map((text, i) => append(journal, i + 4, text)))
  const dead = io.killed()
  await journal.close()
  return { io: dead, ends }
}

const ALL = ['aa', 'bbbbb', 'c'.repeat(30), 'dddd', 'e', 'ffffffffff']
const STABLE_COUNT = 3

describe('every flipped byte and every cut of a small log', () => {
  let io: MemoryIo
  let ends: readonly Lsn[]
  beforeAll(async () => {
    const log = await smallLog()
    io = log.io
    ends = log.ends
  })

  /** How many of the records end at or before an offset. */
  function wholeBefore(offset: number): number {
    return ends.filter((end) => lsnOffset(end) <= offset).length
  }

  test('undamaged, all of it is read and its end is unclean', async () => {
    expect(await outcomeOf(io)).toEqual({ texts: ALL, tail: 'torn' })
  })

  test('G5: a flipped bit below the stable mark is corruption that names file and offset', async () => {
    const stableEnd = lsnOffset(ends[STABLE_COUNT - 1])
    const starts = [FIRST, ...ends.map(lsnOffset)]
    for (let at = FIRST; at < stableEnd; at++) {
      const damaged = io.killed()
      damaged.bytesOf(segmentPath(1))[at] ^= 1 << (at % 8)
      const outcome = await outcomeOf(damaged)
      const recordAt = starts[wholeBefore(at)]
      expect(outcome).toHaveProperty('corrupt')
      expect('corrupt' in outcome && outcome.corrupt).toContain(
        `${segmentPath(1)}: the record at offset ${String(recordAt)}`,
      )
    }
  })

  test('a flipped bit above the stable mark ends the log there and loses nothing before', async () => {
    const lastEnd = lsnOffset(ends[ends.length - 1])
    for (let at = lsnOffset(ends[STABLE_COUNT - 1]); at < lastEnd; at++) {
      const damaged = io.killed()
      damaged.bytesOf(segmentPath(1))[at] ^= 1 << (at % 8)
      expect(await outcomeOf(damaged)).toEqual({ texts: ALL.slice(0, wholeBefore(at)), tail: 'torn' })
    }
  })

  test('G6: a tail of zeros or garbage with no later record behind it is torn, from any offset on', async () => {
    for (const fill of [0, 0xff, 0x48]) {
      for (let at = FIRST; at <= lsnOffset(ends[ends.length - 1]); at++) {
        const damaged = io.killed()
        damaged.bytesOf(segmentPath(1)).fill(fill, at)
        const outcome = await outcomeOf(damaged)
        // A filled byte may happen to be the right one: then the record is whole.
        if ('corrupt' in outcome) throw new Error(outcome.corrupt)
        expect(outcome.tail).toBe('torn')
        expect(outcome.texts.length).toBeGreaterThanOrEqual(wholeBefore(at))
        expect(outcome.texts).toEqual(ALL.slice(0, outcome.texts.length))
      }
    }
  })

  test('a segment file cut to any shorter length is corruption', async () => {
    for (let size = 0; size < SEGMENT_BYTES; size += size < FIRST + 400 && size > FIRST - 20 ? 1 : 97) {
      const damaged = io.killed()
      damaged.cut(segmentPath(1), size)
      const outcome = await outcomeOf(damaged)
      expect('corrupt' in outcome && outcome.corrupt).toContain(segmentPath(1))
    }
  })

  test('a flipped bit in either copy of the header is harmless, and in both is corruption', async () => {
    for (let at = 0; at < 128; at++) {
      for (const copyAt of [0, 4096]) {
        const damaged = io.killed()
        damaged.bytesOf(segmentPath(1))[copyAt + at] ^= 0x10
        expect(await outcomeOf(damaged)).toEqual({ texts: ALL, tail: 'torn' })
      }
      const damaged = io.killed()
      damaged.bytesOf(segmentPath(1))[at] ^= 0x10
      damaged.bytesOf(segmentPath(1))[4096 + ((at * 7) % 128)] ^= 0x10
      expect(await outcomeOf(damaged)).toHaveProperty('corrupt')
    }
  })

  test('an unclean end is reported with the number of valid records behind it', async () => {
    const damaged = io.killed()
    damaged.bytesOf(segmentPath(1))[lsnOffset(ends[STABLE_COUNT - 1]) + 30] ^= 1
    const { report, texts } = await readAll(damaged)
    expect(texts).toEqual(ALL.slice(0, STABLE_COUNT))
    expect(report).toMatchObject({
      tail: 'torn',
      recordsBehindEnd: 2,
      end: ends[STABLE_COUNT - 1],
      highestSeq: 6,
    })
  })
})

for (const mode of MODES) {
  test(`${mode.name}: after a clean close every flipped bit of the records is corruption`, async () => {
    const io = new MemoryIo({ mappable: mode.mappable })
    const journal = await startJournal(io, { durability: mode.durability })
    let end = lsn(1, FIRST)
    for (const [i, text] of ALL.entries()) end = append(journal, i, text)
    await journal.close()
    expect(await outcomeOf(io)).toEqual({ texts: ALL, tail: 'clean' })
    for (let at = FIRST; at < lsnOffset(end); at++) {
      const damaged = io.killed()
      damaged.bytesOf(segmentPath(1))[at] ^= 4
      expect(await outcomeOf(damaged)).toHaveProperty('corrupt')
    }
  })
}

test('damage in an earlier segment of the chain is corruption that names that segment', async () => {
  const io = new MemoryIo({ mappable: true })
  const journal = await startJournal(io)
  for (let i = 0; i < 30; i++) {
    await appendWhenRoom(journal, i, 'x'.repeat(1000))
    await journal.sync()
  }
  const dead = io.killed()
  await journal.close()
  dead.bytesOf(segmentPath(2))[FIRST + 2000] ^= 1
  const outcome = await outcomeOf(dead)
  expect('corrupt' in outcome && outcome.corrupt).toContain(segmentPath(2))
})

test('a missing segment in the middle of what replay needs is corruption', async () => {
  const io = new MemoryIo()
  const journal = await startJournal(io)
  for (let i = 0; i < 30; i++) await appendWhenRoom(journal, i, 'x'.repeat(1000))
  await journal.close()
  io.erase(segmentPath(2))
  await expect(readAll(io)).rejects.toMatchObject({ code: 'HOLT_CORRUPT' })
  await expect(readAll(io, lsn(1, FIRST))).rejects.toMatchObject({ code: 'HOLT_CORRUPT' })
})

test('a replay position that the log does not contain is corruption', async () => {
  const io = new MemoryIo()
  await expect(readAll(io, lsn(1, FIRST))).rejects.toMatchObject({ code: 'HOLT_CORRUPT' })
  const journal = await startJournal(io)
  append(journal, 1, 'one')
  await journal.close()
  for (const position of [lsn(2, FIRST), lsn(1, 16), lsn(1, FIRST + 4), lsn(1, SEGMENT_BYTES + 8)]) {
    await expect(readAll(io, position)).rejects.toMatchObject({ code: 'HOLT_CORRUPT' })
  }
})

test('"before segment n" reads from there, also before that segment exists', async () => {
  const io = new MemoryIo()
  expect((await readAll(io, lsn(5, 0))).report).toMatchObject({ records: 0, end: lsn(5, 0) })
  const journal = await openJournal(io)
  await journal.replay(lsn(5, 0), () => undefined)
  await journal.start(0)
  append(journal, 1, 'one')
  await journal.close()
  expect(io.names()).toContain('journal-000000000005.wal')
  expect((await readAll(io, lsn(5, 0))).texts).toEqual(['one'])
  expect((await readAll(io, lsn(6, 0))).texts).toEqual([])
})

test('segments of another store are refused', async () => {
  const io = new MemoryIo()
  const journal = await startJournal(io)
  await journal.close()
  await expect(openJournal(io, { storeId: new Uint8Array(16).fill(9) })).rejects.toMatchObject({
    code: 'HOLT_CORRUPT',
    message: expect.stringContaining('another store') as string,
  })
})

test('a segment under the name of another number is refused', async () => {
  const io = new MemoryIo()
  const journal = await startJournal(io)
  await journal.close()
  await io.rename(segmentPath(1), segmentPath(3))
  await expect(openJournal(io)).rejects.toMatchObject({ code: 'HOLT_CORRUPT' })
})

describe('power loss in the disk mode', () => {
  test('at any call, everything acknowledged is there and what follows it is torn, not corrupt', async () => {
    const io = new MemoryIo()
    const journal = await startJournal(io, { durability: 'disk' })
    const acknowledged: string[] = []
    for (let i = 0; i < 40; i++) {
      const text = `${String(i)}-`.padEnd(400 + i * 13, 'z')
      await appendWhenRoom(journal, i, text)
      const done = journal.acknowledge('disk')
      const before: Reading = await readAll(io.powerLoss())
      expect(before.texts.slice(0, acknowledged.length)).toEqual(acknowledged)
      await done
      acknowledged.push(text)
      expect((await readAll(io.powerLoss())).texts).toEqual(acknowledged)
    }
    await journal.close()
  })
})

describe("power loss in the 'os' mode", () => {
  for (const mappable of [true, false]) {
    test(`what a raised write acknowledged is there with all before it (${mappable ? 'mapped' : 'written'})`, async () => {
      const io = new MemoryIo({ mappable })
      const journal = await startJournal(io)
      const texts: string[] = []
      for (let i = 0; i < 60; i++) {
        const text = `${String(i)}-`.padEnd(900, 'q')
        await appendWhenRoom(journal, i, text)
        texts.push(text)
        if (i % 7 !== 0) continue
        const stableBefore = journal.stablePosition
        await journal.acknowledge('disk')
        expect(journal.stablePosition).toBeGreaterThan(stableBefore)
        const after = await readAll(io.powerLoss())
        expect(after.texts.slice(0, texts.length)).toEqual(texts)
      }
      await journal.close()
    })
  }

  test('an interrupted write whose sectors arrived in any order is torn', async () => {
    const io = new MemoryIo({ mappable: true })
    const journal = await startJournal(io)
    append(journal, 1, 'stable')
    await journal.sync()
    for (let i = 2; i < 12; i++) append(journal, i, String(i).repeat(300))
    const written = ['stable', ...Array.from({ length: 10 }, (_, i) => String(i + 2).repeat(300))]
    const lost = io.powerLoss()
    const present = io.bytesOf(segmentPath(1)).slice()
    await journal.close()
    for (let mask = 0; mask < 64; mask++) {
      const torn = lost.killed()
      for (let sector = 0; sector < 6; sector++) {
        if ((mask & (1 << sector)) === 0) continue
        const at = FIRST + sector * 512
        torn.bytesOf(segmentPath(1)).set(present.subarray(at, at + 512), at)
      }
      const { texts } = await readAll(torn)
      expect(texts[0]).toBe('stable')
      expect(texts).toEqual(written.slice(0, texts.length))
    }
  })
})

test('records of types this release does not know are a version error, not the end of the log', async () => {
  const io = new MemoryIo()
  const journal = await startJournal(io)
  append(journal, 1, 'one')
  await settle()
  const dead = io.killed()
  await journal.close()
  const { crc32c } = await import('@holt/uring-native/crc32c')
  const bytes = dead.bytesOf(segmentPath(1))
  const view = new DataView(bytes.buffer)
  // A newer release's record: type 2 with a header CRC that is right.
  bytes[FIRST + 2] = 2
  const seed = (view.getUint32(40, true) ^ FIRST) >>> 0
  view.setUint32(FIRST + 24, crc32c(bytes, FIRST, 24, seed), true)
  await expect(readAll(dead)).rejects.toMatchObject({ code: 'HOLT_VERSION' })
  expect(TYPE).toBeGreaterThan(15)
})
