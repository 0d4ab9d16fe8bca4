import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import v8 from 'node:v8'
import vm from 'node:vm'

import { FRAME_BYTES, LeaseDesk, Slab, slotNumber } from '@holt/blob-buf-pool'
import { isHoltError } from '@holt/errors'
import { addressOfBytes, Ring, UringIo } from '@holt/uring-native'
import type { BufferRegistration, RingFile } from '@holt/uring-native'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

v8.setFlagsFromString('--expose-gc')
const collect = vm.runInNewContext('gc') as () => void

const FRAMES = 6
/** Two segments: slots 1 … 3, then 4 … 6. */
const SEGMENT_FRAMES = 4

let directory = ''
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'holt-registered-'))
})
afterAll(() => {
  rmSync(directory, { recursive: true, force: true })
})

/** The rings of the system, as one: bytes at an offset of one file, and memory that it may know beforehand. */
interface Device {
  register(buffers: readonly Uint8Array[]): BufferRegistration
  write(offsetBytes: number, bytes: Uint8Array): Promise<void>
  read(offsetBytes: number, bytes: Uint8Array): Promise<void>
  readonly fixedOperations: number
  close(): Promise<void>
}

async function uringIo(path: string): Promise<Device> {
  const io = UringIo.create()
  const file = await io.open(path, { access: 'readwrite', create: true, truncate: true })
  return {
    register: (buffers) => io.registerBuffers(buffers),
    write: (offsetBytes, bytes) => io.write(file, offsetBytes, bytes),
    read: (offsetBytes, bytes) => io.read(file, offsetBytes, bytes),
    get fixedOperations() {
      return io.ringUse.fixedBufferOperations
    },
    close: () => io.dispose(),
  }
}

async function rawRing(path: string): Promise<Device> {
  const ring = Ring.create<number>()
  let last = 0
  const done = async (handle: number): Promise<RingFile | undefined> => {
    for (;;) {
      const completion = ring.take(handle)
      if (completion !== undefined) {
        if (completion.error !== undefined) throw completion.error
        return completion.op === 'open' ? completion.file : undefined
      }
      await ring.park()
      ring.poll()
    }
  }
  ring.open(0, path, { access: 'readwrite', create: true, truncate: true })
  const file = await done(0)
  if (file === undefined) throw new Error('no file was opened')
  const transfer = async (op: 'read' | 'write', offsetBytes: number, bytes: Uint8Array): Promise<void> => {
    const handle = ++last
    expect(ring.queue({ handle, op, file, offsetBytes, bytes }).queued).toBe(true)
    await done(handle)
  }
  return {
    register: (buffers) => ring.registerBuffers(buffers),
    write: (offsetBytes, bytes) => transfer('write', offsetBytes, bytes),
    read: (offsetBytes, bytes) => transfer('read', offsetBytes, bytes),
    get fixedOperations() {
      return ring.use.fixedBufferOperations
    },
    close: () => ring.dispose(),
  }
}

const unavailable = ((): string | undefined => {
  try {
    void UringIo.create().dispose()
    return undefined
  } catch (error) {
    if (isHoltError(error, 'HOLT_UNSUPPORTED')) return error.message
    throw error
  }
})()

const slabOf = (): Slab =>
  Slab.create({ frameCount: FRAMES, segmentFrameCount: SEGMENT_FRAMES, addressOf: addressOfBytes })

async function isCollected(refs: readonly WeakRef<object>[], attempts = 100): Promise<boolean> {
  const areGone = (): boolean => refs.every((ref) => ref.deref() === undefined)
  for (let attempt = 0; attempt < attempts && !areGone(); attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 5))
    collect()
  }
  return areGone()
}

const KINDS = [
  ['UringIo', uringIo],
  ['Ring', rawRing],
] as const

describe.skipIf(unavailable)('the registrations of a slab', () => {
  for (const [kind, open] of KINDS) {
    for (const per of ['slot', 'segment'] as const) {
      test(`C5, C9: ${kind} moves each slot’s own bytes by fixed operations, one range a ${per}`, async () => {
        const path = join(directory, 'file')
        const device = await open(path)
        const slab = slabOf()
        const desk = new LeaseDesk(slab)
        const ranges = slab.registrations({ per })
        const registration = device.register(ranges.map(({ bytes }) => bytes))
        expect([registration.registeredCount, ranges.length]).toEqual([ranges.length, per === 'slot' ? 6 : 2])
        // One more than there are slots: ordinary memory, which no registration covers.
        const leases = Array.from({ length: FRAMES + 1 }, () => desk.lease())
        for (const [i, lease] of leases.entries()) {
          lease.bytes.fill(i + 1)
          const before = device.fixedOperations
          await device.write(i * FRAME_BYTES, lease.bytes)
          expect(device.fixedOperations - before).toBe(lease.slot === 0 ? 0 : 1)
        }
        const written = readFileSync(path)
        for (let i = 0; i <= FRAMES; i++) {
          const part = written.subarray(i * FRAME_BYTES, (i + 1) * FRAME_BYTES)
          expect([part.length, part.every((byte) => byte === i + 1)]).toEqual([FRAME_BYTES, true])
        }
        // Back in another order, a page of each, into the middle of the slot; what is beside it stays.
        for (const [i, lease] of leases.entries()) {
          await device.read((FRAMES - i) * FRAME_BYTES, lease.bytes.subarray(8192, 12_288))
          expect([8191, 8192, 12_287, 12_288].map((at) => lease.bytes[at])).toEqual([
            i + 1,
            FRAMES - i + 1,
            FRAMES - i + 1,
            i + 1,
          ])
        }
        registration.release()
        const before = device.fixedOperations
        await device.write(0, leases[0].bytes)
        expect(device.fixedOperations).toBe(before)
        await device.close()
      })
    }

    test.each([
      ['slab, registration, ring', ['slab', 'registration', 'ring']],
      ['slab, ring', ['slab', 'ring']],
      ['registration, slab, ring', ['registration', 'slab', 'ring']],
      ['registration, ring, slab', ['registration', 'ring', 'slab']],
      ['ring, slab', ['ring', 'slab']],
      ['ring, registration, slab', ['ring', 'registration', 'slab']],
    ] as const)(
      `C9: ${kind}: whatever ends first, bytes arrive and memory goes (%s)`,
      async (_name, order) => {
        const path = join(directory, 'order')
        const held: { slab?: Slab; registration?: BufferRegistration; device?: Device } = {}
        const memory: WeakRef<SharedArrayBuffer>[] = []
        let more = 0
        const begin = async (): Promise<void> => {
          held.slab = slabOf()
          held.device = await open(path)
          memory.push(...held.slab.segments.map(({ buffer }) => new WeakRef(buffer)))
          held.registration = held.device.register(
            held.slab.registrations({ per: 'segment' }).map(({ bytes }) => bytes),
          )
          for (let slot = 1; slot <= FRAMES; slot++) {
            const bytes = held.slab.bytes(slotNumber(slot)).fill(slot)
            await held.device.write((slot - 1) * FRAME_BYTES, bytes)
          }
          expect(held.device.fixedOperations).toBe(FRAMES)
        }
        const end = async (which: (typeof order)[number]): Promise<void> => {
          if (which === 'slab') {
            const { slab, device, registration } = held
            delete held.slab
            if (slab === undefined || device === undefined) return
            const before = device.fixedOperations
            const writes = Array.from({ length: FRAMES }, (_, i) =>
              device.write(i * FRAME_BYTES, slab.bytes(slotNumber(i + 1)).fill(i + 11)),
            )
            await Promise.all(writes)
            expect(device.fixedOperations - before).toBe(registration === undefined ? 0 : FRAMES)
            more = 10
          }
          if (which === 'registration') {
            held.registration?.release()
            delete held.registration
          }
          if (which === 'ring') {
            await held.device?.close()
            delete held.device
          }
          collect()
        }
        await begin()
        for (const which of order) {
          await end(which)
          // The kernel's range stays what it was for as long as the ring and the registration are there.
          const [first] = memory
          if (which === 'slab' && held.registration !== undefined && held.device !== undefined) {
            expect(await isCollected([first], 5)).toBe(false)
          }
        }
        delete held.registration
        expect(await isCollected(memory)).toBe(true)
        const written = readFileSync(path)
        const expected = Array.from({ length: FRAMES }, (_, i) => Buffer.alloc(FRAME_BYTES, i + 1 + more))
        expect(written.equals(Buffer.concat(expected))).toBe(true)
      },
    )
  }
})
