import type { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { LatchTable, Slab, slotNumber } from '../src/index.js'
import { codeOf } from './fixtures/code-of.js'
import { openWorker, runWorker } from './fixtures/run-worker.js'

function words(count: number): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(count * 4))
}

interface HammerResult {
  readonly torn: number
  readonly optimistic: number
  readonly written: number
}

describe('hybrid latch', () => {
  it('F4.1: an optimistic reading holds as long as nobody writes', () => {
    const table = new LatchTable(words(4), words(4))
    const version = table.readVersion(2)
    table.lockShared(2)
    table.unlockShared(2)
    table.lockExclusive(1)
    table.unlockExclusive(1)
    expect(table.validate(2, version)).toBe(true)
  })

  it('F4.1: an optimistic reading fails while and after somebody writes', () => {
    const table = new LatchTable(words(4), words(4))
    const version = table.readVersion(2)
    table.lockExclusive(2)
    expect(table.validate(2, version)).toBe(false)
    expect(table.tryReadVersion(2)).toBe(-1)
    table.unlockExclusive(2)
    expect(table.validate(2, version)).toBe(false)
    expect(table.validate(2, table.readVersion(2))).toBe(true)
  })

  it('raising the version fails optimistic readings of that slot only', () => {
    const table = new LatchTable(words(4), words(4))
    const [one, two] = [table.readVersion(1), table.readVersion(2)]
    table.raiseVersion(2)
    expect([table.validate(1, one), table.validate(2, two)]).toEqual([true, false])
  })

  it('F4.1: versions stay readable when the counter wraps around', () => {
    const versions = words(2)
    const table = new LatchTable(words(2), versions)
    versions[1] = -1
    const version = table.readVersion(1)
    expect(version).toBeGreaterThanOrEqual(0)
    table.lockExclusive(1)
    table.unlockExclusive(1)
    expect(table.validate(1, version)).toBe(false)
    expect(table.tryReadVersion(1)).toBe(0)
  })

  it('F4.1: several may share it, nobody else then has it alone', () => {
    const table = new LatchTable(words(2), words(2))
    expect([table.tryLockShared(1), table.tryLockShared(1)]).toEqual([true, true])
    expect(table.tryLockExclusive(1)).toBe(false)
    table.unlockShared(1)
    expect(table.tryLockExclusive(1)).toBe(false)
    table.unlockShared(1)
    expect(table.tryLockExclusive(1)).toBe(true)
    expect([table.tryLockShared(1), table.tryLockExclusive(1)]).toEqual([false, false])
  })

  it('F4.2: a waiting exclusive request keeps new shared holders out', () => {
    const latches = words(2)
    const table = new LatchTable(latches, words(2))
    table.lockShared(1)
    // What a blocked lockExclusive of another thread leaves in the word while it waits.
    Atomics.add(latches, 1, 0x1_0000)
    expect(table.tryLockShared(1)).toBe(false)
    Atomics.sub(latches, 1, 0x1_0000)
    expect(table.tryLockShared(1)).toBe(true)
  })

  it('blocking calls give up after their limit and leave the latch as it was', () => {
    const table = new LatchTable(words(2), words(2))
    table.lockShared(1)
    expect(
      codeOf(() => {
        table.lockExclusive(1, 5)
      }),
    ).toBe('HOLT_INTERNAL')
    expect(table.tryLockShared(1)).toBe(true)
    table.unlockShared(1)
    table.unlockShared(1)
    table.lockExclusive(1)
    expect(
      codeOf(() => {
        table.lockShared(1, 5)
      }),
    ).toBe('HOLT_INTERNAL')
    expect(codeOf(() => table.readVersion(1, 5))).toBe('HOLT_INTERNAL')
    table.unlockExclusive(1)
    expect(table.tryLockExclusive(1)).toBe(true)
  })

  it('refuses to be opened by somebody who does not hold it', () => {
    const table = new LatchTable(words(2), words(2))
    expect(
      codeOf(() => {
        table.unlockShared(1)
      }),
    ).toBe('HOLT_INTERNAL')
    expect(
      codeOf(() => {
        table.unlockExclusive(1)
      }),
    ).toBe('HOLT_INTERNAL')
    table.lockShared(1)
    expect(
      codeOf(() => {
        table.unlockExclusive(1)
      }),
    ).toBe('HOLT_INTERNAL')
  })

  it('refuses words that other threads cannot see', () => {
    expect(codeOf(() => new LatchTable(new Int32Array(4), words(4)))).toBe('HOLT_INVALID_ARGUMENT')
    expect(codeOf(() => new LatchTable(words(4), words(3)))).toBe('HOLT_INVALID_ARGUMENT')
  })

  it('F4.1: no thread sees a change half-way, and no change is lost', async () => {
    const latchWords = words(8)
    const versionWords = words(8)
    const slab = Slab.create({ frameCount: 4 })
    const work = (): Promise<unknown> =>
      runWorker('latch-hammer.mjs', { latchWords, versionWords, shared: slab.share(), rounds: 40_000 })
    const results = (await Promise.all([work(), work(), work()])) as HammerResult[]
    expect(results.map((result) => result.torn)).toEqual([0, 0, 0])
    expect(results.every((result) => result.optimistic > 0)).toBe(true)
    const written = results.reduce((sum, result) => sum + result.written, 0)
    const { u32 } = slab.segmentOf(slotNumber(3))
    const first = slab.offsetOf(slotNumber(3)) / 4
    expect(new Set(u32.subarray(first, first + 64))).toEqual(new Set([written]))
    expect(Atomics.load(latchWords, 3) & 0x7fff_ffff).toBe(0)
    expect(Atomics.load(versionWords, 3)).toBe(written)
  })

  it('F4.1: the version goes up before the latch opens, so that no old version is taken for the present one', () => {
    const latches = words(2)
    const versions = words(2)
    const table = new LatchTable(latches, versions)
    table.lockExclusive(1)
    expect([versions[1], latches[1] & 0x4000_0000]).toEqual([0, 0x4000_0000])
    const opened: number[] = []
    const { and } = Atomics
    const noting = (array: Int32Array, index: number, value: number): number => {
      opened.push(versions[1])
      return and(array, index, value)
    }
    Atomics.and = noting as typeof Atomics.and
    try {
      table.unlockExclusive(1)
    } finally {
      Atomics.and = and
    }
    expect(opened).toEqual([1])
    expect([versions[1], latches[1]]).toEqual([1, 0])
    table.lockShared(1)
    table.unlockShared(1)
    expect(versions[1]).toBe(1)
  })

  it('F4.2: is not re-entrant', () => {
    const table = new LatchTable(words(2), words(2))
    table.lockExclusive(1)
    for (const again of [
      () => {
        table.lockExclusive(1, 0)
      },
      () => {
        table.lockShared(1, 0)
      },
      () => table.readVersion(1, 0),
    ]) {
      expect(codeOf(again)).toBe('HOLT_INTERNAL')
    }
    table.unlockExclusive(1)
  })

  it('refuses slots that it has no words for, and limits that are no time', () => {
    const table = new LatchTable(words(3), words(3))
    const calls: ((slot: number) => unknown)[] = [
      (slot) => table.readVersion(slot),
      (slot) => table.tryReadVersion(slot),
      (slot) => table.validate(slot, 0),
      (slot) => {
        table.raiseVersion(slot)
      },
      (slot) => table.tryLockShared(slot),
      (slot) => {
        table.lockShared(slot)
      },
      (slot) => {
        table.unlockShared(slot)
      },
      (slot) => table.tryLockExclusive(slot),
      (slot) => {
        table.lockExclusive(slot)
      },
      (slot) => {
        table.unlockExclusive(slot)
      },
      (slot) => {
        table.breakOpen(slot)
      },
    ]
    for (const [index, call] of calls.entries()) {
      for (const slot of [3, -1, 1.5, Number.NaN, undefined as unknown as number]) {
        expect(
          codeOf(() => call(slot)),
          `call ${String(index)} of slot ${String(slot)}`,
        ).toBe('HOLT_INVALID_ARGUMENT')
      }
    }
    table.lockExclusive(1)
    for (const limitMs of [Number.NaN, -1]) {
      expect(
        codeOf(() => {
          table.lockExclusive(1, limitMs)
        }),
      ).toBe('HOLT_INVALID_ARGUMENT')
    }
    table.unlockExclusive(1)
    expect(table.tryLockShared(1)).toBe(true)
  })
})

interface Errand {
  readonly worker: Worker
  /** Resolves when the call has returned on the other thread. */
  readonly returned: () => Promise<void>
  readonly hasReturned: () => boolean
  readonly finish: () => Promise<void>
}

async function stepsUntil(steps: Int32Array, index: number): Promise<void> {
  const waited = Atomics.waitAsync(steps, index, 0)
  if (waited.async) await waited.value
}

/** One blocking call on slot 1 on a thread of its own. Resolves when the call is about to be made. */
async function callElsewhere(
  table: { latchWords: Int32Array; versionWords: Int32Array },
  call: string,
): Promise<Errand> {
  const steps = words(3)
  const worker = openWorker('latch-errand.mjs', { ...table, steps, call })
  await stepsUntil(steps, 0)
  return {
    worker,
    hasReturned: () => Atomics.load(steps, 1) === 1,
    returned: () => stepsUntil(steps, 1),
    finish: async () => {
      const done = new Promise((resolve) => worker.once('exit', resolve))
      Atomics.store(steps, 2, 1)
      Atomics.notify(steps, 2)
      await done
    },
  }
}

/** Until another thread sleeps on the latch (the `sleepers` bit). */
async function untilAsleep(latchWords: Int32Array): Promise<void> {
  while (Atomics.load(latchWords, 1) >= 0) await new Promise((resolve) => setImmediate(resolve))
}

describe('hybrid latch of several threads', () => {
  it.each(['lockExclusive', 'lockShared', 'readVersion'])(
    'F4.2: %s sleeps while another thread has it alone, and is woken when that lets go',
    async (call) => {
      const shared = { latchWords: words(2), versionWords: words(2) }
      const table = new LatchTable(shared.latchWords, shared.versionWords)
      table.lockExclusive(1)
      const errand = await callElsewhere(shared, call)
      await untilAsleep(shared.latchWords)
      expect(errand.hasReturned()).toBe(false)
      table.unlockExclusive(1)
      await errand.returned()
      expect([table.tryLockExclusive(1), table.tryLockShared(1)]).toEqual(
        { lockExclusive: [false, false], lockShared: [false, true], readVersion: [true, false] }[call],
      )
      await errand.finish()
    },
  )

  it('F4.2: a writer gets its turn although readers keep coming, and the next reader after it', async () => {
    const shared = { latchWords: words(2), versionWords: words(2) }
    const table = new LatchTable(shared.latchWords, shared.versionWords)
    table.lockShared(1)
    const writer = await callElsewhere(shared, 'lockExclusive')
    await untilAsleep(shared.latchWords)
    expect(table.tryLockShared(1)).toBe(false)
    const reader = await callElsewhere(shared, 'lockShared')
    expect([writer.hasReturned(), reader.hasReturned()]).toEqual([false, false])
    table.unlockShared(1)
    await writer.returned()
    expect(reader.hasReturned()).toBe(false)
    await writer.finish()
    await reader.returned()
    expect(table.tryLockShared(1)).toBe(true)
    table.unlockShared(1)
    await reader.finish()
    expect(table.tryLockExclusive(1)).toBe(true)
  })

  it('what a terminated thread held or waited for can be broken open, and waiting threads go on', async () => {
    const shared = { latchWords: words(2), versionWords: words(2) }
    const table = new LatchTable(shared.latchWords, shared.versionWords)
    const version = table.readVersion(1)
    const holder = await callElsewhere(shared, 'lockExclusive')
    await holder.returned()
    const waiter = await callElsewhere(shared, 'lockExclusive')
    await untilAsleep(shared.latchWords)
    const living = await callElsewhere(shared, 'lockExclusive')
    await waiter.worker.terminate()
    await holder.worker.terminate()
    expect(
      codeOf(() => {
        table.lockShared(1, 5)
      }),
    ).toBe('HOLT_INTERNAL')
    table.breakOpen(1)
    expect(table.validate(1, version)).toBe(false)
    await living.returned()
    await living.finish()
    expect([table.tryLockExclusive(1), table.tryLockShared(1)]).toEqual([true, false])
    table.unlockExclusive(1)
    expect(table.tryLockShared(1)).toBe(true)
  })
})
