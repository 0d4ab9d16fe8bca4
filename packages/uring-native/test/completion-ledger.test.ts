import { describe, expect, test } from 'vitest'

import { CompletionLedger } from '../src/completion-ledger.js'

const operation = (name: string): { readonly name: string } => ({ name })

/** A ledger of four slots and the slot of one operation issued in it. */
function issued(): { ledger: CompletionLedger<{ readonly name: string }>; slot: number; generation: number } {
  const ledger = new CompletionLedger<{ readonly name: string }>(4)
  const slot = ledger.issue(operation('first'))
  if (slot === undefined) throw new Error('no slot')
  return { ledger, slot, generation: ledger.generationOf(slot) }
}

describe('CompletionLedger', () => {
  test('A18: names each operation by slot and generation, and settles each once', () => {
    const ledger = new CompletionLedger<{ readonly name: string }>(3)
    const operations = ['a', 'b', 'c'].map(operation)
    const slots = operations.map((each) => ledger.issue(each))
    expect(new Set(slots).size).toBe(3)
    expect(ledger.issue(operation('one too many'))).toBeUndefined()
    expect([ledger.outstandingCount, ledger.freeCount]).toEqual([3, 0])
    for (const [i, slot] of [...slots.entries()].reverse()) {
      if (slot === undefined) throw new Error('no slot')
      expect(ledger.settle(slot, ledger.generationOf(slot))).toBe(operations[i])
    }
    expect([ledger.outstandingCount, ledger.freeCount]).toEqual([0, 3])
  })

  test('A21: a completion of a slot that the ring does not have is foreign', () => {
    const { ledger, generation } = issued()
    expect(ledger.settle(4, generation)).toBe('foreign')
    expect(ledger.settle(-1, generation)).toBe('foreign')
    expect(ledger.outstandingCount).toBe(1)
  })

  test('A21: a completion that nobody issued is foreign', () => {
    const { ledger, slot, generation } = issued()
    expect(ledger.settle(slot, generation + 1)).toBe('foreign')
    expect(ledger.settle(slot, 0)).toBe('foreign')
    expect(ledger.settle(slot, -1)).toBe('foreign')
    const unused = [0, 1, 2, 3].find((other) => other !== slot) ?? 0
    expect(ledger.settle(unused, 0)).toBe('foreign')
    expect(ledger.settle(unused, 1)).toBe('foreign')
    expect(ledger.outstandingCount).toBe(1)
  })

  test('A21: a second completion of one operation is a duplicate', () => {
    const { ledger, slot, generation } = issued()
    ledger.settle(slot, generation)
    expect(ledger.settle(slot, generation)).toBe('duplicate')
    expect(ledger.freeCount).toBe(4)
  })

  test('A29: a completion of an earlier generation is stale: ignored and counted, the present one stays', () => {
    const { ledger, slot, generation } = issued()
    ledger.settle(slot, generation)
    const second = operation('second')
    expect(ledger.issue(second)).toBe(slot)
    expect(ledger.settle(slot, generation)).toBe('stale')
    expect([ledger.staleCount, ledger.outstandingCount]).toEqual([1, 1])
    expect(ledger.settle(slot, ledger.generationOf(slot))).toBe(second)
  })

  test('A23: what the kernel does not own although nobody heard of it is missing', () => {
    const { ledger } = issued()
    ledger.issue(operation('second'))
    expect(ledger.missingCount(2)).toBe(0)
    expect(ledger.missingCount(1)).toBe(1)
    expect(ledger.missingCount(0)).toBe(2)
    expect(ledger.missingCount(3)).toBe(0)
  })

  test('gives everything outstanding up at once', () => {
    const { ledger, slot, generation } = issued()
    expect(ledger.abandonAll().map(({ name }) => name)).toEqual(['first'])
    expect(ledger.freeCount).toBe(4)
    expect(ledger.settle(slot, generation)).toBe('duplicate')
  })
})
