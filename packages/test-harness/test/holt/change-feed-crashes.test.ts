import { type Commit, type Db, isHoltError, open, type Tree } from 'holt'
import { describe, expect, test } from 'vitest'

import { SeededRandom, SimDisk } from '../../src/index.js'

const PATH = '/home/db'
const NAMES = ['a', 'b', 'load', 'x'] as const
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

interface Told {
  readonly version: number
  readonly lines: readonly string[]
}

function linesOf({ changes }: Commit): string[] {
  return changes.map((change) => {
    switch (change.kind) {
      case 'put':
        return `put ${change.tree} ${text(change.key)}=${text(change.value)}`
      case 'delete':
        return `delete ${change.tree} ${text(change.key)}`
      case 'deletePrefix':
        return `deletePrefix ${change.tree} ${text(change.prefix)}`
      case 'renamePrefix':
        return `renamePrefix ${change.tree} ${text(change.from)} ${text(change.to)}`
      default:
        return `${change.kind} ${change.tree}`
    }
  })
}

/**
 * Somebody outside who keeps a copy of all trees by the feed, and the version up to which he has it: what he stored survives
 * every crash, and is all he goes on from.
 */
class Consumer {
  version = 0
  expired = 0
  readonly told: Told[] = []
  readonly trees = new Map<string, Map<string, string>>(NAMES.map((name) => [name, new Map()]))
  /** Trees that were read, and the version that they showed. */
  readonly #readAt = new Map<string, number>()

  /** Follows until the feed ends or `isOver`. Errors of a process that was killed are those of nobody. */
  async follow(
    db: Db,
    handles: ReadonlyMap<string, Tree<string, string>>,
    isOver: () => boolean,
  ): Promise<void> {
    for (;;) {
      try {
        for await (const commit of db.changes(this.version)) {
          const loaded = commit.changes.filter(({ kind }) => kind === 'bulkLoad').map(({ tree }) => tree)
          if (loaded.length > 0) {
            const read = readTrees(db, handles, loaded)
            await db.sync()
            if (isOver()) return
            this.#store(read)
          }
          if (isOver()) return
          this.#apply(commit)
        }
        return
      } catch (error) {
        if (isOver()) return
        if (!isHoltError(error, 'HOLT_POSITION_EXPIRED')) throw error
        const read = readTrees(db, handles, NAMES)
        await db.sync()
        if (isOver()) return
        this.expired++
        this.#store(read)
        this.version = read.version
      }
    }
  }

  #store({ version, trees }: ReturnType<typeof readTrees>): void {
    for (const [name, entries] of trees) {
      this.trees.set(name, entries)
      this.#readAt.set(name, version)
    }
  }

  #apply(commit: Commit): void {
    expect(commit.version, 'versions ascend').toBeGreaterThan(this.version)
    this.version = commit.version
    this.told.push({ version: commit.version, lines: linesOf(commit) })
    for (const change of commit.changes) {
      if (commit.version <= (this.#readAt.get(change.tree) ?? 0)) continue
      const tree = this.trees.get(change.tree) ?? new Map<string, string>()
      this.trees.set(change.tree, tree)
      if (change.kind === 'put') tree.set(text(change.key), text(change.value))
      else if (change.kind === 'delete') tree.delete(text(change.key))
      else if (change.kind === 'dropTree' || change.kind === 'createTree') tree.clear()
      else if (change.kind === 'deletePrefix') removeBelow(tree, text(change.prefix))
      else if (change.kind === 'renamePrefix') {
        const from = text(change.from)
        const moved = [...tree].filter(([key]) => key.startsWith(from))
        removeBelow(tree, text(change.to))
        removeBelow(tree, from)
        for (const [key, value] of moved) tree.set(text(change.to) + key.slice(from.length), value)
      }
    }
  }
}

function removeBelow(tree: Map<string, string>, prefix: string): void {
  for (const key of [...tree.keys()]) if (key.startsWith(prefix)) tree.delete(key)
}

/** All in one turn, so that it is the state at one version. */
function readTrees(
  db: Db,
  handles: ReadonlyMap<string, Tree<string, string>>,
  names: readonly string[],
): { readonly version: number; readonly trees: Map<string, Map<string, string>> } {
  const trees = new Map<string, Map<string, string>>()
  for (const name of names) {
    const entries = new Map<string, string>()
    trees.set(name, entries)
    try {
      for (const { key, value } of handles.get(name)?.scan() ?? []) entries.set(key, value)
    } catch (error) {
      if (!isHoltError(error, 'HOLT_TREE_DROPPED')) throw error
    }
  }
  return { version: db.version, trees }
}

interface Config {
  readonly name: string
  readonly durability: 'os' | 'disk'
  readonly mappings: boolean
  readonly retainJournalBytes: number
}

/** What the writer knows: of each commit it saw acknowledged, what it did. */
interface Life {
  readonly acknowledged: Map<number, readonly string[]>
  /** What the operation that was cut off would have done. */
  pending: readonly (readonly string[])[]
}

/** One operation, drawn. Tells what its commits do. */
async function write(
  db: Db,
  handles: Map<string, Tree<string, string>>,
  random: SeededRandom,
  life: Life,
): Promise<void> {
  const handle = (name: string): Tree<string, string> => {
    const tree = handles.get(name)
    if (tree === undefined) throw new Error(`no tree ${name}`)
    return tree
  }
  const name = random.pick(['a', 'b'] as const)
  const key = (): string => `d${String(random.below(4))}/k${String(random.below(12))}`
  const commit = async (expected: readonly string[], run: () => Promise<unknown>): Promise<void> => {
    life.pending = [expected]
    const before = db.version
    await run()
    if (db.version !== before) life.acknowledged.set(db.version, expected)
    life.pending = []
  }
  const value = (): string => `${String(random.below(1e9))} `.padEnd(random.between(10, 1500), '.')
  const kind = random.below(100)
  if (kind < 55) {
    const [at, what] = [key(), value()]
    await commit([`put ${name} ${at}=${what}`], () => handle(name).put(at, what))
  } else if (kind < 70) {
    const puts = [key(), key(), key()].map((at, i) => ({ tree: i === 1 ? 'x' : name, at, what: value() }))
    await commit(
      puts.map(({ tree, at, what }) => `put ${tree} ${at}=${what}`),
      () => db.atomic((tx) => { for (const { tree, at, what } of puts) tx.in(handle(tree)).put(at, what) }), // prettier-ignore
    )
  } else if (kind < 78) {
    const at = key()
    await commit([`delete ${name} ${at}`], () => handle(name).delete(at))
  } else if (kind < 84) {
    const [from, to] = [`d${String(random.below(4))}/`, `e${String(random.below(3))}/`]
    await commit([`renamePrefix ${name} ${from} ${to}`], () =>
      handle(name)
        .renamePrefix(from, to, { force: true })
        .catch((error: unknown) => {
          if (!isHoltError(error, 'HOLT_NOT_FOUND')) throw error
        }),
    )
  } else if (kind < 88) {
    const prefix = `e${String(random.below(3))}/`
    await commit([`deletePrefix ${name} ${prefix}`], () => handle(name).deletePrefix(prefix))
  } else if (kind < 91) {
    await commit(['dropTree x'], () => db.dropTree('x'))
    await commit(['createTree x'], async () => {
      handles.set('x', await db.tree('x', { valueEncoding: 'utf8' }))
    })
  } else if (kind < 93) {
    await commit(['deletePrefix load '], () => handle('load').deletePrefix(''))
    const entries = Array.from({ length: random.between(1, 300) }, (_, i): [string, string] => [
      `l${String(i).padStart(4, '0')}`,
      `load ${String(random.below(1000))}`,
    ])
    await commit(['bulkLoad load'], () => handle('load').bulkLoad(entries, { sorted: true }))
    await commit(['renamePrefix load l00 moved'], () =>
      handle('load').renamePrefix('l00', 'moved', { force: true }),
    )
  } else if (kind < 96) await db.checkpoint()
  else await db.sync()
}

function openDb(disk: SimDisk, config: Config, onCall: (number: number) => void): Promise<Db> {
  const io = disk.start({
    autoAdvance: true,
    reorder: true,
    mappings: config.mappings,
    onCall: ({ number }) => {
      onCall(number)
    },
  })
  return open(PATH, {
    io,
    durability: config.durability,
    usableFrameBytes: 16_384,
    segmentBytes: 65_536,
    syncIntervalMs: 5,
    retainJournalBytes: config.retainJournalBytes,
    checkpoint: { thread: false, journalBytes: 100_000 },
  })
}

async function openTrees(db: Db, life: Life): Promise<Map<string, Tree<string, string>>> {
  const handles = new Map<string, Tree<string, string>>()
  for (const name of NAMES) {
    life.pending = [[`createTree ${name}`]]
    const before = db.version
    handles.set(name, await db.tree(name, { valueEncoding: 'utf8' }))
    if (db.version !== before) life.acknowledged.set(db.version, [`createTree ${name}`])
    life.pending = []
  }
  return handles
}

async function runHistory(config: Config, seed: number, lives: number): Promise<Consumer> {
  const random = new SeededRandom(seed)
  const consumer = new Consumer()
  const known: Life[] = []
  let disk = new SimDisk({ seed })
  for (let number = 1; number <= lives; number++) {
    const what = `seed ${String(seed)}, life ${String(number)}`
    const isLast = number === lives
    // A third of the lives end by a close.
    const cutAt = isLast || random.chance(0.3) ? Infinity : random.between(10, 700)
    const isPowerLoss = random.chance(0.6)
    const crashSeed = random.below(1e6)
    const life: Life = { acknowledged: new Map(), pending: [] }
    known.push(life)
    let image: SimDisk | undefined
    let isLeaving = false
    const isOver = (): boolean => image !== undefined || isLeaving
    let crashed: () => void = () => undefined
    // What a killed process waits for never comes.
    const crash = new Promise<void>((resolve) => (crashed = resolve))
    const host = disk
    const live = async (): Promise<void> => {
      const db = await openDb(disk, config, (call) => {
        if (call < cutAt || image !== undefined) return
        image = isPowerLoss ? disk.crashImage(crashSeed) : disk.killImage(crashSeed)
        crashed()
        queueMicrotask(() => {
          host.kill()
        })
      })
      const handles = await openTrees(db, life)
      const following = consumer.follow(db, handles, isOver)
      following.catch(() => undefined)
      const operations = random.between(20, 160)
      for (let i = 0; i < operations && !isOver(); i++) {
        await write(db, handles, random, life)
        // Sometimes the consumer is slow, sometimes it keeps up.
        if (random.chance(0.1)) for (let turn = 0; turn < 30; turn++) await nextTurn()
      }
      if (isLast) {
        await db.sync()
        for (let turn = 0; consumer.version < db.version; turn++) {
          if (turn > 5_000) throw new Error(`the feed stops at ${String(consumer.version)}`)
          await Promise.race([nextTurn(), following])
        }
        const read = readTrees(db, handles, NAMES)
        expect(consumer.trees).toEqual(read.trees)
        expect((await db.verify()).problems).toEqual([])
      }
      if (isOver()) return
      isLeaving = true
      await db.close()
      await following
    }
    await Promise.race([
      crash,
      live().catch((error: unknown) => {
        if (image === undefined) throw new Error(`${what}: ${String(error)}`, { cause: error })
      }),
    ])
    disk = image ?? disk
  }
  check(consumer, known)
  return consumer
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** What was told is what was done; and without a gap, where nothing expired. */
function check(consumer: Consumer, lives: readonly Life[]): void {
  const told = new Map(consumer.told.map(({ version, lines }) => [version, lines]))
  expect(told.size, 'nothing twice').toBe(consumer.told.length)
  const pending = lives.flatMap((life) => life.pending.map((lines) => lines.join('\n')))
  const acknowledged = new Map(lives.flatMap((life) => [...life.acknowledged]))
  for (const { version, lines } of consumer.told) {
    const expected = acknowledged.get(version)
    if (expected !== undefined) expect(lines).toEqual(expected)
    else expect(pending).toContain(lines.join('\n'))
  }
  if (consumer.expired > 0) return
  for (const life of lives) {
    const versions = [...life.acknowledged.keys()]
    const newest = Math.max(0, ...versions.filter((version) => told.has(version)))
    for (const version of versions) if (version <= newest) expect(told.has(version), 'no gap').toBe(true)
  }
}

const CONFIGS: readonly Config[] = [
  { name: "'disk', all retained", durability: 'disk', mappings: true, retainJournalBytes: 2 ** 40 },
  { name: "'os', all retained", durability: 'os', mappings: true, retainJournalBytes: 2 ** 40 },
  {
    name: "'os' without mappings, all retained",
    durability: 'os',
    mappings: false,
    retainJournalBytes: 2 ** 40,
  },
  { name: "'os', nothing retained", durability: 'os', mappings: true, retainJournalBytes: 0 },
  { name: "'disk', 100 kB retained", durability: 'disk', mappings: true, retainJournalBytes: 100_000 },
]

const SEEDS = Number(process.env['HOLT_FEED_SEEDS'] ?? 8)

describe.each(CONFIGS)('a consumer of db.changes, $name', (config) => {
  test('has every change once, in order, and none that a crash takes back', { timeout: 60_000 }, async () => {
    let told = 0
    let expired = 0
    for (let seed = 1; seed <= SEEDS; seed++) {
      const consumer = await runHistory(config, seed, 6)
      told += consumer.told.length
      expired += consumer.expired
    }
    expect(told).toBeGreaterThan(50 * SEEDS)
    if (config.retainJournalBytes === 2 ** 40) expect(expired).toBe(0)
    if (config.retainJournalBytes === 0) expect(expired).toBeGreaterThan(0)
  })
})
