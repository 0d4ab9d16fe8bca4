import { Journal, type JournalOptions, type Lsn, type ReplayReport } from '../src/index.js'
import type { MemoryIo } from './memory-io.js'

export const DIRECTORY = '/store'
export const STORE_ID = Uint8Array.from({ length: 16 }, (_, i) => i + 1)
export const SEGMENT_BYTES = 16 * 1024
export const TYPE = 20

/** A repeatable source of salts. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0 || 1
  return () => {
    state ^= state << 13
    state >>>= 0
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state / 2 ** 32
  }
}

let salt = 1

export interface Mode {
  readonly name: string
  readonly durability: 'os' | 'disk'
  readonly mappable: boolean
}

/** The three ways a log is appended to. */
export const MODES: readonly Mode[] = [
  { name: "'os', mapped", durability: 'os', mappable: true },
  { name: "'os', written", durability: 'os', mappable: false },
  { name: "'disk'", durability: 'disk', mappable: false },
]

export function openJournal(io: MemoryIo, options: Partial<JournalOptions> = {}): Promise<Journal> {
  return Journal.open({
    io,
    directory: DIRECTORY,
    storeId: STORE_ID,
    segmentBytes: SEGMENT_BYTES,
    durability: 'os',
    random: seeded(salt++),
    ...options,
  })
}

/** Opened, replayed and started. */
export async function startJournal(io: MemoryIo, options: Partial<JournalOptions> = {}): Promise<Journal> {
  const journal = await openJournal(io, options)
  await journal.replay(undefined, () => undefined)
  await journal.start(0)
  return journal
}

export interface Entry {
  readonly seq: number
  readonly text: string
  readonly position: Lsn
}

export interface Reading {
  readonly report: ReplayReport
  readonly entries: readonly Entry[]
  readonly texts: readonly string[]
}

/** Everything a log holds from a position on. */
export async function readAll(io: MemoryIo, from?: Lsn): Promise<Reading> {
  const journal = await openJournal(io)
  const entries: Entry[] = []
  const report = await journal.replay(from, ({ seq, body, position }) => {
    entries.push({ seq, position, text: Buffer.from(body).toString('latin1') })
  })
  await journal.close()
  return { report, entries, texts: entries.map(({ text }) => text) }
}

/** Appends without waiting; the caller knows that there is room. */
export function append(journal: Journal, seq: number, body: string | Uint8Array): Lsn {
  const bytes = typeof body === 'string' ? Buffer.from(body, 'latin1') : body
  journal.reserve(TYPE, seq, bytes.length)
  journal.body.set(bytes, journal.bodyOffset)
  journal.leave()
  return journal.position
}

/** Appends as an engine does: waits for room first. */
export async function appendWhenRoom(journal: Journal, seq: number, body: string | Uint8Array): Promise<Lsn> {
  if (!journal.hasRoom(body.length)) await journal.whenRoom(body.length)
  return append(journal, seq, body)
}

export function segmentPath(number: number): string {
  return `${DIRECTORY}/journal-${String(number).padStart(12, '0')}.wal`
}
