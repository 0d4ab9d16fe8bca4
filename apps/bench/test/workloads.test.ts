import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { describe, expect, test } from 'vitest'

import { openJsMap } from '../src/stores/js-map.js'
import { MIX_STEPS } from '../src/operations/writes.js'
import { shuffledIndexes } from '../src/workloads/shuffle.js'
import { makeWorkload, type WorkloadName } from '../src/workloads/workload.js'

describe.each<WorkloadName>(['objstore', 'fs', 'kv'])('%s', (name) => {
  const { keys, absent, directories } = makeWorkload({ name, keyCount: 20_000, root: '' })

  test('has as many keys as were asked for, no two alike, none of them among the absent ones', () => {
    expect(new Set(keys).size).toBe(20_000)
    expect(new Set([...keys, ...absent]).size).toBe(20_000 + absent.length)
    expect(absent).toHaveLength(20_000)
  })

  test('is the same at each run', () => {
    expect(makeWorkload({ name, keyCount: 20_000, root: '' })).toEqual({ name, keys, absent, directories })
  })

  test.skipIf(name === 'kv')('has eight entries directly below each of its directories', async () => {
    const store = openJsMap()
    await store.putBatch(keys.map((key) => [key, Buffer.alloc(1)]))
    expect(directories.length).toBeGreaterThan(4)
    for (const directory of directories) expect(await store.listDirectory(directory)).toHaveLength(8)
  })
})

test('object names have 40 characters', () => {
  const { keys } = makeWorkload({ name: 'objstore', keyCount: 5_000, root: '' })
  expect(new Set(keys.map((key) => key.length))).toEqual(new Set([40]))
})

test('real paths are the files below a directory, relative to it, and directories of about eight entries', () => {
  const root = mkdtempSync(join(tmpdir(), 'holt-bench-paths-'))
  try {
    mkdirSync(join(root, 'a/b'), { recursive: true })
    for (let file = 0; file < 7; file++) writeFileSync(join(root, `a/${String(file)}`), '')
    writeFileSync(join(root, 'a/b/deep'), '')
    const workload = makeWorkload({ name: 'paths', keyCount: 100, root })
    expect([...workload.keys].sort()).toEqual(['a/0', 'a/1', 'a/2', 'a/3', 'a/4', 'a/5', 'a/6', 'a/b/deep'])
    expect(workload.directories).toEqual(['a/'])
    expect(makeWorkload({ name: 'paths', keyCount: 3, root }).keys).toHaveLength(3)
    expect(() => makeWorkload({ name: 'paths', keyCount: 3, root: join(root, 'none') })).toThrow('no files')
  } finally {
    rmSync(root, { recursive: true })
  }
})

test('shuffling keeps every number once, without their order, and is the same at each run', () => {
  const order = shuffledIndexes(1_000, 7)
  expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 1_000 }, (_, index) => index))
  expect([...order]).not.toEqual([...order].sort((a, b) => a - b))
  expect(shuffledIndexes(1_000, 7)).toEqual(order)
})

test('the mix has the shares that it names', () => {
  const shareOf = (step: string): number => MIX_STEPS.filter((other) => other === step).length
  expect(MIX_STEPS).toHaveLength(100)
  expect(['get', 'put', 'list', 'listDirectory', 'createDelete', 'rename'].map(shareOf)).toEqual([
    45, 20, 10, 10, 10, 5,
  ])
})
