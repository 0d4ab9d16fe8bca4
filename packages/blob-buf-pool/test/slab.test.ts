import { isHoltError } from '@holt/errors'
import { describe, expect, it } from 'vitest'
import { FRAME_BYTES, MAX_SLOTS, Slab, slotNumber } from '../src/index.js'

function codeOf(run: () => unknown): string | undefined {
  try {
    run()
  } catch (error) {
    return isHoltError(error) ? error.code : String(error)
  }
  return undefined
}

describe('slab', () => {
  it('gives every slot bytes of its own', () => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 7, segmentFrameCount: 4 })
    expect(slab.segments.length).toBe(2)
    const slots = Array.from({ length: 7 }, () => slab.lease())
    expect(new Set(slots).size).toBe(7)
    expect(slots).not.toContain(0)
    for (const slot of slots) slab.bytes(slot).fill(slot)
    for (const slot of slots) {
      expect(slab.bytes(slot).length).toBe(4096)
      expect(slab.bytes(slot).every((byte) => byte === slot)).toBe(true)
    }
    expect(slab.lease()).toBe(0)
  })

  it('shows the same bytes through every width and through offsetOf', () => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 6, segmentFrameCount: 2 })
    for (let i = 0; i < 5; i++) slab.lease()
    const slot = slotNumber(5)
    const segment = slab.segmentOf(slot)
    const offset = slab.offsetOf(slot)
    segment.u32[offset / 4] = 0x0403_0201
    expect([...slab.bytes(slot).subarray(0, 4)]).toEqual([1, 2, 3, 4])
    expect(segment.u16[offset / 2]).toBe(0x0201)
  })

  it('aligns slots to 4 KiB in memory when it can tell addresses', () => {
    const base = 0x7f00_0000_0010
    const slab = Slab.create({
      frameCount: 2,
      maxFrameCount: 3,
      addressOf: (bytes) => base + bytes.byteOffset,
    })
    for (const segment of slab.segments) expect((base + segment.u8.byteOffset) % 4096).toBe(0)
    expect(slab.bytes(slab.lease()).length).toBe(FRAME_BYTES)
  })

  it('grows up to its maximum and not beyond', () => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 2, maxFrameCount: 6, segmentFrameCount: 2 })
    expect(slab.grow(3)).toBe(3)
    expect(slab.grow(3)).toBe(1)
    expect(slab.grow(3)).toBe(0)
    expect(slab.frameCount).toBe(6)
    expect(slab.freeCount).toBe(6)
    expect(codeOf(() => slab.grow(-1))).toBe('HOLT_INVALID_ARGUMENT')
    expect(codeOf(() => slab.grow(0.5))).toBe('HOLT_INVALID_ARGUMENT')
  })

  it('is one slab to everybody who attaches, growth included', () => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 1, maxFrameCount: 3, segmentFrameCount: 2 })
    const other = Slab.attach(structuredClone(slab.share()))
    const slot = slab.lease()
    expect(other.lease()).toBe(0)
    slab.bytes(slot)[9] = 77
    expect(other.bytes(slot)[9]).toBe(77)
    other.release(slot)
    slab.grow(2)
    other.adopt(slab.share())
    expect(new Set([other.lease(), other.lease(), slab.lease()])).toEqual(new Set([1, 2, 3]))
    expect(other.bytes(slotNumber(3)).length).toBe(4096)
  })

  it('refuses a second release and a foreign slot', () => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 2 })
    const slot = slab.lease()
    slab.release(slot)
    expect(
      codeOf(() => {
        slab.release(slot)
      }),
    ).toBe('HOLT_LEASE')
    expect(
      codeOf(() => {
        slab.release(slotNumber(3))
      }),
    ).toBe('HOLT_LEASE')
    expect(
      codeOf(() => {
        slab.release(slotNumber(0))
      }),
    ).toBe('HOLT_LEASE')
    expect(codeOf(() => slab.bytes(slotNumber(99)))).toBe('HOLT_LEASE')
  })

  it.each([
    { frameCount: 0 },
    { frameCount: 1.5 },
    { frameCount: 4, maxFrameCount: 3 },
    { frameCount: MAX_SLOTS },
    { frameCount: 1, frameBytes: 5000 },
    { frameCount: 1, frameBytes: 2048 },
    { frameCount: 1, segmentFrameCount: 3 },
    { frameCount: 1, segmentFrameCount: 4096 },
  ])('refuses sizes out of range: %o', (options) => {
    expect(codeOf(() => Slab.create(options))).toBe('HOLT_INVALID_ARGUMENT')
  })
})
