import { isHoltError } from '@holt/errors'
import { describe, expect, it } from 'vitest'
import { LatchTable } from '../src/index.js'
import { runWorker } from './fixtures/run-worker.js'

function words(count: number): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(count * 4))
}

function codeOf(run: () => unknown): string | undefined {
  try {
    run()
  } catch (error) {
    return isHoltError(error) ? error.code : String(error)
  }
  return undefined
}

interface HammerResult {
  readonly torn: number
  readonly optimistic: number
  readonly written: number
}

describe('hybrid latch', () => {
  it('an optimistic reading holds as long as nobody writes', () => {
    const table = new LatchTable(words(4), words(4))
    const version = table.readVersion(2)
    table.lockShared(2)
    table.unlockShared(2)
    table.lockExclusive(1)
    table.unlockExclusive(1)
    expect(table.validate(2, version)).toBe(true)
  })

  it('an optimistic reading fails while and after somebody writes', () => {
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

  it('versions stay readable when the counter wraps around', () => {
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

  it('several may share it, nobody else then has it alone', () => {
    const table = new LatchTable(words(2), words(2))
    expect([table.tryLockShared(1), table.tryLockShared(1)]).toEqual([true, true])
    expect(table.tryLockExclusive(1)).toBe(false)
    table.unlockShared(1)
    expect(table.tryLockExclusive(1)).toBe(false)
    table.unlockShared(1)
    expect(table.tryLockExclusive(1)).toBe(true)
    expect([table.tryLockShared(1), table.tryLockExclusive(1)]).toEqual([false, false])
  })

  it('a waiting exclusive request keeps new shared holders out', () => {
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

  it('no thread sees a change half-way, and no change is lost', async () => {
    const latchWords = words(8)
    const versionWords = words(8)
    const cellBuffer = new SharedArrayBuffer(64 * 4)
    const work = (): Promise<unknown> =>
      runWorker('latch-hammer.mjs', { latchWords, versionWords, cellBuffer, rounds: 60_000 })
    const results = (await Promise.all([work(), work()])) as HammerResult[]
    expect(results.map((result) => result.torn)).toEqual([0, 0])
    expect(results.every((result) => result.optimistic > 0)).toBe(true)
    const written = results.reduce((sum, result) => sum + result.written, 0)
    expect(new Set(new Int32Array(cellBuffer))).toEqual(new Set([written]))
    expect(Atomics.load(latchWords, 3) & 0x7fff_ffff).toBe(0)
    expect(Atomics.load(versionWords, 3)).toBe(written)
  })
})
