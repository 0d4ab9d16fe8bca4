import { isHoltError } from '@holt/errors'
import { setTimeout as delay } from 'node:timers/promises'
import v8 from 'node:v8'
import vm from 'node:vm'
import { describe, expect, it } from 'vitest'
import { LeaseDesk, Slab } from '../src/index.js'

function codeOf(run: () => unknown): string | undefined {
  try {
    run()
  } catch (error) {
    return isHoltError(error) ? error.code : String(error)
  }
  return undefined
}

function slabOf(frameCount: number): Slab {
  return Slab.create({ frameBytes: 4096, frameCount })
}

describe('lease', () => {
  it('lends the bytes of a slot and gives the slot back', () => {
    const slab = slabOf(1)
    const desk = new LeaseDesk(slab)
    const lease = desk.lease()
    lease.bytes[0] = 5
    expect(slab.bytes(lease.slot)[0]).toBe(5)
    expect([slab.freeCount, lease.released, desk.counters.outstanding]).toEqual([0, false, 1])
    lease.release()
    expect([slab.freeCount, lease.released, desk.counters.outstanding]).toEqual([1, true, 0])
  })

  it('is given back by its dispose method', () => {
    const slab = slabOf(1)
    new LeaseDesk(slab).lease()[Symbol.dispose]()
    expect(slab.freeCount).toBe(1)
  })

  it('a second release is refused and changes nothing', () => {
    const slab = slabOf(2)
    const desk = new LeaseDesk(slab)
    const first = desk.lease()
    first.release()
    const second = desk.lease()
    expect(second.slot).toBe(first.slot)
    expect(
      codeOf(() => {
        first.release()
      }),
    ).toBe('HOLT_LEASE')
    expect([slab.freeCount, desk.counters.outstanding, second.released]).toEqual([1, 1, false])
  })

  it("another desk's lease is refused and stays leased", () => {
    const slab = slabOf(2)
    const lease = new LeaseDesk(slab).lease()
    const other = new LeaseDesk(slab)
    expect(
      codeOf(() => {
        other.release(lease)
      }),
    ).toBe('HOLT_LEASE')
    expect([lease.released, slab.freeCount, other.counters.outstanding]).toEqual([false, 1, 0])
  })

  it('falls back to ordinary memory of the same size when no slot is free', () => {
    const slab = slabOf(1)
    const desk = new LeaseDesk(slab)
    const pooled = desk.lease()
    const extra = desk.lease()
    expect([extra.slot, extra.bytes.length, desk.counters.fallbacks]).toEqual([0, 4096, 1])
    extra.bytes.fill(9)
    expect(pooled.bytes.includes(9)).toBe(false)
    extra.release()
    expect(
      codeOf(() => {
        extra.release()
      }),
    ).toBe('HOLT_LEASE')
    expect(slab.freeCount).toBe(0)
  })

  it('aligns ordinary memory as the slab is aligned', () => {
    const base = 0x7f00_0000_0030
    const desk = new LeaseDesk(slabOf(1), { addressOf: (bytes) => base + bytes.byteOffset })
    desk.lease()
    const extra = desk.lease()
    expect((base + extra.bytes.byteOffset) % 4096).toBe(0)
    expect(extra.bytes.length).toBe(4096)
  })

  it('a zeroed lease shows nothing of who had the slot before', () => {
    const desk = new LeaseDesk(slabOf(1))
    const first = desk.lease()
    first.bytes.fill(1)
    first.release()
    expect(desk.leaseZeroed().bytes.every((byte) => byte === 0)).toBe(true)
  })

  it('a forgotten lease is reported and its slot is not handed out again', async () => {
    v8.setFlagsFromString('--expose-gc')
    const collect = vm.runInNewContext('gc') as () => void
    const slab = slabOf(2)
    const lost: number[] = []
    const desk = new LeaseDesk(slab, { onLost: (slot) => lost.push(slot) })
    const forget = (): number => desk.lease().slot
    const slot = forget()
    for (let attempt = 0; attempt < 100 && lost.length === 0; attempt++) {
      await delay(5)
      collect()
    }
    expect(lost).toEqual([slot])
    expect(desk.counters).toEqual({ outstanding: 0, fallbacks: 0, lost: 1 })
    expect(slab.freeCount).toBe(1)
  })
})
