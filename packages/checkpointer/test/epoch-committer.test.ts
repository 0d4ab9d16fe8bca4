import { describe, expect, it } from 'vitest'
import { type Epoch, type EpochReport, GATHER_MS, MAX_GROUP_EPOCHS } from '../src/index.js'
import { EpochScene } from './epoch-scene.js'
import { settle } from './manual-clock.js'

/** Submits them in one turn: where they may be joined, they are one group. */
function submitTogether(scene: EpochScene, epochs: readonly Epoch[]): Promise<EpochReport[]> {
  return Promise.all(epochs.map((epoch) => scene.committer.submit(epoch)))
}

describe('a committer of epochs', () => {
  it('B1: does two kinds of things: an epoch, which is frames and blobs given up, and to stop', async () => {
    const scene = new EpochScene()
    const epoch = scene.epoch([[1, 11]], [2])
    expect(await scene.committer.submit(epoch)).toEqual({
      epoch: 1,
      framesTotal: 1,
      framesFlushed: 1,
      deletesTotal: 1,
      deletesApplied: 1,
      isCommitted: true,
      deletesLeft: [],
    })
    expect(scene.durableMark(1)).toBe(11)
    expect(scene.isRetired(epoch)).toBe(true)
    await scene.committer.stop()
    await expect(scene.committer.submit(epoch)).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
  })

  it('B2: holds back who submits while its queue is full, 16 epochs unless told otherwise, at least one', async () => {
    for (const [queueCapacity, waiting] of [[undefined, 16] as const, [1, 1] as const]) {
      const scene = new EpochScene({ queueCapacity })
      scene.store.shut()
      const submitted = Array.from({ length: waiting + 3 }, () => scene.committer.submit(scene.epoch([])))
      const outcomes = Promise.allSettled(submitted)
      await settle()
      // What is queued is committed by a stop, what is held back is not.
      const stopped = scene.committer.stop()
      scene.store.open()
      await stopped
      const kinds = (await outcomes).map(({ status }) => status)
      expect(kinds).toEqual([...Array<string>(waiting + 1).fill('fulfilled'), 'rejected', 'rejected'])
    }
    expect(() => new EpochScene({ queueCapacity: 0 })).toThrow('capacity is 0')
  })

  it('B2: lets in who was held back in their order, before whoever comes later', async () => {
    const scene = new EpochScene({ queueCapacity: 1 })
    scene.store.shut()
    const submitted = [1, 2, 3, 4].map(() => scene.committer.submit(scene.epoch([])))
    await settle()
    scene.store.open()
    await submitted[0]
    submitted.push(scene.committer.submit(scene.epoch([])))
    await Promise.all(submitted)
    expect(scene.store.calls).toEqual([1, 2, 3, 4, 5].map((number) => `flush ${String(number)}`))
  })

  describe('B3: joins epochs', () => {
    it('waits once, 100 µs, for a second one, and commits a single one then', async () => {
      const scene = new EpochScene({ groupEpochs: MAX_GROUP_EPOCHS, gathers: true })
      const report = scene.committer.submit(scene.epoch([[1, 1]]))
      await settle()
      await scene.clock.advance(GATHER_MS * 0.9)
      expect(scene.store.calls).toEqual([])
      await scene.clock.advance(GATHER_MS * 0.2)
      await report
      expect(scene.store.calls).toEqual(['writeMany 1', 'flush 1'])
      expect(GATHER_MS).toBe(0.1)
    })

    it('goes on at once when a second one comes, and takes what is there without waiting', async () => {
      const scene = new EpochScene({ groupEpochs: MAX_GROUP_EPOCHS, gathers: true })
      const first = scene.committer.submit(scene.epoch([[1, 1]]))
      await settle()
      const others = [2, 3].map((id) => scene.committer.submit(scene.epoch([[id, id]])))
      await Promise.all([first, ...others])
      expect(scene.store.calls).toEqual(['writeMany 1,2,3', 'flush 3'])
      expect(scene.clock.pending).toBe(0)
    })

    it('at most 64, or as many as it was told, in one group', async () => {
      for (const [groupEpochs, count, flushes] of [
        [64, 70, ['flush 64', 'flush 70']],
        [2, 5, ['flush 2', 'flush 4', 'flush 5']],
      ] as const) {
        const scene = new EpochScene({ groupEpochs, queueCapacity: 100 })
        await submitTogether(
          scene,
          Array.from({ length: count }, () => scene.epoch([])),
        )
        expect(scene.store.calls).toEqual(flushes)
      }
      for (const groupEpochs of [0, 1.5, 65])
        expect(() => new EpochScene({ groupEpochs })).toThrow('groupEpochs')
    })

    it('that wait before a question, and not with those behind it', async () => {
      const scene = new EpochScene({ groupEpochs: MAX_GROUP_EPOCHS })
      scene.store.shut()
      const done = [scene.committer.submit(scene.epoch([]))]
      await settle()
      done.push(scene.committer.submit(scene.epoch([])), scene.committer.submit(scene.epoch([])))
      const answer = scene.committer.vacuum(1).then(() => scene.store.calls.push('answer'))
      done.push(scene.committer.submit(scene.epoch([])))
      scene.store.open()
      await Promise.all([...done, answer])
      expect(scene.store.calls).toEqual(['flush 1', 'flush 3', 'answer', 'flush 4'])
    })

    it('only if it was told to: alone, each is committed by itself', async () => {
      const scene = new EpochScene({ gathers: true })
      await submitTogether(scene, [scene.epoch([[1, 1]]), scene.epoch([[2, 2]])])
      expect(scene.store.calls).toEqual(['writeMany 1', 'flush 1', 'writeMany 2', 'flush 2'])
      expect(scene.clock.pending).toBe(0)
    })
  })

  describe('B4: commits a group', () => {
    it('into an atomic store by one batch, its removals, and one flush with the last note', async () => {
      const scene = new EpochScene({ groupEpochs: 8 })
      await submitTogether(scene, [scene.epoch([[3, 3]], [9]), scene.epoch([[1, 1]], [8])])
      expect(scene.store.calls).toEqual(['writeMany 3,1', 'delete 9', 'delete 8', 'flush 2'])
      expect(scene.store.note()).toEqual(Uint8Array.of(2))
    })

    it('into any other by batch, flush, removals in the order of epochs, and a second flush', async () => {
      const scene = new EpochScene({ groupEpochs: 8, atomicFlush: false })
      await submitTogether(scene, [scene.epoch([[3, 3]], [9]), scene.epoch([[1, 1]], [8])])
      expect(scene.store.calls).toEqual(['writeMany 3,1', 'flush 2', 'delete 9', 'delete 8', 'flush 2'])
    })

    it('flushes also without a frame, and only once without a removal', async () => {
      for (const atomicFlush of [true, false]) {
        const scene = new EpochScene({ groupEpochs: 8, atomicFlush })
        await submitTogether(scene, [scene.epoch([]), scene.epoch([])])
        expect(scene.store.calls).toEqual(['flush 2'])
      }
    })
  })

  it('B5: of a frame that comes twice the last image counts, and none of one that is given up behind it', async () => {
    for (const atomicFlush of [true, false]) {
      const scene = new EpochScene({ groupEpochs: 8, atomicFlush })
      const before = scene.epoch(
        [
          [1, 10],
          [2, 20],
        ],
        [3],
      )
      const behind = scene.epoch(
        [
          [1, 11],
          [3, 30],
        ],
        [2],
      )
      const reports = await submitTogether(scene, [before, behind])
      expect(scene.store.calls[0]).toBe('writeMany 1,3')
      expect(scene.store.calls.filter((call) => call.startsWith('delete'))).toEqual(['delete 2'])
      expect([1, 2, 3].map((id) => scene.durableMark(id))).toEqual([11, undefined, 30])
      expect(reports.map(({ framesFlushed, deletesApplied }) => [framesFlushed, deletesApplied])).toEqual([
        [2, 1],
        [2, 1],
      ])
    }
  })

  it('B6: removes nothing before the frames are durable', async () => {
    const scene = new EpochScene({ atomicFlush: false })
    await scene.committer.submit(scene.epoch([[1, 1]]))
    scene.store.failures.set('flush', new Error('no sync'))
    scene.store.calls.length = 0
    await scene.committer.submit(scene.epoch([[2, 2]], [1]))
    expect(scene.store.calls).toEqual(['writeMany 2', 'flush 2'])
    expect(scene.durableMark(1)).toBe(1)
  })

  describe.each([true, false])('tells of a failure, the flush atomic: %s,', (atomicFlush) => {
    const nothing = { framesFlushed: 0, deletesApplied: 0, isCommitted: false, deletesLeft: [] }

    it.each([
      ['B7: of the batch: nothing is flushed', 'writeMany', ['writeMany 1,2']],
      ['B8: of the first flush: the frames count as not written', 'flush', ['writeMany 1,2', 'flush 2']],
    ])('%s', async (_, call, calls) => {
      const scene = new EpochScene({ groupEpochs: 8, atomicFlush })
      const failure = new Error('disk')
      scene.store.failures.set(call, failure)
      const epochs = [scene.epoch([[1, 1]], [7, 8]), scene.epoch([[2, 2]])]
      const reports = await submitTogether(scene, epochs)
      expect(scene.store.calls.filter((made) => !made.startsWith('delete'))).toEqual(calls)
      // B11: each of them is told the true cause.
      expect(reports).toEqual([
        { epoch: 1, framesTotal: 1, deletesTotal: 2, ...nothing, error: failure },
        { epoch: 2, framesTotal: 1, deletesTotal: 0, ...nothing, error: failure },
      ])
      expect(epochs.map((epoch) => scene.isRetired(epoch))).toEqual([false, false])
      expect(scene.store.durable.size).toBe(0)
    })

    it('B11: whatever a store throws is an error, and the cause of what is no error', async () => {
      const scene = new EpochScene({ groupEpochs: 8, atomicFlush })
      scene.store.failures.set('flush', 'no error at all' as unknown as Error)
      for (const { error } of await submitTogether(scene, [scene.epoch([]), scene.epoch([])]))
        expect(error).toMatchObject({ code: 'HOLT_INTERNAL', cause: 'no error at all' })
    })

    it('B12: reports an epoch each, in the order they came in, and goes on where nobody listens', async () => {
      const scene = new EpochScene({ groupEpochs: 8, atomicFlush })
      scene.store.failures.set('flush', new Error('once'))
      const told: number[] = []
      const submit = (): Promise<unknown> =>
        scene.committer.submit(scene.epoch([])).then(({ epoch }) => told.push(epoch))
      const failing = [submit(), submit()]
      await Promise.all(failing)
      const unheard = scene.committer.submit(scene.epoch([], [], 0))
      await Promise.all([submit(), submit(), unheard])
      expect(told).toEqual([1, 2, 4, 5])
    })

    it('and commits nothing on top of what failed, in its group or behind it, until one follows something else', async () => {
      const scene = new EpochScene({ groupEpochs: 2, atomicFlush })
      const failure = new Error('disk')
      scene.store.failures.set('writeMany', failure)
      const epochs = [1, 2, 3, 4, 5].map((id) => scene.epoch([[id, id]]))
      // 6 was cut behind the failure, on top of nothing; 7 behind it.
      epochs.push(scene.epoch([[6, 6]], [], 0), scene.epoch([[7, 7]]))
      const reports = await submitTogether(scene, epochs)
      expect(reports.map(({ isCommitted }) => isCommitted)).toEqual([
        ...Array<boolean>(5).fill(false),
        true,
        true,
      ])
      expect(reports.slice(0, 5).map(({ error }) => error)).toEqual(Array(5).fill(failure))
      expect(scene.store.calls).toEqual(['writeMany 1,2', 'writeMany 6', 'flush 6', 'writeMany 7', 'flush 7'])
      expect(epochs.map((epoch) => scene.isRetired(epoch))).toEqual(
        reports.map((report) => report.isCommitted),
      )
    })
  })

  describe('of a store whose flush is not atomic, tells of a failure', () => {
    const scenes = async (): Promise<EpochScene> => {
      const scene = new EpochScene({ groupEpochs: 8, atomicFlush: false })
      await scene.committer.submit(
        scene.epoch([
          [7, 7],
          [8, 8],
          [9, 9],
        ]),
      )
      scene.store.calls.length = 0
      return scene
    }

    it('B9: of single removals: these alone are left, and their epoch has the first of their errors', async () => {
      const scene = await scenes()
      const [first, second] = [new Error('first'), new Error('second')]
      scene.store.failures.set('delete 7', first)
      scene.store.failures.set('delete 9', second)
      const reports = await submitTogether(scene, [
        scene.epoch([[1, 1]], [7, 8, 9]),
        scene.epoch([[2, 2]], [5]),
      ])
      expect(scene.store.calls.slice(-4)).toEqual(['delete 8', 'delete 9', 'delete 5', 'flush 3'])
      expect(reports).toEqual([
        {
          epoch: 2,
          framesTotal: 1,
          framesFlushed: 1,
          deletesTotal: 3,
          deletesApplied: 1,
          isCommitted: true,
          deletesLeft: [7, 9],
          error: first,
        },
        expect.objectContaining({ deletesApplied: 1, isCommitted: true, deletesLeft: [] }),
      ])
      expect(reports[1].error).toBeUndefined()
      expect([7, 8, 9].map((id) => scene.durableMark(id))).toEqual([7, undefined, 9])
      // What follows it is committed: the frames are there.
      expect((await scene.committer.submit(scene.epoch([[4, 4]]))).isCommitted).toBe(true)
    })

    it('B9: of all removals: there is nothing that a second flush would commit', async () => {
      const scene = await scenes()
      scene.store.failures.set('delete', new Error('no'))
      await scene.committer.submit(scene.epoch([], [7]))
      expect(scene.store.calls).toEqual(['flush 2', 'delete 7'])
    })

    it('B10: of the second flush: all removals are left, the frames are there', async () => {
      const scene = await scenes()
      const failure = new Error('second flush')
      const [own] = [new Error('own')]
      const epochs = [scene.epoch([[1, 1]], [7, 8]), scene.epoch([[8, 88]], [9]), scene.epoch([])]
      scene.store.failures.set('delete 9', own)
      scene.store.shut()
      const done = submitTogether(scene, epochs)
      await settle()
      scene.store.open()
      while (!scene.store.calls.includes('delete 9')) await Promise.resolve()
      scene.store.failures.set('flush', failure)
      const reports = await done
      // 8 was written again behind its removal, so it is nobody's to remove.
      expect(reports.map(({ deletesLeft }) => deletesLeft)).toEqual([[7], [9], []])
      expect(reports.map(({ error }) => error)).toEqual([failure, own, failure])
      expect(reports.map(({ framesFlushed, deletesApplied }) => [framesFlushed, deletesApplied])).toEqual([
        [1, 0],
        [1, 0],
        [0, 0],
      ])
      expect(epochs.every((epoch) => scene.isRetired(epoch))).toBe(true)
      expect([1, 7, 8, 9].map((id) => scene.durableMark(id))).toEqual([1, 7, 88, 9])
    })
  })

  it('B13: told to stop, commits what was collected and what is queued, reports, and ends; at once without any', async () => {
    const scene = new EpochScene({ groupEpochs: 8, gathers: true })
    // The first one waits for a second: the stop ends that, no time passes.
    const reports = [scene.committer.submit(scene.epoch([[1, 1]]))]
    await settle()
    const stopped = scene.committer.stop()
    await expect(scene.committer.submit(scene.epoch([]))).rejects.toMatchObject({ code: 'HOLT_CLOSED' })
    expect(await Promise.all(reports)).toMatchObject([{ isCommitted: true }])
    await stopped
    expect(scene.store.calls).toEqual(['writeMany 1', 'flush 1'])
    expect(scene.clock.pending).toBe(0)
    await new EpochScene().committer.stop()
  })

  it('B16: does one thing at a time: epochs, steps of a vacuum and pieces of a backup never overlap', async () => {
    const scene = new EpochScene({ groupEpochs: 8 })
    let underWay = 0
    const alone = async <T>(result: T): Promise<T> => {
      expect(++underWay).toBe(1)
      scene.store.calls.push('question')
      await settle()
      underWay--
      return result
    }
    Object.assign(scene.store, { vacuum: () => alone({}), backup: () => alone({}) })
    const { writeMany, flush } = scene.store
    scene.store.writeMany = (writes) => alone(undefined).then(() => writeMany.call(scene.store, writes))
    scene.store.flush = (note) => alone(undefined).then(() => flush.call(scene.store, note))
    await Promise.all([
      scene.committer.submit(scene.epoch([[1, 1]])),
      scene.committer.vacuum(1),
      scene.committer.submit(scene.epoch([[2, 2]])),
      scene.committer.backup({ kind: 'begin', directory: '/copy' }),
      scene.committer.submit(scene.epoch([[3, 3]])),
    ])
    expect(scene.store.calls.filter((call) => call !== 'question')).toEqual([
      'writeMany 1',
      'flush 1',
      'writeMany 2',
      'flush 2',
      'writeMany 3',
      'flush 3',
    ])
    expect(scene.store.calls.filter((call) => call === 'question')).toHaveLength(8)
  })

  it('makes no backup of a store that cannot, and hands requests to one that can', async () => {
    const plain = new EpochScene().committer
    const request = { kind: 'begin', directory: '/copy' } as const
    await expect(plain.backup(request)).rejects.toMatchObject({ code: 'HOLT_UNSUPPORTED' })
    await plain.stop()
    await expect(plain.backup(request)).rejects.toMatchObject({ code: 'HOLT_CLOSED' })

    const state = { frames: 1, bytes: 4_096, copiedFrames: 0, copiedBytes: 0, note: Uint8Array.of(1) }
    const asked: unknown[] = []
    const { committer, store } = new EpochScene()
    const able = Object.assign(store, {
      backup: (given: unknown) => {
        asked.push(given)
        return Promise.resolve(state)
      },
    })
    expect(await committer.backup(request)).toBe(state)
    expect(asked).toEqual([request])
    able.backup = () => Promise.reject(new Error('no medium'))
    await expect(committer.backup(request)).rejects.toThrow('no medium')
    await committer.stop()
  })

  it('has nothing to vacuum in a store that cannot, and asks one that can', async () => {
    const plain = new EpochScene().committer
    const nothing = await plain.vacuum(5)
    expect(nothing).toEqual({ movedFrames: 0, freedBytes: 0, isDone: true })
    await plain.stop()

    const asked: number[] = []
    const { committer, store } = new EpochScene()
    const able = Object.assign(store, {
      vacuum: (maxFrames: number) => {
        asked.push(maxFrames)
        return Promise.resolve(nothing)
      },
    })
    expect(await committer.vacuum(5)).toBe(nothing)
    able.vacuum = () => Promise.reject(new Error('no medium'))
    await expect(committer.vacuum(6)).rejects.toThrow('no medium')
    expect(asked).toEqual([5])
    await committer.stop()
  })
})
