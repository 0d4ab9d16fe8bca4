import { isHoltError, open } from 'holt'
import type { Db, DbView, Tree, ViewReader } from 'holt'

type VerifyReport = Awaited<ReturnType<Db['verify']>>

import { describeStep, HISTORY_TREES, showKey } from './history.js'
import type { CrashKind, History, HistoryStep, TreeNumber, TreeWrite } from './history.js'
import { HistoryModel } from './history-model.js'
import type { OrderedMapOracle } from './ordered-map-oracle.js'
import type { Applied, FoundRecord, FoundSnapshots, FoundTrees } from './history-model.js'
import type { OracleRange } from './ordered-map-oracle.js'
import { SeededRandom } from './seeded-random.js'
import { SimDisk } from './sim-disk.js'
import type { SimIo, SimProcessOptions } from './sim-io.js'

type ByteTree = Tree<Uint8Array, Uint8Array>
/** A tree as it is, or as a view shows it. */
type ByteReader = Pick<ViewReader<Uint8Array, Uint8Array>, 'getRecord' | 'has' | 'scan' | 'list'>

const ENCODINGS = { keyEncoding: 'view', valueEncoding: 'view' } as const

/** What a history, or many, went through. */
export interface HistoryCounts {
  histories: number
  operations: number
  batches: number
  renames: number
  /** Operations on all keys below a prefix. */
  subtrees: number
  /** Compactions and vacuums that came to their end. */
  compactions: number
  vacuums: number
  reads: number
  views: number
  viewReads: number
  snapshots: number
  snapshotReads: number
  /** Frames that views have held, at the most, added up over histories. */
  heldFrames: number
  kills: number
  powerLosses: number
  closes: number
  /** Openings that were cut off by a crash. */
  cutOffOpenings: number
  /** Crashes in the middle of a session, at a call of the Io. */
  crashesAtACall: number
  spills: number
  checkpoints: number
  segmentSwitches: number
  ioCalls: number
}

export function noCounts(): HistoryCounts {
  return {
    histories: 0,
    operations: 0,
    batches: 0,
    renames: 0,
    subtrees: 0,
    compactions: 0,
    vacuums: 0,
    reads: 0,
    views: 0,
    viewReads: 0,
    snapshots: 0,
    snapshotReads: 0,
    heldFrames: 0,
    kills: 0,
    powerLosses: 0,
    closes: 0,
    cutOffOpenings: 0,
    crashesAtACall: 0,
    spills: 0,
    checkpoints: 0,
    segmentSwitches: 0,
    ioCalls: 0,
  }
}

/** A history whose answers differ from the oracle's. */
export class HistoryFailure extends Error {
  override readonly name = 'HistoryFailure'
  readonly seed: number

  constructor(history: History, stepIndex: number, what: string, cause?: unknown) {
    const step = history.steps.at(stepIndex)
    super(
      `history ${String(history.seed)} (${JSON.stringify(history.options)}), step ${String(stepIndex)} ` +
        `(${step ? describeStep(step) : 'end'}): ${what}`,
      cause === undefined ? undefined : { cause },
    )
    this.seed = history.seed
  }
}

/** Turns of the event loop without a call of the Io after which a promise counts as forgotten. */
const STALL_TURNS = 3000
const DIRECTORY = '/home/db'

/**
 * Runs a history on a simulated disk and compares everything it shows with the oracle. Throws {@link HistoryFailure}.
 *
 * @param sabotage - options of the simulated processes that break the disk, to see that it is noticed
 */
export async function runHistory(
  history: History,
  sabotage: Pick<SimProcessOptions, 'lyingSyncs' | 'faults'> = {},
): Promise<HistoryCounts> {
  const runner = new HistoryRunner(history, sabotage)
  return runner.run()
}

class HistoryRunner {
  readonly #history: History
  readonly #sabotage: Partial<SimProcessOptions>
  readonly #random: SeededRandom
  readonly #model = new HistoryModel()
  readonly #counts = noCounts()
  #disk: SimDisk
  #session: Session | undefined
  #stepIndex = 0
  #frames = 1

  constructor(history: History, sabotage: Partial<SimProcessOptions>) {
    this.#history = history
    this.#sabotage = sabotage
    // Other numbers than those the history was made of.
    this.#random = new SeededRandom(history.seed ^ 0x5eed_5eed)
    this.#disk = new SimDisk({ seed: history.seed })
  }

  async run(): Promise<HistoryCounts> {
    const { steps } = this.#history
    this.#counts.histories = 1
    try {
      await this.#open('close', undefined)
      for (this.#stepIndex = 0; this.#stepIndex < steps.length; this.#stepIndex++) {
        const step = steps.at(this.#stepIndex)
        // After a crash in the middle the session's other steps are those of another one.
        if (this.#session?.crashed === true) await this.#reopen(this.#session.crashKind, undefined)
        if (step?.kind === 'reopen') await this.#reopen(step.crash, step.crashInOpenAfterCalls)
        else if (step && this.#session) await this.#step(this.#session, step)
        if (this.#session?.failure) throw this.#session.failure.error
      }
      const session = this.#session
      if (session?.db) {
        await this.#dropSnapshots(session, session.db)
        if (session.failure) throw session.failure.error
        await session.settle(session.db.close())
      }
      return this.#counts
    } catch (error) {
      if (error instanceof HistoryFailure) throw error
      const what = error instanceof Error ? error.message : String(error)
      throw new HistoryFailure(this.#history, this.#stepIndex, what, error)
    } finally {
      this.#disk.kill()
    }
  }

  // ---- sessions ------------------------------------------------------------------------------------------------

  async #reopen(crash: CrashKind, crashInOpenAfterCalls: number | undefined): Promise<void> {
    const session = this.#session
    if (session === undefined) return
    let happened: CrashKind = session.crashKind
    if (session.crashed) {
      this.#counts.crashesAtACall++
    } else if (crash === 'close' && session.db) {
      happened = await this.#close(session, session.db)
    } else {
      session.crashKind = crash === 'power-loss' ? 'power-loss' : 'kill'
      session.crash()
      happened = session.crashKind
    }
    this.#note(session)
    if (session.crashed && session.after) this.#disk = session.after
    if (happened === 'close') this.#counts.closes++
    else if (happened === 'kill') this.#counts.kills++
    else this.#counts.powerLosses++
    await this.#open(happened, crashInOpenAfterCalls)
  }

  /** Closes the database, and sees to it that the disk is what is left then. */
  async #close(session: Session, db: Db): Promise<CrashKind> {
    session.keepStats()
    await session.settle(db.close())
    if (session.failure) throw session.failure.error
    if (session.crashed) return session.crashKind
    const powerFails = this.#random.chance(0.5)
    if (powerFails) this.#disk = this.#disk.crash(this.#random.uint32())
    else session.io.kill()
    // What was closed is stable; but a session that changed nothing has synced nothing either.
    if (session.wrote) return 'close'
    return powerFails ? 'power-loss' : 'kill'
  }

  async #open(crash: CrashKind, crashAfterCalls: number | undefined): Promise<void> {
    const { options } = this.#history
    let happened = crash
    for (let armed = crashAfterCalls; ; armed = undefined) {
      const session = new Session(this.#disk, this.#random.fork(), { ...options, ...this.#sabotage })
      this.#session = session
      session.crashKind = happened === 'power-loss' ? 'power-loss' : 'kill'
      if (armed !== undefined) session.arm(armed)
      const found = await session.settle(this.#openAndRead(session))
      if (session.crashed) {
        this.#counts.cutOffOpenings++
        // A power loss after a kill may take what the kill left.
        if (happened !== 'close' || session.crashKind === 'power-loss') happened = session.crashKind
        this.#disk = session.after ?? this.#disk
        continue
      }
      session.disarm()
      if (found === undefined) throw new Error('the opening came to nothing')
      const problem = this.#model.recover(found.trees, happened, found.snapshots)
      if (problem !== undefined) throw new Error(problem)
      await this.#verify(session)
      return
    }
  }

  async #openAndRead(session: Session): Promise<{ trees: FoundTrees; snapshots: FoundSnapshots }> {
    const { durability, segmentBytes, usableFrameBytes, cacheFrames } = this.#history.options
    const db = await open(DIRECTORY, {
      io: session.io,
      durability,
      segmentBytes,
      usableFrameBytes,
      cacheBytes: cacheFrames * 524_288,
      checkpoint: { thread: false },
    })
    session.db = db
    const [first, second] = HISTORY_TREES
    session.trees = [await db.tree(first, ENCODINGS), await db.tree(second, ENCODINGS)]
    const snapshots = new Map<string, FoundTrees>()
    for (const { name } of db.snapshots()) snapshots.set(name, readSnapshot(db, name))
    return { trees: readAll(session.trees), snapshots }
  }

  /** When all snapshots are gone, no frame is left that is not the tree's. */
  async #dropSnapshots(session: Session, db: Db): Promise<void> {
    const names = this.#model.snapshots
    if (names.length === 0 || session.crashed) return
    await session.settle(Promise.all(session.pending))
    const dropped = async (): Promise<VerifyReport> => {
      for (const { view } of session.views.values()) view.close()
      session.views.clear()
      for (const name of names) await db.dropSnapshot(name)
      while (db.stats().reclaim.unlinkedFrames > 0) await new Promise((resolve) => setImmediate(resolve))
      await db.checkpoint()
      return await db.verify()
    }
    const report = await session.settle(dropped())
    if (report === undefined) return
    const { problems, blobIds, unlinkedBlobIds } = report
    const { blobs } = db.stats().store
    if (problems.length > 0 || unlinkedBlobIds.length > 0 || blobs !== blobIds.length)
      throw new Error(
        `without snapshots the store has ${String(blobs)} frames, the tree ${String(blobIds.length)}, ` +
          `${String(unlinkedBlobIds.length)} are kept, and verify finds ${String(problems.length)} problems`,
      )
  }

  async #verify(session: Session): Promise<void> {
    if (session.db === undefined) return
    const report: VerifyReport | undefined = await session.settle(session.db.verify())
    // A crash in the middle, when a frame was read.
    if (session.crashed) return
    const problem = report?.problems.at(0)
    if (problem) {
      throw new Error(
        `verify finds: blob ${String(problem.blobId)}, ref ${String(problem.ref)}: ${problem.what}`,
      )
    }
    const frames = new Set(report?.blobIds).size
    this.#counts.spills += Math.max(0, frames - this.#frames)
    this.#frames = frames
  }

  /** Takes down what a session went through. */
  #note(session: Session): void {
    const stats = session.takeStats()
    if (stats === undefined) return
    this.#counts.checkpoints += stats.checkpoint?.succeeded ?? 0
    this.#counts.segmentSwitches += stats.journal?.segmentSwitches ?? 0
    this.#counts.ioCalls += session.io.callCount
  }

  // ---- steps ---------------------------------------------------------------------------------------------------

  async #step(session: Session, step: Exclude<HistoryStep, { readonly kind: 'reopen' }>): Promise<void> {
    const { db } = session
    if (db === undefined) throw new Error('no database is open')
    switch (step.kind) {
      case 'write':
        return this.#write(session, step.write, step.wait, step.toDisk)
      case 'batch':
        return this.#batch(session, db, step.writes, step.wait)
      case 'get':
      case 'scan':
      case 'list':
        await session.settle(Promise.all(session.pending))
        if (session.crashed || session.failure) return
        this.#read(session, step)
        return
      case 'view':
      case 'closeView':
      case 'readView':
        await session.settle(Promise.all(session.pending))
        if (session.crashed || session.failure) return
        this.#view(session, db, step)
        return
      case 'snapshot':
      case 'dropSnapshot':
        return this.#changeSnapshot(session, db, step)
      case 'readSnapshot':
        await session.settle(Promise.all(session.pending))
        if (session.crashed || session.failure) return
        this.#readSnapshot(db, session, step)
        return
      case 'checkpoint':
      case 'sync': {
        const upTo = this.#model.applied
        const done = step.kind === 'sync' ? db.sync() : db.checkpoint()
        await session.begin(done, step.wait, () => {
          this.#model.stabilise(upTo)
        })
        if (step.kind === 'checkpoint' && step.wait && !session.crashed && !session.failure) {
          await this.#verify(session)
        }
        return
      }
      case 'compact':
      case 'vacuum': {
        // Those that a close ends early have done no harm.
        const done: Promise<boolean> = (step.kind === 'compact' ? db.compact() : db.vacuum()).then(
          () => true,
          (error: unknown) => {
            if (isHoltError(error, 'HOLT_CLOSED')) return false
            throw error
          },
        )
        await session.begin(done, step.wait, (ended) => {
          if (ended) this.#counts[step.kind === 'compact' ? 'compactions' : 'vacuums']++
        })
        if (step.wait && !session.crashed && !session.failure) await this.#verify(session)
        return
      }
      case 'arm':
        session.crashKind = this.#nextCrash()
        session.arm(step.calls)
    }
  }

  #nextCrash(): CrashKind {
    const next = this.#history.steps.slice(this.#stepIndex).find((step) => step.kind === 'reopen')
    return next?.kind === 'reopen' && next.crash === 'power-loss' ? 'power-loss' : 'kill'
  }

  #acknowledged(state: number, toDisk: boolean): void {
    if (toDisk || this.#history.options.durability === 'disk') this.#model.stabilise(state)
    else this.#model.acknowledge(state)
  }

  async #write(session: Session, write: TreeWrite, wait: boolean, toDisk: boolean): Promise<void> {
    this.#counts.operations++
    if (write.operation.kind === 'rename') this.#counts.renames++
    if (isSubtree(write)) this.#counts.subtrees++
    const applied = this.#model.apply([write])
    if (applied.kind === 'changed') session.wrote = true
    const outcome = issue(session.tree(write.tree), write, toDisk ? { durability: 'disk' } : undefined)
    const expected = applied.kind === 'failed' ? applied.reason : applied.kind
    await session.begin(outcome, wait, (found) => {
      if (found !== expected) throw new Error(`it came to '${found}', the oracle says '${expected}'`)
      if (applied.kind === 'changed') this.#acknowledged(applied.state, toDisk)
    })
  }

  async #batch(session: Session, db: Db, writes: readonly TreeWrite[], wait: boolean): Promise<void> {
    this.#counts.operations++
    this.#counts.batches++
    this.#counts.renames += writes.filter(({ operation }) => operation.kind === 'rename').length
    this.#counts.subtrees += writes.filter(isSubtree).length
    const applied = this.#model.apply(writes)
    if (applied.kind === 'changed') session.wrote = true
    const outcome = db.atomic((tx) => {
      for (const { tree, operation } of writes) {
        const batch = tx.in(session.tree(tree))
        if (operation.kind === 'delete') batch.delete(operation.key)
        else if (operation.kind === 'put') batch.put(operation.key, operation.value)
        else if (operation.kind === 'putIfAbsent') batch.putIfAbsent(operation.key, operation.value)
        else if (operation.kind === 'deletePrefix') batch.deletePrefix(operation.prefix)
        else if (operation.kind === 'renamePrefix')
          batch.renamePrefix(operation.from, operation.to, { force: operation.force })
        else batch.rename(operation.from, operation.to, { force: operation.force })
      }
    })
    await session.begin(outcome, wait, (found) => {
      const what = found.committed ? 'committed' : `${String(found.failed.index)} ${found.failed.reason}`
      const expected = applied.kind === 'failed' ? `${String(applied.index)} ${applied.reason}` : 'committed'
      if (what !== expected) throw new Error(`the batch came to '${what}', the oracle says '${expected}'`)
      if (applied.kind === 'changed') this.#acknowledged(applied.state, false)
    })
  }

  async #changeSnapshot(
    session: Session,
    db: Db,
    { kind, name, wait }: Extract<HistoryStep, { readonly kind: 'snapshot' | 'dropSnapshot' }>,
  ): Promise<void> {
    this.#counts.snapshots++
    const applied: Applied =
      kind === 'snapshot' ? this.#model.takeSnapshot(name) : this.#model.dropSnapshot(name)
    if (applied.kind === 'changed') session.wrote = true
    const outcome = (kind === 'snapshot' ? db.snapshot(name) : db.dropSnapshot(name)).then(
      () => 'changed',
      (error: unknown) => {
        if (isHoltError(error, 'HOLT_EXISTS')) return 'exists'
        if (isHoltError(error, 'HOLT_NOT_FOUND')) return 'not-found'
        throw error
      },
    )
    const expected = applied.kind === 'failed' ? applied.reason : applied.kind
    await session.begin(outcome, wait, (found) => {
      if (found !== expected) throw new Error(`it came to '${found}', the oracle says '${expected}'`)
      if (applied.kind === 'changed') this.#acknowledged(applied.state, false)
    })
  }

  /** All writes are applied. */
  #readSnapshot(
    db: Db,
    session: Session,
    { name, tree, key, range }: Extract<HistoryStep, { readonly kind: 'readSnapshot' }>,
  ): void {
    const oracles = this.#model.snapshot(name)
    if (oracles === undefined) return
    this.#counts.snapshotReads++
    try {
      const view = db.openSnapshot(name)
      compareKey(view.tree(HISTORY_TREES[tree], ENCODINGS), oracles[tree], key)
      compareRange(view.tree(HISTORY_TREES[tree], ENCODINGS), oracles[tree], range, undefined)
      view.close()
    } catch (error) {
      if (!session.crashed) throw error
    }
  }

  #read(session: Session, step: Extract<HistoryStep, { readonly kind: 'get' | 'scan' | 'list' }>): void {
    this.#counts.operations++
    this.#counts.reads++
    const tree = session.tree(step.tree)
    const oracle = this.#model.tree(step.tree)
    try {
      if (step.kind === 'get') compareKey(tree, oracle, step.key)
      else compareRange(tree, oracle, step.range, step.kind === 'list' ? step.pageEntries : undefined)
    } catch (error) {
      // A crash in the middle of a read that had to load a frame.
      if (!session.crashed) throw error
    }
  }

  /** All writes are applied: what is read from now on is what the model shows now. */
  #view(
    session: Session,
    db: Db,
    step: Extract<HistoryStep, { readonly kind: 'view' | 'closeView' | 'readView' }>,
  ): void {
    const open = session.views.get(step.view)
    try {
      if (step.kind === 'readView') {
        if (open === undefined) return
        this.#counts.viewReads++
        const oracle = open.oracles[step.tree]
        const tree = open.view.tree(HISTORY_TREES[step.tree], ENCODINGS)
        compareKey(tree, oracle, step.key)
        compareRange(tree, oracle, step.range, undefined)
        compareRange(tree, oracle, step.range, 3)
        return
      }
      if (open !== undefined) {
        for (const [number, name] of HISTORY_TREES.entries())
          compareRange(open.view.tree(name, ENCODINGS), open.oracles[number as TreeNumber], {}, undefined)
        this.#counts.heldFrames = Math.max(this.#counts.heldFrames, db.stats().views.heldFrames)
        open.view.close()
        session.views.delete(step.view)
      }
      if (step.kind === 'closeView') return
      this.#counts.views++
      const oracles = [this.#model.tree(0), this.#model.tree(1)] as const
      session.views.set(step.view, { view: db.view(), oracles })
    } catch (error) {
      if (!session.crashed) throw error
    }
  }
}

function compareKey(tree: ByteReader, oracle: OrderedMapOracle, key: Uint8Array): void {
  const record = tree.getRecord(key)
  const expected = oracle.get(key)
  const has = tree.has(key)
  if (has !== (expected !== undefined)) throw new Error(`has says ${String(has)}`)
  if (show(record?.value) !== show(expected?.value))
    throw new Error(`found ${show(record?.value)}, the oracle has ${show(expected?.value)}`)
}

/** @param pageEntries - by pages of so many; undefined: by one walk */
function compareRange(
  tree: ByteReader,
  oracle: OrderedMapOracle,
  range: OracleRange,
  pageEntries: number | undefined,
): void {
  let entries = oracle.scan(range)
  let found: string[]
  if (pageEntries === undefined) found = scan(tree, range)
  else {
    // Pages have a limit of their own.
    const { limit: _, ...whole } = range
    entries = oracle.scan(whole)
    found = pages(tree, whole, pageEntries)
  }
  const expected = entries.map(showEntry)
  const at = expected.findIndex((entry, i) => entry !== found[i])
  if (at < 0 && found.length === expected.length) return
  const place = at < 0 ? expected.length : at
  throw new Error(
    `entry ${String(place)} of ${String(found.length)} is ${found[place] ?? 'absent'}, ` +
      `the oracle has ${expected[place] ?? 'none'} of ${String(expected.length)}`,
  )
}

/** A view, and what its trees have to show. */
interface OpenView {
  readonly view: DbView
  readonly oracles: readonly [OrderedMapOracle, OrderedMapOracle]
}

/** One process of a history. */
class Session {
  readonly io: SimIo
  db: Db | undefined
  trees: readonly [ByteTree, ByteTree] | undefined
  crashKind: CrashKind = 'kill'
  crashed = false
  /** Whether it changed anything: only then was the log that it found made stable. */
  wrote = false
  /** The disk that the crash left. */
  after: SimDisk | undefined
  failure: { readonly error: unknown } | undefined
  readonly pending = new Set<Promise<void>>()
  readonly views = new Map<number, OpenView>()
  readonly #disk: SimDisk
  readonly #random: SeededRandom
  #crashAtCall = Infinity
  #ended: () => void = () => undefined
  readonly #end: Promise<void>
  #stats: ReturnType<Db['stats']> | undefined

  constructor(disk: SimDisk, random: SeededRandom, options: SimProcessOptions & History['options']) {
    this.#disk = disk
    this.#random = random
    this.#end = new Promise((resolve) => {
      this.#ended = resolve
    })
    const { reorder, mappings, locks, lyingSyncs = false, faults = [] } = options
    this.io = disk.start({
      reorder,
      mappings,
      locks,
      lyingSyncs,
      faults,
      autoAdvance: true,
      onCall: ({ number }) => {
        if (number >= this.#crashAtCall) this.crash()
      },
    })
  }

  tree(number: TreeNumber): ByteTree {
    const tree = this.trees?.[number]
    if (tree === undefined) throw new Error('the trees are not open')
    return tree
  }

  arm(calls: number): void {
    this.#crashAtCall = this.io.callCount + calls
  }

  disarm(): void {
    this.#crashAtCall = Infinity
  }

  crash(): void {
    if (this.crashed) return
    this.keepStats()
    this.crashed = true
    if (this.crashKind === 'power-loss') this.after = this.#disk.crash(this.#random.uint32())
    else this.io.kill()
    this.#ended()
  }

  /** Stats are not to be had of a database that is closed. */
  keepStats(): void {
    this.#stats ??= this.db?.stats()
  }

  takeStats(): ReturnType<Db['stats']> | undefined {
    const stats = this.#stats
    this.db = undefined
    this.#stats = undefined
    return stats
  }

  /** Follows an operation to its end; waits for it, or the crash, if `wait`. */
  async begin<T>(operation: Promise<T>, wait: boolean, check: (result: T) => void): Promise<void> {
    const done = operation.then(
      (result) => {
        // The process that would have heard of it is dead.
        if (!this.crashed) check(result)
      },
      (error: unknown) => {
        if (!this.crashed) throw error
      },
    )
    const followed: Promise<void> = done
      .catch((error: unknown) => {
        this.failure ??= { error }
      })
      .finally(() => this.pending.delete(followed))
    this.pending.add(followed)
    if (wait) await this.settle(followed)
  }

  /** Waits for a promise or for the crash, and fails when neither can come any more. */
  async settle<T>(promise: Promise<T>): Promise<T | undefined> {
    let watch: NodeJS.Immediate | undefined
    const stalled = new Promise<undefined>((_, reject) => {
      let quietTurns = 0
      let calls = this.io.callCount
      const turn = (): void => {
        quietTurns = calls === this.io.callCount ? quietTurns + 1 : 0
        calls = this.io.callCount
        if (quietTurns > STALL_TURNS) {
          reject(new Error(`nothing moves any more: ${String(this.pending.size)} operations wait`))
        } else {
          watch = setImmediate(turn)
        }
      }
      watch = setImmediate(turn)
    })
    try {
      return await Promise.race([promise, this.#end.then(() => undefined), stalled])
    } catch (error) {
      if (this.crashed) return undefined
      throw error
    } finally {
      clearImmediate(watch)
    }
  }
}

async function issue(
  tree: ByteTree,
  { operation }: TreeWrite,
  options: { readonly durability: 'disk' } | undefined,
): Promise<'changed' | 'unchanged' | 'exists' | 'not-found'> {
  switch (operation.kind) {
    case 'put':
      await tree.put(operation.key, operation.value, options)
      return 'changed'
    case 'delete':
      return (await tree.delete(operation.key, options)) ? 'changed' : 'unchanged'
    case 'putIfAbsent':
      return (await tree.putIfAbsent(operation.key, operation.value, options)) === undefined
        ? 'exists'
        : 'changed'
    case 'deletePrefix':
      return (await tree.deletePrefix(operation.prefix, options)) ? 'changed' : 'unchanged'
    case 'rename':
    case 'renamePrefix': {
      const { kind, from, to, force } = operation
      try {
        if (kind === 'renamePrefix') await tree.renamePrefix(from, to, { force, ...options })
        else await tree.rename(from, to, { force, ...options })
        return Buffer.compare(from, to) === 0 ? 'unchanged' : 'changed'
      } catch (error) {
        if (isHoltError(error, 'HOLT_EXISTS')) return 'exists'
        if (isHoltError(error, 'HOLT_NOT_FOUND')) return 'not-found'
        throw error
      }
    }
  }
}

function isSubtree({ operation }: TreeWrite): boolean {
  return operation.kind === 'deletePrefix' || operation.kind === 'renamePrefix'
}

function readSnapshot(db: Db, name: string): FoundTrees {
  const view = db.openSnapshot(name)
  const [first, second] = HISTORY_TREES
  const found = readAll([view.tree(first, ENCODINGS), view.tree(second, ENCODINGS)])
  view.close()
  return found
}

function readAll(trees: readonly [ByteReader, ByteReader]): FoundTrees {
  const records = (tree: ByteReader): FoundRecord[] => {
    const found: FoundRecord[] = []
    for (const { key, value, version } of tree.scan()) found.push({ key, value, version })
    return found
  }
  return [records(trees[0]), records(trees[1])]
}

function scan(tree: ByteReader, range: OracleRange): string[] {
  const { delimiter } = range
  if (delimiter) return [...tree.scan({ ...range, delimiter })].map(showEntry)
  const { delimiter: _, ...rest } = range
  return [...tree.scan(rest)].map(showEntry)
}

function pages(tree: ByteReader, range: OracleRange, limit: number): string[] {
  const found: string[] = []
  for (let after: string | undefined; ;) {
    const { delimiter, ...rest } = range
    const options = { ...rest, limit, ...(after !== undefined && { after }) }
    const page = delimiter ? tree.list({ ...options, delimiter }) : tree.list(options)
    found.push(...page.entries.map(showEntry))
    if (page.next === undefined) return found
    if (page.entries.length === 0) throw new Error('an empty page promises a next one')
    after = page.next
  }
}

type ShownEntry =
  | { readonly kind: 'key'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly kind: 'prefix'; readonly prefix: Uint8Array }

function showEntry(entry: ShownEntry): string {
  if (entry.kind === 'prefix') return `prefix ${showKey(entry.prefix)}`
  return `${showKey(entry.key)} = ${show(entry.value)}`
}

function show(value: Uint8Array | undefined): string {
  if (value === undefined) return 'nothing'
  const hex = Buffer.from(value).toString('hex')
  return hex.length > 40
    ? `${hex.slice(0, 40)}… (${String(value.length)} B)`
    : `${hex} (${String(value.length)} B)`
}
