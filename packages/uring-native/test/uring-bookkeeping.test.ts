import { isHoltError } from '@holt/errors'
import { describe, expect, test } from 'vitest'

import { OPCODE } from '../src/ring-operations.js'
import { RingCalls } from '../src/ring-calls.js'
import { RingQueue } from '../src/ring-queue.js'
import { transferMany, transferManySync, transferOne } from '../src/ring-transfer.js'
import type { TransferFile } from '../src/ring-transfer.js'
import type { Transfer } from '../src/io.js'

import { ScriptedRing } from './scripted-ring.js'

const FILE: TransferFile = { fd: 9, path: '/data', stepBytes: 1, fileIndex: -1 }
const BLOCK = 4096

/** What a promise came to, as far as it has. */
interface Outcome {
  state: 'pending' | 'done' | 'failed'
  message: string
  code: string
}

function watch(promise: Promise<unknown>): Outcome {
  const outcome: Outcome = { state: 'pending', message: '', code: '' }
  promise.then(
    () => (outcome.state = 'done'),
    (error: unknown) => {
      outcome.state = 'failed'
      outcome.message = error instanceof Error ? error.message : String(error)
      outcome.code = isHoltError(error) ? error.code : ''
    },
  )
  return outcome
}

/** Lets every microtask and immediate run. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const parts = (count: number): Transfer[] =>
  Array.from({ length: count }, (_, i) => ({ offsetBytes: i * BLOCK, bytes: new Uint8Array(BLOCK) }))

function started(entries: number, depth = 256): { ring: ScriptedRing; queue: RingQueue } {
  const ring = new ScriptedRing(entries)
  return { ring, queue: new RingQueue(ring, { depth }) }
}

async function writing(
  entries: number,
  count: number,
): Promise<{ ring: ScriptedRing; queue: RingQueue; outcome: Outcome }> {
  const { ring, queue } = started(entries)
  const outcome = watch(transferMany(queue, OPCODE.write, FILE, parts(count)))
  await turn()
  return { ring, queue, outcome }
}

describe('a batch that fits the ring', () => {
  test('A12: of nothing makes no call', async () => {
    const { ring, outcome } = await writing(8, 0)
    expect([outcome.state, ring.calls.length]).toEqual(['done', 0])
  })

  test('A19: is handed over by one call, and is done when all of it has completed', async () => {
    const { ring, outcome } = await writing(8, 8)
    expect(ring.calls.map((call) => call.length)).toEqual([8])
    for (const [i, operation] of ring.outstanding.reverse().entries()) {
      expect(outcome.state).toBe('pending')
      ring.finish(operation)
      await turn()
      expect(outcome.state).toBe(i === 7 ? 'done' : 'pending')
    }
    expect(ring.calls).toHaveLength(1)
  })

  test('A10: one transfer is one call with its whole length', async () => {
    const { ring, queue } = started(8)
    const outcome = watch(
      transferOne(queue, OPCODE.read, FILE, { offsetBytes: 12, bytes: new Uint8Array(700) }),
    )
    await turn()
    expect(ring.submitted).toMatchObject([{ opcode: OPCODE.read, fd: 9, offset: 12, start: 0, length: 700 }])
    ring.finish(ring.outstanding[0])
    await turn()
    expect(outcome.state).toBe('done')
  })
})

describe('a batch that is longer than the ring', () => {
  test('A20: streams: each completion makes room for the next write, nothing waits for a whole round', async () => {
    const { ring, outcome } = await writing(3, 7)
    expect(ring.outstanding.map(({ offset }) => offset / BLOCK)).toEqual([0, 1, 2])
    for (let next = 3; next < 7; next++) {
      // The latest one first: the oldest stays outstanding all the while.
      ring.finish(ring.outstanding[ring.outstanding.length - 1])
      await turn()
      expect(ring.outstanding.map(({ offset }) => offset / BLOCK)).toEqual([0, 1, next])
    }
    for (const operation of ring.outstanding) ring.finish(operation)
    await turn()
    expect(outcome.state).toBe('done')
    expect(ring.submitted).toHaveLength(7)
  })

  test('A28: goes by the size that the kernel granted, not by the one that was asked for', async () => {
    const { ring, queue } = await writing(4, 300)
    expect(queue.depth).toBe(4)
    expect(ring.outstanding).toHaveLength(4)
    ring.inline = ({ length }) => length
    for (const operation of ring.outstanding) ring.finish(operation)
    for (let i = 0; i < 100 && ring.submitted.length < 300; i++) await turn()
    expect(ring.submitted).toHaveLength(300)
    expect(Math.max(...ring.calls.map((call) => call.length))).toBe(4)
  })

  test('A16: reads stream the same way, and one that fails fails them all', async () => {
    const { ring, queue } = started(2)
    const outcome = watch(transferMany(queue, OPCODE.read, FILE, parts(5)))
    await turn()
    expect(ring.outstanding).toHaveLength(2)
    ring.finish(ring.outstanding[0])
    await turn()
    expect(ring.outstanding).toHaveLength(2)
    ring.finish(ring.outstanding[0], -5)
    ring.finish(ring.outstanding[0])
    await turn()
    expect(outcome).toMatchObject({ state: 'failed', code: 'HOLT_IO' })
    expect(ring.submitted).toHaveLength(3)
  })
})

describe('what goes to the device before the turn is over', () => {
  test('A19: eight operations do, and the rest with the microtask after the turn', async () => {
    const { ring, queue } = started(64)
    const outcomes = parts(11).map((part) => watch(transferOne(queue, OPCODE.read, FILE, part)))
    expect(ring.calls.map((call) => call.length)).toEqual([8])
    await turn()
    expect(ring.calls.map((call) => call.length)).toEqual([8, 3])
    for (const operation of ring.outstanding) ring.finish(operation)
    await turn()
    expect(outcomes.every(({ state }) => state === 'done')).toBe(true)
  })

  test('what completes inside the early call is delivered in the same turn', async () => {
    const { ring, queue } = started(64)
    ring.inline = ({ length }) => length
    const outcomes = parts(8).map((part) => watch(transferOne(queue, OPCODE.read, FILE, part)))
    expect(ring.calls.map((call) => call.length)).toEqual([8])
    await Promise.resolve()
    await Promise.resolve()
    expect(outcomes.map(({ state }) => state)).toEqual(Array(8).fill('done'))
  })

  test('A20: the next ones do while completions are still being delivered, and none of those is lost', async () => {
    const { ring, outcome } = await writing(16, 48)
    const callsBefore = ring.calls.length
    ring.complete(
      ...ring.outstanding.map(({ slot, generation, length }) => ({ slot, generation, result: length })),
    )
    // Eight of the sixteen went on from inside the delivery, the rest behind it.
    expect(ring.calls.slice(callsBefore).map((call) => call.length)).toEqual([8, 8])
    for (let round = 0; round < 2; round++) {
      for (const operation of ring.outstanding) ring.finish(operation)
      await turn()
    }
    expect(outcome.state).toBe('done')
    expect(ring.submitted).toHaveLength(48)
  })

  test('a ring that breaks meanwhile abandons what was passed on', async () => {
    const { ring, queue } = started(64)
    const outcomes = parts(8).map((part) => watch(transferOne(queue, OPCODE.read, FILE, part)))
    ring.brokenErrno = -9
    await turn()
    expect(outcomes.map(({ code }) => code)).toEqual(Array(8).fill('HOLT_RING'))
    expect(ring.closed).toBe(1)
  })
})

describe('a batch that blocks', () => {
  test('returns when all of it has completed, and throws the first error only then', () => {
    const { ring, queue } = started(4)
    ring.inline = ({ length }) => length
    transferManySync(queue, OPCODE.write, FILE, parts(10))
    expect(ring.submitted).toHaveLength(10)
    ring.inline = ({ offset, length }) => (offset === 2 * BLOCK ? -28 : length)
    let caught: unknown
    try {
      transferManySync(queue, OPCODE.write, FILE, parts(10))
    } catch (error) {
      caught = error
    }
    expect(isHoltError(caught) && caught.code).toBe('HOLT_NO_SPACE')
    // Nothing is begun after the error; all that was begun has come back.
    expect(ring.submitted.length).toBeLessThan(20)
    expect(ring.outstanding).toEqual([])
  })

  test('resumes what stops short', () => {
    const { ring, queue } = started(4)
    ring.inline = ({ length }) => Math.ceil(length / 2)
    transferManySync(queue, OPCODE.read, FILE, parts(1))
    expect(ring.submitted[0]).toMatchObject({ start: 0, length: BLOCK })
    expect(ring.submitted[1]).toMatchObject({ start: BLOCK / 2, length: BLOCK / 2 })
  })

  test('delivers what others wait for too', async () => {
    const { ring, queue } = started(8)
    const [part] = parts(1)
    const outcome = watch(transferOne(queue, OPCODE.read, FILE, part))
    ring.inline = ({ length }) => length
    transferManySync(queue, OPCODE.read, FILE, parts(3))
    await turn()
    expect(outcome.state).toBe('done')
  })

  test('of a ring that breaks throws the reason', () => {
    const { ring, queue } = started(4)
    ring.brokenErrno = -9
    expect(() => {
      transferManySync(queue, OPCODE.write, FILE, parts(2))
    }).toThrow(/the ring is broken/)
    expect(() => {
      transferManySync(queue, OPCODE.write, FILE, parts(2))
    }).toThrow(/the ring is broken/)
  })
})

describe('the first error of a batch', () => {
  test('A22: stays, starts nothing more, and is reported only when the kernel owns nothing', async () => {
    const { ring, outcome } = await writing(3, 9)
    const [first, second, third] = ring.outstanding
    ring.finish(second, -28)
    await turn()
    expect(outcome.state).toBe('pending')
    ring.finish(first, -5)
    await turn()
    expect(outcome.state).toBe('pending')
    ring.finish(third)
    await turn()
    expect(outcome).toMatchObject({ state: 'failed', code: 'HOLT_NO_SPACE' })
    expect(outcome.message).toContain('ENOSPC')
    expect(ring.submitted).toHaveLength(3)
  })
})

describe('a transfer', () => {
  test('A24, A30: that stops short goes on where it stopped', async () => {
    const { ring, outcome } = await writing(8, 1)
    ring.finish(ring.outstanding[0], 1000)
    await turn()
    expect(ring.outstanding).toMatchObject([{ offset: 1000, start: 1000, length: 3096 }])
    ring.finish(ring.outstanding[0], 3000)
    await turn()
    expect(ring.outstanding).toMatchObject([{ offset: 4000, start: 4000, length: 96 }])
    ring.finish(ring.outstanding[0])
    await turn()
    expect(outcome.state).toBe('done')
  })

  test('A24: direct and short goes on from the last whole block', async () => {
    const { ring, queue } = started(8)
    const direct = { ...FILE, stepBytes: 512 }
    const outcome = watch(transferMany(queue, OPCODE.write, direct, parts(1)))
    await turn()
    ring.finish(ring.outstanding[0], 1500)
    await turn()
    expect(ring.outstanding).toMatchObject([{ offset: 1024, start: 1024, length: 3072 }])
    ring.finish(ring.outstanding[0])
    await turn()
    expect(outcome.state).toBe('done')
  })

  test.each([
    ['read', OPCODE.read, 'HOLT_SHORT_TRANSFER'],
    ['write', OPCODE.write, 'HOLT_IO'],
  ] as const)(
    'A24: a %s that moves nothing fails instead of going on for ever',
    async (_name, opcode, code) => {
      const { ring, queue } = started(8)
      const outcome = watch(transferMany(queue, opcode, FILE, parts(1)))
      await turn()
      ring.finish(ring.outstanding[0], 0)
      await turn()
      expect(outcome).toMatchObject({ state: 'failed', code })
    },
  )

  test('A27: that was interrupted is handed over again', async () => {
    const { ring, outcome } = await writing(8, 1)
    for (const errno of [4, 11]) {
      ring.finish(ring.outstanding[0], -errno)
      await turn()
      expect(ring.outstanding).toMatchObject([{ offset: 0, start: 0, length: BLOCK }])
    }
    ring.finish(ring.outstanding[0])
    await turn()
    expect(outcome.state).toBe('done')
  })

  test('A30: above a gigabyte goes in steps that a 32-bit length holds', async () => {
    const { ring, queue } = started(8)
    // Nobody touches the memory: it is reserved, not there.
    const bytes = new Uint8Array(new SharedArrayBuffer(3 * 2 ** 30))
    const outcome = watch(transferOne(queue, OPCODE.write, FILE, { offsetBytes: 0, bytes }))
    for (const expected of [0, 1, 2]) {
      await turn()
      expect(ring.outstanding).toMatchObject([{ offset: expected * 2 ** 30, length: 2 ** 30 }])
      ring.finish(ring.outstanding[0])
    }
    await turn()
    expect(outcome.state).toBe('done')
  })

  test('fails when its memory shrinks or is transferred away meanwhile, whatever the kernel says', async () => {
    const { ring, queue } = started(8)
    const resizable = new ArrayBuffer(BLOCK, { maxByteLength: 2 * BLOCK })
    const shrunk = watch(
      transferOne(queue, OPCODE.read, FILE, { offsetBytes: 0, bytes: new Uint8Array(resizable) }),
    )
    const detached = new Uint8Array(BLOCK)
    const moved = watch(transferOne(queue, OPCODE.write, FILE, { offsetBytes: 0, bytes: detached }))
    await turn()
    resizable.resize(100)
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    for (const operation of ring.outstanding) ring.finish(operation, BLOCK)
    await turn()
    expect(shrunk).toMatchObject({ state: 'failed', code: 'HOLT_INVALID_ARGUMENT' })
    expect(moved).toMatchObject({ state: 'failed', code: 'HOLT_INVALID_ARGUMENT' })
  })

  test('A21: that moves more than was asked for is HOLT_RING', async () => {
    const { ring, outcome } = await writing(8, 1)
    ring.finish(ring.outstanding[0], BLOCK + 1)
    await turn()
    expect(outcome).toMatchObject({ state: 'failed', code: 'HOLT_RING' })
    expect(outcome.message).toContain('4097 of 4096')
  })
})

describe('a sync', () => {
  const syncing = async (result: number): Promise<Outcome> => {
    const { ring, queue } = started(8)
    const outcome = watch(new RingCalls(queue).dataSync(FILE))
    await turn()
    expect(ring.submitted).toMatchObject([{ opcode: OPCODE.fsync, fd: 9 }])
    ring.finish(ring.outstanding[0], result)
    await turn()
    return outcome
  }

  test('A14: is done with 0, an error of the system below it, an unexpected result above it', async () => {
    expect(await syncing(0)).toMatchObject({ state: 'done' })
    expect(await syncing(-5)).toMatchObject({ state: 'failed', code: 'HOLT_IO' })
    const unexpected = await syncing(1)
    expect(unexpected).toMatchObject({ state: 'failed', code: 'HOLT_RING' })
    expect(unexpected.message).toContain('unexpected result 1')
  })
})

describe('a ring that breaks its word', () => {
  test.each([
    [
      'A21: completes one operation twice',
      'duplicate',
      (slot: number, generation: number) => [slot, generation],
    ],
    [
      'A21: completes a slot it does not have',
      'foreign',
      (_slot: number, generation: number) => [99, generation],
    ],
    [
      'A21: completes what nobody asked for',
      'foreign',
      (slot: number, generation: number) => [slot, generation + 5],
    ],
  ])(
    '%s: it is closed, and everything outstanding and queued fails with the reason',
    async (_name, kind, of) => {
      const { ring, queue, outcome } = await writing(2, 1)
      const other = watch(transferMany(queue, OPCODE.read, FILE, parts(5)))
      await turn()
      const [first] = ring.outstanding
      ring.finish(first)
      await turn()
      expect(outcome.state).toBe('done')
      // The slot is in use again where its operation was completed once.
      const reused = kind === 'duplicate' ? undefined : ring.outstanding.at(-1)
      const target = reused ?? first
      const wrong = of(target.slot, target.generation)
      if (kind === 'duplicate') {
        for (const operation of ring.outstanding) ring.finish(operation)
        for (let i = 0; i < 10 && ring.outstanding.length > 0; i++) {
          ring.finish(ring.outstanding[0])
          await turn()
        }
        const last = ring.submitted.at(-1)
        if (last === undefined) throw new Error('nothing was submitted')
        wrong[0] = last.slot
        wrong[1] = last.generation
      }
      ring.complete({ slot: wrong[0], generation: wrong[1], result: BLOCK })
      await turn()
      expect(queue.broken?.code).toBe('HOLT_RING')
      expect(queue.broken?.message).toContain(kind)
      expect(ring.closed).toBe(1)
      if (kind === 'foreign') expect(other).toMatchObject({ state: 'failed', code: 'HOLT_RING' })
      const later = watch(transferMany(queue, OPCODE.write, FILE, parts(3)))
      await turn()
      expect(later).toMatchObject({ state: 'failed', code: 'HOLT_RING' })
      expect(later.message).toBe(queue.broken?.message)
    },
  )

  test('A23: loses completions: nobody waits for ever', async () => {
    const { ring, queue, outcome } = await writing(3, 8)
    ring.ownedOverride = 1
    ring.finish(ring.outstanding[0])
    await turn()
    expect(outcome).toMatchObject({ state: 'failed', code: 'HOLT_RING' })
    expect(outcome.message).toContain('1 of 2 completions are missing')
    expect([ring.closed, queue.outstandingCount]).toEqual([1, 0])
  })

  test('A29: delivers what an operation that was given up left behind: ignored', async () => {
    const { ring, queue, outcome } = await writing(1, 2)
    const [first] = ring.outstanding
    ring.finish(first, -11)
    await turn()
    const [again] = ring.outstanding
    ring.complete({ slot: first.slot, generation: first.generation, result: -5 })
    await turn()
    expect([outcome.state, queue.broken]).toEqual(['pending', undefined])
    expect(ring.outstanding).toEqual([again])
  })

  test('A27: refuses for good what is handed over: closed, with the errno', async () => {
    const { ring, queue } = started(4)
    ring.brokenErrno = -9
    ring.inline = () => -9
    const outcome = watch(transferMany(queue, OPCODE.write, FILE, parts(2)))
    await turn()
    expect(outcome.state).toBe('failed')
    expect(queue.broken?.message).toContain('EBADF')
    expect(ring.closed).toBe(1)
  })
})
