import type { Slot } from '@holt/blob-buf-pool'
import { BufferManager } from '@holt/blob-store'
import { HoltError } from '@holt/errors'
import type { JournalContract, Lsn } from '@holt/journal'
import { beforeEach, describe, expect, it } from 'vitest'
import {
  Checkpointer,
  type CheckpointEvent,
  type CheckpointTriggers,
  EpochCommitter,
  FAILURE_PATIENCE_MS,
  STALL_MS,
} from '../src/index.js'
import { ManualClock, settle } from './manual-clock.js'
import { ScriptedStore } from './scripted-store.js'

describe('Checkpointer', () => {
  let store: ScriptedStore
  let frames: BufferManager
  let clock: ManualClock
  let events: CheckpointEvent[]
  let log: string[]
  let position: number
  let syncFailure: Error | undefined
  let noteNumber: number
  let noteFailure: Error | undefined
  let onStart: (() => unknown) | undefined

  const make = (triggers: Partial<CheckpointTriggers> = {}): Checkpointer => {
    const journal = {
      get position() {
        return position as Lsn
      },
      get appendedBytes() {
        return position
      },
      sync: () => {
        store.calls.push('journal sync')
        return syncFailure === undefined ? Promise.resolve() : Promise.reject(syncFailure)
      },
      recycle: (upTo: Lsn) => log.push(`recycle ${String(upTo)}`),
    } as unknown as JournalContract
    return new Checkpointer({
      frames,
      worker: new EpochCommitter({ store, slab: frames.slab, slots: frames.slots }),
      io: clock,
      journal,
      note: () => {
        if (noteFailure !== undefined) throw noteFailure
        return Uint8Array.of(++noteNumber)
      },
      triggers: { intervalMs: 1_000, dirtyFrames: 3, journalBytes: 500, ...triggers },
      onEvent: (event) => {
        events.push(event)
        if (event.kind === 'start') onStart?.()
      },
    })
  }

  beforeEach(() => {
    store = new ScriptedStore()
    frames = new BufferManager({ store, capacityFrames: 8, maxFrames: 64 })
    clock = new ManualClock()
    events = []
    log = []
    position = 10
    syncFailure = undefined
    noteNumber = 0
    noteFailure = undefined
    onStart = undefined
  })
  const bytesOf = (id: number): Uint8Array => frames.slab.bytes(frames.pageTable[id] as Slot)

  it('B26, B31: makes the journal stable before a frame reaches the store, then writes, deletes, flushes once, and recycles', async () => {
    const checkpointer = make()
    const [first, second] = [frames.allocate(), frames.allocate()]
    frames.free(second)
    const cutAt = position
    const running = checkpointer.checkpoint()
    position = 99
    await running
    expect(store.calls).toEqual([
      'journal sync',
      `writeMany ${String(first)}`,
      `delete ${String(second)}`,
      'flush 1',
    ])
    expect(log).toEqual([`recycle ${String(cutAt)}`])
    expect(frames.hasDirt).toBe(false)
    expect(events.map(({ kind }) => kind)).toEqual(['start', 'end'])
    expect(checkpointer.stats()).toMatchObject({ attempted: 1, succeeded: 1, failed: 0, framesFlushed: 1 })
  })

  it('B29, B40: does nothing on a clean cache, unless forced', async () => {
    const checkpointer = make()
    await checkpointer.checkpoint()
    expect(store.calls).toEqual([])
    await checkpointer.checkpoint({ force: true })
    expect(store.calls).toContain('flush 1')
  })

  it('writes the note of a clean cache once it is out of date: asked to, by time, and again after a failure', async () => {
    const checkpointer = make()
    checkpointer.noteChanged()
    expect(checkpointer.hasNews).toBe(true)
    await checkpointer.checkpoint()
    expect(store.calls).toContain('flush 1')
    expect(checkpointer.hasNews).toBe(false)
    await checkpointer.checkpoint()
    expect(noteNumber).toBe(1)

    checkpointer.noteChanged()
    checkpointer.changed(position)
    syncFailure = new HoltError('HOLT_IO', 'no')
    await clock.advance(1_000)
    expect(checkpointer.hasNews).toBe(true)
    syncFailure = undefined
    await clock.advance(1_000)
    expect([checkpointer.hasNews, noteNumber]).toEqual([false, 3])

    // Changed while an epoch is under way: its note was made before.
    const running = checkpointer.checkpoint({ force: true })
    checkpointer.noteChanged()
    await running
    expect(checkpointer.hasNews).toBe(true)
    await clock.advance(1_000)
    expect(checkpointer.hasNews).toBe(false)
  })

  it('B35: writes the frame as it was at the cut, whatever is changed meanwhile', async () => {
    const checkpointer = make()
    const id = frames.allocate()
    bytesOf(id)[10_000] = 1
    let open = (): void => undefined
    store.gate = new Promise((resolve) => {
      open = resolve
    })
    const running = checkpointer.checkpoint()
    frames.writable(id)
    bytesOf(id)[10_000] = 2
    open()
    await running
    expect(store.durable.get(id)?.[10_000]).toBe(1)
    expect(frames.dirtyFrames).toBe(1)
    await checkpointer.checkpoint()
    expect(store.durable.get(id)?.[10_000]).toBe(2)
  })

  it.each(['writeMany', 'delete', 'flush'])(
    'B14, B42: loses nothing when %s fails: all belongs to the next cut',
    async (step) => {
      const checkpointer = make()
      const [kept, freed] = [frames.allocate(), frames.allocate()]
      await checkpointer.checkpoint()
      frames.writable(kept)
      frames.free(freed)
      store.calls.length = 0
      const failure = new HoltError('HOLT_NO_SPACE', 'full')
      store.failures.set(step, failure)
      await expect(checkpointer.checkpoint()).rejects.toBe(failure)
      expect(log).toHaveLength(1)
      expect(frames.dirtyFrames).toBe(1)
      expect(store.durable.has(freed)).toBe(true)
      expect(checkpointer.stats()).toMatchObject({ failed: 1, lastError: 'full' })
      store.calls.length = 0
      await checkpointer.checkpoint()
      expect(store.calls).toEqual([
        'journal sync',
        `writeMany ${String(kept)}`,
        `delete ${String(freed)}`,
        'flush 3',
      ])
      expect(store.durable.has(freed)).toBe(false)
      expect(frames.hasDirt).toBe(false)
    },
  )

  it('B28: writes no frame when the journal cannot be made stable, and gives back all of the cut', async () => {
    const checkpointer = make()
    const [kept, freed] = [frames.allocate(), frames.allocate()]
    await checkpointer.checkpoint()
    frames.writable(kept)
    frames.free(freed)
    store.calls.length = 0
    syncFailure = new HoltError('HOLT_POISONED', 'journal')
    await expect(checkpointer.checkpoint()).rejects.toBe(syncFailure)
    expect(store.calls).toEqual(['journal sync'])
    expect(frames.dirtyFrames).toBe(1)
    syncFailure = undefined
    store.calls.length = 0
    await checkpointer.checkpoint()
    expect(store.calls.slice(1, 3)).toEqual([`writeMany ${String(kept)}`, `delete ${String(freed)}`])
    expect(checkpointer.stats()).toMatchObject({ attempted: 3, succeeded: 2, failed: 1 })
  })

  it('B28: counts a checkpoint for which the engine has no note as failed, cuts nothing, and tries again', async () => {
    const checkpointer = make()
    frames.allocate()
    noteFailure = new HoltError('HOLT_INTERNAL', 'no note')
    await expect(checkpointer.checkpoint()).rejects.toBe(noteFailure)
    expect(store.calls).toEqual([])
    expect(frames.dirtyFrames).toBe(1)
    expect(checkpointer.stats()).toMatchObject({ failed: 1, running: false, lastError: 'no note' })
    noteFailure = undefined
    await clock.advance(100)
    expect(checkpointer.stats()).toMatchObject({ succeeded: 1, lastError: undefined })
  })

  it('B25: starts the clock also when nothing has changed but frames that were given up', async () => {
    const checkpointer = make()
    const id = frames.allocate()
    await checkpointer.checkpoint()
    frames.free(id)
    checkpointer.changed(position)
    await clock.advance(1_000)
    expect(store.durable.has(id)).toBe(false)
  })

  it('B40: everybody who asks while one is under way gets the same next one', async () => {
    const checkpointer = make()
    frames.allocate()
    store.shut()
    const first = checkpointer.checkpoint()
    await settle()
    frames.allocate()
    const others = [checkpointer.checkpoint(), checkpointer.checkpoint()]
    frames.allocate()
    others.push(checkpointer.checkpoint({ force: true }))
    // Writers go on: behind the second cut there is something to cut again.
    onStart = () => frames.allocate()
    store.open()
    await Promise.all([first, ...others])
    expect(store.calls.filter((call) => call.startsWith('flush'))).toEqual(['flush 1', 'flush 2'])
    onStart = undefined
    // Nothing is left of what was asked for.
    await checkpointer.checkpoint()
    await checkpointer.checkpoint()
    expect(checkpointer.stats().attempted).toBe(3)
  })

  it('waits for an epoch under way though nothing has changed since, and takes another cut if it fails', async () => {
    const checkpointer = make()
    frames.allocate()
    store.shut()
    store.failures.set('flush', new Error('once'))
    const first = checkpointer.checkpoint()
    await settle()
    const second = checkpointer.checkpoint()
    store.open()
    await expect(first).rejects.toThrow('once')
    await second
    expect(store.calls.filter((call) => call.startsWith('flush'))).toEqual(['flush 1', 'flush 2'])
  })

  it('a disk that does not answer shows in the stats and in an event, once, and writers wait', async () => {
    const checkpointer = make()
    frames.allocate()
    store.shut()
    const running = checkpointer.checkpoint()
    await settle()
    let isThrough = false
    const writer = checkpointer.whenRoom().then(() => (isThrough = true))
    await clock.advance(STALL_MS - 1)
    expect(checkpointer.stats()).toMatchObject({ running: true, runningMs: STALL_MS - 1, stalls: 0 })
    await clock.advance(1)
    await clock.advance(10 * STALL_MS)
    expect(events.filter(({ kind }) => kind === 'stall')).toEqual([
      { kind: 'stall', epoch: 1, runningMs: STALL_MS },
    ])
    expect(checkpointer.stats()).toMatchObject({ running: true, runningMs: 11 * STALL_MS, stalls: 1 })
    expect(isThrough).toBe(false)
    store.open()
    await Promise.all([running, writer])
    expect(checkpointer.stats()).toMatchObject({
      running: false,
      runningMs: 0,
      lastDurationMs: 11 * STALL_MS,
    })
    expect(clock.pending).toBe(0)
  })

  it('B25: starts by itself after the interval, at enough dirty frames, at enough journal', async () => {
    const checkpointer = make()
    frames.allocate()
    checkpointer.changed(position)
    await clock.advance(999)
    expect(store.calls).toEqual([])
    await clock.advance(1)
    expect(store.calls).toContain('flush 1')

    for (let i = 0; i < 3; i++) frames.allocate()
    checkpointer.changed(position)
    await settle()
    expect(store.calls).toContain('flush 2')

    frames.allocate()
    position += 500
    checkpointer.changed(position)
    await settle()
    expect(store.calls).toContain('flush 3')
    expect(clock.pending).toBe(0)
  })

  it('starts the clock for what was changed while it ran', async () => {
    const checkpointer = make()
    frames.allocate()
    const running = checkpointer.checkpoint()
    frames.allocate()
    await running
    expect(clock.pending).toBe(1)
    await clock.advance(1_000)
    expect(frames.hasDirt).toBe(false)
  })

  it('B42: tries a failed checkpoint again by itself, later each time', async () => {
    const checkpointer = make()
    frames.allocate()
    store.failures.set('flush', new Error('once'))
    await expect(checkpointer.checkpoint()).rejects.toThrow('once')
    store.failures.set('flush', new Error('twice'))
    await clock.advance(100)
    expect(checkpointer.stats()).toMatchObject({ failed: 2, lastError: 'twice' })
    await clock.advance(100)
    expect(checkpointer.stats().attempted).toBe(2)
    await clock.advance(100)
    expect(checkpointer.stats()).toMatchObject({ succeeded: 1, lastError: undefined, failingMs: 0 })
  })

  it('lets writers wait for room while checkpoints fail, and tells them after 30 s', async () => {
    const checkpointer = make()
    frames.allocate()
    const failure = new HoltError('HOLT_IO', 'dead disk')
    const alwaysFail = (): void => {
      store.failures.set('flush', failure)
    }
    alwaysFail()
    await checkpointer.whenRoom()
    alwaysFail()
    const waiting = checkpointer.whenRoom()
    await clock.advance(100)
    await waiting
    clock.now += FAILURE_PATIENCE_MS
    await expect(checkpointer.whenRoom()).rejects.toMatchObject({
      code: 'HOLT_CHECKPOINT_FAILED',
      cause: failure,
    })
  })

  it('B40: does not count an epoch under way as covering what came after its cut', async () => {
    const checkpointer = make()
    frames.allocate()
    const first = checkpointer.checkpoint()
    const late = frames.allocate()
    const second = checkpointer.checkpoint()
    await Promise.all([first, second])
    expect(store.durable.has(late)).toBe(true)
    expect(frames.hasDirt).toBe(false)
  })

  it('B39: ends tidily: waits for the epoch under way, starts none, refuses waiters', async () => {
    const checkpointer = make()
    frames.allocate()
    const running = checkpointer.checkpoint()
    frames.allocate()
    await checkpointer.close()
    await running
    expect(store.calls.filter((call) => call.startsWith('flush'))).toHaveLength(1)
    checkpointer.changed(position + 10_000)
    await clock.advance(10_000)
    expect(store.calls.filter((call) => call.startsWith('flush'))).toHaveLength(1)
    expect(clock.pending).toBe(0)
  })
})
