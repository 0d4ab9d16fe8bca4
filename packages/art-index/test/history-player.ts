import {
  ArtIndex,
  CompactionPass,
  COMMON_PREFIX,
  countPrefix,
  Cursor,
  type CursorOptions,
  type CursorStep,
  END,
  FrameAbsent,
  type IndexView,
  isPrefixEmpty,
  KEY,
  longestPrefix,
  NO_PREFIX,
  treeStatistics,
  verifyTree,
} from '../src/index.js'
import { ArrayFrameSource } from './array-frame-source.js'
import { hex, type HistoryOperation, type HistorySetting } from './history-operation.js'
import { Random } from './random.js'
import { bytesOf, latin1, type Listed, SortedMap } from './sorted-map.js'
import { cursorValue, fillPattern, foundValue } from './values.js'

/** Address space only; a history that needs more fails for it. */
const SLOTS = 2_000
/** Bytes behind the usable part of each slot, and before its header, that nobody may write. */
const GUARD_BYTES = 640
export const CURSORS = 3
export const VIEWS = 4

interface OpenCursor {
  readonly cursor: Cursor
  readonly options: CursorOptions
  last: Pick<Listed, 'kind' | 'key'> | undefined
  step: CursorStep
  ended: boolean
}

/** A view, and what it has to show for as long as it is open. */
interface OpenView {
  readonly view: IndexView
  readonly map: SortedMap<Uint8Array>
  readonly open: OpenCursor
}

/** What a history, or many, went through. */
export interface HistoryCounts {
  operations: number
  mostFrames: number
  largeValues: number
  crossings: number
  framesMerged: number
  prefixesDeleted: number
  prefixesMoved: number
  framesGivenBack: number
  absences: number
  entriesAfterChanges: number
  viewsTaken: number
  viewsRestored: number
  mostHeld: number
}

export function noCounts(): HistoryCounts {
  return {
    operations: 0,
    mostFrames: 0,
    largeValues: 0,
    crossings: 0,
    framesMerged: 0,
    prefixesDeleted: 0,
    prefixesMoved: 0,
    framesGivenBack: 0,
    absences: 0,
    entriesAfterChanges: 0,
    viewsTaken: 0,
    viewsRestored: 0,
    mostHeld: 0,
  }
}

/**
 * Plays operations on an index and on an ordered map, and throws where they differ. It decides nothing by itself: the
 * same operations give the same run.
 */
export class HistoryPlayer {
  readonly map = new SortedMap<Uint8Array>()
  readonly source: ArrayFrameSource
  readonly counts = noCounts()
  readonly #setting: HistorySetting
  #index: ArtIndex
  readonly #cursors = new Map<number, OpenCursor>()
  readonly #views = new Map<number, OpenView>()
  #pass = new CompactionPass()
  #version = 0

  constructor(setting: HistorySetting, slots = SLOTS) {
    this.#setting = setting
    this.source = new ArrayFrameSource({ frames: slots, moveOnWrite: setting.moveOnWrite })
    this.#index = ArtIndex.create(this.source, { usableFrameBytes: setting.usableFrameBytes })
  }

  get index(): ArtIndex {
    return this.#index
  }

  play(operation: HistoryOperation): void {
    this.counts.operations++
    const { kind } = operation
    switch (kind) {
      case 'put':
        this.#put(operation.key, operation.valueBytes, operation.pattern)
        return
      case 'delete':
        this.#delete(operation.key)
        return
      case 'find':
        this.#find(operation.key)
        return
      case 'touch':
        this.#touch(operation.key)
        return
      case 'deletePrefix':
        this.#deletePrefix(operation.prefix)
        return
      case 'movePrefix':
        this.#movePrefix(operation.from, operation.to)
        return
      case 'count':
        this.#count(operation.prefix)
        return
      case 'longestPrefix':
        this.#longestPrefix(operation.query)
        return
      case 'scan':
        this.#scan(operation.options, operation.limit)
        return
      case 'open':
        this.#cursors.set(operation.cursor, this.#opened(operation.options))
        return
      case 'advance': {
        const open = this.#cursors.get(operation.cursor)
        if (open) for (let i = 0; i < operation.entries && !open.ended; i++) this.#advance(open)
        return
      }
      case 'resume': {
        const open = this.#cursors.get(operation.cursor)
        if (open?.last === undefined || open.ended) return
        const { options, last, step } = open
        const resumed = this.#opened(options)
        resumed.cursor.resumeBehind(bytesOf(last.key), step)
        this.#cursors.set(operation.cursor, { ...resumed, last, step })
        return
      }
      case 'view':
        this.#closeView(operation.view)
        this.#takeView(operation.view)
        return
      case 'closeView':
        this.#closeView(operation.view)
        return
      case 'readView':
        this.#readView(operation.view, operation.key, operation.options, operation.limit)
        return
      case 'compact':
        this.#compact(operation.steps, operation.frames, operation.fill)
        return
      case 'giveBack':
        for (let i = 0; i < operation.frames && this.#index.unlinked.size > 0; i++) {
          this.#unblocked(() => {
            this.#index.freeNextUnlinked()
          })
          this.counts.framesGivenBack++
        }
        return
      case 'evict':
        this.#evict(operation.percent, operation.seed)
        this.source.mayBlock = operation.mayBlock
        return
      case 'attach':
        this.#attach()
        return
      case 'verify':
        this.verify()
    }
  }

  #put(key: string, valueBytes: number, pattern: number): void {
    const { index, map } = this
    const value = fillPattern(new Uint8Array(valueBytes), pattern)
    this.#version += 1 + (Math.imul(pattern + 1, 0x9e37_79b1) >>> 4) * 2 ** 10
    const bytes = bytesOf(key)
    const isNew = this.#unblocked(() => {
      index.key.set(bytes)
      return index.put(key.length, value, 0, valueBytes, this.#version)
    })
    same(isNew, map.put(key, value, this.#version), 'a put says that the key is new')
  }

  #delete(key: string): void {
    const { index } = this
    const bytes = bytesOf(key)
    const wasThere = this.#unblocked(() => {
      index.key.set(bytes)
      return index.delete(key.length)
    })
    same(wasThere, this.map.delete(key), 'a delete says that the key was there')
  }

  #find(key: string, index = this.#index, map = this.map): void {
    const bytes = bytesOf(key)
    const found = this.#unblocked(() => {
      index.key.set(bytes)
      return index.find(key.length)
    })
    const expected = map.get(key)
    same(found, expected !== undefined, 'find says that the key is there')
    if (expected === undefined) return
    same(index.foundVersion, expected.version, 'the version found')
    same(index.foundLength, expected.value.length, 'the length found')
    const value = this.#unblocked(() => foundValue(index))
    if (Buffer.compare(value, expected.value) !== 0)
      throw new Error(`find of ${hex(key)} gives another value`)
  }

  /** After it the key's put and delete need no frame that is absent. */
  #touch(key: string): void {
    const { index, source } = this
    const bytes = bytesOf(key)
    this.#unblocked(() => {
      index.key.set(bytes)
      index.touch(key.length)
    })
    const expected = this.map.get(key)
    const { mayBlock } = source
    source.mayBlock = false
    try {
      index.key.set(bytes)
      const value = expected?.value ?? bytes
      const isNew = index.put(key.length, value, 0, value.length, expected?.version ?? 1)
      same(isNew, expected === undefined, 'a put after touch says that the key is new')
      if (isNew) same(index.delete(key.length), true, 'a delete after touch says that the key was there')
    } finally {
      source.mayBlock = mayBlock
    }
  }

  #deletePrefix(prefix: string): void {
    const { index, map } = this
    const bytes = bytesOf(prefix)
    const there = map.keysBelow(prefix)
    const wasThere = this.#unblocked(() => {
      index.key.set(bytes)
      return index.deletePrefix(prefix.length)
    })
    for (const key of there) map.delete(key)
    same(wasThere, there.length > 0, 'deletePrefix says that there were keys')
    if (wasThere) this.counts.prefixesDeleted++
  }

  #movePrefix(from: string, to: string): void {
    const { index, map } = this
    const there = map.keysBelow(from)
    const moved = there.map((key) => [to + key.slice(from.length), map.get(key)] as const)
    let longest = -1
    for (const key of there) longest = Math.max(longest, key.length - from.length)
    const bytes = bytesOf(from)
    const bound = this.#unblocked(() => {
      index.key.set(bytes)
      return index.restBoundBytes(from.length)
    })
    same(bound < 0, there.length === 0, 'a negative bound below the prefix')
    if (bound < longest)
      throw new Error(`no key is to be longer than ${String(bound)} bytes, one has ${String(longest)}`)
    if (from.startsWith(to) || to.startsWith(from)) {
      const { changes } = index
      try {
        index.movePrefix(bytes, bytesOf(to))
      } catch (error) {
        if ((error as { code?: unknown }).code !== 'HOLT_INVALID_ARGUMENT') throw error
        same(index.changes, changes, 'changes by a move that was refused')
        return
      }
      throw new Error('a move of a prefix below itself was not refused')
    }
    if (to.length + bound > index.maxKeyBytes) return
    const movedAny = this.#unblocked(() => index.movePrefix(bytes, bytesOf(to)))
    same(movedAny, there.length > 0, 'movePrefix says that there were keys')
    if (!movedAny) return
    this.counts.prefixesMoved++
    for (const key of map.keysBelow(to)) map.delete(key)
    for (const key of there) map.delete(key)
    for (const [key, record] of moved) if (record) map.put(key, record.value, record.version)
  }

  #count(prefix: string): void {
    const { index } = this
    const bytes = bytesOf(prefix)
    const below = this.map.keysBelow(prefix)
    let valueBytes = 0
    for (const key of below) valueBytes += this.map.get(key)?.value.length ?? 0
    const counted = this.#unblocked(() => countPrefix(index, bytes))
    same(counted.keys, below.length, 'keys counted below the prefix')
    same(counted.valueBytes, valueBytes, 'value bytes counted below the prefix')
    same(
      this.#unblocked(() => isPrefixEmpty(index, bytes)),
      below.length === 0,
      'the prefix is empty',
    )
  }

  #longestPrefix(query: string): void {
    const bytes = bytesOf(query)
    const found = this.#unblocked(() => longestPrefix(this.#index, bytes, bytes.length))
    let expected = query.length
    while (expected >= 0 && this.map.get(query.slice(0, expected)) === undefined) expected--
    same(found, expected < 0 ? NO_PREFIX : expected, `the longest prefix of ${hex(query)}`)
  }

  #scan(options: CursorOptions, limit: number, index = this.#index, map = this.map): void {
    const cursor = new Cursor(index, options)
    const expected = map.scan(options, limit)
    for (const entry of expected)
      this.#expect(
        cursor,
        this.#unblocked(() => cursor.next()),
        entry,
      )
    if (expected.length < limit)
      same(
        this.#unblocked(() => cursor.next()),
        END,
        'a step behind the last entry',
      )
  }

  #opened(options: CursorOptions, index = this.#index): OpenCursor {
    return { cursor: new Cursor(index, options), options, last: undefined, step: END, ended: false }
  }

  #takeView(number: number): void {
    const view = this.#index.view(this.#version)
    const open = this.#opened({ reverse: number % 2 === 1 }, view.index)
    this.#views.set(number, { view, map: this.map.clone(), open })
    this.counts.viewsTaken++
  }

  #readView(number: number, key: string, options: CursorOptions, limit: number): void {
    const there = this.#views.get(number)
    if (there === undefined) return
    const { view, map, open } = there
    this.#find(key, view.index, map)
    this.#scan(options, limit, view.index, map)
    for (let i = 0; i < limit && !open.ended; i++) this.#advance(open, map)
  }

  #closeView(number: number): void {
    const there = this.#views.get(number)
    if (there === undefined) return
    this.#scan({}, Infinity, there.view.index, there.map)
    there.view.close()
    this.#views.delete(number)
  }

  /** A cursor that paused goes on in the tree as it is now. */
  #advance(open: OpenCursor, map = this.map): void {
    const { cursor, options, last } = open
    const [expected] = map.scan(options, 1, last)
    const step = this.#unblocked(() => cursor.next())
    this.counts.entriesAfterChanges++
    this.#expect(cursor, step, expected)
    open.last = expected
    open.step = step
    open.ended = step === END
  }

  #expect(cursor: Cursor, step: CursorStep, expected: Listed<Uint8Array> | undefined): void {
    if (expected === undefined) {
      same(step, END, 'the step at the end')
      return
    }
    same(step, expected.kind === 'key' ? KEY : COMMON_PREFIX, `the step to ${hex(expected.key)}`)
    const key = latin1(cursor.key.subarray(0, cursor.keyLength))
    if (key !== expected.key) throw new Error(`the cursor is at ${hex(key)}, the map at ${hex(expected.key)}`)
    if (expected.kind === 'prefix') return
    same(cursor.version, expected.version, 'the version listed')
    same(cursor.valueLength, expected.value.length, 'the length listed')
    const value = this.#unblocked(() => cursorValue(cursor))
    if (Buffer.compare(value, expected.value) !== 0)
      throw new Error(`${hex(key)} is listed with another value`)
  }

  #compact(steps: number, frames: number, fill: number): void {
    const before = this.source.ids.length
    for (let step = 0; step < steps; step++) {
      if (this.#pass.finished) this.#pass = new CompactionPass()
      this.#unblocked(() => this.#index.compactStep(this.#pass, { frames, fill }))
    }
    this.counts.framesMerged += Math.max(0, before - this.source.ids.length)
  }

  #evict(percent: number, seed: number): void {
    const random = new Random(seed)
    for (const id of this.source.ids) {
      if (this.source.isResident(id) && random.chance(percent)) this.source.evict(id)
    }
  }

  #attach(): void {
    const { source } = this
    const { rootId, unlinked, epoch } = this.#index
    // Views of even numbers are kept.
    const kept = [...this.#views].filter(([number]) => number % 2 === 0)
    this.#index = ArtIndex.attach(source, rootId, {
      usableFrameBytes: this.#setting.usableFrameBytes,
      epoch,
    })
    const views = this.#index.restore(
      kept.map(([, { view }]) => view.place),
      unlinked.list(),
    )
    this.#pass = new CompactionPass()
    this.#cursors.clear()
    this.#views.clear()
    for (const [i, [number, { map }]] of kept.entries()) {
      // Of two views at one place, closing the first takes nothing away from the second.
      const view = this.#index.viewAt(views[i].place)
      views[i].close()
      this.#views.set(number, { view, map, open: this.#opened({ reverse: number % 4 === 2 }, view.index) })
      this.counts.viewsRestored++
    }
  }

  /** Every byte of every frame, every frame of the source, every entry in both directions. */
  verify(): void {
    const { index, source, map, counts } = this
    source.mayBlock = true
    const report = verifyTree(index)
    const problem = report.problems.at(0)
    if (problem !== undefined) {
      const place = `blob ${String(problem.blobId)}, ref ${String(problem.ref)}`
      throw new Error(
        `verify finds ${String(report.problems.length)} problems, the first at ${place}: ${problem.what}`,
      )
    }
    same(report.keys, map.size, 'keys counted by verify')
    const known = [...report.blobIds, ...report.unlinkedBlobIds].sort((a, b) => a - b)
    same(known.join(), source.ids.join(), 'frames reached or unlinked')
    const statistics = treeStatistics(index)
    same(statistics.keys, map.size, 'keys counted by statistics')
    same(statistics.largeValues, report.largeValues, 'large values counted by statistics')
    same(statistics.valueFrames, report.valueFrames, 'value frames counted by statistics')
    this.#scan({}, Infinity)
    this.#scan({ reverse: true }, Infinity)
    for (const view of this.#views.values()) this.#verifyView(view)
    if (this.#views.size === 0) same(index.unlinked.heldCount, 0, 'frames held without a view')
    this.#checkGuards()
    counts.mostHeld = Math.max(counts.mostHeld, index.unlinked.heldCount)
    counts.mostFrames = Math.max(counts.mostFrames, report.blobIds.length)
    counts.largeValues = Math.max(counts.largeValues, report.largeValues)
    counts.crossings = Math.max(counts.crossings, report.crossings)
  }

  /** The whole tree that a view shows: every byte of it, and that none of its frames was given back. */
  #verifyView({ view, map }: OpenView): void {
    const report = verifyTree(view.index)
    const problem = report.problems.at(0)
    if (problem !== undefined)
      throw new Error(
        `verify of a view, blob ${String(problem.blobId)}, ref ${String(problem.ref)}: ${problem.what}`,
      )
    same(report.keys, map.size, 'keys of a view counted by verify')
    const there = new Set<number>(this.source.ids)
    for (const id of report.blobIds)
      if (!there.has(id)) throw new Error(`a view sees blob ${String(id)}, which was given back`)
    this.#scan({}, Infinity, view.index, map)
    this.#scan({ reverse: true }, Infinity, view.index, map)
  }

  #checkGuards(): void {
    const { source } = this
    for (const id of source.ids) {
      if (!source.isResident(id)) continue
      const bytes = source.bytes(id)
      const usable = this.#setting.usableFrameBytes
      for (const start of [0, usable]) {
        const guard = bytes.subarray(start, start + GUARD_BYTES)
        if (guard.some((byte) => byte !== 0))
          throw new Error(`blob ${String(id)} was written at byte ${String(start)} or behind`)
      }
    }
  }

  /** Repeats what met an absent frame, having seen that it changed nothing. */
  #unblocked<T>(run: () => T): T {
    const { index, source } = this
    for (let misses = 0; ; misses++) {
      const { changes } = index
      try {
        return run()
      } catch (error) {
        if (!(error instanceof FrameAbsent) || source.mayBlock || misses > 10_000) throw error
        same(index.changes, changes, 'changes by what met an absent frame')
        this.counts.absences++
        source.mayBlock = true
        source.fault(error.id)
        source.mayBlock = false
      }
    }
  }
}

function same<T>(found: T, expected: T, what: string): void {
  if (found !== expected) throw new Error(`${what}: ${String(found)}, the map says ${String(expected)}`)
}
