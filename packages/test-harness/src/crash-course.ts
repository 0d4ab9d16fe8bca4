import { createHash } from 'node:crypto'
import { type Db, open, type Tree, type TreeView } from 'holt'

import {
  BATCH_VALUE_BYTES,
  crashDirectory,
  type CrashHistory,
  crashKey,
  crashSnapshot,
  CrashStates,
  type CrashStep,
  crashValue,
} from './crash-history.js'
import { SeededRandom } from './seeded-random.js'
import { SimDisk } from './sim-disk.js'
import type { SimIo } from './sim-io.js'

const PATH = '/home/db'
/** Long enough for a sync, a checkpoint and a merge to begin by themselves. */
const REST_MS = 8_000
const REST_TURNS = 80
/** Calls that change nothing: no image is taken before them. */
const UNCHANGING = new Set(['read', 'stat', 'list'])
/** Share of the disks with snapshots on which all are dropped, to see that they leave nothing. */
const DROP_SHARE = 0.2

export interface CrashCourseOptions {
  readonly seed: number
  /** Disks after a power loss that are looked at for each call, beside the one that a killed process leaves. Default 3. */
  readonly powerLossesPerCall?: number | undefined
  /** Syncs that do nothing: such a disk must be found out. */
  readonly lyingSyncs?: boolean
  /** False: only the life is played, and no image is taken. Default true. */
  readonly look?: boolean
}

export interface CrashCourseReport {
  /** Calls to the disk. */
  readonly calls: number
  /** A hash of each different disk that a crash could leave. */
  readonly images: readonly string[]
  /** Of the images, those in which the opening itself was crashed once more. */
  readonly crashedTwice: number
  /** A hash of all calls to the disk and of what each life left there: the same for the same history and seed. */
  readonly trace: string
  readonly segmentSwitches: number
  readonly checkpoints: number
  /** Steps in which frames that deletes had left half empty were merged. */
  readonly merges: number
}

/** When a disk was as it is: of the states from `first` to `last` it must show one. */
interface Moment {
  readonly what: string
  readonly first: number
  readonly last: number
  /** The state that was on the medium for certain: from there on, if the power fails on top of it. */
  readonly stable: number
}

interface Image {
  readonly disk: SimDisk
  /** The same disk may have been there several times: what it shows must do for each. */
  readonly moments: Moment[]
  /** No write after the crash may get a version up to this one. */
  version: number
}

/**
 * Plays a history once, takes images at every call to the disk (the one that a killed process leaves, and some that a
 * power loss may leave), and then opens each: it must show a state from the last one that was acknowledged to the last one
 * that was asked for, whole and sound, and go on with versions that were never handed out.
 *
 * @throws Error that says which image showed what
 */
export async function runCrashCourse(
  history: CrashHistory,
  options: CrashCourseOptions,
): Promise<CrashCourseReport> {
  const course = new Course(history, options)
  await course.live()
  const crashedTwice = options.look === false ? 0 : await course.look()
  return course.report(crashedTwice)
}

class Course {
  readonly #history: CrashHistory
  readonly #options: CrashCourseOptions
  readonly #random: SeededRandom
  readonly #disk: SimDisk
  readonly #states = new CrashStates()
  /** Those that were not looked at yet, by digest; and the digests of all. */
  readonly #images = new Map<string, Image>()
  readonly #digests: string[] = []
  readonly #trace = createHash('sha1')
  readonly #segments = new Set<string>()
  #calls = 0
  #checkpoints = 0
  #merges = 0
  /** The state that was acknowledged last; the one that was on the medium for certain; the highest version seen. */
  #acknowledged = 0
  #stable = 0
  #version = 0
  #view: { readonly view: TreeView<string, string>; readonly state: number } | undefined
  #step = -1

  constructor(history: CrashHistory, options: CrashCourseOptions) {
    this.#history = history
    this.#options = options
    this.#random = new SeededRandom(options.seed)
    this.#disk = new SimDisk({ seed: options.seed })
  }

  report(crashedTwice: number): CrashCourseReport {
    return {
      calls: this.#calls,
      images: this.#digests,
      crashedTwice,
      trace: this.#trace.digest('hex'),
      segmentSwitches: Math.max(0, this.#segments.size - 1),
      checkpoints: this.#checkpoints,
      merges: this.#merges,
    }
  }

  // ---- the life ------------------------------------------------------------------------------------------------

  async live(): Promise<void> {
    let io = this.#start()
    let db = await this.#open(io)
    let tree = await treeOf(db)
    for (const [number, step] of this.#history.steps.entries()) {
      this.#step = number
      if (step.do === 'reopen') {
        this.#view = undefined
        await this.#close(db)
        io = this.#start()
        db = await this.#open(io)
        tree = await treeOf(db)
      } else if (step.do === 'rest') {
        for (let turn = 0; turn < REST_TURNS; turn++) {
          io.advance(REST_MS / REST_TURNS)
          await new Promise((resolve) => setImmediate(resolve))
        }
      } else await this.#play(db, tree, number, step)
    }
    this.#step = this.#history.steps.length
    await this.#close(db)
    this.#disk.kill()
  }

  async #close(db: Db): Promise<void> {
    this.#merges += db.stats().compaction.steps
    await db.close()
    this.#trace.update(this.#disk.digest())
    this.#stable = this.#acknowledged
  }

  #open(io: SimIo): Promise<Db> {
    return open(PATH, {
      io,
      durability: this.#history.durability,
      usableFrameBytes: 16_384,
      segmentBytes: 65_536,
      checkpoint: { thread: false },
    })
  }

  #start(): SimIo {
    const { mappings, reorder } = this.#history
    return this.#disk.start({
      autoAdvance: true,
      mappings,
      reorder,
      lyingSyncs: this.#options.lyingSyncs === true,
      onCall: ({ operation, path }) => {
        this.#calls++
        const name = path.slice(path.lastIndexOf('/') + 1)
        if (/^journal-\d/.test(name)) this.#segments.add(name)
        this.#trace.update(`${operation} ${name}\n`)
        if (this.#options.look === false || UNCHANGING.has(operation)) return
        this.#capture(`${operation} ${name}, call ${String(this.#calls)}, step ${String(this.#step)}`)
      },
    })
  }

  async #play(db: Db, tree: Tree<string, string>, number: number, step: CrashStep): Promise<void> {
    const states = this.#states
    switch (step.do) {
      case 'put': {
        const value = crashValue(number, step.sizeBytes)
        const state = states.write([[crashKey(step.key), value]])
        await tree.put(crashKey(step.key), value)
        this.#acknowledge(tree, state, crashKey(step.key))
        return
      }
      case 'together': {
        const value = crashValue(number, step.sizeBytes)
        await Promise.all(
          step.keys.map(async (key) => {
            const state = states.write([[crashKey(key), value]])
            await tree.put(crashKey(key), value)
            this.#acknowledge(tree, state, crashKey(key))
          }),
        )
        return
      }
      case 'delete': {
        const state = states.write([[crashKey(step.key), undefined]])
        await tree.delete(crashKey(step.key))
        this.#acknowledge(tree, state)
        return
      }
      case 'batch': {
        const value = crashValue(number, BATCH_VALUE_BYTES)
        const deletes = step.deletes.filter((key) => !step.puts.includes(key))
        const state = states.write([
          ...step.puts.map((key) => [crashKey(key), value] as const),
          ...deletes.map((key) => [crashKey(key), undefined] as const),
        ])
        await db.atomic((tx) => {
          for (const key of step.puts) tx.in(tree).put(crashKey(key), value)
          for (const key of deletes) tx.in(tree).delete(crashKey(key))
        })
        this.#acknowledge(tree, state, crashKey(step.puts[0]))
        return
      }
      case 'deletePrefix': {
        const prefix = crashDirectory(step.directory)
        const state = states.write(states.below(prefix).map(([key]) => [key, undefined]))
        await tree.deletePrefix(prefix)
        this.#acknowledge(tree, state)
        return
      }
      case 'renamePrefix': {
        const from = crashDirectory(step.from)
        const to = crashDirectory(step.to)
        // What the database refuses changes nothing, and is tested elsewhere.
        if (from === to || states.below(to).length > 0 || states.below(from).length === 0) return
        const state = states.write(
          states.below(from).flatMap(([key, value]) => [
            [key, undefined],
            [to + key.slice(from.length), value],
          ]),
        )
        await tree.renamePrefix(from, to)
        this.#acknowledge(tree, state)
        return
      }
      case 'checkpoint':
      case 'vacuum':
      case 'sync': {
        const before = this.#acknowledged
        await (step.do === 'sync' ? db.sync() : step.do === 'vacuum' ? db.vacuum() : db.checkpoint())
        if (step.do !== 'sync') this.#checkpoints++
        this.#stable = Math.max(this.#stable, before)
        return
      }
      case 'view':
      case 'closeView': {
        const open = this.#view
        this.#view = undefined
        if (open !== undefined) {
          const seen = open.view.scan().toArray()
          if (
            states.matching(
              seen.map(({ key, value }) => [key, value]),
              open.state,
              open.state,
            ).length === 0
          )
            throw new Error(`a view of state ${String(open.state)} shows another one`)
          open.view.close()
        }
        if (step.do === 'view') this.#view = { view: tree.view(), state: states.newest }
        return
      }
      case 'snapshot':
      case 'dropSnapshot': {
        const name = crashSnapshot(step.number)
        if (states.hasSnapshot(name)) {
          if (!states.isSnapshot(name, shownBy(db, name))) throw new Error(`${name} shows what it did not`)
          const dropped = states.snapshot(name, false)
          await db.dropSnapshot(name)
          this.#acknowledge(tree, dropped)
        }
        if (step.do === 'dropSnapshot') return
        const state = states.snapshot(name, true)
        const { version } = await db.snapshot(name)
        this.#acknowledge(tree, state)
        this.#version = Math.max(this.#version, version)
        return
      }
      case 'reopen':
      case 'rest':
    }
  }

  #acknowledge(tree: Tree<string, string>, state: number, key?: string): void {
    this.#acknowledged = Math.max(this.#acknowledged, state)
    if (this.#history.durability === 'disk') this.#stable = this.#acknowledged
    if (key !== undefined) this.#version = Math.max(this.#version, tree.getRecord(key)?.version ?? 0)
  }

  // ---- the crashes ---------------------------------------------------------------------------------------------

  #capture(what: string): void {
    const random = this.#random
    const killed = this.#disk.killImage(random.uint32())
    this.#keep(killed, `killed at ${what}`, this.#acknowledged, `, ${String(this.#stable)} stable`)
    for (let i = 0; i < (this.#options.powerLossesPerCall ?? 3); i++)
      this.#keep(this.#disk.crashImage(random.uint32()), `power lost at ${what}`, this.#stable, '')
  }

  /** `unlike`: disks of the same bytes are the same only if as much of them survives a second power loss. */
  #keep(disk: SimDisk, what: string, first: number, unlike: string): void {
    const digest = disk.digest() + unlike
    let image = this.#images.get(digest)
    if (image === undefined) {
      image = { disk, moments: [], version: 0 }
      this.#images.set(digest, image)
      this.#digests.push(digest)
    }
    const last = this.#states.newest
    const before = image.moments.at(-1)
    if (before?.first !== first || before.last !== last)
      image.moments.push({ what, first, last, stable: this.#stable })
    image.version = Math.max(image.version, this.#version)
  }

  async look(): Promise<number> {
    let crashedTwice = 0
    for (const [digest, image] of this.#images) {
      if (this.#random.chance(0.125)) {
        const isPowerLoss = this.#random.chance(0.5)
        const after = await this.#crashOpening(image.disk, isPowerLoss)
        await this.#lookAt(after ?? image.disk, image, after !== undefined && isPowerLoss)
        if (after !== undefined) crashedTwice++
      } else await this.#lookAt(image.disk, image, false)
      this.#images.delete(digest)
      // All of it runs in one turn of the event loop otherwise, and what waits for the next one keeps every disk alive.
      await new Promise((resolve) => setImmediate(resolve))
    }
    return crashedTwice
  }

  /** The disk that is left when the opening is crashed, at a call drawn at random; undefined if it came to its end first. */
  async #crashOpening(disk: SimDisk, isPowerLoss: boolean): Promise<SimDisk | undefined> {
    const nth = 1 + this.#random.below(40)
    const seed = this.#random.uint32()
    let after: SimDisk | undefined
    const io = disk.start({
      autoAdvance: true,
      mappings: this.#history.mappings,
      onCall: ({ number }) => {
        if (number !== nth) return
        after = isPowerLoss ? disk.crashImage(seed) : disk.killImage(seed)
        io.kill()
      },
    })
    try {
      const db = await this.#open(io)
      const tree = await treeOf(db)
      await tree.put('before the second crash', '')
      await db.close()
    } catch (error) {
      if (after === undefined) throw error
    }
    disk.kill()
    return after
  }

  async #lookAt(disk: SimDisk, { moments, version }: Image, lostPower: boolean): Promise<void> {
    const fail = (problem: string): never => {
      throw new Error(`${moments[0].what}: ${problem}`)
    }
    const io = disk.start({ autoAdvance: true, mappings: this.#history.mappings })
    let db: Db
    try {
      db = await this.#open(io)
    } catch (error) {
      return fail(`it does not open: ${String(error)}`)
    }
    const tree = await treeOf(db)
    const content = tree
      .scan()
      .toArray()
      .map(({ key, value }) => [key, value] as const)
    // Whether that one was written before the second crash came is left open.
    const own = content.filter(([key]) => !key.startsWith('before'))
    const snapshots = db.snapshots().map(({ name }) => [name, shownBy(db, name)] as const)
    const found = new Set(this.#states.matching(own, 0, this.#states.newest, snapshots))
    for (const { what, first, last, stable } of moments) {
      const least = lostPower ? Math.min(first, stable) : first
      if ([...found].some((state) => state >= least && state <= last)) continue
      throw new Error(
        `${what}${lostPower ? ', then the power failed' : ''}: it shows ` +
          `${found.size === 0 ? 'what never was' : `state ${[...found].join(' or ')}`}, not one of ${String(least)} to ${String(last)}`,
      )
    }
    const { problems } = await db.verify()
    if (problems.length > 0) fail(`it is not sound: ${JSON.stringify(problems[0])}`)
    await tree.put('after the crash', '')
    const next = tree.getRecord('after the crash')?.version ?? 0
    if (snapshots.length > 0 && this.#random.chance(DROP_SHARE)) {
      const problem = await dropAll(db)
      if (problem !== undefined) fail(problem)
    }
    if (next <= version) fail(`version ${String(next)} is handed out, ${String(version)} was already`)
    await db.close()
    disk.kill()
  }
}

function shownBy(db: Db, snapshot: string): (readonly [string, string])[] {
  const view = db.openSnapshot(snapshot)
  try {
    const reader = view.tree('t', { valueEncoding: 'utf8' })
    return (
      reader
        .scan()
        .toArray()
        .map(({ key, value }) => [key, value] as const)
        // As of the tree itself: see where a second crash comes.
        .filter(([key]) => !key.startsWith('before'))
    )
  } finally {
    view.close()
  }
}

/** Drops all snapshots; what is wrong if a frame is left then that is not the tree's. */
async function dropAll(db: Db): Promise<string | undefined> {
  for (const { name } of db.snapshots()) await db.dropSnapshot(name)
  while (db.stats().reclaim.unlinkedFrames > 0) await new Promise((resolve) => setImmediate(resolve))
  await db.checkpoint()
  const { problems, blobIds, unlinkedBlobIds } = await db.verify()
  if (problems.length > 0) return `without its snapshots it is not sound: ${JSON.stringify(problems[0])}`
  const { blobs } = db.stats().store
  if (unlinkedBlobIds.length === 0 && blobs === blobIds.length) return undefined
  return `without its snapshots it has ${String(blobs)} frames, the tree ${String(blobIds.length)}`
}

function treeOf(db: Db): Promise<Tree<string, string>> {
  return db.tree('t', { valueEncoding: 'utf8' })
}
