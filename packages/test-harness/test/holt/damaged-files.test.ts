import { isHoltError } from '@holt/errors'
import { type Db, open } from 'holt'
import { expect, test } from 'vitest'

import { SimDisk } from '../../src/index.js'
import type { SimIo } from '../../src/index.js'

const PATH = '/home/db'
/** Every so manieth byte, and length, of a file is tried: all of them with `HOLT_DAMAGE_STRIDE=1`. */
const STRIDE = Number(process.env['HOLT_DAMAGE_STRIDE'] ?? 0)

function openDb(io: SimIo): Promise<Db> {
  return open(PATH, {
    io,
    durability: 'os',
    createIfMissing: true,
    usableFrameBytes: 16_384,
    segmentBytes: 65_536,
    checkpoint: { thread: false },
  })
}

/** Everything the database shows: keys with values and versions of both trees, and the bytes of a large value. */
async function shown(db: Db): Promise<string> {
  const lines: string[] = []
  for (const name of ['files', 'log']) {
    const tree = await db.tree(name, { valueEncoding: 'utf8' })
    for (const { key, value, version } of tree.scan().toArray())
      lines.push(`${name} ${key} = ${value.length > 100 ? hash(value) : value} @${String(version)}`)
  }
  return lines.join('\n')
}

function hash(text: string): string {
  let sum = 0
  for (let i = 0; i < text.length; i++) sum = (Math.imul(sum, 31) + text.charCodeAt(i)) | 0
  return `${String(text.length)} characters, ${String(sum)}`
}

interface Victim {
  readonly disk: SimDisk
  readonly whole: string
  /** Without the last record, which no later one says was made stable. */
  readonly withoutLast: string
}

/** A process that was killed: an image of several frames, a large value, and behind it records in the journal. */
async function victim(): Promise<Victim> {
  const disk = new SimDisk({ seed: 11 })
  const db = await openDb(disk.start())
  const files = await db.tree('files', { valueEncoding: 'utf8' })
  const log = await db.tree('log', { valueEncoding: 'utf8' })
  for (let i = 0; i < 150; i++)
    await files.put(`dir-${String(i % 7)}/file-${String(i)}`, `v${String(i)}`.repeat(i % 40))
  await files.put('large', 'large value '.repeat(1_500))
  await files.deletePrefix('dir-3/')
  await db.checkpoint()
  // A second image over the first: slots are used again, the manifest has more than one record.
  for (let i = 0; i < 30; i++) await files.put(`dir-1/more-${String(i)}`, 'more')
  await db.checkpoint()
  for (let i = 0; i < 12; i++) await log.put(`entry ${String(i)}`, `text ${String(i)}`)
  await files.renamePrefix('dir-2/', 'moved/')
  await db.atomic((tx) => {
    tx.in(files).delete('dir-1/more-7')
    tx.in(log).put('batch', 'whole')
  })
  await db.sync()
  const withoutLast = await shown(db)
  await log.put('last', 'record')
  await db.sync()
  return { disk: disk.killImage(1), whole: await shown(db), withoutLast }
}

/** What opening and reading a damaged copy comes to. */
async function outcome(
  disk: SimDisk,
): Promise<{ shown: string; tail: string } | { code: string; message: string }> {
  try {
    const db = await openDb(disk.start())
    const tail = db.stats().recovery?.tail ?? ''
    return { shown: await shown(db), tail }
  } catch (error) {
    if (!isHoltError(error)) throw error
    return { code: error.code, message: error.message }
  }
}

interface Verdicts {
  harmless: number
  reported: number
  lastLost: number
}

async function judge(
  victim: Victim,
  damaged: SimDisk,
  name: string,
  what: string,
  verdicts: Verdicts,
): Promise<void> {
  const found = await outcome(damaged)
  if ('code' in found) {
    expect([what, found.code, found.message]).toEqual([
      what,
      'HOLT_CORRUPT',
      expect.stringMatching(/\/home\/db\/\S+/),
    ])
    verdicts.reported++
  } else if (found.shown === victim.whole) {
    verdicts.harmless++
  } else {
    // The record that nothing stands behind cannot be told from one whose write was cut off.
    expect([what, found.shown], what).toEqual([what, victim.withoutLast])
    expect([what, name.startsWith('journal'), found.tail]).toEqual([
      what,
      true,
      expect.stringMatching(/^(torn|unclean)$/),
    ])
    verdicts.lastLost++
  }
}

function strideOf(sizeBytes: number, most: number): number {
  // Odd, so that all places within a word get their turn.
  return STRIDE > 0 ? STRIDE : Math.max(1, Math.floor(sizeBytes / most) | 1)
}

/** End of the last byte that is not zero, and a little more. */
function usedBytes(bytes: Uint8Array): number {
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0) end--
  return Math.min(bytes.length, end + 600)
}

test('a flipped bit anywhere in the files of a store is harmless or HOLT_CORRUPT with the file, and loses nothing', async () => {
  const killed = await victim()
  const { disk } = killed
  const names = disk.list(PATH).filter((name) => !name.startsWith('lock'))
  expect(names.length).toBeGreaterThanOrEqual(3)
  let inJournal = 0
  for (const name of names) {
    const path = `${PATH}/${name}`
    const bytes = disk.contents(path) ?? new Uint8Array(0)
    const end = name.startsWith('journal') ? usedBytes(bytes) : bytes.length
    const verdicts: Verdicts = { harmless: 0, reported: 0, lastLost: 0 }
    const stride = strideOf(end, 300)
    for (let at = 0; at < end; at += stride) {
      // Beyond what is in use nothing is looked at: one byte of a page of zeros is enough.
      if (bytes[at] === 0 && at % 4_096 > stride && isZeroPage(bytes, at)) continue
      const damaged = disk.killImage(at)
      damaged.overwrite(path, at, Uint8Array.of(bytes[at] ^ (1 << (at % 8))))
      await judge(killed, damaged, name, `bit ${String(at % 8)} of byte ${String(at)} of ${name}`, verdicts)
    }
    expect([name, verdicts.reported + verdicts.harmless > 0]).toEqual([name, true])
    // A segment that was made ahead holds nothing yet.
    if (!name.startsWith('journal')) expect([name, verdicts.reported > 0]).toEqual([name, true])
    else inJournal += verdicts.reported
  }
  expect(inJournal).toBeGreaterThan(0)
}, 600_000)

function isZeroPage(bytes: Uint8Array, at: number): boolean {
  const page = at - (at % 4_096)
  return bytes.subarray(page, page + 4_096).every((byte) => byte === 0)
}

test('a file of a store that was cut off anywhere is harmless or HOLT_CORRUPT with the file, and loses nothing', async () => {
  const killed = await victim()
  const { disk } = killed
  for (const name of disk.list(PATH).filter((name) => !name.startsWith('lock'))) {
    const path = `${PATH}/${name}`
    const sizeBytes = disk.contents(path)?.length ?? 0
    const verdicts: Verdicts = { harmless: 0, reported: 0, lastLost: 0 }
    const stride = strideOf(sizeBytes, 120)
    for (let length = 0; length < sizeBytes; length += stride) {
      const damaged = disk.killImage(length)
      damaged.resize(path, length)
      await judge(killed, damaged, name, `${name} cut off at ${String(length)}`, verdicts)
    }
    expect([name, verdicts.reported + verdicts.harmless > 0]).toEqual([name, true])
  }
}, 600_000)
