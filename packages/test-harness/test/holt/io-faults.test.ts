import { HoltError } from '@holt/errors'
import { type Db, open } from 'holt'
import { describe, expect, test } from 'vitest'

import { SimDisk } from '../../src/index.js'
import type { FaultRule, SimIo } from '../../src/index.js'
import { Expectation, live, read } from './fault-life.js'

const PATH = '/home/db'
/** Every so manieth call fails; all of them with `HOLT_FAULT_STRIDE=1`. */
const STRIDE = Number(process.env['HOLT_FAULT_STRIDE'] ?? 7)

function openDb(io: SimIo, durability: 'os' | 'disk'): Promise<Db> {
  return open(PATH, {
    io,
    durability,
    usableFrameBytes: 16_384,
    segmentBytes: 65_536,
    checkpoint: { thread: false },
  })
}

type Fault = Omit<FaultRule, 'operation' | 'nth'>

const FAULTS: Readonly<Record<string, Fault>> = {
  'EIO once': { errno: 'EIO' },
  'EIO from then on': { errno: 'EIO', times: Infinity },
  'ENOSPC once': { errno: 'ENOSPC' },
  'ENOSPC from then on': { errno: 'ENOSPC', times: Infinity },
  'EIO although it was done': { errno: 'EIO', late: true },
}
/** What the way to the disk hides. */
const HIDDEN: Readonly<Record<string, Fault>> = {
  'EINTR once': { errno: 'EINTR' },
  'a short transfer': { shortBytes: 512 },
}

interface Course {
  readonly calls: number
  readonly failures: readonly string[]
}

/** A first life without faults, a second in which call `nth` and what the fault says of later ones fail, then a look. */
async function course(
  durability: 'os' | 'disk',
  fault: Fault | undefined,
  nth: number,
  what: string,
): Promise<Course> {
  const disk = new SimDisk({ seed: 3 })
  const expectation = new Expectation()
  await live(await openDb(disk.start({ autoAdvance: true }), durability), expectation, 'first')
  disk.kill()
  expect(expectation.failures).toEqual([])

  let calls = 0
  const io = disk.start({
    autoAdvance: true,
    onCall: () => calls++,
    ...(fault === undefined ? {} : { faults: [{ ...fault, operation: 'any', nth }] }),
  })
  try {
    await live(await openDb(io, durability), expectation, 'second')
  } catch (error) {
    // The opening itself failed, or `tree()`.
    expect(error).toBeInstanceOf(HoltError)
    expectation.failures.push((error as HoltError).code)
  }
  const images = [disk.killImage(nth)]
  if (durability === 'disk') images.push(disk.crashImage(nth), disk.crashImage(nth + 1_000))
  disk.kill()
  for (const [i, image] of images.entries()) {
    const db = await openDb(image.start({ autoAdvance: true }), durability)
    expectation.check(await read(db), `${what}, image ${String(i)}`)
    expect((await db.verify()).problems, what).toEqual([])
    const tree = await db.tree('t', { valueEncoding: 'utf8' })
    await tree.put('goes on', 'yes')
    await db.close()
    image.kill()
  }
  return { calls, failures: expectation.failures }
}

describe.each(['os', 'disk'] as const)("every call that fails, durability '%s'", (durability) => {
  test.each(Object.keys(FAULTS))(
    'loses nothing that was acknowledged, and no half of a batch: %s',
    async (name) => {
      const { calls } = await course(durability, undefined, 0, 'no fault')
      expect(calls).toBeGreaterThan(60)
      let refused = 0
      for (let nth = 1; nth <= calls; nth += STRIDE) {
        const { failures } = await course(durability, FAULTS[name], nth, `${name}, call ${String(nth)}`)
        if (failures.length > 0) refused++
      }
      expect(refused).toBeGreaterThan(0)
    },
    300_000,
  )

  test.each(Object.keys(HIDDEN))(
    'is hidden where it can be: %s',
    async (name) => {
      const { calls } = await course(durability, undefined, 0, 'no fault')
      for (let nth = 1; nth <= calls; nth += STRIDE * 2) {
        const { failures } = await course(durability, HIDDEN[name], nth, `${name}, call ${String(nth)}`)
        expect([nth, failures]).toEqual([nth, []])
      }
    },
    300_000,
  )
})
