import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { type Lease, LeaseDesk, type LeaseMessage, Slab } from '../src/index.js'
import { codeOf } from './fixtures/code-of.js'
import { collectUntil } from './fixtures/collect-garbage.js'
import { ask, startWorker } from './fixtures/run-worker.js'

function slabOf(frameCount: number): Slab {
  return Slab.create({ frameBytes: 4096, frameCount })
}

describe('lease', () => {
  it('C5: lends the bytes of a slot and gives the slot back', () => {
    const slab = slabOf(1)
    const desk = new LeaseDesk(slab)
    const lease = desk.lease()
    lease.bytes[0] = 5
    expect(slab.bytes(lease.slot)[0]).toBe(5)
    expect([slab.freeCount, lease.released, desk.counters.outstanding]).toEqual([0, false, 1])
    lease.release()
    expect([slab.freeCount, lease.released, desk.counters.outstanding]).toEqual([1, true, 0])
  })

  it('C5: is given back by its dispose method', () => {
    const slab = slabOf(1)
    new LeaseDesk(slab).lease()[Symbol.dispose]()
    expect(slab.freeCount).toBe(1)
  })

  it('C10: a second release is refused and changes nothing', () => {
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

  it("C10: another desk's lease is refused and stays leased", () => {
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

  it('C6: falls back to ordinary memory of the same size when no slot is free', () => {
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

  it('C6: aligns ordinary memory as the slab is aligned', () => {
    const base = 0x7f00_0000_0030
    const desk = new LeaseDesk(slabOf(1), { addressOf: (bytes) => base + bytes.byteOffset })
    desk.lease()
    const extra = desk.lease()
    expect((base + extra.bytes.byteOffset) % 4096).toBe(0)
    expect(extra.bytes.length).toBe(4096)
  })

  it('C7: a zeroed lease shows nothing of who had the slot before', () => {
    const desk = new LeaseDesk(slabOf(1))
    const first = desk.lease()
    first.bytes.fill(1)
    first.release()
    expect(desk.leaseZeroed().bytes.every((byte) => byte === 0)).toBe(true)
  })

  it('C7: a zeroed lease of ordinary memory is zeros too', () => {
    const desk = new LeaseDesk(slabOf(1))
    desk.lease()
    const { slot, bytes } = desk.leaseZeroed()
    expect([slot, bytes.length, bytes.every((byte) => byte === 0)]).toEqual([0, 4096, true])
  })

  it('C7: a copy has the bytes, not the memory, and a slot of the slab while there is one', () => {
    const desk = new LeaseDesk(slabOf(2))
    const source = desk.lease()
    source.bytes.fill(6)
    source.bytes[4095] = 7
    const copies = [desk.leaseCopy(source), desk.leaseCopy(source)]
    source.bytes.fill(1)
    expect(copies.map((copy) => copy.slot)).toEqual([2, 0])
    for (const { bytes } of copies) {
      expect([bytes[0], bytes[4094], bytes[4095], bytes.length]).toEqual([6, 6, 7, 4096])
    }
  })

  it('C7: a copy of what was given back, or of another size, is refused and takes no slot', () => {
    const slab = slabOf(2)
    const desk = new LeaseDesk(slab)
    const gone = desk.lease()
    gone.release()
    const large = new LeaseDesk(Slab.create({ frameBytes: 8192, frameCount: 1 })).lease()
    expect(codeOf(() => desk.leaseCopy(gone))).toBe('HOLT_LEASE')
    expect(codeOf(() => desk.leaseCopy(large))).toBe('HOLT_INVALID_ARGUMENT')
    expect([slab.freeCount, desk.counters.outstanding]).toEqual([2, 0])
  })

  it('C8: always as long as a frame, pooled or not', () => {
    const desk = new LeaseDesk(Slab.create({ frameCount: 1 }))
    expect([desk.lease().bytes.length, desk.lease().bytes.length]).toEqual([524_288, 524_288])
  })

  it('C8: two leases that are out never share a byte', () => {
    const desk = new LeaseDesk(slabOf(6))
    const leases = Array.from({ length: 8 }, () => desk.lease())
    for (const [value, lease] of leases.entries()) lease.bytes.fill(value)
    for (const [value, lease] of leases.entries()) expect(new Set(lease.bytes)).toEqual(new Set([value]))
  })

  it('C8: tells size, slot and address in debug output, and nothing of its insides', () => {
    const slab = slabOf(1)
    const desk = new LeaseDesk(slab, { addressOf: (bytes) => 0x7f00_0000_0000 + bytes.byteOffset })
    const lease = desk.lease()
    expect(inspect(lease)).toBe('lease of slot 1: 4096 bytes at 0x7f0000001000')
    expect(inspect(desk.lease())).toBe('lease of ordinary memory: 4096 bytes at 0x7f0000000000')
    lease.release()
    expect(String(lease)).toBe('lease of slot 1: 4096 bytes at 0x7f0000001000, released')
    expect(String(new LeaseDesk(slab).lease())).toBe('lease of slot 1: 4096 bytes')
  })

  it('C10: the bytes of a lease that was given back cannot be had any more', () => {
    const lease = new LeaseDesk(slabOf(1)).lease()
    lease.release()
    expect(codeOf(() => lease.bytes)).toBe('HOLT_LEASE')
  })

  it('C10: what is no lease cannot be given back', () => {
    const desk = new LeaseDesk(slabOf(1))
    const lease = desk.lease()
    for (const wrong of [
      undefined,
      null,
      {},
      { slot: 1, release: () => undefined },
      structuredClone(lease),
    ]) {
      expect(
        codeOf(() => {
          desk.release(wrong as Lease)
        }),
      ).toBe('HOLT_LEASE')
    }
    expect(desk.counters.outstanding).toBe(1)
  })

  it('C10: leases that end out of order, in their turn or later, each end once', async () => {
    const slab = slabOf(5)
    const desk = new LeaseDesk(slab)
    const early = [desk.lease(), desk.lease(), desk.lease()]
    early[0].release()
    await Promise.resolve()
    const late = [desk.lease(), desk.lease()]
    early[2].release()
    late[0].release()
    late[1].release()
    early[1].release()
    for (const lease of [...early, ...late]) {
      expect(
        codeOf(() => {
          lease.release()
        }),
      ).toBe('HOLT_LEASE')
    }
    expect([slab.freeCount, desk.counters.outstanding]).toEqual([5, 0])
  })

  it('C10: a forgotten lease is reported and its slot is not handed out again', async () => {
    const slab = slabOf(2)
    const lost: number[] = []
    const desk = new LeaseDesk(slab, { onLost: (slot) => lost.push(slot) })
    const forget = (): number => desk.lease().slot
    const slot = forget()
    await collectUntil(() => lost.length > 0)
    expect(lost).toEqual([slot])
    expect(desk.counters).toEqual({ outstanding: 0, fallbacks: 0, lost: 1 })
    expect(slab.freeCount).toBe(1)
  })

  it('C10: a lease that was given back or handed over is not reported', async () => {
    const slab = slabOf(4)
    const lost: number[] = []
    const desk = new LeaseDesk(slab, { onLost: (slot) => lost.push(slot) })
    const use = async (): Promise<number> => {
      desk.lease().release()
      const turn = [desk.lease(), desk.lease(), desk.lease()]
      for (const place of [0, 2, 1]) turn[place].release()
      const [longer, sent] = [desk.lease(), desk.lease()]
      await Promise.resolve()
      longer.release()
      desk.handOver(sent)
      const forgotten = desk.lease()
      return forgotten.slot
    }
    const slot = await use()
    expect(await collectUntil(() => lost.length > 0)).toBe(true)
    await collectUntil(() => lost.length > 1, 8)
    expect(lost).toEqual([slot])
  })

  it('C10: is reported also when its desk is forgotten with it', async () => {
    const lost: number[] = []
    const forget = (): void => {
      new LeaseDesk(slabOf(1), { onLost: (slot) => lost.push(slot) }).lease()
    }
    forget()
    expect(await collectUntil(() => lost.length > 0)).toBe(true)
    await collectUntil(() => lost.length > 1, 8)
    expect(lost).toEqual([1])
  })

  it('C5: bytes outlive the lease, the desk and the slab that they came from', async () => {
    let slabRef: WeakRef<Slab> | undefined
    const make = (): Uint8Array => {
      const slab = slabOf(2)
      slabRef = new WeakRef(slab)
      const { bytes } = new LeaseDesk(slab).lease()
      bytes.fill(4)
      return bytes
    }
    const bytes = make()
    expect(await collectUntil(() => slabRef?.deref() === undefined)).toBe(true)
    expect(bytes.every((byte) => byte === 4)).toBe(true)
    bytes.fill(5)
    expect(new Set(bytes)).toEqual(new Set([5]))
  })
})

describe('a lease on its way to another thread', () => {
  it('C8: is owned by the thread that took it over, bytes and all, and comes back', async () => {
    const slab = slabOf(1)
    const desk = new LeaseDesk(slab)
    const worker = await startWorker('slot-errands.mjs', { shared: slab.share() })
    for (const expectedSlot of [1, 0]) {
      const lease = desk.lease()
      lease.bytes.fill(8)
      const message = desk.handOver(lease)
      expect([lease.released, desk.counters.outstanding]).toEqual([true, 1 - expectedSlot])
      expect(
        codeOf(() => {
          lease.release()
        }),
      ).toBe('HOLT_LEASE')
      expect(await ask(worker, { kind: 'takeOver', message })).toEqual({
        slot: expectedSlot,
        first: 8,
        last: 8,
        length: 4096,
      })
      const back = (await ask(worker, { kind: 'fillAndHandOver', value: 9 })) as LeaseMessage
      const returned = desk.takeOver(back)
      expect([returned.slot, new Set(returned.bytes)]).toEqual([expectedSlot, new Set([9])])
      expect(codeOf(() => desk.takeOver(message))).toBe('HOLT_LEASE')
      expect(codeOf(() => desk.takeOver(back))).toBe('HOLT_LEASE')
    }
    expect([slab.freeCount, desk.counters.outstanding]).toEqual([0, 2])
    await worker.terminate()
  })

  it('C8: is given back from the other thread', async () => {
    const slab = slabOf(1)
    const desk = new LeaseDesk(slab)
    const worker = await startWorker('slot-errands.mjs', { shared: slab.share() })
    const message = desk.handOver(desk.lease())
    await ask(worker, { kind: 'takeOver', message })
    await ask(worker, { kind: 'fillAndRelease', value: 3 })
    expect([slab.freeCount, desk.lease().bytes[100]]).toEqual([1, 3])
    await worker.terminate()
  })

  it('C10: its slot cannot be released under way', () => {
    const slab = slabOf(1)
    const desk = new LeaseDesk(slab)
    const lease = desk.lease()
    const message = desk.handOver(lease)
    expect(
      codeOf(() => {
        slab.release(lease.slot)
      }),
    ).toBe('HOLT_LEASE')
    desk.takeOver(message).release()
    expect(codeOf(() => slab.handOver(lease.slot))).toBe('HOLT_LEASE')
    expect(slab.freeCount).toBe(1)
  })

  it('refuses messages that hold no lease of this slab', () => {
    const slab = slabOf(1)
    const desk = new LeaseDesk(slab)
    const message = desk.handOver(desk.lease())
    const ordinary = desk.handOver(desk.lease())
    const large = new LeaseDesk(Slab.create({ frameBytes: 8192, frameCount: 1 }))
    expect(codeOf(() => large.takeOver(ordinary))).toBe('HOLT_INVALID_ARGUMENT')
    for (const [wrong, code] of [
      [{ ...message, slot: 1.5 }, 'HOLT_INVALID_ARGUMENT'],
      [{ ...message, slot: -1 }, 'HOLT_INVALID_ARGUMENT'],
      [{ ...message, ticket: Number.NaN }, 'HOLT_INVALID_ARGUMENT'],
      [{ ...message, ticket: message.ticket + 1 }, 'HOLT_LEASE'],
      [{ ...message, ticket: 0 }, 'HOLT_LEASE'],
      [{ ...message, slot: 2 }, 'HOLT_LEASE'],
      [{ ...ordinary, bytes: undefined }, 'HOLT_INVALID_ARGUMENT'],
      [{ ...ordinary, bytes: new Uint8Array(4096) }, 'HOLT_INVALID_ARGUMENT'],
      [{ ...ordinary, bytes: slab.segments[0].u8.subarray(0, 4096) }, 'HOLT_INVALID_ARGUMENT'],
    ] as const) {
      expect(codeOf(() => desk.takeOver(wrong))).toBe(code)
    }
    expect([desk.takeOver(message).slot, desk.takeOver(ordinary).slot]).toEqual([1, 0])
  })
})
