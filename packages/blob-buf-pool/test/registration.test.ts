import { describe, expect, it } from 'vitest'
import { LeaseDesk, type Registration, Slab, slotNumber } from '../src/index.js'
import { codeOf } from './fixtures/code-of.js'
import { collectUntil } from './fixtures/collect-garbage.js'

function shapes(registrations: readonly Registration[]): [number, number, number][] {
  return registrations.map(({ index, firstSlot, slotCount }) => [index, firstSlot, slotCount])
}

describe('registrations', () => {
  it('C5: one a slot, whose index is the number of the slot that a lease carries', () => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 7, segmentFrameCount: 4 })
    const lease = new LeaseDesk(slab).lease()
    lease.bytes[5] = 99
    const registrations = slab.registrations({ per: 'slot' })
    expect(shapes(registrations)).toEqual([1, 2, 3, 4, 5, 6, 7].map((slot) => [slot, slot, 1]))
    expect(registrations.find(({ index }) => index === lease.slot)?.bytes[5]).toBe(99)
    for (const { bytes, firstSlot } of registrations) {
      const own = slab.bytes(firstSlot)
      expect([bytes.buffer === own.buffer, bytes.byteOffset, bytes.length]).toEqual([
        true,
        own.byteOffset,
        4096,
      ])
    }
  })

  it('C5: one a segment, of the slots that exist and without slot 0', () => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 6, maxFrameCount: 20, segmentFrameCount: 4 })
    const registrations = slab.registrations({ per: 'segment' })
    expect(shapes(registrations)).toEqual([
      [0, 1, 3],
      [1, 4, 3],
    ])
    const [first, second] = registrations
    expect([first.bytes.length, second.bytes.length]).toEqual([3 * 4096, 3 * 4096])
    slab.bytes(slotNumber(6)).fill(6)
    expect(second.bytes.subarray(2 * 4096).every((byte) => byte === 6)).toBe(true)
    slab.grow(3)
    expect(shapes(slab.registrations({ per: 'segment' }))).toEqual([
      [0, 1, 3],
      [1, 4, 4],
      [2, 8, 2],
    ])
    expect(first.bytes.length).toBe(3 * 4096)
  })

  it('C2: indices fit 16 bits and the kernel’s table, however many slots there are', () => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 70_000 })
    const all = slab.registrations({ per: 'slot', maxCount: 65_536 })
    expect([all.length, all[0].index, all.at(-1)?.index]).toEqual([65_535, 1, 65_535])
    expect(slab.registrations({ per: 'slot' }).at(-1)?.index).toBe(16_383)
    expect(slab.registrations({ per: 'segment' })).toHaveLength(1)
  })

  it('registers the lowest slots, which are leased first, when not all may be pinned', () => {
    const slab = Slab.create({ frameCount: 40, segmentFrameCount: 16 })
    const maxBytes = 8 * 2 ** 20 - 1
    expect(shapes(slab.registrations({ per: 'segment', maxBytes }))).toEqual([[0, 1, 15]])
    expect(slab.registrations({ per: 'slot', maxBytes }).map(({ index }) => index)).toEqual(
      Array.from({ length: 15 }, () => slab.lease()),
    )
    expect(shapes(slab.registrations({ per: 'segment', maxBytes: 17 * 524_288 }))).toEqual([
      [0, 1, 15],
      [1, 16, 2],
    ])
    expect(slab.registrations({ per: 'slot', maxBytes: 524_287 })).toEqual([])
    expect(slab.registrations({ per: 'segment', maxCount: 0 })).toEqual([])
  })

  it('C9: keep the memory alive when the slab is gone, and let go of it with themselves', async () => {
    let memory: WeakRef<SharedArrayBuffer> | undefined
    let slabRef: WeakRef<Slab> | undefined
    const make = (): { registrations: readonly Registration[] | undefined } => {
      const slab = Slab.create({ frameBytes: 4096, frameCount: 3 })
      slab.bytes(slotNumber(2)).fill(2)
      memory = new WeakRef(slab.segments[0].buffer)
      slabRef = new WeakRef(slab)
      return { registrations: slab.registrations({ per: 'segment' }) }
    }
    const ring = make()
    expect(await collectUntil(() => slabRef?.deref() === undefined)).toBe(true)
    expect(memory?.deref()).toBeDefined()
    expect(ring.registrations?.[0].bytes[4096]).toBe(2)
    ring.registrations = undefined
    expect(await collectUntil(() => memory?.deref() === undefined)).toBe(true)
  })

  it('covers what this thread has seen of a slab that grew elsewhere', () => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 1, maxFrameCount: 5, segmentFrameCount: 2 })
    const other = Slab.attach(structuredClone(slab.share()))
    slab.grow(4)
    expect(shapes(other.registrations({ per: 'segment' }))).toEqual([[0, 1, 1]])
    other.adopt(slab.share())
    expect(shapes(other.registrations({ per: 'segment' }))).toEqual([
      [0, 1, 1],
      [1, 2, 2],
      [2, 4, 2],
    ])
  })

  it.each([
    { maxBytes: -1 },
    { maxBytes: 0.5 },
    { maxBytes: Number.NaN },
    { maxCount: -1 },
    { maxCount: 65_537 },
  ])('C2: refuses limits out of range: %o', (limits) => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 1 })
    expect(codeOf(() => slab.registrations({ per: 'slot', ...limits }))).toBe('HOLT_INVALID_ARGUMENT')
  })

  it('refuses a kind of range that there is not', () => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 1 })
    expect(codeOf(() => slab.registrations({ per: 'page' as 'slot' }))).toBe('HOLT_INVALID_ARGUMENT')
  })
})
