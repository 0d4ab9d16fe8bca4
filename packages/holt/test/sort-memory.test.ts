import { expect, it } from 'vitest'
import { SortMemory } from '../src/sort-memory.js'

it('gives pieces that grow up to a bound, and longer ones where they are wanted', () => {
  const memory = new SortMemory(2 ** 24)
  const lengths = [10, 10, 10, 2 ** 23, 10].map((words) => memory.take(words).words.byteLength)
  expect(lengths).toEqual([2 ** 20, 2 ** 23, 2 ** 24, 2 ** 25, 2 ** 24])
  expect(new SortMemory(256).take(10).words.byteLength).toBe(256)
})

it('gives again what was given back, to one at a time', () => {
  const first = new SortMemory(2 ** 21)
  const pieces = [first.take(1), first.take(1), first.take(1)].map(({ words }) => words.buffer)
  pieces.forEach((buffer, i) => new Uint8Array(buffer).fill(i + 1))
  const other = new SortMemory(2 ** 21)
  expect(pieces).not.toContain(other.take(1).words.buffer)
  first.end()
  const second = new SortMemory(2 ** 21)
  const third = new SortMemory(2 ** 21)
  const again = [second.take(1), second.take(1), second.take(1), second.take(1)]
  expect(new Set(again.map(({ words }) => words.buffer)).size).toBe(4)
  for (const { words } of again.slice(0, 3)) expect(pieces).toContain(words.buffer)
  expect(again.every(({ usedWords }) => usedWords === 0)).toBe(true)
  expect(pieces).not.toContain(third.take(1).words.buffer)
  expect(() => {
    first.end()
  }).not.toThrow()
})
