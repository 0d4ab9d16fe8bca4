import { MAX_USABLE_BYTES, MIN_USABLE_BYTES } from '../src/index.js'
import { HISTORY_KEYS } from './history-keys.js'
import type { HistoryOperation, HistorySetting, IndexHistory } from './history-operation.js'
import { CURSORS, HistoryPlayer, VIEWS } from './history-player.js'
import { type KeyMaker, randomCursorOptions } from './keys.js'
import { Random } from './random.js'

export const OPERATIONS_PER_HISTORY = 5_000
/** Between two looks at everything. */
const OPERATIONS_PER_VERIFY = 500
const OPERATIONS_PER_PHASE = 400
/** Frames of the smallest size that still take the longest key. */
const LONGEST_KEY_FRAME = 4_096 + 32 * 4_104

const KINDS = Object.values(HISTORY_KEYS)

/** A history ends where the index and the map differ: `operations` are those up to there, ready to be played again. */
export class HistoryDifference extends Error {
  override readonly name = 'HistoryDifference'
  readonly history: IndexHistory

  constructor(history: IndexHistory, cause: unknown) {
    const what = cause instanceof Error ? cause.message : String(cause)
    super(`seed ${String(history.seed)}, operation ${String(history.operations.length)}: ${what}`, { cause })
    this.history = history
  }
}

/**
 * Draws a history from a seed while it is played: what is drawn depends on the keys that are there. Throws
 * {@link HistoryDifference}.
 */
export function playGenerated(seed: number, operations = OPERATIONS_PER_HISTORY): HistoryPlayer {
  const draw = new HistoryDraw(seed)
  const player = new HistoryPlayer(draw.setting)
  const played: HistoryOperation[] = []
  try {
    for (let i = 1; i <= operations; i++) {
      const look = i % OPERATIONS_PER_VERIFY === 0 || i === operations
      const operation = look ? ({ kind: 'verify' } as const) : draw.next(player)
      played.push(operation)
      player.play(operation)
    }
  } catch (error) {
    throw new HistoryDifference({ seed, setting: draw.setting, operations: played }, error)
  }
  return player
}

class HistoryDraw {
  readonly setting: HistorySetting
  readonly #random: Random
  readonly #makers: readonly KeyMaker[]
  readonly #longestKey: number
  /** Above so many keys more are deleted than put. */
  readonly #mostKeys: number
  readonly #largestValue: number
  readonly #hasViews: boolean
  #percentDelete = 20
  #drawn = 0

  constructor(seed: number) {
    const random = new Random(seed)
    this.#random = random
    const usableFrameBytes = random.pick([
      ...Array.from({ length: 6 }, () => MIN_USABLE_BYTES),
      MIN_USABLE_BYTES + 8_192,
      40_960,
      LONGEST_KEY_FRAME,
      MAX_USABLE_BYTES,
    ])
    this.setting = { usableFrameBytes, moveOnWrite: random.chance(50) }
    this.#hasViews = random.chance(60)
    this.#longestKey = Math.min(4_100, (usableFrameBytes - 4_096) >>> 5)
    this.#makers = random.chance(80) ? [random.pick(KINDS)] : [random.pick(KINDS), random.pick(KINDS)]
    this.#mostKeys = random.pick([60, 300, 300, 1_000, 2_500])
    this.#largestValue = random.chance(10) ? 270_000 : random.pick([3 * 8_192, 65_536])
  }

  next(player: HistoryPlayer): HistoryOperation {
    const random = this.#random
    if (this.#drawn++ % OPERATIONS_PER_PHASE === 0) {
      const many = player.map.size > this.#mostKeys
      this.#percentDelete = many ? random.pick([60, 85]) : random.pick([2, 5, 10, 20, 50])
    }
    if (this.#hasViews && random.chance(3)) return this.#view(player)
    const dice = random.below(1_000)
    if (dice < 560) return random.chance(this.#percentDelete) ? this.#delete(player) : this.#put(player)
    if (dice < 580) return { kind: 'longestPrefix', query: this.#query(player) }
    if (dice < 790) return { kind: 'find', key: this.#key(player, 60) }
    if (dice < 820) return { kind: 'touch', key: this.#key(player, 60) }
    if (dice < 850)
      return { kind: 'scan', options: this.#range(player), limit: random.pick([1, 3, 12, 12, 1e9]) }
    if (dice < 862) return { kind: 'open', cursor: random.below(CURSORS), options: this.#range(player) }
    if (dice < 910) return { kind: 'advance', cursor: random.below(CURSORS), entries: 1 + random.below(4) }
    if (dice < 918) return { kind: 'resume', cursor: random.below(CURSORS) }
    if (dice < 934) return { kind: 'count', prefix: this.#prefix(player) }
    if (dice < 940) return this.#deletePrefix(player)
    if (dice < 956) return this.#movePrefix(player)
    if (dice < 976) {
      const fill = random.pick([0.6, 0.95, 1])
      return { kind: 'compact', steps: 1 + random.below(30), frames: random.pick([2, 3, 8, 64]), fill }
    }
    if (dice < 986) return { kind: 'giveBack', frames: 1 + random.below(6) }
    if (dice < 998) {
      const percent = random.pick([10, 30, 100])
      return { kind: 'evict', percent, seed: random.below(2 ** 30), mayBlock: random.chance(50) }
    }
    return { kind: 'attach' }
  }

  #view(player: HistoryPlayer): HistoryOperation {
    const random = this.#random
    const view = random.below(VIEWS)
    const dice = random.below(10)
    if (dice < 3) return { kind: 'view', view }
    if (dice < 5) return { kind: 'closeView', view }
    const limit = random.pick([1, 4, 20, 1e9])
    return { kind: 'readView', view, key: this.#key(player, 70), options: this.#range(player), limit }
  }

  #put(player: HistoryPlayer): HistoryOperation {
    const random = this.#random
    const valueBytes = random.chance(1)
      ? random.below(this.#largestValue + 1)
      : random.below(random.pick([1, 2, 8, 200, 200, 200, 2_000]))
    return { kind: 'put', key: this.#key(player, 20), valueBytes, pattern: random.below(2 ** 20) }
  }

  #delete(player: HistoryPlayer): HistoryOperation {
    return { kind: 'delete', key: this.#key(player, 95) }
  }

  #deletePrefix(player: HistoryPlayer): HistoryOperation {
    const prefix = this.#prefix(player)
    // Short ones would keep every tree small.
    if (player.map.keysBelow(prefix).length * 2 > player.map.size && this.#random.chance(90))
      return this.#delete(player)
    return { kind: 'deletePrefix', prefix }
  }

  #movePrefix(player: HistoryPlayer): HistoryOperation {
    const random = this.#random
    const to = random.chance(50) ? this.#prefix(player) : this.#prefix(player) + this.#make()
    return { kind: 'movePrefix', from: this.#prefix(player), to: to.slice(0, this.#longestKey) }
  }

  #range(player: HistoryPlayer): ReturnType<typeof randomCursorOptions> {
    return randomCursorOptions(this.#random, () => this.#make(), player.map.keys)
  }

  #make(): string {
    return this.#random.pick(this.#makers)(this.#random).slice(0, this.#longestKey)
  }

  /** One that is there, or one made up, which may be the longer brother of one that is there. */
  #key(player: HistoryPlayer, percentPresent: number): string {
    const { keys } = player.map
    const random = this.#random
    if (keys.length > 0 && random.chance(percentPresent)) return random.pick(keys)
    if (keys.length > 0 && random.chance(8))
      return (random.pick(keys) + random.pick(['\0', '\0\0', '/', '\xff'])).slice(0, this.#longestKey)
    return this.#make()
  }

  #query(player: HistoryPlayer): string {
    const random = this.#random
    const query = this.#key(player, 70)
    return random.chance(50) ? (query + this.#make()).slice(0, this.#longestKey) : query
  }

  /** Cut anywhere, or the path up to a delimiter. */
  #prefix(player: HistoryPlayer): string {
    const random = this.#random
    const key = this.#key(player, 85)
    const slash = key.lastIndexOf('/')
    if (slash >= 0 && random.chance(40)) return key.slice(0, slash + 1)
    return key.slice(0, random.below(key.length + 1))
  }
}
