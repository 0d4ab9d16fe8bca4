import type { CrashKind, History, HistoryOptions, HistoryStep, TreeNumber, TreeWrite } from './history.js'
import type { OracleOperation, OracleRange } from './ordered-map-oracle.js'
import { SeededRandom } from './seeded-random.js'

const KEY_BYTES = [0x00, 0x01, 0x2f, 0xff, 0x61, 0x62] as const
const KEY_LENGTH_MAX = 12
const VALUE_BYTES_MAX = 200
const SESSIONS = 4
/** That are open at the same time, at most. */
const VIEWS = 3
const SNAPSHOTS = ['first snapshot', 'second snapshot', 'third snapshot'] as const
const STEPS_PER_SESSION = 60
/**
 * A key that begins so has, half of the time, a value too large for its leaf in the frames of the history, up to three
 * frames of its own and a third of a segment. The other keys have none, since a batch moves as many as it likes.
 */
const LARGE_KEY_BYTE = 0x4c
const LARGE_KEYS = 6
const LARGE_VALUE_BYTES_MAX = 20_000
/** Writes that together fill more than two segments: wherever a crash cuts them, one part holds a switch. */
const FILL_BATCHES = 16
const FILL_BATCH_WRITES = 80

/**
 * A history from a seed: four sessions, each of at least 60 steps, and a crash between one and the next. Keys are made
 * of few bytes, so that many are prefixes of one another. One session writes more than a journal segment. Values too
 * large for their leaf come and go among all that.
 *
 * @param durability - of the database; by default drawn from the seed
 * @param subtrees - whether there are operations on all keys below a prefix; older seeds know none
 * @param largeValues - whether there are steps that write large values; the others are the same without
 * @param upkeep - whether there are steps that compact and vacuum; the others are the same without
 * @param views - whether there are steps that take views and read them; the others are the same without
 * @param snapshots - whether there are steps that take snapshots, read and drop them; the others are the same without
 */
export function generateHistory(
  seed: number,
  durability?: 'os' | 'disk',
  {
    subtrees = true,
    largeValues = true,
    upkeep = true,
    views = true,
    snapshots = true,
  }: {
    readonly subtrees?: boolean
    readonly largeValues?: boolean
    readonly upkeep?: boolean
    readonly views?: boolean
    readonly snapshots?: boolean
  } = {},
): History {
  const random = new SeededRandom(seed)
  const options: HistoryOptions = {
    durability: durability ?? random.pick(['os', 'disk']),
    segmentBytes: 65_536,
    usableFrameBytes: 4096 + 8 * random.pick([1024, 1024, 2048, 4096]),
    cacheFrames: random.pick([16, 16, 64]),
    reorder: random.chance(0.7),
    mappings: random.chance(0.7),
    locks: random.chance(0.8),
  }
  const keys = new KeyPool(random, subtrees)
  const fillSession = random.below(SESSIONS)
  const steps: HistoryStep[] = []
  for (let session = 0; session < SESSIONS; session++) {
    const armAt = random.chance(0.6) ? random.below(STEPS_PER_SESSION) : -1
    if (session === fillSession) fillSegment(steps, keys, random)
    for (let step = 0; step < STEPS_PER_SESSION; step++) {
      if (step === armAt) {
        steps.push({ kind: 'arm', calls: random.between(1, 40) })
        // Most calls of the Io are those of a checkpoint.
        if (random.chance(0.5)) steps.push({ kind: 'checkpoint', wait: random.chance(0.5) })
      }
      steps.push(drawStep(random, keys))
    }
    const crash: CrashKind = random.pick(['kill', 'kill', 'power-loss', 'power-loss', 'power-loss', 'close'])
    const crashInOpenAfterCalls = random.chance(0.3) ? random.between(1, 60) : undefined
    if (session < SESSIONS - 1) {
      // Three reopens after a kill or a power loss are asked of each history.
      steps.push({ kind: 'reopen', crash: crash === 'close' ? 'kill' : crash, crashInOpenAfterCalls })
      if (crash === 'close') steps.push({ kind: 'reopen', crash: 'close', crashInOpenAfterCalls: undefined })
    } else {
      steps.push({ kind: 'reopen', crash, crashInOpenAfterCalls: undefined })
    }
  }
  const withValues = largeValues ? withLargeValues(seed, options.usableFrameBytes, steps) : steps
  const withAll = upkeep ? withUpkeep(seed, withValues) : withValues
  const viewed = views ? withViews(seed, keys, withAll) : withAll
  return { seed, options, steps: snapshots ? withSnapshots(seed, keys, viewed) : viewed }
}

/** Snapshots taken, dropped and read among the other steps. Draws from numbers of its own. */
function withSnapshots(seed: number, keys: KeyPool, steps: readonly HistoryStep[]): HistoryStep[] {
  const random = new SeededRandom(seed + 4_000_000_007)
  const pool = keys.with(random)
  const all: HistoryStep[] = []
  for (const step of steps) {
    all.push(step)
    // Some where a crash is about to come, and some right behind an opening, on top of what replay has made.
    if (!random.chance(step.kind === 'arm' || step.kind === 'reopen' ? 0.4 : 0.1)) continue
    const name = random.pick(SNAPSHOTS)
    const dice = random.below(10)
    const wait = random.chance(0.5)
    if (dice < 4) all.push({ kind: 'snapshot', name, wait })
    else if (dice < 6) all.push({ kind: 'dropSnapshot', name, wait })
    else
      all.push({
        kind: 'readSnapshot',
        name,
        tree: drawTree(random),
        key: random.chance(0.1) ? Uint8Array.of(LARGE_KEY_BYTE, random.below(LARGE_KEYS)) : pool.draw(),
        range: drawRange(random, pool),
      })
  }
  return all
}

/** Views taken, read and closed among the other steps. Draws from numbers of its own. */
function withViews(seed: number, keys: KeyPool, steps: readonly HistoryStep[]): HistoryStep[] {
  const random = new SeededRandom(seed + 3_000_000_019)
  const pool = keys.with(random)
  const all: HistoryStep[] = []
  for (const step of steps) {
    all.push(step)
    if (!random.chance(0.12)) continue
    const view = random.below(VIEWS)
    const dice = random.below(10)
    if (dice < 3) all.push({ kind: 'view', view })
    else if (dice < 5) all.push({ kind: 'closeView', view })
    else
      all.push({
        kind: 'readView',
        view,
        tree: drawTree(random),
        key: random.chance(0.1) ? Uint8Array.of(LARGE_KEY_BYTE, random.below(LARGE_KEYS)) : pool.draw(),
        range: drawRange(random, pool),
      })
  }
  return all
}

/** Compaction and vacuum among the other steps, often where a crash is about to come. Draws from numbers of its own. */
function withUpkeep(seed: number, steps: readonly HistoryStep[]): HistoryStep[] {
  const random = new SeededRandom(seed + 2_000_000_011)
  const all: HistoryStep[] = []
  for (const step of steps) {
    all.push(step)
    if (random.chance(step.kind === 'arm' ? 0.5 : 0.03))
      all.push({ kind: random.pick(['compact', 'compact', 'vacuum']), wait: random.chance(0.5) })
  }
  return all
}

/** Draws from numbers of its own, so that all other steps stay as they are. */
function withLargeValues(
  seed: number,
  usableFrameBytes: number,
  steps: readonly HistoryStep[],
): HistoryStep[] {
  const random = new SeededRandom(seed + 1_000_000_007)
  const inline = (usableFrameBytes - 4096) / 8
  const key = (): Uint8Array => Uint8Array.of(LARGE_KEY_BYTE, random.below(LARGE_KEYS))
  const value = (): Uint8Array =>
    random.bytes(
      random.chance(0.5)
        ? random.between(inline + 1, LARGE_VALUE_BYTES_MAX)
        : random.pick([0, 100, inline, inline + 1]),
    )
  const operation = (): OracleOperation => {
    const dice = random.below(100)
    if (dice < 60) return { kind: 'put', key: key(), value: value() }
    if (dice < 75) return { kind: 'delete', key: key() }
    if (dice < 85) return { kind: 'putIfAbsent', key: key(), value: value() }
    return { kind: 'rename', from: key(), to: key(), force: random.chance(0.7) }
  }
  const write = (): TreeWrite => ({ tree: drawTree(random), operation: operation() })
  const all: HistoryStep[] = []
  for (const step of steps) {
    if (random.chance(0.1)) {
      const wait = random.chance(0.5)
      if (random.chance(0.7)) all.push({ kind: 'write', write: write(), wait, toDisk: random.chance(0.1) })
      else if (random.chance(0.5)) all.push({ kind: 'batch', writes: [write(), write()], wait })
      else all.push({ kind: 'get', tree: drawTree(random), key: key() })
    }
    all.push(step)
  }
  return all
}

function fillSegment(steps: HistoryStep[], keys: KeyPool, random: SeededRandom): void {
  if (random.chance(0.4)) steps.push({ kind: 'arm', calls: random.between(1, 80) })
  for (let batch = 0; batch < FILL_BATCHES; batch++) {
    const writes: TreeWrite[] = []
    for (let i = 0; i < FILL_BATCH_WRITES; i++) {
      const value = random.bytes(random.between(100, VALUE_BYTES_MAX))
      writes.push({ tree: drawTree(random), operation: { kind: 'put', key: keys.draw(), value } })
    }
    steps.push({ kind: 'batch', writes, wait: random.chance(0.5) })
  }
  steps.push({ kind: 'checkpoint', wait: true })
}

function drawStep(random: SeededRandom, keys: KeyPool): HistoryStep {
  const dice = random.below(100)
  if (dice < 52) {
    const operation = drawOperation(random, keys)
    return {
      kind: 'write',
      write: { tree: drawTree(random), operation },
      wait: random.chance(0.5),
      toDisk: random.chance(0.1),
    }
  }
  if (dice < 66) {
    const writes: TreeWrite[] = []
    const count = random.chance(0.8) ? random.between(1, 8) : random.between(8, 60)
    for (let i = 0; i < count; i++) {
      writes.push({ tree: drawTree(random), operation: drawOperation(random, keys) })
    }
    return { kind: 'batch', writes, wait: random.chance(0.5) }
  }
  if (dice < 76) return { kind: 'get', tree: drawTree(random), key: keys.draw() }
  if (dice < 84) return { kind: 'scan', tree: drawTree(random), range: drawRange(random, keys) }
  if (dice < 88) {
    const { limit: _, ...range } = drawRange(random, keys)
    return { kind: 'list', tree: drawTree(random), range, pageEntries: random.between(1, 9) }
  }
  if (dice < 93) return { kind: 'checkpoint', wait: random.chance(0.5) }
  return { kind: 'sync', wait: random.chance(0.5) }
}

function drawTree(random: SeededRandom): TreeNumber {
  return random.chance(0.7) ? 0 : 1
}

function drawOperation(random: SeededRandom, keys: KeyPool): OracleOperation {
  const value = random.bytes(random.chance(0.1) ? 0 : random.between(0, VALUE_BYTES_MAX))
  const dice = random.below(100)
  if (dice < 55) return { kind: 'put', key: keys.draw(), value }
  if (dice < 75) return { kind: 'delete', key: keys.draw() }
  if (dice < (keys.subtrees ? 83 : 85)) return { kind: 'putIfAbsent', key: keys.draw(), value }
  if (!keys.subtrees) return { kind: 'rename', from: keys.draw(), to: keys.draw(), force: random.chance(0.5) }
  if (dice < 85) return { kind: 'deletePrefix', prefix: drawPrefix(random, keys) }
  if (dice < 90) {
    const from = drawPrefix(random, keys)
    // No longer than the old one: keys that are moved often must not outgrow the small frames' limit.
    const to = drawPrefix(random, keys).subarray(0, from.length)
    const shared = from.subarray(0, to.length)
    if (Buffer.compare(shared, to) !== 0) return { kind: 'renamePrefix', from, to, force: random.chance(0.5) }
  }
  return { kind: 'rename', from: keys.draw(), to: keys.draw(), force: random.chance(0.5) }
}

/** Cut anywhere. Seldom so short that a tree is empty by it. */
function drawPrefix(random: SeededRandom, keys: KeyPool): Uint8Array {
  const key = keys.draw()
  const least = Math.min(key.length, random.chance(0.9) ? 2 : 0)
  return key.subarray(0, random.between(least, key.length))
}

function drawRange(random: SeededRandom, keys: KeyPool): OracleRange {
  const maybe = <T>(probability: number, make: () => T): T | undefined =>
    random.chance(probability) ? make() : undefined
  const prefix = maybe(0.5, () => {
    const key = keys.draw()
    return key.subarray(0, random.below(key.length + 1))
  })
  const delimiter = maybe(0.5, () =>
    random.chance(0.8) ? Uint8Array.of(0x2f) : Uint8Array.of(...random.pick([[0x61], [0x2f, 0x61], [0x00]])),
  )
  const lower = maybe(0.3, () => keys.draw())
  const upper = maybe(0.3, () => keys.draw())
  const limit = maybe(0.2, () => random.below(12))
  return {
    ...(prefix && { prefix }),
    ...(delimiter && { delimiter }),
    ...(lower && (random.chance(0.5) ? { gt: lower } : { gte: lower })),
    ...(upper && (random.chance(0.5) ? { lt: upper } : { lte: upper })),
    ...(limit !== undefined && { limit }),
    ...(random.chance(0.4) && { reverse: true }),
  }
}

/** Keys drawn before come up again, longer or shorter at times. */
class KeyPool {
  /** Whether operations on subtrees are drawn. */
  readonly subtrees: boolean
  readonly #random: SeededRandom
  readonly #keys: Uint8Array[] = [new Uint8Array(0)]

  constructor(random: SeededRandom, subtrees: boolean) {
    this.subtrees = subtrees
    this.#random = random
  }

  /** The keys drawn so far, drawn again from other numbers. */
  with(random: SeededRandom): KeyPool {
    const pool = new KeyPool(random, this.subtrees)
    pool.#keys.push(...this.#keys)
    return pool
  }

  draw(): Uint8Array {
    const random = this.#random
    if (random.chance(0.6)) return random.pick(this.#keys)
    const known = random.pick(this.#keys)
    const start = random.chance(0.6) ? known.subarray(0, random.below(known.length + 1)) : new Uint8Array(0)
    const more = random.below(KEY_LENGTH_MAX - start.length + 1)
    const key = Uint8Array.of(...start, ...Array.from({ length: more }, () => random.pick(KEY_BYTES)))
    this.#keys.push(key)
    return key
  }
}
