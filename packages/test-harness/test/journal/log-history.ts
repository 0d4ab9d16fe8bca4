import { FIRST_CALLER_TYPE, Journal } from '@holt/journal'

import type { SeededRandom, SimIo } from '../../src/index.js'

export interface LogMode {
  readonly name: string
  readonly durability: 'os' | 'disk'
  readonly mappings: boolean
}

export const LOG_MODES: readonly LogMode[] = [
  { name: "'disk'", durability: 'disk', mappings: true },
  { name: "'os', mapped", durability: 'os', mappings: true },
  { name: "'os', written", durability: 'os', mappings: false },
]

const STORE_ID = new Uint8Array(16).fill(3)

export interface OpenedLog {
  readonly journal: Journal
  /** Texts of the records found, in order. */
  readonly found: string[]
}

/** Opens the log and reads it; `start` also makes it ready to append. */
export async function openLog(
  io: SimIo,
  durability: 'os' | 'disk',
  random: SeededRandom,
): Promise<OpenedLog> {
  await io.mkdir('/j')
  await io.syncDir('/')
  const journal = await Journal.open({
    io,
    directory: '/j',
    storeId: STORE_ID,
    segmentBytes: 16_384,
    durability,
    random: () => random.uint32() / 2 ** 32,
  })
  const found: string[] = []
  await journal.replay(undefined, ({ body }) => {
    found.push(Buffer.from(body).toString('latin1'))
  })
  return { journal, found }
}

/** What was appended to a log, and how far a crash may take it back. */
export class LogHistory {
  readonly texts: string[]
  /** Records acknowledged so far as surviving a killed process. */
  acknowledged = 0
  /** Records acknowledged so far as surviving a power loss. */
  stable = 0
  readonly #random: SeededRandom
  readonly #name: string

  constructor(random: SeededRandom, name: string, found: readonly string[] = []) {
    this.#random = random
    this.#name = name
    this.texts = [...found]
  }

  async append(journal: Journal, records: number, onAppended: () => void = () => undefined): Promise<void> {
    const random = this.#random
    const waits: Promise<void>[] = []
    for (let i = 0; i < records; i++) {
      const text = `${this.#name} ${String(this.texts.length)} `.padEnd(random.between(12, 1800), 'abcdefg')
      if (!journal.hasRoom(text.length)) await journal.whenRoom(text.length)
      journal.reserve(FIRST_CALLER_TYPE, this.texts.length + 1, text.length)
      Buffer.from(text, 'latin1').copy(
        Buffer.from(journal.body.buffer, journal.body.byteOffset + journal.bodyOffset, text.length),
      )
      journal.leave()
      this.texts.push(text)
      onAppended()
      const upTo = this.texts.length
      const toDisk = random.chance(0.2)
      const acknowledged = journal.acknowledge(toDisk ? 'disk' : 'os').then(() => {
        this.acknowledged = Math.max(this.acknowledged, upTo)
        if (toDisk) this.stable = Math.max(this.stable, upTo)
      })
      // One that fails while another is waited for must not go unheard.
      acknowledged.catch(() => undefined)
      if (random.chance(0.6)) await acknowledged
      else waits.push(acknowledged)
    }
    await Promise.all(waits)
  }
}
