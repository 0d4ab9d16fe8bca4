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
} from '../src/index.js'
import { ScriptedStore } from './scripted-store.js'

/** A clock that only moves when it is told to. */
class ManualClock {
  now = 0
  #timers: { readonly atMs: number; readonly callback: () => void }[] = []
  nowMs(): number {
    return this.now
  }
  setTimer(delayMs: number, callback: () => void): { cancel: () => void } {
    const timer = { atMs: this.now + delayMs, callback }
    this.#timers.push(timer)
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer)
      },
    }
  }
  get pending(): number {
    return this.#timers.length
  }
  async advance(ms: number): Promise<void> {
    this.now += ms
    const due = this.#timers.filter(({ atMs }) => atMs <= this.now)
    this.#timers = this.#timers.filter(({ atMs }) => atMs > this.now)
    for (const { callback } of due) callback()
    await settle()
  }
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('Checkpointer', () => {
  let store: ScriptedStore
  let frames: BufferManager
  let clock: ManualClock
  let events: CheckpointEvent[]
  let log: string[]
  let position: number
  let syncFailure: Error | undefined
  let noteNumber: number

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
      note: () => Uint8Array.of(++noteNumber),
      triggers: { intervalMs: 1_000, dirtyFrames: 3, journalBytes: 500, ...triggers },
      onEvent: (event) => events.push(event),
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
  })
  const bytesOf = (id: number): Uint8Array => frames.slab.bytes(frames.pageTable[id] as Slot)

  it('makes the journal stable before any frame reaches the store, then writes, deletes, flushes once, and recycles', async () => {
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

  it('does nothing on a clean cache, unless forced', async () => {
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

  it('writes the frame as it was at the cut, whatever is changed meanwhile', async () => {
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
    'loses nothing when %s fails: all belongs to the next cut',
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

  it('writes no frame when the journal cannot be made stable', async () => {
    const checkpointer = make()
    frames.allocate()
    syncFailure = new HoltError('HOLT_POISONED', 'journal')
    await expect(checkpointer.checkpoint()).rejects.toBe(syncFailure)
    expect(store.calls).toEqual(['journal sync'])
    expect(frames.dirtyFrames).toBe(1)
  })

  it('starts by itself after the interval, at enough dirty frames, at enough journal', async () => {
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

  it('tries a failed checkpoint again by itself, later each time', async () => {
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

  it('does not count an epoch under way as covering what came after its cut', async () => {
    const checkpointer = make()
    frames.allocate()
    const first = checkpointer.checkpoint()
    const late = frames.allocate()
    const second = checkpointer.checkpoint()
    await Promise.all([first, second])
    expect(store.durable.has(late)).toBe(true)
    expect(frames.hasDirt).toBe(false)
  })

  it('ends tidily: waits for the epoch under way, starts none, refuses waiters', async () => {
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
