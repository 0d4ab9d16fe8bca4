import { isHoltError } from '@holt/errors'
import { describe, expect, it } from 'vitest'
import { FreeList } from '../src/free-list.js'
import { Slab } from '../src/index.js'
import { runWorker } from './fixtures/run-worker.js'

function codeOf(run: () => unknown): string | undefined {
  try {
    run()
  } catch (error) {
    return isHoltError(error) ? error.code : String(error)
  }
  return undefined
}

describe('free list', () => {
  it('hands out the lowest slot first and the last one returned next', () => {
    const list = FreeList.create(5)
    list.extend(5)
    expect([list.pop(), list.pop(), list.pop()]).toEqual([1, 2, 3])
    list.push(2)
    list.push(1)
    expect([list.pop(), list.pop(), list.pop(), list.pop()]).toEqual([1, 2, 4, 0])
  })

  it('counts what is free, and nothing that does not exist yet', () => {
    const list = FreeList.create(9)
    expect(list.count).toBe(0)
    expect(list.pop()).toBe(0)
    list.extend(4)
    expect(list.count).toBe(3)
    list.pop()
    list.extend(9)
    expect(list.count).toBe(7)
    expect(list.limit).toBe(9)
  })

  it('refuses a slot that is free already, that does not exist, or that is no slot', () => {
    const list = FreeList.create(8)
    list.extend(4)
    const slot = list.pop()
    list.push(slot)
    for (const wrong of [slot, 0, -1, 4, 7, 1.5, Number.NaN]) {
      expect(
        codeOf(() => {
          list.push(wrong)
        }),
      ).toBe('HOLT_LEASE')
    }
    expect(list.count).toBe(3)
  })

  it('refuses to grow beyond its capacity', () => {
    const list = FreeList.create(4)
    expect(
      codeOf(() => {
        list.extend(5)
      }),
    ).toBe('HOLT_INVALID_ARGUMENT')
    expect(list.limit).toBe(1)
  })

  it('survives a tag that wraps around', () => {
    const list = FreeList.create(3)
    list.extend(3)
    // The highest tag there is, over the present top.
    const head = new BigInt64Array(list.buffer, 0, 1)
    head[0] = BigInt.asIntN(64, (0xffff_ffffn << 32n) | (head[0] & 0xffff_ffffn))
    expect([list.pop(), list.pop(), list.pop()]).toEqual([1, 2, 0])
    list.push(1)
    expect(list.pop()).toBe(1)
  })

  it('never gives one slot to two threads at a time', async () => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 12 })
    const owners = new SharedArrayBuffer(13 * 4)
    const work = (mark: number): Promise<unknown> =>
      runWorker('lease-hammer.mjs', { shared: slab.share(), owners, mark, rounds: 200_000 })
    expect(await Promise.all([work(1), work(2)])).toEqual([{ conflicts: 0 }, { conflicts: 0 }])
    expect(slab.freeCount).toBe(12)
    const slots = new Set(Array.from({ length: 12 }, () => slab.lease()))
    expect(slots.size).toBe(12)
    expect(slab.lease()).toBe(0)
  })
})
