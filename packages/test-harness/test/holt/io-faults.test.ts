import { HoltError } from '@holt/errors'
import { type Db, open } from 'holt'
import { describe, expect, test } from 'vitest'

import { SimDisk } from '../../src/index.js'
import type { FaultRule, SimIo } from '../../src/index.js'

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

/** What may be found at a key, and which writes were made together. */
class Expectation {
  readonly #possible = new Map<string, Set<string | undefined>>()
  readonly #batches: { readonly keys: readonly string[]; readonly value: string }[] = []
  readonly failures: string[] = []

  /** A write of `value` (undefined: a delete) that was acknowledged or refused. */
  async note(keys: readonly string[], value: string | undefined, written: Promise<unknown>): Promise<void> {
    let acknowledged = true
    try {
      await written
    } catch (error) {
      acknowledged = false
      expect(error).toBeInstanceOf(HoltError)
      this.failures.push((error as HoltError).code)
    }
    for (const key of keys) {
      const possible = this.#possible.get(key) ?? new Set([undefined])
      // Refused: whether it is there only a look tells. It may also come out of the log at the next opening.
      if (acknowledged) this.#possible.set(key, new Set([value]))
      else this.#possible.set(key, new Set([...possible, value]))
    }
    if (keys.length > 1 && value !== undefined) this.#batches.push({ keys, value })
  }

  check(found: ReadonlyMap<string, string>, what: string): void {
    for (const key of found.keys()) expect([what, key, this.#possible.has(key)]).toEqual([what, key, true])
    for (const [key, possible] of this.#possible) {
      const value = found.get(key)
      if (!possible.has(value))
        expect.unreachable(
          `${what}: '${key}' is ${String(value).slice(0, 40)}, not one of ${[...possible].map((one) => String(one).slice(0, 40)).join(', ')}`,
        )
    }
    for (const { keys, value } of this.#batches) {
      const there = keys.filter((key) => found.get(key) === value).length
      expect([what, keys, there === 0 || there === keys.length]).toEqual([what, keys, true])
    }
  }
}

async function read(db: Db): Promise<Map<string, string>> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  return new Map(
    tree
      .scan()
      .toArray()
      .map(({ key, value }) => [key, value]),
  )
}

/** A life: small and large writes, batches, deletes, several journal segments, checkpoints, an orderly end. */
async function live(db: Db, expectation: Expectation, mark: string): Promise<void> {
  const tree = await db.tree('t', { valueEncoding: 'utf8' })
  const put = (key: string, value: string): Promise<void> =>
    expectation.note([key], value, tree.put(key, value))
  const quietly = async (call: Promise<unknown>): Promise<void> => {
    await call.catch((error: unknown) => {
      expect(error).toBeInstanceOf(HoltError)
    })
  }
  for (let i = 0; i < 6; i++) await put(`one/${String(i)}`, `${mark} ${String(i)}`)
  await put('large', mark.repeat(3_000))
  await expectation.note(
    ['both/a', 'both/b', 'both/c'],
    mark,
    db.atomic((tx) => {
      for (const key of ['both/a', 'both/b', 'both/c']) tx.in(tree).put(key, mark)
    }),
  )
  await quietly(db.checkpoint())
  await expectation.note(['one/2'], undefined, tree.delete('one/2'))
  // More than a segment takes.
  for (let i = 0; i < 11; i++) await put(`long/${String(i)}`, `${mark} `.repeat(1_000))
  await Promise.all(Array.from({ length: 5 }, (_, i) => put(`together/${String(i)}`, mark)))
  await quietly(db.sync())
  await quietly(db.checkpoint())
  await put('last', mark)
  await quietly(db.close())
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
