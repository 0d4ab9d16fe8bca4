import zlib from 'node:zlib'

import { FRAME_BYTES, LeaseDesk, Slab } from '@holt/blob-buf-pool'
import { addressOfBytes, crc32c } from '@holt/uring-native'

import { atLeast, atMost } from './result.js'
import type { GroupResult, ResultRow } from './result.js'
import { cpuMicrosEach, medianOf, takeTurns } from './rounds.js'
import type { Contestant, Pace, Turn } from './rounds.js'
import { alignedBuffers } from './test-file.js'

/** What is too short to ask for the time after each. */
const BURST = 500

const SIZES = [
  { name: '64 B', bytes: 64 },
  { name: '4 KiB', bytes: 4096 },
  { name: '512 KiB', bytes: FRAME_BYTES },
]

/** Nothing here waits, so the processor's time is the time; what else runs on the machine does not count. */
const cpuNanosEach = (turn: Turn): number => cpuMicrosEach(turn) * 1000

/** So that no result is unused, and no call can be left out. */
let sink = 0

/** CRC-32C, beside the only checksum of node: `zlib.crc32`, another polynomial. */
export async function checksums(pace: Pace): Promise<GroupResult> {
  const rows: ResultRow[] = []
  const nodeCrc = (zlib as { readonly crc32?: (bytes: Uint8Array) => number }).crc32
  for (const { name, bytes: lengthBytes } of SIZES) {
    const bytes = alignedBuffers(1, Math.max(lengthBytes, 4096)).buffers[0]
    const part = bytes.subarray(0, lengthBytes)
    const burst = lengthBytes > 4096 ? 8 : BURST
    const contestants = [bursts('crc32c', burst, () => crc32c(part))]
    if (nodeCrc !== undefined) contestants.push(bursts('zlib.crc32', burst, () => nodeCrc(part)))
    const turns = await takeTurns(contestants, pace)
    const [ours, theirs] = [turns[0], turns.at(1)].map((taken) =>
      taken === undefined ? undefined : medianOf(taken.map(cpuNanosEach)),
    )
    const gigabytes = (nanos: number | undefined): number | undefined =>
      nanos === undefined ? undefined : lengthBytes / nanos
    rows.push({
      name,
      values: [ours, gigabytes(ours), theirs, gigabytes(theirs)],
      bars: lengthBytes === FRAME_BYTES ? [atLeast('GB/s', gigabytes(ours) ?? 0, 15)] : [],
    })
  }
  return {
    group: 'checksum',
    title: 'CRC-32C: nanoseconds of CPU each, and gigabytes per second',
    heads: ['`crc32c` ns', 'GB/s', '`zlib.crc32` ns', 'GB/s'],
    rows,
    notes: [],
  }
}

/** Borrowing a frame and giving it back. */
export async function leases(pace: Pace): Promise<GroupResult> {
  const slab = Slab.create({ frameCount: 64, addressOf: addressOfBytes })
  const desk = new LeaseDesk(slab, { addressOf: addressOfBytes })
  const contestants = [
    bursts('LeaseDesk', BURST, () => {
      const lease = desk.lease()
      desk.release(lease)
      return lease.slot
    }),
    bursts('Slab', BURST, () => {
      const slot = slab.lease()
      slab.release(slot)
      return slot
    }),
    bursts('Buffer.allocUnsafeSlow', 1, () => Buffer.allocUnsafeSlow(FRAME_BYTES).length),
  ]
  const turns = await takeTurns(contestants, pace)
  const [byDesk, bySlab, byNode] = turns.map((taken) => medianOf(taken.map(cpuNanosEach)))
  return {
    group: 'leases',
    title: 'Lease and release of a frame: nanoseconds of CPU',
    heads: ['`LeaseDesk`', '`Slab`', '`Buffer.allocUnsafeSlow`'],
    rows: [
      { name: '512 KiB', values: [byDesk, bySlab, byNode], bars: [atMost('LeaseDesk ns', byDesk, 100)] },
    ],
    notes: [],
  }
}

function bursts(name: string, length: number, operation: () => number): Contestant {
  return {
    name,
    work: async (isOver) => {
      let operations = 0
      while (!isOver()) {
        for (let i = 0; i < length; i++) sink = (sink + operation()) | 0
        operations += length
        // As in a program: what is done at the end of a turn belongs to the price.
        if ((operations & 0xffff) < length) await new Promise(setImmediate)
      }
      return operations
    },
  }
}
