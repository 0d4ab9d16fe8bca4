/** What is done in a process of its own, a turn for each message: full write load, with and without what makes it durable. */
import { type Db, open, type OpenOptions } from 'holt'

import { ThreadClock } from '../run/thread-clock.js'
import { objectStoreKeys } from '../workloads/object-store.js'
import { shuffledIndexes } from '../workloads/shuffle.js'

/** What one turn took. */
export interface WriterTurn {
  readonly puts: number
  readonly wallMs: number
  /** Of the thread that writes. */
  readonly threadMs: number
  /** Of all threads of the process. */
  readonly cpuMs: number
  readonly checkpoints: number
}

export interface Scene {
  readonly name: string
  readonly durability: 'memory' | 'os'
  /** Puts that are awaited together. */
  readonly together: number
  /** Checkpoints start by themselves as they do unless a user says otherwise; else none starts while a turn lasts. */
  readonly checkpoints: boolean
}

export const PUT_SCENES: readonly Scene[] = [
  { name: 'put, each awaited, no journal', durability: 'memory', together: 1, checkpoints: false },
  { name: 'put, each awaited', durability: 'os', together: 1, checkpoints: false },
  {
    name: 'put, 1000 awaited together, no journal',
    durability: 'memory',
    together: 1_000,
    checkpoints: false,
  },
  { name: 'put, 1000 awaited together', durability: 'os', together: 1_000, checkpoints: false },
]

export const LOAD_SCENES: readonly Scene[] = [
  { name: 'full write load, no checkpoint', durability: 'os', together: 1_000, checkpoints: false },
  { name: 'full write load, checkpoints as they come', durability: 'os', together: 1_000, checkpoints: true },
]

export const VALUE = new Uint8Array(60).fill(7)
/** So that no checkpoint starts for want of clean frames. */
export const CACHE_BYTES = 2 ** 30
export const NO_CHECKPOINTS = {
  intervalMs: 2 ** 31 - 1,
  dirtyFrames: CACHE_BYTES / 2 ** 19,
  journalBytes: 2 ** 40,
} as const
const LOAD_BATCH = 1_000
const READ_CLOCK_EVERY = 4_096

/** A store that is filled, and one scene after the other turn by turn. */
export class Writer {
  readonly #db: Db
  readonly #scene: Scene
  readonly #put: (at: number) => Promise<void>
  readonly #keyCount: number
  readonly #clock = new ThreadClock()
  #at = 0

  private constructor(db: Db, scene: Scene, keyCount: number, put: (at: number) => Promise<void>) {
    this.#db = db
    this.#scene = scene
    this.#keyCount = keyCount
    this.#put = put
  }

  static async create(directory: string, scene: Scene, keyCount: number): Promise<Writer> {
    const options: OpenOptions = {
      durability: scene.durability,
      cacheBytes: CACHE_BYTES,
      // Its work behind a pause belongs to the turn before.
      backgroundCompaction: false,
      ...(scene.checkpoints ? {} : { checkpoint: NO_CHECKPOINTS }),
    }
    const db = await open(directory, options)
    const tree = await db.tree('objects')
    const keys = keysInOrderOfUse(keyCount)
    const writer = new Writer(db, scene, keyCount, (at) => tree.put(keys[at], VALUE))
    await writer.#write(keyCount, LOAD_BATCH)
    await db.checkpoint()
    return writer
  }

  /** Writes for so long, one key after the other in an order without pattern. */
  async turn(lengthMs: number): Promise<WriterTurn> {
    const checkpointsBefore = this.#checkpoints()
    const cpuBefore = process.cpuUsage()
    const before = this.#clock.now()
    const untilMs = performance.now() + lengthMs
    let puts = 0
    do {
      await this.#write(READ_CLOCK_EVERY, this.#scene.together)
      puts += READ_CLOCK_EVERY
    } while (performance.now() < untilMs)
    const after = this.#clock.now()
    const cpu = process.cpuUsage(cpuBefore)
    const checkpoints = this.#checkpoints() - checkpointsBefore
    // Not timed: else the journal of one turn would be in the way of the next.
    await this.#db.checkpoint()
    return {
      puts,
      wallMs: after.wallMs - before.wallMs,
      threadMs: after.cpuMs - before.cpuMs,
      cpuMs: (cpu.user + cpu.system) / 1_000,
      checkpoints,
    }
  }

  async close(): Promise<void> {
    this.#clock.close()
    await this.#db.close()
  }

  async #write(count: number, together: number): Promise<void> {
    let at = this.#at
    for (let done = 0; done < count;) {
      const end = Math.min(done + together, count)
      let newest: Promise<void> | undefined
      for (; done < end; done++) {
        newest = this.#put(at)
        if (++at === this.#keyCount) at = 0
      }
      await newest
    }
    this.#at = at
  }

  #checkpoints(): number {
    return this.#db.stats().checkpoint?.succeeded ?? 0
  }
}

export function keysInOrderOfUse(keyCount: number): readonly string[] {
  const { keys } = objectStoreKeys(keyCount, 0)
  return Array.from(shuffledIndexes(keyCount, 0xd15c), (index) =>
    // In one piece, as a key that was received.
    Buffer.from(keys[index], 'latin1').toString('latin1'),
  )
}
