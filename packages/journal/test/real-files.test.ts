import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openIo, type Io } from '@holt/uring-native'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Journal, type JournalDurability } from '../src/index.js'
import { STORE_ID, TYPE } from './fixtures.js'

let directory: string
let io: Io

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'holt-journal-'))
})
afterEach(async () => {
  await io.dispose()
  await rm(directory, { recursive: true })
})

// 'auto' is io_uring with mapped segments where the machine has it, else the same as 'fs'.
const CASES = (['fs', 'auto'] as const).flatMap((prefer) =>
  (['os', 'disk'] as const satisfies readonly JournalDurability[]).map((durability) => ({
    prefer,
    durability,
  })),
)

for (const { prefer, durability } of CASES) {
  test(`on real files by '${prefer}', '${durability}': several lives over several segments`, async () => {
    io = openIo({ prefer })
    const expected: number[] = []
    for (let life = 0; life < 3; life++) {
      const journal = await Journal.open({
        io,
        directory,
        storeId: STORE_ID,
        segmentBytes: 64 * 1024,
        durability,
      })
      const found: number[] = []
      const { highestSeq, tail } = await journal.replay(undefined, ({ seq, body }) => {
        expect(new Set(body)).toEqual(new Set([seq % 251]))
        found.push(seq)
      })
      expect(found).toEqual(expected)
      expect(tail).toBe('clean')
      await journal.start(highestSeq)
      for (let i = 1; i <= 100; i++) {
        const seq = highestSeq + i
        const bytes = 1 + ((seq * 37) % 3000)
        if (!journal.hasRoom(bytes)) await journal.whenRoom(bytes)
        journal.reserve(TYPE, seq, bytes)
        journal.body.fill(seq % 251, journal.bodyOffset, journal.bodyOffset + bytes)
        journal.leave()
        expected.push(seq)
        if (i % 10 === 0) await journal.acknowledge(durability)
      }
      await journal.sync()
      expect(journal.stablePosition).toBe(journal.position)
      expect(journal.stats().segmentSwitches).toBeGreaterThan(0)
      await journal.close()
    }
  })
}
