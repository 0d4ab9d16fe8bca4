import { describe, expect, test } from 'vitest'

import { atLeast, atMost, formatNumber, renderGroup } from '../src/io/result.js'
import { medianOf, medianRatio, takeTurns } from '../src/io/rounds.js'

describe('turns', () => {
  test('are taken one after the other, and the first of each does not count', async () => {
    const order: string[] = []
    const contestant = (name: string): { name: string; work: () => number } => ({
      name,
      work: () => {
        order.push(name)
        return order.length
      },
    })
    const [first, second] = await takeTurns([contestant('a'), contestant('b')], { rounds: 2, roundMs: 1 })
    expect(order).toEqual(['a', 'b', 'a', 'b', 'a', 'b'])
    expect(first.map(({ operations }) => operations)).toEqual([3, 5])
    expect(second.map(({ operations }) => operations)).toEqual([4, 6])
  })

  test('in which nothing was done are an error, not a time', async () => {
    await expect(takeTurns([{ name: 'idle', work: () => 0 }], { rounds: 1, roundMs: 1 })).rejects.toThrow(
      'idle',
    )
  })

  test('leave nothing behind: tidy comes after each, untimed ones included', async () => {
    let tidied = 0
    const tidy = async (): Promise<void> => {
      tidied++
    }
    await takeTurns([{ name: 'a', work: () => 1, tidy }], { rounds: 3, roundMs: 1 })
    expect(tidied).toBe(4)
  })
})

describe('medians', () => {
  test('of odd and even counts, whatever the order', () => {
    expect(medianOf([9, 1, 5])).toBe(5)
    expect(medianOf([4, 1, 3, 2])).toBe(2.5)
  })

  test('of ratios compare turns of one round, not medians of different ones', () => {
    const turn = (operations: number): { operations: number; wallMs: number; cpuMicros: number } => ({
      operations,
      wallMs: 1,
      cpuMicros: 1,
    })
    const ours = [turn(10), turn(200), turn(30)]
    const theirs = [turn(5), turn(100), turn(1)]
    expect(medianRatio(ours, theirs, (a, b) => a.operations / b.operations)).toBe(2)
  })
})

describe('bars', () => {
  test('are reached at the limit itself and missed beyond it', () => {
    expect([atLeast('x', 3, 3).reached, atLeast('x', 2.99, 3).reached]).toEqual([true, false])
    expect([atMost('x', 0.25, 0.25).reached, atMost('x', 0.26, 0.25).reached]).toEqual([true, false])
  })

  test('stand marked in the table', () => {
    const table = renderGroup({
      group: 'g',
      title: 'T',
      heads: ['ns'],
      rows: [{ name: 'row', values: [1234.5], bars: [atMost('ns', 1234.5, 100), atLeast('GB/s', 20, 15)] }],
      notes: ['A note.'],
    })
    expect(table).toBe(
      '### T\n\n| | ns | bars |\n| :-- | --: | :-- |\n' +
        '| row | 1,235 | ✗ ns 1,235 (≤ 100), ✓ GB/s 20.0 (≥ 15) |\n\nA note.\n',
    )
  })

  test('numbers keep three digits that mean something', () => {
    expect([0.256, 2.5, 25.36, 25_360.4, undefined].map(formatNumber)).toEqual([
      '0.26',
      '2.50',
      '25.4',
      '25,360',
      '–',
    ])
  })
})
