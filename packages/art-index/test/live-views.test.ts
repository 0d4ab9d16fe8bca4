import type { BlobId } from '@holt/blob-buf-pool'
import { describe, expect, it } from 'vitest'
import { LiveViews } from '../src/live-views.js'
import { UnlinkedFrames } from '../src/unlinked-frames.js'

const ROOT = 1 as BlobId
/** Views taken one behind the other, and each subset of them still open. */
const VIEWS = 5

describe('open views', () => {
  it('see what was born with or before them and died behind them: the newest that does is found', () => {
    for (let subset = 0; subset < 2 ** VIEWS; subset++) {
      const views = new LiveViews(1)
      const taken = Array.from({ length: VIEWS }, (_, i) => views.take(ROOT, 10 * (i + 1)))
      const open = taken.filter((view, i) => (subset & (1 << i)) !== 0 || !views.close(view))
      expect(views.count).toBe(open.length)
      expect(views.newest).toBe(open.at(-1)?.epoch ?? 0)
      expect(views.epoch).toBe(VIEWS + 1)
      for (let birth = 0; birth <= VIEWS + 1; birth++) {
        for (let death = birth; death <= VIEWS + 1; death++) {
          const seeing = open.filter(({ epoch }) => birth <= epoch && epoch < death)
          expect(views.seeing(birth, death)).toBe(seeing.at(-1))
        }
      }
      for (let seq = 0; seq <= 10 * VIEWS + 1; seq++) {
        const birth = views.birthOfSeq(seq)
        for (const view of open) expect(birth <= view.epoch).toBe(seq <= view.seq)
      }
    }
  })

  it('may be several at one place, in any order of opening: each counts until it is closed', () => {
    const views = new LiveViews(1)
    const taken = Array.from({ length: 3 }, (_, i) => views.take(ROOT, 10 * (i + 1)))
    const again = [1, 2, 0].map((i) => views.open(taken[i]))
    for (const view of taken) views.close(view)
    expect([views.count, views.newest, views.epoch]).toEqual([3, 3, 4])
    expect([1, 2, 3].map((epoch) => views.seeing(epoch, epoch + 1))).toEqual([again[2], again[0], again[1]])
    views.close(again[1])
    expect(views.newest).toBe(2)
    expect(views.seeing(1, 9)).toBe(again[0])
    const more = views.open(again[0])
    views.close(again[0])
    expect(views.seeing(2, 9)).toBe(more)
  })

  it('of a tree that was kept are opened at their places', () => {
    const before = new LiveViews(1)
    const places = Array.from({ length: 4 }, (_, i) => before.take(ROOT, 10 * (i + 1)))
    const views = new LiveViews(before.epoch)
    for (const i of [3, 0, 2]) views.open(places[i])
    expect([views.count, views.newest]).toEqual([3, 4])
    expect(views.take(ROOT, 99).epoch).toBe(5)
    expect(views.seeing(2, 3)).toBeUndefined()
    expect(views.birthOfSeq(11)).toBe(2)
  })

  it('are closed once', () => {
    const views = new LiveViews(7)
    const view = views.take(ROOT, 1)
    expect(views.close(view)).toBe(true)
    expect(views.close(view)).toBe(false)
    expect(views.newest).toBe(0)
  })
})

describe('frames that the tree let go of', () => {
  it('wait until no open view sees them, in whatever order views are closed', () => {
    for (const order of [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ]) {
      const views = new LiveViews(1)
      const unlinked = new UnlinkedFrames(views)
      const taken = Array.from({ length: 3 }, (_, i) => views.take(ROOT, i))
      let id = 10
      const lives = new Map<BlobId, readonly [birth: number, death: number]>()
      for (let birth = 1; birth <= 4; birth++) {
        for (let death = birth; death <= 4; death++) {
          lives.set(id as BlobId, [birth, death])
          if (id % 2 === 0) unlinked.addSingle(id as BlobId, birth, death)
          else unlinked.addRoot(id as BlobId, birth, death)
          id++
        }
      }
      const open = new Set(taken)
      const check = (): void => {
        const ready: BlobId[] = []
        for (let next = unlinked.next; next !== undefined; next = unlinked.next) {
          ready.push(next)
          unlinked.removeNext()
        }
        for (const blob of ready) {
          const [birth, death] = lives.get(blob) ?? [0, 0]
          expect([...open].some(({ epoch }) => birth <= epoch && epoch < death)).toBe(false)
          lives.delete(blob)
        }
        for (const [birth, death] of lives.values())
          expect([...open].some(({ epoch }) => birth <= epoch && epoch < death)).toBe(true)
        expect([...unlinked.roots(), ...unlinked.singles()].sort((a, b) => a - b)).toEqual([...lives.keys()])
        expect(unlinked.heldCount).toBe(lives.size)
      }
      check()
      for (const at of order) {
        const view = taken[at]
        views.close(view)
        open.delete(view)
        unlinked.release(view)
        check()
      }
      expect(lives.size).toBe(0)
    }
  })
})
