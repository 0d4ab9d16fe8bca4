import { expect, test } from 'vitest'

import { SeededRandom } from '../../src/index.js'

function numbers(seed: number, count: number): number[] {
  const random = new SeededRandom(seed)
  return Array.from({ length: count }, () => random.uint32())
}

test('one seed gives one sequence, another seed another one', () => {
  expect(numbers(1, 100)).toEqual(numbers(1, 100))
  expect(numbers(1, 3)).not.toEqual(numbers(2, 3))
  expect(new Set(numbers(0, 1000)).size).toBe(1000)
})

test('numbers are spread evenly over a range, whose ends are met', () => {
  const random = new SeededRandom(3)
  const counts = new Array<number>(10).fill(0)
  for (let i = 0; i < 10_000; i++) counts[random.between(0, 9)]++
  expect(Math.min(...counts)).toBeGreaterThan(850)
  expect(Math.max(...counts)).toBeLessThan(1150)
})

test('a chance comes as often as its probability says', () => {
  const random = new SeededRandom(4)
  const hits = Array.from({ length: 10_000 }, () => random.chance(0.2)).filter(Boolean).length
  expect(hits).toBeGreaterThan(1800)
  expect(hits).toBeLessThan(2200)
  expect(random.chance(0)).toBe(false)
  expect(random.chance(1)).toBe(true)
})

test('a fork does not depend on how much is drawn from it', () => {
  const draw = (forked: number): number => {
    const random = new SeededRandom(5)
    const fork = random.fork()
    for (let i = 0; i < forked; i++) fork.uint32()
    return random.uint32()
  }
  expect(draw(0)).toBe(draw(10))
})

test('nothing can be picked from nothing', () => {
  expect(() => new SeededRandom(1).pick([])).toThrow(RangeError)
})
