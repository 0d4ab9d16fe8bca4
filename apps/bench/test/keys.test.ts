import { expect, test } from 'vitest'

import { objectKeys, shuffled } from '../src/keys.js'
import { openMap } from '../src/map-subject.js'
import { measure } from '../src/measure.js'

test('no two keys are alike and all are 40 characters long', () => {
  const keys = objectKeys(50_000)
  expect(new Set(keys).size).toBe(50_000)
  expect(new Set(keys.map((key) => key.length))).toEqual(new Set([40]))
})

test('shuffling keeps every item once and changes the order', () => {
  const items = Array.from({ length: 1000 }, (_, index) => index)
  const result = shuffled(items)
  expect([...result].sort((a, b) => a - b)).toEqual(items)
  expect(result).not.toEqual(items)
})

test('a job that finds too few keys is an error, not a time', async () => {
  const forgetful = { ...openMap(), getAll: () => 0 }
  await expect(measure(forgetful, { keyCount: 10, rounds: 1 })).rejects.toThrow('0 keys were found of 10')
})
