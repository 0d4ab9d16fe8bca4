import type { BlobId, Slot } from '@holt/blob-buf-pool'
import { BufferManager } from '@holt/blob-store'
import type { JournalContract, Lsn } from '@holt/journal'
import { beforeEach, describe, expect, it } from 'vitest'
import { EpochCommitter, EpochPipeline, MAX_GROUP_EPOCHS } from '../src/index.js'
import { settle } from './manual-clock.js'
import { ScriptedStore } from './scripted-store.js'

const MARK_OFFSET = 10_000

describe('epochs of which several are under way', () => {
  let store: ScriptedStore
  let frames: BufferManager
  let position: number
  let recycled: number[]
  let journalFailure: Error | undefined
  let slowJournal: Promise<void> | undefined

  const make = (depth: number, groupEpochs = MAX_GROUP_EPOCHS): EpochPipeline => {
    let note = 0
    const journal = {
      get position() {
        return position as Lsn
      },
      sync: () =>
        slowJournal ?? (journalFailure === undefined ? Promise.resolve() : Promise.reject(journalFailure)),
      recycle: (upTo: Lsn) => recycled.push(upTo),
    } as unknown as JournalContract
    return new EpochPipeline({
      frames,
      worker: new EpochCommitter({ store, slab: frames.slab, slots: frames.slots, groupEpochs }),
      journal,
      note: () => Uint8Array.of(++note),
      depth,
    })
  }
  const mark = (id: BlobId, value: number): void => {
    frames.writable(id)
    frames.slab.bytes(frames.pageTable[id] as Slot)[MARK_OFFSET] = value
  }
  const durableMark = (id: BlobId): number | undefined => store.durable.get(id)?.[MARK_OFFSET]

  beforeEach(() => {
    store = new ScriptedStore()
    frames = new BufferManager({ store, capacityFrames: 8, maxFrames: 64 })
    position = 10
    recycled = []
    journalFailure = undefined
    slowJournal = undefined
  })

  it('holds as many as it is deep, and that is at least one', async () => {
    for (const depth of [0, 1.5]) expect(() => make(depth)).toThrow('depth')
    const pipeline = make(2)
    store.shut()
    pipeline.cut()
    expect(pipeline.hasRoom).toBe(true)
    const { ended } = pipeline.cut()
    expect(pipeline.hasRoom).toBe(false)
    expect(pipeline.length).toBe(2)
    store.open()
    await ended
    expect(pipeline.length).toBe(0)
    await pipeline.whenOneEnded()
  })

  it('B36: each keeps its own image of a frame from being changed and driven out', async () => {
    const pipeline = make(4, 1)
    const id = frames.allocate()
    mark(id, 1)
    store.shut()
    pipeline.cut()
    mark(id, 2)
    pipeline.cut()
    mark(id, 3)
    // Three images; none of them may go, however much room is wanted.
    expect(frames.residentFrames).toBe(3)
    expect(frames.reserve(8)).toBe(false)
    expect(frames.residentFrames).toBe(3)
    await settle()
    store.open()
    const written: (number | undefined)[] = []
    while (pipeline.length > 0) {
      await pipeline.whenOneEnded()
      written.push(durableMark(id))
    }
    expect(written).toEqual([1, 2])
    expect(frames.dirtyFrames).toBe(1)
    expect(frames.residentFrames).toBe(1)
  })

  it('B30, B32: come back in order, and each recycles the journal up to its own cut and no further', async () => {
    const pipeline = make(4, 1)
    for (const upTo of [100, 200, 300]) {
      frames.allocate()
      position = upTo
      pipeline.cut()
    }
    position = 999
    const seen: number[][] = []
    while (pipeline.length > 0) {
      await pipeline.whenOneEnded()
      seen.push([...recycled])
    }
    expect(seen).toEqual([[100], [100, 200], [100, 200, 300]])
  })

  it('B31: none is written before the journal is stable up to its cut, nor before its predecessor', async () => {
    const pipeline = make(4)
    frames.allocate()
    let open = (): void => undefined
    slowJournal = new Promise((resolve) => {
      open = resolve
    })
    pipeline.cut()
    slowJournal = undefined
    frames.allocate()
    const { ended } = pipeline.cut()
    await settle()
    expect(store.calls).toEqual([])
    open()
    await ended
    expect(store.calls).toEqual(['writeMany 1,2', 'flush 2'])
  })

  it('B14, B30: if one fails, all behind it do; the next cut has the changes of all, and only then the journal goes', async () => {
    for (const groupEpochs of [1, MAX_GROUP_EPOCHS]) {
      store = new ScriptedStore()
      frames = new BufferManager({ store, capacityFrames: 8, maxFrames: 64 })
      recycled = []
      const pipeline = make(3, groupEpochs)
      const [a, b, freed] = [frames.allocate(), frames.allocate(), frames.allocate()]
      await pipeline.cut().ended
      recycled.length = 0
      store.calls.length = 0
      const failure = new Error('disk')
      store.failures.set('writeMany', failure)
      mark(a, 1)
      const first = pipeline.cut()
      mark(b, 2)
      frames.free(freed)
      const second = pipeline.cut()
      mark(a, 3)
      const third = pipeline.cut()
      await first.ended
      // Whoever cut now would cut without what is still to come back.
      expect(pipeline.hasRoom).toBe(false)
      const reports = await Promise.all([first.ended, second.ended, third.ended])
      expect(reports.map(({ error }) => error)).toEqual([failure, failure, failure])
      expect(store.calls).toHaveLength(1)
      expect(recycled).toEqual([])
      expect([frames.dirtyFrames, frames.residentFrames]).toEqual([2, 2])
      expect(pipeline.hasRoom).toBe(true)

      position = 500
      expect((await pipeline.cut().ended).error).toBeUndefined()
      expect([durableMark(a), durableMark(b), store.durable.has(freed)]).toEqual([3, 2, false])
      expect(recycled).toEqual([500])
      expect(frames.hasDirt).toBe(false)
    }
  })

  it('B28: if the journal fails one, those behind it are not written without it', async () => {
    const pipeline = make(3)
    frames.allocate()
    journalFailure = new Error('journal')
    pipeline.cut()
    const cause = journalFailure
    journalFailure = undefined
    frames.allocate()
    const { ended } = pipeline.cut()
    expect((await ended).error).toBe(cause)
    expect(store.calls).toEqual([])
    expect(frames.dirtyFrames).toBe(2)

    journalFailure = 'no error at all' as unknown as Error
    expect((await pipeline.cut().ended).error).toMatchObject({ code: 'HOLT_INTERNAL' })
  })

  it('B9, B32: a removal that failed is part of the next cut, and until that is durable the journal stays', async () => {
    store = new ScriptedStore({ atomicFlush: false })
    frames = new BufferManager({ store, capacityFrames: 8, maxFrames: 64 })
    const pipeline = make(3)
    const [id, freed] = [frames.allocate(), frames.allocate()]
    await pipeline.cut().ended
    recycled.length = 0
    mark(id, 7)
    frames.free(freed)
    store.failures.set('delete', new Error('delete'))
    const first = pipeline.cut()
    const second = pipeline.cut()
    expect((await first.ended).isCommitted).toBe(true)
    expect((await second.ended).error).toBeUndefined()
    expect(recycled).toEqual([])
    expect([durableMark(id), frames.dirtyFrames, frames.hasDirt]).toEqual([7, 0, true])
    // Its id is nobody else's before.
    expect(frames.allocate()).not.toBe(freed)
    await pipeline.cut().ended
    expect(store.durable.has(freed)).toBe(false)
    expect(recycled).toHaveLength(1)
    expect(frames.allocate()).toBe(freed)
  })
})
