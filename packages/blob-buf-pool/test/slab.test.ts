import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { FRAME_BYTES, MAX_SLOTS, type SharedSlab, Slab, slotNumber } from '../src/index.js'
import { codeOf } from './fixtures/code-of.js'
import { ask, startWorker } from './fixtures/run-worker.js'

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

  it('C1: slots of 512 KiB, all zeros, aligned to 4 KiB in memory when it can tell addresses', () => {
    const base = 0x7f00_0000_0010
    const slab = Slab.create({
      frameCount: 2,
      maxFrameCount: 3,
      addressOf: (bytes) => base + bytes.byteOffset,
    })
    for (const segment of slab.segments) expect((base + segment.u8.byteOffset) % 4096).toBe(0)
    const bytes = slab.bytes(slab.lease())
    expect([bytes.length, FRAME_BYTES, bytes.some((byte) => byte !== 0)]).toEqual([524_288, 524_288, false])
  })

  it('shows the memory of each segment once, before any slot of it is leased', () => {
    const prepared: Uint8Array[] = []
    const slab = Slab.create({
      frameBytes: 4096,
      frameCount: 1,
      maxFrameCount: 12,
      segmentFrameCount: 4,
      prepare: (bytes) => prepared.push(bytes),
    })
    expect(prepared.map(({ buffer }) => buffer)).toEqual(slab.segments.map(({ buffer }) => buffer))
    slab.grow(11)
    expect(prepared.map(({ buffer }) => buffer)).toEqual(slab.segments.map(({ buffer }) => buffer))
    expect(prepared.every((bytes) => bytes.length === bytes.buffer.byteLength)).toBe(true)
    expect(prepared.length).toBeGreaterThan(2)
  })

  it('C1: a slot stays where it is however the slab grows', () => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 1, maxFrameCount: 500, segmentFrameCount: 4 })
    const slot = slab.lease()
    const before = slab.bytes(slot)
    before[0] = 3
    slab.grow(499)
    const after = slab.bytes(slot)
    expect([after.buffer === before.buffer, after.byteOffset, after[0]]).toEqual([true, before.byteOffset, 3])
  })

  it('C1: any multiple of 4 KiB is a frame size', () => {
    for (const frameBytes of [4096, 12_288, 40_960, 2 ** 20]) {
      const slab = Slab.create({ frameBytes, frameCount: 5, segmentFrameCount: 2 })
      const slots = [slab.lease(), slab.lease(), slab.lease(), slab.lease(), slab.lease()]
      for (const slot of slots) slab.bytes(slot).fill(slot)
      for (const slot of slots) {
        const bytes = slab.bytes(slot)
        expect([bytes.length, bytes.byteOffset % 4096, bytes.every((byte) => byte === slot)]).toEqual([
          frameBytes,
          0,
          true,
        ])
      }
    }
  })

  it('C2: memory that is not to be had is an error, and the slab goes on with what it has', async () => {
    const file = fileURLToPath(new URL('fixtures/grow-to-the-limit.mjs', import.meta.url))
    const command = `ulimit -v 4000000 && exec "$0" "$1"`
    const { stdout } = await promisify(execFile)('/bin/sh', ['-c', command, process.execPath, file])
    expect(JSON.parse(stdout)).toMatchObject({
      code: 'HOLT_OUT_OF_MEMORY',
      created: 'HOLT_OUT_OF_MEMORY',
      free: true,
    })
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

  it('C10: refuses a second release and a foreign slot', () => {
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
    for (const wrong of [0, 3, 99, -1, 1.5, Number.NaN]) {
      expect(codeOf(() => slab.bytes(slotNumber(wrong)))).toBe('HOLT_LEASE')
    }
    expect(codeOf(() => slab.segmentOf(slotNumber(99)))).toBe('HOLT_LEASE')
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
    { frameCount: Number.NaN },
    { frameCount: -1 },
    { frameCount: 2 ** 53 },
    { frameCount: '4' as unknown as number },
    { frameCount: 1, frameBytes: 2 ** 31 },
    { frameCount: 1, frameBytes: Number.NaN },
    { frameCount: 1, maxFrameCount: Infinity },
    { frameCount: 1, segmentFrameCount: 0 },
  ])('C2: refuses sizes out of range: %o', (options) => {
    expect(codeOf(() => Slab.create(options))).toBe('HOLT_INVALID_ARGUMENT')
  })

  it('C10: counts what all who attached have done', () => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 2 })
    const other = Slab.attach(structuredClone(slab.share()))
    const [one, two] = [slab.lease(), other.lease()]
    other.lease()
    other.release(one)
    slab.release(two)
    expect(slab.counters).toEqual({ leases: 2, releases: 2, exhaustions: 1, highWater: 2 })
    expect(other.counters).toEqual(slab.counters)
  })

  it('C10: a slot that one thread released is refused from another, and the next owner keeps it', async () => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 2 })
    const slot = slab.lease()
    const worker = await startWorker('slot-errands.mjs', { shared: slab.share() })
    expect(await ask(worker, { kind: 'release', slot })).toBe(undefined)
    expect(
      codeOf(() => {
        slab.release(slot)
      }),
    ).toBe('HOLT_LEASE')
    expect(await ask(worker, { kind: 'release', slot })).toEqual({ code: 'HOLT_LEASE' })
    expect(await ask(worker, { kind: 'release', slot: 3 })).toEqual({ code: 'HOLT_LEASE' })
    expect(slab.freeCount).toBe(2)
    await worker.terminate()
  })

  it('leases nothing that lies in segments this thread has not seen, and grows on its own thread only', () => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 1, maxFrameCount: 5, segmentFrameCount: 2 })
    const other = Slab.attach(structuredClone(slab.share()))
    slab.grow(4)
    expect([other.lease(), other.lease(), slab.freeCount]).toEqual([1, 0, 4])
    expect(codeOf(() => other.segmentOf(slotNumber(4)))).toBe('HOLT_LEASE')
    expect(codeOf(() => other.grow(1))).toBe('HOLT_UNSUPPORTED')
    other.adopt(slab.share())
    expect([other.lease(), other.segments.length]).toEqual([2, 3])
  })

  it('its bytes cannot be taken from it', () => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 1 })
    const bytes = slab.bytes(slab.lease())
    const transfer = [bytes.buffer as unknown as ArrayBuffer]
    expect(() => structuredClone(bytes, { transfer })).toThrow('transferList')
    expect(bytes.length).toBe(4096)
  })

  it('refuses to attach to or adopt what share() does not give, and stays as it is', () => {
    const slab = Slab.create({ frameBytes: 4096, frameCount: 3, segmentFrameCount: 2 })
    const good = slab.share()
    const [first, second] = good.segments
    const wrong: unknown[] = [
      undefined,
      null,
      7,
      {},
      { ...good, frameBytes: 4095 },
      { ...good, frameBytes: '4096' },
      { ...good, segmentFrameCount: 3 },
      { ...good, segmentFrameCount: 4 },
      { ...good, maxFrameCount: 0 },
      { ...good, maxFrameCount: 2 },
      { ...good, segments: undefined },
      { ...good, segments: [second, undefined] },
      { ...good, segments: [{ ...first, frames: 3 }] },
      { ...good, segments: [{ ...first, startBytes: 1 }] },
      { ...good, segments: [{ ...first, startBytes: 4088 }] },
      { ...good, segments: [{ ...first, buffer: new SharedArrayBuffer(16) }] },
      { ...good, segments: [{ ...first, buffer: new ArrayBuffer(8192) }] },
      { ...good, freeSlots: new SharedArrayBuffer(good.freeSlots.byteLength) },
      { ...good, freeSlots: new SharedArrayBuffer(8) },
      { ...good, freeSlots: undefined },
    ]
    for (const [index, shared] of wrong.entries()) {
      expect(
        codeOf(() => Slab.attach(shared as SharedSlab)),
        `attach ${String(index)}`,
      ).toBe('HOLT_INVALID_ARGUMENT')
      expect(
        codeOf(() => {
          slab.adopt(shared as SharedSlab)
        }),
        `adopt ${String(index)}`,
      ).toBe('HOLT_INVALID_ARGUMENT')
    }
    const stranger = Slab.create({ frameBytes: 4096, frameCount: 3, segmentFrameCount: 2 })
    expect(
      codeOf(() => {
        slab.adopt(stranger.share())
      }),
    ).toBe('HOLT_INVALID_ARGUMENT')
    expect([slab.segments.length, slab.freeCount]).toEqual([2, 3])
  })
})
