import { blobId, FRAME_BYTES, Slab } from '@holt/blob-buf-pool'
import { SlotTable } from '@holt/blob-store'
import { describe, expect, it } from 'vitest'
import { EpochCommitter } from '../src/index.js'
import { ScriptedStore } from './scripted-store.js'

function scene(store: ScriptedStore): EpochCommitter {
  const slab = Slab.create({ frameBytes: FRAME_BYTES, frameCount: 2 })
  return new EpochCommitter({ store, slab, slots: SlotTable.create(3) })
}

const EPOCH = { number: 7, frames: [], deletes: [blobId(4)], note: Uint8Array.of(1) }

describe('the committer of epochs', () => {
  it('reports what a store throws that is no error as an error, with it as the cause', async () => {
    const store = new ScriptedStore()
    store.failures.set('flush', 'no error at all' as unknown as Error)
    const committer = scene(store)
    const report = await committer.submit(EPOCH)
    expect(report).toMatchObject({ epoch: 7, framesFlushed: 0, deletesApplied: 0, deletesTotal: 1 })
    expect(report.error).toMatchObject({ code: 'HOLT_INTERNAL', cause: 'no error at all' })
    expect(await committer.submit(EPOCH)).toMatchObject({ deletesApplied: 1 })
    await committer.stop()
  })

  it('makes no backup of a store that cannot, and hands requests to one that can', async () => {
    const plain = scene(new ScriptedStore())
    const request = { kind: 'begin', directory: '/copy' } as const
    await expect(plain.backup(request)).rejects.toMatchObject({ code: 'HOLT_UNSUPPORTED' })
    await plain.stop()
    await expect(plain.backup(request)).rejects.toMatchObject({ code: 'HOLT_CLOSED' })

    const state = { frames: 1, bytes: 4_096, copiedFrames: 0, copiedBytes: 0, note: Uint8Array.of(1) }
    const asked: unknown[] = []
    const able = Object.assign(new ScriptedStore(), {
      backup: (given: unknown) => {
        asked.push(given)
        return Promise.resolve(state)
      },
    })
    const committer = scene(able)
    expect(await committer.backup(request)).toBe(state)
    expect(asked).toEqual([request])
    able.backup = () => Promise.reject(new Error('no medium'))
    await expect(committer.backup(request)).rejects.toThrow('no medium')
    await committer.stop()
  })

  it('has nothing to vacuum in a store that cannot, and asks one that can', async () => {
    const plain = scene(new ScriptedStore())
    const nothing = await plain.vacuum(5)
    expect(
      Object.values(nothing)
        .filter((value) => typeof value === 'number')
        .every((value) => value === 0),
    ).toBe(true)
    await plain.stop()

    const asked: number[] = []
    const able = Object.assign(new ScriptedStore(), {
      vacuum: (maxFrames: number) => {
        asked.push(maxFrames)
        return Promise.resolve(nothing)
      },
    })
    const committer = scene(able)
    expect(await committer.vacuum(5)).toBe(nothing)
    able.vacuum = () => Promise.reject(new Error('no medium'))
    await expect(committer.vacuum(6)).rejects.toThrow('no medium')
    expect(asked).toEqual([5])
    await committer.stop()
  })
})
